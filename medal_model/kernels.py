"""Loops over pixels, compiled: resize, foreground and colour counts of one image, each on one thread without the
interpreter's lock.

Sums of floats are taken in a fixed order without contraction, the rest is integers: the same bits on every processor.
What they compute is said in `images.letterbox`, `colour.foreground` and `colour.luv_histogram`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medal_model.compiled import compiled

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
_ROWS = 16  # output rows a pass
_LEVELS = 32  # = colour.LEVELS, which a test compares


@compiled()
def _taps(low: float, high: float, length: int, offset: int, by: int, pixels: int, out: int) -> Any:
    """First pixel, number and float32 weights of each of `out` outputs over [low, high) of a photo's `length`.

    Triangle of half-width max(1, scale) around the output's centre, cut at the photo's edge, weights summing to 1.
    Where each of the `pixels` is the mean of `by` of the photo's, their weights are folded onto it; what they would
    make of the slope inside it is taken from the difference of its neighbours.
    """
    scale = (high - low) / out
    support = max(1.0, scale)
    starts, counts = np.empty(out, np.int64), np.empty(out, np.int64)
    fine = np.empty(int(np.ceil(support)) * 2 + 2, np.float64)
    coarse = np.empty(len(fine) // by + 4, np.float64)
    weights = np.zeros((out, len(coarse) + 3), np.float32)  # read in fours
    for i in range(out):
        centre = low + (i + 0.5) * scale
        first = min(max(0, int(centre - support + 0.5)), length - 1)
        last = max(first + 1, min(length, int(centre + support + 0.5)))
        total = 0.0
        for t in range(last - first):
            fine[t] = max(0.0, 1.0 - abs(first + t + 0.5 - centre) / support)
            total += fine[t]
        begin, end = (first + offset) // by, (last - 1 + offset) // by + 1
        if by > 1:
            begin, end = max(0, begin - 1), min(pixels, end + 1)
        coarse[:] = 0.0
        for t in range(last - first):
            w = fine[t] / total if total > 0.0 else 1.0 / (last - first)
            at = first + t + offset
            j = at // by
            coarse[j - begin] += w
            before, after = max(begin, j - 1), min(end - 1, j + 1)
            if by > 1 and after > before:
                turn = w * (at - by * j - (by - 1) / 2) / (by * (after - before))
                coarse[after - begin] += turn
                coarse[before - begin] -= turn
        for t in range(end - begin):
            weights[i, t] = coarse[t]
        starts[i], counts[i] = begin, end - begin
    return starts, counts, weights


@compiled()
def _add_rows(source: UInt8, starts: Int64, counts: Int64, weights: Float32, block: int, rows: Float32) -> None:
    """A block of output rows, not yet resized along them, from uint8 [H, W * 3]."""
    for r in range(min(_ROWS, len(starts) - block)):
        i = block + r
        for j in range(rows.shape[1]):
            rows[r, j] = np.float32(0.5)  # for rounding: the weights along the row add up to 1
        for t in range(counts[i]):
            w, y = weights[i, t], starts[i] + t
            for j in range(rows.shape[1]):
                rows[r, j] += w * np.float32(source[y, j])


@compiled()
def _turn(rows: Float32, tall: Float32) -> None:
    """[_ROWS, W * 3] to [W, 3 * _ROWS]: the rows of a block side by side, so that the next loop is over neighbours."""
    for j in range(tall.shape[0]):
        for c in range(3):
            for r in range(_ROWS):
                tall[j, c * _ROWS + r] = rows[r, 3 * j + c]


@compiled()
def _add_columns(tall: Float32, starts: Int64, counts: Int64, weights: Float32, begin: int, sums: Float32) -> None:
    """Output columns [nw, 3 * _ROWS] of a block, in fours: weights past a column's last are 0."""
    last = tall.shape[0] - 1
    for x in range(len(starts)):
        for t in range(0, counts[x], 4):
            i = starts[x] - begin + t
            j, k, m = min(i + 1, last), min(i + 2, last), min(i + 3, last)
            a, b, c, d = weights[x, t], weights[x, t + 1], weights[x, t + 2], weights[x, t + 3]
            if t == 0:
                for r in range(3 * _ROWS):
                    sums[x, r] = ((a * tall[i, r] + b * tall[j, r]) + c * tall[k, r]) + d * tall[m, r]
            else:
                for r in range(3 * _ROWS):
                    sums[x, r] = (((sums[x, r] + a * tall[i, r]) + b * tall[j, r]) + c * tall[k, r]) + d * tall[m, r]


