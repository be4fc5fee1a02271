"""The report's section on embedding: what bounds a night, told from its figures, and what failed in it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import NamedTuple

import clean_night as f
import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.embed.draw import Todo
from jobs.embed.lanes import AtOnce, Float32, Lane, UInt8
from jobs.embed.pipeline import Figures, Pipeline, Shape
from jobs.embed.states import STATES, load_states
from jobs.lake import Lake
from jobs.report import load as loads
from jobs.report.embedding import Embedding, embedding
from jobs.report.figures import duration, of_stage, rate, size, whole_percent
from jobs.report.job import render
from jobs.report.load import Load, bounds, sentence
from jobs.runs import Manifest, StageResult
from jobs.settings import Settings
from schemas.tables import QUARANTINE

Night = tuple[Settings, Lake, Manifest]
HOSTILE = "<script>alert(1)</script>"


def counts(wall: float = 100.0, **busy: float) -> dict[str, float]:
    """As the stage leaves them: 1,000 images of 20 kB; `busy` is the share of 16, 2 and 2 threads' time."""
    threads = {"fetch": 16, "decode": 2, "network": 2}
    made = Figures(
        done=dict.fromkeys(threads, 1000),
        busy_s={s: busy.get(s, 0.1) * n * wall for s, n in threads.items()},
        wall_s=wall,
        fill={s: busy.get(f"queue_{s}", 0.02) for s in ("decode", "network")},
    ).counts(2)
    made |= {f"{s}_threads": float(n) for s, n in threads.items()}
    return {**made, "images_read": 1000.0, "bytes_read": 2e7, "pipeline_s": wall, "embedded": 1000.0}


class Bound(NamedTuple):
    kind: str
    counts: dict[str, float]
    by: tuple[str, ...]
    said: str


BOUND = [
    Bound(
        "network", counts(network=0.97, queue_network=0.92, queue_decode=0.9), ("network",),
        "The network bounds it: the queue before it is 92 % full, its threads work 97 % of the time.",
    ),
    Bound(
        "a device that never waits, fed in time", counts(network=0.96, decode=0.5, queue_network=0.2), ("network",),
        "The network bounds it: the queue before it is 20 % full, its threads work 96 % of the time.",
    ),
    Bound(
        "decode", counts(decode=0.99, network=0.3, queue_decode=0.88), ("decode",),
        "Decoding bounds it: the queue before it is 88 % full, its threads work 99 % of the time, "
        "the device works 30 % of the time.",
    ),
    Bound(
        "cores that are shared", counts(decode=0.98, network=0.9, queue_decode=0.93, queue_network=0.15),
        ("decode", "network"),
        "Decoding and the network bound it together: the queue before decoding is 93 % full, "
        "the decoding threads work 98 % of the time, the device works 90 % of the time.",
    ),
    Bound(
        "fetch", counts(fetch=0.99, network=0.12, queue_decode=0.03, queue_network=0.04), ("fetch",),
        "Fetching bounds it: the queue before decoding is 3 % full, the queue before the network is 4 % full, "
        "the device works 12 % of the time.",
    ),
    Bound(
        "nothing alone", counts(decode=0.6, network=0.6, queue_decode=0.4, queue_network=0.3), (),
        "No step alone bounds it: the queue before decoding is 40 % full, the queue before the network is 30 % full, "
        "the decoding threads work 60 % of the time, the device works 60 % of the time.",
    ),
    Bound(
        "too short", counts(wall=1.4, network=0.97, queue_network=0.92), (),
        "Too short to tell what bounds it: 1,000 images in 1.4 s.",
    ),
    Bound(
        "loading most of it", counts(wall=32.0, network=0.3, queue_network=0.92) | {"load_s": 12.5}, (),
        "Too short to tell what bounds it: 1,000 images in 32.0 s, 12.5 s of it loading the teacher.",
    ),
]  # fmt: skip


@pytest.fixture
def night(tmp_path: Path) -> Night:
    made = f.products()
    return f.write_night(tmp_path, made, f.lists(made))


