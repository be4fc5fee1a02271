"""The plan of a search, and what a worker makes of a task."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from lists_world import context, draw_products, draw_weights, in_process, table, unit

from jobs.complements.gallery import galleries, open_gallery, stage
from jobs.complements.tasks import deal, plan_tasks
from jobs.complements.worker import list_hashes
from jobs.errors import DataError
from schemas.tables import COMPLEMENT
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
    rows = in_process(context(tmp_path), products, draw_weights())
    got = {(r["item_id"], r["target_category"]): r for r in rows.to_pylist()}
    want = {(p["item_id"], t) for p in products.to_pylist() for t in TAXONOMY.targets[p["category"]]}
    assert set(got) == want
    assert all((r["size"] == 0) == (r["empty_reason"] is not None) for r in got.values())
    assert {r["source_category"] for r in got.values()} >= {"swimwear"}
    assert not {r["target_category"] for r in got.values()} & {"underwear", "swimwear"}
    without = {p["item_id"] for p in products.to_pylist() if p["vector"] is None}
    assert {i for (i, _), r in got.items() if r["empty_reason"] == "no_vector"} == {
        i for i in without if any(i == key[0] for key in want)
    }


def test_list_hash_covers_every_published_field_and_nothing_else() -> None:
    def hashed(*items: tuple[str, int | None, int | None, int | None, str]) -> str:
        names = [f.name for f in COMPLEMENT]
        rows = [dict(zip(names, i, strict=True)) for i in items]
        return list_hashes(pa.array([rows], pa.list_(COMPLEMENT)))[0].as_py()

    one, two = ("a", 5, 3, 2, "model"), ("b", 4, 4, 0, "model")
    assert hashed(one, two) == hashlib.sha256(b"a\t5\t3\t2\tmodel\nb\t4\t4\t0\tmodel").hexdigest()[:32]
    others = [("x", 5, 3, 2, "model"), ("a", 6, 3, 2, "model"), ("a", 5, 4, 2, "model"), ("a", 5, 3, 1, "model"),
              ("a", 5, 3, 2, "pin")]  # fmt: skip
    assert len({hashed(o, two) for o in [one, *others]} | {hashed(two, one), hashed(one), hashed()}) == 9
    assert hashed(("a", None, None, None, "pin")) == hashlib.sha256(b"a\t\t\t\tpin").hexdigest()[:32]


def test_list_hashes_of_a_slice_are_those_of_the_whole() -> None:
    names = [f.name for f in COMPLEMENT]
    lists = [[dict(zip(names, (f"i{n}{j}", n, j, n - j, "model"), strict=True)) for j in range(n)] for n in range(4)]
    whole = pa.array(lists, pa.list_(COMPLEMENT))
    assert list_hashes(whole.slice(2, 2)).to_pylist() == list_hashes(whole).to_pylist()[2:]
