"""Recall of approximate proposals: measured against plain sorting of all possible targets, and gated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import clean_night as f
import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.errors import GateBlocked
from jobs.lake import Lake
from jobs.quality import job
from jobs.quality.recall import EXACT, exact_frame, overall, recall_frame
from jobs.runs import StageResult
from jobs.stage import run_stage
from schemas.tables import CANDIDATES

Rows = list[dict[str, Any]]
MADE = f.products()
DEPTH = 8


def candidates(made: Rows) -> Rows:
    """Neighbours by the plain rule: all possible targets sorted, sold-out ones too, the page's group left out."""
    rows = []
    for x in made:
        for target in f.TAXONOMY.targets[x["category"]] if x["vector"] is not None else ():
            pool = [y for y in made if y["category"] == target and f._possible(x, {**y, "in_stock": True})
                    and y["group_id"] != x["group_id"]]  # fmt: skip
            best = sorted((f._scored(x, y) for y in pool), key=lambda e: (-e["score"], e["item_id"]))[:DEPTH]
            rows.append(
                {
                    "item_id": x["item_id"], "source_category": x["category"], "target_category": target,
                    "model_version": "m-1", "neighbour_ids": [e["item_id"] for e in best],
                    "scores": [e["score"] for e in best], "visuals": [e["visual"] for e in best],
                    "horizon": -(2**31), "written": 0, "removed": False,
                }
            )  # fmt: skip
    return rows


BEST = candidates(MADE)


def measured(change: Callable[[list[str]], list[str]], pages: int = 1000, made: Rows = MADE, seed: str = "d") -> Any:
    rows = [{**r, "neighbour_ids": change(r["neighbour_ids"])} for r in BEST]

    def neighbours(category: str, ids: list[str]) -> pa.Table:
        own = [r for r in rows if r["source_category"] == category and r["item_id"] in ids]
        names = ("item_id", "target_category", "neighbour_ids")
        return pa.Table.from_pylist([{n: r[n] for n in names} for r in own], pa.schema(
            [("item_id", pa.string()), ("target_category", pa.string()), ("neighbour_ids", pa.list_(pa.string()))]
        ))  # fmt: skip

    return recall_frame(
        f.active(made), neighbours, categories=f.CATEGORIES, taxonomy=f.TAXONOMY, weights=f.weights, k=f.K,
        pages=pages, seed=seed,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "at_k"),
    [
        (lambda ids: ids, 3),
        (lambda ids: ids[:3], 3),
        (lambda ids: ids[1:], 2),
        (lambda ids: [*ids[2:3], *ids[:1], *ids[5:]], 2),
        (lambda ids: ids[3:6], 0),
        (lambda ids: ids[:1] * 3, 1),  # the same one three times is one
        (lambda ids: ["nobody", *ids[:3]], 2),  # only the first k are the proposals
        (lambda ids: [], 0),
        (lambda ids: ["underwear-990", "tops-991", *ids], 1),
    ],
)
def test_recall_is_the_share_of_the_best_k_that_is_listed(change: Any, at_k: int) -> None:
    frame = measured(change)
    recall, lowest, lists = overall(frame)
    best = [r["neighbour_ids"] for r in BEST if r["neighbour_ids"]]
    assert lists == int(frame.data["lists"].sum()) == len(best)
    assert int(frame.data["expected"].sum()) == sum(min(3, len(b)) for b in best)
    listed = [list(dict.fromkeys(change(b)))[: min(3, len(b))] for b in best]
    assert int(frame.data["found"].sum()) == sum(len({*ids} & {*b[:3]}) for ids, b in zip(listed, best, strict=True))
    assert recall == pytest.approx(at_k / 3, abs=0.05)
    assert lowest <= recall
    assert set(frame.data["category"]) == set(f.CATEGORIES)


def test_a_list_of_another_department_or_category_counts_for_nothing() -> None:
    girls = [r["item_id"] for r in MADE if r["department"] == "girls"]
    women = next(r for r in BEST if r["item_id"] == "tops-001" and r["target_category"] == "shoes")
    assert not set(women["neighbour_ids"]) & set(girls), "departments do not part them: the test shows nothing"
    shoes = [i for i in girls if i.startswith("shoes")][:3]
    of_women = measured(lambda ids: ids if set(ids) & set(girls) else shoes).data
    assert 0 < of_women["recall"].max() < 1


