"""Dresses and jumpsuits."""

from __future__ import annotations

import random

from jobs.sample.canvas import Sketch, mirror, path, rounded, sym
from jobs.sample.patterns import Fabric
from jobs.sample.shapes.base import ALL, Shape, band, both, spread

_BRASS = (186, 140, 74)


def _bodice(s: Sketch, f: Fabric, neck: str, *, waist_y: float = 42.0, waist: float = 11.5) -> None:
    """A sleeveless bodice from (50, 8) to the waist; `neck` is the right half of the neckline."""
    s.part(
        sym(f"{neck} L 63.5 9.5 C 62.5 17 64 21 66.5 24 "
        f"C 65.5 30 {50 + waist + 0.8} {waist_y - 6} {50 + waist} {waist_y} "
            f"C {50 + waist * 0.5} {waist_y + 1} {50 + waist * 0.3} {waist_y + 1} 50 {waist_y + 1}"),
        f,
    )  # fmt: skip


def sheath(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A sheath dress with princess seams and a narrow belt."""
    neck = rng.choice(["M 50 16 C 55 16 58 13 59 8.5", "M 50 21 L 58.5 8.5", "M 50 12.5 C 56 12.5 59 11 60 8.8"])
    s.part(path("M 41 8.5 L 59 8.5 L 57 15 L 43 15"), f.deep(0.42), shade=0.2)
    s.part(
        sym(f"{neck} C 61 8.8 63 9.4 64.5 10.5 C 63.5 17 64.5 21 67 24.5 C 66 32 62.5 38 62.2 43 "
            "C 62.5 50 68 56 68 64 C 67.5 76 66 84 65 92 C 60 93.4 55 93.6 50 93.6"),
        f,
    )  # fmt: skip
    for seam in both(path("M 59 28 C 57.5 36 57 40 57 44 C 57.5 54 60 70 59.5 92")):
        s.line(seam, f.deep(0.22), 0.35)
    s.folds([path("M 64 46 C 58 50 54 50 50 50"), path("M 36 46 C 42 50 46 50 50 50")], width=1.1, strength=0.16)
    s.sheen([path("M 42 52 C 40 62 41 74 42 88")], width=4, strength=0.14)
    s.part(sym("M 50 42 L 62.2 41.2 L 62.4 45 L 50 45.8"), f.plain().deep(0.5), shade=0.2)
    s.part(rounded(47.6, 41.4, 52.4, 46.4, 0.8), (214, 180, 110), shade=0.3)


def tee_dress(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A swingy T-shirt dress."""
    sleeve = path("M 61 11 C 67 11.8 71 14 74 19 L 79 27.5 C 77 30.2 73 32.2 70 32.6 L 64.5 25")
    for side, a in ((sleeve, -32.0), (mirror(sleeve), 32.0)):
        s.part(side, f, angle=a, shade=0.4)
    s.part(path("M 42 9.5 L 58 9.5 L 56 15 L 44 15"), f.deep(0.42), shade=0.2)
    s.part(sym("M 50 15.6 C 54 15.6 57 13.6 58 9.5 L 66 12.6 C 66 17 65.6 22 65 27 C 64 34 64 40 65.5 48 "
               "C 68 60 72.5 72 76 85 C 68 89.5 58 90 50 90"), f)  # fmt: skip
    for x in (-0.6, -0.2, 0.25, 0.65):
        s.line([(50 + x * 17, 48), (50 + x * 32, 87.5)], f.deep(0.16), 0.35)
    band(s, path("M 42 9.5 C 43 13.6 46 15.6 50 15.6 C 54 15.6 57 13.6 58 9.5"), f.plain().deep(0.1), 1.3)
    for pocket in both(path("M 59 52 L 65 60")):
        s.line(pocket, f.deep(0.35), 0.45)


def maxi(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A strappy maxi dress, tiered, with a tie waist."""
    for strap in both(path("M 59.5 16 C 59 11 58.5 8 57 4.5")):
        s.tube(strap, f.plain().deep(0.08), 0.9)
    s.part(sym("M 50 22 L 59.5 14.5 C 62 17 64 20 65.5 23.5 C 64.5 29 61.5 33 60.5 37 C 57 38 53.5 38.2 50 38.2"), f)
    s.part(sym("M 50 37.2 C 54 37.2 57.5 37 60.5 36.4 C 66 46 69.5 56 71.5 66 C 64 69 57 69.6 50 69.6"), f)
    s.part(sym("M 50 67.8 C 58 67.8 65 66.6 71.5 64.6 C 75.5 75 78.5 85 80 94.5 C 70 97.6 60 98 50 98"), f)
    for x in spread(-1, 1, 7):
        s.line([(50 + x * 10, 40), (50 + x * 17, 62)], f.deep(0.17), 0.32)
        s.line([(50 + x * 20, 70), (50 + x * 26, 92)], f.deep(0.17), 0.32)
    s.seam(path("M 28.5 65.6 C 40 69.8 60 69.8 71.5 65.6"), f.second, 0.55, 1.1)
    s.part(sym("M 50 36 L 60.6 35 L 60.9 38 L 50 39"), f.second, shade=0.2)
    for tie in both(path("M 50 38 C 52.5 44 53 49 55 55")):
        s.tube(tie, f.second, 0.7)


def jumpsuit(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A tailored wide-leg jumpsuit with a wrap neckline."""
    leg = path("M 50 40 L 61.5 40 C 65 48 67.5 56 68 64 L 70 95 C 65 96.2 58 96.2 53 95.4 L 50 58")
    for side in (mirror(leg), leg):
        s.part(side, f, shade=0.4)
    for crease in both(path("M 59 50 L 61 94")):
        s.line(crease, f.deep(0.25), 0.35)
    s.part(path("M 42 8 L 58 8 L 54 20 L 46 20"), f.deep(0.42), shade=0.2)
    _bodice(s, f, "M 50 26 L 58 8.4")
    s.line(path("M 42 8.4 L 50 26 C 53 31 56 36 58 41"), f.deep(0.35), 0.5)
    s.part(sym("M 50 40.4 L 61.8 39.6 L 62 43.6 L 50 44.4"), f.deep(0.35), shade=0.2)
    s.part(rounded(47.8, 39.8, 52.2, 44.8, 0.8), (214, 180, 110), shade=0.3)


def dungarees(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """Dungarees with a bib pocket."""
    for strap in both(path("M 58.5 21 C 60 14 60 9 57 3.5")):
        s.tube(strap, f.deep(0.12), 2.2)
    leg = path("M 50 38 L 64.5 37 C 67.5 46 68 54 67.6 62 L 65.5 93 C 61 94.4 57 94.4 53.6 93.6 L 50 60")
    for side in (mirror(leg), leg):
        s.part(side, f, shade=0.4)
    s.part(sym("M 50 19 L 60 18.4 C 60.5 26 62 32 65.5 37.5 C 60 40 55 40.6 50 40.6"), f)
    s.part(path("M 44 24 L 56 24 L 56 33 L 50 36 L 44 33"), f, shade=0.25)
    gold = (214, 172, 100)
    s.seam(path("M 44.6 25.4 L 55.4 25.4"), gold, 0.3, 0.8)
    s.seam(path("M 35.4 39 C 44 42 56 42 64.6 39"), gold, 0.3, 0.8)
    s.seam(path("M 50 42 L 50 58"), gold, 0.3, 0.8)
    for pocket in both(path("M 55 43 C 57 49 61 50.5 66 50")):
        s.seam(pocket, gold, 0.3, 0.8)
    for cuff in both(path("M 53.4 89 L 66 89 L 65.8 94.6 L 53.8 94.8")):
        s.part(cuff, f, shade=0.3)
    for x in (41, 59):
        s.disc(x, 21, 1.4, _BRASS)


def tennis(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A pleated tennis dress with contrast trim."""
    s.part(path("M 41 9 L 59 9 L 57 15 L 43 15"), f.deep(0.4), shade=0.2)
    _bodice(s, f, "M 50 19 C 55 18 58 14 59 9", waist_y=46, waist=12.5)
    s.part(sym("M 50 46 L 62.5 45 C 68 58 73 70 76 82 C 68 85.6 58 86.4 50 86.4"), f, shade=0.42)
    for x in spread(-1, 1, 11):
        s.line([(50 + x * 12.5, 47.4 - abs(x)), (50 + x * 25.6, 85.6 - abs(x) ** 2 * 3.6)], f.deep(0.22), 0.4)
    s.part(sym("M 50 45.4 L 62.4 44.4 L 63 47.6 L 50 48.8"), f.second, shade=0.2)
    s.line(path("M 25 78.6 C 36 83.6 64 83.6 75 78.6"), f.second, 1.1)
    band(s, path("M 41 9 C 42 14 45 18 50 19 C 55 18 58 14 59 9"), f.second, 1.4)
    for arm in both(path("M 63.5 9.5 C 62.5 17 64 21 66.5 24")):
        band(s, arm, f.second, 1.1)


SHAPES = (
    Shape(
        "T-shirt dress",
        "all-body",
        "casual",
        ("women", "girls"),
        tee_dress,
        ("jersey", "cotton"),
        (35, 75),
        patterns=("plain", "stripes", "floral", "dots"),
    ),
    Shape(
        "dungarees",
        "all-body",
        "casual",
        ALL,
        dungarees,
        ("denim", "washed"),
        (55, 110),
        colours="denim",
        patterns=("denim",),
    ),
    Shape(
        "sheath dress",
        "all-body",
        "smart",
        ("women",),
        sheath,
        ("crêpe", "ponte", "wool"),
        (79, 180),
        patterns=("plain", "plain", "dots", "checks"),
    ),
    Shape(
        "jumpsuit",
        "all-body",
        "smart",
        ("women", "unisex"),
        jumpsuit,
        ("crêpe", "satin"),
        (79, 190),
    ),
    Shape(
        "maxi dress",
        "all-body",
        "boho",
        ("women",),
        maxi,
        ("viscose", "cotton voile"),
        (65, 140),
        patterns=("plain", "floral", "floral", "dots"),
    ),
    Shape(
        "tennis dress",
        "all-body",
        "sport",
        ("women", "girls"),
        tennis,
        ("quick-dry", "piqué"),
        (49, 99),
        "summer",
        patterns=("twotone",),
    ),
)
