"""What a silhouette is, and the upper-body figure that shirts, coats and dresses share."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jobs.sample.canvas import Points, Sketch, ellipse, mirror, path, sym
from jobs.sample.palette import RGB, dark, light, luma
from jobs.sample.patterns import Fabric

Style = Literal["casual", "smart", "sport", "boho"]
Season = Literal["all", "summer", "winter"]
Draw = Callable[[Sketch, Fabric, random.Random], None]

ADULTS = ("women", "men", "unisex")
WOMEN = ("women", "girls")
MEN = ("men", "boys")
ALL = ("women", "men", "unisex", "girls", "boys", "kids")


@dataclass(frozen=True)
class Shape:
    """One silhouette. Its style and season are the product's; the fabrics it may have follow from its kind.

    `colours` names a range of `palette.RANGES`; `standing` is the height of the floor for things that stand.
    """

    product_type: str
    category: str
    style: Style
    departments: tuple[str, ...]
    draw: Draw
    materials: tuple[str, ...]
    price: tuple[int, int]
    season: Season = "all"
    colours: str = "cloth"
    patterns: tuple[str, ...] = ("plain",)
    standing: float | None = None


def band(s: Sketch, points: Points, colour: RGB, width: float) -> None:
    """A ribbed or bound edge along a line."""
    s.line(points, dark(colour, 0.3), width)
    s.line(points, colour, width * 0.72)


def buttons(s: Sketch, x: float, ys: list[float], colour: RGB, r: float = 0.75) -> None:
    """A column of buttons."""
    for y in ys:
        s.disc(x, y, r, colour)


def spread(first: float, last: float, n: int) -> list[float]:
    """n heights from first to last."""
    return [first + (last - first) * i / max(1, n - 1) for i in range(n)]


def both(points: Points) -> tuple[Points, Points]:
    """A line and its mirror image."""
    return points, mirror(points)


_SLEEVES = {
    "cap": "M 66 17.5 C 71 18.5 75 21 78 26 L 71 31 L 68 24",
    "short": "M 64 16.6 C 71 18.2 77 21 81.4 28 L 90 39.5 C 87 43 82 45.5 77.5 46.5 L 69.5 35 Z",
    "puff": "M 64 17 C 74 15 85 20 88 30 C 90 37 88 42 86 45 C 82 47.5 77 47.5 73 45 L 69 34",
    "long": "M 64 16.6 C 71 18.4 78 20.8 80.8 29 C 84 39 87 56 89 72 C 89.3 74 89.3 76 89 78 "
    "C 86 79.6 82.5 79.8 80 79 C 78.5 64 75 48 69.5 35",
    "wide": "M 64 16.5 C 73 17.5 79 21 82 29 C 86 40 91 54 95.5 66 C 91 71.5 84 73.5 78 72.5 C 77 60 74 46 69.5 36",
    "bishop": "M 64 16.6 C 71.5 18 79 20.4 82.4 29 C 87 42 92 54 92.5 66 C 92 71 90 73.5 88 74.5 L 81.5 74.5 "
    "C 78 68 75 48 69.5 35",
}
_CUFFS = {
    "long": "M 89.3 73 C 89.5 75 89.5 76.5 89 78.4 C 86 80 82.5 80.2 79.8 79.4 L 79.4 74.6 C 83 75.4 86.5 75 89.3 73",
    "bishop": "M 88.6 73.8 L 89 77.6 C 86 78.8 83 78.8 80.8 77.8 L 81 73.8",
    "short": "M 88.6 37.6 L 90.2 40 C 87 43.6 82 46 77.4 47 L 76 45 C 80.5 44 85.5 41.5 88.6 37.6",
}


def sleeves(s: Sketch, f: Fabric, kind: str, *, cuff: RGB | None = None, fill: Fabric | None = None) -> None:
    """Both sleeves, to be painted before the body."""
    cloth = fill or f
    for flip in (False, True):
        outline = path(_SLEEVES[kind].replace(" Z", ""))
        fold = path("M 80 30 C 80 42 82 52 83.5 64") if kind in ("long", "wide", "bishop") else path("M 74 26 L 79 40")
        edge = path(_CUFFS[kind]) if kind in _CUFFS else None
        if flip:
            outline, fold = mirror(outline), mirror(fold)
            edge = mirror(edge) if edge else None
        tilt = {"short": 32.0, "cap": 20.0, "puff": 12.0}.get(kind, 12.0)
        s.part(outline, cloth, angle=-tilt if not flip else tilt, shade=0.42)
        s.folds([fold], width=1.6, strength=0.2)
        if edge and cuff:
            s.part(edge, cuff, shade=0.25)


_NECKS = {  # right half of the front neckline: where it starts, how it falls
    "crew": ("M 50 21.5 C 54 21.5 58 19.5 59.5 14.5", 9.5, 14.5, 3.2),
    "scoop": ("M 50 28 C 56 28 60.5 23 61.5 15", 11.5, 15, 3.2),
    "vee": ("M 50 32 L 60 14.5", 10, 14.5, 3),
    "deep": ("M 50 44 L 59.5 14.5", 9.5, 14.5, 3),
    "boat": ("M 50 18.5 C 56 18.5 62 17.5 64 15.5", 14, 15.5, 1.6),
    "square": ("M 50 25 L 61.5 25 L 62 15.4", 12, 15.4, 2),
}


def torso(
    s: Sketch,
    f: Fabric,
    *,
    hem: float = 84.0,
    neck: str = "crew",
    sleeve: str = "",
    cuff: RGB | None = None,
    sleeve_fill: Fabric | None = None,
    waist: float = 19.5,
    flare: float = 20.0,
    waist_y: float = 56.0,
    rib: RGB | None = None,
    strap: bool = False,
    round_hem: float = 1.5,
) -> Points:
    """Sleeves, back of the neck and body. `waist` and `flare` are half widths at waist and hem; gives the neckline.

    With `strap` the armholes are cut in, as in a tank top or a pinafore.
    """
    if sleeve:
        sleeves(s, f, sleeve, cuff=cuff, fill=sleeve_fill)
    line, rx, ny, ry = _NECKS[neck]
    front = path(line)
    neckline = mirror(front)[::-1] + front
    s.part(neckline + ellipse(50, ny, rx, ry * 0.6, 360, 180), f.plain().deep(0.3), shade=0.4, edge=0.25)
    shoulder = (
        f"L {50 + rx + 6:.2f} {ny + 1.2:.2f} C {50 + rx + 4.5:.2f} 26 66.5 31 70 36"
        if strap
        else "C 64 16 68 17.5 70.5 19.5 C 70.5 25 70.2 31 69.8 36"
    )
    half = (
        f"{line} {shoulder} C 69.8 44 {50 + waist:.2f} {waist_y - 8:.2f} {50 + waist:.2f} {waist_y:.2f} "
        f"C {50 + waist + 0.5:.2f} {waist_y + (hem - waist_y) * 0.4:.2f} {50 + flare:.2f} "
        f"{hem - (hem - waist_y) * 0.35:.2f} {50 + flare:.2f} {hem:.2f} "
        f"C {50 + flare * 0.6:.2f} {hem + round_hem:.2f} {50 + flare * 0.3:.2f} "
        f"{hem + round_hem:.2f} 50 {hem + round_hem:.2f}"
    )
    s.part(sym(half), f)
    drape = [path(f"M 67 38 C 64 46 {50 + waist * 0.75:.1f} {waist_y} {50 + waist * 0.78:.1f} {hem - 6}")]
    s.folds([*drape, mirror(drape[0])], width=1.8, strength=0.15)
    s.sheen([path(f"M 41 30 C 39 42 40 54 41 {hem - 10}")], width=5, strength=0.11)
    if rib:
        band(s, neckline, rib, 1.7)
    return neckline


def hem_band(s: Sketch, f: Fabric, y: float, half: float, colour: RGB, height: float = 4.0) -> None:
    """A ribbed band below a hem."""
    ribbed = Fabric(colour, colour, "rib")
    s.part(rounded_band(y, half, height), ribbed, shade=0.3)


def rounded_band(y: float, half: float, height: float) -> Points:
    """A gently curved band about the middle line."""
    return sym(
        f"M 50 {y + 1.2} C {50 + half * 0.5} {y + 1.2} {50 + half * 0.8} {y + 0.6} {50 + half} {y} "
        f"L {50 + half - 1} {y + height} C {50 + half * 0.6} {y + height + 1.4} {50 + half * 0.3} {y + height + 1.6} "
        f"50 {y + height + 1.6}"
    )


def thread(colour: RGB) -> RGB:
    """A stitch that can be seen on the colour."""
    return light(colour, 0.35) if luma(colour) < 90 else dark(colour, 0.32)
