"""Planning: identity, generations, what is the same run again, and what stops before anything is written."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from deltalake import write_deltalake

from jobs.errors import DataError, LeaseHeld, SettingsError
from jobs.lake import Lake
from jobs.lease import held
from jobs.plan import Decision, PlanRequest, decide, plan_run, resolve
from jobs.rules.files import rules_of
from jobs.runs import Manifest, RunId, StageResult, parse_date, scope_of
from jobs.settings import CatalogSettings, ListSettings, Settings
from jobs.stage import planned_taxonomy
from schemas.rules import EMPTY
from schemas.tables import CATALOG
from schemas.taxonomy import DEFAULT_PATH, load_taxonomy


class Desk:
    """A catalogue file, settings, and planning on them."""

    def __init__(self, root: Path, teacher: Path) -> None:
        self.root, self.teacher = root, teacher
        self.settings = Settings(lake=str(root / "lake"))
        for name in "ab":
            (root / f"{name}.jpg").write_bytes(name.encode())
            os.utime(root / f"{name}.jpg", ns=(1, 1))
        self.write("a,tops,a.jpg", "b,shoes,b.jpg")

    def write(self, *rows: str) -> None:
        (self.root / "catalog.csv").write_text("\n".join(["item_id,category,image", *rows, ""]))

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    def request(self, date: str = "2026-01-01", **more: object) -> PlanRequest:
        return replace(PlanRequest(date, self.root / "catalog.csv", self.teacher), **more)  # type: ignore[arg-type]

    def plan(self, date: str = "2026-01-01", *, dry_run: bool = False, **more: object) -> Decision:
        return plan_run(self.request(date, **more), self.settings, dry_run=dry_run)


@pytest.fixture
def desk(tmp_path: Path, teacher_dir: Path) -> Desk:
    return Desk(tmp_path, teacher_dir)


def test_the_same_shop_as_a_feed_is_the_same_run(desk: Desk) -> None:
    first = desk.plan()
    feeds = {
        "feed.tsv": "ID\tImage Link\tGoogle Product Category\na\ta.jpg\t212\nb\tb.jpg\t187\n",
        "feed.xml": "<rss><item><id>a</id><image_link>a.jpg</image_link><product_type>Tops</product_type></item></rss>",
        "mine.csv": "sku;dept;photo\nb;Shoes;b.jpg\na;Tops;a.jpg\n",
    }
    for name, text in feeds.items():
        (desk.root / name).write_text(text)
    assert desk.plan(catalog=desk.root / "feed.tsv").kind == "again"
    assert desk.plan(catalog=desk.root / "feed.xml").plan.counts["eligible"] == 1
    columns = {"item_id": "sku", "category": "dept", "image": "photo"}
    desk.settings = desk.settings.model_copy(update={"catalog": CatalogSettings(columns=columns)})
    mapped = resolve(desk.request(catalog=desk.root / "mine.csv"), desk.settings, desk.lake)
    assert mapped.snapshot.fingerprint == first.plan.inputs.catalog


def test_the_same_inputs_are_the_same_run(desk: Desk) -> None:
    first = desk.plan()
    version = desk.lake.version("catalog")
    again = desk.plan()
    assert (first.kind, again.kind) == ("next", "again")
    assert first.plan.run_id == again.plan.run_id == "2026-01-01-all-g1"
    assert desk.lake.version("catalog") == version


@pytest.mark.parametrize("what", ["row", "image", "setting", "caps", "taxonomy", "recompute"])
def test_other_inputs_are_the_next_generation(desk: Desk, what: str) -> None:
    desk.plan()
    more = {}
    if what == "row":
        desk.write("a,tops,a.jpg")
    elif what == "image":
        os.utime(desk.root / "a.jpg", ns=(2, 2))
    elif what == "setting":
        desk.settings = desk.settings.model_copy(update={"lists": ListSettings(k=5)})
    elif what == "caps":
        desk.settings = desk.settings.model_copy(update={"lists": ListSettings(per_brand=2)})
    elif what == "taxonomy":
        raw = yaml.safe_load(DEFAULT_PATH.read_text())
        raw["categories"]["tops"]["targets"] = ["shoes"]
        (desk.root / "taxonomy.yaml").write_text(yaml.safe_dump(raw))
        desk.settings = desk.settings.model_copy(update={"taxonomy": desk.root / "taxonomy.yaml"})
    else:
        more = {"recompute": True}
    got = desk.plan(**more)
    assert (got.kind, got.plan.run_id) == ("next", "2026-01-01-all-g2")


def test_settings_that_cannot_change_a_result_change_no_generation(desk: Desk) -> None:
    desk.plan()
    desk.settings = desk.settings.model_copy(update={"public_url": "http://other.example"})
    assert desk.plan().kind == "again"


def test_a_subset_or_another_date_is_another_run(desk: Desk) -> None:
    full = desk.plan()
    subset = desk.plan(categories=("shoes",))
    older = desk.plan("2025-12-31")
    assert subset.plan.run_id == f"2026-01-01-{scope_of(('shoes',))}-g1"
    assert subset.plan.categories == ("shoes",) and len(full.plan.categories) == 13
    assert older.plan.run_id == "2025-12-31-all-g1"
    assert desk.plan().kind == "again", "neither may stand in for, or disturb, the full night"


def with_rules(desk: Desk, *rules: str) -> None:
    (desk.root / "rules.yaml").write_text("rules:" + "".join(f"\n- {r}" for r in rules) + (" []" if not rules else ""))
    desk.settings = desk.settings.model_copy(update={"rules": desk.root / "rules.yaml"})


BLOCK = "{name: a, verb: block, target: {brand: x}, end: 2026-01-31}"


def test_rules_in_force_are_an_input_and_others_are_not(desk: Desk) -> None:
    assert desk.plan().plan.inputs.rules == ""
    with_rules(desk, BLOCK.replace("2026-01-31", "2025-12-31"))
    assert desk.plan().kind == "again", "a rule that is over is no input"
    with_rules(desk, BLOCK)
    got = desk.plan()
    assert (got.kind, got.plan.run_id) == ("next", "2026-01-01-all-g2")
    assert got.why == "rules changed since 2026-01-01-all-g1"
    with_rules(
        desk, BLOCK.replace("2026-01-31", "2026-02-28"), BLOCK.replace("name: a", "name: b").replace("end", "start")
    )
    assert desk.plan().kind == "again", "the same rules are in force tonight"
    assert desk.plan("2026-02-01").plan.inputs.rules != got.plan.inputs.rules


def with_order(desk: Desk, **order: list[str]) -> None:
    learnt = {"from": "drawn", "sha256": "0" * 64, "outfits": 1, "prior_outfits": 0}
    targets = {source: [{"target": t} for t in own] for source, own in order.items()}
    (desk.root / "order.json").write_text(json.dumps({"version": 1, "learnt": learnt, "outfits": {}, "order": targets}))
    lists = ListSettings(slot_order=desk.root / "order.json")
    desk.settings = desk.settings.model_copy(update={"lists": lists})


def test_another_order_of_slots_is_the_next_generation_and_the_same_one_is_not(desk: Desk) -> None:
    assert desk.plan().plan.inputs.slot_order == ""
    targets = load_taxonomy().targets
    with_order(desk, tops=list(targets["tops"]), unknown=["tops"], shoes=["underwear", "unknown"])
    assert desk.plan().kind == "again", "the file gives the taxonomy's own order"
    with_order(desk, tops=["bags", "shoes"])
    got = desk.plan()
    assert (got.plan.run_id, got.why) == ("2026-01-01-all-g2", "slot order changed since 2026-01-01-all-g1")
    with_order(desk, tops=["bags", "unknown", "shoes"])
    assert desk.plan().kind == "again"


def test_a_run_keeps_the_order_it_was_planned_with(desk: Desk) -> None:
    with_order(desk, tops=["bags"])
    plan = desk.lake.manifest(desk.plan().plan.run_id).plan
    (desk.root / "order.json").unlink()
    kept, plain = planned_taxonomy(desk.settings, plan), load_taxonomy()
    assert kept.targets["tops"] == ("bags", *(t for t in plain.targets["tops"] if t != "bags"))
    assert kept.targets["shoes"] == plain.targets["shoes"]
    assert (kept.slot_order, kept.fingerprint) == (plan.inputs.slot_order, plain.fingerprint)
    with pytest.raises(SettingsError, match=r"lists\.slot_order: .*order\.json: cannot be read"):
        desk.plan()


def test_a_run_keeps_the_rules_it_was_planned_with(desk: Desk) -> None:
    with_rules(desk, BLOCK)
    run_id = desk.plan().plan.run_id
    kept = rules_of(desk.lake, run_id)
    assert [r.name for r in kept.rules] == ["a"]
    with_rules(desk)
    assert rules_of(desk.lake, run_id) == kept
    without = desk.plan().plan.run_id
    assert without != run_id and rules_of(desk.lake, without) == EMPTY


def test_rules_left_by_a_plan_that_was_killed_are_not_the_next_ones(desk: Desk) -> None:
    desk.lake.files.write("runs/2026-01-01-all-g1/rules.json", b"rules: left behind")
    assert rules_of(desk.lake, desk.plan().plan.run_id) == EMPTY


@pytest.mark.parametrize("data", [b"not rules", b"\xff", b"rules: []", None])
def test_a_copy_of_the_rules_that_was_tampered_with_is_named(desk: Desk, data: bytes | None) -> None:
    with_rules(desk, BLOCK)
    run_id = desk.plan().plan.run_id
    name = f"runs/{run_id}/rules.json"
    desk.lake.files.remove(name) if data is None else desk.lake.files.write(name, data)
    with pytest.raises(DataError, match=r"rules\.json: .*plan the date again"):
        rules_of(desk.lake, run_id)


def test_rules_that_are_wrong_stop_the_plan(desk: Desk) -> None:
    with_rules(desk, "{name: a, verb: block}")
    with pytest.raises(DataError, match="rule 'a', key target: is missing"):
        desk.plan()
    assert not (desk.root / "lake" / "runs").exists()
    desk.settings = desk.settings.model_copy(update={"rules": desk.root / "none.yaml"})
    with pytest.raises(SettingsError, match="no such rules file"):
        desk.plan()


def test_a_manifest_from_before_there_were_rules_is_the_same_run(desk: Desk) -> None:
    run_id = desk.plan().plan.run_id
    name = f"runs/{run_id}/manifest.json"
    raw = json.loads(desk.lake.files.read(name) or b"")
    del raw["plan"]["inputs"]["rules"]
    desk.lake.files.write(name, json.dumps(raw).encode())
    assert desk.plan().kind == "again"


def test_a_lake_from_before_a_column_goes_on_working(desk: Desk) -> None:
    later = ("season", "tags", "markets")
    old = pa.schema([f for f in CATALOG.schema if f.name not in later])
    desk.plan()
    rows = desk.lake.read("catalog", desk.lake.version("catalog")).select(old.names).cast(old)
    shutil.rmtree(desk.root / "lake" / "tables" / "catalog")
    write_deltalake(desk.lake.uri("catalog"), rows, partition_by=["snapshot"])
    assert desk.plan(recompute=True).plan.versions["catalog"] == 0, "the same content is no new version"
    (desk.root / "catalog.csv").write_text("item_id,category,image,tags\na,tops,a.jpg,x|y\n")
    version = desk.plan("2026-01-02").plan.versions["catalog"]
    got = desk.lake.read("catalog", version).sort_by([("snapshot", "ascending"), ("item_id", "ascending")])
    assert got["tags"].to_pylist() == [None, None, ["x", "y"]]


def test_a_dry_run_writes_nothing(desk: Desk) -> None:
    assert desk.plan(dry_run=True).plan.run_id == "2026-01-01-all-g1"
    assert not (desk.root / "lake").exists()


def test_a_snapshot_with_the_same_content_is_no_new_version(desk: Desk) -> None:
    desk.plan()
    v = desk.lake.version("catalog")
    desk.plan(recompute=True)
    assert desk.lake.version("catalog") == v
    desk.write("a,tops,a.jpg")
    desk.plan()
    assert desk.lake.version("catalog") == v + 1


def test_too_many_rejected_rows_stop_the_run_and_are_kept(desk: Desk) -> None:
    desk.write("a,tops,a.jpg", "b,other,b.jpg")
    with pytest.raises(DataError, match=r"1 of 2 rows .*'other' is refused .*first in row 2"):
        desk.plan()
    rows = desk.lake.read("rejected_rows", desk.lake.version("rejected_rows")).to_pylist()
    assert [(r["run_id"], r["row"], r["field"]) for r in rows] == [("2026-01-01-all-g1", 2, "category")]
    assert desk.lake.runs() == [] and desk.lake.version("catalog") == -1
    desk.settings = desk.settings.model_copy(update={"catalog": CatalogSettings(max_rejected_share=0.5)})
    assert desk.plan().plan.counts == {"rows": 2, "rejected": 1, "eligible": 1, "defaulted_departments": 1}


def test_an_empty_catalogue_stops_the_run(desk: Desk) -> None:
    desk.write()
    with pytest.raises(DataError, match="there is no row"):
        desk.plan()


def test_a_pair_without_a_mask_stops_the_plan(desk: Desk) -> None:
    raw = yaml.safe_load(DEFAULT_PATH.read_text())
    raw["categories"]["gloves"] = {"title": "Gloves", "targets": ["tops", "hats"]}
    (desk.root / "taxonomy.yaml").write_text(yaml.safe_dump(raw))
    desk.settings = desk.settings.model_copy(update={"taxonomy": desk.root / "taxonomy.yaml"})
    with pytest.raises(DataError, match="no mask for gloves–tops, gloves–hats"):
        desk.plan()


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"run_date": "25.11.2026"}, SettingsError, "YYYY-MM-DD"),
        ({"run_date": "2026-02-30"}, SettingsError, "YYYY-MM-DD"),
        ({"categories": ("socks",)}, SettingsError, "socks unknown"),
        ({"teacher": Path("/nowhere")}, DataError, "/nowhere"),
        ({"catalog": None}, DataError, "no catalogue snapshot of 2026-01-01"),
    ],
)
def test_bad_requests_are_named(desk: Desk, change: dict[str, object], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        desk.plan(**change)


def test_a_plan_from_the_lake_is_the_same_run(desk: Desk) -> None:
    desk.settings = desk.settings.model_copy(update={"catalog": CatalogSettings(max_rejected_share=0.5)})
    desk.write("a,tops,a.jpg", "b,other,b.jpg")
    first = desk.plan()
    again = desk.plan(catalog=None)
    assert (again.kind, again.plan.inputs) == ("again", first.plan.inputs)


def test_publishing_may_be_asked_for_later(desk: Desk) -> None:
    plan = desk.plan(publish=False).plan
    manifest = desk.lake.manifest(plan.run_id)
    for stage in ("embed", "complements", "check", "publish", "report"):
        manifest = manifest.with_stage(StageResult(stage, "skipped" if stage == "publish" else "done"))
    desk.lake.save_manifest(manifest)
    assert desk.plan(publish=True).kind == "again"
    again = desk.lake.manifest(plan.run_id)
    assert again.plan.publish and set(again.stages) == {"embed", "complements", "check"}


def test_planning_needs_the_lease(desk: Desk) -> None:
    with held(desk.lake, "medal nightly of 2026-01-01", 60), pytest.raises(LeaseHeld, match="medal nightly of"):
        desk.plan()
    assert desk.plan().kind == "next", "the lease was not given back"


def test_decide_is_pure(desk: Desk) -> None:
    resolved = resolve(desk.request(), desk.settings, desk.lake)
    assert decide(resolved) == decide(resolved)
    assert not (desk.root / "lake").exists()


@pytest.mark.parametrize("text", ["", "latest", "2026-1-1-all-g1", "2026-01-01-all", "../x", "2026-01-01-all-g1/.."])
def test_a_run_id_is_checked(text: str) -> None:
    with pytest.raises(SettingsError, match="is no run id"):
        RunId.parse(text)


def test_run_ids_sort_by_date_scope_generation() -> None:
    ids = [RunId("2026-01-02", "all", 1), RunId("2026-01-01", "all", 10), RunId("2026-01-01", "all", 9)]
    assert [str(i) for i in sorted(ids)] == ["2026-01-01-all-g9", "2026-01-01-all-g10", "2026-01-02-all-g1"]
    assert RunId.parse("2026-01-01-all-g10") == ids[1]


def test_dates_are_iso() -> None:
    assert parse_date("2026-11-25") == "2026-11-25"


@pytest.mark.parametrize("text", ["", "{}", '{"plan": {}}', "not json"])
def test_a_damaged_manifest_is_named(text: str) -> None:
    with pytest.raises(DataError, match=r"manifest\.json"):
        Manifest.from_json(text, "runs/x/manifest.json")
