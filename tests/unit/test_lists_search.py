"""The search against the oracle: every id, score, part and horizon, whatever the blocks and threads."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from lists_world import (
    Made,
    assert_equal,
    context,
    draw_products,
    draw_weights,
    exact_scores,
    in_process,
    oracle,
    ordered,
    shelf_of,
    table,
    unit,
)

from jobs.complements.finish import Limits, finish, known
from jobs.complements.hashing import Digest
from jobs.complements.score import INT32_MIN, micro, scaled_base, scaled_queries
from jobs.complements.search import Base, Queries, exact_top, neighbours

W = draw_weights()("tops", "shoes")


def a_base(y: np.ndarray, group: np.ndarray | None = None, stock: np.ndarray | None = None) -> Base:
    n = len(y)
    return Base.of(
        np.arange(n),
        scaled_base(y),
        np.arange(n) if group is None else group,
        np.ones(n, dtype=bool) if stock is None else stock,
    )


def queries_of(x: np.ndarray, group: np.ndarray | None = None) -> Queries:
    return Queries(scaled_queries(W, x), np.full(len(x), 10**9) if group is None else group)


def by_hand(x: np.ndarray, y: np.ndarray, leave: np.ndarray) -> list[tuple[int, int]]:
    """(score, row) of all targets but those to leave out, best first."""
    scores, _ = exact_scores(W, x, y)
    return sorted(((s, i) for i, s in enumerate(scores) if not leave[i]), key=lambda p: (-p[0], p[1]))


@pytest.mark.parametrize("seed", [1, 2])
def test_lists_of_a_drawn_world_are_the_oracle(tmp_path: Path, seed: int) -> None:
    products, weights = draw_products(600, seed, ties=0.3), draw_weights(seed)
    ctx = context(tmp_path, k=5, depth=7)
    made = in_process(ctx, products, weights)
    assert_equal(*made.tables, oracle(products, weights, ctx.taxonomy, ctx.taxonomy.categories, k=5, depth=7))
    assert made.figures.refilled > 0, "no list was short: the test shows less than it says"
    assert made.figures.searched_exactly < made.rows("candidates") / 4


def content_of(made: Made) -> dict[str, Digest]:
    return {t: sum((f.content for f in made.files if f.table == t), Digest()) for t in ("candidates", "complements")}


@pytest.mark.parametrize(
    ("query_block", "base_block", "threads", "partitions"), [(2, 5, 1, 1), (7, 3, 2, 4), (4096, 65536, 4, 3)]
)
def test_blocks_threads_and_shares_change_nothing(
    tmp_path: Path, query_block: int, base_block: int, threads: int, partitions: int
) -> None:
    products, weights = draw_products(140, 3, ties=0.3), draw_weights()
    whole = in_process(context(tmp_path / "a", k=4, depth=5), products, weights)
    other = in_process(
        context(tmp_path / "b", k=4, depth=5, query_block=query_block, base_block=base_block, partitions=partitions),
        products,
        weights,
        threads=threads,
    )
    assert [ordered(t) for t in whole.tables] == [ordered(t) for t in other.tables]
    assert content_of(whole) == content_of(other), "a digest is of the rows, whatever the files and their order"


@pytest.mark.parametrize("base_block", [37, 400, 10**6])
@pytest.mark.parametrize("spread", [1e-6, 1e-5, 1e-3, 1.0])
def test_near_ties_within_float32_error_come_out_exact(spread: float, base_block: int) -> None:
    """Vectors around one point: at 1e-6 hundreds lie within the error of the proposals, at 1.0 none."""
    rng = np.random.default_rng(7)
    y = unit(rng.normal(size=128) + spread * rng.normal(size=(600, 128)))
    x = unit(rng.normal(size=(6, 128)))
    got = neighbours(queries_of(x), a_base(y), 20, base_block)
    for i in range(len(x)):
        want = by_hand(x[i], y, np.zeros(600, dtype=bool))
        assert list(zip(got.score[i], got.rows[i], strict=True)) == want[:20]
        assert got.horizon[i] == want[20][0]
    assert got.exact.all() if spread == 1e-6 else True
    assert not got.exact.any() if spread == 1.0 else True


def test_targets_a_micro_unit_apart_are_ordered_by_it() -> None:
    """One dimension moved by the smallest step of float32 that 2^20 can see, a thousand times."""
    rng = np.random.default_rng(8)
    y = np.repeat(unit(rng.normal(size=(1, 128))), 1000, axis=0)
    y[:, 0] += rng.permutation(1000).astype(np.float32) * np.float32(2**-20)
    x = unit(rng.normal(size=(2, 128)))
    got = neighbours(queries_of(x), a_base(y), 64, 100)
    for i in range(2):
        want = by_hand(x[i], y, np.zeros(1000, dtype=bool))
        assert got.rows[i].tolist() == [r for _, r in want[:64]]


def test_own_group_is_left_out_however_large() -> None:
    rng = np.random.default_rng(9)
    y = unit(rng.normal(size=(300, 128)))
    x = y[:3].copy()
    group = np.arange(300)
    group[np.argsort(-(scaled_queries(W, x[0]) @ y.T))[:100]] = 0  # the hundred best of the first page are its variants
    got = neighbours(queries_of(x, np.array([0, 1, 2])), a_base(y, group), 10, 1000)
    for i in range(3):
        want = by_hand(x[i], y, group == i)
        assert got.rows[i].tolist() == [r for _, r in want[:10]]
    assert got.exact.tolist() == [True, False, False]


@pytest.mark.parametrize(("targets", "horizon_is_open"), [(0, True), (3, True), (10, True), (11, False)])
def test_horizon_is_open_only_where_all_possible_targets_are_listed(targets: int, horizon_is_open: bool) -> None:
    rng = np.random.default_rng(10)
    y = unit(rng.normal(size=(targets, 128)))
    got = neighbours(queries_of(unit(rng.normal(size=(2, 128)))), a_base(y), 10, 4)
    assert ((got.horizon == INT32_MIN) == horizon_is_open).all()
    assert ((got.rows >= 0).sum(axis=1) == min(10, targets)).all()


def test_exact_search_crosses_its_own_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups that fill a block, cross none, and one that is larger than a block."""
    monkeypatch.setattr("jobs.complements.search._EXACT_ROWS", 16)
    rng = np.random.default_rng(11)
    y = unit(rng.normal(size=(200, 128)))
    group = rng.integers(0, 30, 200)
    group[50:90] = 31
    stock = rng.random(200) < 0.7
    x, own = unit(rng.normal(size=(5, 128))), np.array([31, 0, 1, 2, 99])
    base = a_base(y, group, stock)
    queries = queries_of(x, own)
    top = exact_top(queries, base, 12)
    lists = finish(known(neighbours(queries, base, 1, 50), base), queries, shelf_of(base), Limits(40))
    for i in range(5):
        want = by_hand(x[i], y, group == own[i])
        assert (top[i] & 0xFFFFFFFF).tolist() == [r for _, r in want[:12]]
        best = {}
        for _, r in want:
            if stock[r]:
                best.setdefault(group[r], r)
        assert [r for r in lists.rows[i] if r >= 0] == list(best.values())[:40]


