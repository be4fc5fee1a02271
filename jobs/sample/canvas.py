"""A small drawing board: curved parts with soft shading, seams, folds and a drop shadow.

Drawn in units: the drawing is 100 units wide, its middle at (50, 50) whatever the aspect. Everything is
painted several times larger than asked and reduced at the end, which is what smooths the edges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from jobs.sample.palette import RGB, dark, luma
from jobs.sample.patterns import Fabric, texture

Point = tuple[float, float]
Points = list[Point]
Box = tuple[int, int, int, int]

_FILL = 0.93  # of the width that the 100 units take: the rest is margin
_COARSE = 8  # soft things (shading, shadows, folds) are made at 1/8 size and enlarged
_STEPS = 14  # straight pieces a curve is cut into


def path(d: str) -> Points:
    """Points of an SVG-like path: absolute M, L, C (cubic), Q (quadratic), numbers apart by white space."""
    out: Points = []
    words = d.replace(",", " ").split()
    i, op = 0, "L"

    def take(n: int) -> Points:
        nonlocal i
        got = [(float(words[i + 2 * j]), float(words[i + 2 * j + 1])) for j in range(n)]
        i += 2 * n
        return got

    while i < len(words):
        if words[i].isalpha():
            op = words[i]
            i += 1
        if op in "ML":
            out += take(1)
            continue
        (x0, y0), ctrl = out[-1], take(3 if op == "C" else 2)
        if op == "Q":  # a quadratic curve, raised to a cubic one
            (qx, qy), (x3, y3) = ctrl
            ctrl = [
                (x0 + (qx - x0) * 2 / 3, y0 + (qy - y0) * 2 / 3),
                (x3 + (qx - x3) * 2 / 3, y3 + (qy - y3) * 2 / 3),
                (x3, y3),
            ]
        (x1, y1), (x2, y2), (x3, y3) = ctrl
        for n in range(1, _STEPS + 1):
            t = n / _STEPS
            u = 1 - t
            a, b, c, e = u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t
            out.append((a * x0 + b * x1 + c * x2 + e * x3, a * y0 + b * y1 + c * y2 + e * y3))
    return out


def mirror(points: Sequence[Point]) -> Points:
    """The same points on the other side of the middle line."""
    return [(100 - x, y) for x, y in points]


def sym(d: str) -> Points:
    """A closed symmetrical outline from the path of its right half, top to bottom."""
    half = path(d)
    return half + mirror(half)[::-1]


def ellipse(cx: float, cy: float, rx: float, ry: float, start: float = 0, end: float = 360) -> Points:
    """Points on an ellipse, degrees clockwise from the right."""
    n = max(12, int(abs(end - start) / 7))
    angles = [math.radians(start + (end - start) * i / n) for i in range(n + 1)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def rounded(x0: float, y0: float, x1: float, y1: float, r: float) -> Points:
    """A rectangle with round corners."""
    out: Points = []
    for cx, cy, a in ((x1 - r, y0 + r, 270), (x1 - r, y1 - r, 0), (x0 + r, y1 - r, 90), (x0 + r, y0 + r, 180)):
        out += ellipse(cx, cy, r, r, a, a + 90)
    return out


def move(points: Sequence[Point], dx: float, dy: float, size: float = 1.0, turn: float = 0.0) -> Points:
    """Points scaled and turned (degrees) about the middle of the picture, then shifted."""
    c, s = math.cos(math.radians(turn)) * size, math.sin(math.radians(turn)) * size
    return [(50 + (x - 50) * c - (y - 50) * s + dx, 50 + (x - 50) * s + (y - 50) * c + dy) for x, y in points]


class Sketch:
    """One picture in the making. Parts are painted back to front; `finish` gives the picture."""

    def __init__(self, width: int, height: int, oversample: int) -> None:
        self._over = oversample
        self.size = (width * oversample, height * oversample)
        self.k = width * oversample * _FILL / 100  # pixels a unit
        self._left = (self.size[0] - 100 * self.k) / 2
        self._top = (self.size[1] - 100 * self.k) / 2
        self.ink = Image.new("RGB", self.size, (255, 255, 255))
        self.alpha = Image.new("L", self.size, 0)
        self._pen = ImageDraw.Draw(self.ink)
        self._pen_alpha = ImageDraw.Draw(self.alpha)
        self._mask = self.alpha
        self._box: Box = (0, 0, 1, 1)

    def _px(self, points: Iterable[Point]) -> Points:
        return [(x * self.k + self._left, y * self.k + self._top) for x, y in points]

    def part(
        self,
        outline: Sequence[Point],
        fill: Fabric | RGB,
        *,
        shade: float = 0.34,
        edge: float = 0.3,
        angle: float = 0.0,
        soft: float = 3.2,
    ) -> None:
        """Paint a closed outline. `shade` is the strength of the volume shading, `soft` its reach in units,
        `edge` the strength of the outline, `angle` turns the pattern (degrees)."""
        pts = self._px(outline)
        xs, ys = [p[0] for p in pts], [p[1] for p in pts]
        x0, y0 = max(0, int(min(xs)) - 1), max(0, int(min(ys)) - 1)
        x1, y1 = min(self.size[0], int(max(xs)) + 2), min(self.size[1], int(max(ys)) + 2)
        if x1 <= x0 or y1 <= y0:
            return
        box = (x0, y0, x1, y1)
        mask = Image.new("L", (x1 - x0, y1 - y0), 0)
        ImageDraw.Draw(mask).polygon([(x - x0, y - y0) for x, y in pts], fill=255)
        colour = fill.colour if isinstance(fill, Fabric) else fill
        if isinstance(fill, Fabric) and fill.pattern != "plain":
            self.ink.paste(texture(fill, box, self.k, angle), (x0, y0), mask)
        else:
            self.ink.paste(colour, box, mask)
        self.alpha.paste(255, box, mask)
        self._mask, self._box = mask, box
        if shade > 0:
            self._volume(colour, shade, soft)
        if edge > 0:
            pale = luma(colour) > 205
            line = dark(colour, min(0.9, edge * (0.95 if pale else 1.25)))
            self._pen.line([*pts, pts[0]], fill=line, width=max(1, round(0.26 * self.k)), joint="curve")

    def _volume(self, colour: RGB, strength: float, soft: float) -> None:
        w, h = self._mask.size
        pad = max(2, round(soft * self.k / _COARSE) + 1)
        sw, sh = max(1, w // _COARSE), max(1, h // _COARSE)
        small = Image.new("L", (sw + 2 * pad, sh + 2 * pad), 0)
        small.paste(self._mask.resize((sw, sh), Image.Resampling.BOX), (pad, pad))
        blur = small.filter(ImageFilter.GaussianBlur(soft * self.k / _COARSE))
        shift = max(1, round(pad * 0.45))
        inner = (pad, pad, pad + sw, pad + sh)
        lit = ImageChops.offset(blur, -shift, -shift).crop(inner)
        far = ImageChops.offset(blur, shift, shift).crop(inner)
        depth = strength * (0.75 if luma(colour) > 205 else 1.0)
        shadow = lit.point([round((255 - v) * depth) for v in range(256)])
        shine = far.point([round((255 - v) * strength * 0.32) for v in range(256)])
        layers: list[tuple[Image.Image, RGB]] = [(shadow, dark(colour, 0.62))]
        if w * h > (6 * self.k) ** 2:  # on a small part a shine would not be seen
            layers.append((shine, (255, 255, 255)))
        for layer, tone in layers:
            full = layer.resize((w, h), Image.Resampling.BILINEAR)
            self.ink.paste(tone, self._box, ImageChops.multiply(full, self._mask))

    def folds(self, lines: Sequence[Sequence[Point]], *, width: float = 1.2, strength: float = 0.22,
              tone: RGB = (18, 18, 34)) -> None:  # fmt: skip
        """Soft strokes on the part painted last: folds, or with a white tone a sheen."""
        x0, y0, x1, y1 = self._box
        w, h = x1 - x0, y1 - y0
        sw, sh = max(1, w // 4), max(1, h // 4)
        layer = Image.new("L", (sw, sh), 0)
        pen = ImageDraw.Draw(layer)
        for line in lines:
            pts = [((x - x0) / 4, (y - y0) / 4) for x, y in self._px(line)]
            pen.line(pts, fill=round(255 * strength), width=max(1, round(width * self.k / 4)), joint="curve")
        layer = layer.filter(ImageFilter.GaussianBlur(width * self.k / 4 * 0.55))
        full = layer.resize((w, h), Image.Resampling.BILINEAR)
        self.ink.paste(tone, self._box, ImageChops.multiply(full, self._mask))

    def sheen(self, lines: Sequence[Sequence[Point]], *, width: float = 1.6, strength: float = 0.3) -> None:
        """Soft light strokes on the part painted last."""
        self.folds(lines, width=width, strength=strength, tone=(255, 255, 255))

    def line(self, points: Sequence[Point], colour: RGB, width: float = 0.3) -> None:
        """A thin line on what is already there."""
        self._pen.line(self._px(points), fill=colour, width=max(1, round(width * self.k)), joint="curve")

    def seam(self, points: Sequence[Point], colour: RGB, width: float = 0.26, dash: float = 1.0) -> None:
        """A stitched line."""
        px, step, left, on = self._px(points), dash * self.k, dash * self.k, True
        for (ax, ay), (bx, by) in pairwise(px):
            length = math.hypot(bx - ax, by - ay)
            done = 0.0
            while length - done > 1e-6:
                run = min(left, length - done)
                if on:
                    p, q = done / length, (done + run) / length
                    ends = [(ax + (bx - ax) * p, ay + (by - ay) * p), (ax + (bx - ax) * q, ay + (by - ay) * q)]
                    self._pen.line(ends, fill=colour, width=max(1, round(width * self.k)))
                done += run
                left -= run
                if left <= 1e-6:
                    on, left = not on, step * (1.0 if not on else 0.6)

    def tube(self, points: Sequence[Point], colour: RGB, width: float) -> None:
        """A round band (handle, strap, chain) with light along its middle. Counts as part of the product."""
        px = self._px(points)
        for pen, tone, w in (
            (self._pen_alpha, 255, width),
            (self._pen, dark(colour, 0.38), width),
            (self._pen, colour, width * 0.78),
        ):
            wide = max(1, round(w * self.k))
            pen.line(px, fill=tone, width=wide, joint="curve")
            for x, y in (px[0], px[-1]):
                r = wide / 2
                pen.ellipse((x - r, y - r, x + r, y + r), fill=tone)
        d = width * 0.14 * self.k
        shine = [(x - d, y - d) for x, y in px]
        self._pen.line(shine, fill=dark(_lift(colour), 0.0), width=max(1, round(width * 0.22 * self.k)), joint="curve")

    def disc(self, x: float, y: float, r: float, colour: RGB, rim: float = 0.35) -> None:
        """A button, bead or rivet with a rim and a glint. Counts as part of the product."""
        (cx, cy), rr = self._px([(x, y)])[0], r * self.k
        self._pen_alpha.ellipse((cx - rr, cy - rr, cx + rr, cy + rr), fill=255)
        self._pen.ellipse((cx - rr, cy - rr, cx + rr, cy + rr), fill=dark(colour, rim))
        q = rr * 0.8
        self._pen.ellipse((cx - q, cy - q, cx + q, cy + q), fill=colour)
        g = rr * 0.28
        gx, gy = cx - rr * 0.3, cy - rr * 0.32
        self._pen.ellipse((gx - g, gy - g, gx + g, gy + g), fill=_lift(_lift(colour)))

    def finish(self, *, standing: float | None = None) -> Image.Image:
        """The picture on white: with a drop shadow, or, `standing` at that height, a shadow on the floor."""
        ink, alpha = self.ink.reduce(self._over), self.alpha.reduce(self._over)
        w, h = ink.size
        coarse = 4
        small = alpha.resize((max(1, w // coarse), max(1, h // coarse)), Image.Resampling.BOX)
        kk = self.k / self._over / coarse
        if standing is None:
            drop = ImageChops.offset(small, round(0.9 * kk), round(1.6 * kk))
            drop = drop.filter(ImageFilter.GaussianBlur(1.7 * kk))
        else:
            drop = Image.new("L", small.size, 0)
            left, _, right, _ = small.getbbox() or (0, 0, 1, 1)
            y = standing * kk + self._top / self._over / coarse
            inset = (right - left) * 0.03
            spot = (left + inset, y - 1.5 * kk, max(left + inset + 1, right - inset), y + 1.9 * kk)
            ImageDraw.Draw(drop).ellipse(spot, fill=255)
            drop = drop.filter(ImageFilter.GaussianBlur(1.5 * kk))
        drop = drop.point([round(v * 0.27) for v in range(256)]).resize((w, h), Image.Resampling.BILINEAR)
        drop = ImageChops.multiply(drop, ImageChops.invert(alpha))
        ground = Image.new("RGB", (w, h), (255, 255, 255))
        ground.paste((70, 72, 88), (0, 0), drop)
        return ImageChops.multiply(ink, ground)


def _lift(c: RGB) -> RGB:
    return (c[0] + (255 - c[0]) * 2 // 5, c[1] + (255 - c[1]) * 2 // 5, c[2] + (255 - c[2]) * 2 // 5)
