"""A table of frozen text vectors by item id: what brings titles into training. It is not used at inference.

One safetensors file: `vectors` float32 [N, T], unit rows; metadata `ids` (JSON list of N) and `encoder`, its name.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from medal_model.gallery import Arrays, Gallery
from medal_model.inputs import Texts
from medal_model.outfits import OutfitsError
from medal_model.outfits import titles as titles_of_outfits


class EncoderError(ValueError):
    """A text encoder whose package or weights are not there; the message says what to do."""


class TextError(ValueError):
    """A text table or titles that cannot be used; the message names the file and the next step."""


def write_table(path: Path, vectors: Mapping[str, Arrays], encoder: str) -> None:
    """Write vectors [T] by item id, of one item or more, whole or not at all."""
    rows = np.stack(list(vectors.values())).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".tmp")
    save_file({"vectors": rows}, beside, metadata={"ids": json.dumps(list(vectors)), "encoder": encoder})
    os.replace(beside, path)


def read_texts(path: Path, gallery: Gallery) -> Texts:
    """The table's vectors by the gallery's rows; rows without one are told apart.

    Raises TextError for a missing or damaged file, or one that knows none of the items.
    """
    try:
        with safe_open(path, framework="numpy") as f:
            meta, vectors = f.metadata() or {}, f.get_tensor("vectors")
        ids = json.loads(meta["ids"])
        if not isinstance(ids, list):
            raise TypeError(f"ids is {type(ids).__name__}")
    except FileNotFoundError as e:
        raise TextError(f"{path}: no such file; make it with `medal text-table`") from e
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as e:
        raise TextError(f"{path}: is no text table ({e}); make it anew with `medal text-table`") from e
    if vectors.ndim != 2 or len(ids) != len(vectors) or not np.isfinite(vectors).all():
        raise TextError(f"{path}: vectors: must be finite [N, T] with an id for each row, is {vectors.shape}")
    at = {str(item_id): n for n, item_id in enumerate(ids)}
    told = np.array([i in at for i in gallery.ids], dtype=bool)
    if not told.any():
        raise TextError(f"{path}: has none of the {len(gallery.ids):,} items; was it made from these outfits?")
    rows = np.zeros((len(gallery.ids), vectors.shape[1]), np.float32)
    rows[told] = vectors[[at[i] for i in gallery.ids if i in at]]
    return Texts(rows, told)


def read_titles(path: Path) -> tuple[dict[str, str], int]:
    """Titles by item id, and how many items have none. `path` is a CSV with item_id and title, or an outfits folder
    (`outfits.titles`). Raises TextError naming the file and line, column or key; also where not one has a title."""
    try:
        named = titles_of_outfits(path) if path.is_dir() else _titles_of_csv(path)
    except OutfitsError as e:
        raise TextError(str(e)) from e
    if not (kept := {i: t for i, t in named.items() if t}):
        raise TextError(f"{path}: not one of {len(named):,} items has a title")
    return kept, len(named) - len(kept)


def _titles_of_csv(path: Path) -> dict[str, str]:
    named: dict[str, str] = {}
    lines: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as f:
            reader = csv.DictReader(f, strict=True)
            if missing := {"item_id", "title"} - set(reader.fieldnames or ()):
                raise TextError(f"{path}:1: has no column {', '.join(sorted(missing))}")
            for row in reader:
                where, item_id = f"{path}:{reader.line_num}", row["item_id"]
                if None in row or None in row.values():
                    raise TextError(f"{where}: has another number of fields than the header")
                if not item_id.strip():
                    raise TextError(f"{where}: item_id is empty")
                if lines.setdefault(item_id, reader.line_num) != reader.line_num:
                    raise TextError(f"{where}: item_id '{item_id}' stands twice, first in line {lines[item_id]}")
                named[item_id] = row["title"].strip()
    except FileNotFoundError as e:
        raise TextError(f"{path}: no such file; needs an outfits folder or a CSV with item_id and title") from e
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise TextError(f"{path}: cannot be read as CSV: {e}") from e
    return named
