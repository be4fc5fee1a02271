"""Fabrics: a colour, a second colour and a pattern, painted as a texture for a part of a picture."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw

from jobs.sample.palette import RGB, dark, light, luma, mix

PRINTS = ("stripes", "checks", "dots", "floral")  # what the outfit rule counts as patterned
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Fabric:
    """`pattern`: plain, one of PRINTS, or a weave (denim, knit, rib, straw, twotone). `size` scales the pattern."""

    colour: RGB
    second: RGB
    pattern: str = "plain"
    size: float = 1.0
    seed: int = 0

    def plain(self) -> Fabric:
        """The same colours without a print; a weave stays."""
        return replace(self, pattern="plain") if self.pattern in (*PRINTS, "twotone") else self

    def deep(self, t: float) -> RGB:
        """A deeper tone of the ground: insides, cuffs, seams."""
        return dark(self.colour, t)

    @property
    def stitch(self) -> RGB:
        """A thread that shows on the ground without shouting."""
        return light(self.colour, 0.3) if luma(self.colour) < 90 else dark(self.colour, 0.3)


def texture(f: Fabric, box: Box, k: float, angle: float = 0.0) -> Image.Image:
    """The fabric for a pixel box of the picture, k pixels a unit; patterns run on from part to part."""
    size = (box[2] - box[0], box[3] - box[1])
    if f.pattern in ("stripes", "checks", "denim", "rib"):
        im = Image.new("RGB", size, f.colour)
        _ruled(im, f, box, k, angle)
        return im
    makers = {"dots": _dots, "floral": _floral, "knit": _knit, "straw": _straw}
    maker = makers.get(f.pattern)
    if maker is None:
        return Image.new("RGB", size, f.colour)
    return _tiled(maker(f, k), box)


def _ruled(im: Image.Image, f: Fabric, box: Box, k: float, angle: float) -> None:
    s = f.size
    if f.pattern == "stripes":
        _rule(im, box, k, angle, 5.2 * s, 2.2 * s, f.second)
    elif f.pattern == "denim":
        _rule(im, box, k, angle + 58, 0.85, 0.26, light(f.colour, 0.13))
        _rule(im, box, k, angle + 58, 2.6, 0.22, dark(f.colour, 0.1))
    elif f.pattern == "rib":
        _rule(im, box, k, angle + 90, 1.3, 0.45, dark(f.colour, 0.14))
    else:  # checks: two bands crossing, deeper where they cross, and a thin line between
        half = mix(f.colour, f.second, 0.5)
        _rule(im, box, k, angle, 8 * s, 3.2 * s, half)
        over = Image.new("RGB", im.size, f.second)
        mask = Image.new("L", im.size, 0)
        _rule_mask(mask, box, k, angle + 90, 8 * s, 3.2 * s, 135)
        im.paste(over, (0, 0), mask)
        for turn in (0, 90):
            _rule(im, box, k, angle + turn, 8 * s, 0.35 * s, light(f.second, 0.25), 4 * s)


def _lines(box: Box, k: float, angle: float, step: float, shift: float) -> list[list[tuple[float, float]]]:
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x0, y0, x1, y1 = box
    corners = [-x * s + y * c for x in (x0, x1) for y in (y0, y1)]
    along = [x * c + y * s for x in (x0, x1) for y in (y0, y1)]
    gap = step * k
    first, last = math.floor((min(corners) - shift * k) / gap), math.ceil((max(corners) - shift * k) / gap)
    out = []
    for i in range(first, last + 1):
        n = i * gap + shift * k
        ends = [(t * c - n * s - x0, t * s + n * c - y0) for t in (min(along) - gap, max(along) + gap)]
        out.append(ends)
    return out


def _rule(im: Image.Image, box: Box, k: float, angle: float, step: float, width: float, tone: RGB,
          shift: float = 0.0) -> None:  # fmt: skip
    pen = ImageDraw.Draw(im)
    for ends in _lines(box, k, angle, step, shift):
        pen.line(ends, fill=tone, width=max(1, round(width * k)))


def _rule_mask(im: Image.Image, box: Box, k: float, angle: float, step: float, width: float, value: int) -> None:
    pen = ImageDraw.Draw(im)
    for ends in _lines(box, k, angle, step, 0.0):
        pen.line(ends, fill=value, width=max(1, round(width * k)))


def _tiled(tile: Image.Image, box: Box) -> Image.Image:
    """The box covered with the tile: laid once, then doubled to the right and down."""
    (tw, th), (w, h) = tile.size, (box[2] - box[0], box[3] - box[1])
    dx, dy = box[0] % tw, box[1] % th
    im = Image.new("RGB", (w + dx, h + dy))
    im.paste(tile, (0, 0))
    while tw < w + dx:
        im.paste(im.crop((0, 0, tw, th)), (tw, 0))
        tw *= 2
    while th < h + dy:
        im.paste(im.crop((0, 0, w + dx, th)), (0, th))
        th *= 2
    return im.crop((dx, dy, dx + w, dy + h))


def _blob(pen: ImageDraw.ImageDraw, side: int, x: float, y: float, r: float, tone: RGB) -> None:
    """A dot that runs over the tile's edges to the other side."""
    for dx in (-side, 0, side):
        for dy in (-side, 0, side):
            if -r <= x + dx <= side + r and -r <= y + dy <= side + r:
                pen.ellipse((x + dx - r, y + dy - r, x + dx + r, y + dy + r), fill=tone)


