"""`medal sample-vectors`: a shop of `vectors.py` into a lake's `embeddings`, and its catalogue beside.

The vectors stand there as if `embed` had made them from the catalogue's photos, so a night of this catalogue is
planned as any other and its embed stage finds nothing to read. There is one small photo for each night, not one a
product: what a photo is asked for here is its identity (`jobs.images`), which is the same for products that
were shot in the same night.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from jobs.errors import DataError, SettingsError
from jobs.images.folder import FolderImages
from jobs.images.source import Address, ListedImage
from jobs.lake import Lake
from jobs.lease import Lease
from jobs.runs import RunId, scope_of
from jobs.sample.products import CURRENCY, LAST_UPDATE
from jobs.sample.vectors import CATEGORIES, DEPARTMENTS, Slice, VectorShop
from medal_model.export import CONFIG_FILE, TeacherError, TeacherHeader, read_header
from schemas.tables import AVAILABILITY, EMBEDDINGS

_SLICE = 65536  # vectors a commit, 34 MB
PHOTOS = "photos"
_AVAILABILITY = ("in_stock", "out_of_stock", "preorder")
assert set(_AVAILABILITY) <= set(AVAILABILITY)


@dataclass(frozen=True)
class VectorsSummary:
    """What lies in the lake and in the catalogue now; `written` vectors are from this call."""

    catalog: Path
    model_version: str
    run_date: str  # a date to plan this night for
    products: int
    vectors: int
    written: int


def teacher_of(folder: Path) -> tuple[TeacherHeader, float]:
    """The teacher's header and its ρ. Raises DataError where it is no teacher or lacks a category of the shop."""
    try:
        header = read_header(folder)
    except TeacherError as e:
        raise DataError(str(e)) from e
    if missing := set(CATEGORIES) - set(header.categories):
        raise DataError(f"{folder}: the teacher knows no {', '.join(sorted(missing))}; give another by --teacher")
    return header, float(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["rho"])


def write_vectors(
    shop: VectorShop, header: TeacherHeader, lake: Lake, lease: Lease, out: Path, log: Callable[[str], None] = print
) -> VectorsSummary:
    """Vectors of the shop's nights into the lake, each once, and the last night's catalogue to `out`.

    Called under the lease. A call that was killed goes on where it was. Raises SettingsError for a catalogue that
    is no CSV, TransientError.
    """
    if out.suffix.lower() != ".csv":
        raise SettingsError(f"--out {out}: write a .csv file")
    photos = _draw_photos(out.parent, len(shop.nights))
    vectors = written = 0
    for night in range(len(shop.nights) + 1):
        run = _run_of(shop, night)
        done = {c.part for c in lake.commits("embeddings", run_id=str(run))}
        for part, made in enumerate(shop.photographed(night, _SLICE), start=1):
            vectors += len(made)
            if part in done:
                continue
            lease.check()
            rows = _embeddings(shop, made, photos[night][1], header.model_version, str(run))
            lake.append("embeddings", rows, run, part=part, model_version=header.model_version)
            written += len(made)
            log(f"sample-vectors: {vectors:,} vectors")
    products = _write_catalog(shop, out, [name for name, _ in photos])
    return VectorsSummary(out, header.model_version, _date(len(shop.nights)), products, vectors, written)


def _date(night: int) -> str:
    return (LAST_UPDATE + timedelta(days=night)).isoformat()


def _run_of(shop: VectorShop, night: int) -> RunId:
    """Who the vectors are from. A scope of their own, so that they can be no planned run's."""
    told = (f"sample-vectors {shop.items} {shop.seed} {shop.rho}", *map(repr, shop.nights[:night]))
    return RunId(_date(night), scope_of(tuple(f"{n} {t}" for n, t in enumerate(told))), 1)


