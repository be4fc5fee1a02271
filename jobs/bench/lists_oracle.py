"""Sampled lists of a run against brute force: float64 sums over every possible target, rounding by Python's integers.

Shares no code with `jobs.complements` but the reading of its tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Text = npt.NDArray[np.str_]
Float64 = npt.NDArray[np.float64]
_VISUAL = 96


@dataclass(frozen=True)
class Shop:
    """All products by category, each category in item_id order."""

    ids: Mapping[str, Sequence[str]]
    vectors: Mapping[str, npt.NDArray[np.float32]]  # [N, 128]
    department: Mapping[str, Text]  # [N]
    group: Mapping[str, Text]  # [N]
    in_stock: Mapping[str, npt.NDArray[np.bool_]]  # [N]
    matrix: Mapping[str, frozenset[str]]  # page's department → departments it may show


@dataclass(frozen=True)
class Answer:
    """What the tables must hold for one page and slot: (item_id, score, visual) by rank."""

    neighbours: list[tuple[str, int, int]]
    horizon: int
    items: list[tuple[str, int, int]]


class Oracle:
    """Answers for pages of one shop."""

    def __init__(self, shop: Shop, depth: int, k: int) -> None:
        self.shop, self.depth, self.k = shop, depth, k
        self._scaled: dict[str, Float64] = {}

    def answer(self, source: str, row: int, target: str, w: npt.NDArray[np.float32]) -> Answer:
        """The list of the page at this row of its category. `w` is the pair's mask."""
        shop = self.shop
        if target not in self._scaled:
            self._scaled[target] = np.rint(shop.vectors[target].astype(np.float64) * 2.0**20)
        q = np.rint(w.astype(np.float64) * shop.vectors[source][row].astype(np.float64) * 2.0**20)
        y = self._scaled[target]
        may, own = shop.matrix[shop.department[source][row]], shop.group[source][row]
        sums = y @ q
        possible = np.isin(shop.department[target], sorted(may)) & (shop.group[target] != own)
        near: list[tuple[str, int, int]] = []
        items: list[tuple[str, int, int]] = []
        seen: set[str] = set()
        horizon = -(2**31)
        for score, n in _ranked(sums, possible):
            entry = (shop.ids[target][n], score, _micro(float(y[n, :_VISUAL] @ q[:_VISUAL])))
            if len(near) < self.depth:
                near.append(entry)
            elif horizon == -(2**31):
                horizon = score
            if len(items) < self.k and shop.in_stock[target][n] and shop.group[target][n] not in seen:
                seen.add(shop.group[target][n])
                items.append(entry)
            if len(items) == self.k and horizon != -(2**31):
                break
        return Answer(near, horizon, items)


def _micro(s: float) -> int:
    """S · 10^6 / 2^40, half to even, in whole numbers."""
    whole, rest = divmod(int(s) * 15625, 2**34)
    return whole + (rest > 2**33 or (rest == 2**33 and whole % 2 == 1))


def _ranked(sums: Float64, possible: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """(score, row) by (-score, row). Rounding keeps the order of sums, so only sums near each other can tie."""
    rows = np.flatnonzero(possible)
    rows = rows[np.argsort(-sums[rows], kind="stable")]
    tied: list[tuple[int, int]] = []
    for n in rows.tolist():
        score = _micro(float(sums[n]))
        if tied and score < tied[0][0]:
            yield from sorted(tied, key=lambda p: p[1])
            tied = []
        tied.append((score, n))
    yield from sorted(tied, key=lambda p: p[1])


def differences(answer: Answer, candidate: Mapping[str, Any], complement: Mapping[str, Any]) -> list[str]:
    """What of two rows is not as it must be; empty where all is."""
    near = list(zip(candidate["neighbour_ids"], candidate["scores"], candidate["visuals"], strict=True))
    items = [(i["item_id"], i["score"], i["visual"]) for i in complement["items"]]
    out = []
    if near != answer.neighbours:
        out.append("neighbours")
    if candidate["horizon"] != answer.horizon:
        out.append("horizon")
    if items != answer.items or complement["size"] != len(items):
        out.append("items")
    if any(i["colour"] != i["score"] - i["visual"] for i in complement["items"]):
        out.append("colour")
    return out
