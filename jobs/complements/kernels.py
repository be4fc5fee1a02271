"""What runs once for every product or proposal of every list, compiled.

Plain loops over arrays, called through `score` and `search`, which say what they mean. Single-threaded, and the
interpreter's lock is released: Spark has a process a core, a caller with threads of its own gains from them.

Constants are part of the code and so must be written in this file: one imported could change without the cache of
machine code noticing (`compiled`).
"""

from __future__ import annotations

import numpy as np

from medal_model.compiled import compiled
from schemas.tables import EMBEDDING_DIM, VISUAL_DIM

_VISUAL, _ALL = 96, 128
assert (_VISUAL, _ALL) == (VISUAL_DIM, EMBEDDING_DIM)
_MICRO = 1e6 / 2.0**40  # exact in float64: 15625 · 2^-34
_INT32_MIN = -(2**31)
_STRIDE = 128
SPARE_KEYS = 64  # room besides the m largest, so that they are told apart seldom
_TURN = 4  # rows scored side by side: the processor waits for four rows of memory at once (3 times as fast as one)


# Integers below 2^53 add up exactly in any order, so here, and only here, sums may be reassociated and fused.
@compiled(fastmath={"reassoc", "contract"})
def _sums(q, base, r0, r1, r2, r3, out):  # type: ignore[no-untyped-def]
    """S of four rows in out[0:4], its visual part in out[4:8]."""
    v0 = v1 = v2 = v3 = 0.0
    for d in range(_VISUAL):
        x = q[d]
        v0 += x * base[r0, d]
        v1 += x * base[r1, d]
        v2 += x * base[r2, d]
        v3 += x * base[r3, d]
    c0 = c1 = c2 = c3 = 0.0
    for d in range(_VISUAL, _ALL):
        x = q[d]
        c0 += x * base[r0, d]
        c1 += x * base[r1, d]
        c2 += x * base[r2, d]
        c3 += x * base[r3, d]
    out[0], out[1], out[2], out[3] = v0 + c0, v1 + c1, v2 + c2, v3 + c3
    out[4], out[5], out[6], out[7] = v0, v1, v2, v3


@compiled()
def _micro(s):  # type: ignore[no-untyped-def]
    """`score.micro` of one sum; rounding happens here, so no fast arithmetic."""
    p = s * _MICRO
    r = np.rint(p)
    if abs(p - r) > 0.5 - 2.0**-23:
        n = np.int64(s)
        low = (n & ((1 << 34) - 1)) * 15625
        whole = (n >> 34) * 15625 + (low >> 34)
        rest = low & ((1 << 34) - 1)
        if rest > (1 << 33) or (rest == (1 << 33) and whole & 1 == 1):
            whole += 1
        return whole
    return np.int64(r)


@compiled()
def rescore(q, base, rows, score, visual):  # type: ignore[no-untyped-def]
    """Fill score and visual [N, m] for q [N, 128] and rows [N, m] of base [M, 128]. Raises IndexError."""
    n, m = rows.shape
    take = np.zeros(_TURN, np.int64)
    sums = np.empty(2 * _TURN)
    for i in range(n):
        for start in range(0, m, _TURN):
            width = min(_TURN, m - start)
            for t in range(width):
                r = rows[i, start + t]
                if r < 0 or r >= base.shape[0]:
                    raise IndexError("a row to score is not in the base")
                take[t] = r
            for t in range(width, _TURN):
                take[t] = take[0]
            _sums(q[i], base, take[0], take[1], take[2], take[3], sums)
            for t in range(width):
                score[i, start + t] = _micro(sums[t])
                visual[i, start + t] = _micro(sums[_TURN + t])


@compiled()
def rank(q, own, base, group, value, proposed, error, depth, rows, score, visual, horizon, decided):  # type: ignore[no-untyped-def]
    """Exact lists from proposals: `search.neighbours` says what is decided, and why. Raises IndexError, ValueError.

    q [N, 128], own [N] groups of the queries, base [M, 128], group [M], value and proposed [N, m] with value
    descending, error [N]. Fills rows, score, visual [N, depth], horizon and decided [N].
    """
    n, m = proposed.shape
    all_ = m == base.shape[0]
    keys, parts = np.empty(depth + 2, np.int64), np.empty(depth + 2, np.int64)
    take, sums = np.zeros(_TURN, np.int64), np.empty(2 * _TURN)
    for i in range(n):
        have = 0  # best so far in `keys`, ascending, their visual parts in `parts`; one place more to insert by
        j = 0
        done = False
        last = np.inf
        while j < m and not done:
            width = 0
            while j < m and width < _TURN:
                r = proposed[i, j]
                if r < 0 or r >= base.shape[0]:
                    raise IndexError("a proposal is not in the base")
                if not value[i, j] <= last:
                    raise ValueError("proposals do not descend")
                last = value[i, j]
                j += 1
                if group[r] != own[i]:
                    take[width] = r
                    width += 1
            if width:
                for t in range(width, _TURN):
                    take[t] = take[0]
                _sums(q[i], base, take[0], take[1], take[2], take[3], sums)
            for t in range(width):
                key = (-_micro(sums[t]) << 32) | take[t]
                # By insertion from the end: proposals come all but in order.
                at = have
                while at > 0 and keys[at - 1] > key:
                    keys[at] = keys[at - 1]
                    parts[at] = parts[at - 1]
                    at -= 1
                keys[at] = key
                parts[at] = _micro(sums[_TURN + t])
                have = min(have + 1, depth + 1)
            if have == depth + 1 and not (j == m and all_):
                # What is not scored has at most the value of the next proposal, or, behind the end, of the last.
                line = _micro(np.ceil(np.float64(value[i, min(j, m - 1)]) + error[i]))
                done = -(keys[depth] >> 32) > line
        decided[i] = done or all_
        horizon[i] = -(keys[depth] >> 32) if have > depth else _INT32_MIN
        for t in range(depth):
            there = t < have
            rows[i, t] = keys[t] & 0xFFFFFFFF if there else -1
            score[i, t] = -(keys[t] >> 32) if there else 0
            visual[i, t] = parts[t] if there else 0


