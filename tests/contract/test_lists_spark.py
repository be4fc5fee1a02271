"""The stage `complements` on a real Spark: equal to the oracle, exactly once, nothing written where nothing changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.transaction import AddAction
from lists_world import (
    MODEL,
    ROOT,
    assert_equal,
    context,
    draw_products,
    draw_weights,
    oracle,
    ordered,
    table,
    tables_of,
    unit,
)
from require import require

from jobs.complements import emit
from jobs.complements.emit import STORED
from jobs.complements.generations import read_live
from jobs.complements.job import make_lists
from jobs.errors import ConservationError, TransientError
from jobs.lake import NO_TABLE, Lake
from jobs.runs import RunId, StageResult
from jobs.stage import StageContext

pytestmark = [
    pytest.mark.spark,
    pytest.mark.usefixtures("spark"),
    pytest.mark.filterwarnings(
        "ignore:unclosed <socket:ResourceWarning"
    ),  # pyspark leaves its sockets to the collector
]
WEIGHTS = draw_weights()
K, DEPTH = 3, 4  # so small that bases outgrow them and the horizon matters


def night(ctx: StageContext, products: pa.Table) -> StageResult:
    """The stage as `run_stage` runs it: with its entry in the manifest."""
    result = make_lists(ctx, products, WEIGHTS)
    ctx.lake.save_manifest(ctx.lake.manifest(ctx.manifest.plan.run_id).with_stage(result))
    return result


def sold_out(products: pa.Table, *which: int) -> pa.Table:
    stock = [s and i not in which for i, s in enumerate(products["in_stock"].to_pylist())]
    return products.set_column(products.schema.get_field_index("in_stock"), "in_stock", pa.array(stock))


@dataclass(frozen=True)
class First:
    """A lake with one night in it."""

    root: Path
    products: pa.Table
    ctx: StageContext
    result: StageResult


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, spark: Any) -> First:
    root, products = tmp_path_factory.mktemp("lists") / "lake", draw_products(450, 21, ties=0.3)
    ctx = context(root, k=K, depth=DEPTH, partitions=1)
    return First(root, products, ctx, night(ctx, products))


def test_tables_are_the_oracle(first: First) -> None:
    t = first.ctx.taxonomy
    want = oracle(first.products, WEIGHTS, t, t.categories, k=K, depth=DEPTH)
    assert_equal(*tables_of(first.ctx, first.result.writes), want)
    counts = first.result.counts
    assert counts["planned"] == len(want)
    assert counts["entries"] == sum(len(e.items) for e in want.values())
    assert counts["feasible"] == sum(e.feasible for e in want.values())
    assert counts["empty_no_vector"] == sum(e.empty_reason == "no_vector" for e in want.values())
    for level in ("group", "category"):
        assert counts[f"by_{level}"] == sum(e.level == level and bool(e.items) for e in want.values()) > 0
    assert counts["empty_no_target"] == sum(e.empty_reason == "no_target" for e in want.values()) > 0
    assert counts["refilled"] > 0
    assert first.ctx.lease.checks >= 2  # type: ignore[attr-defined]
    assert first.ctx.lake.files.list("runs/2026-03-02-all-g1/gallery/") == []


def test_four_partitions_and_other_blocks_give_the_same_tables(first: First, tmp_path: Path) -> None:
    ctx = context(tmp_path, k=K, depth=DEPTH, partitions=4, query_block=5, base_block=7)
    got = tables_of(ctx, night(ctx, first.products).writes)
    for one, four in zip(tables_of(first.ctx, first.result.writes), got, strict=True):
        assert ordered(one) == ordered(four)


def test_both_engines_read_the_tables(first: First, spark: Any) -> None:
    """Deletion vectors and column mapping off, partitions as in the contract, the run in the history."""
    for name in ("candidates", "complements"):
        delta = first.ctx.lake.open(name, 0)
        protocol = delta.protocol()
        assert (protocol.min_reader_version, protocol.reader_features or []) == (1, [])
        assert delta.metadata().partition_columns == ["model_version", "source_category"]
        assert first.ctx.lake.committed(name, "2026-03-02-all-g1") == first.result.writes[name]
        by_spark = spark.read.format("delta").load(first.ctx.lake.spark_uri(name)).count()
        assert by_spark == first.ctx.lake.read(name, 0).num_rows


def test_same_inputs_are_skipped_before_spark(first: First, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.spark.session", _must_not_start)
    ctx = context(first.root, run_id="2026-03-02-all-g2", k=K, depth=DEPTH)
    result = make_lists(ctx, first.products, WEIGHTS)
    assert (result.status, result.note, result.key) == ("skipped", "same inputs as 2026-03-02-all-g1", first.result.key)
    assert result.writes == first.result.writes
    assert result.counts["planned"] == first.result.counts["planned"]
    assert not any(n.endswith("_s") for n in result.counts), "it took no time"


def test_recomputing_the_same_commits_nothing(first: First) -> None:
    ctx = context(first.root, run_id="2026-03-02-all-g3", k=K, depth=DEPTH, recompute=True)
    result = make_lists(ctx, first.products, WEIGHTS)
    assert (result.status, result.writes) == ("done", first.result.writes)
    assert ctx.lake.version("candidates") == ctx.lake.version("complements") == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda p: sold_out(p, p["in_stock"].to_pylist().index(True)),
        lambda p: p.slice(1),
        lambda p: p.set_column(3, "group_id", pa.array(["g"] * 2 + p["group_id"].to_pylist()[2:])),
        lambda p: p.set_column(2, "department", pa.array(["kids", *p["department"].to_pylist()[1:]])),
    ],
    ids=["stock", "departed", "group", "department"],
)
def test_other_inputs_are_not_skipped(
    first: First, change: Callable[[pa.Table], pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.spark.session", _must_not_start)
    ctx = context(first.root, run_id="2026-03-03-all-g1", k=K, depth=DEPTH)
    with pytest.raises(AssertionError, match="Spark was started"):
        make_lists(ctx, change(first.products), WEIGHTS)


@pytest.mark.parametrize("run_id", ["2026-03-01-all-g1", "2026-03-03-all-g1", "2026-03-02-0a0b0c0d-g1"])
def test_another_date_or_scope_makes_nothing_skip(first: First, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.spark.session", _must_not_start)
    with pytest.raises(AssertionError, match="Spark was started"):
        make_lists(context(first.root, run_id=run_id, k=K, depth=DEPTH), first.products, WEIGHTS)


def _must_not_start(*_: object) -> None:
    raise AssertionError("Spark was started")


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


class Dying(StageContext):
    def fault(self, name: str) -> None:
        if self.settings.fault == name:
            raise Killed(name)


def test_killed_between_the_tables_and_run_again(first: First, tmp_path: Path) -> None:
    """The end is that of an undisturbed run. tests/e2e/test_crash.py does it by SIGKILL at every point."""
    products = first.products
    want = tables_of(first.ctx, first.result.writes)
    ctx = context(tmp_path / "killed", k=K, depth=DEPTH, fault="complements.candidates_committed")
    with pytest.raises(Killed):
        make_lists(Dying(ctx.settings, ctx.lake, ctx.manifest, ctx.taxonomy, ctx.lease), products, WEIGHTS)
    assert (ctx.lake.version("candidates"), ctx.lake.version("complements")) == (0, NO_TABLE)
    result = night(context(tmp_path / "killed", k=K, depth=DEPTH), products)
    assert result.writes == {"candidates": 0, "complements": 0}
    for a, b in zip(want, tables_of(ctx, result.writes), strict=True):
        assert ordered(a) == ordered(b)
    # The commit stands for the inputs it was made from: others under the same run id are a fault, not a resume.
    with pytest.raises(ConservationError, match="plan the date again with --recompute"):
        make_lists(context(tmp_path / "killed", k=K, depth=DEPTH), products.slice(3), WEIGHTS)


def test_a_subset_run_replaces_its_slice_and_stands_for_nothing_else(first: First, tmp_path: Path) -> None:
    products = first.products.slice(0, 200)
    whole = context(tmp_path, k=K, depth=DEPTH)
    before = night(whole, products)
    part = context(tmp_path, run_id="2026-03-03-0a1b2c3d-g1", categories=("shoes",), k=K, depth=DEPTH)
    changed = sold_out(products, *range(0, 200, 3))
    after = night(part, changed)
    assert after.writes == {"candidates": 0, "complements": 1}, "candidates do not know of stock"
    old, new = (whole.lake.read("complements", r.writes["complements"]) for r in (before, after))

    def slice_of(table: pa.Table, *, shoes: bool) -> pa.Table:
        mask = pc.equal(table["source_category"], "shoes")
        return ordered(table.filter(mask if shoes else pc.invert(mask)))

    assert slice_of(old, shoes=False) == slice_of(new, shoes=False)
    assert slice_of(old, shoes=True) != slice_of(new, shoes=True)
    # The full night on the old stock must not take the table with other shoes for its own.
    again = night(context(tmp_path, run_id="2026-03-02-all-g2", k=K, depth=DEPTH), products)
    assert again.status == "done"
    assert ordered(whole.lake.read("complements", again.writes["complements"])) == ordered(old)


def test_a_transaction_seen_before_is_passed_over_and_found(tmp_path: Path) -> None:
    lake, schema = Lake(str(tmp_path)), STORED["complements"]
    where = [("model_version", "=", MODEL), ("source_category", "in", ["tops"])]

    def commit(item: str, run: RunId) -> int:
        batch = emit.removed("complements", emit.Slot("tops", "bags", 0, MODEL, 0), pa.array([item])).batch
        file = Path(lake.uri("complements")) / f"{item}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_batches([batch], schema), file, store_schema=False)
        values = {"model_version": MODEL, "source_category": "tops"}
        added = AddAction(file.name, file.stat().st_size, values, 0, True, '{"numRecords": 1}')
        return lake.commit_files("complements", [added], run, model_version=MODEL, replaced=where, about={})

    for item in ("first", "second"):
        assert commit(item, RunId("2026-03-02", "all", 1)) == 0
    assert lake.read("complements", 0)["item_id"].to_pylist() == ["first"]
    assert commit("third", RunId("2026-03-01", "all", 1)) == 1  # another date is another transaction
    assert lake.read("complements", 1)["item_id"].to_pylist() == ["third"]


def test_a_table_from_before_a_column_gets_it(first: First, tmp_path: Path) -> None:
    """And what an earlier version of the job wrote, without saying what it holds, is replaced."""
    lake, old = Lake(str(tmp_path)), first.ctx.lake.read("complements", 0).drop_columns(["written", "removed", "level"])
    write_deltalake(lake.uri("complements"), old, partition_by=["model_version", "source_category"])
    result = night(context(tmp_path, k=K, depth=DEPTH), first.products)
    assert result.writes["complements"] == 2, "the columns, then the rows"
    for mine, want in zip(
        tables_of(context(tmp_path), result.writes), tables_of(first.ctx, first.result.writes), strict=True
    ):
        assert ordered(mine) == ordered(want)


def test_what_someone_else_wrote_is_not_taken_for_ours(first: First, tmp_path: Path) -> None:
    """Files compacted, or rows taken out, by another hand: the next whole night writes the slice again."""
    night(context(tmp_path, k=K, depth=DEPTH), first.products)
    lake = Lake(str(tmp_path))
    DeltaTable(lake.uri("complements")).delete("source_category = 'tops'")
    again = night(context(tmp_path, run_id="2026-03-02-all-g2", k=K, depth=DEPTH, recompute=True), first.products)
    assert again.writes == {"candidates": 0, "complements": 2}
    for mine, want in zip(
        tables_of(context(tmp_path), again.writes), tables_of(first.ctx, first.result.writes), strict=True
    ):
        assert ordered(mine) == ordered(want)


@pytest.mark.parametrize("name", ["candidates", "complements"])
def test_a_lake_that_takes_no_files_is_a_passing_fault(name: str, tmp_path: Path) -> None:
    """A worker's own error comes out as itself, not as Spark's trace."""
    ctx = context(tmp_path, k=K, depth=DEPTH)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / name / f"model_version={MODEL}").parent.mkdir()
    (tmp_path / "tables" / name / f"model_version={MODEL}").write_text("a file where a folder should be")
    with pytest.raises(TransientError, match=f"^table {name}: a file could not be written under .*; make room, run it"):
        make_lists(ctx, draw_products(60, 1), WEIGHTS)


def another(products: pa.Table, seed: int) -> pa.Table:
    """The next night's products: some gone, some sold out, some new, some photographed again."""
    rng, rows = np.random.default_rng(seed), products.to_pylist()
    new = draw_products(12, seed + 100).to_pylist()
    for row in new:
        row["item_id"] = f"n{seed}-{row['item_id']}"
    rows = [r for r in rows if rng.random() > 0.03]
    for row in rows:
        row["in_stock"] = bool(row["in_stock"]) if rng.random() > 0.05 else False
        if rng.random() < 0.02:
            row["vector"] = rng.permutation(np.array(row["vector"] or unit(rng.normal(size=128)))).tolist()
    return table(*([r[n] for r in [*rows, *new]] for n in products.column_names))


