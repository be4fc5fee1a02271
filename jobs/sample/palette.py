"""The sample's colours and the rule of which go together.

Every colour has an undertone (warm or cool) and, unless it is a neutral, a place on a wheel of twelve hues.
Two colours harmonise when their undertones agree and they are a neutral with anything, or two accents
that are analogous (at most two steps apart) or complementary (five to seven steps apart).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Undertone = Literal["warm", "cool"]
RGB = tuple[int, int, int]

ANALOGOUS_STEPS = 2  # of twelve: 60 degrees
COMPLEMENTARY_STEPS = 5  # the far side of the wheel, give or take one step


@dataclass(frozen=True)
class Colour:
    """A named colour; `hue` is a step on the wheel of twelve (0 red, 4 green, 8 blue), None for a neutral."""

    name: str
    rgb: RGB
    undertone: Undertone
    hue: int | None = None

    @property
    def neutral(self) -> bool:
        return self.hue is None


def _c(name: str, code: str, undertone: Undertone, hue: int | None = None) -> Colour:
    return Colour(name, (int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)), undertone, hue)


CLOTH: tuple[Colour, ...] = (
    _c("White", "f4f5f7", "cool"),
    _c("Mist grey", "bcc3cb", "cool"),
    _c("Charcoal", "4a4f58", "cool"),
    _c("Black", "24252b", "cool"),
    _c("Navy", "27344f", "cool"),
    _c("Raspberry", "b8325f", "cool", 11),
    _c("Blush pink", "eab9c6", "cool", 11),
    _c("Burgundy", "74233d", "cool", 0),
    _c("Lilac", "b9a6da", "cool", 9),
    _c("Violet", "68509c", "cool", 9),
    _c("Cobalt", "2f58b5", "cool", 8),
    _c("Sky blue", "96bfe3", "cool", 7),
    _c("Mint", "a6d9c5", "cool", 5),
    _c("Emerald", "1f7d61", "cool", 5),
    _c("Ivory", "f5ecd9", "warm"),
    _c("Sand", "d9c3a0", "warm"),
    _c("Camel", "bd8c56", "warm"),
    _c("Chocolate", "5b3d2b", "warm"),
    _c("Terracotta", "c8654a", "warm", 0),
    _c("Coral", "ef8a6b", "warm", 0),
    _c("Rust", "a84e26", "warm", 1),
    _c("Mustard", "d8a12f", "warm", 2),
    _c("Butter", "f3d98a", "warm", 2),
    _c("Olive", "7b7a3c", "warm", 3),
    _c("Sage", "a5b18a", "warm", 3),
    _c("Petrol", "1f6470", "warm", 6),
)
LEATHER: tuple[Colour, ...] = (
    _c("Black", "26262b", "cool"),
    _c("Dove grey", "a9aeb6", "cool"),
    _c("Navy", "28365a", "cool"),
    _c("White", "f1f2f4", "cool"),
    _c("Burgundy", "6f2238", "cool", 0),
    _c("Cobalt", "3159b0", "cool", 8),
    _c("Blush pink", "e6b3c0", "cool", 11),
    _c("Emerald", "1d6e57", "cool", 5),
    _c("Tan", "b5773f", "warm"),
    _c("Chestnut", "6e3f26", "warm"),
    _c("Sand", "d6bd97", "warm"),
    _c("Ivory", "f2e8d5", "warm"),
    _c("Terracotta", "bf5d43", "warm", 0),
    _c("Mustard", "cf982c", "warm", 2),
    _c("Olive", "6d6c38", "warm", 3),
    _c("Petrol", "1f5d69", "warm", 6),
)
DENIM: tuple[Colour, ...] = (
    _c("Indigo", "2f4468", "cool"),
    _c("Mid-blue", "5f83ad", "cool"),
    _c("Washed grey", "7b828d", "cool"),
    _c("Pale blue", "a3bedb", "cool"),
    _c("Ecru", "ebe0c8", "warm"),
    _c("Tobacco", "8d6239", "warm"),
    _c("Khaki", "98905f", "warm"),
)
METAL: tuple[Colour, ...] = (
    _c("Silver", "b9c0c9", "cool"),
    _c("Gunmetal", "656b75", "cool"),
    _c("Gold", "d9ab45", "warm"),
    _c("Rose gold", "d79a7c", "warm"),
)
STRAW: tuple[Colour, ...] = (
    _c("Natural", "dfc08a", "warm"),
    _c("Honey", "c99a55", "warm"),
    _c("Bleached", "eeece6", "cool"),
    _c("Slate", "727a86", "cool"),
)
RANGES: dict[str, tuple[Colour, ...]] = {
    "cloth": CLOTH,
    "leather": LEATHER,
    "denim": DENIM,
    "metal": METAL,
    "straw": STRAW,
}


def hue_distance(a: int, b: int) -> int:
    """Steps between two hues on the wheel of twelve, 0 to 6."""
    d = abs(a - b) % 12
    return min(d, 12 - d)


def harmonise(a: Colour, b: Colour) -> bool:
    """Whether two colours may stand in one outfit. Symmetric."""
    if a.undertone != b.undertone:
        return False
    if a.hue is None or b.hue is None:
        return True
    d = hue_distance(a.hue, b.hue)
    return d <= ANALOGOUS_STEPS or d >= COMPLEMENTARY_STEPS


def mix(a: RGB, b: RGB, t: float) -> RGB:
    """Linear blend of two colours; t = 0 gives a, t = 1 gives b."""
    return (
        round(a[0] + (b[0] - a[0]) * t),
        round(a[1] + (b[1] - a[1]) * t),
        round(a[2] + (b[2] - a[2]) * t),
    )


def dark(c: RGB, t: float) -> RGB:
    """A deeper tone of c."""
    return mix(c, (18, 18, 34), t)


def light(c: RGB, t: float) -> RGB:
    """A paler tone of c."""
    return mix(c, (255, 255, 255), t)


def luma(c: RGB) -> float:
    """Perceived brightness, 0 to 255 (ITU-R BT.601 weights)."""
    return 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2]
