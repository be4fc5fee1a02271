"""The embed stage's pipeline: bounded, unordered, nothing lost; what hangs is named, what crashes is told."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from jobs.embed.bounded import Bounded, Closed
from jobs.embed.draw import Draw, Todo
from jobs.embed.lanes import AtOnce, Float32, Lane, UInt8
from jobs.embed.pipeline import Outcome, Pipeline, Shape, fingerprint
from jobs.errors import TransientError
from jobs.images.source import FetchError
from medal_model.image_errors import ImageError

pytestmark = pytest.mark.timeout(60)


class Sums:
    """A small network: the vector of an image is its bytes' sum and size."""

    workers = 2

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.on_decode: Callable[[bytes], None] = lambda data: None
        self.on_embed: Callable[[], None] = lambda: None

    def load(self) -> None:
        pass

    def preprocess(self, data: bytes) -> UInt8:
        self.on_decode(data)
        if data.startswith(b"bad"):
            raise ImageError("unreadable", "bad bytes")
        return np.full((3, 2, 2), sum(data) % 251, np.uint8)

    def lane(self) -> Lane:
        return AtOnce(self.embed, 4)

    def embed(self, batch: UInt8) -> Float32:
        self.on_embed()
        self.batches.append(len(batch))
        out = np.zeros((len(batch), 128), np.float32)
        out[:, 0] = batch[:, 0, 0, 0]
        return out


def assert_(true: bool) -> None:
    assert true


def todo(n: int) -> list[Todo]:
    return [Todo(f"i{k}", f"u{k}", f"s{k}") for k in range(n)]


def by_item(outcomes: list[Outcome]) -> dict[str, Outcome]:
    assert max(Counter(o.todo.item_id for o in outcomes).values(), default=1) == 1
    return {o.todo.item_id: o for o in outcomes}