@compiled()
def _put(sums: Float32, levels: UInt8, many: int, out: UInt8, top: int, left: int) -> None:
    for x in range(sums.shape[0]):
        for r in range(3 * _ROWS):
            level = np.int32(sums[x, r])
            levels[x, r] = min(max(level, np.int32(0)), np.int32(255))
    for r in range(many):
        for x in range(sums.shape[0]):
            for c in range(3):
                out[top + r, left + x, c] = levels[x, c * _ROWS + r]


@compiled()
def resize(
    source: UInt8, by: int, down: tuple[float, float, int, int], right: tuple[float, float, int, int],
    out: UInt8, top: int, left: int, nh: int, nw: int,
) -> None:  # fmt: skip
    """Scale a box of a photo into `out[top : top + nh, left : left + nw]`.

    `source` [H, W, 3] holds means of `by` x `by` of the photo's pixels. `down` and `right` are begin and end of the
    box, the photo's size, and the source's rest before the photo, each in the photo's pixels.
    Antialiased bilinear in float32 with one rounding at the end; pixels around the box count where the filter
    reaches them.
    """
    ys, yn, yw = _taps(down[0], down[1], down[2], down[3], by, source.shape[0], nh)
    xs, xn, xw = _taps(right[0], right[1], right[2], right[3], by, source.shape[1], nw)
    begin, end = xs[0], xs[nw - 1] + xn[nw - 1]
    flat = source.reshape(source.shape[0], source.shape[1] * 3)[:, begin * 3 : end * 3]
    rows, tall = np.empty((_ROWS, flat.shape[1]), np.float32), np.empty((end - begin, 3 * _ROWS), np.float32)
    sums, levels = np.empty((nw, 3 * _ROWS), np.float32), np.empty((nw, 3 * _ROWS), np.uint8)
    for block in range(0, nh, _ROWS):
        _add_rows(flat, ys, yn, yw, block, rows)
        _turn(rows, tall)
        _add_columns(tall, xs, xn, xw, begin, sums)
        _put(sums, levels, min(_ROWS, nh - block), out, top + block, left)


