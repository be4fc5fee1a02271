"""Jewellery."""

from __future__ import annotations

import random

from jobs.sample.canvas import Sketch, ellipse, path, rounded
from jobs.sample.palette import dark, light
from jobs.sample.patterns import Fabric
from jobs.sample.shapes.base import ALL, Shape, spread


def cord_bracelet(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A knotted cord bracelet with a steel clip."""
    for dy, tone in ((0, f.colour), (6, f.second), (12, f.colour)):
        s.tube(ellipse(50, 46 + dy, 34, 20, 100, 440), tone, 4.4)
        for p in ellipse(50, 46 + dy, 34, 20, 100, 440)[::2]:
            s.line([(p[0] - 1.2, p[1] - 1.4), (p[0] + 1.2, p[1] + 1.4)], dark(tone, 0.35), 0.6)
    s.part(rounded(41, 60, 59, 84, 3), (176, 182, 190), shade=0.5, soft=2)


def pendant(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A fine chain with a pendant."""
    chain = path("M 22 8 C 22 40 36 62 50 70 C 64 62 78 40 78 8")
    for i, (x, y) in enumerate(chain):
        s.disc(x, y, 0.95 if i % 2 else 0.75, f.colour)
    s.tube(chain, f.colour, 0.8)
    kind = rng.randrange(3)
    if kind == 0:
        s.disc(50, 77, 7.4, f.colour)
        s.disc(50, 77, 4.4, f.second)
    elif kind == 1:
        s.part(
            path("M 50 70 C 57 78 58 84 56 88 C 53 92.6 47 92.6 44 88 C 42 84 43 78 50 70"), f.second, shade=0.6, soft=2
        )
        s.disc(50, 71, 1.8, f.colour)
    else:
        s.part(
            path("M 50 90 C 40 82 40 74 45 73 C 48 73 50 76 50 77.6 C 50 76 52 73 55 73 C 60 74 60 82 50 90"),
            f.colour,
            shade=0.6,
            soft=2,
        )


def pearls(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A strand of pearls with a metal clasp."""
    loop = path("M 50 12 C 74 12 84 34 78 56 C 72 76 60 86 50 86 C 40 86 28 76 22 56 C 16 34 26 12 50 12")
    tone = light(f.colour, 0.72) if rng.random() < 0.7 else f.second
    for x, y in loop[::2]:
        s.disc(x, y, 3.1, tone, rim=0.2)
    s.disc(50, 12, 2.8, f.colour)
    s.disc(50, 88, 4.6, f.colour)


def hoops(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A pair of hoop earrings."""
    twist = rng.random() < 0.5
    for cx in (29, 71):
        ring = ellipse(cx, 54, 18, 22, -80, 265)
        s.tube(ring, f.colour, 3.6)
        if twist:
            for p in ring[::2]:
                s.line([(p[0] - 1.3, p[1] - 1), (p[0] + 1.3, p[1] + 1)], dark(f.colour, 0.35), 0.5)
        s.tube(path(f"M {cx + 3} 32 C {cx + 3} 24 {cx - 5} 24 {cx - 5} 31"), f.colour, 1.0)


def drops(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A pair of drop earrings with a stone."""
    for cx in (31.0, 69.0):
        s.tube(path(f"M {cx} 24 C {cx} 12 {cx + 9} 12 {cx + 9} 22"), f.colour, 1.1)
        s.disc(cx, 27, 4.2, f.colour)
        s.tube([(cx, 31), (cx, 44)], f.colour, 1.1)
        stone = path(
            f"M {cx} 42 C {cx + 12} 56 {cx + 14} 66 {cx + 11} 74 C {cx + 7} 82 {cx - 7} 82 {cx - 11} 74 "
            f"C {cx - 14} 66 {cx - 12} 56 {cx} 42"
        )
        s.part(stone, f.second, shade=0.6, soft=3)
        s.sheen([path(f"M {cx - 4} 58 L {cx - 5} 70")], width=2.4, strength=0.5)
        s.tube([*stone, stone[0]], f.colour, 1.5)


def ring(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A signet ring."""
    loop = ellipse(50, 60, 24, 28)
    s.tube([*loop, loop[0]], f.colour, 6)
    s.part(rounded(33, 20, 67, 42, 8), f.colour, shade=0.55, soft=2.4)
    s.part(rounded(37.6, 23.6, 62.4, 38.4, 5.6), f.second, shade=0.45, soft=2.4)
    s.sheen([[(42, 35), (48, 26)]], width=2, strength=0.5)


def tassel_necklace(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A long beaded necklace with a tassel."""
    loop = path("M 24 6 C 22 34 34 56 50 64 C 66 56 78 34 76 6")
    for i, (x, y) in enumerate(loop):
        s.disc(x, y, 1.9 if i % 3 else 2.7, f.colour if i % 3 else f.second)
    for x in spread(-4.6, 4.6, 9):
        s.tube([(50 + x * 0.4, 71), (50 + x, 95 - abs(x) * 0.4)], f.second, 1.2)
    s.disc(50, 68, 3.8, f.colour)


def bead_bracelet(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Three stacked bead bracelets."""
    for k, dy in enumerate((0, 8, 16)):
        for i, (x, y) in enumerate(ellipse(50, 40 + dy, 33, 18)[:-1]):
            s.disc(x, y, 2.7, f.second if (i + k) % (2 + k) == 0 else f.colour)
    s.disc(50, 77, 3.6, f.colour)


SHAPES = (
    Shape(
        "pendant necklace",
        "jewellery",
        "casual",
        ALL,
        pendant,
        ("fine",),
        (25, 120),
        colours="metal",
    ),
    Shape(
        "hoop earrings",
        "jewellery",
        "casual",
        ("women", "girls"),
        hoops,
        ("polished",),
        (19, 90),
        colours="metal",
    ),
    Shape(
        "pearl necklace",
        "jewellery",
        "smart",
        ("women",),
        pearls,
        ("freshwater",),
        (59, 240),
        colours="metal",
    ),
    Shape(
        "drop earrings",
        "jewellery",
        "smart",
        ("women",),
        drops,
        ("set",),
        (35, 160),
        colours="metal",
    ),
    Shape(
        "signet ring",
        "jewellery",
        "smart",
        ("men", "unisex"),
        ring,
        ("brushed",),
        (45, 180),
        colours="metal",
    ),
    Shape(
        "cord bracelet",
        "jewellery",
        "sport",
        ALL,
        cord_bracelet,
        ("braided",),
        (12, 35),
        patterns=("twotone",),
    ),
    Shape(
        "tassel necklace",
        "jewellery",
        "boho",
        ("women",),
        tassel_necklace,
        ("beaded",),
        (19, 55),
        patterns=("twotone",),
    ),
    Shape(
        "bead bracelets",
        "jewellery",
        "boho",
        ("women", "men", "unisex"),
        bead_bracelet,
        ("stacked",),
        (15, 45),
        patterns=("twotone",),
    ),
)