def content(uri: str) -> bytes:
    return f"photo {uri}".encode()


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 61])
@pytest.mark.parametrize("threads", [(1, 1), (16, 3)])
def test_each_image_has_one_outcome_in_batches_of_one_shape(n: int, threads: tuple[int, int]) -> None:
    network = Sums()
    pipeline = Pipeline(lambda u, _: content(u), network, lambda _: False, Shape(4, *threads))
    got = by_item(list(pipeline.run(todo(n))))
    assert set(got) == {f"i{k}" for k in range(n)}
    for k in range(n):
        value = got[f"i{k}"].value
        assert isinstance(value, np.ndarray) and value[0] == sum(content(f"u{k}")) % 251
        assert got[f"i{k}"].image_fingerprint == fingerprint(content(f"u{k}"))
    assert network.batches == [4] * ((n + 3) // 4)
    assert pipeline.figures.done == {"fetch": n, "decode": n, "network": n}
    assert pipeline.figures.bytes_read == sum(len(content(f"u{k}")) for k in range(n))


def test_failures_known_bytes_and_twins() -> None:
    def fetch(uri: str, _: str) -> bytes:
        k = int(uri[1:])
        if k % 5 == 1:
            raise FetchError("unreadable", f"{uri}: gone", passing=True)
        return {2: b"bad", 3: b"known", 4: b"twin"}.get(k % 5, content(uri))

    network = Sums()
    known = {fingerprint(b"known")}
    got = by_item(list(Pipeline(fetch, network, known.__contains__, Shape(4, 3, 2)).run(todo(50))))
    assert len(got) == 50
    kinds = Counter((k % 5, type(got[f"i{k}"].value).__name__) for k in range(50))
    assert kinds == {
        (0, "ndarray"): 10, (1, "FetchError"): 10, (2, "ImageError"): 10, (3, "NoneType"): 10, (4, "ndarray"): 10
    }  # fmt: skip
    assert len({got[f"i{k}"].value.tobytes() for k in range(4, 50, 5)}) == 1  # type: ignore[union-attr]


def test_a_slow_host_holds_up_nobody() -> None:
    release = threading.Event()

    def fetch(uri: str, _: str) -> bytes:
        if uri == "u0":
            assert release.wait(30)
        return content(uri)

    seen = []
    for outcome in Pipeline(fetch, Sums(), lambda _: False, Shape(4, 2, 1)).run(todo(41)):
        seen.append(outcome.todo.item_id)
        if len(seen) == 40:
            release.set()
    assert seen[-1] == "i0" and len(seen) == 41


@pytest.mark.parametrize("stage", ["fetch", "decode", "network"])
def test_what_hangs_is_named(stage: str) -> None:
    network, release = Sums(), threading.Event()

    def hang(*_: object) -> None:
        release.wait(30)

    if stage == "decode":
        network.on_decode = hang
    if stage == "network":
        network.on_embed = hang

    def fetch(uri: str, _: str) -> bytes:
        if stage == "fetch":
            hang()
        return content(uri)

    begun = time.monotonic()
    with pytest.raises(TransientError, match=rf"stage {stage} makes no progress: .* for \d+ s .*run the stage again"):
        list(Pipeline(fetch, network, lambda _: False, Shape(4, 2, 1, stall_s=1.0)).run(todo(20)))
    assert time.monotonic() - begun < 10
    release.set()


@pytest.mark.parametrize("stage", ["fetch", "decode", "network"])
def test_a_crash_comes_out_as_itself(stage: str) -> None:
    network = Sums()

    def crash(*_: object) -> None:
        raise ZeroDivisionError(stage)

    if stage == "decode":
        network.on_decode = crash
    if stage == "network":
        network.on_embed = crash

    def fetch(uri: str, _: str) -> bytes:
        if stage == "fetch":
            crash()
        return content(uri)

    with pytest.raises(ZeroDivisionError, match=stage):
        list(Pipeline(fetch, network, lambda _: False, Shape(4, 2, 1)).run(todo(30)))
    assert not [t for t in threading.enumerate() if t.name.startswith(("decode-", "network-")) and _alive_after(t)]


def _alive_after(thread: threading.Thread) -> bool:
    thread.join(5)
    return thread.is_alive()


def test_no_more_is_taken_up_when_the_time_is_over() -> None:
    left = iter([True] * 7)
    pipeline = Pipeline(lambda u, _: content(u), Sums(), lambda _: False, Shape(4, 3, 2), lambda: next(left, False))
    got = by_item(list(pipeline.run(todo(30))))
    assert set(got) == {f"i{k}" for k in range(7)} and pipeline.drawn == 7


def test_photos_wait_in_bounds() -> None:
    """A network that stands still: what was fetched and not embedded stays below the limits."""
    network, release = Sums(), threading.Event()
    network.on_embed = lambda: assert_(release.wait(30))
    fetched: list[int] = []

    def fetch(uri: str, _: str) -> bytes:
        fetched.append(1)
        return content(uri).ljust(1000)

    shape = Shape(4, 8, 2, ahead_bytes=5000)
    pipeline = Pipeline(fetch, network, lambda _: False, shape)
    outcomes = pipeline.run(todo(500))
    taker = threading.Thread(target=lambda: list(outcomes))
    taker.start()
    time.sleep(1.0)
    # In two batches and in the queue before them, at a decoder, in bytes ahead, at a fetcher.
    assert len(fetched) <= 4 * 2 + 4 * 4 + 2 + 5 + 8
    release.set()
    taker.join(30)
    assert len(fetched) == 500


@pytest.mark.parametrize(
    ("most", "weight", "entries", "full"),
    [(4, 100.0, [1.0, 1.0], 0.5), (100, 10.0, [4.0, 4.0], 0.8), (100, 10.0, [50.0], 1.0), (4, math.inf, [9.0], 0.25)],
    ids=["places", "weight", "one over the weight", "no limit of weight"],
)
def test_a_queue_is_as_full_as_its_fuller_limit(most: int, weight: float, entries: list[float], full: float) -> None:
    q: Bounded[int] = Bounded(most, weight)
    for w in entries:
        q.put(0, w)
    time.sleep(0.3)
    assert q.fill() == pytest.approx(full, abs=0.05)


def test_the_queue() -> None:
    q: Bounded[int] = Bounded(3, 10)
    q.put(1, 50)  # one entry always fits
    blocked = threading.Thread(target=q.put, args=(2, 1))
    blocked.start()
    blocked.join(0.2)
    assert blocked.is_alive(), "over the weight"
    assert q.take() == [1]
    blocked.join(5)
    q.put(3, 1)
    assert q.take(2) == [2, 3]
    q.put(4)
    q.finish()
    assert q.take(3) == [4] and q.take(3) == []
    assert 0 < q.fill() < 1
    q.stop()
    for call in (q.take, lambda: q.put(1)):
        with pytest.raises(Closed):
            call()


def host(uri: str) -> str | None:
    return uri.split("/")[0] or None


@pytest.mark.parametrize("per_lane", [1, 2, 5])
def test_hosts_have_no_more_requests_than_they_may_and_none_waits_for_another(per_lane: int) -> None:
    out: Counter[str | None] = Counter()
    most: Counter[str | None] = Counter()
    lock, release = threading.Lock(), threading.Event()

    def fetch(uri: str, _: str) -> bytes:
        with lock:
            out[host(uri)] += 1
            most[host(uri)] = max(most[host(uri)], out[host(uri)])
        if uri.startswith("slow"):
            assert release.wait(30)
        time.sleep(0.002)
        with lock:
            out[host(uri)] -= 1
        return content(uri)

    slow = [Todo(f"s{k}", f"slow/{k}", "") for k in range(20)]
    quick = [Todo(f"q{k}", f"quick/{k}", "") for k in range(60)]
    seen: list[str] = []
    shape = Shape(4, 8, 2)
    for outcome in Pipeline(fetch, Sums(), lambda _: False, shape, lane=host, per_lane=per_lane).run([*slow, *quick]):
        seen.append(outcome.todo.item_id)
        if len(seen) == 60:
            release.set()
    assert {i[0] for i in seen[:60]} == {"q"}, "all of the quick host's came before the slow one's first"
    assert len(set(seen)) == 80 and max(most.values()) <= per_lane
    assert most["quick"] >= min(per_lane, 3)


def test_the_draw() -> None:
    images = [Todo(str(k), uri, "") for k, uri in enumerate(["a/1", "a/2", "b/1", "/free", "a/3"])]
    draw = Draw(images, host, 1, lambda: True)
    first = [draw.next() for _ in range(3)]
    assert [t.uri for t in first if t] == ["a/1", "b/1", "/free"]
    got: list[Todo | None] = []
    waits = threading.Thread(target=lambda: got.append(draw.next()))
    waits.start()
    waits.join(0.2)
    assert waits.is_alive(), "host a has its one request"
    assert first[0] is not None
    draw.done(first[0])
    waits.join(5)
    assert got[0] is not None and got[0].uri == "a/2"
    draw.stop()
    assert draw.next() is None and draw.drawn == 4
