"""From the store's rows to the public answer: the announced release's lists joined with products as they are now."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from jobs.pdp.look import complete_the_look
from jobs.publish.store import ListedItem, PdpStore, ProductRow, ReleaseInfo
from schemas.pdp import Categories, Category, Complement, Complements, Listing, LookItem, Product, Slot

MICRO = 1_000_000  # stored scores are micro-units
LOOK = 8  # pieces of a look unless asked otherwise
POINTER_TTL_S = 1.0  # how long a rollback may take to reach every reader


class NothingAnnounced(Exception):
    """No release is announced yet."""


class UnknownItem(Exception):
    """The item is not in the overlay: it never was in the catalogue, or it left it."""


class Reader:
    """Answers for pages. Thread-safe; remembers which release is announced for `pointer_ttl_s` seconds."""

    def __init__(
        self,
        store: PdpStore,
        titles: Mapping[str, str],
        *,
        pointer_ttl_s: float = POINTER_TTL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store, self.titles = store, titles
        self._ttl, self._clock = pointer_ttl_s, clock
        self._lock = threading.Lock()
        self._cached: tuple[float, ReleaseInfo] | None = None

    def announced(self) -> ReleaseInfo:
        """The announced release. Raises NothingAnnounced."""
        cached = self._cached
        if cached is not None and self._clock() < cached[0]:
            return cached[1]
        pointer = self.store.pointer()
        release = self.store.release(pointer.release) if pointer else None
        if release is None:
            raise NothingAnnounced
        with self._lock:
            self._cached = (self._clock() + self._ttl, release)
        return release

    def complements(
        self, item_id: str, *, slots: Sequence[str] | None = None, limit: int = 12, look: int = LOOK
    ) -> Complements:
        """A product and what goes with it: at most `limit` items in each slot, sold-out and vanished ones left out.

        `slots` keeps only these target categories; order stays the list's own. `look` is the length of the list made
        of all of them, however short `limit` cuts each. Raises NothingAnnounced, UnknownItem.
        """
        release = self.announced()
        lists = [s for s in self.store.get_lists(item_id, release.number) if slots is None or s.category in slots]
        ids = dict.fromkeys([item_id, *(i.item_id for s in lists for i in s.items)])
        products = self.store.get_products(list(ids))
        if item_id not in products:
            raise UnknownItem(item_id)
        there = [
            (s.category, [(i, p) for i in s.items if (p := products.get(i.item_id)) is not None and p.in_stock])
            for s in lists
        ]
        shown = [(c, items) for c, items in there if items]
        pieces = complete_the_look(
            [items for _, items in shown], lambda piece: piece[1].group_id, look, {products[item_id].group_id}
        )
        return Complements(
            item_id=item_id,
            release=release.number,
            run_date=release.run_date,
            model_version=release.model_version,
            product=self._product(products[item_id]),
            slots=[
                Slot(category=c, title=self._title(c), items=[complement(i, p) for i, p in items[:limit]])
                for c, items in shown
            ],
            complete_the_look=[
                LookItem(**complement(i, p).model_dump(), category=shown[s][0], category_title=self._title(shown[s][0]))
                for s, (i, p) in pieces
            ],
        )

    def listing(self, *, category: str | None, after: str | None, limit: int) -> Listing:
        """A page of products. Raises NothingAnnounced."""
        self.announced()
        rows = self.store.browse(category=category, after=after, limit=limit)
        return Listing(items=[self._product(r) for r in rows], next=rows[-1].item_id if len(rows) == limit else None)

    def categories(self) -> Categories:
        """Categories that have a product. Raises NothingAnnounced."""
        self.announced()
        found = [c for c in self.titles if self.store.browse(category=c, after=None, limit=1)]
        return Categories(categories=[Category(category=c, title=self.titles[c]) for c in found])

    def _title(self, category: str) -> str:
        return self.titles.get(category, category)

    def _product(self, row: ProductRow) -> Product:
        return Product(
            item_id=row.item_id,
            title=row.title or row.item_id,
            category=row.category,
            category_title=self._title(row.category),
            department=row.department,
            brand=row.brand,
            price=row.price,
            currency=row.currency,
            in_stock=row.in_stock,
            availability=row.availability,
            image_url=image_url(row),
            product_url=product_url(row.item_id),
        )


def image_url(row: ProductRow) -> str | None:
    """Web images keep their address; files go through /media; other schemes (s3) have no public address."""
    scheme = row.image_uri.partition("://")[0] if "://" in row.image_uri else "file"
    if scheme in ("http", "https"):
        return row.image_uri
    return f"/media/{quote(row.item_id, safe='')}" if scheme == "file" else None


def product_url(item_id: str) -> str:
    return f"/items/{quote(item_id, safe='')}"


def complement(item: ListedItem, row: ProductRow) -> Complement:
    def units(micro: int | None) -> float | None:
        return None if micro is None else micro / MICRO

    return Complement(
        item_id=row.item_id,
        title=row.title or row.item_id,
        brand=row.brand,
        price=row.price,
        currency=row.currency,
        image_url=image_url(row),
        product_url=product_url(row.item_id),
        score=units(item.score),
        visual=units(item.visual),
        colour=units(item.colour),
        reason=item.reason,
    )
