"""Fetch threads → decode threads → full batches → network → outcomes, with bounded queues between.

Nothing is in order here, so that the network never waits for one slow host: whoever is ready goes first. An
outcome depends on its own image alone, so neither order nor batch-mates nor the number of threads change a bit of it.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from jobs.embed.bounded import Bounded, Closed
from jobs.embed.draw import Draw, Todo
from jobs.embed.lanes import Float32, Lane, UInt8
from jobs.errors import TransientError
from jobs.images.source import FetchError
from medal_model.image_errors import ImageError

STAGES = ("fetch", "decode", "network")
_POLL_S = 0.5
_JOIN_S = 20.0


@dataclass(frozen=True)
class Outcome:
    """What became of one image: a vector [128] float32, a named failure, or None where its bytes are known already.

    `image_fingerprint` is None where no bytes came.
    """

    todo: Todo
    image_fingerprint: str | None
    value: Float32 | ImageError | FetchError | None


class Network(Protocol):
    """A teacher on its device. `preprocess` is called from all decode threads, `lane` once from each of `workers`."""

    workers: int

    def load(self) -> None:
        """Returns when the teacher is there. Called from each decode thread before its first image."""
        ...

    def preprocess(self, data: bytes) -> UInt8:
        """Uint8 [3, S, S]. Raises ImageError."""
        ...

    def lane(self) -> Lane:
        """Unit vectors [B, 128] of uint8 [B, 3, S, S], B as the pipeline's shape says."""
        ...


@dataclass(frozen=True)
class Shape:
    """Threads and limits of a pipeline."""

    batch: int = 32
    fetchers: int = 16
    decoders: int = 2
    ahead_bytes: int = 256 * 1024 * 1024  # of photos fetched and not decoded yet
    stall_s: float = 300.0


@dataclass
class Figures:
    """What the stages did; seconds are of threads at work, added up."""

    done: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STAGES, 0))
    busy_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    bytes_read: int = 0
    wall_s: float = 0.0
    load_s: float = 0.0  # of the wall clock, until the teacher was there: queues and `device_use` count from then on
    fill: dict[str, float] = field(default_factory=dict)  # of the queue before a stage

    def counts(self, workers: int) -> dict[str, float]:
        """For `run_metrics`."""
        wall = max(self.wall_s, 1e-9)
        out = {f"{s}_s": round(self.busy_s[s], 6) for s in STAGES}
        out |= {f"{s}_per_s": round(self.done[s] / wall, 2) for s in STAGES if self.done[s]}
        out["load_s"] = round(self.load_s, 3)
        out |= {f"queue_{s}": round(f, 3) for s, f in self.fill.items()}
        if self.done["network"]:
            out["device_use"] = round(self.busy_s["network"] / workers / max(wall - self.load_s, 1e-9), 3)
        return out


