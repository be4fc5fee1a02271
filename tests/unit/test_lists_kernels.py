"""The compiled loops against plain numpy, bit for bit, and where their machine code is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from lists_world import ROOT, draw_weights, half_even, unit

from jobs.complements import kernels
from jobs.complements.score import Float32, Float64, Int32, Int64, micro, rescore, scaled_base, scaled_queries
from jobs.complements.search import Base, Engine, Queries, exact_top, neighbours, propose

W = draw_weights()("tops", "shoes")


def by_numpy(q: Float64, base: Float32, rows: Int64) -> tuple[Int32, Int32]:
    """What `rescore` gives, by the rule's own words: gather, product, round."""
    y = base[rows].astype(np.float64)
    parts = y * q[:, None, :]
    return micro(parts.sum(axis=2)), micro(parts[:, :, :96].sum(axis=2))


@pytest.mark.parametrize("m", [0, 1, 3, 4, 5, 80])
def test_scores_are_numpys_whatever_the_number_of_rows(m: int) -> None:
    rng = np.random.default_rng(m)
    q, base = scaled_queries(W, unit(rng.normal(size=(37, 128)))), scaled_base(unit(rng.normal(size=(500, 128))))
    rows = rng.integers(0, 500, (37, m))
    for got, want in zip(rescore(q, base, rows), by_numpy(q, base, rows), strict=True):
        assert got.dtype == np.int32
        assert np.array_equal(got, want)


def test_sums_as_large_as_the_contract_admits_are_exact() -> None:
    """Weights of 128 and norms of 1.5 in one dimension, the worst case of `score.MAX_WEIGHT`; odd sums."""
    q, base = np.zeros((1, 128)), np.zeros((3, 128), dtype=np.float32)
    q[0, :3] = 128 * 1.5 * 2**20 - 1, 3, 5
    base[0, 0], base[1, 1], base[2, :3] = 1.5 * 2**20 - 1, 2**20 - 1, (1.5 * 2**20 - 1, 1, 1)
    got, _ = rescore(q, base, np.array([[0, 1, 2]]))
    sums = [sum(int(a) * int(b) for a, b in zip(q[0], y, strict=True)) for y in base]
    assert got[0].tolist() == [half_even(Fraction(s * 10**6, 2**40)) for s in sums]


@pytest.mark.parametrize("sign", [1, -1])
def test_exact_halves_go_to_even_and_one_unit_beside_them_away(sign: int) -> None:
    """q·y' = 2^33 · odd is a half micro-unit (test_lists_score): in the compiled rounding as in numpy's."""
    odd = np.array([1, 3, 5, 2**7 + 1, 2**7 + 3])
    base = np.zeros((len(odd) * 3, 128), dtype=np.float32)
    base[:, 0] = np.repeat(odd * 2**13, 3)
    base[:, 1] = np.tile([-1, 0, 1], len(odd))
    q = np.zeros((1, 128))
    q[0, :2] = sign * 2**20, sign
    got, visual = rescore(q, base, np.arange(len(base))[None, :])
    sums = [sign * (o * 2**33 + d) for o in odd.tolist() for d in (-1, 0, 1)]
    assert got[0].tolist() == visual[0].tolist() == [half_even(Fraction(s * 10**6, 2**40)) for s in sums]


def test_rounding_near_halves_is_numpys() -> None:
    rng = np.random.default_rng(5)
    centres = (rng.integers(-(2**22), 2**22, 20_000) * 2 + 1) * 2**33 // 15625
    sums = (centres[:, None] + np.arange(-2, 3)).ravel().astype(np.float64)
    assert [kernels._micro(s) for s in sums] == micro(sums).tolist()


@pytest.mark.parametrize("row", [-1, 10])
def test_a_row_outside_the_base_is_refused_not_read(row: int) -> None:
    with pytest.raises(IndexError, match="not in the base"):
        rescore(np.zeros((1, 128)), np.zeros((10, 128), dtype=np.float32), np.array([[0, row]]))


# --- lists from proposals ---------------------------------------------------------------------------------------


def by_exact_search(queries: Queries, base: Base, depth: int) -> tuple[Int64, Int32]:
    """Rows and horizon with every target scored."""
    keys = exact_top(queries, base, depth + 1)
    none = keys == np.iinfo(np.int64).max
    rows = np.where(none, -1, keys & 0xFFFFFFFF)[:, :depth]
    return rows, np.where(none, -(2**31), -(keys >> 32))[:, depth].astype(np.int32)


