"""What `medal bench lists` compares is the same work, and its oracle is one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from lists_world import ROOT, draw_products, draw_weights, oracle

from jobs.bench.lists import MARKER, Request, _Bench, _oracle, _places, measure, night_of
from jobs.bench.lists_floor import Order, floor
from jobs.bench.lists_memory import Order as MemoryOrder
from jobs.bench.lists_memory import measure as measure_memory
from jobs.bench.lists_oracle import differences
from jobs.bench.lists_peer import World
from jobs.bench.lists_peer import measure as measure_peer
from jobs.bench.memory import watched
from jobs.cli import run
from jobs.errors import SettingsError
from jobs.sample.vectors import VectorShop
from jobs.settings import Settings
from medal_model.export import read_header
from schemas.tables import CANDIDATES, COMPLEMENTS
from schemas.taxonomy import load_taxonomy

TEACHER = ROOT / "jobs" / "sample" / "teacher"


def request(work: Path, **change: Any) -> Request:
    return replace(Request(400, 7, TEACHER, work, (), False, (), Path("no-python"), 50, 1), **change)


def bench(tmp_path: Path, **change: Any) -> _Bench:
    return _Bench(request(tmp_path / "work", **change), Settings(), lambda line: None)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[_Bench, str]:
    made = bench(tmp_path_factory.mktemp("bench"))
    return made, made.planned(made.shop)


# --- the oracle ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_the_oracle_answers_as_plain_loops_over_python_integers_do(seed: int) -> None:
    products = draw_products(300, seed, ties=0.3)
    products = products.filter(products["vector"].is_valid()).sort_by("item_id").combine_chunks()
    taxonomy, weights = load_taxonomy(), draw_weights(seed)
    want = oracle(products, weights, taxonomy, taxonomy.categories, k=5, depth=7)
    ours, where = _oracle(products, taxonomy, 7, 5), _places(products)
    seen = 0
    for row, item in enumerate(products["item_id"].to_pylist()):
        source, at = where[row]
        for target in taxonomy.targets[source]:
            got, e = ours.answer(source, at, target, weights(source, target)), want[item, target]
            assert (got.neighbours, got.horizon, got.items) == (e.neighbours, e.horizon, e.items)
            seen += 1
    assert seen == len(want)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"scores": [9, 7]}, ["neighbours"]),
        ({"neighbour_ids": ["b", "a"]}, ["neighbours"]),
        ({"horizon": 6}, ["horizon"]),
        ({"items": []}, ["items"]),
        ({"size": 2}, ["items"]),
        ({"items": [{"item_id": "a", "score": 9, "visual": 4, "colour": 4}]}, ["colour"]),
    ],
)
def test_a_difference_is_told_by_what_differs(change: dict[str, Any], told: list[str]) -> None:
    from jobs.bench.lists_oracle import Answer

    answer = Answer([("a", 9, 4), ("b", 8, 3)], 5, [("a", 9, 4)])
    row = {
        "neighbour_ids": ["a", "b"], "scores": [9, 8], "visuals": [4, 3], "horizon": 5, "size": 1,
        "items": [{"item_id": "a", "score": 9, "visual": 4, "colour": 5}], **change,
    }  # fmt: skip
    assert differences(answer, row, row) == told


# --- the floor ----------------------------------------------------------------------------------------------------


def test_the_floor_makes_the_lists_of_the_oracle_with_all_columns(
    planned: tuple[_Bench, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.bench import lists_floor

    made, run_id = planned
    out = tmp_path / "floor.parquet"
    took = floor(Order(made.lake.root, run_id, str(out), 5, 9, True))
    rows = pq.read_table(out)
    assert set(rows.column_names) == {*CANDIDATES.schema.names, *COMPLEMENTS.schema.names}
    products = lists_floor.products_of(made.lake, made.lake.manifest(run_id))
    want = oracle(
        products, read_header(TEACHER).weights, made.taxonomy, made.taxonomy.categories, k=5, depth=9
    )  # fmt: skip
    found = {(r["item_id"], r["target_category"]): r for r in rows.to_pylist()}
    assert set(found) == set(want)
    for key, e in want.items():
        r = found[key]
        assert list(zip(r["neighbour_ids"], r["scores"], r["visuals"], strict=True)) == e.neighbours
        assert (r["horizon"], r["slot"], r["feasible"]) == (e.horizon, e.slot, e.feasible)
        assert [(i["item_id"], i["score"], i["visual"]) for i in r["items"]] == e.items
    assert took.lists == len(want)
    assert took.entries == sum(len(e.items) for e in want.values())
    assert took.bare_search_s is not None
    assert min(took.search_s, took.rescore_s, took.finish_s, took.write_s) > 0


def test_the_floor_runs_as_a_process_of_its_own(planned: tuple[_Bench, str], tmp_path: Path) -> None:
    made, run_id = planned
    order = Order(made.lake.root, run_id, str(tmp_path / "x.parquet"), 5, 9, False, (made.lake.root, run_id))
    (tmp_path / "order.json").write_text(json.dumps(asdict(order)))
    command = [sys.executable, "-m", "jobs.bench.lists_floor", str(tmp_path / "order.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout.splitlines()[-1])["lists"] > 3000


# --- peers --------------------------------------------------------------------------------------------------------


def test_peers_get_the_same_question(planned: tuple[_Bench, str], tmp_path: Path) -> None:
    """An exact index finds every neighbour of the sampled lists: pages, possible targets and queries are the job's."""
    made, run_id = planned
    from jobs.bench import lists_floor

    out = tmp_path / "floor.parquet"
    floor(Order(made.lake.root, run_id, str(out), 24, 64, False))
    rows = {(r["item_id"], r["target_category"]): r for r in pq.read_table(out).to_pylist()}
    products = lists_floor.products_of(made.lake, made.lake.manifest(run_id))
    sample = made.sampled(run_id)
    assert len(set(sample)) == 50
    made.__dict__["rows_of"] = lambda *_: {k: (r, r) for k, r in rows.items()}
    made.peer_inputs(tmp_path / "peers", run_id, sample)
    world = World(str(tmp_path / "peers"))
    assert len(world.vectors) == len(products) == 400

    def exact(vectors: Any) -> Any:
        return lambda q, k, effort: np.argsort(-(q @ vectors.T), axis=1)[:, : k if effort > 1 else k // 2]

    got = measure_peer(world, exact, [1, 2, 3], "exact")
    assert got["recall"] > 0.999
    assert got["effort"] == 2, "effort grows until enough is found, and no further"
    with_targets = sum(len(world.pages(target, department)) for target, department, _ in world.bases())
    assert with_targets == sum(bool(r["neighbour_ids"]) for r in rows.values())


def test_a_peer_that_is_not_there_is_skipped_with_the_reason(planned: tuple[_Bench, str], tmp_path: Path) -> None:
    made, run_id = planned
    (made.request.work / "peers").mkdir(exist_ok=True)
    (made.request.work / "peers" / "sample.npz").touch()
    assert made.peer("hnswlib", run_id, []) == {"skipped": "no-python is not there; `make peers` installs hnswlib"}
    broken = replace(made.request, peer_python=Path(sys.executable))
    made.request, kept = broken, made.request
    told = made.peer("autofaiss", run_id, [])["skipped"]
    made.request = kept
    assert "autofaiss" in told or "npz" in told


# --- memory, options ----------------------------------------------------------------------------------------------


def test_memory_of_processes_that_were_started_is_seen() -> None:
    hold = "import time; a = bytearray(300 << 20); a[::4096] = b'x' * len(a[::4096]); time.sleep(2)"
    with watched() as peak:
        subprocess.run([sys.executable, "-c", hold], check=True)
    assert peak.worker > 280
    assert peak.together > peak.worker


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine.txt").write_text("keep")
    with pytest.raises(SettingsError, match="not empty"):
        bench(tmp_path)
    assert (tmp_path / "work" / "mine.txt").read_text() == "keep"
    (tmp_path / "work" / MARKER).write_text("{}")
    bench(tmp_path)
    assert [p.name for p in (tmp_path / "work").iterdir()] == [MARKER]


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--peers", "annoy"], "annoy unknown"), (["--shares", "a"], "numbers"), (["--shares", "0"], "above 0")],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_done(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", "lists", *options]) == 2
    assert told in capsys.readouterr().err


