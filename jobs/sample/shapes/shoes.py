"""Shoes: one of the pair, from the side, on the floor."""

from __future__ import annotations

import random

from jobs.sample.canvas import Sketch, path
from jobs.sample.palette import light, luma
from jobs.sample.patterns import Fabric
from jobs.sample.shapes.base import ADULTS, ALL, Shape, spread, thread

FLOOR = 74.0
_GUM = (203, 160, 108)
_CHALK = (240, 240, 238)
_HEELWOOD = (96, 66, 46)


def _laces(s: Sketch, x0: float, y0: float, x1: float, y1: float, n: int, colour: tuple[int, int, int]) -> None:
    for x, y in zip(spread(x0, x1, n), spread(y0, y1, n), strict=True):
        s.tube([(x - 2.6, y + 2.9), (x + 2.2, y - 1.5)], colour, 1.15)


def sneaker(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A low leather sneaker with a cup sole."""
    s.part(
        path(
            "M 13 40 C 12 50 12 58 12.5 67 L 88 67 C 89.5 62 88 58 84 56 "
            "C 74 52.5 66 49.5 60 45 L 46 33.5 C 42 38 34 39 29 37 C 24 35 18 35 13 40"
        ),
        f,
    )
    s.sheen([path("M 20 44 C 32 50 46 50 62 53")], width=3, strength=0.2)
    s.part(
        path("M 13 40 C 12.4 46 12 52 12.2 56 L 24 56 C 26 48 25 42 22 36.4 C 18 36.4 15 37.6 13 40"),
        f.second,
        shade=0.3,
    )
    s.part(
        path("M 66 51 C 62 56 61 60 62 66.5 L 88 66.5 C 89 62 88 58 84 56 C 77 53.5 71 52.2 66 51"), f.colour, shade=0.3
    )
    s.part(
        path("M 43 36 L 60.4 46.4 C 58 49 55 51 52 52 L 37 41 C 39.6 40 42 38.4 43 36"),
        light(f.colour, 0.12),
        shade=0.3,
    )
    _laces(s, 44.5, 40.2, 57, 48.6, 4, _CHALK if luma(f.colour) < 200 else f.second)
    s.part(
        path("M 11 64.5 C 36 66.6 64 66.6 89.4 64.5 C 90.4 68 90 72 88 74 L 13.4 74 C 11 72 10.6 68 11 64.5"),
        _CHALK,
        shade=0.28,
    )
    s.line(path("M 11.4 70.8 C 36 71.8 64 71.8 89.4 70.8"), (196, 196, 196), 0.45)
    s.seam(path("M 28 55 C 34 61 44 63 58 63"), thread(f.colour), 0.32)


def runner(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A running shoe with a sculpted sole and a swoosh-free wave."""
    s.part(
        path(
            "M 14 37 C 11 44 12 54 12 62 L 89 62 C 91 58 88 54 83 52 C 74 50 66 46.5 59 41 "
            "L 48 31.5 C 43 38 36 40 30 37.5 C 25 34 19 32.5 14 37"
        ),
        Fabric(f.colour, f.second, "knit"),
    )
    s.part(
        path("M 18 60 C 26 50 38 54 46 47 C 50 43.6 53 42 56 41.4 L 62 45.6 C 55 48 52 53 45 57 C 38 60.6 30 61 18 60"),
        f.second,
        shade=0.25,
    )
    s.part(
        path("M 14 37 C 12 42 11.8 50 12 56 L 20 56 C 21.6 48 21 40 19 34.4 C 17 34.4 15.4 35.4 14 37"),
        f.second,
        shade=0.3,
    )
    _laces(s, 46.5, 37.6, 58, 45.4, 4, light(f.second, 0.55))
    s.part(
        path(
            "M 10 60 C 20 57.6 30 63.6 42 61.6 C 58 59 74 60.4 90.4 58.6 "
            "C 92.6 63 90 69.6 83 72 C 66 74.6 30 74.6 16 73.4 C 9 72 8 65 10 60"
        ),
        _CHALK,
        shade=0.35,
    )
    s.part(
        path("M 13 72 C 34 69.4 64 70.4 86 69.4 C 84 72 80 74 76 74.4 L 22 74.4 C 17 74.4 14.4 73.4 13 72"),
        f.second,
        shade=0.2,
    )
    s.line(path("M 14 66.6 C 30 69 50 64 74 66"), (200, 202, 206), 0.6)


def pump(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A stiletto pump; some are slingbacks."""
    sling = rng.random() < 0.4
    s.part(path("M 15 35 C 14 46 16.4 62 18.4 74 L 21.6 74 C 22 62 24 54 28 47 L 24 36"), f.deep(0.1), shade=0.35)
    if sling:
        s.tube(path("M 15 31 C 12 38 14 44 20 46"), f.colour, 1.4)
        s.part(
            path(
                "M 17 43 C 28 46 36 52 44 60 C 50 66 56 70.4 64 72.6 L 88 73 "
                "C 91.6 72.6 91 69.6 88 67.4 C 80 63 72 59.6 66 54 C 58 58.6 48 55 40 49 "
                "C 33 44 26 41.4 18 40.6"
            ),
            f,
        )
    else:
        s.part(
            path(
                "M 14.4 27.6 C 13 34 14 40 16 44 C 28 46 36 52 44 60 C 50 66 56 70.4 64 72.6 "
                "L 88 73 C 91.6 72.6 91 69.6 88 67.4 C 80 63 72 59.6 66 53 "
                "C 58 58 48 54 40 46.6 C 32 39 24 31 14.4 27.6"
            ),
            f,
        )
    s.sheen([path("M 62 60 C 70 66 77 68.4 85 70")], width=2.2, strength=0.4)
    s.line(path("M 16 44.4 C 28 46.4 36 52.4 44 60.4 C 50 66.4 56 70.8 64 73 L 88 73.6"), _HEELWOOD, 1.2)
    if rng.random() < 0.4:
        s.disc(66, 56, 2.2, (217, 180, 104))


def flat(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A ballet flat with a bow."""
    s.part(
        path(
            "M 12 49 C 10.6 56 11 64 13 71 L 86 71.4 C 92 70.6 91 65 86 62.6 "
            "C 78 59.6 72 57.6 67 53 C 58 62 40 63 28 57 C 22 53.6 17 50 12 49"
        ),
        f,
    )
    s.sheen([path("M 68 60 C 74 63.6 80 65 86 66.6")], width=2.4, strength=0.35)
    s.line(path("M 12 49 C 17 50 22 53.6 28 57 C 40 63 58 62 67 53"), f.second, 1.0)
    s.part(path("M 12.6 70.4 L 88 70.6 C 88 73 86 74 84 74 L 15 74 C 13 73.4 12.6 72 12.6 70.4"), _HEELWOOD, shade=0.1)
    s.part(path("M 69 55.6 C 72 51.6 76 51.6 77 54 C 77.4 57 73 58 69 55.6"), f.second, shade=0.3)
    s.part(path("M 69 55.6 C 67 51 63 50.6 62.4 53.4 C 62.6 56.4 66 57.4 69 55.6"), f.second, shade=0.3)
    s.disc(69, 55.4, 1.2, f.second)


def loafer(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A penny loafer."""
    s.part(
        path(
            "M 13 44 C 11.6 52 11.6 60 12.4 68 L 86 68.4 C 91 67 90.6 61 86 58 "
            "C 78 54 70 52 62 44.6 C 58 41.6 54 41 50 42.4 C 40 48 26 46 13 44"
        ),
        f,
    )
    s.part(
        path(
            "M 50 42.4 C 54 41 58 41.6 62 44.6 C 69 51 77 54 84 57.4 C 76 59.6 68 57.4 60 54 C 54 51.4 50 47.6 50 42.4"
        ),
        light(f.colour, 0.12),
        shade=0.3,
    )
    s.part(
        path("M 47 44 C 51 50 56 55 57 66.6 L 64.4 66.6 C 64 57 62 50 57.4 43 C 54 40.6 50 41.2 47 44"),
        f.deep(0.16),
        shade=0.35,
    )
    s.line([(55.6, 50.6), (59.6, 49.4)], f.deep(0.7), 1.2)
    s.sheen([path("M 68 61 C 75 63 80 63 86 63")], width=2.4, strength=0.35)
    s.seam(path("M 18 60 C 28 62 40 62 54 62"), thread(f.colour), 0.3)
    s.part(path("M 11.6 66.6 L 88.6 67 C 89.4 69.4 88.6 70.6 87 71 L 34 71 L 33 74 L 13 74"), _HEELWOOD, shade=0.15)


def derby(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A laced derby with a toe cap."""
    s.part(
        path(
            "M 14 37 C 12 48 11.6 58 12.4 68 L 87 68.4 C 91.6 67 91 61 86 58 "
            "C 76 54 66 52 58 44 L 50 33.6 C 44 39 36 40 30 39 C 24 37 19 36 14 37"
        ),
        f,
    )
    s.part(
        path("M 72 53.4 C 68.6 58 68 62 69 68 L 87 68.4 C 91.6 67 91 61 86 58 C 81 56 76 54.6 72 53.4"),
        light(f.colour, 0.08),
        shade=0.3,
    )
    s.sheen([path("M 75 59 C 79 60 83 61.6 87 63.4")], width=2.2, strength=0.42)
    s.part(
        path("M 50 33.6 L 60.6 46.4 C 58 50.6 54 53.6 49 55 L 33 50 C 34 45 33 41 31 38.6 C 38 40 45 38.6 50 33.6"),
        f.deep(0.08),
        shade=0.3,
    )
    _laces(s, 47.6, 40, 56, 48.4, 4, f.deep(0.55))
    s.seam(path("M 70 55 C 67.4 59 66.8 63 67.6 67.6"), thread(f.colour), 0.32)
    s.seam(path("M 30 49.6 C 30 57 28 62 26 67"), thread(f.colour), 0.32)
    s.part(path("M 11.6 66.6 L 89 67 C 90 69.4 89 70.6 87.4 71 L 35 71 L 34 74 L 13 74"), _HEELWOOD, shade=0.15)


SHAPES = (
    Shape(
        "sneakers",
        "shoes",
        "casual",
        ALL,
        sneaker,
        ("leather", "canvas"),
        (49, 130),
        colours="leather",
        standing=FLOOR,
    ),
    Shape(
        "pumps",
        "shoes",
        "smart",
        ("women",),
        pump,
        ("leather", "patent"),
        (69, 190),
        colours="leather",
        standing=FLOOR,
    ),
    Shape(
        "loafers",
        "shoes",
        "smart",
        ADULTS,
        loafer,
        ("leather", "suede"),
        (79, 190),
        colours="leather",
        standing=FLOOR,
    ),
    Shape(
        "derby shoes",
        "shoes",
        "smart",
        ("men", "unisex", "boys"),
        derby,
        ("leather", "polished"),
        (89, 210),
        colours="leather",
        standing=FLOOR,
    ),
    Shape(
        "ballet flats",
        "shoes",
        "casual",
        ("women", "girls"),
        flat,
        ("leather", "suede"),
        (39, 99),
        "summer",
        "leather",
        standing=FLOOR,
    ),
    Shape(
        "running shoes",
        "shoes",
        "sport",
        ALL,
        runner,
        ("mesh", "knitted"),
        (69, 170),
        patterns=("twotone",),
        standing=FLOOR,
    ),
)