def with_counts(night: Night, had: dict[str, float], **result: object) -> Night:
    settings, lake, manifest = night
    before = manifest.stages["embed"]
    told = StageResult("embed", result.pop("status", "done"), writes=before.writes, counts=had, seconds=110.0)  # type: ignore[arg-type]
    return settings, lake, manifest.with_stage(told)


def section(night: Night) -> Embedding:
    _, lake, manifest = night
    found = embedding(lake, manifest, load_states(lake, f.RUN_ID))
    assert found is not None
    return found


def html(night: Night) -> str:
    """The section as it stands on the page."""
    text = render(*night).decode()
    found = re.search(r'<section id="embedding">.*?</section>', text, re.DOTALL)
    assert found is not None
    return found[0].replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("case", BOUND, ids=lambda c: c.kind)
def test_what_bounds_a_night(case: Bound, night: Night) -> None:
    load = Load.of(case.counts)
    assert bounds(load) == case.by
    assert sentence(load, bounds(load)) == case.said
    text = html(with_counts(night, case.counts))
    assert case.said in text
    assert text.count('class="bound"') == text.count(">bounds it<") == len(case.by)
    assert ("What helps" in text) == bool(case.by)
    assert ("take cores from each other" in text) == (case.by == ("decode", "network"))


class Slow:
    """A network whose steps take a set time."""

    workers = 2

    def load(self) -> None:
        time.sleep(1.0)  # no step's work

    def __init__(self, decode_s: float, network_s: float) -> None:
        self.decode_s, self.network_s = decode_s, network_s

    def preprocess(self, data: bytes) -> UInt8:
        time.sleep(self.decode_s)
        return np.zeros((3, 2, 2), np.uint8)

    def lane(self) -> Lane:
        return AtOnce(self._embed, 8)

    def _embed(self, batch: UInt8) -> Float32:
        time.sleep(self.network_s)
        return np.zeros((len(batch), 128), np.float32)


@pytest.mark.parametrize(
    ("by", "fetch_s", "decode_s", "network_s"),
    [("fetch", 0.1, 0.001, 0.005), ("decode", 0.001, 0.012, 0.005), ("network", 0.001, 0.001, 0.1)],
)
def test_a_pipeline_with_a_slow_step_is_told_by_its_figures(
    by: str, fetch_s: float, decode_s: float, network_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loads, "SHORT_S", 0.0)

    def fetch(uri: str, source: str) -> bytes:
        time.sleep(fetch_s)
        return uri.encode()

    pipeline = Pipeline(fetch, Slow(decode_s, network_s), lambda _: False, Shape(8, 16, 2))
    assert len(list(pipeline.run([Todo(f"i{n}", f"u{n}", "s") for n in range(400)]))) == 400
    had = pipeline.figures.counts(2) | {"images_read": 400.0, "pipeline_s": pipeline.figures.wall_s}
    assert bounds(Load.of(had | {"decode_threads": 2.0})) == (by,)
    assert 1.0 <= had["load_s"] < had["pipeline_s"]


def test_the_steps_are_told_in_words_beside_their_bars(night: Night) -> None:
    had = counts(fetch=0.3, decode=0.21, network=0.97, queue_decode=0.9, queue_network=0.92) | {"cost_per_1000": 0.0123}
    found = section(with_counts(night, had))
    assert found.figures == (
        ("1,000", "images read", ""), ("20.0 MB", "of images", "20.0 kB each"),
        ("10", "images a second", "in 1 min 40 s"), ("0.012", "cost of 1,000 vectors", "at the price set an hour"),
    )  # fmt: skip
    told = {s.title: [s.rate, *(m.told for m in s.meters), s.spent] for s in found.steps}
    assert told == {
        "Fetch": ["10 images/s", "30 % of 16", "none", "480 ms an image, 8 min 00 s in all"],
        "Decode": ["10 images/s", "21 % of 2", "90 % full", "42 ms an image, 42.0 s in all"],
        "Network": ["10 images/s", "97 % of 2", "92 % full", "194 ms an image, 3 min 14 s in all"],
    }
    text = html(with_counts(night, had))
    bars = re.findall(r'<dd>([^<]*)</dd><dd class="bar" aria-hidden="true"><i style="width:([\d.]+)%">', text)
    assert [float(width) for _, width in bars] == pytest.approx([30, 21, 90, 97, 92])
    assert all(f"{float(width):.0f} %" in words for words, width in bars)


