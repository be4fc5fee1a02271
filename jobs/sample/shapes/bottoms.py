"""Bottoms: trousers, shorts and skirts."""

from __future__ import annotations

import random

from jobs.sample.canvas import Sketch, mirror, path, sym
from jobs.sample.palette import light
from jobs.sample.patterns import Fabric
from jobs.sample.shapes.base import ADULTS, ALL, MEN, Shape, both, hem_band, spread

_BRASS = (186, 140, 74)


def _trousers(s: Sketch, f: Fabric, *, hip: float = 17.5, knee: float = 16.0, foot: float = 14.0, inner: float = 3.6,
              length: float = 92.0, crotch: float = 38.0, top: float = 8.0, waist: float = 13.5) -> None:  # fmt: skip
    """Both legs. Widths are measured from the middle line: outer edge at hip, knee and foot, inner edge at the foot."""
    mid = (crotch + length) / 2
    leg = path(
        f"M 50 {top + 1} L {50 + waist} {top} "
        f"C {50 + waist + 1.5} {top + 8} {50 + hip} {top + 16} {50 + hip} {top + 24} "
        f"C {50 + hip} {mid - 8} {50 + knee} {mid} {50 + knee} {mid + 4} L {50 + foot} {length} "
        f"C {50 + foot * 0.8} {length + 0.8} {50 + inner * 1.4} {length + 0.8} {50 + inner} {length} "
        f"L {50 + inner * 0.7 + 0.4} {mid} L 50 {crotch}"
    )
    for side, angle in ((mirror(leg), 2.0), (leg, -2.0)):
        s.part(side, f, angle=angle, shade=0.4)
        d = 1 if side is leg else -1
        s.folds([[(50 + d * 1.2, crotch + 0.5), (50 + d * 7, crotch - 4)],
                 [(50 + d * 2.2, crotch + 5), (50 + d * 8, crotch + 3)]], width=1.1, strength=0.24)  # fmt: skip
        s.sheen([[(50 + d * hip * 0.58, top + 18), (50 + d * (foot + inner) / 2, length - 8)]], width=4, strength=0.12)


def _waistband(s: Sketch, f: Fabric, *, top: float = 8.0, waist: float = 13.5, height: float = 4.2) -> None:
    s.part(
        sym(f"M 50 {top - height + 1.4} "
        f"C {50 + waist * 0.6} {top - height + 1.2} {50 + waist * 0.9} {top - height + 0.4} "
            f"{50 + waist - 0.6} {top - height} L {50 + waist + 0.5} {top + 1} C {50 + waist * 0.6} {top + 2} "
            f"{50 + waist * 0.3} {top + 2.2} 50 {top + 2.2}"),
        f,
        shade=0.2,
    )  # fmt: skip