# --- the largest of a stream of float32 products -----------------------------------------------------------------

# A product and its row are one number, the larger the better: the bits of a float32, read as an integer and turned
# around where it is negative, order as the number does.


@compiled()
def _packed(v, row):  # type: ignore[no-untyped-def]
    bits = np.int64(np.float32(v).view(np.int32))
    if bits < 0:
        bits ^= 0x7FFFFFFF
    return (bits << 32) | row


@compiled()
def _value(key):  # type: ignore[no-untyped-def]
    bits = key >> 32
    if bits < 0:
        bits ^= 0x7FFFFFFF
    return np.int32(bits).view(np.float32)


@compiled()
def _largest_first(keys, n, m):  # type: ignore[no-untyped-def]
    """Move the m largest of keys[:n] to the front (Hoare's selection; no two are equal) and give the least of them."""
    low, high = 0, n - 1
    while low < high:
        pivot = keys[(low + high) >> 1]
        a, b = low, high
        while a <= b:
            while keys[a] > pivot:
                a += 1
            while keys[b] < pivot:
                b -= 1
            if a <= b:
                keys[a], keys[b] = keys[b], keys[a]
                a += 1
                b -= 1
        if m - 1 <= b:
            high = b
        elif m - 1 >= a:
            low = a
        else:
            break
    least = keys[0]
    for j in range(1, m):
        least = min(least, keys[j])
    return least


@compiled(fastmath={"nnan", "nsz"})
def _maxima(products, i, width, out):  # type: ignore[no-untyped-def]
    """out[j] = the largest of every _STRIDE-th product of a row from j on; whole vectors at a time."""
    for j in range(_STRIDE):
        out[j] = products[i, j]
    for k in range(1, width // _STRIDE):
        start = k * _STRIDE
        for j in range(_STRIDE):
            x = products[i, np.uint64(start + j)]
            out[j] = x if x > out[j] else out[j]


@compiled()
def _put(keys, n, line, v, row, m):  # type: ignore[no-untyped-def]
    """One more key; when there is no more room the m largest stay, and the least of them is the line to cross."""
    keys[n] = _packed(v, row)
    n += 1
    if n == len(keys):
        line = _value(_largest_first(keys, n, m))
        n = m
    return n, line


@compiled()
def select(products, first, keys, count, line, m):  # type: ignore[no-untyped-def]
    """Take the products [N, W] of base rows from `first` on into the running best.

    keys [N, K], K > 2m, of which count [N] are in use, hold the m largest so far and others; line [N] is what a
    product must exceed to be among them, -inf to begin with. Most strides of products lie below it as a whole.
    """
    n, width = products.shape
    whole = width // _STRIDE * _STRIDE
    largest = np.empty(_STRIDE, np.float32)
    for i in range(n):
        own, c, t = keys[i], count[i], line[i]
        if whole:
            _maxima(products, i, whole, largest)
            if t == -np.inf and m <= _STRIDE:
                # As many products as there are strides are at least their maxima: a line to begin with.
                t = np.nextafter(np.partition(largest, _STRIDE - m)[_STRIDE - m], np.float32(-np.inf))
            for j in range(_STRIDE):
                if largest[j] > t:
                    for k in range(j, whole, _STRIDE):
                        if products[i, k] > t:
                            c, t = _put(own, c, t, products[i, k], first + k, m)
        for k in range(whole, width):
            if products[i, k] > t:
                c, t = _put(own, c, t, products[i, k], first + k, m)
        count[i], line[i] = c, t


@compiled()
def front(keys, count, m):  # type: ignore[no-untyped-def]
    """Move the m largest of each query's keys to the front. Raises ValueError where a product was no number."""
    for i in range(len(keys)):
        if count[i] < m:
            raise ValueError("a product is not a number")
        if count[i] > m:
            _largest_first(keys[i], count[i], m)


@compiled()
def unpack(keys, value, rows):  # type: ignore[no-untyped-def]
    """Keys [N, m], ascending, as value and rows [N, m], descending."""
    n, m = keys.shape
    for i in range(n):
        for j in range(m):
            key = keys[i, m - 1 - j]
            value[i, j] = _value(key)
            rows[i, j] = key & 0xFFFFFFFF


@compiled()
def merge(v1, r1, v2, r2, v, r):  # type: ignore[no-untyped-def]
    """The largest of two descending lists of values a query, with their rows, as many as v and r [N, m] hold."""
    for i in range(v.shape[0]):
        a = b = 0
        for j in range(v.shape[1]):
            if b == v2.shape[1] or (a < v1.shape[1] and v1[i, a] >= v2[i, b]):
                v[i, j], r[i, j] = v1[i, a], r1[i, a]
                a += 1
            else:
                v[i, j], r[i, j] = v2[i, b], r2[i, b]
                b += 1
