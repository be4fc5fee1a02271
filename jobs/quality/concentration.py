"""How evenly a night's lists use the products that may stand in them.

A recommender may be right everywhere and yet show the same few products again and again. Counted over entries, beside
the same figures of an even draw, since products of a small category stand in more lists whoever chooses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

FIGURES = ("gini", "top1_share", "shown_share", "gini_even", "top1_share_even")
_TOP = 100  # the top 1 in so many


@dataclass(frozen=True)
class Targets:
    """What may stand in lists, aligned by product: category and department codes, and whether it is in stock with a
    vector. allowed[d, e]: a page of department d may show products of department e."""

    category: Ints
    department: Ints
    able: Bools
    allowed: Bools


class Concentration:
    """Appearances of each product, added up over source categories."""

    def __init__(self, targets: Targets, categories: int) -> None:
        self._t = targets
        departments = len(targets.allowed)
        self._shown = np.zeros(len(targets.category), dtype=np.int64)
        self._places = np.zeros((departments, categories), dtype=np.int64)
        self._asked = np.zeros((departments, categories), dtype=bool)

    def add(self, department: Ints, target: Ints, lengths: Ints, entries: Ints) -> None:
        """Count lists (the page's department, the target category, how long) and the products in them; -1 is unknown
        and left out."""
        self._shown += np.bincount(entries[entries >= 0], minlength=len(self._shown))
        known = (department >= 0) & (target >= 0)
        np.add.at(self._places, (department[known], target[known]), lengths[known])
        self._asked[department[known], target[known]] = True

    def figures(self) -> dict[str, float]:
        """By the names of FIGURES, over the products that may stand in some list or do.

        gini: 0 where all are shown equally often, towards 1 where one takes all places. top1_share: share of all
        places that the most shown 1 % take. shown_share: products shown at least once. *_even: the same were each
        list as long as it is and drawn evenly from what may stand in it (groups and own products left aside).
        """
        even, may = self._even()
        may |= self._shown > 0
        shown = self._shown[may].astype(np.float64)
        return {
            "gini": gini(shown),
            "top1_share": top_share(shown),
            "shown_share": float((shown > 0).mean()) if len(shown) else 0.0,
            "gini_even": gini(even[may]),
            "top1_share_even": top_share(even[may]),
        }

    def _even(self) -> tuple[F64, Bools]:
        """Expected appearances under an even draw, and the products that some list may hold."""
        t = self._t
        members = np.zeros((len(t.allowed), self._places.shape[1]), dtype=np.int64)
        held = t.able & (t.category >= 0) & (t.department >= 0)
        np.add.at(members, (t.department[held], t.category[held]), 1)
        may_show = t.allowed.astype(np.int64)
        pool = may_show @ members  # [page's department, target category]
        per = np.divide(self._places, pool, out=np.zeros(pool.shape), where=pool > 0)
        expected = may_show.T.astype(np.float64) @ per  # [product's department, category]
        open_to = (may_show.T @ self._asked.astype(np.int64)) > 0
        even, may = np.zeros(len(t.category)), np.zeros(len(t.category), dtype=bool)
        even[held] = expected[t.department[held], t.category[held]]
        may[held] = open_to[t.department[held], t.category[held]]
        return even, may


def gini(counts: F64) -> float:
    """Mean absolute difference of two products' counts ÷ twice the mean; 0 where nothing is counted."""
    n, total = len(counts), float(counts.sum())
    if not n or total <= 0:
        return 0.0
    return max(0.0, float(2 * (np.arange(1, n + 1) @ np.sort(counts)) / (n * total) - (n + 1) / n))


def top_share(counts: F64) -> float:
    """Share of the sum that the largest 1 % hold, rounded up to a whole product; 0 where nothing is counted."""
    total = float(counts.sum())
    if total <= 0:
        return 0.0
    return float(np.sort(counts)[len(counts) - -(-len(counts) // _TOP) :].sum() / total)


def told(figures: dict[str, float]) -> str:
    """A clause for the stage's note."""
    return (
        f"the most shown 1 % of products take {100 * figures['top1_share']:.1f} % of the places "
        f"({100 * figures['top1_share_even']:.1f} % in an even draw), Gini {figures['gini']:.3f} "
        f"({figures['gini_even']:.3f})"
    )
