"""Who is new: from the night that gave a product its first vector, by the rows of `embeddings` alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from lists_world import MODEL, draw_products, draw_weights, in_process
from lists_world import context as planned

from jobs.embed.newcomers import exploring, first_vectors, with_new
from jobs.lake import NO_TABLE, Lake
from jobs.runs import RunId
from schemas.tables import EMBEDDINGS

OTHER = "drawn-ffffffffffff"


def embed(lake: Lake, run_id: str, items: Iterable[str], model: str = MODEL, photo: str = "a") -> int:
    vector = [1.0] + [0.0] * 127
    rows = [
        {"item_id": i, "image_fingerprint": photo, "source_fingerprint": photo, "model_version": model,
         "vector": vector, "run_id": run_id} for i in items
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=EMBEDDINGS.schema)
    return lake.append("embeddings", table, RunId.parse(run_id), model_version=model)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Five nights: a from the first, b and c later, a photographed again, all again by another model, d in a subset."""
    made = Lake(str(tmp_path))
    embed(made, "2026-03-01-all-g1", "a")
    embed(made, "2026-03-10-all-g1", "bx")
    embed(made, "2026-03-10-all-g2", "c")
    embed(made, "2026-03-12-all-g1", "a", photo="b")
    embed(made, "2026-03-20-all-g1", "abc", model=OTHER)
    embed(made, "2026-03-22-0a0b0c0d-g1", "d")
    return made


def test_the_first_vector_counts_whatever_photo_and_model(lake: Lake) -> None:
    got = first_vectors(lake, lake.version("embeddings"))
    assert dict(zip(got["item_id"].to_pylist(), got["date"].to_pylist(), strict=True)) == {
        "a": "2026-03-01", "b": "2026-03-10", "x": "2026-03-10", "c": "2026-03-10", "d": "2026-03-22",
    }  # fmt: skip
    assert first_vectors(lake, 0)["item_id"].to_pylist() == ["a"], "a version, not what is newest"
    assert len(first_vectors(lake, NO_TABLE)) == 0


@pytest.mark.parametrize(
    ("run_date", "days", "new"),
    [
        ("2026-03-22", 14, "bcd"),
        ("2026-03-24", 14, "bcd"),  # the 14th day counts
        ("2026-03-25", 14, "d"),
        ("2026-03-22", 1, "d"),
        ("2026-03-23", 1, "d"),
        ("2026-03-24", 1, ""),
        ("2026-03-10", 14, "bc"),  # d was seen later: a date made up for knows nothing of its age
        ("2026-03-02", 14, ""),  # a is from the first night: nobody knows how long the shop had it
        ("2026-04-30", 365, "bcd"),
    ],
)
def test_who_is_new(lake: Lake, run_date: str, days: int, new: str) -> None:
    products = pa.table({"item_id": list("abcdz")})  # z has no vector yet, x left the catalogue
    got = with_new(products, lake, lake.version("embeddings"), run_date, days)
    assert [i for i, n in zip("abcdz", got["new"].to_pylist(), strict=True) if n] == list(new)
    assert got["new"].null_count == 0


def test_without_vectors_nothing_is_new(tmp_path: Path) -> None:
    got = with_new(pa.table({"item_id": ["a"]}), Lake(str(tmp_path)), NO_TABLE, "2026-03-01", 14)
    assert got["new"].to_pylist() == [False]


def test_off_reads_nothing_and_on_reads_the_runs_version(tmp_path: Path) -> None:
    lake, products = Lake(str(tmp_path)), pa.table({"item_id": ["a", "b"]})
    embed(lake, "2026-02-01-all-g1", "a")
    off = planned(tmp_path)
    assert exploring(off, products) is products
    on = planned(tmp_path, explore=0.1)
    on.manifest.plan.versions["embeddings"] = embed(lake, "2026-03-01-all-g1", "b")  # type: ignore[index]
    embed(lake, "2026-01-01-all-g1", "c")  # a later commit: the first night would be another one
    assert exploring(on, products)["new"].to_pylist() == [False, True]


def test_lists_hold_new_products_of_any_score(tmp_path: Path) -> None:
    """Drawn are those that a search would not have listed: below every horizon."""
    products = draw_products(900, 3, ties=0)
    new = np.random.default_rng(0).random(900) < 0.1
    products = products.append_column("new", pa.array(new))
    plain, drawn = (
        in_process(planned(tmp_path / str(x), k=4, depth=4, explore=x), products, draw_weights()).tables
        for x in (0.0, 0.3)
    )
    assert plain[0] == drawn[0], "candidates know nothing of it"
    listed = {(r["item_id"], r["target_category"]): [i["item_id"] for i in r["items"]] for r in plain[1].to_pylist()}
    horizon = {(r["item_id"], r["target_category"]): r["horizon"] for r in drawn[0].to_pylist()}
    below = above = 0
    for r in drawn[1].to_pylist():
        key = r["item_id"], r["target_category"]
        kept = [i["item_id"] for i in r["items"] if i["reason"] == "model"]
        lots = {i["item_id"] for i in r["items"] if i["reason"] == "explore"}
        others = [i for i in listed[key] if i not in lots]
        assert kept[: len(others)] == others[: len(kept)]
        for i in r["items"]:
            if i["reason"] == "explore":
                below, above = below + (i["score"] <= horizon[key]), above + (i["score"] > horizon[key])
    assert below > above
    assert below + above > 500
