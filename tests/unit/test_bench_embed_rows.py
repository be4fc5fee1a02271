"""`rows_per_s_written`, and that finding a commit again does not take the whole history."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.bench.embed_rows import RowsOrder, measure
from jobs.embed.draw import Todo
from jobs.embed.rows import row_of, table_of
from jobs.lake import Lake
from jobs.runs import RunId


@pytest.mark.parametrize(("rows", "slice_size", "commits"), [(100, 40, 3), (80, 40, 2), (10, 40, 1)])
def test_every_row_is_committed_and_the_parts_add_up(tmp_path: Path, rows: int, slice_size: int, commits: int) -> None:
    result = measure(RowsOrder(rows, slice_size, work=tmp_path), lambda line: None)
    assert json.loads(json.dumps(result)) == result
    written = result["written"]
    assert (written["rows"], written["commits"]) == (rows, commits)
    spent = written["row_s"] + written["table_s"] + written["append_s"]
    assert rows / result["rows_per_s_written"] == pytest.approx(spent, rel=0.01)
    assert result["write_ratio_to_parquet"] * written["plain_s"] == pytest.approx(spent, rel=0.05)
    assert list(tmp_path.iterdir()) == [], "its files are gone"


def _rows(number: int) -> list[dict[str, object]]:
    return [row_of(Todo(f"p{number}", "a.jpg", "s"), f"{number:064x}", [0.5, 1e-8, -0.1], "m", "2026-01-01-all-g1")]


def test_a_commit_is_found_past_many_that_other_tools_made_and_part_by_part(tmp_path: Path) -> None:
    from deltalake import write_deltalake

    lake, run = Lake(str(tmp_path)), RunId.parse("2026-01-01-all-g1")
    assert lake.append("embeddings", table_of(_rows(0)), run, part=1, model_version="m") == 0
    for n in range(1, 12):  # more than are looked through first
        write_deltalake(lake.uri("embeddings"), table_of(_rows(n)), mode="append")
    assert lake.append("embeddings", table_of(_rows(90)), run, part=2, model_version="m") == 12
    assert lake.append("embeddings", table_of(_rows(91)), run, part=1, model_version="m") == 0, "written already"
    assert lake.append("embeddings", table_of(_rows(91)), run, part=2, model_version="m") == 12
    assert lake.append("embeddings", table_of(_rows(92)), run, part=3, model_version="m") == 13
    assert [c.part for c in lake.commits("embeddings", run_id=str(run))] == [3, 2, 1]
    ids = lake.read("embeddings", 13, columns=["item_id"])["item_id"].to_pylist()
    assert sorted(ids) == sorted(f"p{n}" for n in [*range(12), 90, 92])
