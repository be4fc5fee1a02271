"""Tops: from the tank to the roll-neck."""

from __future__ import annotations

import random

from jobs.sample.canvas import Sketch, ellipse, path, rounded, sym
from jobs.sample.palette import dark, light, luma
from jobs.sample.patterns import Fabric
from jobs.sample.shapes.base import ADULTS, ALL, MEN, Shape, band, both, buttons, hem_band, spread, torso


def tee(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A T-shirt; some have a chest pocket."""
    rib = f.second if f.pattern == "twotone" else f.deep(0.06)
    fill = Fabric(f.second, f.colour) if f.pattern == "twotone" else None
    torso(s, f, sleeve="short", neck="crew", rib=rib, sleeve_fill=fill, hem=84)
    s.seam(path("M 30.6 82.2 C 40 84 60 84 69.4 82.2"), f.stitch)
    if rng.random() < 0.5:
        s.part(path("M 55 35 L 64 35 L 64 43.5 L 59.5 46 L 55 43.5"), f, shade=0.2)
        s.seam(path("M 55.5 36.4 L 63.5 36.4"), f.stitch)


def shirt(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A long-sleeved shirt with collar, placket and cuffs."""
    plain = f.plain()
    torso(s, f, sleeve="long", neck="crew", cuff=plain.colour, hem=82, round_hem=4, waist=19, flare=20)
    s.part([(48, 21), (52, 21), (52, 85.6), (48, 85.6)], f, shade=0.16)
    shirt_collar(s, f)
    buttons(s, 50, spread(29, 80, 6), light(f.colour, 0.75) if luma(f.colour) < 170 else f.deep(0.12))
    if rng.random() < 0.5:
        s.part(path("M 56 36 L 65 36 L 65 45 L 60.5 47.5 L 56 45"), f, shade=0.2)


def shirt_collar(s: Sketch, f: Fabric) -> None:
    """Two collar wings over the neckline."""
    for wing in both(path("M 50 22.5 L 59.5 12.5 C 61.5 14 62.5 16 63 17.5 L 58.2 27.5 Z".replace(" Z", ""))):
        s.part(wing, f, angle=25, shade=0.3)


def sweater(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A chunky knit with ribbed edges."""
    knit = f if f.pattern == "stripes" else Fabric(f.colour, f.second, "knit")
    torso(s, knit, sleeve="long", neck="crew", cuff=f.deep(0.1), rib=f.deep(0.08), hem=79, waist=20.5, flare=20)
    if f.pattern != "stripes":
        for x in (40, 50, 60):
            for dx in (-1.6, 1.6):
                s.folds([[(x + dx, 27), (x + dx, 77)]], width=0.7, strength=0.3)
    hem_band(s, f, 79, 20, f.deep(0.08))


def rollneck(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A fine-gauge roll-neck."""
    ribbed = Fabric(f.colour, f.second, "rib")
    torso(s, ribbed, sleeve="long", neck="crew", cuff=f.deep(0.08), hem=82, waist=18, flare=18.5)
    s.part(path("M 40 9.5 C 45 11.4 55 11.4 60 9.5 L 61.5 19.5 C 55 24.5 45 24.5 38.5 19.5"), ribbed, shade=0.42)
    s.folds([path("M 39 16 C 45 20 55 20 61 16")], width=0.9, strength=0.3)


def blouse(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A blouse with bishop sleeves and a bow at the neck."""
    torso(s, f, sleeve="bishop", neck="crew", cuff=f.plain().deep(0.06), hem=80, waist=18, flare=20)
    s.folds([path("M 50 26 L 50 79")], width=0.6, strength=0.25)
    bow = f.plain()
    for side in both(path("M 50 21 C 56 14 65 15 66 20 C 66 26 57 27 50 23")):
        s.part(side, bow, shade=0.45)
    for side in both(path("M 50 22 C 53 28 56 34 57.5 44 L 52.5 43 C 52 35 51 28 50 24")):
        s.part(side, bow, shade=0.4)
    s.part(ellipse(50, 22, 2.3, 2.7), bow, shade=0.4)


def peasant(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A gathered blouse with puff sleeves, a tie neck and an embroidered band."""
    torso(s, f, sleeve="bishop", neck="scoop", hem=80, waist=20, flare=25, cuff=f.second)
    for x in spread(-15, 15, 7):
        s.folds([path(f"M {50 + x * 0.75:.1f} 30 C {50 + x:.1f} 38 {50 + x * 1.1:.1f} 50 {50 + x * 1.3:.1f} 76")],
                width=0.8, strength=0.17)  # fmt: skip
    band(s, path("M 38.5 15 C 39.5 23 44 28 50 28 C 56 28 60.5 23 61.5 15"), f.second, 2.0)
    for side in both(path("M 50 28.5 C 51 34 53 37 54 43")):
        s.line(side, f.second, 0.5)
        s.disc(side[-1][0], side[-1][1] + 1, 1.2, f.second)
    for x in spread(27, 73, 13):
        s.disc(x, 76.5 + 0.5 * (1 - abs(x - 50) / 23), 0.9, f.second)


def tank(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A sports vest with bound edges and side panels."""
    torso(s, f, neck="scoop", strap=True, hem=80, waist=17.5, flare=19)
    trim = f.second if f.pattern == "twotone" else f.deep(0.3)
    for side in both(path("M 68 47 C 66.5 54 66.5 66 68.6 79.6 L 64 80.6 C 62 66 62.5 56 65.2 43")):
        s.part(side, trim, shade=0.2)
    band(s, path("M 38.5 15 C 39.5 23 44 28 50 28 C 56 28 60.5 23 61.5 15"), trim, 1.5)
    for arm in both(path("M 67.5 16.2 C 66 26 66.5 31 70 36")):
        band(s, arm, trim, 1.3)


def camisole(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A strappy top with a tasselled, scalloped hem."""
    for strap in both(path("M 61 30 C 60.5 22 59.5 16 57.5 12")):
        s.tube(strap, f.plain().deep(0.1), 0.9)
    body = sym("M 50 34 C 54 34 58 33 61.5 29 C 64 31.5 66.5 35 68.5 40 C 67 50 68 60 74 78 C 66 82.5 58 83 50 83")
    s.part(body, f)
    for x in spread(-14, 14, 6):
        s.folds([path(f"M {50 + x * 0.7:.1f} 40 C {50 + x:.1f} 52 {50 + x:.1f} 62 {50 + x * 1.35:.1f} 79")],
                width=0.9, strength=0.17)  # fmt: skip
    for x in spread(27.5, 72.5, 15):
        s.disc(x, 79.5 + 3 * (1 - ((x - 50) / 23) ** 2), 1.1, f.second)
    band(s, path("M 38.5 29 C 42 33 46 34 50 34 C 54 34 58 33 61.5 29"), f.second, 1.1)


def polo(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A polo shirt with contrast tipping."""
    torso(s, f, sleeve="short", neck="crew", cuff=f.plain().deep(0.12), hem=83)
    s.part([(47.6, 20), (52.4, 20), (52.4, 40), (47.6, 40)], f.plain(), shade=0.2)
    for wing in both(path("M 50 23 L 59.5 12.6 C 61.5 14 63 16 63.6 17.6 L 58.8 26.5")):
        s.part(wing, f.plain(), shade=0.3)
        s.line([wing[0], wing[-1]], f.second, 0.5)
    buttons(s, 50, [28.5, 35], light(f.colour, 0.7), 0.7)


def sweatshirt(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A hooded sweatshirt with a kangaroo pocket and, in two tones, raglan sleeves."""
    fill = Fabric(f.second, f.colour) if f.pattern == "twotone" else None
    torso(s, f, sleeve="long", neck="crew", cuff=f.deep(0.16), sleeve_fill=fill, hem=78, waist=21, flare=20.5)
    s.part(path("M 36 62 L 64 62 L 69 76 L 31 76"), f.plain(), shade=0.3)
    hem_band(s, f, 78, 20.5, f.deep(0.12))
    hood = sym("M 50 27 C 56 26 63 22 66 17.5 C 64.5 10 58 6.2 50 6.2")
    s.part(hood, f.plain(), shade=0.5)
    s.part(sym("M 50 24 C 55 23 59 20 60 16.5 C 59 11.6 55 9.4 50 9.4"), f.deep(0.4), shade=0.5)
    tip = light(f.second, 0.1)
    for cord in both(path("M 54.5 23.5 C 55.5 29 55 33 55.4 38")):
        s.line(cord, dark(tip, 0.25), 0.9)
        s.line(cord, tip, 0.6)


def tunic(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A band-collar linen shirt with a slit neck and wide sleeves."""
    torso(s, f, sleeve="wide", neck="crew", hem=85, waist=20.5, flare=22.5)
    s.part(path("M 49.2 21 L 50.8 21 L 50.4 40 L 49.6 40"), f.deep(0.5), shade=0)
    for side in both(path("M 51 21.5 L 52.6 40.5")):
        s.seam(side, f.second, 0.5, 0.8)
    band(s, path("M 40.5 14.5 C 42 19.5 46 21.5 50 21.5 C 54 21.5 58 19.5 59.5 14.5"), f.second, 1.8)
    s.seam(path("M 27.6 83 C 40 84.8 60 84.8 72.4 83"), f.second, 0.5, 1.0)


def jersey(s: Sketch, f: Fabric, rng: random.Random) -> None:
    """A breathable sports jersey with a chevron on the chest."""
    torso(s, f, sleeve="short", neck="vee", rib=f.second, cuff=f.second, hem=84, waist=19, flare=19.5)
    s.part(path("M 30.2 44 L 50 54 L 69.8 44 L 69.6 50.5 L 50 60.5 L 30.4 50.5"), f.second, shade=0.22)
    s.part(rounded(58, 35.5, 63, 38, 1), f.second, shade=0)
    for side in both(path("M 66.8 60 L 67.6 83")):
        s.line(side, f.deep(0.2), 0.5)


_PRINTED = ("plain", "plain", "stripes", "checks")
SHAPES = (
    Shape(
        "T-shirt",
        "tops",
        "casual",
        ALL,
        tee,
        ("cotton", "jersey", "slub"),
        (15, 39),
        patterns=("plain", "plain", "stripes", "twotone"),
    ),
    Shape(
        "sweater",
        "tops",
        "casual",
        ALL,
        sweater,
        ("wool", "merino", "cable-knit"),
        (45, 110),
        "winter",
        patterns=("plain", "plain", "stripes"),
    ),
    Shape(
        "shirt",
        "tops",
        "smart",
        (*ADULTS, "boys"),
        shirt,
        ("poplin", "linen", "Oxford"),
        (39, 95),
        patterns=(*_PRINTED, "dots"),
    ),
    Shape(
        "polo shirt",
        "tops",
        "casual",
        (*MEN, "kids"),
        polo,
        ("piqué",),
        (29, 65),
        patterns=("plain", "stripes"),
    ),
    Shape(
        "roll-neck",
        "tops",
        "smart",
        ADULTS,
        rollneck,
        ("merino", "cashmere"),
        (55, 140),
        "winter",
    ),
    Shape(
        "bow blouse",
        "tops",
        "smart",
        ("women",),
        blouse,
        ("silk", "crêpe"),
        (49, 120),
        patterns=("plain", "dots", "floral"),
    ),
    Shape(
        "peasant blouse",
        "tops",
        "boho",
        ("women",),
        peasant,
        ("cotton voile", "gauze"),
        (39, 89),
        patterns=("plain", "plain", "floral"),
    ),
    Shape(
        "camisole",
        "tops",
        "boho",
        ("women",),
        camisole,
        ("viscose", "satin"),
        (25, 59),
        "summer",
        patterns=("plain", "floral", "dots"),
    ),
    Shape(
        "tunic shirt",
        "tops",
        "boho",
        ("men", "unisex"),
        tunic,
        ("linen", "hemp"),
        (45, 95),
        patterns=("plain", "stripes"),
    ),
    Shape(
        "sports vest",
        "tops",
        "sport",
        ("women", "girls", "men"),
        tank,
        ("recycled", "quick-dry"),
        (19, 45),
        "summer",
        patterns=("plain", "twotone"),
    ),
    Shape(
        "hoodie",
        "tops",
        "sport",
        ALL,
        sweatshirt,
        ("fleece", "loopback"),
        (35, 85),
        patterns=("plain", "twotone"),
    ),
    Shape(
        "jersey",
        "tops",
        "sport",
        (*MEN, "unisex", "kids"),
        jersey,
        ("mesh", "quick-dry"),
        (25, 55),
        patterns=("twotone",),
    ),
)
