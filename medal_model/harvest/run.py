"""The harvest itself: photos in the order of their names, one at a time, to a complete outfits folder or none."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from PIL import Image

from medal_model.folders import replace_folder
from medal_model.harvest import layout, rules
from medal_model.harvest.config import HarvestConfig
from medal_model.harvest.counts import Counts
from medal_model.harvest.crops import cut, white_square
from medal_model.harvest.detections import SUFFIXES, Detection, Detector, HarvestError, Photo, UInt8
from medal_model.harvest.hashing import SeenHashes, difference_hash
from medal_model.harvest.questions import SPLITS, Outfit, Piece, Questions, ask, split_of
from medal_model.image_errors import ImageError
from medal_model.images import decode_image

JPEG_QUALITY = 95  # crops are small and are resized once more: no second loss that one could see
MISSING, UNREADABLE, SAME_PHOTO, SAME_CROP = (
    "not in the folder", "cannot be read", "same as another photo", "same as another crop",
)  # fmt: skip
Said = Callable[[int, int], None]


@dataclass(frozen=True)
class Harvested:
    """What came of it: `sets` by split, detections of items by id (`boxes`), photos that were not read (`notes`)."""

    out: Path
    counts: Counts
    sets: Mapping[str, tuple[Outfit, ...]]
    questions: Mapping[str, Questions]
    photos: Mapping[str, Path]  # set id: photo
    boxes: Mapping[str, Detection]
    notes: tuple[str, ...]


def harvest(
    photos: Path, detector: Detector, out: Path, config: HarvestConfig, command: str = "", said: Said | None = None
) -> Harvested:
    """Outfits from the photos of a folder, written beside `out` and moved there when complete.

    The same photos, detections, rules and command give the same bytes. `said` is told how many photos are done, of
    how many. Raises HarvestError: no photos, two photos of one name, no detection for any, `out` is something else,
    no outfit left; LostError where counts do not add up.
    """
    paths = _photos(photos)
    if detector.held and not paths.keys() & detector.held.keys():
        raise HarvestError(f"{photos}: none of its {len(paths):,} photos is named in {detector.name}")
    layout.check_replaceable(out)
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    work = out.with_name(f".{out.name}.harvesting-{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    try:
        (work / "images").mkdir(parents=True)
        with (work / layout.PROVENANCE).open("w", encoding="utf-8") as lines:
            run = _Run(detector, config, work, lines)
            for n, (name, path) in enumerate(paths.items(), 1):
                run.take(name, path)
                if said is not None:
                    said(n, len(paths))
            run.absent(paths)
        found = run.close(command)
        replace_folder(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Harvested(out=out, **found)


@dataclass
class _Run:
    """State of one harvest."""

    detector: Detector
    config: HarvestConfig
    work: Path
    lines: IO[str]
    counts: Counts = field(default_factory=Counts)
    sets: dict[str, list[Outfit]] = field(default_factory=lambda: {s: [] for s in SPLITS})
    photos: dict[str, Path] = field(default_factory=dict)
    boxes: dict[str, Detection] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._seen = SeenHashes(self.config.photo_distance)
        self._crops: dict[str, SeenHashes] = {}

    def take(self, name: str, path: Path) -> None:
        """One photo to an outfit, or to a reason."""
        self.counts.photos.taken += 1
        try:
            data = path.read_bytes()
            photo = Photo(name, path, sha256(data).hexdigest(), decode_image(data))
        except (OSError, ImageError) as e:
            kind = e.kind if isinstance(e, ImageError) else "unreadable"
            self.notes.append(f"{path}: {kind}: {e}")
            return self._unseen(name, f"{UNREADABLE}: {kind}")
        mark = difference_hash(photo.pixels)
        if self._seen.has_like(mark):
            return self._unseen(name, SAME_PHOTO)
        self._seen.add(mark)
        found = self.detector.detect(photo)
        self.counts.detections.taken += len(found)
        fates = rules.judge(found, photo.width, photo.height, self.config, self.detector.persons)
        self.counts.detections.dropped.update(fates.dropped.values())
        if fates.photo is not None:
            self.counts.photos.dropped[fates.photo] += 1
            return None
        return self._cut(photo, fates.kept)

    def absent(self, paths: Mapping[str, Path]) -> None:
        """Recorded detections of photos that are not there."""
        for name in sorted(self.detector.held.keys() - paths.keys()):
            self.counts.photos.taken += 1
            self._unseen(name, MISSING)

    def _unseen(self, name: str, why: str) -> None:
        """A photo that the detector is not asked about, and what it holds of it."""
        held = self.detector.held.get(name, 0)
        self.counts.photos.dropped[why] += 1
        self.counts.detections.taken += held
        self.counts.detections.dropped[f"photo: {why}"] += held

    def _cut(self, photo: Photo, kept: tuple[rules.Worn, ...]) -> None:
        """Crops that were not seen before; the photo goes where too few are left, and then marks nothing as seen."""
        new: list[tuple[rules.Worn, UInt8, int]] = []
        around = [w.detection.box for w in kept]
        for w in kept:
            crop = cut(photo.pixels, w.detection.box, around, self.config)
            mark = difference_hash(crop)
            seen = self._crops.setdefault(w.category, SeenHashes(self.config.crop_distance))
            if seen.has_like(mark):
                self.counts.detections.dropped[SAME_CROP] += 1
            else:
                new.append((w, crop, mark))
        if (why := rules.few([w for w, _, _ in new], self.config)) is not None:
            self.counts.photos.dropped[why] += 1
            self.counts.detections.dropped[f"photo: {why}"] += len(new)
            return
        outfit = layout.set_id(photo.name)
        pieces = []
        for w, crop, mark in new:
            piece = Piece(f"{outfit}-{w.index + 1}", w.index + 1, w.detection.label, w.category)
            self._crops[w.category].add(mark)
            Image.fromarray(white_square(crop)).save(
                self.work / "images" / f"{piece.item_id}.jpg", quality=JPEG_QUALITY, subsampling=0
            )
            self.lines.write(json.dumps(self._origin(photo, piece, w)) + "\n")
            self.boxes[piece.item_id] = w.detection
            self.counts.detections.kept += 1
            pieces.append(piece)
        self.sets[split_of(photo.name, self.config)].append(Outfit(outfit, tuple(pieces)))
        self.photos[outfit] = photo.path
        self.counts.photos.kept += 1

    def _origin(self, photo: Photo, piece: Piece, w: rules.Worn) -> dict[str, Any]:
        d, b = w.detection, w.detection.box
        return {
            "item_id": piece.item_id, "photo": photo.path.name, "photo_sha256": photo.sha256,
            "detector": self.detector.name, "label": d.label, "category": w.category, "score": d.score,
            "box": [b.x, b.y, b.w, b.h], "mask_area": d.mask_area, "padding": self.config.padding,
            "split": split_of(photo.name, self.config),
        }  # fmt: skip

    def close(self, command: str) -> dict[str, Any]:
        """Check the counts, write the layout and the marker."""
        self.counts.check()
        if not self.photos:
            why = ", ".join(f"{n:,} {r}" for r, n in self.counts.photos.dropped.most_common(3))
            raise HarvestError(f"no outfit is left of {self.counts.photos.taken:,} photos ({why}); loosen the rules")
        sets = {s: tuple(own) for s, own in self.sets.items()}
        questions = {s: ask(sets[s], self.config.seed) for s in SPLITS[1:]}
        layout.write_layout(self.work, sets, questions)
        left_out = Counter({f"{s}: {why}": n for s, q in questions.items() for why, n in q.left_out.items()})
        layout.write_json(
            self.work / layout.MARKER,
            {
                "detector": self.detector.name, "people": self._judged(), "command": command,
                "photos": self.counts.photos.to_dict(), "detections": self.counts.detections.to_dict(),
                "outfits": {s: len(own) for s, own in sets.items()},
                "questions": {s: len(q.fill_in_blank) for s, q in questions.items()},
                "questions_left_out": dict(sorted(left_out.items())),
                "config": asdict(self.config),
            },
        )  # fmt: skip
        return {
            "counts": self.counts, "sets": sets, "questions": questions, "photos": self.photos, "boxes": self.boxes,
            "notes": tuple(self.notes),
        }  # fmt: skip

    def _judged(self) -> str:
        how = self.config.one_person
        return ("detections" if self.detector.persons else "garments") if how == "auto" else how


def _photos(folder: Path) -> dict[str, Path]:
    """Photos by name, sorted. Raises HarvestError."""
    if not folder.is_dir():
        raise HarvestError(f"{folder}: no such folder of photos")
    found: dict[str, Path] = {}
    for path in sorted(_files(folder)):
        if (other := found.setdefault(path.stem, path)) is not path:
            raise HarvestError(f"{folder}: {other.name} and {path.name} have one name; rename one of them")
    if not found:
        raise HarvestError(f"{folder}: holds no photo ({', '.join(SUFFIXES)})")
    return found


def _files(folder: Path) -> Iterator[Path]:
    return (p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
