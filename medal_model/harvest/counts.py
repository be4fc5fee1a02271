"""What went in, what stayed, and why the rest went: of photos and of detections, and that nothing is lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


class LostError(RuntimeError):
    """Photos or detections went in and did not come out: a bug."""


@dataclass
class Tally:
    """Of one kind of thing: `taken` = `kept` + the sum of `dropped`."""

    taken: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def check(self, what: str) -> None:
        """Raises LostError with the figures where they do not add up."""
        gone = sum(self.dropped.values())
        if self.taken != self.kept + gone:
            raise LostError(f"{what}: {self.taken:,} in, but {self.kept:,} kept and {gone:,} dropped")

    def to_dict(self) -> dict[str, object]:
        return {"in": self.taken, "kept": self.kept, "dropped": dict(sorted(self.dropped.items()))}


@dataclass
class Counts:
    """Of a whole harvest."""

    photos: Tally = field(default_factory=Tally)
    detections: Tally = field(default_factory=Tally)

    def check(self) -> None:
        self.photos.check("photos")
        self.detections.check("detections")