NOTHING = dict.fromkeys(STATES, 0.0) | {"unchanged": 7091.0, "images_read": 0.0, "bytes_read": 0.0}
STILL = [
    ("nothing new", NOTHING, "skipped", "No image was read: what is new was not there to read; 7,091 vectors are from"),
    ("done by shards", NOTHING | {"embedded": 9.0}, "skipped", "Nothing was left to read when the stage was ended"),
    ("without steps", NOTHING | {"images_read": 71.0, "bytes_read": 14200.0}, "done", "71 images were read; this run"),
    ("without images", {"embedded": 9.0}, "done", "This run kept no figures of the pipeline."),
    ("without anything", {}, "skipped", "No image was read: what is new was not there to read; 0 vectors"),
]


@pytest.mark.parametrize(("kind", "had", "status", "said"), STILL, ids=[s[0] for s in STILL])
def test_nights_without_figures_of_the_steps(
    kind: str, had: dict[str, float], status: str, said: str, night: Night
) -> None:
    found = section(with_counts(night, had, status=status))
    assert found.said.startswith(said)
    assert found.steps == ()
    assert found.said in html(with_counts(night, had, status=status))


def test_a_night_with_nothing_new_says_so_in_one_line(tmp_path: Path) -> None:
    made = [p for p in f.products() if p["vector"] is not None]
    night = with_counts(f.write_night(tmp_path, made, f.lists(made)), NOTHING, status="skipped")
    assert section(night) == Embedding("No new image: nothing was read, 7,091 vectors are from before.")
    assert re.findall(r"<(\w+)", html(night)) == ["section", "h2", "p"]


def test_a_manifest_without_threads_and_wall_clock_still_tells(night: Night) -> None:
    """As the runs before those figures left it: the wall clock is told from the rate, threads are at once."""
    had = counts(fetch=0.3, network=0.97, queue_network=0.92)
    old = {k: v for k, v in had.items() if not k.endswith("_threads") and k != "pipeline_s"}
    found = section(with_counts(night, old))
    assert found.said == BOUND[0].said
    assert [s.meters[0].told for s in found.steps] == ["4.8 at once", "0.2 at once", "97 %"]
    assert [s.meters[0].share for s in found.steps] == [None, None, 0.97]


def failed(night: Night, *rows: tuple[str, str, str, str]) -> Night:
    """The quarantine of a night: (item_id, class, retry_from, run_id)."""
    settings, lake, manifest = night
    made = [
        {"item_id": item, "image_fingerprint": "x", "source_fingerprint": None, "model_version": "m-1",
         "error_class": kind, "message": HOSTILE, "attempts": 1, "retry_from": again, "run_id": run}
        for item, kind, again, run in rows
    ]  # fmt: skip
    write_deltalake(lake.uri("quarantine"), pa.Table.from_pylist(made, QUARANTINE.schema), mode="overwrite")
    result = manifest.stages["embed"]
    told = StageResult("embed", "done", writes={**result.writes, "quarantine": 1}, counts=counts(network=0.97))
    return settings, lake, manifest.with_stage(told)


def test_failures_of_tonight_by_class_and_what_waits_for_other_reasons(night: Night) -> None:
    earlier = "2026-11-20-all-g1"
    soiled = failed(
        night,
        ("tops-991", "truncated", "2026-12-01", earlier),  # quarantined tonight in the states
        ("a", "timeout", "2026-11-27", f.RUN_ID), ("b", "timeout", "2026-11-26", f.RUN_ID),
        ("c", HOSTILE, "2026-11-29", f.RUN_ID), ("gone", "timeout", "2026-11-26", earlier),
        ("d", "html", "0001-01-01", f.RUN_ID),  # let out by `medal quarantine retry`
    )  # fmt: skip
    found = section(soiled)
    assert [(r.error_class, r.count, r.waits, r.again) for r in found.failures] == [
        ("timeout", 2, True, "2026-11-26"), (HOSTILE, 1, False, "2026-11-29"), ("html", 1, False, "the next night"),
    ]  # fmt: skip
    assert found.failed == 4
    assert "1 waits since an earlier run and was not tried in this one." in found.more
    text = html(soiled)
    assert "<script" not in text and "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "Failed tonight: 4" in text