# --- all of it ----------------------------------------------------------------------------------------------------


@pytest.mark.spark
@pytest.mark.slow
def test_the_whole_bench_on_a_small_shop(tmp_path: Path) -> None:
    asked = request(tmp_path / "work", items=1500, oracle=300, shares=(0.02,), sale=True, nights=2)
    got = measure(asked, Settings(), lambda line: None)
    assert got["oracle"] == {"lists": 300, "wrong": 0}
    assert got["floor"]["pairs"] == got["job"]["pairs"] == got["pairs"]
    in_a_row = got["incremental"].pop("in_a_row")
    assert (in_a_row["nights"], in_a_row["incremental"], in_a_row["identical"]) == (2, 2, True)
    assert {n: (v["identical"], v["mode"]) for n, v in got["incremental"].items()} == {
        "0.02": (True, "incremental"),
        "usual": (True, "incremental"),
        "sale": (True, "incremental"),
    }
    assert got["incremental"]["sale"]["pairs_ratio"] < 0.01


def test_nights_of_a_share_bring_as_many_new_products() -> None:
    shop = VectorShop(2000, 7, 0.75, (night_of(0.1),))
    assert shop.born == (2000, 2200)


def test_memory_of_a_worker_with_one_large_category(tmp_path: Path) -> None:
    order = MemoryOrder(str(tmp_path / "work"), 1200, 300, "jobs/sample/teacher", 6, 12, 256, 100)
    got = measure_memory(order, 7, lambda line: None)
    assert got["rows"] == 2 * 1200, "a row of each table for every page"
    assert got["tasks"] >= 1200 / 256
    assert 0 < got["pairs"] < 1200 * 300
    assert got["peak_rss_mib"] > 50
    assert not (tmp_path / "work").exists()
