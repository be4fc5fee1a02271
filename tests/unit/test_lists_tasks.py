"""The plan of a search, and what a worker makes of a task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lists_world import context, draw_products, draw_weights, in_process, published_hash, table, unit

from jobs.complements.finish import REASONS, SCORED
from jobs.complements.gallery import galleries, open_gallery, stage
from jobs.complements.hashing import as_text, id_words, list_lanes
from jobs.complements.tasks import deal, plan_tasks
from jobs.errors import DataError
from schemas.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()


@pytest.mark.parametrize("query_block", [1, 7, 4096])
def test_tasks_cover_every_product_and_slot_once(query_block: int) -> None:
    all_ = galleries(draw_products(300), TAXONOMY)
    tasks = plan_tasks(all_, TAXONOMY, TAXONOMY.categories, query_block, 10)
    seen = [(t.source, t.target, t.department, q) for t in tasks for q in range(t.start, t.stop)]
    assert len(seen) == len(set(seen)) == sum(len(all_[c]) * len(TAXONOMY.targets[c]) for c in TAXONOMY.categories)
    assert all(t.stop - t.start <= query_block for t in tasks)
    assert all(t.base_blocks == -(-t.base_rows // 10) for t in tasks)
    assert all((t.source, t.target) not in TAXONOMY.never for t in tasks)


@pytest.mark.parametrize("partitions", [1, 3, 4, 1000])
def test_shares_hold_every_task_once_and_weigh_about_the_same(partitions: int) -> None:
    tasks = plan_tasks(galleries(draw_products(3000), TAXONOMY), TAXONOMY, TAXONOMY.categories, 16, 65536)
    shares = deal(tasks, partitions)
    assert sorted(id(t) for s in shares for t in s) == sorted(id(t) for t in tasks)
    assert 0 < len(shares) <= partitions
    if partitions <= 4:
        weights = [sum(t.cost for t in s) for s in shares]
        assert max(weights) < 1.1 * min(weights)


def test_no_products_no_shares() -> None:
    assert deal([], 4) == ()
    assert plan_tasks(galleries(draw_products(50), TAXONOMY), TAXONOMY, ("underwear",), 16, 16) == []


def test_galleries_come_back_as_staged(tmp_path: Path) -> None:
    ctx = context(tmp_path)
    all_ = galleries(draw_products(200), TAXONOMY)
    stage(ctx.lake, "2026-03-02-all-g1", all_)
    for n, g in enumerate(all_.values()):
        back = open_gallery(ctx.lake, "2026-03-02-all-g1", n)
        assert back.ids == g.ids
        for name in ("vectors", "has_vector", "department", "group", "in_stock"):
            assert np.array_equal(getattr(back, name), getattr(g, name)), name


def test_a_gallery_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gallery 3 is not there; run the stage again"):
        open_gallery(context(tmp_path).lake, "2026-03-02-all-g1", 3)


@pytest.mark.parametrize("bad", [np.full(128, np.nan), np.ones(128), np.ones(127) / 12])
def test_vectors_that_break_their_contract_stop_the_stage(bad: np.ndarray) -> None:
    good = unit(np.ones((1, 128)))[0]
    products = table("ab", ["tops", "tops"], ["women"] * 2, "ab", [1, 1], [good, bad.astype(np.float32)])
    with pytest.raises(DataError, match="plan again"):
        galleries(products, TAXONOMY)


def test_every_eligible_product_gets_a_row_for_each_slot(tmp_path: Path) -> None:
    """Sold out or without a vector as well; underwear has no slots, swimwear is a page but never a target."""
    products = draw_products(300, 4)
    rows = in_process(context(tmp_path), products, draw_weights()).table("complements")
    got = {(r["item_id"], r["target_category"]): r for r in rows.to_pylist()}
    want = {(p["item_id"], t) for p in products.to_pylist() for t in TAXONOMY.targets[p["category"]]}
    assert set(got) == want
    assert all((r["size"] == 0) == (r["empty_reason"] is not None) for r in got.values())
    assert {r["source_category"] for r in got.values()} >= {"swimwear"}
    assert not {r["target_category"] for r in got.values()} & {"underwear", "swimwear"}
    without = {p["item_id"] for p in products.to_pylist() if p["vector"] is None}
    asked_by_another = {i for (i, _), r in got.items() if r["level"] in ("group", "product_type", "category")}
    assert asked_by_another == {i for i in without if any(i == key[0] for key in want)}
    assert {r["level"] for r in got.values()} >= {"product", "category"}


def test_without_fallback_and_where_no_vector_is_there_to_ask(tmp_path: Path) -> None:
    products = draw_products(300, 4)
    all_ = galleries(products, TAXONOMY, fallback=False)
    assert all(np.array_equal(g.level >= 0, g.has_vector) for g in all_.values())
    bare = products.to_pylist()
    for row in bare:
        if row["category"] == "tops":
            row["vector"] = None
    names = ("item_id", "category", "department", "group_id", "in_stock", "vector")
    near, lists = in_process(context(tmp_path), table(*([r[n] for r in bare] for n in names)), draw_weights()).tables
    tops = [r for r in lists.to_pylist() if r["source_category"] == "tops"]
    assert {(r["size"], r["empty_reason"], r["level"]) for r in tops} == {(0, "no_vector", None)}
    assert len(near) > 0
    assert "tops" not in near["source_category"].to_pylist()


def test_list_hash_covers_every_published_field_and_nothing_else() -> None:
    ids = ["a", "b", "x"]

    def hashed(*items: tuple[str, int | None, int | None, str]) -> str:
        k = 3
        rows, score, visual, reason = (np.full((1, k), fill) for fill in (-1, 0, 0, 0))
        for n, (i, s, v, r) in enumerate(items):
            rows[0, n], score[0, n], visual[0, n], reason[0, n] = ids.index(i), s or 0, v or 0, REASONS.index(r)
        lanes = list_lanes(
            id_words(ids), rows, score.astype(np.int32), visual.astype(np.int32), reason.astype(np.int8),
            np.array([len(items)], np.int32), SCORED,
        )  # fmt: skip
        got: str = as_text(lanes)[0].as_py()
        assert got == published_hash(list(items))
        return got

    one, two = ("a", 5, 3, "model"), ("b", -4, 4, "model")
    others = [("x", 5, 3, "model"), ("a", 6, 3, "model"), ("a", 5, 4, "model"), ("a", None, None, "pin"),
              ("a", None, None, "list"), ("a", 5, 3, "boost"), ("a", 5, 3, "explore")]  # fmt: skip
    assert len({hashed(o, two) for o in [one, *others]} | {hashed(two, one), hashed(one), hashed()}) == 11