def test_what_the_time_box_left_is_counted(night: Night) -> None:
    assert "1 left for the next night by the time box (embed.time_box_s)." in section(failed(night)).more


def test_shards_and_attempts_before_are_named(night: Night) -> None:
    _, lake, _ = night
    for name in ("1-of-4", "3-of-4", f"{HOSTILE[:7]}-of-9"):
        lake.files.write(f"runs/{f.RUN_ID}/shards/{name}.jsonl", b"")
    more = section(with_counts(night, counts(network=0.97) | {"embedded": 1400.0})).more
    assert "Dealt to 4 shards, 2 of them ended; not 2, 4." in more
    assert any(line.startswith("At least 400 of tonight's vectors were made by shards") for line in more)


def test_a_stage_that_was_stopped_shows_what_failed(night: Night) -> None:
    settings, lake, manifest = night
    stopped = Manifest(manifest.plan)
    text = html((settings, lake, stopped))
    assert "The stage has not ended" in text and "truncated" in text
    other = Manifest(manifest.plan.__class__(**{**manifest.plan.__dict__, "run_id": "2026-11-26-all-g1"}))
    assert embedding(lake, other, None) is None


def test_the_stage_table_keeps_to_products(night: Night) -> None:
    text = render(*with_counts(night, counts(network=0.97) | {"unchanged": 60.0, "quarantined": 1.0})).decode()
    row = re.search(r"<b>embed</b></td>.*?</tr>", text, re.DOTALL)
    assert row is not None
    told = re.findall(r"<li><b>([^<]*)</b> ([^<]*)</li>", row[0])
    assert told == [("1,000", "embedded"), ("60", "unchanged"), ("1", "quarantined")]


FIGURES = [
    ("complements", {"products": 62, "coverage": 0.98293, "search_s": 4.2, "pairs": 11391421, "by_group": 3},
     (("products", "62"), ("of the feasible places", "98.3 %"))),
    ("check", {"checks": 62, "passed": 61, "warnings": 1, "gini": 0.6, "shown_share": 0.5, "crashed": 0},
     (("checks", "62"), ("passed", "61"), ("warnings", "1"), ("of possible targets are shown", "50 %"))),
    ("publish", {"release": 12, "lists": 41813, "products_removed": 0}, (("", "release 12"), ("lists", "41,813"))),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "had", "told"), FIGURES, ids=[s[0] for s in FIGURES])
def test_figures_have_names_and_units(stage: str, had: dict[str, float], told: tuple[tuple[str, str], ...]) -> None:
    assert of_stage(stage, had) == told


def test_units() -> None:
    assert [size(n) for n in (0, 999, 1000, 47_643, 999_960, 52_562_678, 1.2e9, 7.2e12)] == [
        "0 bytes", "999 bytes", "1.0 kB", "47.6 kB", "1.0 MB", "52.6 MB", "1.2 GB", "7,200.0 GB",
    ]  # fmt: skip
    assert [duration(s) for s in (0, 0.00152, 0.0152, 0.4, 59.94, 59.97, 83.7, 3599.9, 12_010)] == [
        "0.0 s", "1.5 ms", "15 ms", "400 ms", "59.9 s", "1 min 00 s", "1 min 23 s", "59 min 59 s", "3 h 20 min",
    ]  # fmt: skip
    assert [whole_percent(s) for s in (0, 0.001, 0.01, 0.924, 0.99, 0.999, 1)] == [
        "0 %", "under 1 %", "1 %", "92 %", "99 %", "over 99 %", "100 %",
    ]  # fmt: skip
    assert [rate(v) for v in (1234.5, 52.4, 9.96, 4.61)] == ["1,234", "52", "10", "4.6"]
