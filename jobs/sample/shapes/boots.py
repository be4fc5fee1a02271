"""Boots and sandals: one of the pair, from the side, on the floor."""

from __future__ import annotations

import random

from jobs.sample.canvas import Sketch, path
from jobs.sample.palette import luma
from jobs.sample.patterns import Fabric
from jobs.sample.shapes.base import ALL, Shape

FLOOR = 74.0
_GUM = (203, 160, 108)
_CHALK = (240, 240, 238)
_HEELWOOD = (96, 66, 46)


def boot(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A western ankle boot with stitching and a stacked heel."""
    s.part(
        path(
            "M 20 14 C 21 30 17 44 14.6 56 L 14.6 67 L 86 68.4 C 92 67 91 62 85 59.4 "
            "C 74 56 62 54 54.6 46 C 51 36 51 26 52 14.6 C 46 18.6 42 19.6 36 17.6 "
            "C 30 15.6 26 14 20 14"
        ),
        f,
    )
    s.folds([path("M 22 44 C 32 50 42 50 52 45"), path("M 24 50 C 34 55 44 54 55 50")], width=1.4, strength=0.28)
    s.sheen([path("M 28 22 C 29 32 28 38 26 44")], width=3, strength=0.22)
    for d in (0.0, 3.4):
        s.seam(path(f"M {25 + d} 22 C {30 + d} {34 + d} {40 - d} {34 + d} {46 - d} 22"), f.second, 0.5, 1.0)
    s.seam(path("M 62 54 C 67 58 74 60 84 61"), f.second, 0.5, 1.0)
    s.tube(path("M 35.6 12 C 34.6 18 35 22 36 27"), f.deep(0.15), 2.4)
    s.part(
        path("M 14 65 L 88.4 67 C 89.4 69 88.6 70.6 87 71 C 74 71 58 71 46 67.6 L 31 67.4 L 29.4 74 L 14 74"),
        _HEELWOOD,
        shade=0.25,
    )


def chelsea(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A sturdy chelsea boot with elastic gussets and a ridged sole."""
    s.part(
        path(
            "M 18 12 C 19 28 16 42 13.6 54 L 13 66 L 87 66 C 91 62 89 57 83 54.6 "
            "C 72 51 62 50 56 42 C 52 32 53 22 53.4 12"
        ),
        f,
    )
    s.part(
        path("M 29 13.6 C 30 26 31.6 36 35.6 44 C 39.6 36 41.4 26 42 13.6"),
        Fabric(f.deep(0.55), f.second, "rib"),
        shade=0.2,
    )
    s.sheen([path("M 22 20 C 23 32 22 40 20 48"), path("M 66 56 C 74 57 80 58.6 85 61")], width=2.6, strength=0.28)
    s.tube(path("M 18.6 14 C 16.6 10 17 7 20 6.4 C 22.6 7 22.6 11 21.6 16"), f.deep(0.3), 1.5)
    s.part(
        path(
            "M 12 63.6 L 89.6 63.6 C 91 67 90 71 88 74 L 80 74 L 78 71.6 "
            "L 75 74 L 68 74 L 66 71.6 L 63 74 L 56 74 L 54 71.6 L 50 71.6 "
            "L 36 71 L 35 74 L 14 74 C 12 71 11.6 67 12 63.6"
        ),
        _GUM if luma(f.colour) < 90 else (70, 56, 48),
        shade=0.35,
    )


def sandal(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A strappy flat sandal with beads."""
    s.part(
        path("M 10 66 C 30 64.4 44 68 60 68 C 72 68 82 66.4 90 67.4 C 92 70 91 73 88 74 L 13 74 C 10 72 9 69 10 66"),
        (190, 146, 100),
        shade=0.3,
    )
    s.line(path("M 10.4 71.6 L 90 71.8"), _HEELWOOD, 1.6)
    s.tube(path("M 16 66 C 13 54 15 42 21 36.4 C 28 33 36 38 38 46"), f.colour, 2.6)
    s.tube(path("M 16 50 C 24 54 32 51 38 45.6 C 42 52 43 60 42 66.6"), f.colour, 2.6)
    s.part(
        path(
            "M 56 67.6 C 56 58 60 51.6 66 50.4 C 73 50 78 57 79.6 66.4 "
            "L 73.6 67.4 C 72 61 70 57.6 67 57.6 C 64 58 62.4 62 62 68"
        ),
        f,
        shade=0.4,
    )
    s.tube(path("M 38 46 C 46 50 54 54 64 53"), f.colour, 2.2)
    for x, y in ((66, 53.6), (61, 57), (71.6, 56.6), (38, 46), (51, 52.4), (27, 51.4)):
        s.disc(x, y, 1.3, f.second)


SHAPES = (
    Shape(
        "chelsea boots",
        "shoes",
        "casual",
        ALL,
        chelsea,
        ("leather", "waxed"),
        (79, 180),
        "winter",
        "leather",
        standing=FLOOR,
    ),
    Shape(
        "ankle boots",
        "shoes",
        "boho",
        ("women", "men", "unisex"),
        boot,
        ("suede", "leather"),
        (89, 200),
        colours="leather",
        standing=FLOOR,
    ),
    Shape(
        "sandals",
        "shoes",
        "boho",
        ("women", "unisex"),
        sandal,
        ("leather", "woven"),
        (35, 95),
        "summer",
        "leather",
        standing=FLOOR,
    ),
)
