"""Writing a harvest in the layout of the Polyvore Outfits download (Vasileva et al., ECCV 2018).

Photos are in one part only, so `nondisjoint` and `disjoint` hold the same.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from medal_model.harvest.detections import HarvestError
from medal_model.harvest.questions import Outfit, Questions
from medal_model.outfits import VARIANTS

MARKER = "harvest.json"
PROVENANCE = "provenance.jsonl"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")


def set_id(photo: str) -> str:
    """A photo's name as a set id: without white space and underscores, and never that of another photo."""
    if _PLAIN.fullmatch(photo):
        return photo
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '-', photo).strip('-')}-{sha256(photo.encode()).hexdigest()[:8]}"


def write_layout(folder: Path, sets: Mapping[str, Sequence[Outfit]], questions: Mapping[str, Questions]) -> None:
    """Items, categories, sets and questions. Images are written by who cuts them."""
    pieces = [p for outfits in sets.values() for o in outfits for p in o.pieces]
    kinds = sorted({(p.label, p.category) for p in pieces})
    number = {kind: str(n) for n, kind in enumerate(kinds, 1)}
    items = {
        p.item_id: {
            "url_name": "", "description": "", "title": "", "related": "",
            "category_id": number[(p.label, p.category)], "semantic_category": p.category,
        }
        for p in sorted(pieces, key=lambda p: p.item_id)
    }  # fmt: skip
    write_json(folder / "polyvore_item_metadata.json", items)
    with (folder / "categories.csv").open("w", encoding="utf-8", newline="") as f:
        csv.writer(f, lineterminator="\n").writerows((n, *kind) for kind, n in number.items())
    for variant in VARIANTS:
        (folder / variant).mkdir()
        for split, outfits in sets.items():
            entries = [
                {"set_id": o.set_id, "items": [{"item_id": p.item_id, "index": p.index} for p in o.pieces]}
                for o in outfits
            ]
            write_json(folder / variant / f"{split}.json", entries)
        for split, asked in questions.items():
            write_json(folder / variant / f"fill_in_blank_{split}.json", list(asked.fill_in_blank))
            lines = "".join(f"{line}\n" for line in asked.compatibility)
            (folder / variant / f"compatibility_{split}.txt").write_text(lines, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def check_replaceable(out: Path) -> None:
    """Raises HarvestError where `out` holds something that is no harvest: it is never removed."""
    if out.exists() and not out.is_dir():
        raise HarvestError(f"{out}: is a file; name a folder for the harvest")
    if out.is_dir() and not (out / MARKER).exists() and next(islice(out.iterdir(), 1), None) is not None:
        raise HarvestError(f"{out}: is not empty and holds no harvest ({MARKER}); name another folder")