def test_ties_at_the_end_of_a_list_stand_for_each_other() -> None:
    """Three shoes with one vector: whichever of them the index found, nothing better was missed."""
    made = [dict(p) for p in MADE]
    for p in made:
        if p["category"] == "shoes":
            p["vector"] = MADE[0]["vector"]
    shoes = [p["item_id"] for p in made if p["category"] == "shoes" and p["department"] == "women"]
    frame = measured(lambda ids: shoes[-5:] if ids and ids[0].startswith("shoes") else ids, made=made)
    women = frame.data.set_index("category")["recall"]["shoes"]
    assert women > 0.6  # the girls' pages alone miss theirs, and pages whose own group is among the five


def test_one_category_that_is_searched_badly_shows() -> None:
    frame = measured(lambda ids: ids[2:] if ids and ids[0].startswith("bottoms") else ids)
    assert frame.data.set_index("category")["recall"].to_dict() == {
        "tops": 1.0, "bottoms": pytest.approx(1 / 3), "shoes": 1.0,
    }  # fmt: skip
    assert overall(frame)[1] == pytest.approx(1 / 3)
    assert frame.examples["recall"][0] == "bottoms 0.333"


def test_the_sample_is_the_seeds_whatever_the_order_of_rows() -> None:
    one = measured(lambda ids: ids[1:], pages=7)
    other = measured(lambda ids: ids[1:], pages=7, made=MADE[::-1])
    assert one.data.equals(other.data)
    assert int(one.data["lists"].sum()) < 7 * len(f.CATEGORIES)
    counts = {tuple(measured(lambda ids: ids, pages=7, seed=s).data["lists"]) for s in "abcdef"}
    assert len(counts) > 1


def test_nothing_to_measure_is_the_worst_figure() -> None:
    nobody = [{**p, "vector": None} for p in MADE]
    assert overall(measured(lambda ids: ids, made=nobody)) == (0.0, 0.0, 0)


def test_an_exact_night_says_that_it_was_exact() -> None:
    assert exact_frame().data.to_dict("records") == [
        {"category": EXACT, "lists": 0, "expected": 0, "found": 0, "recall": 1.0}
    ]


# --- in the stage -----------------------------------------------------------------------------------------------


def night(root: Path, monkeypatch: pytest.MonkeyPatch, keep: slice, approximate: int) -> tuple[Any, Lake]:
    header = SimpleNamespace(model_version="m-1", weights=f.weights)
    monkeypatch.setattr(job, "read_header", lambda path: header)
    settings, lake, manifest = f.write_night(root, MADE, f.lists(MADE), with_lists=False)
    rows = [{n: r[n][keep] if isinstance(r[n], list) else r[n] for n in CANDIDATES.schema.names} for r in BEST]
    write_deltalake(lake.uri("candidates"), pa.Table.from_pylist(rows, CANDIDATES.schema))
    counts = {"filled": 3, "approximate": approximate}
    made_by = StageResult("complements", "done", writes={"complements": 0, "candidates": 0}, counts=counts)
    lake.save_manifest(replace(manifest, stages={**manifest.stages, "complements": made_by}))
    return settings, lake


def metrics(lake: Lake) -> dict[str, float]:
    rows = lake.read("run_metrics", lake.version("run_metrics")).to_pylist()
    return {r["metric"]: r["value"] for r in rows if r["stage"] == "check"}


def test_recall_of_an_approximate_night_stands_in_run_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, lake = night(tmp_path, monkeypatch, slice(None), 1)
    result = run_stage("check", job.run, settings, f.RUN_ID)
    got = metrics(lake)
    assert (got["recall"], got["recall_lowest"]) == (1.0, 1.0)
    assert got["recall_lists"] == len([r for r in BEST if r["neighbour_ids"]])
    assert "recall 1.000 of approximate search on" in result.note


def test_an_exact_night_passes_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stands in candidates: exact search is checked by other means, and costs the gate nothing here."""
    settings, lake = night(tmp_path, monkeypatch, slice(0, 0), 0)
    result = run_stage("check", job.run, settings, f.RUN_ID)
    assert "exact search, so no recall to measure" in result.note
    assert "recall" not in metrics(lake)


def test_low_recall_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, lake = night(tmp_path, monkeypatch, slice(1, None), 1)
    with pytest.raises(GateBlocked, match=r"1 check failed: complements.recall \(0.6"):
        run_stage("check", job.run, settings, f.RUN_ID)
    (row,) = [r for r in lake.read("quality_results", 0).to_pylist() if r["check"] == "recall"]
    assert row["expected"] == "recall ≥ 0.95"
    assert "raise lists.effort" in row["message"]
    assert "0.667" in row["message"]
    assert np.isclose(float(row["observed"]), 2 / 3, atol=1e-3)
