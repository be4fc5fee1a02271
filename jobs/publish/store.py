"""The PDP store: what a product page reads, as one interface.

Three kinds of rows. *Lists* belong to a release and never change once written. *Products* are one unversioned
overlay (title, price, stock, picture), joined at read: a price change rewrites no list and a rollback restores no
old price. The *pointer* names the announced release and moves only by a condition on its own revision.
Publish and announce are two steps (design section 5). docs/store.md has the layout and the operator's view.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from jobs.errors import SettingsError, TransientError

KEEP_RELEASES = 5  # what a rollback can reach: a working week of nights
HISTORY = 50  # announced release numbers the pointer remembers

State = Literal["writing", "complete", "pruned"]


class PointerMoved(TransientError):
    """Another writer moved the pointer since it was read; the caller reads it again and decides anew."""


class UnknownRelease(SettingsError):
    """A release that cannot be announced: there is none of that number, it is incomplete, or its lists are gone."""


@dataclass(frozen=True)
class ReleaseInfo:
    """One release. `items` are product rows, `lists` their non-empty slots."""

    number: int
    run_id: str
    run_date: str
    model_version: str
    content_hash: str  # equal hash, equal lists; see jobs.publish.content
    state: State
    lists: int = 0
    items: int = 0


@dataclass(frozen=True)
class Pointer:
    """Which release is announced. `revision` grows by one with every move; `history` ends with `release`."""

    release: int
    revision: int
    history: tuple[int, ...] = ()


@dataclass(frozen=True)
class ListedItem:
    """One place of a list. Scores are micro-units; None for an item that was set by hand."""

    item_id: str
    score: int | None
    visual: int | None
    colour: int | None
    reason: str = "model"


@dataclass(frozen=True)
class SlotList:
    """One slot of a product: its target category and the items in rank order."""

    category: str
    items: tuple[ListedItem, ...]


@dataclass(frozen=True)
class ListRow:
    """All slots of one product, in display order: one row, one read."""

    item_id: str
    slots: tuple[SlotList, ...]


@dataclass(frozen=True)
class ProductRow:
    """A product as it is today, whatever release is announced. `price` is in units of `currency`."""

    item_id: str
    title: str | None
    category: str
    department: str
    product_type: str | None
    brand: str | None
    group_id: str
    price: float | None
    currency: str | None
    availability: str
    in_stock: bool
    image_uri: str


@dataclass(frozen=True)
class ProductSync:
    """What a full sync of the overlay did."""

    written: int
    unchanged: int
    removed: int


class PdpStore(Protocol):
    """Operations of a store. All raise TransientError for passing faults and SettingsError where it is not set up.

    Every write may be repeated: the same call again leaves the same content.
    """

    embedded: bool
    """True where the store is a file of ours that a job may create; False where an operator runs `medal store init`."""

    @property
    def where(self) -> str:
        """Where it is, for people."""
        ...

    def init(self) -> list[str]:
        """Create what is missing; returns the names of what was created (empty: all was there)."""
        ...

    def begin_release(self, run_id: str, run_date: str, model_version: str, content_hash: str) -> ReleaseInfo:
        """The release of a run: a new one in state writing, or the one this run began or completed before.

        A pruned one is opened again for writing, under its number.
        Raises DataError where the run has a release of other content.
        """
        ...

    def put_lists(self, release: int, rows: Iterable[ListRow]) -> int:
        """Write rows of a release, keyed by item; returns how many. Raises UnknownRelease unless it is in writing,
        and DataError for a row too large for the store."""
        ...

    def complete_release(self, release: int, *, lists: int, items: int) -> ReleaseInfo:
        """Seal a release: from now on it may be announced and takes no more rows. Again: nothing."""
        ...

    def put_products(self, rows: Iterable[ProductRow]) -> ProductSync:
        """Make the overlay exactly these rows: new and changed ones are written, products that left are removed.

        Raises DataError for no rows at all: an empty overlay would empty every page.
        """
        ...

    def pointer(self) -> Pointer | None:
        """The announced release, read consistently; None where nothing was ever announced."""
        ...

    def move_pointer(self, to_release: int, expected_revision: int) -> Pointer:
        """Announce a complete release, if the pointer still has this revision (0: nothing announced yet).

        Raises PointerMoved where it has not, UnknownRelease where the release cannot be announced.
        """
        ...

    def release(self, number: int) -> ReleaseInfo | None:
        """One release by number."""
        ...

    def releases(self) -> list[ReleaseInfo]:
        """All releases, oldest first, pruned ones included."""
        ...

    def get_lists(self, item_id: str, release: int) -> tuple[SlotList, ...]:
        """A product's slots in a release, in display order; empty where it has none."""
        ...

    def get_products(self, item_ids: Sequence[str]) -> dict[str, ProductRow]:
        """Products by id; ids that are not in the overlay are left out."""
        ...

    def browse(self, *, category: str | None, after: str | None, limit: int) -> list[ProductRow]:
        """A page of the overlay in the store's own stable order, behind the product `after`."""
        ...

    def prune(self, keep: int = KEEP_RELEASES) -> list[int]:
        """Delete the lists of releases outside the rollback window; returns their numbers. See `prunable`."""
        ...


def prunable(releases: Sequence[ReleaseInfo], pointer: Pointer | None, keep: int) -> list[int]:
    """Releases whose lists may go, oldest first.

    Kept: the announced one, the last `keep` announced before it, the newest `keep` complete ones, and whatever is
    newer than the announced one (a run may be writing it). Nothing goes before anything was announced.
    """
    if keep < 1:
        raise SettingsError(f"keep {keep} releases: keep at least one")
    if pointer is None:
        return []
    complete = sorted(r.number for r in releases if r.state == "complete")
    complete_set = set(complete)
    before = dict.fromkeys(reversed(pointer.history))
    announced = [n for n in before if n in complete_set and n != pointer.release]
    kept = {pointer.release, *complete[-keep:], *announced[:keep]}
    return sorted(
        r.number for r in releases if r.state != "pruned" and r.number not in kept and r.number < pointer.release
    )


def check_announceable(number: int, release: ReleaseInfo | None) -> ReleaseInfo:
    """The release, if it may be announced. Raises UnknownRelease with what to do."""
    if release is None:
        raise UnknownRelease(f"release {number}: there is none; `medal releases` lists them")
    if release.state == "writing":
        raise UnknownRelease(
            f"release {number}: incomplete; finish it with `medal publish --run-id {release.run_id}`, or take another"
        )
    if release.state == "pruned":
        raise UnknownRelease(
            f"release {number}: its lists were pruned; publish its run again: "
            f"`medal nightly --run-date {release.run_date} --recompute`"
        )
    return release


def slots_to_json(slots: Sequence[SlotList]) -> str:
    """The stored form of a row: `[[category, [[item_id, score, visual, colour, reason], …]], …]`."""
    return json.dumps(
        [[s.category, [[i.item_id, i.score, i.visual, i.colour, i.reason] for i in s.items]] for s in slots],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def slots_from_json(text: str) -> tuple[SlotList, ...]:
    """Inverse of `slots_to_json`."""
    return tuple(SlotList(category, tuple(ListedItem(*i) for i in items)) for category, items in json.loads(text))