def test_nights_brought_up_to_date_are_those_made_in_full(tmp_path: Path) -> None:
    products, nights = draw_products(300, 8), 4
    for n in range(nights):
        date = f"2026-03-{n + 2:02}"
        ctx = context(tmp_path / "up", run_id=f"{date}-all-g1", k=K, depth=DEPTH, compact_nights=2)
        result = night(ctx, products)
        full = night(context(tmp_path / "full", run_id=f"{date}-all-g1", k=K, depth=DEPTH, recompute=True), products)
        up, made = (
            ordered(read_live(Lake(str(tmp_path / folder)), "complements", r.writes["complements"]))
            for folder, r in (("up", result), ("full", full))
        )
        assert up.drop_columns(["written", "removed"]) == made.drop_columns(["written", "removed"])
        assert result.note.startswith("full: no earlier night" if n == 0 else "incremental: since 2026-03-0")
        assert max(up["written"].to_pylist()) == [0, 1, 2, 0][n], "the third night with changes writes the slice anew"
        for name in ("planned", "filled", "entries", "feasible", "empty_no_target"):
            assert result.counts[name] == full.counts[name], name
        if n in (1, 2):
            assert result.counts["pairs"] < 0.25 * full.counts["pairs"]
            assert result.counts["complements_written"] < full.counts["complements_written"]
        products = another(products, n)