def test_ten_thousand_identical_vectors() -> None:
    """All scores tie, so the order is that of the ids; the proposals decide nothing and the search stays quick."""
    rng = np.random.default_rng(12)
    one = unit(rng.normal(size=(1, 128)))
    stock = rng.random(10_000) < 0.5
    group = rng.integers(0, 4000, 10_000)
    base = a_base(np.repeat(one, 10_000, axis=0), group, stock)
    queries = queries_of(np.repeat(one, 1500, axis=0), rng.integers(0, 4000, 1500))
    started = time.monotonic()
    found = neighbours(queries, base, 64, 65536)
    lists = finish(known(found, base), queries, shelf_of(base), Limits(24))
    assert time.monotonic() - started < 60
    tie = micro(queries.q[:1] @ base.scaled[:1].astype(np.float64).T)[0, 0]
    assert (found.score == tie).all()
    assert (found.horizon == tie).all()
    for i in range(0, 1500, 100):
        possible = np.flatnonzero(group != queries.group[i])
        assert found.rows[i].tolist() == possible[:64].tolist()
        able = possible[stock[possible]]
        _, first = np.unique(group[able], return_index=True)
        assert lists.rows[i].tolist() == able[np.sort(first)][:24].tolist()


def test_a_catalogue_of_identical_vectors_gets_lists_by_id(tmp_path: Path) -> None:
    n = 400
    one = unit(np.ones((1, 128)))[0]
    ids = [f"i{i:04d}" for i in range(n)]
    categories = ["tops", "bottoms"] * (n // 2)
    products = table(ids, categories, ["women"] * n, ids, [True] * n, [one] * n)
    ctx = context(tmp_path, k=5, depth=7)
    made = in_process(ctx, products, draw_weights())
    assert_equal(*made.tables, oracle(products, draw_weights(), ctx.taxonomy, ctx.taxonomy.categories, k=5, depth=7))


def test_ids_order_by_bytes_not_by_locale(tmp_path: Path) -> None:
    """Ties go by item_id as its UTF-8 bytes: upper case before lower, é behind z, an emoji last."""
    ids = ["é", "z", "a", "Z", "😀", "ﬀ", "10", "9"]
    vectors = [unit(np.ones((1, 128)))[0]] * (len(ids) + 1)
    products = table([*ids, "page"], ["bottoms"] * len(ids) + ["tops"], ["women"] * 9, [*ids, "page"], [1] * 9, vectors)
    rows = in_process(context(tmp_path, k=8), products, draw_weights()).table("candidates")
    of_page = rows.filter(pa.compute.equal(rows["item_id"], "page")).to_pylist()
    (found,) = [r["neighbour_ids"] for r in of_page if r["target_category"] == "bottoms"]
    assert found == sorted(ids, key=lambda s: s.encode())
