"""Numbering of category pairs, shared by training, export and scoring. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def all_pairs(categories: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """All unordered pairs in the categories' order, (c, c) included: n (n + 1) / 2 of them."""
    return tuple((a, b) for i, a in enumerate(categories) for b in categories[i:])


def pair_index(categories: Sequence[str]) -> Mapping[tuple[str, str], int]:
    """Row of the mask for either order of a pair. Raises ValueError where a category stands twice."""
    if len(set(categories)) != len(categories):
        raise ValueError(f"categories stand twice in {list(categories)}")
    index: dict[tuple[str, str], int] = {}
    for i, (a, b) in enumerate(all_pairs(categories)):
        index[a, b] = index[b, a] = i
    return index
