"""The embed stage: read what is new, embed it in slices, account for every product.

A killed run resumes: committed slices are found by their keys, so only the lost slice is done again, and the
end is that of an undisturbed run.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.embed.device import Embedder, Vector, Work, pick_device
from jobs.embed.known import Known, load_known, vectors_of
from jobs.embed.states import Failure, ProductState, conserve, retry_date, save_states
from jobs.errors import SettingsError
from jobs.images.folder import FolderImages
from jobs.images.source import FetchError
from jobs.plan import snapshot_rows
from jobs.runs import StageResult
from jobs.stage import StageContext
from medal_model.images import ImageError
from schemas.tables import EMBEDDINGS, QUARANTINE


def run(ctx: StageContext) -> StageResult:
    """Embed the new images of the run's snapshot. Raises ConservationError, DataError, LeaseHeld."""
    stage = _Embed(ctx)
    return stage.run()


class _Embed:
    def __init__(self, ctx: StageContext) -> None:
        self.ctx, self.plan = ctx, ctx.manifest.plan
        self.model = self.plan.inputs.model_version
        self.run_id = self.plan.run_id
        # The lease holder may read the newest version of the tables it writes: another run may have embedded some
        # of tonight's images since this one was planned, and a key must not come twice.
        self.version = ctx.lake.version("embeddings")
        self.quarantine = ctx.lake.version("quarantine")
        self.known: Known = load_known(ctx.lake, ctx.run, self.model, self.version, self.quarantine)
        self.current: dict[str, str] = {}  # item_id -> image_fingerprint of its bytes now
        self.failed: dict[str, Failure] = {}
        self.part = max((c.part for c in ctx.lake.commits("embeddings", run_id=self.run_id)), default=0)
        self.bytes_read = 0
        self.images = FolderImages(Path(self.plan.image_root))

    def run(self) -> StageResult:
        started = time.monotonic()
        rows = snapshot_rows(self.ctx.lake, self.ctx.manifest)
        columns = ("item_id", "image_uri", "source_fingerprint")
        products = list(zip(*(rows[c].to_pylist() for c in columns), strict=True))
        to_read = [p for p in products if self._must_read(*p)]
        device = "none"
        if to_read:
            device = self._embed(to_read)
        elif self.ctx.settings.embed.device == "cuda":
            pick_device("cuda")
        states = [self._state(item, source) for item, _, source in products]
        counts = conserve(states, len(products), self.plan.counts["rows"], self.plan.counts["rejected"])
        self._write_quarantine()
        save_states(self.ctx.lake, self.run_id, states)
        self.ctx.fault("embed.before_manifest")
        computed = counts["embedded"]
        took = time.monotonic() - started
        self.ctx.log(
            "embed: " + ", ".join(f"{v:,.0f} {k.replace('_', ' ')}" for k, v in counts.items() if v)
            + (f"; {computed / took:,.0f} images/s on {device}" if to_read and took else "")
        )  # fmt: skip
        return StageResult(
            "embed",
            "done" if to_read else "skipped",
            reads={"catalog": self.ctx.manifest.version("catalog")},
            writes={t: v for t, v in (("embeddings", self.version), ("quarantine", self.quarantine)) if v >= 0},
            counts={**counts, "images_read": float(len(to_read)), "bytes_read": float(self.bytes_read)},
            note="" if to_read else "no new image",
        )

    # --- what to read -----------------------------------------------------------------------------------------

    def _must_read(self, item: str, uri: str, source: str | None) -> bool:
        """Decide from the listing alone whether an image's bytes are needed; notes what is known of the rest."""
        failure = self.known.failures.get(item)
        rests = failure is not None and failure.source_fingerprint == source
        if rests and failure is not None and failure.retry_from > self.plan.run_date:
            self.failed[item] = failure
            return False
        if source is None:
            self._fail(item, f"missing:{uri}", None, "missing", f"{uri}: no such file")
            return False
        if (image := self.known.by_source.get((item, source))) is not None:
            self.current[item] = image
            return False
        return True

    def _fail(self, item: str, identity: str, source: str | None, kind: str, message: str) -> None:
        """Note a failure; the same image failing again waits longer."""
        image = _fingerprint(identity.encode()) if kind in ("missing", "unreadable") else identity
        before = self.known.failures.get(item)
        again = before is not None and before.image_fingerprint == image
        if again and before is not None and before.run_id == self.run_id:
            self.failed[item] = before  # found by this very run before it was killed
            return
        attempts = before.attempts + 1 if again and before is not None else 1
        wait = retry_date(self.plan.run_date, attempts, self.ctx.settings.embed.retry_days)
        self.failed[item] = Failure(item, image, source, kind, message, attempts, wait, self.run_id)

    # --- reading and embedding ----------------------------------------------------------------------------------

    def _embed(self, to_read: list[tuple[Any, ...]]) -> str:
        settings = self.ctx.settings.embed
        device = "none"
        embedder: Embedder | None = None
        slice_: list[dict[str, Any]] = []
        done, said = 0, time.monotonic()
        self.ctx.log(f"embed: {len(to_read):,} images to read")
        # Reading is cheap beside the network's forward: one pass over the bytes finds what is new.
        for work in _grouped(self._read(to_read), settings.batch_size * 4):
            fresh, copies = self._split(work)
            vectors: list[Vector] = []
            if fresh:
                if embedder is None:
                    device = pick_device(settings.device)
                    self.ctx.log(f"embed: teacher {self.model} on {device}, batches of {settings.batch_size}")
                    embedder = Embedder(
                        Path(self.plan.teacher_dir), device, settings.batch_size, settings.decode_threads
                    )
                vectors = list(embedder.run(iter(fresh)))
            by_bytes = {v.work.image_fingerprint: v for v in vectors}
            earlier = vectors_of(
                self.ctx.lake,
                self.version,
                self.model,
                {w.image_fingerprint: w.item_id for w in copies if w.image_fingerprint not in by_bytes},
            )
            in_slice = {r["image_fingerprint"]: r["vector"] for r in slice_}
            for w in work:
                made = by_bytes.get(w.image_fingerprint)
                if made is not None and isinstance(made.value, ImageError):
                    self._fail(w.item_id, w.image_fingerprint, w.source_fingerprint, made.value.kind, str(made.value))
                    continue
                self.current[w.item_id] = w.image_fingerprint
                if (w.item_id, w.image_fingerprint) in self.known.rows:
                    continue
                if made is not None and not isinstance(made.value, ImageError):
                    vector: Any = made.value.tolist()
                else:
                    vector = in_slice.get(w.image_fingerprint) or earlier[w.image_fingerprint]
                slice_.append(self._row(w, vector))
            done += len(work)
            while len(slice_) >= settings.slice_size:
                slice_ = self._commit(slice_, settings.slice_size)
            if time.monotonic() - said > 10:
                said = time.monotonic()
                self.ctx.log(f"embed: {done:,} of {len(to_read):,} images")
        if slice_:
            self._commit(slice_, len(slice_))
        return device

    def _read(self, to_read: list[tuple[Any, ...]]) -> Iterator[Work]:
        for item, uri, source in to_read:
            try:
                data = self.images.fetch(uri, source)
            except FetchError as e:
                self._fail(item, f"{uri}:{source}", source, e.kind, str(e))
                continue
            self.bytes_read += len(data)
            yield Work(item, _fingerprint(data), source, data)

    def _split(self, work: list[Work]) -> tuple[list[Work], list[Work]]:
        """(first of each bytes nobody has a vector for, the rest that only copy one)."""
        fresh: dict[str, Work] = {}
        copies = []
        for w in work:
            if w.image_fingerprint in self.known.by_bytes:
                copies.append(w)
            else:
                fresh.setdefault(w.image_fingerprint, w)
        return list(fresh.values()), copies

    def _row(self, work: Work, vector: Any) -> dict[str, Any]:
        self.known.add(work.item_id, work.image_fingerprint, work.source_fingerprint, self.run_id)
        return {
            "item_id": work.item_id,
            "image_fingerprint": work.image_fingerprint,
            "source_fingerprint": work.source_fingerprint,
            "model_version": self.model,
            "vector": vector,
            "run_id": self.run_id,
        }

    def _commit(self, rows: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
        self.ctx.lease.check()
        self.part += 1
        table = pa.Table.from_pylist(rows[:n], schema=EMBEDDINGS.schema)
        self.version = self.ctx.lake.append("embeddings", table, self.ctx.run, part=self.part, model_version=self.model)
        self.ctx.fault("embed.slice_committed")
        if rows[n:]:
            self.ctx.fault("embed.between_slices")
        return rows[n:]

    # --- accounting ---------------------------------------------------------------------------------------------

    def _state(self, item: str, source: str | None) -> ProductState:
        if (failure := self.failed.get(item)) is not None:
            old = self.known.last_image.get(item)
            if old is not None and (item, old) in self.known.rows:
                return ProductState(item, "stale_vector", old, source)
            return ProductState(item, failure.state(), None, source)
        image = self.current[item]
        if self.known.rows[item, image] != self.run_id:
            return ProductState(item, "unchanged", image, source)
        # Told from the table, not from what this process did, so that a resumed run counts like an undisturbed one.
        first = min((self.known.rows[i, image] == self.run_id, i) for i in self.known.by_bytes[image])
        return ProductState(item, "embedded" if first == (True, item) else "reused", image, source)

    def _write_quarantine(self) -> None:
        settled = set(self.current) - set(self.failed)
        keep = {i: f for i, f in self.known.failures.items() if i not in settled} | self.failed
        if keep == self.known.failures:
            return
        rows = [{**keep[i].__dict__, "model_version": self.model} for i in sorted(keep)]
        self.ctx.lease.check()
        self.quarantine = self.ctx.lake.replace(
            "quarantine",
            pa.Table.from_pylist(rows, schema=QUARANTINE.schema),
            self.ctx.run,
            predicate=f"model_version = '{self.model}'",
            model_version=self.model,
        )


def _fingerprint(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _grouped(work: Iterator[Work], size: int) -> Iterator[list[Work]]:
    group: list[Work] = []
    for w in work:
        group.append(w)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def check_device(asked: str) -> None:
    """Refuse an unknown or absent device before anything is planned. Raises SettingsError."""
    if asked not in ("auto", "cpu", "cuda"):
        raise SettingsError(f"--device {asked}: choose auto, cpu or cuda")
    if asked == "cuda":
        pick_device("cuda")
