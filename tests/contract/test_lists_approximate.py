"""Approximate nights on a real Spark: told in manifest and figures, repeatable, left behind by an exact one in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from lists_world import assert_equal, context, draw_products, draw_weights, oracle, ordered, tables_of

from jobs.complements import engine
from jobs.complements.job import make_lists
from jobs.quality.recall import overall, recall_frame
from jobs.runs import StageResult
from jobs.stage import StageContext

pytestmark = [
    pytest.mark.spark,
    pytest.mark.usefixtures("spark"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
K, DEPTH = 3, 4
EFFORT = 0.15  # ten of about sixty cells, a list of four


def _two_categories(products: pa.Table) -> pa.Table:
    """Bases of some hundred rows, so that an index has something to miss."""
    names = pa.array(["tops" if n % 2 else "shoes" for n in range(len(products))])
    return products.set_column(products.schema.get_field_index("category"), "category", names)


WEIGHTS, PRODUCTS = draw_weights(), _two_categories(draw_products(700, 8, ties=0.05))
DATES = ("2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05")


@pytest.fixture(autouse=True)
def indexed_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base of 30 rows that ten pages ask gets an index."""
    monkeypatch.setattr(engine, "LEAST_QUERIES", {"ivf": 10, "hnsw": 10})


def run(root: Path, run_id: str, products: pa.Table = PRODUCTS, **lists: Any) -> tuple[StageContext, StageResult]:
    ctx = context(root, run_id=run_id, k=K, depth=DEPTH, partitions=2)
    own = ctx.settings.lists.model_copy(update={"exact_rows": 30, **lists})
    ctx = StageContext(ctx.settings.model_copy(update={"lists": own}), ctx.lake, ctx.manifest, ctx.taxonomy, ctx.lease)
    result = make_lists(ctx, products, WEIGHTS)
    ctx.lake.save_manifest(ctx.lake.manifest(run_id).with_stage(result))
    return ctx, result


def recall(ctx: StageContext, result: StageResult) -> tuple[float, float, int]:
    found, _ = tables_of(ctx, result.writes)

    def neighbours(category: str, pages: list[str]) -> pa.Table:
        return found.filter(pc.and_(pc.equal(found["source_category"], category),
                                    pc.is_in(found["item_id"], pa.array(pages))))  # fmt: skip

    return overall(
        recall_frame(
            PRODUCTS, neighbours, categories=ctx.taxonomy.categories, taxonomy=ctx.taxonomy, weights=WEIGHTS, k=K,
            pages=2000, seed="any",
        )
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_an_approximate_night_says_so_and_can_be_repeated(tmp_path: Path, kind: Any) -> None:
    ctx, result = run(tmp_path / "a", f"{DATES[0]}-all-g1", engine=kind, effort=EFFORT)
    assert result.counts["approximate"] == 1
    assert 0 < result.counts["searched_approximately"] < result.counts["planned"]
    assert f"{kind} search, asked for (lists.engine)" in result.note
    again, other = run(tmp_path / "b", f"{DATES[0]}-all-g1", engine=kind, effort=EFFORT)
    for one, two in zip(tables_of(ctx, result.writes), tables_of(again, other.writes), strict=True):
        assert ordered(one) == ordered(two)
    found, lowest, lists = recall(ctx, result)
    assert 0.9 < lowest <= found <= 1.0
    assert lists > 600


def test_small_categories_stay_exact_whatever_the_engine(tmp_path: Path) -> None:
    ctx, result = run(tmp_path, f"{DATES[0]}-all-g1", engine="ivf", effort=EFFORT, exact_rows=10_000)
    assert (result.counts["approximate"], result.counts["searched_approximately"]) == (1, 0)
    t = ctx.taxonomy
    assert_equal(*tables_of(ctx, result.writes), oracle(PRODUCTS, WEIGHTS, t, t.categories, k=K, depth=DEPTH))
    assert recall(ctx, result)[:2] == (1.0, 1.0)


def test_nights_after_an_approximate_one(tmp_path: Path) -> None:
    """Approximate after approximate goes on from it; exact after approximate is made in full, and is exact."""
    run(tmp_path, f"{DATES[0]}-all-g1", engine="ivf", effort=EFFORT)
    _, second = run(tmp_path, f"{DATES[1]}-all-g1", _restocked(PRODUCTS, 3), engine="ivf", effort=EFFORT)
    assert (second.counts["incremental"], second.counts["approximate"]) == (1, 1)
    ctx, third = run(tmp_path, f"{DATES[2]}-all-g1")
    assert (third.counts["incremental"], third.counts["approximate"]) == (0, 0)
    assert "the kind of search" in third.note
    t = ctx.taxonomy
    assert_equal(*tables_of(ctx, third.writes), oracle(PRODUCTS, WEIGHTS, t, t.categories, k=K, depth=DEPTH))
    _, fourth = run(tmp_path, f"{DATES[3]}-all-g1", _restocked(PRODUCTS, 3), engine="faiss")
    assert (fourth.counts["incremental"], fourth.counts["approximate"]) == (1, 0)


def test_past_the_budget_of_pairs(tmp_path: Path) -> None:
    """A night in full is past it and is made approximately; a night with few new products is not, once exact."""
    few: dict[str, Any] = {"beyond": "ivf", "exact_pairs": 60_000}
    _, first = run(tmp_path, f"{DATES[0]}-all-g1", **few)
    assert (first.counts["approximate"], first.counts["incremental"]) == (1, 0)
    assert "ivf search, an exact night would compare more than 60,000 pairs (lists.exact_pairs)" in first.note
    _, skipped = run(tmp_path, f"{DATES[0]}-all-g2", **few)
    assert (skipped.status, skipped.counts["approximate"]) == ("skipped", 1)
    # The night after it, an exact search would have to make all anew: past the budget again.
    _, second = run(tmp_path, f"{DATES[1]}-all-g1", _restocked(PRODUCTS, 3), **few)
    assert (second.counts["approximate"], second.counts["incremental"]) == (1, 1)
    _, exact = run(tmp_path, f"{DATES[2]}-all-g1", **{**few, "exact_pairs": 10**9})
    assert (exact.counts["approximate"], exact.counts["incremental"]) == (0, 0)
    _, fourth = run(tmp_path, f"{DATES[3]}-all-g1", _restocked(PRODUCTS, 3), **few)
    assert (fourth.counts["approximate"], fourth.counts["incremental"]) == (0, 1)
    assert fourth.note.endswith("exact search, blas proposes")


def _restocked(products: pa.Table, n: int) -> pa.Table:
    stock = np.array(products["in_stock"].to_pylist())
    stock[:n] = ~stock[:n]
    return products.set_column(products.schema.get_field_index("in_stock"), "in_stock", pa.array(stock))