@pytest.mark.parametrize("depth", [1, 2, 8, 64])
@pytest.mark.parametrize("targets", [1, 2, 9, 80, 81, 400])
@pytest.mark.parametrize("groups", [1, 5, 10**6])
def test_lists_from_proposals_are_those_of_all_targets(targets: int, depth: int, groups: int) -> None:
    """Fewer targets than asked for, just as many, more; own groups that hold nothing, a fifth, and all there is."""
    rng = np.random.default_rng(targets)
    y = unit(rng.normal(size=(4, 128))[rng.integers(0, 4, targets)] + 0.3 * rng.normal(size=(targets, 128)))
    base = Base.of(np.arange(targets), scaled_base(y), rng.integers(0, groups, targets), np.ones(targets, dtype=bool))
    x = unit(rng.normal(size=(30, 128)))
    queries = Queries(scaled_queries(W, x), rng.integers(0, groups, 30))
    got = neighbours(queries, base, depth, 10**6)
    rows, horizon = by_exact_search(queries, base, depth)
    assert np.array_equal(got.rows, rows)
    assert np.array_equal(got.horizon, horizon)
    there = rows >= 0
    score, visual = by_numpy(queries.q, base.scaled, np.maximum(rows, 0))
    assert np.array_equal(got.score, np.where(there, score, 0))
    assert np.array_equal(got.visual, np.where(there, visual, 0))


def test_proposals_beyond_the_line_are_not_scored_and_change_nothing() -> None:
    """The rows of the last proposals are put out of order: a list decided before them does not look at them."""
    rng = np.random.default_rng(3)
    base = Base.of(np.arange(900), scaled_base(unit(rng.normal(size=(900, 128)))), np.arange(900), np.ones(900, bool))
    q = scaled_queries(W, unit(rng.normal(size=(20, 128))))
    value, proposed = propose(q.astype(np.float32), base.scaled, 80, 10**6)

    def ranked(proposed: Int64) -> list[Int64]:
        out = [np.empty((20, 64), t) for t in (np.int64, np.int32, np.int32)] + [np.empty(20, np.int32)]
        decided = np.empty(20, np.bool_)
        kernels.rank(
            q, np.full(20, -1), base.scaled, base.group, value, proposed, np.full(20, 2.0**24), 64, *out, decided
        )
        assert decided.all()
        return out

    broken = proposed.copy()
    broken[:, 72:] = 0
    for a, b in zip(ranked(proposed), ranked(broken), strict=True):
        assert np.array_equal(a, b)


def test_proposals_out_of_order_are_refused() -> None:
    base = Base.of(np.arange(9), np.zeros((9, 128), dtype=np.float32), np.arange(9), np.ones(9, dtype=bool))
    value = np.array([[3, 2, 4]], dtype=np.float32)
    out = [np.empty((1, 2), t) for t in (np.int64, np.int32, np.int32)] + [np.empty(1, np.int32), np.empty(1, np.bool_)]
    with pytest.raises(ValueError, match="descend"):
        kernels.rank(np.zeros((1, 128)), np.full(1, -1), base.scaled, base.group, value,
                     np.arange(3)[None, :], np.zeros(1), 2, *out)  # fmt: skip