def _dots(f: Fabric, k: float) -> Image.Image:
    side = max(4, round(6.4 * f.size * k))
    tile = Image.new("RGB", (side, side), f.colour)
    pen = ImageDraw.Draw(tile)
    r = side * 0.155
    for x, y in ((0.25, 0.25), (0.75, 0.75)):
        _blob(pen, side, x * side, y * side, r, f.second)
    return tile


def _floral(f: Fabric, k: float) -> Image.Image:
    side = max(16, round(19 * f.size * k))
    tile = Image.new("RGB", (side, side), f.colour)
    pen = ImageDraw.Draw(tile)
    rng = random.Random(f.seed)
    leaf = mix(dark(f.second, 0.15), (96, 128, 84), 0.65)
    heart = light(f.second, 0.62) if luma(f.second) < 170 else dark(f.second, 0.35)
    spots = [
        (0.2, 0.22, 1.0),
        (0.72, 0.4, 0.85),
        (0.34, 0.74, 0.9),
        (0.86, 0.88, 0.7),
        (0.55, 0.08, 0.5),
        (0.06, 0.55, 0.5),
    ]
    for u, v, size in spots:
        x, y = (u + rng.uniform(-0.04, 0.04)) * side, (v + rng.uniform(-0.04, 0.04)) * side
        r, turn = side * 0.062 * size, rng.uniform(0, 72)
        for j in (0, 2):
            a = math.radians(turn + 36 + 72 * j)
            for step in (2.0, 2.6, 3.1):
                _blob(pen, side, x + math.cos(a) * r * step, y + math.sin(a) * r * step, r * 0.55, leaf)
        for j in range(5):
            a = math.radians(turn + 72 * j)
            _blob(pen, side, x + math.cos(a) * r * 1.15, y + math.sin(a) * r * 1.15, r, f.second)
        _blob(pen, side, x, y, r * 0.62, heart)
    return tile


def _knit(f: Fabric, k: float) -> Image.Image:
    w, h = max(4, round(1.9 * k)), max(4, round(1.5 * k))
    tile = Image.new("RGB", (w, h), f.colour)
    pen = ImageDraw.Draw(tile)
    tone, wide = dark(f.colour, 0.13), max(1, round(0.3 * k))
    for dy in (-h, 0, h):
        pen.line([(0, dy), (w / 2, h * 0.75 + dy), (w, dy)], fill=tone, width=wide)
    return tile


def _straw(f: Fabric, k: float) -> Image.Image:
    side = max(6, round(2.6 * k))
    tile = Image.new("RGB", (side, side), f.colour)
    pen = ImageDraw.Draw(tile)
    deep, pale, h = dark(f.colour, 0.22), light(f.colour, 0.3), side / 2
    wide = max(1, round(0.16 * k))
    for x, y in ((0.0, 0.0), (h, h)):
        for i in range(1, 4):
            pen.line([(x, y + h * i / 4), (x + h, y + h * i / 4)], fill=deep if i % 2 else pale, width=wide)
    for x, y in ((h, 0.0), (0.0, h)):
        for i in range(1, 4):
            pen.line([(x + h * i / 4, y), (x + h * i / 4, y + h)], fill=deep if i % 2 else pale, width=wide)
    return tile
