"""The publish stage: write a release, sync the product overlay, announce.

Killed anywhere and run again, it ends with exactly one release of the run, announced once. What was announced and
then rolled back by a person stays rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from jobs.errors import DataError, GateBlocked
from jobs.lake import Lake
from jobs.publish.content import Content, RunLists, product_rows
from jobs.publish.store import ListRow, PdpStore, Pointer, ProductSync, ReleaseInfo
from jobs.publish.stores import open_store
from jobs.runs import Manifest, RunId, StageResult
from jobs.stage import StageContext

PROGRESS_EVERY = 5000  # products a line


@dataclass(frozen=True)
class Announced:
    """The announced release and the pointer that names it."""

    pointer: Pointer
    release: ReleaseInfo


def run(ctx: StageContext) -> StageResult:
    """Publish a run. Raises GateBlocked, PointerMoved, SettingsError, TransientError, DataError."""
    plan = ctx.manifest.plan
    require_passed(ctx.manifest)
    if plan.scope != "all":
        return _skipped("lake only: a run of some categories is no complete release")
    if not plan.publish:
        return _skipped("lake only: publishing was not asked for")
    store = open_store(ctx.settings)
    if store.embedded:
        store.init()
    now = announced(store)
    if now is not None and (why := is_older(plan.run_id, now.release)):
        log_event(ctx.lake, now.release, "withheld", f"{plan.run_id}: {why}")
        return _skipped(f"not announced: {why}")
    result = _Publish(ctx, store, now).run()
    ctx.fault("publish.before_manifest")
    return result


def require_passed(manifest: Manifest) -> None:
    """Raises GateBlocked unless the manifest says that the gate has passed.

    `check` enters the manifest only when it has; the figure is looked at as well, because this is the last door.
    """
    run_id = manifest.plan.run_id
    check = manifest.stages.get("check")
    if check is None:
        raise GateBlocked(f"{run_id}: not checked; run `medal check --run-id {run_id}` first, nothing was published")
    if failed := int(check.counts.get("critical_failed", 0) + check.counts.get("crashed", 0)):
        raise GateBlocked(f"{run_id}: {failed} checks failed or crashed; see `medal report`, nothing was published")


def announced(store: PdpStore) -> Announced | None:
    """What readers see now."""
    pointer = store.pointer()
    release = store.release(pointer.release) if pointer else None
    return Announced(pointer, release) if pointer and release else None


def is_older(run_id: str, release: ReleaseInfo) -> str:
    """Why a run must not replace a release: an older date, or an older generation of that date. '' where it may."""
    mine, theirs = RunId.parse(run_id), RunId.parse(release.run_id)
    if mine.run_date < theirs.run_date:
        return f"release {release.number} of the newer date {theirs.run_date} is announced"
    if mine.run_date == theirs.run_date and mine.generation < theirs.generation:
        return f"release {release.number} is generation {theirs.generation} of the same date"
    return ""


def log_event(lake: Lake, release: ReleaseInfo, event: str, detail: str) -> None:
    """A row of the `releases` log."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    row = {"release": release.number, "run_id": release.run_id, "event": event, "detail": detail, "at": at}
    lake.log("releases", [row])


def _skipped(note: str) -> StageResult:
    return StageResult("publish", "skipped", note=note)


class _Publish:
    def __init__(self, ctx: StageContext, store: PdpStore, now: Announced | None) -> None:
        self.ctx, self.store, self.now = ctx, store, now
        self.lists = RunLists(ctx.lake, ctx.manifest, ctx.settings.lists.k)

    def run(self) -> StageResult:
        ctx, content = self.ctx, self.lists.content()
        ctx.log(f"publish: {content.lists:,} lists of {content.items:,} products to {self.store.where}")
        if not content.items:
            raise DataError(
                f"{ctx.manifest.plan.run_id}: not one list has an item; an empty release is never announced"
            )
        now = self.now.release if self.now else None
        if now is not None and now.content_hash == content.content_hash:
            sync = self._sync_products()
            own = now.run_id == ctx.manifest.plan.run_id
            note = f"release {now.number} is announced" if own else f"release {now.number} already holds these lists"
            return self._result("done", now, content, sync, f"{note}; products brought up to date")
        release = self._write(content)
        ctx.fault("publish.lists_written")
        sync = self._sync_products()
        release = self.store.complete_release(release.number, lists=content.lists, items=content.items)
        log_event(ctx.lake, release, "published", f"{release.lists} lists of {release.items} products")
        ctx.fault("publish.before_pointer")
        if self.now and release.number in self.now.pointer.history:
            note = (
                f"release {release.number} was rolled back; `medal rollback --to {release.number}` announces it again"
            )
            return self._result("done", release, content, sync, note)
        revision = self.now.pointer.revision if self.now else 0
        ctx.lease.check()
        self.store.move_pointer(release.number, revision)
        before = f"before: release {now.number} of {now.run_date}" if now else "the first"
        log_event(ctx.lake, release, "announced", before)
        ctx.log(f"publish: release {release.number} announced ({before})")
        if pruned := self.store.prune():
            ctx.log(f"publish: lists of old releases removed: {', '.join(map(str, pruned))}")
        return self._result("done", release, content, sync, f"release {release.number} announced")

    def _write(self, content: Content) -> ReleaseInfo:
        """The run's release with all its lists: written now, or complete from an earlier try."""
        plan = self.ctx.manifest.plan
        release = self.store.begin_release(plan.run_id, plan.run_date, self.lists.model, content.content_hash)
        if release.state == "writing":
            written = self.store.put_lists(release.number, self._watched(content.items))
            if written != content.items:
                raise AssertionError(f"{written} rows written for {content.items} products")
        return release

    def _watched(self, total: int) -> Iterator[ListRow]:
        for n, row in enumerate(self.lists.rows(), start=1):
            yield row
            if n % PROGRESS_EVERY == 0:
                self.ctx.log(f"publish: {n:,} of {total:,} products' lists written")
                self.ctx.lease.check()

    def _sync_products(self) -> ProductSync:
        sync = self.store.put_products(product_rows(self.ctx.lake, self.ctx.manifest))
        self.ctx.log(
            f"publish: products: {sync.written:,} written, {sync.unchanged:,} unchanged, {sync.removed:,} removed"
        )
        return sync

    def _result(
        self, status: Literal["done", "skipped"], release: ReleaseInfo, content: Content, sync: ProductSync, note: str
    ) -> StageResult:
        return StageResult(
            "publish",
            status,
            reads={"complements": self.lists.version, "catalog": self.ctx.manifest.version("catalog")},
            counts={
                "release": release.number,
                "lists": content.lists,
                "items": content.items,
                "empty_slots": content.empty,
                "products_written": sync.written,
                "products_unchanged": sync.unchanged,
                "products_removed": sync.removed,
            },
            note=note,
            key=content.content_hash,
        )
