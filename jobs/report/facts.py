"""Everything the report says, as frozen data: what ran, counts in and out, checks, coverage, what was refused.

The pictures have a module of their own (`jobs.report.grid`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import pyarrow as pa

from jobs.complements.generations import read_live
from jobs.embed.states import STATES, load_states
from jobs.lake import Lake
from jobs.quality.verdict import CheckResult, Verdict
from jobs.report.embedding import Embedding, embedding
from jobs.report.figures import duration, of_stage, percent
from jobs.report.grid import Card, cards
from jobs.report.refusals import Refusals, quarantine, rejected
from jobs.runs import STAGES, Manifest
from schemas.taxonomy import Taxonomy

State = Literal["published", "passed", "blocked", "unfinished"]


@dataclass(frozen=True)
class Headline:
    """The verdict at a glance."""

    state: State
    title: str
    detail: str


@dataclass(frozen=True)
class StageRow:
    name: str
    status: str  # done, skipped, blocked, not run
    seconds: float
    share: float  # of the slowest stage, 0 to 1
    note: str
    figures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Part:
    """A part of a whole; `tone` chooses its colour."""

    label: str
    count: int
    share: float
    tone: str


@dataclass(frozen=True)
class Split:
    """`total` of something = its parts. `adds_up` is the conservation rule, shown and not assumed."""

    title: str
    total: int
    parts: tuple[Part, ...]

    @property
    def adds_up(self) -> bool:
        return self.total == sum(p.count for p in self.parts)


@dataclass(frozen=True)
class CategoryRow:
    title: str
    products: int
    lists: int
    filled: int
    entries: int
    feasible: int
    coverage: float


@dataclass(frozen=True)
class Facts:
    """The report's content."""

    run_id: str
    run_date: str
    scope: str
    model_version: str
    catalog_path: str
    teacher_dir: str
    taxonomy: str
    reason: str
    release: tuple[str, ...]  # what happened to its release, oldest first
    headline: Headline
    tiles: tuple[tuple[str, str, str], ...]  # figure, what it counts, more
    stages: tuple[StageRow, ...]
    embedding: Embedding | None
    versions: tuple[tuple[str, int, int | None], ...]  # table, the run starts from, the run ends with
    splits: tuple[Split, ...]
    checks: tuple[CheckResult, ...]  # what blocks first, then warnings, then the rest
    docs: str
    coverage: tuple[CategoryRow, ...]
    min_category_coverage: float
    rejected: Refusals
    quarantine: Refusals
    cards: tuple[Card, ...]


def gather(lake: Lake, manifest: Manifest, taxonomy: Taxonomy, verdict: Verdict | None, least: float) -> Facts:
    """Read a run's facts from the lake. least: the threshold of coverage by category."""
    plan = manifest.plan
    products = lake.read("catalog", manifest.version("catalog"), filters=[("snapshot", "=", plan.run_date)]).sort_by(
        "item_id"
    )
    states = load_states(lake, plan.run_id)
    lists = _lists(lake, manifest)
    headline = headline_of(manifest, verdict)
    coverage = coverage_of(lists, taxonomy, plan.categories)
    return Facts(
        run_id=plan.run_id,
        run_date=plan.run_date,
        scope="all source categories" if plan.scope == "all" else ", ".join(plan.categories),
        model_version=plan.inputs.model_version,
        catalog_path=plan.catalog_path,
        teacher_dir=plan.teacher_dir,
        taxonomy=plan.taxonomy_path or "schemas/taxonomy.yaml",
        reason=plan.reason,
        release=_release(lake, manifest),
        headline=headline,
        tiles=_tiles(manifest, verdict, coverage),
        stages=stage_rows(manifest, headline.state),
        embedding=embedding(lake, manifest, states),
        versions=_versions(manifest),
        splits=tuple(_splits(manifest, states, lists)),
        checks=tuple(sorted(verdict.results, key=_urgency)) if verdict else (),
        docs="data_docs/index.html" if verdict and verdict.docs else "",
        coverage=coverage,
        min_category_coverage=least,
        rejected=rejected(lake, manifest),
        quarantine=quarantine(lake, manifest, states),
        cards=cards(lake, manifest, taxonomy, products, states),
    )


def headline_of(manifest: Manifest, verdict: Verdict | None) -> Headline:
    """What a person wants to know first."""
    publish = manifest.stages.get("publish")
    if verdict is None:
        return Headline("unfinished", "Not checked yet", "The gate has not run, so nothing was published.")
    if verdict.blocked:
        said = verdict.line().split("; nothing was published")[0]
        return Headline("blocked", "Blocked: nothing was published", said + ".")
    if publish is None:
        return Headline("passed", "Passed, not published yet", f"{verdict.line()}.")
    release = publish.counts.get("release")
    if release is not None:
        return Headline("published", f"Published as release {release:.0f}", f"{verdict.line()}.")
    return Headline("passed", "Passed, not published", f"{publish.note}. {verdict.line()}.".lstrip(". "))


def stage_rows(manifest: Manifest, state: State) -> tuple[StageRow, ...]:
    """The stages before the report, in order, those that did not run included."""
    slowest = max((r.seconds for n, r in manifest.stages.items() if n != "report"), default=0.0) or 1.0
    rows = []
    for name in STAGES[:-1]:
        r = manifest.stages.get(name)
        if r is None:
            status = "blocked" if name == "check" and state == "blocked" else "not run"
            rows.append(StageRow(name, status, 0.0, 0.0, "", ()))
            continue
        rows.append(StageRow(name, r.status, r.seconds, r.seconds / slowest, r.note, of_stage(name, r.counts)))
    return tuple(rows)


