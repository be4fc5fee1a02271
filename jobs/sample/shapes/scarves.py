"""Scarves and shawls."""

from __future__ import annotations

import random

from jobs.sample.canvas import Sketch, ellipse, path
from jobs.sample.palette import light
from jobs.sample.patterns import Fabric
from jobs.sample.shapes.base import ADULTS, ALL, Shape, both, spread


def long_scarf(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A wool scarf, looped, with fringed ends."""
    for x0, x1, y in ((30, 46, 86), (52, 70, 92)):
        for x in spread(x0 + 1, x1 - 1, 9):
            s.tube([(x, y - 2), (x + 0.4, y + 6)], f.colour if round(x) % 2 else f.second, 0.8)
    s.part(path("M 34 34 L 47 40 L 46.6 86 L 29.6 86"), f, shade=0.42)
    s.part(path("M 51 38 L 66 34 L 70.6 92 L 52 92"), f, shade=0.42)
    s.part(path("M 22 20 C 28 8 72 8 78 20 C 82 32 72 46 50 47 C 28 46 18 32 22 20"), f, angle=14, shade=0.45, soft=4)
    s.part(path("M 34 18 C 42 13 58 13 66 18 C 64 27 56 30 50 30 C 44 30 36 27 34 18"), f.plain().deep(0.5), shade=0.4)
    s.part(path("M 24 24 C 34 38 66 38 76 24 C 79 34 70 46 50 47 C 30 46 21 34 24 24"), f, angle=-8, shade=0.42)
    s.folds([path("M 28 32 C 40 42 60 42 72 32")], width=1.3, strength=0.24)


def silk_square(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A silk square with a border, folded to a fan."""
    s.part(path("M 50 6 L 94 50 L 50 94 L 6 50"), f.second, shade=0.3)
    s.part(path("M 50 14 L 86 50 L 50 86 L 14 50"), f, angle=45, shade=0.22)
    s.folds([path("M 50 8 C 56 36 44 64 50 92"), path("M 28 28 C 46 44 62 60 74 74")], width=2.4, strength=0.14)
    s.sheen([path("M 34 32 C 42 48 40 60 44 80"), path("M 62 26 C 60 44 68 56 66 66")], width=3.6, strength=0.2)


def shawl(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A triangular fringed shawl."""
    for t in spread(0, 1, 27):
        for x, y in ((8 + 42 * t, 26 + 58 * t), (92 - 42 * t, 26 + 58 * t)):
            s.tube([(x, y), (x + (50 - x) * 0.06, y + 9)], f.second, 0.8)
    s.part(path("M 6 24 C 30 18 70 18 94 24 L 50 86"), f, shade=0.36)
    s.part(path("M 6 24 C 30 18 70 18 94 24 L 90 30 C 70 24 30 24 10 30"), f.second, shade=0.2)
    s.folds([path("M 30 28 C 38 44 44 60 49 78"), path("M 70 28 C 62 44 56 60 51 78")], width=2, strength=0.18)
    for edge in both(path("M 84 34 L 50 81.6")):
        s.seam(edge, f.second, 0.7, 1.2)


def snood(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A fleece neck warmer with a drawcord."""
    s.part(
        path("M 20 30 C 30 20 70 20 80 30 C 84 46 84 62 82 78 C 66 88 34 88 18 78 C 16 62 16 46 20 30"),
        f,
        shade=0.45,
        soft=5,
    )
    s.part(ellipse(50, 30, 29.4, 8.6), f.deep(0.5), shade=0.45)
    s.part(path("M 19 42 C 34 54 66 54 81 42 L 82 52 C 66 64 34 64 18 52"), f.second, shade=0.3)
    s.folds([path("M 24 70 C 38 78 62 78 76 70")], width=1.8, strength=0.2)
    s.tube(path("M 74 34 C 78 40 77 46 79 54"), light(f.second, 0.35), 1.1)
    s.disc(79, 55, 2, f.deep(0.5))


SHAPES = (
    Shape(
        "scarf",
        "scarves",
        "casual",
        ALL,
        long_scarf,
        ("wool", "lambswool"),
        (29, 85),
        "winter",
        patterns=("plain", "checks", "stripes"),
    ),
    Shape(
        "silk square",
        "scarves",
        "smart",
        ADULTS,
        silk_square,
        ("twill",),
        (39, 120),
        patterns=("plain", "floral", "dots", "plain"),
    ),
    Shape(
        "shawl",
        "scarves",
        "boho",
        ("women", "unisex"),
        shawl,
        ("fringed", "cotton"),
        (29, 79),
        patterns=("plain", "floral", "plain"),
    ),
    Shape(
        "neck warmer",
        "scarves",
        "sport",
        ALL,
        snood,
        ("fleece", "merino"),
        (17, 39),
        "winter",
        patterns=("twotone",),
    ),
)
