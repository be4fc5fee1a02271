"""The sample shop's next day: a second catalogue, for incremental nights in tests and demonstrations."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from jobs.errors import SettingsError
from jobs.sample.draw import draw_images, read_catalog, write_catalog
from jobs.sample.picture import picture
from jobs.sample.products import FAULTS_FROM, Product, plan_products
from medal_model.folders import replace_folder

NIGHT_MARKER = "night.json"


@dataclass(frozen=True)
class NightSummary:
    """What changed overnight, as item ids. No product stands in two of the tuples, but `repriced` may overlap."""

    folder: Path
    new: tuple[str, ...]
    departed: tuple[str, ...]
    repriced: tuple[str, ...]
    restocked: tuple[str, ...]  # availability changed, either way
    reshot: tuple[str, ...]  # another photo under the same name


def second_night(
    sample_dir: Path,
    out_dir: Path,
    new_items: int = 12,
    *,
    departed: int = 8,
    repriced: int = 30,
    restocked: int = 10,
    reshot: int = 3,
    seed: int = 11,
) -> NightSummary:
    """Write the catalogue of the day after `sample_dir`'s into `out_dir`, with its own copies of the pictures.

    Deterministic. `sample_dir` may be the result of an earlier call: call it again for a third night. An
    `out_dir` made by an earlier call is replaced. Raises DataError where `sample_dir` holds no catalogue,
    SettingsError where `out_dir` is something else or there are too few products for the changes asked for.
    """
    sample_dir, out_dir = sample_dir.absolute(), out_dir.absolute()
    rows = read_catalog(sample_dir)
    _check_out(sample_dir, out_dir)
    rng = random.Random(f"medal-sample/night/{seed}/{len(rows)}")
    healthy = [r["item_id"] for r in rows if r["category"] != "other" and _whole(sample_dir / r["image"])]
    if len(healthy) < departed + restocked + reshot or len(healthy) < repriced:
        raise SettingsError(f"{sample_dir} has {len(healthy)} healthy products: too few for the changes asked for")
    order = rng.sample(healthy, len(healthy))
    gone, stock = set(order[:departed]), set(order[departed : departed + restocked])
    photos = order[departed + restocked : departed + restocked + reshot]
    prices = set(rng.sample(sorted(set(healthy) - gone), min(repriced, len(healthy) - departed)))
    today = _day_after(rows)

    work = out_dir.with_name(f".{out_dir.name}.drawing-{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    try:
        (work / "images").mkdir(parents=True)
        fresh = _new_products(rows, new_items, seed)
        kept = [_changed(r, prices, stock, set(photos), today, rng) for r in rows if r["item_id"] not in gone]
        added = [{**p.row(), "updated_at": today} for p in fresh]
        for r in kept:
            if (source := sample_dir / r["image"]).exists():
                shutil.copy2(source, work / r["image"])
        _reshoot(photos, kept, work)
        draw_images(fresh, work)
        write_catalog([*kept, *added], work)
        (work / NIGHT_MARKER).write_text("{}\n", encoding="utf-8")
        replace_folder(work, out_dir)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return NightSummary(
        out_dir,
        new=tuple(p.item_id for p in fresh),
        departed=tuple(sorted(gone)),
        repriced=tuple(sorted(prices)),
        restocked=tuple(sorted(stock)),
        reshot=tuple(sorted(photos)),
    )


def _check_out(sample_dir: Path, out_dir: Path) -> None:
    if out_dir == sample_dir:
        raise SettingsError(f"{out_dir} is the sample itself; name another folder for the next night")
    if out_dir.exists() and not (out_dir / NIGHT_MARKER).exists() and (
        not out_dir.is_dir() or any(out_dir.iterdir())
    ):  # fmt: skip
        raise SettingsError(f"{out_dir} is not empty and holds no earlier night ({NIGHT_MARKER}); name another folder")


def _whole(image: Path) -> bool:
    """Whether a JPEG is there to its end."""
    try:
        return image.read_bytes().endswith(b"\xff\xd9")
    except OSError:
        return False


def _day_after(rows: list[dict[str, str]]) -> str:
    last = max(date.fromisoformat(r["updated_at"][:10]) for r in rows)
    return f"{(last + timedelta(days=1)).isoformat()}T06:00:00Z"


def _new_products(rows: list[dict[str, str]], count: int, seed: int) -> list[Product]:
    """Products with numbers that follow the highest there is."""
    if count < 1:
        return []
    number = max(int(r["item_id"].removeprefix("mn")) for r in rows)
    made = plan_products(max(count, FAULTS_FROM), seed, first=number + 1, faults=False)
    return [replace(p, availability="in_stock") for p in made[:count]]


def _changed(
    row: dict[str, str], prices: set[str], stock: set[str], photos: set[str], today: str, rng: random.Random
) -> dict[str, str]:
    item, out = row["item_id"], dict(row)
    if item in prices:
        out["price"] = f"{float(row['price']) * rng.choice((0.7, 0.8, 0.9, 1.1)):.2f}"
    if item in stock:
        out["availability"] = "out_of_stock" if row["availability"] == "in_stock" else "in_stock"
    if item in prices | stock | photos:
        out["updated_at"] = today
    return out


def _reshoot(photos: list[str], rows: list[dict[str, str]], folder: Path) -> None:
    """Another photo of the same kind of product under the same name."""
    types = {r["item_id"]: r["product_type"] for r in rows}
    stock = plan_products(660, 23, first=1, faults=False)
    for n, item in enumerate(photos):
        same = [p for p in stock if p.shape.product_type == types[item]] or stock
        (folder / "images" / f"{item}.jpg").write_bytes(picture(same[n % len(same)]))
