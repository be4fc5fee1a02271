"""Bags, standing."""

from __future__ import annotations

import random

from jobs.sample.canvas import Sketch, ellipse, path, rounded, sym
from jobs.sample.palette import RGB, dark, light
from jobs.sample.patterns import Fabric
from jobs.sample.shapes.base import ADULTS, ALL, Shape, both, spread, thread

_GOLD: RGB = (212, 172, 92)
_STEEL: RGB = (178, 184, 192)


def _metal(f: Fabric) -> RGB:
    """Gold on warm leather, steel on cool."""
    return _GOLD if f.colour[0] > f.colour[2] + 12 else _STEEL


def tote(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """An open tote with two straps."""
    s.tube(path("M 37 40 C 37 14 63 14 63 40"), f.deep(0.3), 2.2)
    s.part(sym("M 50 34 L 74 34 C 76 52 79 70 80 87 C 79 90 77 91 74 91 L 50 91"), f)
    s.tube(path("M 35 44 C 35 12 65 12 65 44"), f.second if f.pattern != "plain" else f.deep(0.12), 2.4)
    s.seam(path("M 26.5 37 L 73.5 37"), f.stitch, 0.35)
    for x in (35, 65):
        s.part(rounded(x - 2.4, 41, x + 2.4, 48, 0.8), f.plain().deep(0.2), shade=0.2)
        s.disc(x, 44.5, 0.8, _metal(f))
    s.folds([path("M 30 88 C 40 82 60 82 70 88"), path("M 30 40 C 34 52 33 70 28 86")], width=2.4, strength=0.14)


def crossbody(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A rounded crossbody with a long strap and a flap."""
    s.tube(path("M 24 54 C 26 2 74 2 76 54"), f.deep(0.15), 1.5)
    s.part(rounded(21, 46, 79, 89, 9), f)
    s.part(sym("M 50 45 L 72 45 C 77 45 79.4 48 79.4 53 C 79 64 72 72 50 72.6"), f, shade=0.4)
    s.seam(path("M 22.8 53 C 23.4 62 30 70 50 70.6 C 70 70 76.6 62 77.2 53"), thread(f.colour), 0.35)
    s.disc(50, 70.5, 2.6, _metal(f))
    for x in (24, 76):
        s.disc(x, 54, 1.8, _metal(f))


def handbag(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A structured top-handle bag with a turn lock."""
    s.tube(path("M 36 40 C 36 12 64 12 64 40"), f.colour, 2.8)
    s.part(sym("M 50 37 L 72 37 C 74 37 75 38 75.4 40 L 82 84 C 82.4 87.6 81 89.4 77 89.4 L 50 89.4"), f)
    s.part(sym("M 50 36 L 72.6 36 C 74.4 36 75.4 37.2 75.6 39 L 78 56 C 70 60.6 60 62.4 50 62.4"), f, shade=0.4)
    s.sheen([path("M 28 72 L 46 86"), path("M 33 42 L 45 56")], width=3, strength=0.16)
    s.seam(path("M 24 55.4 C 34 59.8 42 60.6 50 60.6 C 58 60.6 66 59.8 76 55.4"), thread(f.colour), 0.35)
    s.part(rounded(46, 57, 54, 66, 1.6), _metal(f), shade=0.4)
    s.part(rounded(48.6, 59, 51.4, 64, 1.2), dark(_metal(f), 0.3), shade=0.2)
    for x in (36, 64):
        s.disc(x, 40, 1.7, _metal(f))


def clutch(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """An envelope clutch, lying, with a wrist chain."""
    chain = path("M 84 46 C 95 54 95 72 84 79 C 78 82 74 80 72 76")
    s.tube(chain, _metal(f), 0.8)
    for x, y in chain:
        s.disc(x, y, 1.0, _metal(f))
    s.part(rounded(11, 34, 87, 72, 2.6), f)
    s.part(
        path("M 10.6 36 C 10.6 34 12 33 14 33 L 84 33 C 86 33 87.4 34 87.4 36 L 52 58.6 C 50 59.8 48 59.8 46 58.6"),
        f,
        shade=0.42,
    )
    s.seam(path("M 12.6 37.6 L 46.6 57 C 48 57.8 50 57.8 51.4 57 L 85.4 37.6"), thread(f.colour), 0.34)
    s.disc(49, 57.6, 2.5, _metal(f))


def briefcase(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A briefcase with two buckled straps."""
    s.tube(path("M 38 36 C 38 24 42 24 50 24 C 58 24 62 24 62 36"), f.deep(0.12), 3)
    s.part(rounded(12, 36, 88, 86, 3), f)
    s.part(sym("M 50 35 L 85 35 C 87.4 35 88.6 36.4 88.6 39 L 88.6 58 C 88 60 86.6 61 84 61 L 50 61"), f, shade=0.34)
    s.seam(path("M 14 39 L 14 58.6 L 86 58.6 L 86 39"), thread(f.colour), 0.35)
    for x in (29, 71):
        s.part(rounded(x - 3, 35, x + 3, 70, 1.4), f.deep(0.2), shade=0.25)
        s.part(rounded(x - 4, 58, x + 4, 66, 1.2), _metal(f), shade=0.3)
        s.part(rounded(x - 2.2, 59.8, x + 2.2, 64.2, 0.8), f.deep(0.2), shade=0)


def backpack(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A sports backpack with a front pocket and contrast trim."""
    for strap in both(path("M 66 28 C 80 34 84 56 78 78")):
        s.tube(strap, f.deep(0.35), 4)
    s.tube(path("M 44 15 C 44 7 56 7 56 15"), f.deep(0.3), 2)
    s.part(sym("M 50 12 C 66 12 74 20 75 34 L 77 82 C 77 88 74 91 69 91 L 50 91"), f)
    trim = f.second if f.pattern == "twotone" else f.deep(0.3)
    s.line(path("M 26 40 C 26 26 34 18.6 50 18.6 C 66 18.6 74 26 74 40"), trim, 1.0)
    s.part(rounded(29, 52, 71, 87, 6), Fabric(f.second, f.colour) if f.pattern == "twotone" else f, shade=0.42)
    s.line(path("M 31 60 L 69 60"), f.deep(0.55), 1.1)
    s.tube([(66, 60), (68.4, 65.6)], _STEEL, 1.1)
    s.part(rounded(43, 34, 57, 41, 1.6), trim, shade=0.25)
    for x in (46.6, 53.4):
        s.line([(x, 36), (x, 39)], f.deep(0.5), 0.7)


def duffel(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A gym duffel."""
    s.tube(path("M 34 52 C 34 20 66 20 66 52"), f.second, 2.2)
    s.part(
        path(
            "M 12 56 C 12 46 18 42 26 42 L 74 42 C 82 42 88 46 88 56 L 88 76 "
            "C 88 84 83 87 76 87 L 24 87 C 17 87 12 84 12 76"
        ),
        f,
    )
    s.line(path("M 22 45 L 78 45"), f.deep(0.5), 1.2)
    for x in (32, 64):
        s.part([(x, 45), (x + 4, 45), (x + 4, 87), (x, 87)], f.second, shade=0.2)
    for end in both(path("M 88 52 L 88 78 C 86 86 80 86.6 79 80 L 79 50 C 80 44 86 46 88 52")):
        s.part(end, f.second, shade=0.4)
    s.tube(path("M 34 60 C 34 28 66 28 66 60"), f.second, 2.2)
    s.part(rounded(41, 58, 59, 74, 2), f.deep(0.12), shade=0.3)


def basket(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A woven basket with leather handles and pompoms."""
    brown = (126, 84, 52)
    s.tube(path("M 37 48 C 37 20 63 20 63 48"), dark(brown, 0.25), 2.4)
    s.part(sym("M 50 40 C 64 40 76 39 82 37 C 81 54 77 76 70 87 C 64 90.4 58 90.4 50 90.4"), f, shade=0.42)
    s.line(path("M 18.4 39 C 30 43 70 43 81.6 39"), f.deep(0.25), 1.8)
    s.tube(path("M 36 52 C 36 22 64 22 64 52"), brown, 2.4)
    for x in spread(26, 74, 7):
        s.disc(x, 58 + (1 - ((x - 50) / 24) ** 2) * 2, 3.0, f.second, rim=0.16)


def fringe(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A slouchy suede bag with a fringe and a braided strap."""
    s.tube(path("M 27 46 C 30 4 70 4 73 46"), f.deep(0.25), 1.8)
    s.part(path("M 23 44 C 32 46 68 46 77 44 C 82 58 82 70 78 80 C 68 85 32 85 22 80 C 18 70 18 58 23 44"), f)
    s.part(
        path("M 22 43 C 34 45 66 45 78 43 C 80 51 79.6 56 78 60 C 66 64 34 64 22 60 C 20.4 56 20 51 22 43"),
        f,
        shade=0.4,
    )
    for i, x in enumerate(spread(23, 77, 25)):
        drop = 86 + (i * 7 % 5) * 1.1 - abs(x - 50) * 0.12
        s.tube([(x, 60.6 + (1 - ((x - 50) / 27) ** 2) * 2), (50 + (x - 50) * 1.03, drop)], light(f.colour, 0.04), 1.5)
    for x in (30, 50, 70):
        s.disc(x, 52, 1.7, f.second)
    for e in (ellipse(40, 52, 2.6, 2), ellipse(60, 52, 2.6, 2)):
        s.line([*e, e[0]], f.second, 0.6)


def belt_bag(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A belt bag on its webbing."""
    s.tube(path("M 16 52 C 2 40 20 26 50 26 C 80 26 98 40 84 52"), f.deep(0.4), 3)
    s.part(path("M 14 50 C 30 44 70 44 86 50 C 88 66 78 78 66 80 C 56 81.4 44 81.4 34 80 C 22 78 12 66 14 50"), f)
    s.line(path("M 19 56.6 C 34 52 66 52 81 56.6"), f.second, 1.4)
    s.tube([(78, 56.4), (79.6, 62)], _STEEL, 1.1)
    s.part(rounded(41, 62, 59, 68.6, 1.6), f.second, shade=0.2)


SHAPES = (
    Shape(
        "tote bag",
        "bags",
        "casual",
        ALL,
        tote,
        ("canvas", "cotton"),
        (29, 95),
        patterns=("plain", "stripes", "checks", "plain"),
        standing=90.4,
    ),
    Shape(
        "crossbody bag",
        "bags",
        "casual",
        ("women", "unisex", "girls"),
        crossbody,
        ("leather", "grained"),
        (49, 130),
        colours="leather",
        standing=88.6,
    ),
    Shape(
        "handbag",
        "bags",
        "smart",
        ("women",),
        handbag,
        ("leather", "structured"),
        (99, 290),
        colours="leather",
        standing=89,
    ),
    Shape(
        "clutch",
        "bags",
        "smart",
        ("women",),
        clutch,
        ("leather", "satin"),
        (45, 140),
        colours="leather",
    ),
    Shape(
        "briefcase",
        "bags",
        "smart",
        ("men", "unisex"),
        briefcase,
        ("leather", "saddle"),
        (120, 290),
        colours="leather",
        standing=85.6,
    ),
    Shape(
        "backpack",
        "bags",
        "sport",
        ALL,
        backpack,
        ("nylon", "recycled"),
        (39, 120),
        patterns=("plain", "twotone"),
        standing=90.6,
    ),
    Shape(
        "duffel bag",
        "bags",
        "sport",
        ADULTS,
        duffel,
        ("nylon", "ripstop"),
        (45, 110),
        patterns=("twotone",),
        standing=86.6,
    ),
    Shape(
        "belt bag",
        "bags",
        "sport",
        ("unisex", "kids", "boys", "girls", "men"),
        belt_bag,
        ("nylon",),
        (22, 55),
        patterns=("twotone",),
    ),
    Shape(
        "basket bag",
        "bags",
        "boho",
        ("women", "unisex"),
        basket,
        ("straw", "seagrass"),
        (35, 89),
        "summer",
        "straw",
        ("straw",),
        89.6,
    ),
    Shape(
        "fringe bag",
        "bags",
        "boho",
        ("women", "unisex"),
        fringe,
        ("suede",),
        (69, 160),
        colours="leather",
    ),
)