def test_another_order_of_slots_searches_nothing(tmp_path: Path) -> None:
    products, order = draw_products(300, 8), {"tops": ("hats", "bags"), "shoes": ("sunglasses",)}
    first = night(context(tmp_path / "up", run_id="2026-03-02-all-g1", k=K, depth=DEPTH), products)
    # Of the same date, so that only the order keeps it from being skipped.
    ctx = context(tmp_path / "up", run_id="2026-03-02-all-g2", k=K, depth=DEPTH, order=order)
    result = night(ctx, products)
    assert result.note.startswith("incremental: since 2026-03-02-all-g1: 0 of 300 pages new or changed")
    assert result.counts["pairs"] == result.counts["full"] == result.counts["candidates_written"] == 0
    assert result.writes["candidates"] == first.writes["candidates"]
    full = night(context(tmp_path / "full", run_id="2026-03-02-all-g1", k=K, depth=DEPTH, order=order), products)
    up, made = (
        ordered(read_live(Lake(str(tmp_path / folder)), "complements", r.writes["complements"]))
        for folder, r in (("up", result), ("full", full))
    )
    assert up.drop_columns(["written", "removed"]) == made.drop_columns(["written", "removed"])
    again = night(context(tmp_path / "up", run_id="2026-03-02-all-g3", k=K, depth=DEPTH, order=order), products)
    assert (again.status, again.note) == ("skipped", "same inputs as 2026-03-02-all-g2")


