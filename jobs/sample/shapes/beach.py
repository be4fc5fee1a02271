"""A handful of swimwear and underwear: categories whose products never stand in another's lists."""

from __future__ import annotations

import random

from jobs.sample.canvas import Sketch, path, sym
from jobs.sample.patterns import Fabric
from jobs.sample.shapes.base import Shape, band, both, buttons, hem_band, spread, torso
from jobs.sample.shapes.tops import shirt_collar


def swimsuit(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A one-piece swimsuit."""
    for strap in both(path("M 60 26 C 61 18 60 12 57 6")):
        s.tube(strap, f.second, 1.8)
    s.part(
        sym(
            "M 50 34 C 55 33 59 29 60.5 24 C 63 26 66 30 68 35 C 65 44 62.6 50 63 56 "
            "C 64 62 67 66 70.6 71 C 62 76 56 84 53.4 95 L 50 95.6"
        ),
        f,
    )
    s.line(path("M 39.5 24 C 41 29 45 33 50 34 C 55 33 59 29 60.5 24"), f.second, 1.4)


def trunks(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Swimming trunks with a drawstring."""
    for leg in both(path("M 50 27 L 67 26 C 71 40 75 56 78 74 C 70 77 60 77.6 52 76.6 L 50 58")):
        s.part(leg, f, shade=0.4)
    hem_band(s, f, 21.6, 17.4, f.second, 5)
    for cord in both(path("M 50.6 27 C 54 33 52 38 54 44")):
        s.line(cord, (245, 245, 240), 0.8)


def briefs(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Cotton briefs."""
    s.part(
        sym("M 50 32 L 80 31 L 80.6 42 C 70 46 61 56 57 72 C 55 74 52 74.4 50 74.4"), Fabric(f.colour, f.second, "rib")
    )
    hem_band(s, f, 27, 30, f.second, 4.4)
    for leg in both(path("M 80.4 42.4 C 70 46.4 61 56 57 72")):
        band(s, leg, f.second, 1.2)


def pyjama(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A piped pyjama shirt."""
    torso(s, f, sleeve="long", neck="vee", cuff=f.second, hem=84, waist=20, flare=21)
    shirt_collar(s, f.plain())
    s.line([(50, 32), (50, 85)], f.second, 0.6)
    buttons(s, 50, spread(40, 78, 4), f.second)


_SUIT = ("plain", "stripes", "floral")
SHAPES = (
    Shape(
        "swimsuit",
        "swimwear",
        "casual",
        ("women", "girls"),
        swimsuit,
        ("recycled",),
        (29, 79),
        "summer",
        patterns=_SUIT,
    ),
    Shape(
        "swim trunks",
        "swimwear",
        "casual",
        ("men", "boys"),
        trunks,
        ("quick-dry",),
        (22, 55),
        "summer",
        patterns=_SUIT,
    ),
    Shape(
        "briefs",
        "underwear",
        "casual",
        ("women", "men"),
        briefs,
        ("organic cotton",),
        (9, 25),
    ),
    Shape(
        "pyjama shirt",
        "underwear",
        "casual",
        ("women", "kids"),
        pyjama,
        ("flannel", "satin"),
        (29, 69),
        patterns=("stripes", "checks", "dots"),
    ),
)
