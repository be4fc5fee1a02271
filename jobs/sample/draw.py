"""Draws the whole sample into a folder: catalogue, pictures, outfits and the marker that says it is complete."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from jobs.errors import DataError, SettingsError
from jobs.sample.picture import picture
from jobs.sample.polyvore import write_outfits
from jobs.sample.products import Product, plan_products
from medal_model.folders import replace_folder

VERSION = 1  # of the drawing: raise it when the same seed gives other files
MARKER = "sample.json"
CATALOG = "catalog.csv"
COLUMNS = (
    "item_id", "title", "category", "product_type", "department", "age_group", "brand",
    "group_id", "price", "currency", "availability", "updated_at", "image",
)  # fmt: skip
MIN_ITEMS = 20  # fewer cannot give an outfit of every kind

Progress = Callable[[int, int], None]  # pictures drawn, pictures in all


@dataclass(frozen=True)
class SampleSummary:
    """What a sample holds. `fingerprint` covers name and bytes of every file; `drawn`: whether it was drawn now."""

    folder: Path
    items: int
    seed: int
    images: int
    outfits: dict[str, int]
    fingerprint: str
    drawn: bool


def draw_sample(
    out: Path, items: int = 660, seed: int = 7, *, force: bool = False, progress: Progress | None = None
) -> SampleSummary:
    """Draw the sample into `out`, unless it already holds this very one.

    Drawn beside it and moved there when complete: `out` is never half a sample. Raises SettingsError where `items`
    is too small, or `out` holds something that is not a sample (which is never removed).
    """
    if items < MIN_ITEMS:
        raise SettingsError(f"--items {items}: a sample needs at least {MIN_ITEMS} products")
    out = out.absolute()
    if not force and (found := read_sample(out)) and (found.items, found.seed) == (items, seed):
        return found
    _check_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = out.with_name(f".{out.name}.drawing-{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir()
        products = plan_products(items, seed)
        images = draw_images(products, work, progress)
        write_catalog([p.row() for p in products], work)
        outfits = write_outfits(products, work / "outfits", seed)
        fingerprint, files, size = _survey(work)
        marker = {
            "version": VERSION, "items": items, "seed": seed, "images": images, "outfits": outfits,
            "fingerprint": fingerprint, "files": files, "bytes": size,
        }  # fmt: skip
        (work / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
        replace_folder(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return SampleSummary(out, items, seed, images, outfits, fingerprint, drawn=True)


def read_sample(folder: Path) -> SampleSummary | None:
    """The complete sample of this version in a folder; None where there is none or files are missing."""
    try:
        m = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        if m["version"] != VERSION:
            return None
        sizes = [p.stat().st_size for p in _files(folder)]
        if (len(sizes), sum(sizes)) != (m["files"], m["bytes"]):
            return None
        return SampleSummary(folder, m["items"], m["seed"], m["images"], m["outfits"], m["fingerprint"], drawn=False)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def draw_images(products: Sequence[Product], folder: Path, progress: Progress | None = None) -> int:
    """Draw the pictures of all products that are to have one; gives their number."""
    (folder / "images").mkdir(exist_ok=True)
    todo = [p for p in products if p.fault != "missing_image"]

    def draw(product: Product) -> None:
        (folder / product.image).write_bytes(picture(product))

    # Threads, not processes: Pillow's work is outside the interpreter's lock, and a forked child would
    # inherit the threads of torch or FAISS where they are loaded.
    with ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1))) as pool:
        for done, _ in enumerate(pool.map(draw, todo), start=1):
            if progress:
                progress(done, len(todo))
    return len(todo)


def write_catalog(rows: Sequence[dict[str, str]], folder: Path) -> None:
    """Write catalogue rows, columns in the order of COLUMNS."""
    with (folder / CATALOG).open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_catalog(folder: Path) -> list[dict[str, str]]:
    """The rows of a sample's catalogue. Raises DataError where there is none."""
    try:
        with (folder / CATALOG).open(newline="", encoding="utf-8") as f:
            return list(csv.DictReader(f))
    except FileNotFoundError:
        raise DataError(
            f"{folder / CATALOG} does not exist; draw a sample first: medal sample --out {folder}"
        ) from None


def _check_replaceable(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise SettingsError(f"{out} is a file; name a folder for the sample")
    if not (out / MARKER).exists() and next(islice(out.iterdir(), 1), None) is not None:
        raise SettingsError(f"{out} is not empty and holds no sample ({MARKER}); name another folder")


def _files(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.rglob("*")) if p.is_file() and p != folder / MARKER)


def _survey(folder: Path) -> tuple[str, int, int]:
    """Fingerprint, number and bytes of a folder's files, the marker left out."""
    digest, files, size = hashlib.sha256(), 0, 0
    for p in _files(folder):
        data = p.read_bytes()
        digest.update(f"{p.relative_to(folder).as_posix()}\0{len(data)}\0".encode())
        digest.update(data)
        files, size = files + 1, size + len(data)
    return digest.hexdigest()[:16], files, size


def as_json(summary: SampleSummary) -> str:
    """A summary for machines."""
    return json.dumps({**asdict(summary), "folder": str(summary.folder)})