def test_an_update_from_lists_that_are_not_the_newest_writes_the_slice_as_a_whole(tmp_path: Path) -> None:
    """A backfill of an older date wrote since: tonight starts from its own earlier night, none of that stays."""
    first, older, last = draw_products(200, 3), draw_products(210, 4), another(draw_products(200, 3), 5)
    night(context(tmp_path, run_id="2026-03-04-all-g1", k=K, depth=DEPTH), first)
    backfill = night(context(tmp_path, run_id="2026-03-01-all-g1", k=K, depth=DEPTH), older)
    assert backfill.note.startswith("full")
    ctx = context(tmp_path, run_id="2026-03-05-all-g1", k=K, depth=DEPTH)
    result = night(ctx, last)
    assert result.note.startswith("incremental: since 2026-03-04-all-g1")
    rows = ctx.lake.read("complements", result.writes["complements"])
    assert set(rows["written"].to_pylist()) == {0}
    full = night(context(tmp_path / "full", run_id="2026-03-05-all-g1", k=K, depth=DEPTH), last)
    assert ordered(rows) == ordered(Lake(str(tmp_path / "full")).read("complements", full.writes["complements"]))


_ON_S3 = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from lists_world import *
from jobs.complements.job import make_lists
ctx = context(sys.argv[1], s3_endpoint_url=sys.argv[2], k=3, depth=4)
products = draw_products(120, 5)
result = make_lists(ctx, products, draw_weights())
want = oracle(products, draw_weights(), ctx.taxonomy, ctx.taxonomy.categories, k=3, depth=4)
assert_equal(*tables_of(ctx, result.writes), want)
assert ctx.lake.files.list("runs/2026-03-02-all-g1/gallery/") == []
print("equal", result.writes)
"""


@pytest.mark.s3
def test_a_lake_on_s3() -> None:
    """In a process of its own: the session's JVM must see the server's credentials."""
    require("versitygw")
    import boto3
    from s3_server import s3_server

    with s3_server() as server:
        client = boto3.Session().client(
            "s3", endpoint_url=server.endpoint_url, region_name="us-east-1",
            aws_access_key_id=server.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=server.env["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip
        client.create_bucket(Bucket="lists")
        script = _ON_S3.format(root=str(ROOT), tests=str(ROOT / "tests"))
        done = subprocess.run(
            [sys.executable, "-c", script, "s3://lists/shop", server.endpoint_url],
            env={**os.environ, **server.env}, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "equal {'candidates': 0, 'complements': 0}"
