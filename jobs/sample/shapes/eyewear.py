"""Sunglasses, from the front."""

from __future__ import annotations

import random

from jobs.sample.canvas import Points, Sketch, ellipse, mirror, path, sym
from jobs.sample.palette import RGB, dark
from jobs.sample.patterns import Fabric
from jobs.sample.shapes.base import ADULTS, ALL, Shape, both


def _shades(s: Sketch, frame: RGB, lens: RGB, right: Points, *, thick: float = 2.0, wire: bool = False) -> None:
    """Glasses from the front: temples behind, two lenses, a bridge."""
    for temple in both(path("M 88 41 C 93 39 95 34 94 27")):
        s.tube(temple, dark(frame, 0.15), 1.4 if wire else 2.2)
    s.tube(path("M 42 45 C 46 40.6 54 40.6 58 45"), frame, 1.2 if wire else 2.6)
    for outline in (right, mirror(right)):
        s.part(outline, lens, shade=0.5, soft=5)
        x = min(p[0] for p in outline)
        s.sheen([[(x + 9, 64), (x + 17, 42)], [(x + 14, 66), (x + 21, 46)]], width=2, strength=0.28)
        s.tube([*outline, outline[0]], frame, thick)


def wayfarer(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Square acetate sunglasses."""
    _shades(
        s,
        f.colour,
        f.deep(0.62),
        path("M 56 40 C 66 37 80 36.6 90 38.6 C 91 50 88 62 82 65 C 74 67.4 64 66.6 60 62 C 56.6 56 55.6 48 56 40"),
        thick=3.2,
    )


def aviator(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Wire aviators with a double bridge."""
    s.tube(path("M 41 38.6 C 46 37.4 54 37.4 59 38.6"), f.colour, 1.1)
    _shades(
        s,
        f.colour,
        f.second,
        path("M 57 41 C 66 37 80 37.4 88 40 C 90 54 84 68 74 68.6 C 64 68 57 56 57 41"),
        thick=1.2,
        wire=True,
    )


def cat_eye(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Cat-eye sunglasses."""
    _shades(
        s,
        f.colour,
        f.deep(0.55),
        path("M 56.6 46 C 64 42 78 40 93 33 C 94 44 90 60 80 63.6 C 70 66 60 62 57.4 55 C 56.4 52 56.2 49 56.6 46"),
        thick=3,
    )


def round_shades(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Round wire sunglasses with tinted lenses."""
    _shades(s, f.colour, f.second, ellipse(72, 52, 15.5, 15.5), thick=1.3, wire=True)


def wrap(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Wrap-around sports glasses with a mirrored visor."""
    for temple in both(path("M 90 44 C 96 42 98 36 96 26")):
        s.tube(temple, f.colour, 3)
    s.part(sym("M 50 39 C 62 36 82 35 95 40 C 96 52 90 64 78 66 C 66 67 58 62 50 56.6"), f.second, shade=0.5, soft=6)
    s.sheen([path("M 14 44 C 30 41 60 41 86 43"), path("M 70 62 L 84 44")], width=2.4, strength=0.42)
    s.tube(path("M 5 40 C 18 35 38 36 50 39 C 62 36 82 35 95 40"), f.colour, 3.2)


SHAPES = (
    Shape(
        "square sunglasses",
        "sunglasses",
        "casual",
        ALL,
        wayfarer,
        ("acetate",),
        (25, 120),
    ),
    Shape(
        "aviators",
        "sunglasses",
        "smart",
        ADULTS,
        aviator,
        ("metal",),
        (49, 160),
        colours="metal",
    ),
    Shape(
        "cat-eye sunglasses",
        "sunglasses",
        "smart",
        ("women",),
        cat_eye,
        ("acetate",),
        (39, 150),
    ),
    Shape(
        "round sunglasses",
        "sunglasses",
        "boho",
        ("women", "men", "unisex"),
        round_shades,
        ("wire",),
        (29, 99),
        colours="metal",
    ),
    Shape(
        "sports sunglasses",
        "sunglasses",
        "sport",
        ALL,
        wrap,
        ("polarised",),
        (39, 140),
        patterns=("twotone",),
    ),
)
