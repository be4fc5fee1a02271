"""Recorded detections: a CSV with one row a garment, as Clothing Co-Parsing's masks give it.

    photo,label,x,y,w,h[,score][,mask_area][,photo_w,photo_h]

`photo` is the file's name with or without its suffix. A missing score counts as 1: a person drew it. Other columns
are ignored, the source's own `category` too.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

from medal_model.harvest.detections import SUFFIXES, Box, Detection, HarvestError, Photo
from medal_model.harvest.labels import fold

_NEEDED = ("photo", "label", "x", "y", "w", "h")


class RecordedDetector:
    """Detections read from a file instead of pixels."""

    def __init__(self, path: Path, person_labels: Collection[str] = ("person",)) -> None:
        """Raises HarvestError naming file and line: a missing column, a cell that is no number, an empty box."""
        people = {fold(p) for p in person_labels}
        self._path = path
        try:
            data = path.read_bytes()
            lines = io.StringIO(data.decode("utf-8-sig"), newline="")
        except FileNotFoundError as e:
            raise HarvestError(f"{path}: no such file; give recorded detections as CSV") from e
        except (OSError, UnicodeDecodeError) as e:
            raise HarvestError(f"{path}: cannot be read as CSV in UTF-8: {e}") from e
        reader = csv.DictReader(lines, strict=True)
        found: defaultdict[str, list[Detection]] = defaultdict(list)
        self._size: dict[str, tuple[int, int, int]] = {}  # photo: width, height, line
        try:
            if lack := [c for c in _NEEDED if c not in (reader.fieldnames or ())]:
                raise HarvestError(f"{path}:1: has no column {', '.join(lack)}; needs {', '.join(_NEEDED)}")
            for row in reader:
                self._read(row, f"{path}:{reader.line_num}", reader.line_num, people, found)
        except csv.Error as e:
            raise HarvestError(f"{path}:{reader.reader.line_num}: cannot be read as CSV: {e}") from e
        if not found:
            raise HarvestError(f"{path}: holds no detection")
        self._found = {k: tuple(v) for k, v in found.items()}
        self.name = f"recorded:{path.name}@{hashlib.sha256(data).hexdigest()[:12]}"
        self.persons = any(d.person for ds in self._found.values() for d in ds)

    @property
    def held(self) -> Mapping[str, int]:
        """Rows by photo name."""
        return {name: len(ds) for name, ds in self._found.items()}

    def detect(self, photo: Photo) -> tuple[Detection, ...]:
        """The photo's rows, in the file's order. Raises HarvestError where the photo has another size than recorded."""
        size = self._size.get(photo.name, (photo.width, photo.height, 0))
        if size[:2] != (photo.width, photo.height):
            raise HarvestError(
                f"{self._path}:{size[2]}: recorded on {size[0]} x {size[1]} pixels, but {photo.path} has "
                f"{photo.width} x {photo.height}; give the photos the boxes were made on"
            )
        return self._found.get(photo.name, ())

    def _read(
        self, row: Mapping[str, str], where: str, line: int, people: set[str], found: Mapping[str, list[Detection]]
    ) -> None:
        if None in row or None in row.values():
            raise HarvestError(f"{where}: has another number of fields than the header")
        name, label = _stem(row["photo"].strip()), fold(row["label"])
        if not name or not label:
            raise HarvestError(f"{where}: photo and label must not be empty")
        x, y, w, h = (_number(row, c, where) for c in "xywh")
        if w <= 0 or h <= 0:
            raise HarvestError(f"{where}: w and h must be above 0, are {row['w']} and {row['h']}")
        score = _number(row, "score", where) if row.get("score") else 1.0
        if not 0 <= score <= 1:
            raise HarvestError(f"{where}: score must be from 0 to 1, is {row['score']}")
        area = _number(row, "mask_area", where) if row.get("mask_area") else None
        if row.get("photo_w") and row.get("photo_h"):
            size = (int(_number(row, "photo_w", where)), int(_number(row, "photo_h", where)), line)
            if self._size.setdefault(name, size)[:2] != size[:2]:
                raise HarvestError(f"{where}: photo {name} has another size than in line {self._size[name][2]}")
        found[name].append(Detection(label, score, Box(x, y, w, h), area, label in people))


def _stem(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _number(row: Mapping[str, str], column: str, where: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise HarvestError(f"{where}: {column} must be a number, is '{row[column]}'")
    return value
