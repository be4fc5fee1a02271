"""The compiled loop of `finish()`: page after page, place after place. finish.py says what comes before what.

Of exploration (Limits.explore): the model fills k - e places first, then e new products are drawn, then the model fills
what they left. So they take the last of the model's places and never push out what it holds for best; where they stand
is drawn as well, from the second place on that pins and own lists leave.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jobs.complements.score import Bools, Float32, Float64, Int32, Int64
from medal_model.compiled import compiled
from schemas.tables import REASONS, UNSCORED

Int8 = npt.NDArray[np.int8]
UInt64 = npt.NDArray[np.uint64]

_PIN, _OWN, _BOOST, _BURY, _EXPLORE = (REASONS.index(r) for r in ("pin", "list", "boost", "bury", "explore"))
SCORED = np.array([r not in UNSCORED for r in REASONS], dtype=np.int8)  # by a reason's number: has it a score?
_SCANS = 16  # of the new products in search of the next in line, before they are sorted


@compiled()
def _mix(x: np.uint64) -> np.uint64:
    """As hashing._mix: what compiled code uses stands in its own file."""
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled()
def _wanted(page: np.uint64, share: float, k: int) -> int:
    """Places for new products: share · k, a fraction of one drawn; the first place is not for them."""
    u = np.float64(_mix(page + np.uint64(1)) >> np.uint64(11)) / 9007199254740992.0
    return min(int(share * k + u), k - 1)


@compiled()
def _lots(
    i: int, page_group: Int64, group: Int64, stock: Bools, price: Float64, ruled: bool, klass: Int32, allowed: Bools,
    boost: Int32, low: Float64, high: Float64, new_row: Int64, new_word: UInt64, page: np.uint64, lots: UInt64,
    which: Int64,
) -> int:  # fmt: skip
    """Lots and rows of the new products that may stand on page i, into `lots` and `which`. How many."""
    n = 0
    for t in range(len(new_row)):
        r = new_row[t]
        if not stock[r] or group[r] == page_group[i]:
            continue
        if ruled:
            if not allowed[klass[i], r] or boost[klass[i], r] < 0:  # what the shop buries is not brought up
                continue
            bounded = low[i] > -np.inf or high[i] < np.inf
            if bounded and not (price[r] >= low[i] and price[r] <= high[i]):
                continue
        lots[n], which[n] = _mix(page ^ new_word[t]), r
        n += 1
    return n


@compiled()
def _next(lots: UInt64, n: int, scans: int, last: np.uint64, order: Int64) -> int:
    """Place of the lowest lot above the last one drawn, -1 where there is none."""
    if scans >= _SCANS:
        if scans == _SCANS:
            order[:n] = np.argsort(lots[:n])
        return order[scans]
    pick = -1
    for t in range(n):
        if (scans == 0 or lots[t] > last) and (pick < 0 or lots[t] < lots[pick]):
            pick = t
    return pick


@compiled()
def _spread(i: int, page: np.uint64, rows: Int64, at: Int32, reason: Int8, end: int) -> None:
    """Put the new products of list i, in place, where chance wants them; all else keeps its order, pins the place."""
    free, new = 0, 0
    for p in range(end):
        if reason[i, p] != _PIN and reason[i, p] != _OWN:
            free += 1
            new += reason[i, p] == _EXPLORE
    if new == 0 or new == free:
        return
    was_rows, was_at, was_reason = rows[i].copy(), at[i].copy(), reason[i].copy()
    m, e, left, due = 0, 0, free - 1, new  # next of the model's, next new one; places and new ones still to come
    first = True
    for p in range(end):
        if was_reason[p] == _PIN or was_reason[p] == _OWN:
            continue
        drawn = False
        if not first:  # selection sampling: each choice of places is equally likely
            drawn = _mix(page + np.uint64(2) + np.uint64(left)) % np.uint64(left) < np.uint64(due)
            left -= 1
        first = False
        if drawn:
            due -= 1
            while was_reason[e] != _EXPLORE:
                e += 1
            rows[i, p], at[i, p], reason[i, p] = was_rows[e], was_at[e], was_reason[e]
            e += 1
        else:
            while was_reason[m] == _PIN or was_reason[m] == _OWN or was_reason[m] == _EXPLORE:
                m += 1
            rows[i, p], at[i, p], reason[i, p] = was_rows[m], was_at[m], was_reason[m]
            m += 1


@compiled()
def select(
    keys: Int64, horizon: Int32, page_group: Int64, able: Int32, group: Int64, stock: Bools, brand: Int32,
    price: Float64, scaled: Float32, base_row: Int64, k: int, per_brand: int, per_look: int, look: float,
    ruled: bool, klass: Int32, allowed: Bools, boost: Int32, low: Float64, high: Float64, pin_row: Int32,
    pin_at: Int32, own_row: Int32, own: Bools, fill: Bools, share: float, new_row: Int64, new_word: UInt64,
    page_word: UInt64,
) -> tuple[Int64, Int32, Int8, Int32, Bools]:  # fmt: skip
    """Rows, places among the keys (-1: not from them), reasons [N, k], sizes [N], and whether that is certain."""
    n, depth = keys.shape
    rows = np.full((n, k), -1, dtype=np.int64)
    at = np.full((n, k), -1, dtype=np.int32)
    reason = np.zeros((n, k), dtype=np.int8)
    size = np.zeros(n, dtype=np.int32)
    certain = np.zeros(n, dtype=np.bool_)
    lots = np.empty(len(new_row), dtype=np.uint64)
    which, order = np.empty(len(new_row), dtype=np.int64), np.empty(len(new_row), dtype=np.int64)
    for i in range(n):
        filled, open_ = 0, True
        if ruled:
            if own[i]:
                for j in range(own_row.shape[1]):
                    if own_row[i, j] < 0 or filled == k:
                        break
                    rows[i, filled], reason[i, filled] = own_row[i, j], _OWN
                    filled += 1
                open_ = fill[i]
            if open_:
                for j in range(pin_row.shape[1]):
                    if pin_row[i, j] >= 0 and rows[i, pin_at[i, j]] < 0:
                        rows[i, pin_at[i, j]], reason[i, pin_at[i, j]] = pin_row[i, j], _PIN
                        filled += 1
        want = 0
        if open_ and len(new_row) > 0:
            want = _wanted(page_word[i], share, k)
        placed = 0  # first position that may be free
        decided = not open_ or filled == k
        j = 0
        for turn in range(3):  # the model but for the last places, new products, the model
            if not open_ or filled == k:
                break
            if want == 0 and turn < 2:
                continue
            stop = k - want if turn == 0 else min(k, filled + want) if turn == 1 else k
            n_lots, scans, last = 0, 0, np.uint64(0)
            if turn == 1:
                n_lots = _lots(
                    i, page_group, group, stock, price, ruled, klass, allowed, boost, low, high, new_row, new_word,
                    page_word[i], lots, which,
                )  # fmt: skip
            while filled < stop:
                if turn == 1:
                    t = _next(lots, n_lots, scans, last, order) if scans < n_lots else -1
                    if t < 0:
                        break
                    scans += 1
                    last, r = lots[t], which[t]
                else:
                    if j == depth:
                        break
                    key = keys[i, j]
                    if key == 0x7FFFFFFFFFFFFFFF:  # no target, or one that is possible no more
                        j += 1
                        continue
                    score = -(key >> 32)
                    if horizon[i] != -2147483648 and score <= horizon[i]:
                        break
                    r = key & 0xFFFFFFFF
                    j += 1
                g = group[r]
                if not stock[r] or g == page_group[i]:
                    continue
                if ruled:
                    if not allowed[klass[i], r]:
                        continue
                    bounded = low[i] > -np.inf or high[i] < np.inf
                    if bounded and not (price[r] >= low[i] and price[r] <= high[i]):  # nan fails
                        continue
                same_group, brands, looks = False, 0, 0
                for p in range(k):
                    o = rows[i, p]
                    if o < 0:
                        continue
                    if group[o] == g:
                        same_group = True
                        break
                    if per_brand > 0 and brand[r] >= 0 and brand[o] == brand[r]:
                        brands += 1
                    if per_look > 0 and base_row[o] >= 0:
                        dot = 0.0
                        for d in range(scaled.shape[1]):
                            dot += np.float64(scaled[base_row[o], d]) * np.float64(scaled[base_row[r], d])
                        if dot >= look:
                            looks += 1
                if same_group or (per_brand > 0 and brands >= per_brand) or (per_look > 0 and looks >= per_look):
                    continue
                while rows[i, placed] >= 0:
                    placed += 1
                rows[i, placed] = r
                if turn == 1:
                    reason[i, placed] = _EXPLORE
                else:
                    at[i, placed] = j - 1
                    if ruled:
                        b = boost[klass[i], r]
                        if b > 0:
                            reason[i, placed] = _BOOST
                        elif b < 0:
                            reason[i, placed] = _BURY
                filled += 1
            if turn != 1:
                # All that is possible was looked at, or no group is left that could stand here.
                decided = filled >= stop or horizon[i] == -2147483648 or (not ruled and filled >= able[i])
                if not decided:
                    break
        # Pins beyond what there is to fill move up: a list has no holes.
        end = 0
        for p in range(k):
            if rows[i, p] >= 0:
                if end < p:
                    rows[i, end], at[i, end], reason[i, end] = rows[i, p], at[i, p], reason[i, p]
                    rows[i, p], at[i, p], reason[i, p] = -1, -1, 0
                end += 1
        if want > 0:
            _spread(i, page_word[i], rows, at, reason, end)
        size[i], certain[i] = end, decided
    return rows, at, reason, size, certain
