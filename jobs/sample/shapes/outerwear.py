"""Coats and jackets."""

from __future__ import annotations

import random

from jobs.sample.canvas import Sketch, mirror, path, sym
from jobs.sample.palette import light
from jobs.sample.patterns import Fabric
from jobs.sample.shapes.base import ADULTS, ALL, Shape, both, buttons, hem_band, sleeves, spread, torso
from jobs.sample.shapes.tops import shirt_collar

_BRASS = (186, 140, 74)
_STEEL = (176, 182, 190)


def denim_jacket(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A trucker jacket with flap pockets and contrast stitching."""
    gold = (220, 178, 108)
    torso(s, f, sleeve="long", neck="crew", cuff=f.deep(0.1), hem=70, waist=19.5, flare=18.5)
    s.line([(50, 22), (50, 72)], f.deep(0.4), 0.5)
    for side in both(path("M 50.5 32 L 69 31")):
        s.seam(side, gold, 0.3, 0.9)
    for v in both(path("M 55 42 L 57 69")) + both(path("M 63.5 42 L 60.5 69")):
        s.seam(v, gold, 0.3, 0.9)
    for flap in both(path("M 54 34 L 65 33.4 L 65 39 L 59.5 42 L 54 39.4")):
        s.part(flap, f, shade=0.3)
    for x in (40.5, 59.5):
        s.disc(x, 39.4, 0.85, _BRASS)
    hem_band(s, f, 69.5, 18.6, f.deep(0.06), 5)
    shirt_collar(s, f)
    buttons(s, 51.8, spread(29, 66, 5), _BRASS, 0.95)


def blazer(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A single-breasted blazer over a pale shirt front."""
    torso(s, f, sleeve="long", neck="deep", hem=84, waist=17.5, flare=20.5, round_hem=-0.6, waist_y=54)
    s.part(path("M 41 14 L 59 14 L 50 45"), f.deep(0.5), shade=0.4)
    s.line(path("M 50 45 C 50.5 58 50.5 70 48 84"), f.deep(0.45), 0.55)
    for lapel in both(
        path("M 50 47 L 59.8 12.2 C 63 13.2 65 15 66 17 L 67.6 27.6 L 63.8 28.6 L 65.4 32 C 61 40 55 45 50 47")
    ):
        s.part(lapel, f, angle=14, shade=0.34)
    for side in both(path("M 57 66 L 67.2 64.8 L 67.6 69.2 L 57.4 70.4")):
        s.part(side, f, shade=0.25)
    s.line([(59, 38), (66, 37)], f.deep(0.35), 0.8)
    buttons(s, 51.6, [52, 60.5], f.plain().deep(0.5), 1.15)
    for cuff in both([(82.5, 74.5), (83, 76.6)]):
        for x, y in cuff:
            s.disc(x, y, 0.5, f.plain().deep(0.5))


def _coat_sleeves(s: Sketch, f: Fabric) -> None:
    arm = path(
        "M 61 11.5 C 69 12.4 74 15.6 76 23 C 78 32 80.5 46 81.5 60 C 79 61.6 75.6 61.8 73 61 C 72 48 69.5 38 66 28"
    )
    for side, a in ((arm, -10.0), (mirror(arm), 10.0)):
        s.part(side, f, angle=a, shade=0.45)


def trench(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A belted, double-breasted trench coat."""
    _coat_sleeves(s, f)
    s.part(path("M 41 9 L 59 9 L 50 30"), f.deep(0.5), shade=0.4)
    s.part(sym("M 50 28 L 58.5 9.4 C 62 10.4 65 12 67 14 C 67.2 22 66.6 28 65.6 34 C 64.6 40 64 44 64.4 48 "
               "C 66.5 62 70 78 72.4 93 C 64 95.4 57 95.8 50 95.8"), f)  # fmt: skip
    s.line(path("M 44.5 30 L 44 95"), f.deep(0.4), 0.5)
    for lapel in both(
        path("M 50 31 L 58.4 8.2 C 62 9 64 10.6 65.4 12.8 L 66.4 22 L 62.6 22.6 L 64 26 C 59 29 55 31 50 31")
    ):
        s.part(lapel, f, shade=0.36)
    for y in (36, 56, 66):
        for x in (46.6, 55.4):
            s.disc(x, y, 1.1, f.deep(0.5))
    s.part(sym("M 50 46 L 64.6 44.8 L 65 49 L 50 50.4"), f.deep(0.16), shade=0.3)
    s.part(path("M 47.5 45 L 53.5 45 L 53.5 51.4 L 47.5 51.4"), f.deep(0.55), shade=0.2)
    s.part(path("M 53 49 C 56 54 57 58 58 64 L 54.6 64.6 C 54 58 53 54 51 50"), f.deep(0.16), shade=0.3)
    for pocket in both(path("M 57 58 L 63.5 68")):
        s.line(pocket, f.deep(0.35), 0.9)


def wool_coat(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A long, straight wool coat with a wide collar."""
    _coat_sleeves(s, f)
    s.part(path("M 41 9 L 59 9 L 50 36"), f.deep(0.5), shade=0.4)
    s.part(sym("M 50 36 L 58.5 9.4 C 62 10.4 65 12 67 14 C 67.5 24 67.4 30 67.4 40 L 69 92 C 62 93.6 56 94 50 94"), f)
    s.line(path("M 50 38 L 49 94"), f.deep(0.45), 0.6)
    for lapel in both(path("M 50 39 L 58 7.6 C 62.6 8.4 65 10.4 66.6 13.4 L 67.6 25 L 62 27 C 58 33 54 37 50 39")):
        s.part(lapel, f, angle=10, shade=0.38)
    buttons(s, 52.6, [45, 56, 67], f.plain().deep(0.55), 1.4)
    for pocket in both(path("M 56.5 60 L 66 59 L 66.4 63.6 L 57 64.8")):
        s.part(pocket, f, shade=0.28)


def puffer(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A quilted puffer jacket with a high collar."""
    for flip in (False, True):
        for i in range(6):
            x, y = 74 + i * 1.9, 22 + i * 9.2
            cell = path(
                f"M {x - 8} {y - 4} C {x + 1} {y - 8} {x + 9} {y - 3} {x + 9} {y + 2} "
                f"C {x + 9} {y + 7} {x + 2} {y + 8} {x - 5} {y + 6}"
            )
            s.part(mirror(cell) if flip else cell, f, shade=0.5, soft=2.2)
    for i in range(6):
        y = 20 + i * 10.2
        w = 19.5 + (0.8 if i % 2 else 0)
        fill = Fabric(f.second, f.colour) if f.pattern == "twotone" and i < 2 else f
        s.part(sym(f"M 50 {y - 0.8} C 60 {y - 0.8} {50 + w - 3} {y - 1.2} {50 + w - 1} {y - 0.4} "
        f"C {50 + w + 2.2} {y + 3} {50 + w + 2.2} {y + 8} {50 + w - 1} {y + 10.6} "
                   f"C {50 + w - 4} {y + 11.4} 60 {y + 11.4} 50 {y + 11.4}"), fill, shade=0.5, soft=2.4)  # fmt: skip
    s.part(
        sym("M 50 11.5 C 56 11.5 59 10.5 61.5 9 C 63.5 13 64 17 63 21.4 C 59 23.4 55 24 50 24"), f, shade=0.5, soft=2.2
    )
    s.part([(49.1, 12), (50.9, 12), (50.9, 81.5), (49.1, 81.5)], f.plain().deep(0.55), shade=0.1)
    s.disc(50, 22, 1.0, _STEEL)


def track(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A zipped track jacket with contrast shoulders and stripes on the sleeves."""
    torso(s, f, sleeve="long", neck="crew", cuff=f.second, hem=76, waist=20, flare=19.5)
    for yoke in both(path("M 50.8 30 L 50.8 21.5 C 54 21.5 58 19.5 59.5 14.5 C 64 16 68 17.5 70.5 19.5 L 70.2 29")):
        s.part(yoke, f.second, shade=0.3)
    for stripe in both(path("M 79.4 23 C 83 32 85.5 50 87.6 72 L 85.8 72.6 C 83.6 52 81 36 77.6 26")):
        s.part(stripe, f.second, shade=0.2, edge=0.1)
    s.part(
        sym("M 50 11.6 C 55 11.6 58 11 60 10 L 61 20 C 57 23 54 24 50 24"), Fabric(f.colour, f.second, "rib"), shade=0.4
    )
    hem_band(s, f, 75.6, 19.6, f.second, 4)
    s.part([(49.4, 12), (50.6, 12), (50.6, 80), (49.4, 80)], _STEEL, shade=0)
    for pocket in both(path("M 57 58 L 62 70")):
        s.line(pocket, f.second, 0.9)


def bomber(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A bomber jacket with ribbed edges."""
    rib = f.deep(0.3)
    sleeves(s, f, "long", cuff=rib)
    torso(s, f, neck="crew", hem=73, waist=21, flare=20)
    hem_band(s, f, 72.6, 20, rib, 6)
    s.part(
        sym("M 50 17.4 C 55 17.4 58 15.4 59.6 11.6 L 62.4 15.4 C 60 21 55 24 50 24"), Fabric(rib, rib, "rib"), shade=0.3
    )
    s.part([(49.3, 21), (50.7, 21), (50.7, 78.4), (49.3, 78.4)], _BRASS, shade=0)
    for pocket in both(path("M 58 56 L 65.5 67 L 63.5 68.2 L 56.2 57.4")):
        s.part(pocket, f.deep(0.2), shade=0.2)


def parka(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A hooded parka with a furry trim and four pockets."""
    torso(s, f, sleeve="long", neck="crew", cuff=f.deep(0.12), hem=90, waist=21, flare=22)
    s.part([(47, 22), (53, 22), (53, 91.4), (47, 91.4)], f, shade=0.25)
    for y in spread(30, 86, 6):
        s.disc(50, y, 0.9, _STEEL)
    s.seam(path("M 29 58 C 40 60 60 60 71 58"), f.stitch, 0.4, 1.0)
    for pocket in both(path("M 55.5 66 L 68 65.4 L 68.6 80 L 56 80.6")) + both(
        path("M 55.5 36 L 65 35.6 L 65 45 L 55.5 45.6")
    ):
        s.part(pocket, f, shade=0.28)
    fur = light(f.second, 0.2)
    s.part(sym("M 50 26.5 C 57 25.5 64 21.4 66.5 16.5 C 64.5 9 58 5 50 5"), f.deep(0.08), shade=0.4)
    s.part(sym("M 50 23 C 55 22.4 59.4 19.6 60.6 16 C 59 11.4 55 9 50 9"), f.deep(0.5), shade=0.4)
    edge = path(
        "M 36.6 19 C 38 11.5 43 7 50 7 C 57 7 62 11.5 63.4 19 C 61 23.4 56 25.6 50 25.8 C 44 25.6 39 23.4 36.6 19"
    )
    for i, (x, y) in enumerate(edge):
        s.disc(x + (i % 3 - 1) * 0.5, y, 1.9 + (i % 2) * 0.4, fur, rim=0.1)


def kimono(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """An open kimono jacket with contrast bands and a fringe."""
    arm = path("M 60 12 C 70 13 80 18 86 24 L 96 50 C 91 55.6 84 58.4 77 58.4 L 68 36")
    for side, a in ((arm, -24.0), (mirror(arm), 24.0)):
        s.part(side, f, angle=a, shade=0.42)
    for cuff in both(
        path("M 94.4 46.4 L 96.4 50.6 C 91 56.6 84 59.4 76.8 59.4 L 75.4 55.6 C 83 55.6 90 52.4 94.4 46.4")
    ):
        s.part(cuff, f.second, shade=0.2)
    for x in spread(28.5, 71.5, 30):
        s.line([(x, 84), (x + 0.3, 95 + (round(x) % 3) * 0.7)], f.second, 0.5)
        s.tube([(x, 84), (x + 0.2, 94)], f.second, 0.55)
    s.part(path("M 41 12 L 59 12 L 57 86 L 43 86"), f.plain().deep(0.45), shade=0.3)
    for front in both(
        path(
            "M 58.5 11.6 C 63 12 67 13.5 70 16 C 71 40 72 62 72.5 86 C 66 87.4 60 87.4 54.5 86.6 "
            "C 54 60 55 36 58.5 11.6"
        )
    ):
        s.part(front, f, shade=0.36)
    for trim in both(path("M 57.6 11 L 60.4 11.4 C 57.4 36 56.6 60 57.4 87 L 53.8 86.8 C 53.2 60 54.4 34 57.6 11")):
        s.part(trim, f.second, shade=0.2)


SHAPES = (
    Shape(
        "trucker jacket",
        "outerwear",
        "casual",
        ALL,
        denim_jacket,
        ("denim",),
        (65, 130),
        colours="denim",
        patterns=("denim",),
    ),
    Shape(
        "bomber jacket",
        "outerwear",
        "casual",
        ("men", "women", "boys", "unisex"),
        bomber,
        ("nylon", "satin"),
        (69, 140),
    ),
    Shape(
        "parka",
        "outerwear",
        "casual",
        ALL,
        parka,
        ("waxed", "padded"),
        (99, 220),
        "winter",
    ),
    Shape(
        "blazer",
        "outerwear",
        "smart",
        ADULTS,
        blazer,
        ("wool", "linen", "ponte"),
        (99, 240),
        patterns=("plain", "plain", "checks"),
    ),
    Shape(
        "trench coat",
        "outerwear",
        "smart",
        ("women", "men"),
        trench,
        ("gabardine",),
        (129, 290),
    ),
    Shape(
        "wool coat",
        "outerwear",
        "smart",
        ADULTS,
        wool_coat,
        ("boiled", "double-faced"),
        (149, 320),
        "winter",
        patterns=("plain", "plain", "checks"),
    ),
    Shape(
        "puffer jacket",
        "outerwear",
        "sport",
        ALL,
        puffer,
        ("down", "recycled"),
        (89, 230),
        "winter",
        patterns=("plain", "twotone"),
    ),
    Shape(
        "track jacket",
        "outerwear",
        "sport",
        ALL,
        track,
        ("tricot", "ripstop"),
        (49, 110),
        patterns=("twotone",),
    ),
    Shape(
        "kimono jacket",
        "outerwear",
        "boho",
        ("women", "unisex", "men"),
        kimono,
        ("viscose", "velvet"),
        (55, 120),
        patterns=("plain", "floral", "plain"),
    ),
)
