"""The embed stage: read what is new, embed it in slices, account for every product.

A killed run resumes: committed slices are found by their keys, so only the lost slice is done again, and the
end is that of an undisturbed run.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.embed.allocator import give_back
from jobs.embed.budget import overdrawn
from jobs.embed.device import BATCH, TeacherNetwork, pick_device
from jobs.embed.draw import Todo
from jobs.embed.known import Known, load_known, vectors_of
from jobs.embed.pipeline import Outcome, Pipeline, Shape, fingerprint
from jobs.embed.progress import Told
from jobs.embed.rows import row_of, table_of
from jobs.embed.states import Failure, ProductState, conserve, reported, retry_date, save_states
from jobs.errors import MedalError
from jobs.images.route import open_images
from jobs.images.source import FetchError
from jobs.plan import snapshot_rows
from jobs.runs import StageResult
from jobs.stage import StageContext
from medal_model.image_errors import ImageError
from schemas.tables import QUARANTINE

Product = tuple[str, str, str | None, bool]
_COLUMNS = ("item_id", "image_uri", "source_fingerprint", "in_stock")


def run(ctx: StageContext) -> StageResult:
    """Embed the new images of the run's snapshot.

    Raises DataError or TransientError past the error budget (what was embedded and the quarantine are kept),
    TransientError where nothing moves any more, ConservationError, LeaseHeld.
    """
    return Embed(ctx).run()


class Embed:
    """The stage for one run. `jobs.embed.shards` makes a part of it at a time."""

    def __init__(self, ctx: StageContext) -> None:
        self.ctx, self.plan, self.settings = ctx, ctx.manifest.plan, ctx.settings.embed
        self.model = self.plan.inputs.model_version
        self.run_id = self.plan.run_id
        # The lease holder may read the newest version of the tables it writes: another run may have embedded some
        # of tonight's images since this one was planned, and a key must not come twice.
        self.version = ctx.lake.version("embeddings")
        self.quarantine = ctx.lake.version("quarantine")
        self.known: Known = load_known(ctx.lake, ctx.run, self.model, self.version, self.quarantine)
        self.stored = dict(self.known.failures)
        self.known.failures.update(reported(ctx.lake, self.run_id))  # by shards of this run
        self.current: dict[str, str] = {}  # item_id -> image_fingerprint of its bytes now
        self.failed: dict[str, Failure] = {}
        self.part = max((c.part for c in ctx.lake.commits("embeddings", run_id=self.run_id)), default=0)
        self.rows: list[dict[str, Any]] = []  # made and not committed yet
        self.copies: list[tuple[Todo, str]] = []  # of bytes that have a vector
        self.tried = 0  # images that this run needs, those that are not there included

    def run(self) -> StageResult:
        started = time.monotonic()
        products = self.products()
        to_read, device, figures, stopped = self.embed(products)
        self._write_quarantine()
        if stopped is not None:
            raise stopped
        states = [self._state(item, source) for item, _, source, _ in products]
        counts = conserve(states, len(products), self.plan.counts["rows"], self.plan.counts["rejected"])
        save_states(self.ctx.lake, self.run_id, states)
        self.ctx.fault("embed.before_manifest")
        took = time.monotonic() - started
        left = len(to_read) - int(figures.get("images_read", 0))
        self.ctx.log(
            "embed: " + ", ".join(f"{v:,.0f} {k.replace('_', ' ')}" for k, v in counts.items() if v)
            + (f"; {counts['embedded'] / took:,.0f} images/s on {device}" if to_read and took else "")
            + (f"; {left:,} images were left when the time box was over (embed.time_box_s)" if left else "")
        )  # fmt: skip
        return StageResult(
            "embed",
            "done" if to_read else "skipped",
            reads={"catalog": self.ctx.manifest.version("catalog")},
            writes={t: v for t, v in (("embeddings", self.version), ("quarantine", self.quarantine)) if v >= 0},
            counts={**counts, "images_read": 0.0, "bytes_read": 0.0, **figures},
            note="" if to_read else "no new image",
        )

    def products(self) -> list[Product]:
        """The run's eligible products: (item_id, image_uri, source_fingerprint, in_stock), by item_id."""
        rows = snapshot_rows(self.ctx.lake, self.ctx.manifest)
        return list(zip(*(rows[c].to_pylist() for c in _COLUMNS), strict=True))

    def embed(self, products: list[Product]) -> tuple[list[Todo], str, dict[str, float], MedalError | None]:
        """What had to be read, on what device, the figures, and what ends the run where its budget is overdrawn."""
        # In stock first, so that what a time box leaves for tomorrow is what a shop needs least.
        to_read = [
            Todo(item, uri, source)
            for item, uri, source, _ in sorted(products, key=lambda p: not p[3])
            if self._must_read(item, uri, source) and source is not None
        ]
        # What shards, or this run before it was killed, have read counts too: the budget is a share of the whole night.
        read = sum(self.known.rows.get(image) == self.run_id for image in self.current.items())
        self.tried = len(to_read) + read + sum(f.run_id == self.run_id for f in self.failed.values())
        stopped = self._overdrawn()
        figures: dict[str, float] = {}
        device = "none"
        if to_read and stopped is None:
            device = pick_device(self.settings.device)
            figures, stopped = self._embed(to_read, device)
        elif self.settings.device == "cuda":
            pick_device("cuda")
        return to_read, device, figures, stopped

    # --- what to read -----------------------------------------------------------------------------------------

    def _must_read(self, item: str, uri: str, source: str | None) -> bool:
        """Decide from the listing alone whether an image's bytes are needed; notes what is known of the rest."""
        failure = self.known.failures.get(item)
        if (
            failure is not None
            and failure.source_fingerprint == source
            and failure.retry_from > self.plan.run_date
            # A passing fault of this very run is what a retry of the stage is for.
            and not (failure.run_id == self.run_id and failure.state() == "waiting")
        ):
            self.failed[item] = failure
            return False
        if source is None:
            self._fail(item, fingerprint(f"missing:{uri}".encode()), None, "missing", f"{uri}: no such file")
            return False
        if (image := self.known.by_source.get((item, source))) is not None:
            self.current[item] = image
            return False
        return True

    def _fail(self, item: str, image: str, source: str | None, kind: str, message: str) -> None:
        """Note a failure; an image failing again waits longer. `image`: its fingerprint, or what stands for it."""
        before = self.known.failures.get(item)
        again = before is not None and before.image_fingerprint == image
        if again and before is not None and before.run_id == self.run_id:
            self.failed[item] = before  # found by this very run before it was killed
            return
        attempts = before.attempts + 1 if again and before is not None else 1
        wait = retry_date(self.plan.run_date, attempts, self.settings.retry_days)
        self.failed[item] = Failure(item, image, source, kind, message, attempts, wait, self.run_id)

    # --- reading and embedding ----------------------------------------------------------------------------------

    def _embed(self, to_read: list[Todo], device: str) -> tuple[dict[str, float], MedalError | None]:
        """The pipeline's figures, and the error that ends the run where its budget is overdrawn."""
        s, batch = self.settings, self.settings.batch_size or BATCH[device]
        images = open_images(self.ctx.settings, Path(self.plan.image_root), self.plan.run_date)
        network = TeacherNetwork(
            Path(self.plan.teacher_dir), device, s.network_threads,
            batch=batch, precision=s.precision, compiled=s.compile, say=self.ctx.log,
        )  # fmt: skip
        shape = Shape(batch, s.fetch_threads, s.decode_threads, s.ahead_mib << 20, s.stall_s)
        until = None if s.time_box_s is None else time.monotonic() + s.time_box_s
        more = (lambda: True) if until is None else (lambda: time.monotonic() < until)

        def fetch(uri: str, source: str) -> bytes:
            data = images.fetch(uri, source)
            self.ctx.fault("embed.fetched")
            return data

        pipeline = Pipeline(
            fetch, network, self.known.by_bytes.__contains__, shape, more, images.lane,
            self.ctx.settings.images.per_host,
        )  # fmt: skip
        self.ctx.log(f"embed: {len(to_read):,} images to read, teacher {self.model} on {device}, batches of {batch}")
        stopped: MedalError | None = None
        with Told(len(to_read), self.ctx.log) as told, closing(pipeline.run(to_read)) as outcomes:
            for outcome in outcomes:
                failed = not self._take(outcome)
                told.one(failed)
                if len(self.rows) + len(self.copies) >= s.slice_size:
                    self._commit(last=False)
                if failed and (stopped := self._overdrawn()) is not None:
                    break
        images.close()
        give_back()
        if self.rows or self.copies:
            self._commit(last=True)
        figures = {"images_read": float(pipeline.drawn), "bytes_read": float(pipeline.figures.bytes_read)}
        figures |= pipeline.figures.counts(network.workers)
        figures |= {"pipeline_s": round(pipeline.figures.wall_s, 3), "network_threads": float(network.workers)}
        figures |= {"fetch_threads": float(shape.fetchers), "decode_threads": float(shape.decoders)}
        if s.cost_per_hour is not None and (made := pipeline.figures.done["network"]):
            figures["cost_per_1000"] = round(s.cost_per_hour / 3600 * pipeline.figures.wall_s / made * 1000, 6)
        return figures, stopped

    def _overdrawn(self) -> MedalError | None:
        fresh = [f for f in self.failed.values() if f.run_id == self.run_id]
        return overdrawn(fresh, self.tried, self.settings.budget)

    def _take(self, outcome: Outcome) -> bool:
        """Note an outcome; False where it is a failure."""
        todo, image, value = outcome.todo, outcome.image_fingerprint, outcome.value
        if isinstance(value, FetchError):
            key = fingerprint(f"{todo.uri}:{todo.source_fingerprint}".encode())
            self._fail(todo.item_id, key, todo.source_fingerprint, value.kind, str(value))
            return False
        assert image is not None
        if isinstance(value, ImageError):
            self._fail(todo.item_id, image, todo.source_fingerprint, value.kind, f"{todo.uri}: {value}")
            return False
        self.current[todo.item_id] = image
        if (todo.item_id, image) not in self.known.rows:
            if value is None:
                self.copies.append((todo, image))
            else:
                self.rows.append(self._row(todo, image, value.tolist()))
                self.ctx.fault("embed.embedded")
        return True

    def _row(self, todo: Todo, image: str, vector: Any) -> dict[str, Any]:
        self.known.add(todo.item_id, image, todo.source_fingerprint, self.run_id)
        return row_of(todo, image, vector, self.model, self.run_id)

    def _commit(self, *, last: bool) -> None:
        here = {r["image_fingerprint"]: r["vector"] for r in self.rows}
        wanted = {image: todo.item_id for todo, image in self.copies if image not in here}
        there = vectors_of(self.ctx.lake, self.version, self.model, wanted)
        self.rows += [self._row(todo, image, here.get(image) or there[image]) for todo, image in self.copies]
        self.ctx.fault("embed.before_commit")
        self._append()
        self.rows, self.copies = [], []
        self.ctx.fault("embed.slice_committed")
        if not last:
            self.ctx.fault("embed.between_slices")

    def _append(self) -> None:
        """Commit `rows`."""
        self.ctx.lease.check()
        self.part += 1
        table = table_of(self.rows)
        self.version = self.ctx.lake.append("embeddings", table, self.ctx.run, part=self.part, model_version=self.model)

    # --- accounting ---------------------------------------------------------------------------------------------

    def _state(self, item: str, source: str | None) -> ProductState:
        image = self.current.get(item)
        if (failure := self.failed.get(item)) is not None or image is None:
            old = self.known.last_image.get(item)
            if old is not None and (item, old) in self.known.rows:
                return ProductState(item, "stale_vector", old, source)
            # Without a failure: left by the time box.
            return ProductState(item, failure.state() if failure else "waiting", None, source)
        if self.known.rows[item, image] != self.run_id:
            return ProductState(item, "unchanged", image, source)
        # Told from the table, not from what this process did, so that a resumed run counts like an undisturbed one.
        first = min((self.known.rows[i, image] == self.run_id, i) for i in self.known.by_bytes[image])
        return ProductState(item, "embedded" if first == (True, item) else "reused", image, source)

    def _write_quarantine(self) -> None:
        settled = set(self.current) - set(self.failed)
        keep = {i: f for i, f in self.known.failures.items() if i not in settled} | self.failed
        if keep == self.stored:
            return
        rows = [{**keep[i].__dict__, "model_version": self.model} for i in sorted(keep)]
        self.ctx.lease.check()
        # A run that was stopped by its budget writes it once more when its stage is run again.
        part = max((c.part for c in self.ctx.lake.commits("quarantine", run_id=self.run_id)), default=-1) + 1
        self.quarantine = self.ctx.lake.replace(
            "quarantine",
            pa.Table.from_pylist(rows, schema=QUARANTINE.schema),
            self.ctx.run,
            predicate=f"model_version = '{self.model}'",
            part=part,
            model_version=self.model,
        )
