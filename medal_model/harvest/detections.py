"""Photos, detections and the detector's protocol: what the parts of the harvest hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")  # of photos
UInt8 = npt.NDArray[np.uint8]


class HarvestError(ValueError):
    """Input or output of a harvest that cannot be used; the message names file and line, and the next step."""


class DetectorError(ValueError):
    """A detector that cannot be opened here; the message says what to do."""


@dataclass(frozen=True)
class Box:
    """Left, top, width and height in pixels of the photo."""

    x: float
    y: float
    w: float
    h: float

    @property
    def area(self) -> float:
        return self.w * self.h

    def clipped(self, width: int, height: int) -> Box:
        """The part inside a photo; of no area where there is none."""
        left, top = min(max(self.x, 0.0), width), min(max(self.y, 0.0), height)
        right, bottom = min(max(self.x + self.w, 0.0), width), min(max(self.y + self.h, 0.0), height)
        return Box(left, top, right - left, bottom - top)

    def common(self, other: Box) -> float:
        """Area of the intersection."""
        w = min(self.x + self.w, other.x + other.w) - max(self.x, other.x)
        h = min(self.y + self.h, other.y + other.h) - max(self.y, other.y)
        return max(0.0, w) * max(0.0, h)

    def iou(self, other: Box) -> float:
        """Intersection over union; 0 for two empty boxes."""
        both = self.common(other)
        union = self.area + other.area - both
        return both / union if union > 0 else 0.0

    def inside(self, other: Box) -> float:
        """Share of this box that lies in the other."""
        return self.common(other) / self.area if self.area > 0 else 0.0


@dataclass(frozen=True)
class Detection:
    """A thing seen in a photo. `score` is in [0, 1]; `mask_area` is in pixels, where a mask is known."""

    label: str
    score: float
    box: Box
    mask_area: float | None = None
    person: bool = False

    @property
    def visible(self) -> float:
        """Pixels of it that are seen: of its mask where known, else of its box."""
        return self.box.area if self.mask_area is None else self.mask_area


@dataclass(frozen=True)
class Photo:
    """A decoded photo: `name` is the file's stem, `pixels` are upright RGB, uint8 [H, W, 3]."""

    name: str
    path: Path
    sha256: str
    pixels: UInt8

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])


class Detector(Protocol):
    """Photo to detections, in an order that is the same every time."""

    @property
    def name(self) -> str:
        """Detector and version, for the provenance of every item."""

    @property
    def persons(self) -> bool:
        """Does it report people?"""

    @property
    def held(self) -> Mapping[str, int]:
        """Detections it holds before it sees any photo, by photo name; empty for one that looks at pixels."""

    def detect(self, photo: Photo) -> tuple[Detection, ...]:
        """All it sees, below the score of the rules too. Raises HarvestError where photo and recording disagree."""