def jeans(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Five-pocket jeans with contrast stitching and a faded thigh; the cut varies."""
    knee, foot = rng.choice([(14.5, 12.0), (16.0, 14.5), (16.5, 17.5)])
    _trousers(s, f, knee=knee, foot=foot)
    _waistband(s, f)
    gold = light(_BRASS, 0.15)
    for side in both(path("M 53.5 11 C 54 17 58 19.5 66 19")):
        s.seam(side, gold, 0.3, 0.9)
    s.seam(path("M 50 11 L 50 36"), gold, 0.3, 0.9)
    s.seam(path("M 53.4 11 C 53.6 24 53.5 30 50.4 34"), gold, 0.3, 0.9)
    s.seam(path("M 37.2 9 C 45 11 55 11 62.8 9"), gold, 0.26, 0.8)
    s.disc(50, 7.6, 1.1, _BRASS)
    for x in (40.5, 59.5):
        s.line([(x, 4.6), (x, 10)], f.deep(0.3), 1.0)
    for hem in both(path(f"M {50 + foot} 90 L 54 90")):
        s.seam(hem, gold, 0.3, 0.9)


def chinos(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Slim chinos with slanted pockets; some are turned up."""
    _trousers(s, f, knee=15, foot=12.5, length=88)
    _waistband(s, f)
    for side in both(path("M 58 10.5 L 66 20")):
        s.line(side, f.deep(0.35), 0.45)
    s.seam(path("M 53.4 11 C 53.6 24 53.5 30 50.4 34"), f.stitch, 0.28)
    s.disc(50, 7.6, 0.9, f.deep(0.3))
    if rng.random() < 0.6:
        for cuff in both(path("M 53 86 L 63 86 L 62.8 91.5 L 53.4 91.5")):
            s.part(cuff, light(f.colour, 0.22), shade=0.2)


def tailored(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Tailored trousers with a pressed crease."""
    _trousers(s, f, knee=15, foot=rng.choice([12.5, 15.5]), hip=16.8)
    _waistband(s, f, height=3.6)
    for crease in both(path("M 57.5 14 L 58.4 90")):
        s.line(crease, f.deep(0.28), 0.35)
        s.line([(x + 0.4, y) for x, y in crease], light(f.colour, 0.14), 0.25)
    for side in both(path("M 60 10 L 65.5 20")):
        s.line(side, f.deep(0.35), 0.4)
    s.line([(50, 10), (50, 36)], f.deep(0.3), 0.4)


def wide_trousers(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Flowing wide trousers with a tie belt."""
    _trousers(s, f, hip=18, knee=22, foot=27, inner=1.6, crotch=40)
    for d in (-1, 1):
        for x in (6, 13, 20):
            s.line([(50 + d * x * 0.6, 24), (50 + d * x * 1.05, 90)], f.deep(0.16), 0.35)
    _waistband(s, f.plain(), height=5)
    for tie in both(path("M 50 9 C 54 16 54 22 55.5 30")):
        s.tube(tie, f.second, 0.9)
    s.disc(50, 8.6, 1.6, f.second)


def _short_legs(s: Sketch, f: Fabric, length: float, foot: float) -> None:
    leg = path(
        f"M 50 27 L 66 26 C 69 36 {50 + foot - 2} 46 {50 + foot} {length} "
        f"C {50 + foot * 0.7} {length + 1.6} {50 + foot * 0.3} {length + 2} 52 {length + 1.4} L 50 56"
    )
    for side in (mirror(leg), leg):
        s.part(side, f, shade=0.4)
        d = 1 if side is leg else -1
        s.folds([[(50 + d * 1.4, 56), (50 + d * 9, 50)]], width=1.1, strength=0.25)


def shorts(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Turned-up shorts with pockets."""
    _short_legs(s, f, 76, 25)
    _waistband(s, f, top=27, waist=16)
    for side in both(path("M 57 29.5 L 67.5 41")):
        s.line(side, f.deep(0.35), 0.5)
    for cuff in both(path("M 52.3 72.4 C 60 73 68 72.5 74.4 71.5 L 75.3 77 C 68 78.6 60 79 52.3 78.4")):
        s.part(cuff, light(f.colour, 0.2), shade=0.25)
    s.disc(50, 26, 1.2, _BRASS)
    s.seam(path("M 53.8 30 C 54 44 54 50 50.5 54"), f.stitch, 0.3)


def sport_shorts(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Running shorts with a notched hem and side stripes."""
    _short_legs(s, f, 70, 27)
    for side in both(path("M 66 28 C 68 38 73 52 77 70.4 L 71.5 71.8 C 69 56 65 42 62.5 28")):
        s.part(side, f.second, shade=0.25)
    hem_band(s, f, 22.5, 16.4, f.deep(0.12), 5)
    for cord in both(path("M 50 28 C 53 33 52 37 53.5 42")):
        s.line(cord, f.second, 0.7)


def joggers(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Joggers with ribbed ankles, drawstring and, in two tones, a side stripe."""
    _trousers(s, f, hip=18.5, knee=17, foot=12.5, inner=4, length=86)
    if f.pattern == "twotone":
        for stripe in both(
            path("M 65.4 14 C 68.6 26 68.4 44 66.6 62 L 62.6 84 L 60 84 L 64 62 C 65.6 44 65.8 30 62.8 14")
        ):
            s.part(stripe, f.second, shade=0.15)
    for ankle in both(path("M 53.6 85 L 62.8 85 L 61.6 93 L 54.8 93")):
        s.part(ankle, Fabric(f.deep(0.14), f.second, "rib"), shade=0.3)
    hem_band(s, f, 3.6, 13.6, f.deep(0.1), 5)
    for cord in both(path("M 50.6 9 C 53 14 52 18 53.5 24")):
        s.line(cord, light(f.second, 0.1), 0.7)


def leggings(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Leggings with a high waistband and a curved seam."""
    _trousers(s, f, hip=15.5, knee=11.4, foot=8.2, inner=3.2, length=94, waist=12.5)
    for side in both(path("M 63 18 C 58 36 62 52 60.5 70 C 60 80 58 88 57.4 93")):
        s.line(side, f.second if f.pattern == "twotone" else f.deep(0.35), 0.9 if f.pattern == "twotone" else 0.45)
    _waistband(s, f, height=5.5, waist=12.5)


def pencil(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A pencil skirt with a back-slit line and waist darts."""
    s.part(sym("M 50 17 L 64.5 16 C 66 26 72 34 72 46 C 72 60 69.5 74 67.5 88 C 62 89.4 56 89.6 50 89.6"), f)
    for dart in both(path("M 58 19 C 58.6 25 59.5 29 60 33")):
        s.line(dart, f.deep(0.3), 0.4)
    s.folds([path("M 66 44 C 60 47 54 48 50 48"), path("M 50 70 L 50 89")], width=1.0, strength=0.18)
    _waistband(s, f.plain(), top=17, waist=14.6, height=4)
    s.line([(59, 78), (59, 89)], f.deep(0.45), 0.5)


def a_line(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A buttoned A-line skirt with patch pockets."""
    s.part(sym("M 50 24 L 63.5 23 C 66 38 76 60 81 78 C 72 82.5 60 83.6 50 83.6"), f)
    _waistband(s, f, top=24, waist=13.6, height=4)
    s.line([(47.8, 26), (47.4, 83.6)], f.deep(0.3), 0.4)
    for y in spread(30, 78, 6):
        s.disc(50, y, 1.0, _BRASS if f.pattern == "denim" else f.deep(0.35))
    for side in both(path("M 57 38 L 67.5 37 L 71.5 50 L 59.5 52")):
        s.part(side, f, shade=0.25)
    s.seam(path("M 20.6 75.6 C 36 81 64 81 79.4 75.6"), f.stitch, 0.3)


def maxi_skirt(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A tiered maxi skirt."""
    s.part(sym("M 50 9 L 62 8 C 65 16 67 24 68.5 31 C 62 34 56 35 50 35"), f)
    s.part(sym("M 50 33.5 C 58 33.5 64 32.5 68.5 30 C 72 42 74.5 52 76 61 C 68 64.5 58 65.5 50 65.5"), f)
    s.part(sym("M 50 63.5 C 60 63.5 68 62 76 59.5 C 80 72 82.5 82 84 92 C 72 96 60 96.5 50 96.5"), f)
    for y0, y1, w0, w1 in ((35, 62, 17, 24), (66, 93, 25, 33)):
        for x in spread(-1, 1, 9):
            s.line([(50 + x * w0, y0 + 1.5 - abs(x) * 3), (50 + x * (w0 + w1) / 2, (y0 + y1) / 2)], f.deep(0.2), 0.32)
    for y, w in ((33, 17.5), (63, 25)):
        s.seam(
            path(f"M {50 - w} {y - 2.6} C {50 - w * 0.5} {y + 1} {50 + w * 0.5} {y + 1} {50 + w} {y - 2.6}"),
            f.second,
            0.55,
            1.1,
        )
    _waistband(s, f.plain(), top=8, waist=12.2, height=4)


SHAPES = (
    Shape(
        "jeans",
        "bottoms",
        "casual",
        ALL,
        jeans,
        ("straight", "selvedge", "stretch"),
        (45, 120),
        colours="denim",
        patterns=("denim",),
    ),
    Shape(
        "chinos",
        "bottoms",
        "casual",
        (*MEN, "unisex", "women", "kids"),
        chinos,
        ("cotton twill", "garment-dyed"),
        (39, 85),
    ),
    Shape(
        "shorts",
        "bottoms",
        "casual",
        ALL,
        shorts,
        ("cotton", "linen-blend"),
        (25, 59),
        "summer",
    ),
    Shape(
        "button skirt",
        "bottoms",
        "casual",
        ("women", "girls"),
        a_line,
        ("cotton", "corduroy"),
        (35, 75),
        patterns=("plain", "checks", "floral"),
    ),
    Shape(
        "trousers",
        "bottoms",
        "smart",
        (*ADULTS, "boys"),
        tailored,
        ("wool", "crêpe", "flannel"),
        (59, 150),
        patterns=("plain", "plain", "plain", "checks"),
    ),
    Shape(
        "pencil skirt",
        "bottoms",
        "smart",
        ("women",),
        pencil,
        ("crêpe", "wool"),
        (45, 99),
        patterns=("plain", "plain", "checks"),
    ),
    Shape(
        "joggers",
        "bottoms",
        "sport",
        ALL,
        joggers,
        ("fleece", "jersey"),
        (29, 75),
        patterns=("plain", "twotone"),
    ),
    Shape(
        "leggings",
        "bottoms",
        "sport",
        ("women", "girls"),
        leggings,
        ("seamless", "compression"),
        (29, 75),
        patterns=("plain", "twotone"),
    ),
    Shape(
        "running shorts",
        "bottoms",
        "sport",
        ("men", "women", "boys", "kids"),
        sport_shorts,
        ("quick-dry", "woven"),
        (22, 49),
        "summer",
        patterns=("twotone",),
    ),
    Shape(
        "wide trousers",
        "bottoms",
        "boho",
        ("women", "men", "unisex"),
        wide_trousers,
        ("linen", "gauze"),
        (45, 95),
        patterns=("plain", "plain", "stripes"),
    ),
    Shape(
        "maxi skirt",
        "bottoms",
        "boho",
        ("women",),
        maxi_skirt,
        ("tiered cotton", "viscose"),
        (45, 99),
        patterns=("plain", "floral", "dots"),
    ),
)
