"""What bounds the embed stage's pipeline, told from its queues and its threads (docs/embedding.md, Figures)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jobs.report.figures import duration, number, whole_percent

Step = Literal["fetch", "decode", "network"]
STEPS: tuple[Step, ...] = ("fetch", "decode", "network")
SHORT_S = 20.0  # in less than this, the teacher there, queues tell of their filling and emptying
FULL, EMPTY, BUSY = 0.5, 0.25, 0.8
_SUBJECTS: Mapping[Step, str] = {"fetch": "Fetching", "decode": "Decoding", "network": "The network"}
_BOTH = "Decoding and the network"


@dataclass(frozen=True)
class Load:
    """How busy the pipeline was; a step is absent where the manifest does not tell, as those of earlier versions."""

    images: float  # taken up
    wall_s: float | None
    load_s: float  # of that, until the teacher was there
    done: Mapping[Step, float]  # images
    busy_s: Mapping[Step, float]  # of a step's threads, added up
    threads: Mapping[Step, float]
    use: Mapping[Step, float]  # share of the time at which its threads were at work
    queue: Mapping[Step, float]  # mean fill of the queue before it

    @classmethod
    def of(cls, counts: Mapping[str, float]) -> Load:
        """From the stage's counts."""
        images = counts.get("images_read", 0.0)
        wall = counts.get("pipeline_s")
        if wall is None and (rate := counts.get("fetch_per_s")):
            wall = images / rate
        wall = wall or None
        load_s = counts.get("load_s", 0.0)
        work = wall - load_s if wall and wall > load_s else None
        busy = {s: counts[f"{s}_s"] for s in STEPS if f"{s}_s" in counts}
        threads = {s: counts[f"{s}_threads"] for s in STEPS if counts.get(f"{s}_threads")}
        use = {s: min(1.0, busy[s] / work / threads[s]) for s in STEPS if work and s in busy and s in threads}
        if "device_use" in counts:
            use["network"] = counts["device_use"]
        done = {s: counts[f"{s}_per_s"] * wall for s in STEPS if wall and counts.get(f"{s}_per_s")}
        queue = {s: counts[f"queue_{s}"] for s in STEPS if f"queue_{s}" in counts}
        return cls(images, wall, load_s, done, busy, threads, use, queue)

    @property
    def short(self) -> bool:
        return self.wall_s is not None and self.wall_s - self.load_s < SHORT_S


def bounds(load: Load) -> tuple[Step, ...]:
    """The steps that bound the pipeline; none where the load does not tell.

    The step after a full queue is the slow one. Where decoding and the network are both at work all the time, as on
    cores that they share, neither is the slow one alone. Where all queues are empty, only fetching is left.
    """
    if load.wall_s is None or load.short:
        return ()
    network = load.queue.get("network", 0.0)
    if network >= FULL:
        return ("network",)
    if load.queue.get("decode", 0.0) >= FULL:
        return ("decode", "network") if load.use.get("network", 0.0) >= BUSY else ("decode",)
    for step in ("network", "decode"):
        if load.use.get(step, 0.0) >= BUSY:
            return (step,)
    return ("fetch",) if load.queue.get("decode", 1.0) < EMPTY and network < EMPTY else ()


def sentence(load: Load, bound: Sequence[Step]) -> str:
    """What bounds the night, with the measurements that say so."""
    if load.wall_s is not None and load.short:
        what = "1 image" if load.images == 1 else f"{number(load.images)} images"
        loading = f", {duration(load.load_s)} of it loading the teacher" if load.load_s else ""
        return f"Too short to tell what bounds it: {what} in {duration(load.wall_s)}{loading}."
    if not bound:
        return f"No step alone bounds it: {_told(_queues(load) + _uses(load, ('decode', 'network')))}."
    if len(bound) > 1:
        return f"{_BOTH} bound it together: {_told(_queues(load, ('decode',)) + _uses(load, bound))}."
    (step,) = bound
    if step == "fetch":
        return f"Fetching bounds it: {_told(_queues(load) + _uses(load, ('network',)))}."
    own = [f"the queue before it is {whole_percent(load.queue[step])} full"] if step in load.queue else []
    own += [f"its threads work {whole_percent(load.use[step])} of the time"] if step in load.use else []
    return f"{_SUBJECTS[step]} bounds it: {_told(own + (_uses(load, ('network',)) if step == 'decode' else []))}."


def _queues(load: Load, steps: Sequence[Step] = STEPS) -> list[str]:
    names = {"decode": "decoding", "network": "the network"}
    return [f"the queue before {names[s]} is {whole_percent(load.queue[s])} full" for s in steps if s in load.queue]


def _uses(load: Load, steps: Sequence[Step]) -> list[str]:
    names = {"fetch": "the fetching threads work", "decode": "the decoding threads work", "network": "the device works"}
    return [f"{names[s]} {whole_percent(load.use[s])} of the time" for s in steps if s in load.use]


def _told(parts: Sequence[str]) -> str:
    return ", ".join(parts) or "its queues were not measured"