def _embeddings(shop: VectorShop, made: Slice, source: str, model_version: str, run_id: str) -> pa.Table:
    n = len(made)
    flat = pa.array(made.vector.reshape(-1))
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * made.vector.shape[1])
    columns = {
        "item_id": _ids(made),
        "image_fingerprint": pa.array(shop.image(made.number, made.photo)),
        "source_fingerprint": pa.repeat(pa.scalar(source), n),
        "model_version": pa.repeat(pa.scalar(model_version), n),
        "vector": pa.ListArray.from_arrays(offsets, flat),
        "run_id": pa.repeat(pa.scalar(run_id), n),
    }
    return pa.table([columns[name] for name in EMBEDDINGS.schema.names], schema=EMBEDDINGS.schema)


def _ids(made: Slice, prefix: str = "v") -> pa.Array:
    return pa.array([f"{prefix}{n:08d}" for n in (made.number if prefix == "v" else made.group).tolist()])


def _catalog(made: Slice, photos: list[str]) -> pa.Table:
    """The contract's columns, as text."""
    categories, departments = np.array(list(CATEGORIES)), np.array(list(DEPARTMENTS))
    kinds = [f"{c} {k + 1}" for c, k in zip(categories[made.category].tolist(), made.kind.tolist(), strict=True)]
    brands = [f"Brand {b + 1}" for b in made.brand.tolist()]
    colours = made.colour.tolist()
    columns = {
        "item_id": _ids(made),
        "title": [f"{b} {k} in colour {c + 1}" for b, k, c in zip(brands, kinds, colours, strict=True)],
        "category": categories[made.category].tolist(),
        "product_type": kinds,
        "department": departments[made.department].tolist(),
        "brand": brands,
        "group_id": _ids(made, "d"),
        "price": [f"{p:.2f}" for p in made.price.tolist()],
        "currency": [CURRENCY] * len(made),
        "availability": np.array(_AVAILABILITY)[made.availability].tolist(),
        "updated_at": np.array([f"{_date(n)}T06:00:00Z" for n in range(len(photos))])[made.updated].tolist(),
        "image": np.array(photos)[made.photo].tolist(),
    }
    return pa.table(columns)


def _write_catalog(shop: VectorShop, out: Path, photos: list[str]) -> int:
    """The catalogue, whole or not at all. Returns its rows."""
    work = out.with_name(f".{out.name}.{os.getpid()}")
    products = 0
    try:
        writer: pyarrow.csv.CSVWriter | None = None
        with work.open("wb") as f:
            for made in shop.slices(_SLICE):
                table = _catalog(made, photos)
                writer = writer or pyarrow.csv.CSVWriter(f, table.schema)
                writer.write_table(table)
                products += len(made)
            if writer is None:
                raise SettingsError("no product is left after so many departures; lower --gone")
            writer.close()
        work.replace(out)
    finally:
        work.unlink(missing_ok=True)
    return products


def _draw_photos(folder: Path, nights: int) -> list[tuple[str, str]]:
    """One photo for each night below the catalogue: address and fingerprint. The same files for the same folder."""
    from PIL import Image

    (folder / PHOTOS).mkdir(parents=True, exist_ok=True)
    out = []
    for night in range(nights + 1):
        name = f"{PHOTOS}/{night}.jpg"
        shade = 235 - 9 * (night % 20)
        data = io.BytesIO()
        Image.new("RGB", (300, 300), (shade, shade, shade)).save(data, "JPEG", comment=f"night {night}".encode())
        if not (folder / name).exists() or (folder / name).read_bytes() != data.getvalue():
            (folder / name).write_bytes(data.getvalue())
        # The source's identity is size and time of change; both are the sample's own, so it is the same everywhere.
        at = datetime.fromisoformat(_date(night)).replace(tzinfo=UTC).timestamp()
        os.utime(folder / name, (at, at))
        (listed,) = FolderImages(folder).list([Address(name)])
        assert isinstance(listed, ListedImage)
        assert listed.fingerprint is not None
        out.append((name, listed.fingerprint))
    return out
