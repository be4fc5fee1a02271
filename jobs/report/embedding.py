"""The embed stage as someone on call asks about it: what bounds the night, what was read, what failed, what waits.

Told from the run's manifest, states and quarantine. What a manifest of an earlier version lacks is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from jobs.embed.quarantine import AT_ONCE, summary
from jobs.embed.states import Failure
from jobs.lake import Lake
from jobs.report.figures import duration, number, rate, size, whole_percent
from jobs.report.load import STEPS, Load, Step, bounds, sentence
from jobs.runs import Manifest

_SHARD = re.compile(r"(\d+)-of-(\d+)\.jsonl$")
_HELP: Mapping[str, str] = {
    "fetch": "What helps: more requests at once (embed.fetch_threads, images.per_host), or a source that is nearer.",
    "decode": "What helps: more decoding threads where cores are idle (embed.decode_threads), else shards.",
    "network": "What helps: a faster device, more cores, or shards.",
    "decode network": "What helps: more cores or shards; threads alone would take cores from each other.",
}


@dataclass(frozen=True)
class Meter:
    """A share as a bar with words beside it; `share` is None where only the words are known."""

    name: str
    share: float | None
    told: str


@dataclass(frozen=True)
class StepRow:
    """A step of the pipeline."""

    title: str
    bounds: bool
    rate: str  # images a second of the whole
    meters: tuple[Meter, ...]
    spent: str  # time of its threads


@dataclass(frozen=True)
class FailureRow:
    """Failures of this run of one class."""

    error_class: str
    count: int
    waits: bool  # a passing fault; else the image's own
    again: str  # earliest date of a further try


@dataclass(frozen=True)
class Embedding:
    """The section: `said` is its one sentence, `more` what helps and what else to know."""

    said: str
    more: tuple[str, ...] = ()
    figures: tuple[tuple[str, str, str], ...] = ()  # figure, what it counts, more
    steps: tuple[StepRow, ...] = ()
    failures: tuple[FailureRow, ...] = ()
    failed: int = 0


def embedding(lake: Lake, manifest: Manifest, states: pa.Table | None) -> Embedding | None:
    """The section; None where the stage has not ended and nothing has failed in it."""
    result, run_id = manifest.stages.get("embed"), manifest.plan.run_id
    failures = _failures(lake, manifest)
    new = [f for f in failures if f.run_id == run_id]
    rows = tuple(
        FailureRow(kind, n, fate == "waits", "the next night" if again == AT_ONCE else again)
        for kind, n, fate, again in summary(new)
    )
    if result is None:
        said = "The stage has not ended: it is at work, or was stopped. What failed so far is below."
        return Embedding(said, tuple(_shards(lake, run_id)), failures=rows, failed=len(new)) if new else None
    counts = result.counts
    load = Load.of(counts)
    bound = bounds(load)
    steps = tuple(_step(s, load, s in bound) for s in STEPS if s in load.busy_s and load.wall_s)
    if steps:
        said = sentence(load, bound)
    elif load.images:
        said = f"{number(load.images)} images were read; this run kept no figures of the pipeline."
    elif "images_read" in counts or result.status == "skipped":
        said = _nothing_read(counts, len(new))
    else:
        said = "This run kept no figures of the pipeline."
    more = [_HELP[" ".join(bound)]] if bound else []
    more += [*_shards(lake, run_id), *_elsewhere(counts, load), *_waiting(states, failures, run_id)]
    return Embedding(said, tuple(more), tuple(_figures(counts, load)), steps, rows, len(new))


def _failures(lake: Lake, manifest: Manifest) -> list[Failure]:
    """The quarantine of the run's model as the stage left it; as it is now where the stage has not ended."""
    version = manifest.version("quarantine") if manifest.done("embed") else lake.version("quarantine")
    rows = lake.read("quarantine", version, filters=[("model_version", "=", manifest.plan.inputs.model_version)])
    return [Failure(**r) for r in rows.drop_columns(["model_version"]).sort_by("item_id").to_pylist()]


def _nothing_read(counts: Mapping[str, float], failed: int) -> str:
    if counts.get("embedded") or counts.get("reused"):
        return "Nothing was left to read when the stage was ended: shards, or an attempt before, had done it all."
    kept = f"{number(counts.get('unchanged', 0))} vectors are from before"
    if failed:
        return f"No image was read: what is new was not there to read; {kept}."
    return f"No new image: nothing was read, {kept}."


def _figures(counts: Mapping[str, float], load: Load) -> Iterable[tuple[str, str, str]]:
    if not load.images:
        return
    yield number(load.images), "images read", ""
    if data := counts.get("bytes_read"):
        yield size(data), "of images", f"{size(data / load.images)} each"
    if load.wall_s:
        yield rate(load.images / load.wall_s), "images a second", f"in {duration(load.wall_s)}"
    if "cost_per_1000" in counts:
        cost = counts["cost_per_1000"]
        yield f"{cost:.2f}" if cost >= 1 else f"{cost:.2g}", "cost of 1,000 vectors", "at the price set an hour"


def _step(step: Step, load: Load, bound: bool) -> StepRow:
    assert load.wall_s is not None
    done, busy = load.done.get(step, 0.0), load.busy_s[step]
    use = load.use.get(step)
    if use is None:
        told = f"{busy / load.wall_s:.1f} at once"
    else:
        told = whole_percent(use) + (f" of {load.threads[step]:.0f}" if step in load.threads else "")
    meters = [Meter("Threads at work", use, told)]
    if step in load.queue:
        meters.append(Meter("Queue before it", load.queue[step], f"{whole_percent(load.queue[step])} full"))
    else:
        meters.append(Meter("Queue before it", None, "none"))
    spent = f"{duration(busy / done)} an image, {duration(busy)} in all" if done else "nothing came so far"
    return StepRow(step.capitalize(), bound, f"{rate(done / load.wall_s)} images/s", tuple(meters), spent)


def _shards(lake: Lake, run_id: str) -> Iterable[str]:
    found = [m for n in lake.files.list(f"runs/{run_id}/shards/") if (m := _SHARD.search(n))]
    for of in sorted({int(m[2]) for m in found}):
        ended = sorted(int(m[1]) for m in found if int(m[2]) == of)
        lost = sorted(set(range(1, of + 1)) - set(ended)) if of <= 1000 else []
        yield f"Dealt to {of} shards, {len(ended)} of them ended" + (
            f"; not {', '.join(map(str, lost[:8]))}{' and more' if len(lost) > 8 else ''}." if lost else "."
        )


def _elsewhere(counts: Mapping[str, float], load: Load) -> Iterable[str]:
    before = counts.get("embedded", 0) + counts.get("reused", 0) - load.images
    if load.images and before > 0:
        yield (
            f"At least {number(before)} of tonight's vectors were made by shards or by an attempt that was cut off; "
            "the figures here are of the attempt that ended the stage."
        )


def _waiting(states: pa.Table | None, failures: Iterable[Failure], run_id: str) -> Iterable[str]:
    """Products without a vector of their photo for another reason than a failure of tonight."""
    if states is None:
        return
    without = {s["item_id"] for s in states.to_pylist() if s["state"] in ("waiting", "quarantined", "stale_vector")}
    by_run = {f.item_id: f.run_id for f in failures}
    if earlier := sum(by_run.get(i, run_id) != run_id for i in without):
        told = "waits since an earlier run and was" if earlier == 1 else "wait since an earlier run and were"
        yield f"{number(earlier)} {told} not tried in this one."
    if left := len(without - by_run.keys()):
        yield f"{number(left)} left for the next night by the time box (embed.time_box_s)."