def coverage_of(lists: pd.DataFrame, taxonomy: Taxonomy, categories: Iterable[str]) -> tuple[CategoryRow, ...]:
    """A row for each source category of the run that has lists or should have."""
    rows = []
    for category in categories:
        if not taxonomy.targets[category]:
            continue
        of = lists[lists["source_category"] == category]
        entries, feasible = int(of["size"].sum()), int(of["feasible"].sum())
        rows.append(
            CategoryRow(
                taxonomy.titles[category],
                len(of) // len(taxonomy.targets[category]),
                len(of),
                int((of["size"] > 0).sum()),
                entries,
                feasible,
                entries / feasible if feasible else 1.0,
            )
        )
    return tuple(r for r in rows if r.lists)


def _urgency(r: CheckResult) -> tuple[int, int]:
    return ({"crashed": 0, "failed": 1, "passed": 2}[r.outcome] if r.blocks or r.outcome != "failed" else 2,
            0 if r.outcome == "failed" else 1)  # fmt: skip


def _lists(lake: Lake, manifest: Manifest) -> pd.DataFrame:
    columns = ["source_category", "size", "feasible", "empty_reason"]
    if not manifest.done("complements"):
        return pd.DataFrame(columns=columns)
    rows = read_live(
        lake,
        "complements",
        manifest.version("complements"),
        columns=columns,
        filters=[("model_version", "=", manifest.plan.inputs.model_version)],
    ).to_pandas()
    return rows[rows["source_category"].isin(list(manifest.plan.categories))]


def _splits(manifest: Manifest, states: pa.Table | None, lists: pd.DataFrame) -> Iterable[Split]:
    c = manifest.plan.counts
    yield _split("Catalogue rows", c["rows"], {"eligible": c["eligible"], "rejected": c["rejected"]})
    if states is not None:
        found = Counter(states["state"].to_pylist())
        yield _split("Eligible products", c["eligible"], {s.replace("_", " "): found[s] for s in STATES})
    if len(lists):
        why = Counter(lists.loc[lists["size"] == 0, "empty_reason"].fillna("empty, no reason"))
        parts = {"filled": int((lists["size"] > 0).sum())}
        yield _split("Lists", len(lists), parts | {f"{k.replace('_', ' ')}": n for k, n in sorted(why.items())})


_TONES = {
    "eligible": "a", "embedded": "a", "filled": "a", "reused": "b", "unchanged": "c", "stale vector": "d",
    "waiting": "d", "rejected": "e", "quarantined": "e", "no target": "d", "no vector": "e",
}  # fmt: skip


def _split(title: str, total: int, parts: Mapping[str, int]) -> Split:
    made = (Part(k, n, n / total if total else 0.0, _TONES.get(k, "e")) for k, n in parts.items())
    return Split(title, total, tuple(p for p in made if p.count))


def _tiles(
    manifest: Manifest, verdict: Verdict | None, coverage: tuple[CategoryRow, ...]
) -> tuple[tuple[str, str, str], ...]:
    c, embed = manifest.plan.counts, manifest.stages.get("embed")
    tiles = [(f"{c['eligible']:,}", "products", f"{c['rejected']:,} of {c['rows']:,} rows rejected")]
    if embed:
        new = int(embed.counts.get("embedded", 0))
        tiles.append((f"{new:,}", "new vectors", f"{embed.counts.get('unchanged', 0):,.0f} unchanged"))
    if coverage:
        entries, feasible = sum(r.entries for r in coverage), sum(r.feasible for r in coverage)
        lists, filled = sum(r.lists for r in coverage), sum(r.filled for r in coverage)
        tiles.append((f"{filled:,}", "lists filled", f"of {lists:,} planned"))
        tiles.append((percent(entries / feasible if feasible else 1.0), "coverage", "filled ÷ feasible"))
    if verdict:
        passed = sum(r.outcome == "passed" for r in verdict.results)
        wrong = {"failed": verdict.failed, "crashed": verdict.crashed, "warnings": verdict.warnings}
        more = [f"{len(found)} {name}" for name, found in wrong.items() if found]
        tiles.append((f"{passed} of {len(verdict.results)}", "checks passed", ", ".join(more) or "no warnings"))
    seconds = sum(r.seconds for n, r in manifest.stages.items() if n != "report")
    how = Counter(r.status for n, r in manifest.stages.items() if n != "report")
    said = ((how["done"], "ran"), (how["skipped"], "skipped"), (len(STAGES) - 1 - how.total(), "did not run"))
    told = [f"{n} {what}" for n, what in said if n]
    tiles.append((duration(seconds), "in the stages", ", ".join(told)))
    return tuple(tiles)


def _release(lake: Lake, manifest: Manifest) -> tuple[str, ...]:
    if not manifest.done("publish"):
        return ()
    events = lake.read("releases", lake.version("releases"), filters=[("run_id", "=", manifest.plan.run_id)]).sort_by(
        "at"
    )
    told = tuple(f"{e['release']} {e['event'].replace('_', ' ')}, {e['at'][:19]}" for e in events.to_pylist())
    return told or ((manifest.stages["publish"].note,) if manifest.stages["publish"].note else ())


def _versions(manifest: Manifest) -> tuple[tuple[str, int, int | None], ...]:
    tables = {**manifest.plan.versions}
    for r in manifest.stages.values():
        tables |= {t: v for t, v in {**r.reads, **r.writes}.items() if t not in tables}
    written = {t for r in manifest.stages.values() for t in r.writes}
    return tuple(
        (t, manifest.plan.versions.get(t, -1), manifest.version(t) if t in written else None) for t in sorted(tables)
    )
