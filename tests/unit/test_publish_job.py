"""The publish stage on a small lake: what is announced, what is not, and what a kill leaves behind."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.errors import DataError, GateBlocked, SettingsError
from jobs.lake import Lake
from jobs.lease import Lease, held
from jobs.nightly import target_of
from jobs.publish.job import announced, run
from jobs.publish.rollback import roll_back
from jobs.publish.store import PdpStore, PointerMoved, ReleaseInfo, UnknownRelease
from jobs.publish.stores import open_store
from jobs.runs import Inputs, Manifest, RunId, RunPlan, StageResult
from jobs.settings import Settings, StoreSettings
from jobs.stage import StageContext, run_stage
from schemas.tables import CATALOG, COMPLEMENTS
from schemas.taxonomy import load_taxonomy

MODEL = "m-0123456789ab"


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


class Night:
    """One lake and store; nights are put into the lake and published."""

    def __init__(self, root: Path, lease: Lease, settings: Settings, lake: Lake) -> None:
        self.lease, self.settings, self.lake = lease, settings, lake

    @property
    def store(self) -> PdpStore:
        return open_store(self.settings)

    def put(
        self, day: int, lists: dict[str, list[str]], *, gen: int = 1, scope: str = "all", price: float = 10.0
    ) -> Manifest:
        """A checked run of a day: product → its shoes, best first. Products and targets are in the snapshot."""
        date, run_id = f"2026-03-{day:02}", f"2026-03-{day:02}-{scope}-g{gen}"
        ids = sorted({*lists, *(t for ts in lists.values() for t in ts)})
        catalog = [catalog_row(date, i, price) for i in ids]
        where = f"snapshot = '{date}'"
        if self.lake.version("catalog") < 0:
            write_deltalake(self.lake.uri("catalog"), pa.Table.from_pylist(catalog, CATALOG.schema))
        else:
            write_deltalake(
                self.lake.uri("catalog"),
                pa.Table.from_pylist(catalog, CATALOG.schema),
                mode="overwrite",
                predicate=where,
            )
        rows = [complement_row(i, ts) for i, ts in lists.items()] + [
            complement_row("other-model", ["x"], model="m-other")
        ]
        write_deltalake(self.lake.uri("complements"), pa.Table.from_pylist(rows, COMPLEMENTS.schema), mode="overwrite")
        plan = RunPlan(
            run_id, date, scope, gen, Inputs("c", MODEL, "t", "s"), ("tops", "shoes"), "catalog.csv", "", "teacher",
            None, True, {t: self.lake.version(t) for t in ("catalog", "complements")}, {},
        )  # fmt: skip
        return Manifest(plan, {"check": StageResult("check", "done")})

    def publish(self, manifest: Manifest, *, kill: str = "") -> StageResult:
        ctx = StageContext(self.settings, self.lake, manifest, load_taxonomy(), self.lease)

        def fault(name: str) -> None:
            if name == kill:
                raise Killed(name)

        object.__setattr__(ctx, "fault", fault)
        return run(ctx)

    def now(self) -> ReleaseInfo:
        found = announced(self.store)
        assert found is not None
        return found.release

    def shown(self, item: str) -> list[str]:
        return [i.item_id for s in self.store.get_lists(item, self.now().number) for i in s.items]

    def events(self) -> list[tuple[int, str]]:
        rows = self.lake.read("releases", self.lake.version("releases")).to_pylist()
        return [(r["release"], r["event"]) for r in sorted(rows, key=lambda r: r["at"])]


def catalog_row(date: str, item: str, price: float) -> dict[str, object]:
    return {
        "snapshot": date, "item_id": item, "category": "shoes", "image": "i.jpg", "image_uri": f"/i/{item}.jpg",
        "department": "women", "group_id": item, "price": price, "currency": "EUR", "availability": "in_stock",
        "in_stock": True,
    }  # fmt: skip


def complement_row(item: str, targets: list[str], model: str = MODEL) -> dict[str, object]:
    items = [
        {"item_id": t, "score": 900 - n, "visual": 600, "colour": 300 - n, "reason": "model"}
        for n, t in enumerate(targets)
    ]
    return {
        "item_id": item, "source_category": "tops", "target_category": "shoes", "model_version": model, "slot": 1,
        "items": items, "size": len(items), "feasible": len(items), "empty_reason": None if items else "no_target",
        "level": "product", "written": 0, "removed": False,
        "list_hash": hashlib.sha256("\n".join(targets).encode()).hexdigest(),
    }  # fmt: skip


@pytest.fixture(params=["sqlite"])
def night(tmp_path: Path) -> Iterator[Night]:
    settings = Settings(lake=str(tmp_path / "lake"), store=StoreSettings(path=tmp_path / "pdp.sqlite"))
    lake = Lake(settings.lake)
    with held(lake, "test", 60) as lease:
        yield Night(tmp_path, lease, settings, lake)


FIRST = {"a": ["s1", "s2"], "b": ["s2"], "empty": []}
SECOND = {"a": ["s2", "s1"], "b": ["s3"]}


def test_a_night_is_published_and_announced(night: Night) -> None:
    result = night.publish(night.put(1, FIRST))
    assert result.status == "done"
    assert (result.counts["lists"], result.counts["items"], result.counts["empty_slots"]) == (2, 2, 1)
    assert night.shown("a") == ["s1", "s2"]
    assert night.shown("empty") == []
    assert night.store.get_lists("other-model", 1) == ()
    assert night.store.get_products(["empty"])["empty"].price == 10.0
    assert (night.now().run_id, night.now().model_version) == ("2026-03-01-all-g1", MODEL)
    assert night.events() == [(1, "published"), (1, "announced")]


def test_the_next_night_replaces_it(night: Night) -> None:
    night.publish(night.put(1, FIRST))
    night.publish(night.put(2, SECOND))
    assert night.now().number == 2
    assert night.shown("a") == ["s2", "s1"]
    assert set(night.store.get_products(["a", "empty", "s3"])) == {"a", "s3"}, "products that left stay"


def test_equal_lists_make_no_release_yet_bring_prices_up_to_date(night: Night) -> None:
    night.publish(night.put(1, FIRST))
    result = night.publish(night.put(2, FIRST, price=7.5))
    assert len(night.store.releases()) == 1
    assert "already holds these lists" in result.note
    assert night.store.get_products(["a"])["a"].price == 7.5
    assert result.counts["products_written"] == 5


def test_nothing_is_published_without_a_passed_gate(night: Night) -> None:
    checked = night.put(1, FIRST)
    with pytest.raises(GateBlocked, match="medal check --run-id 2026-03-01-all-g1"):
        night.publish(replace(checked, stages={}))
    failed = StageResult("check", "done", counts={"critical_failed": 2})
    with pytest.raises(GateBlocked, match="2 checks failed"):
        night.publish(replace(checked, stages={"check": failed}))
    assert not night.settings.store.path.exists()


def test_lake_only_and_scoped_runs_leave_the_store_alone(night: Night) -> None:
    full = night.put(1, FIRST)
    quiet = night.publish(replace(full, plan=replace(full.plan, publish=False)))
    scoped = night.publish(night.put(1, FIRST, scope="0a1b2c3d"))
    for result in (quiet, scoped):
        assert result.status == "skipped"
        assert result.note.startswith("lake only")
    assert not night.settings.store.path.exists()


def test_an_older_date_or_generation_is_withheld_with_its_overlay(night: Night) -> None:
    night.publish(night.put(5, FIRST, gen=2))
    for manifest in (night.put(4, SECOND, price=1.0), night.put(5, SECOND, gen=1, price=1.0)):
        result = night.publish(manifest)
        assert result.status == "skipped"
        assert result.note.startswith("not announced: release 1")
    assert night.shown("a") == ["s1", "s2"]
    assert night.store.get_products(["a"])["a"].price == 10.0
    assert [e for e in night.events() if e[1] == "withheld"] == [(1, "withheld")] * 2


@pytest.mark.parametrize("point", ["lists_written", "before_pointer", "before_manifest"])
def test_killed_and_run_again_there_is_one_release_announced(night: Night, point: str) -> None:
    night.publish(night.put(1, FIRST))
    tonight = night.put(2, SECOND)
    with pytest.raises(Killed):
        night.publish(tonight, kill=f"publish.{point}")
    if point != "before_manifest":
        assert night.shown("a") == ["s1", "s2"], "a half-published night is visible"
    for _ in range(2):
        night.publish(tonight)
        assert [(r.number, r.state) for r in night.store.releases()] == [(1, "complete"), (2, "complete")]
        assert night.now().run_id == "2026-03-02-all-g1"
        assert night.shown("a") == ["s2", "s1"]
        pointer = night.store.pointer()
        assert pointer is not None
        assert pointer.history == (1, 2), "announced once"


def test_a_run_rolled_back_before_its_manifest_stays_rolled_back(night: Night) -> None:
    night.publish(night.put(1, FIRST))
    tonight = night.put(2, SECOND)
    with pytest.raises(Killed):
        night.publish(tonight, kill="publish.before_manifest")
    list(roll_back(night.settings, 1))
    assert "rolled back" in night.publish(tonight).note
    assert night.now().number == 1


def test_an_operator_who_is_faster_wins_and_a_retry_helps(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.publish(night.put(1, FIRST))
    night.publish(night.put(2, SECOND))
    tonight = night.put(3, {"a": ["s9"]})
    from jobs.publish import job

    real = job.product_rows

    def meanwhile(lake: Lake, manifest: Manifest) -> object:
        list(roll_back(night.settings, 1))
        return real(lake, manifest)

    with monkeypatch.context() as m:
        m.setattr(job, "product_rows", meanwhile)
        with pytest.raises(PointerMoved):
            night.publish(tonight)
    assert night.now().number == 1
    night.publish(tonight)
    assert night.now().run_id == "2026-03-03-all-g1"
    assert [r.number for r in night.store.releases()] == [1, 2, 3]


def test_old_releases_lose_their_lists(night: Night) -> None:
    for day in range(1, 9):
        night.publish(night.put(day, {"a": [f"s{day}"]}))
    states = [r.state for r in night.store.releases()]
    assert states == ["pruned"] * 2 + ["complete"] * 6
    assert night.shown("a") == ["s8"]


def test_a_night_without_a_list_is_refused(night: Night) -> None:
    with pytest.raises(DataError, match="not one list"):
        night.publish(night.put(1, {"a": []}))
    assert night.store.pointer() is None


def test_rollback_says_before_and_after_and_logs(night: Night) -> None:
    night.publish(night.put(1, FIRST))
    night.publish(night.put(2, SECOND))
    dry = list(roll_back(night.settings, 1, dry_run=True))
    assert night.now().number == 2
    assert "would announce: release 1" in dry[1]
    done = list(roll_back(night.settings, 1))
    assert "before: release 2 of 2026-03-02" in done[0]
    assert "now: release 1 of 2026-03-01" in done[1]
    assert night.shown("a") == ["s1", "s2"]
    assert night.events()[-1] == (1, "rolled_back")
    assert list(roll_back(night.settings, 1))[1].startswith("nothing to do")
    with pytest.raises(UnknownRelease, match="medal releases"):
        list(roll_back(night.settings, 7))
    night.store.begin_release(str(RunId("2026-03-09", "all", 1)), "2026-03-09", MODEL, "h")
    with pytest.raises(UnknownRelease, match="incomplete"):
        list(roll_back(night.settings, 3))


def test_rollback_of_nothing_says_so(night: Night) -> None:
    with pytest.raises(SettingsError, match="store init"):
        list(roll_back(night.settings, 1))
    night.store.init()
    with pytest.raises(SettingsError, match="nothing is announced"):
        list(roll_back(night.settings, 1))


def test_blocks_of_products_give_the_same_rows(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.publish import content

    lists = {f"i{n}é": [f"s{n}", "s0"] for n in range(23)} | {"Z": ["s1"], "мя": ["s2"], "🧥": ["s3"]}
    manifest = night.put(1, lists)
    whole = list(content.RunLists(night.lake, manifest, 24).rows())
    monkeypatch.setattr(content, "BLOCK_ITEMS", 4)
    assert list(content.RunLists(night.lake, manifest, 24).rows()) == whole
    assert {r.item_id for r in whole} == set(lists)
    named = content.RunLists(night.lake, manifest, 24).content()
    assert named.items == len(lists)
    assert content.RunLists(night.lake, manifest, 12).content().content_hash != named.content_hash


def test_a_run_goes_to_every_store_it_is_published_to(night: Night, tmp_path: Path) -> None:
    manifest = night.put(1, FIRST)
    night.lake.save_manifest(manifest)
    second = night.settings.model_copy(update={"store": StoreSettings(path=tmp_path / "second.sqlite")})
    for settings in (night.settings, second):
        result = run_stage(
            "publish", run, settings, manifest.plan.run_id, night.lease, target=target_of("publish", settings)
        )
        assert result.note == "release 1 announced"
        now = announced(open_store(settings))
        assert now is not None
        assert now.release.run_id == manifest.plan.run_id