@pytest.mark.parametrize("engine", ["blas", "faiss"])
@pytest.mark.parametrize("block", [1, 7, 79, 80, 81, 250, 1000])
def test_proposals_over_blocks_are_the_largest_of_all_in_order(
    block: int, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.complements.search._PRODUCTS", block)
    rng = np.random.default_rng(4)
    q, base = rng.normal(size=(9, 128)).astype(np.float32), rng.normal(size=(250, 128)).astype(np.float32)
    value, rows = propose(q, base, 80, block, engine)
    assert (np.diff(value, axis=1) <= 0).all()
    want = np.sort(q @ base.T, axis=1)[:, ::-1][:, :80]
    assert np.allclose(value, want, rtol=1e-5)
    assert np.allclose(np.take_along_axis(q @ base.T, rows, axis=1), value, rtol=1e-4, atol=1e-4)
    assert all(len(set(r)) == 80 for r in rows.tolist())


@pytest.mark.parametrize("engine", ["blas", "faiss"])
@pytest.mark.parametrize("spread", [0.0, 1e-6, 1e-3, 1.0])
def test_who_multiplies_changes_no_list(engine: Engine, spread: float) -> None:
    """Down to vectors that are all the same, where every proposal ties."""
    rng = np.random.default_rng(9)
    y = unit(rng.normal(size=128) + spread * rng.normal(size=(2500, 128)))
    base = Base.of(np.arange(2500), scaled_base(y), np.arange(2500) // 2, np.ones(2500, dtype=bool))
    queries = Queries(scaled_queries(W, unit(rng.normal(size=(40, 128)))), rng.integers(0, 1250, 40))
    got = neighbours(queries, base, 64, 700, engine)
    rows, horizon = by_exact_search(queries, base, 64)
    assert np.array_equal(got.rows, rows)
    assert np.array_equal(got.horizon, horizon)


def kept(products: Float32, widths: list[int], m: int) -> tuple[Float32, Int64]:
    """The m largest of each row, shown in pieces of these widths."""
    n = len(products)
    keys, count = np.empty((n, 3 * m + kernels.SPARE_KEYS), dtype=np.int64), np.zeros(n, dtype=np.int64)
    line, at = np.full(n, -np.inf, dtype=np.float32), 0
    for width in widths:
        kernels.select(np.ascontiguousarray(products[:, at : at + width]), at, keys, count, line, m)
        at += width
    value, rows = np.empty((n, m), dtype=np.float32), np.empty((n, m), dtype=np.int64)
    kernels.front(keys, count, m)
    kernels.unpack(np.sort(keys[:, :m], axis=1), value, rows)
    return value, rows


@pytest.mark.parametrize("m", [1, 2, 80, 127, 128, 129, 300])
@pytest.mark.parametrize("widths", [[1024], [300, 1024, 128, 1], [1] * 400, [129, 127, 256, 500]])
@pytest.mark.parametrize("kind", ["any", "few", "negative", "rising", "falling", "zeros"])
def test_the_largest_are_kept_whatever_comes_when(m: int, widths: list[int], kind: str) -> None:
    total = sum(widths)
    if total < m:
        pytest.skip("fewer than asked for")
    rng = np.random.default_rng(m)
    products = rng.normal(size=(5, total)).astype(np.float32)
    products = {
        "any": products, "few": np.round(products), "negative": -np.abs(products) - 1, "rising": np.sort(products),
        "falling": np.sort(products)[:, ::-1], "zeros": np.where(products > 0, 0.0, -0.0),
    }[kind].astype(np.float32)  # fmt: skip
    value, rows = kept(products, widths, m)
    assert np.array_equal(value, -np.sort(-products, axis=1)[:, :m])
    assert np.array_equal(np.take_along_axis(products, rows, axis=1), value)
    assert all(len(set(r)) == m for r in rows.tolist())


def test_products_that_are_no_numbers_are_refused() -> None:
    products = np.full((1, 200), np.nan, dtype=np.float32)
    with pytest.raises(ValueError, match="not a number"):
        kept(products, [200], 5)


# --- machine code is kept -----------------------------------------------------------------------------------------

_SCORE = (
    "import numpy as np; from jobs.complements.score import rescore; from jobs.complements import kernels;"
    "rescore(np.ones((1, 128)), np.ones((1, 128), np.float32), np.zeros((1, 1), np.int64));"
    "s = kernels.rescore.stats; print(kernels.rescore._cache.cache_path, sum(s.cache_hits.values()))"
)


@pytest.fixture
def installed(tmp_path: Path) -> Callable[..., tuple[str, int]]:
    """Scores something in a process that runs a copy of the code; gives where its machine code is, and hits."""
    tree = tmp_path / "site"
    for package in ("jobs", "schemas"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__", "teacher", "*.js"))

    def run(**env: str) -> tuple[str, int]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA", "XDG"))}
        done = subprocess.run(
            [sys.executable, "-B", "-c", _SCORE],
            cwd=tree, env=kept | {"PYTHONPATH": str(tree)} | env, capture_output=True, text=True, check=True,
        )  # fmt: skip
        where, hits = done.stdout.split()
        return where, int(hits)

    return run


def test_the_second_process_compiles_nothing(installed: Callable[..., tuple[str, int]], tmp_path: Path) -> None:
    where, hits = installed()
    assert (Path(where), hits) == (tmp_path / "site/jobs/complements/__pycache__", 0)
    assert installed()[1] == 1


def test_a_tree_nobody_may_write_to_keeps_it_in_the_users_cache_or_the_temporary_folder(
    installed: Callable[..., tuple[str, int]], tmp_path: Path
) -> None:
    """A file stands where the folder would be made, which stops root as well."""
    (tmp_path / "site/jobs/complements/__pycache__").write_text("")
    where, _ = installed(HOME=str(tmp_path / "home"))
    assert Path(where).is_relative_to(tmp_path / "home")
    (tmp_path / "file").write_text("")
    (tmp_path / "tmp").mkdir()
    nowhere = {"HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path / "tmp")}
    private = tmp_path / "tmp" / f"medal-numba-{os.getuid()}"
    where, hits = installed(**nowhere)
    assert Path(where).is_relative_to(private)
    assert private.stat().st_mode & 0o077 == 0
    assert hits == 0
    assert installed(**nowhere)[1] == 1


def test_a_folder_others_may_write_to_is_not_run_from(
    installed: Callable[..., tuple[str, int]], tmp_path: Path
) -> None:
    (tmp_path / "site/jobs/complements/__pycache__").write_text("")
    (tmp_path / "file").write_text("")
    open_ = tmp_path / "tmp" / f"medal-numba-{os.getuid()}"
    open_.mkdir(parents=True)
    open_.chmod(0o777)
    where, _ = installed(HOME=str(tmp_path / "file"), TMPDIR=str(tmp_path / "tmp"))
    assert not Path(where).is_relative_to(open_)
