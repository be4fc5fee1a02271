"""A small shop for page tests: the drawn sample's products and photos, with lists by a plain rule."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from jobs.pdp.media import photo_of
from jobs.publish.sqlite_store import SqliteStore
from jobs.publish.store import ListedItem, ListRow, ProductRow, SlotList
from schemas.tables import IN_STOCK
from schemas.taxonomy import load_taxonomy


def products_of(catalog: Path) -> list[ProductRow]:
    """A catalogue file's rows as overlay rows."""
    taxonomy = load_taxonomy()
    rows = []
    with catalog.open(encoding="utf-8", newline="") as f:
        for r in csv.DictReader(f):
            try:
                category = taxonomy.category(r["category"], r.get("product_type"))
            except KeyError:
                continue
            stock = r.get("availability") or "in_stock"
            row = ProductRow(
                item_id=r["item_id"],
                title=r.get("title") or None,
                category=category,
                department=taxonomy.department(r.get("department"), r.get("age_group")),
                product_type=r.get("product_type") or None,
                brand=r.get("brand") or None,
                group_id=r.get("group_id") or r["item_id"],
                price=float(r["price"]) if r.get("price") else None,
                currency=r.get("currency") or None,
                availability=stock,
                in_stock=stock in IN_STOCK,
                image_uri=str((catalog.parent / r["image"]).resolve()),
            )
            if photo_of(row):  # the sample has broken photos on purpose; such products get no vector and no lists
                rows.append(row)
    return rows


def lists_of(products: Iterable[ProductRow], places: int = 24) -> Iterable[ListRow]:
    """Lists in the taxonomy's slots: allowed departments, sold-out products among them, falling scores."""
    taxonomy = load_taxonomy()
    by_category: dict[str, list[ProductRow]] = defaultdict(list)
    for p in products:
        by_category[p.category].append(p)
    for p in (p for rows in by_category.values() for p in rows):
        slots = []
        for target in taxonomy.targets[p.category]:
            fitting = [t for t in by_category[target] if t.department in taxonomy.matrix[p.department] and t != p]
            start = hash_of(p.item_id) % max(len(fitting), 1)
            chosen = (fitting[start:] + fitting[:start])[:places]
            listed = []
            for n, t in enumerate(chosen):
                score = 780_000 - 19_000 * n
                visual = score * (55 + hash_of(t.item_id) % 35) // 100
                reason = "explore" if n == 2 else "model"
                listed.append(ListedItem(t.item_id, score, visual, score - visual, reason))
            if listed:
                slots.append(SlotList(target, tuple(listed)))
        if slots:
            yield ListRow(p.item_id, tuple(slots))


def hash_of(text: str) -> int:
    return sum((n + 1) * ord(c) for n, c in enumerate(text))


def open_shop(catalog: Path, path: Path, extra: Iterable[ProductRow] = ()) -> SqliteStore:
    """A store with one announced release over a catalogue file's products."""
    store = SqliteStore(path)
    store.init()
    products = products_of(catalog)
    rows = list(lists_of(products))
    release = store.begin_release("2026-03-02-all-g1", "2026-03-02", "sample-0123456789ab", "h")
    store.put_lists(release.number, rows)
    store.put_products([*products, *extra])
    store.complete_release(release.number, lists=sum(len(r.slots) for r in rows), items=len(rows))
    store.move_pointer(release.number, 0)
    return store
