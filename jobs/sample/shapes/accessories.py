"""Belts, watches, ties, gloves and socks."""

from __future__ import annotations

import random

from jobs.sample.canvas import Sketch, ellipse, mirror, path, rounded
from jobs.sample.palette import RGB, light
from jobs.sample.patterns import Fabric
from jobs.sample.shapes.base import ADULTS, ALL, Shape, both, spread, thread


def belt(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A coiled leather belt with a frame buckle."""
    s.part(
        path(
            "M 16 40 C 16 24 34 18 52 18 C 72 18 88 26 88 40 C 88 52 72 58 52 58 "
            "L 52 49 C 66 49 77 45.6 77 39 C 77 32 66 28 52 28 C 38 28 27 32 27 42 "
            "L 27 62 L 16 62"
        ),
        f,
        shade=0.4,
    )
    s.part(path("M 16 54 C 30 52 60 66 90 62 L 91 73 C 60 77.6 30 63 16 67"), f, shade=0.35)
    s.seam(path("M 20 56.4 C 34 56 60 67.6 89 64.4"), thread(f.colour), 0.35)
    s.seam(path("M 20 64.4 C 34 64 60 75 89 71"), thread(f.colour), 0.35)
    gold = f.second
    for x in (66, 73, 80):
        s.disc(x, 68.6 + (x - 66) * 0.03, 0.9, f.deep(0.6))
    frame = rounded(11, 48, 27, 73, 3)
    s.tube([*frame, frame[0]], gold, 2.8)
    s.tube([(12, 60.4), (29, 60.4)], gold, 2)


def watch(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A dress watch on a leather strap."""
    s.part(path("M 42.5 34 L 44.5 6 L 55.5 6 L 57.5 34"), f, shade=0.4)
    s.part(path("M 42.5 66 L 44 95 C 46 97 54 97 56 95 L 57.5 66"), f, shade=0.4)
    for x in (45.6, 54.4):
        s.seam([(x, 9), (x, 32)], thread(f.colour), 0.3)
        s.seam([(x, 68), (x, 92)], thread(f.colour), 0.3)
    s.part(rounded(42, 4, 58, 9, 1.4), f.second, shade=0.3)
    _dial(s, f.second, (247, 244, 238), (60, 60, 66))


def _dial(s: Sketch, case: RGB, face: RGB, hand: RGB) -> None:
    s.part(rounded(69, 47.6, 73.6, 52.4, 1), case, shade=0.3)
    s.part(ellipse(50, 50, 20.5, 20.5), case, shade=0.55, soft=2)
    s.part(ellipse(50, 50, 17, 17), face, shade=0.25, soft=2)
    for i in range(12):
        x, y = ellipse(50, 50, 14.6, 14.6, i * 30, i * 30 + 1)[0]
        x2, y2 = ellipse(50, 50, 12.4, 12.4, i * 30, i * 30 + 1)[0]
        s.line([(x, y), (x2, y2)], hand, 0.7 if i % 3 else 1.2)
    s.line([(50, 50), (43.4, 44.6)], hand, 1.1)
    s.line([(50, 50), (58.4, 41)], hand, 0.8)
    s.disc(50, 50, 1.2, hand)


def sport_watch(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A square sports watch on a perforated band."""
    s.part(path("M 38 34 L 41 5 L 59 5 L 62 34"), f, shade=0.42)
    s.part(path("M 38 66 L 41 94 C 43 97 57 97 59 94 L 62 66"), f, shade=0.42)
    for y in (74, 80, 86):
        s.part(ellipse(50, y, 2, 1.4), f.deep(0.6), shade=0)
    s.part(rounded(31, 31, 69, 69, 9), f.deep(0.55), shade=0.4)
    s.part(rounded(35, 35, 65, 65, 6), (24, 26, 32), shade=0.2)
    for r, tone, end in ((10.5, f.second, 230), (7.4, light(f.second, 0.4), 130)):
        s.line(ellipse(50, 50, r, r, -90, end - 90), tone, 2.0)
    s.part(rounded(69, 46, 72.6, 54, 1.4), f.second, shade=0.2)


def tie(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A woven silk tie."""
    s.part(path("M 44.6 15 L 55.4 15 L 61.6 80 L 50 95 L 38.4 80"), f, angle=-38, shade=0.36)
    s.sheen([path("M 46 24 L 43.6 78")], width=2.6, strength=0.18)
    s.part(path("M 41.6 4.4 C 46 6 54 6 58.4 4.4 L 55.6 16.4 C 52 18 48 18 44.4 16.4"), f, angle=32, shade=0.4)


def gloves(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A pair of knitted gloves."""
    hand = path(
        "M 55 88 L 55.6 62 C 53 58 50.6 52 51.4 48 C 53 45.4 56 47 57.6 52 "
        "L 58.6 54 L 58.4 24 C 58.6 20 62.6 20 63 24 L 64 44 L 65.4 17 "
        "C 65.8 13 70 13 70 17 L 70.4 44 L 72.6 20.6 C 73.2 17 77 17.4 77 21 "
        "L 76.4 46 L 79.6 29 C 80.4 26 83.6 26.6 83.6 30 C 83 42 81 58 79.6 64 "
        "L 79.6 88"
    )
    knit = Fabric(f.colour, f.second, "knit")
    for h in (hand, mirror(hand)):
        s.part(h, knit, shade=0.4)
    for cuff in both(path("M 54 76 L 80.6 76 L 81 93 L 53.6 93")):
        s.part(cuff, Fabric(f.second if f.pattern == "twotone" else f.deep(0.1), f.second, "rib"), shade=0.32)


def _sock(s: Sketch, f: Fabric, dx: float) -> None:
    leg = [
        (x + dx, y)
        for x, y in path(
            "M 34 8 L 52 8 L 53 52 C 56 60 66 68 74 76 C 79 82 76 92 67 91 C 58 90 42 76 36 66 C 33 60 33.6 50 34 8"
        )
    ]
    s.part(leg, f, shade=0.4)
    s.part(
        [(x + dx, y) for x, y in path("M 33.8 7 L 52.2 7 L 52.4 18 L 33.8 18")],
        Fabric(f.plain().deep(0.12), f.second, "rib"),
        shade=0.2,
    )
    s.part(
        [
            (x + dx, y)
            for x, y in path(
                "M 66 69 C 70 72 72 74 74 76 C 79 82 76 92 67 91 C 64 90.6 61 89 58.4 87.4 C 57 80 60 73 66 69"
            )
        ],
        f.second,
        shade=0.35,
    )
    s.part(
        [(x + dx, y) for x, y in path("M 34 56 C 40 56 44 62 44 70 L 41 72.6 C 38 70 36 67 35 64")], f.second, shade=0.3
    )


def socks(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A pair of sports socks with contrast heel and toe."""
    for dx in (-16.0, 6.0):
        _sock(s, f, dx)
        for y in (22, 26):
            s.line([(34 + dx, y), (52.4 + dx, y)], f.second, 1.3)


def cord_belt(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A woven cord belt with tassels, coiled."""
    for r in (30, 25, 20):
        loop = ellipse(50, 42, r, r * 0.8)
        s.tube([*loop, loop[0]], f.colour if r != 25 else f.second, 3.2)
        for p, q in zip(loop[::2], loop[1::2], strict=False):
            s.line([p, (q[0] * 0.98 + 1, q[1] * 0.98 + 0.84)], f.deep(0.3), 0.5)
    for x0, x1 in ((62, 70), (42, 34)):
        s.tube(path(f"M {x0} 60 C {x0} 68 {x1} 68 {x1} 76"), f.colour, 2.2)
        for i in spread(-3, 3, 7):
            s.tube([(x1, 78), (x1 + i, 94)], f.second, 1.1)
        s.disc(x1, 77, 2.6, f.second)


SHAPES = (
    Shape(
        "leather belt",
        "accessories",
        "casual",
        ALL,
        belt,
        ("bridle", "vegetable-tanned"),
        (25, 69),
        colours="leather",
    ),
    Shape(
        "gloves",
        "accessories",
        "casual",
        ALL,
        gloves,
        ("wool", "cashmere-blend"),
        (19, 55),
        "winter",
        patterns=("plain", "twotone"),
    ),
    Shape(
        "dress watch",
        "accessories",
        "smart",
        ADULTS,
        watch,
        ("leather-strap",),
        (89, 290),
        colours="leather",
    ),
    Shape(
        "tie",
        "accessories",
        "smart",
        ("men", "boys"),
        tie,
        ("silk", "grenadine"),
        (29, 79),
        patterns=("plain", "stripes", "dots", "checks"),
    ),
    Shape(
        "sports watch",
        "accessories",
        "sport",
        ALL,
        sport_watch,
        ("silicone",),
        (69, 240),
        patterns=("twotone",),
    ),
    Shape(
        "sports socks",
        "accessories",
        "sport",
        ALL,
        socks,
        ("ribbed", "cushioned"),
        (9, 22),
        patterns=("twotone",),
    ),
    Shape(
        "cord belt",
        "accessories",
        "boho",
        ("women", "unisex", "men"),
        cord_belt,
        ("woven", "braided"),
        (19, 49),
        patterns=("twotone",),
    ),
)