class Pipeline:
    """Runs once. `known` tells whether a vector of these bytes (by fingerprint) is there already."""

    def __init__(
        self,
        fetch: Callable[[str, str], bytes],
        network: Network,
        known: Callable[[str], bool],
        shape: Shape,
        more: Callable[[], bool] = lambda: True,
        lane: Callable[[str], str | None] = lambda uri: None,
        per_lane: int = 1,
    ) -> None:
        """`more` is asked before each image: False leaves it and all after it for another time.

        `lane` names what an address shares with others, such as a host, of which `per_lane` are fetched at once.
        """
        self._fetch, self._network, self._known, self._shape = fetch, network, known, shape
        self._order: Callable[[Sequence[Todo]], Draw] = lambda todo: Draw(todo, lane, per_lane, more)
        self._fetched: Bounded[tuple[Todo, bytes]] = Bounded(shape.batch * 4, shape.ahead_bytes)
        self._decoded: Bounded[tuple[Todo, str, UInt8]] = Bounded(shape.batch * (network.workers + 2))
        self._out: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._twins: dict[str, list[Todo]] = {}  # bytes on their way → others that have the same
        self._now: dict[str, tuple[str, str, float]] = {}  # thread → stage, what it is at, since when
        self._living = {"fetch": shape.fetchers, "decode": shape.decoders}
        self.figures = Figures()
        self._begun = time.monotonic()
        self._draw: Draw = self._order(())
        self._hung = False

    @property
    def drawn(self) -> int:
        """Images taken up."""
        return self._draw.drawn

    def run(self, todo: Sequence[Todo]) -> Generator[Outcome, None, None]:
        """An outcome for each image taken up. Raises TransientError naming the stage where nothing moves any more."""
        self._begun = time.monotonic()
        self._draw = self._order(todo)
        stages: list[tuple[str, int, Callable[[], None]]] = [
            ("fetch", self._shape.fetchers, self._fetching),
            ("decode", self._shape.decoders, self._decoding),
            ("network", self._network.workers, self._embedding),
        ]
        threads = [
            threading.Thread(target=self._work, args=(stage, body), name=f"{stage}-{n}", daemon=True)
            for stage, count, body in stages
            for n in range(count)
        ]
        for t in threads:
            t.start()
        try:
            yield from self._outcomes(threads)
        finally:
            self._draw.stop()
            for q in (self._fetched, self._decoded):
                q.stop()
            # A thread inside the network's library when the interpreter ends would abort the process.
            until = time.monotonic() + (0.0 if self._hung else _JOIN_S)
            for t in threads:
                if not t.name.startswith("fetch"):  # which may wait for a host, and is in Python there
                    t.join(max(0.0, until - time.monotonic()))
            self.figures.wall_s = time.monotonic() - self._begun
            self.figures.fill = {"decode": self._fetched.fill(), "network": self._decoded.fill()}

    def _outcomes(self, threads: Sequence[threading.Thread]) -> Generator[Outcome, None, None]:
        moved, before = time.monotonic(), -1
        given = 0
        while any(t.is_alive() for t in threads) or not self._out.empty() or given < self.drawn:
            try:
                outcome = self._out.get(timeout=_POLL_S)
            except queue.Empty:
                now = sum(self.figures.done.values())
                if now != before:
                    moved, before = time.monotonic(), now
                elif time.monotonic() - moved > self._shape.stall_s:
                    self._hung = True
                    raise TransientError(self._stalled()) from None
                continue
            if isinstance(outcome, BaseException):
                raise outcome
            moved = time.monotonic()
            with self._lock:
                twins = self._twins.pop(outcome.image_fingerprint, []) if outcome.image_fingerprint else []
            for one in (outcome, *(Outcome(t, outcome.image_fingerprint, outcome.value) for t in twins)):
                given += 1
                yield one

    def _stalled(self) -> str:
        """Names the last stage that has work and does not end it."""
        with self._lock:
            at = sorted(self._now.values(), key=lambda n: (-STAGES.index(n[0]), n[2]))
        if not at:
            return f"embed: no stage moved for {self._shape.stall_s:.0f} s, and none is at work; run the stage again"
        stage, what, since = at[0]
        return (
            f"embed: stage {stage} makes no progress: {what} for {time.monotonic() - since:.0f} s "
            f"({', '.join(f'{n} {s}' for s in STAGES if (n := sum(a[0] == s for a in at)))} threads at work); "
            "what was committed is kept, run the stage again"
        )

    # --- threads ----------------------------------------------------------------------------------------------

    def _work(self, stage: str, body: Callable[[], None]) -> None:
        try:
            body()
        except Closed:
            return
        except BaseException as e:
            self._out.put(e)
        finally:
            self._ended(stage)

    def _ended(self, stage: str) -> None:
        """The last thread of a stage tells the next one that nothing more comes."""
        if stage == "network":
            return
        with self._lock:
            self._living[stage] -= 1
            last = not self._living[stage]
        if last and stage == "fetch":
            self._fetched.finish()
        elif last:
            self._decoded.finish()

    def _fetching(self) -> None:
        while (todo := self._draw.next()) is not None:
            try:
                with _Timed(self, "fetch", f"{todo.item_id} ({todo.uri})"):
                    data = self._fetch(todo.uri, todo.source_fingerprint)
            except FetchError as e:
                self._out.put(Outcome(todo, None, e))
                continue
            finally:
                self._draw.done(todo)
            with self._lock:
                self.figures.bytes_read += len(data)
            self._fetched.put((todo, data), len(data))

    def _decoding(self) -> None:
        loaded = False
        while some := self._fetched.take():
            ((todo, data),) = some
            image = fingerprint(data)
            if not self._first(todo, image):
                continue
            if not loaded:
                with _Timed(self, "decode", "loading the teacher", counted=False, work=False):
                    self._network.load()
                self._measure_from_here()
                loaded = True
            try:
                with _Timed(self, "decode", f"{todo.item_id} ({todo.uri})"):
                    pixels = self._network.preprocess(data)
            except ImageError as e:
                self._out.put(Outcome(todo, image, e))
                continue
            del data, some
            self._decoded.put((todo, image, pixels))

    def _measure_from_here(self) -> None:
        with self._lock:
            if self.figures.load_s:
                return
            self.figures.load_s = time.monotonic() - self._begun
        self._fetched.measure_anew()
        self._decoded.measure_anew()

    def _first(self, todo: Todo, image: str) -> bool:
        """Is this the first of its bytes? Others wait for its outcome, or need none."""
        with self._lock:
            if (twins := self._twins.get(image)) is not None:
                twins.append(todo)
                return False
            if not self._known(image):
                self._twins[image] = []
                return True
        self._out.put(Outcome(todo, image, None))
        return False

    def _embedding(self) -> None:
        lane: Lane | None = None
        under_way: deque[list[tuple[Todo, str]]] = deque()
        while True:
            # What a device holds back would wait for a batch that may be long in coming.
            if lane and under_way and not self._decoded.ready(self._shape.batch):
                self._await(lane, under_way)
            if not (some := self._decoded.take(self._shape.batch)):
                break
            lane = lane or self._network.lane()
            under_way.append([(todo, image) for todo, image, _ in some])
            with _Timed(self, "network", f"a batch of {len(some)}", counted=False):
                batch = lane.buffer(some[0][2].shape)
                for slot, (_, _, pixels) in enumerate(some):
                    batch[slot] = pixels
                batch[len(some) :] = 0  # padded to the one shape
                done = lane.submit()
            self._give(done, under_way)
        if lane and under_way:
            self._await(lane, under_way)

    def _await(self, lane: Lane, under_way: deque[list[tuple[Todo, str]]]) -> None:
        with _Timed(self, "network", f"{len(under_way)} batches on the device", counted=False):
            done = lane.flush()
        self._give(done, under_way)

    def _give(self, done: list[Float32], under_way: deque[list[tuple[Todo, str]]]) -> None:
        """Outcomes of the batches that are under way longest."""
        for vectors in done:
            batch = under_way.popleft()
            for (todo, image), vector in zip(batch, vectors, strict=False):  # the rest is padding
                self._out.put(Outcome(todo, image, vector.copy()))
            with self._lock:
                self.figures.done["network"] += len(batch)


class _Timed:
    """Work under way: who is at what since when, and its seconds once it ends."""

    def __init__(self, pipeline: Pipeline, stage: str, what: str, *, counted: bool = True, work: bool = True) -> None:
        self._p, self._stage, self._what, self._one, self._work = pipeline, stage, what, int(counted), int(work)

    def __enter__(self) -> None:
        self._begun = time.monotonic()
        with self._p._lock:
            self._p._now[threading.current_thread().name] = (self._stage, self._what, self._begun)

    def __exit__(self, *_: object) -> None:
        with self._p._lock:
            self._p._now.pop(threading.current_thread().name, None)
            self._p.figures.busy_s[self._stage] += self._work * (time.monotonic() - self._begun)
            self._p.figures.done[self._stage] += self._one


def fingerprint(data: bytes) -> str:
    """Of an image's bytes: 32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
