"""Hats and headbands."""

from __future__ import annotations

import random

from jobs.sample.canvas import Points, Sketch, ellipse, path, sym
from jobs.sample.palette import RGB, dark, light
from jobs.sample.patterns import Fabric
from jobs.sample.shapes.base import ADULTS, ALL, Shape, both, spread


def beanie(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A ribbed beanie; some have a pompom."""
    if rng.random() < 0.6:
        pom = light(f.second, 0.15)
        for i in range(36):
            a = i * 137.50776  # the golden angle gives an even ball
            r = 8.6 * (i / 36) ** 0.5
            x, y = ellipse(50, 17, r, r, a, a + 1)[0]
            s.disc(x, y, 2.8, pom, rim=0.14)
    s.part(sym("M 50 18 C 70 18 80 36 80.6 62 L 50 64"), Fabric(f.colour, f.second, "knit"), shade=0.42, soft=5)
    for x in spread(-1, 1, 7):
        s.folds(
            [path(f"M {50 + x * 4:.1f} 21 C {50 + x * 22:.1f} 30 {50 + x * 29:.1f} 46 {50 + x * 30:.1f} 60")],
            width=0.9,
            strength=0.18,
        )
    cuff = path(
        "M 17 60 C 34 64.6 66 64.6 83 60 C 84.6 67 84.6 74 83.4 80 C 66 85 34 85 16.6 80 C 15.4 74 15.4 67 17 60"
    )
    s.part(cuff, Fabric(f.second if f.pattern == "twotone" else f.deep(0.08), f.second, "rib"), shade=0.36)
    s.part([(58, 70), (67, 69.4), (67, 75.6), (58, 76.4)], (178, 132, 88), shade=0.15)


def cap(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A baseball cap from the side."""
    s.part(path("M 12 66 C 10 40 26 24 48 24 C 70 24 80 42 79 66 C 60 69 30 69 12 66"), f, soft=5)
    s.part(
        path("M 44 24.2 C 66 22 80 42 79 66 C 74 67 68 67.6 62 67.8 C 64 50 58 34 44 24.2"),
        f.second if f.pattern == "twotone" else f,
        shade=0.35,
    )
    s.seam(path("M 46 24.4 C 33 36 28 50 29 67"), f.stitch, 0.35)
    s.part(
        path("M 44 66 C 58 62.6 76 62 84 65 C 92 68 97 72 96 75 C 94 77.6 84 74 74 73 C 62 72 50 73 42 72"),
        f.second,
        shade=0.42,
    )
    s.seam(path("M 50 69.6 C 64 67.4 80 68 92 73"), dark(f.second, 0.25), 0.3)
    s.disc(46, 23.6, 2.0, f.second)
    for x, y in ((36, 40), (64, 40)):
        s.disc(x, y, 0.9, f.deep(0.35))


def _crown_hat(s: Sketch, f: Fabric, crown: Points, brim: Points, under: Points, ribbon: Points, tape: RGB) -> None:
    s.part(brim, f, shade=0.42, soft=4)
    s.part(under, f.deep(0.3), shade=0.2, edge=0)
    s.part(crown, f, shade=0.4, soft=5)
    s.part(ribbon, tape, shade=0.3)


def fedora(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A felt fedora with a pinched crown and a ribbon."""
    _crown_hat(
        s, f,
        sym("M 50 31 C 56 25.6 64 25 68 30 C 72 38 74 48 75 60 C 66 64 58 64.6 50 64.6"),
        path("M 5 62 C 14 54 30 57 50 57 C 70 57 86 54 95 62 C 90 72 70 76 50 76 C 30 76 10 72 5 62"),
        ellipse(50, 63, 26, 3.4),
        sym("M 50 56 C 60 56 68 55 74.2 52.6 L 75.2 61.6 C 66 65.4 58 66 50 66"),
        f.second,
    )  # fmt: skip
    s.folds([path("M 50 33 C 49 40 49 46 50 52")], width=1.6, strength=0.2)
    s.part(path("M 70 53.6 L 78 52 L 76 57.6 L 78.6 62.4 L 70 63"), dark(f.second, 0.12), shade=0.2)


def sun_hat(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A wide straw hat with a scarf ribbon."""
    s.part(ellipse(50, 60, 46, 17), f, shade=0.4, soft=5)
    for rx in (40, 33):
        ring = ellipse(50, 60, rx, rx * 0.36)
        s.line([*ring, ring[0]], f.deep(0.16), 0.4)
    s.part(ellipse(50, 59, 27, 7.6), f.deep(0.22), shade=0, edge=0)
    s.part(sym("M 50 22 C 66 22 73 34 75 58 C 68 63.6 58 64.6 50 64.6"), f, shade=0.42, soft=5)
    s.part(sym("M 50 55.6 C 60 55.6 68 54 74.4 51 L 75.2 58.6 C 68 64.4 58 65.6 50 65.6"), f.second, shade=0.3)
    for tail in (
        path("M 70 58 C 78 62 82 68 84 76 L 78 75 C 77 69 73 65 68 62"),
        path("M 69 59 C 74 64 75 70 75 79 L 70 77 C 70 71 69 66 66 63"),
    ):
        s.part(tail, f.second, shade=0.35)


def bucket(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A cotton bucket hat."""
    s.part(sym("M 50 27 C 60 27 67 27.6 70 30 C 73 38 75 46 76 54 C 66 58 58 58.6 50 58.6"), f, soft=5)
    s.part(sym("M 50 56.6 C 60 56.6 68 55.6 76 52 C 83 60 88 67 91 75 C 78 83 62 84 50 84"), f, shade=0.42, soft=4)
    for y, w, d in ((63, 30, 2), (69, 34, 3), (75, 37.6, 4)):
        s.seam(
            path(f"M {50 - w} {y - d} C {50 - w * 0.5} {y + 2} {50 + w * 0.5} {y + 2} {50 + w} {y - d}"),
            f.stitch,
            0.32,
            0.9,
        )
    for x in (40, 60):
        s.disc(x, 41, 1.0, f.deep(0.4))


def beret(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A wool beret, worn to one side."""
    s.tube(path("M 52 27 C 52.6 24 54 22 56 20.6"), f.deep(0.12), 1.8)
    s.part(
        path("M 9 52 C 8 36 32 25 54 26 C 78 27 94 40 92 54 C 90 64 78 68 68 68 L 26 68 C 16 66 9.6 60 9 52"),
        f,
        shade=0.45,
        soft=6,
    )
    s.folds([path("M 52 28 C 40 34 28 44 22 60"), path("M 54 28 C 66 36 74 46 78 62")], width=2.2, strength=0.12)
    s.part(path("M 25 64 C 40 68.4 58 68.4 72 65.4 L 72 71.6 C 58 75 40 75 25 70.4"), f.deep(0.22), shade=0.3)


def headband(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A knitted sports headband with a twist in front."""
    s.part(ellipse(50, 42, 36, 15), f.deep(0.45), shade=0.4)
    s.part(ellipse(50, 45.6, 33, 11.6), (255, 255, 255), shade=0, edge=0)
    knit = Fabric(f.colour, f.second, "knit")
    for side in both(
        path("M 50 57 C 66 57 82 52 86 41 C 88.4 47 88.6 54 86.6 60 C 82 70 66 75 50 75 C 46 71 46 61 50 57")
    ):
        s.part(side, knit, shade=0.42)
        x0 = side[0][0]
        s.line([(x0 + (x - x0) * 0.96, y + 8.4) for x, y in side[:15]], f.second, 1.8)
    s.part(
        path("M 43 54 C 47 58 53 58 57 54 C 59 62 59 70 57 78 C 53 74 47 74 43 78 C 41 70 41 62 43 54"),
        knit,
        shade=0.45,
    )
    s.folds([path("M 44 57 C 48 64 52 68 56 75"), path("M 56 57 C 52 64 48 68 44 75")], width=1.0, strength=0.3)


def floral_crown(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A headscarf band with a knot and fabric flowers."""
    s.part(path("M 12 62 C 14 28 86 28 88 62 L 80 66 C 76 44 24 44 20 66"), f, shade=0.45)
    s.folds([path("M 16 60 C 22 34 78 34 84 60")], width=1.0, strength=0.28)
    for i, (x, y) in enumerate(((24, 50), (35, 41), (47, 37.6), (59, 38.6), (70, 43), (79, 52))):
        tone = f.second if i % 2 else light(f.second, 0.35)
        for p in ellipse(x, y, 3.4, 3.4, 0, 300)[::9]:
            s.disc(p[0], p[1], 2.9, tone, rim=0.12)
        s.disc(x, y, 1.9, (236, 196, 92), rim=0.15)


SHAPES = (
    Shape(
        "beanie",
        "hats",
        "casual",
        ALL,
        beanie,
        ("wool", "cable-knit"),
        (19, 45),
        "winter",
        patterns=("plain", "twotone"),
    ),
    Shape(
        "bucket hat",
        "hats",
        "casual",
        ALL,
        bucket,
        ("cotton", "canvas"),
        (19, 42),
        patterns=("plain", "plain", "checks", "stripes"),
    ),
    Shape(
        "fedora",
        "hats",
        "smart",
        ADULTS,
        fedora,
        ("felt", "wool"),
        (39, 95),
    ),
    Shape(
        "beret",
        "hats",
        "smart",
        ("women",),
        beret,
        ("wool", "felt"),
        (22, 49),
        "winter",
    ),
    Shape(
        "cap",
        "hats",
        "sport",
        ALL,
        cap,
        ("cotton", "quick-dry"),
        (17, 39),
        patterns=("plain", "twotone"),
    ),
    Shape(
        "headband",
        "hats",
        "sport",
        ("women", "unisex", "girls", "men"),
        headband,
        ("knitted",),
        (12, 29),
        "winter",
        patterns=("twotone",),
    ),
    Shape(
        "sun hat",
        "hats",
        "boho",
        ("women", "unisex"),
        sun_hat,
        ("straw", "raffia"),
        (29, 69),
        "summer",
        "straw",
        ("straw",),
    ),
    Shape(
        "flower headband",
        "hats",
        "boho",
        ("women",),
        floral_crown,
        ("fabric",),
        (15, 35),
    ),
)