@compiled()
def means(image: UInt8, by: int) -> UInt8:
    """[ceil(H / by), ceil(W / by), 3]: means of `by` x `by` pixels, at the last row and column of those there are."""
    h, w = image.shape[:2]
    out = np.empty((-(-h // by), -(-w // by), 3), np.uint8)
    sums = np.empty(out.shape[1] * 3, np.int64)
    for y in range(out.shape[0]):
        sums[:] = 0
        rows = min(by, h - y * by)
        for n in range(rows):
            for x in range(out.shape[1]):
                for i in range(x * by, min(w, x * by + by)):
                    for c in range(3):
                        sums[3 * x + c] += image[y * by + n, i, c]
        for x in range(out.shape[1]):
            many = rows * min(by, w - x * by)
            for c in range(3):
                out[y, x, c] = (sums[x * 3 + c] + many // 2) // many
    return out


@compiled()
def foreground(
    image: UInt8, light: int, neutral: int, tolerance: int, agreement: float, step: int, least: float, front: UInt8
) -> None:
    """`colour.foreground` of one image [H, W, 3] into `front` [H, W], 0 or 1. Without branches where it can be."""
    h, w = image.shape[:2]
    planes = np.empty((3, h, w), np.int16)
    white, like = np.empty((h, w), np.uint8), np.empty((h, w), np.uint8)
    for y in range(h):
        for x in range(w):
            for c in range(3):
                planes[c, y, x] = image[y, x, c]
        for x in range(w):
            r, g, b = planes[0, y, x], planes[1, y, x], planes[2, y, x]
            low, high = min(min(r, g), b), max(max(r, g), b)
            white[y, x] = low == 255
            like[y, x] = (low >= light) & (high - low <= neutral)
    _like_border(planes, white, tolerance, agreement, like)
    edge, open_ = np.empty(w, np.uint8), np.empty(w, np.uint8)
    for y in range(h):  # along rows, from both ends up to the first edge or pixel that is no background
        _edges(planes, white, y, y, 1, step, edge)
        front[y] = 1
        for x in range(w):
            if not like[y, x] or (x > 0 and edge[x - 1]):
                break
            front[y, x] = 0
        for x in range(w - 1, -1, -1):
            if not like[y, x] or (x < w - 1 and edge[x]):
                break
            front[y, x] = 0
    above = np.zeros((h, w), np.uint8)  # is there an edge towards the row above?
    for y in range(1, h):
        _edges(planes, white, y - 1, y, 0, step, above[y])
    for turn in range(2):  # down and up columns, all at once
        open_[:] = 1
        for n in range(h):
            y = h - 1 - n if turn else n
            between = 0 if n == 0 else y + turn  # row 0 has no edge
            for x in range(w):
                open_[x] &= like[y, x] & (above[between, x] ^ 1)
                front[y, x] &= open_[x] ^ 1
    seen = 0
    for y in range(h):
        for x in range(w):
            seen += front[y, x]
    if seen < max(1.0, least * h * w):
        front[:] = 1


@compiled()
def _edges(planes: Any, white: UInt8, y0: int, y1: int, ahead: int, step: int, edge: UInt8) -> None:
    """Where is an edge between row y0 and row y1 `ahead`? The seam of letterbox and a light grey photo is none."""
    for x in range(white.shape[1] - ahead):
        jump = abs(planes[0, y0, x] - planes[0, y1, x + ahead]) > step
        jump |= abs(planes[1, y0, x] - planes[1, y1, x + ahead]) > step
        jump |= abs(planes[2, y0, x] - planes[2, y1, x + ahead]) > step
        edge[x] = jump & (white[y0, x] == white[y1, x + ahead])


@compiled()
def _like_border(planes: Any, white: UInt8, tolerance: int, agreement: float, like: UInt8) -> None:
    """Where most of the border that is not white is near its median, what is near the median looks like background."""
    h, w = white.shape
    n = 2 * (h + w)
    ys, xs = np.empty(n, np.int64), np.empty(n, np.int64)
    for x in range(w):
        ys[x], xs[x], ys[w + x], xs[w + x] = 0, x, h - 1, x
    for y in range(h):
        ys[2 * w + y], xs[2 * w + y], ys[2 * w + h + y], xs[2 * w + h + y] = y, 0, y, w - 1
    levels, known = np.zeros((3, 256), np.int64), 0
    for i in range(n):
        if not white[ys[i], xs[i]]:
            known += 1
            for c in range(3):
                levels[c, planes[c, ys[i], xs[i]]] += 1
    if known == 0:
        return
    median = np.zeros(3, np.int16)
    for c in range(3):
        below = 0
        for v in range(256):
            below += levels[c, v]
            if below > known // 2:
                median[c] = v
                break
    near = 0
    for i in range(n):
        far = 0
        for c in range(3):
            far = max(far, abs(planes[c, ys[i], xs[i]] - median[c]))
        near += not white[ys[i], xs[i]] and far <= tolerance
    if near < np.float32(np.float32(agreement) * np.float32(known)):
        return
    for y in range(h):
        for x in range(w):
            close = abs(planes[0, y, x] - median[0]) <= tolerance
            close &= abs(planes[1, y, x] - median[1]) <= tolerance
            close &= abs(planes[2, y, x] - median[2]) <= tolerance
            like[y, x] |= close


@compiled()
def colour_counts(image: UInt8, front: UInt8, bins: Any, weights: Any, total: Int64) -> None:
    """Add the foreground of one image [H, W, 3] to `total` int64 [512] by the table of rounded colours."""
    levels = np.empty(256, np.int64)
    for v in range(256):
        levels[v] = (v * (_LEVELS - 1) + 127) // 255
    counts = np.zeros(_LEVELS * _LEVELS * _LEVELS, np.int32)
    h, w = front.shape
    for y in range(h):
        for x in range(w):
            if front[y, x]:
                code = (levels[image[y, x, 0]] * _LEVELS + levels[image[y, x, 1]]) * _LEVELS + levels[image[y, x, 2]]
                counts[code] += 1
    for code in range(len(counts)):
        if counts[code]:
            for corner in range(8):
                total[bins[code, corner]] += counts[code] * weights[code, corner]


@compiled()
def look_up(images: UInt8, table: Float32, out: Float32) -> None:
    """Into `out` [B, H, W, 3] the `table` [3, 256] of each channel's values, of `images` [B, H, W, 3]."""
    pixels, values = images.reshape(-1, 3), out.reshape(-1, 3)
    for i in range(len(pixels)):
        for c in range(3):
            values[i, c] = table[c, pixels[i, c]]
