"""On real photos: candidates and lists are the brute-force oracle of the exact rule, ids and scores.

2,000 products of ../shared/data/fashion (shared, not in the repository), embedded by the committed sample teacher.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from lists_world import Vectors, assert_equal, context, in_process, oracle, ordered, table

from medal_model.export import TeacherHeader
from schemas.taxonomy import Taxonomy, load_taxonomy

FASHION = Path(__file__).resolve().parents[3] / "shared" / "data" / "fashion"
PRODUCTS, K, DEPTH = 2000, 24, 64
pytestmark = [pytest.mark.real_data, pytest.mark.timeout(900)]  # embeds 2,000 photos the first time


@dataclass(frozen=True)
class Real:
    products: pa.Table
    header: TeacherHeader


@pytest.fixture(scope="module")
def real(teacher_dir: Path, pytestconfig: pytest.Config) -> Real:
    if not (FASHION / "catalog.csv").is_file():
        pytest.skip(f"{FASHION} is not on this machine")
    from medal_model.export import read_header

    header, taxonomy = read_header(teacher_dir), load_taxonomy()
    rows = list(eligible(taxonomy))
    rng = np.random.default_rng(2000)
    chosen = [rows[i] for i in np.sort(rng.permutation(len(rows))[:PRODUCTS])]
    # Embedding takes most of this test; vectors of one teacher do not change.
    kept = Path(pytestconfig.cache.mkdir("lists")) / f"{header.model_version}-{PRODUCTS}.npy"  # type: ignore[union-attr]
    if not kept.exists():
        np.save(kept, embedded(teacher_dir, [r["image"] for r in chosen]))
    vectors = np.load(kept)
    # Variants of one product share the part of the id before the dash (source mango).
    groups = [r["item_id"].partition("-")[0] if r["source"] == "mango" else r["item_id"] for r in chosen]
    columns = ([r[c] for r in chosen] for c in ("item_id", "category", "department"))
    return Real(table(*columns, groups, rng.random(len(chosen)) < 0.85, list(vectors)), header)


def eligible(taxonomy: Taxonomy) -> Iterator[dict[str, str]]:
    with (FASHION / "catalog.csv").open(encoding="utf-8", newline="") as f:
        for row in csv.DictReader(f):
            try:
                category = taxonomy.category(row["category"], row["product_type"])
            except KeyError:
                continue  # refused by name
            yield {**row, "category": category, "department": taxonomy.department(row["department"])}


def embedded(teacher_dir: Path, images: list[str]) -> Vectors:
    import torch

    from medal_model.teacher import load_teacher

    teacher = load_teacher(teacher_dir)
    out = []
    with ThreadPoolExecutor(2) as pool:
        pixels = pool.map(lambda name: teacher.preprocess((FASHION / name).read_bytes()), images)
        batch: list[torch.Tensor] = []
        for n, image in enumerate(pixels, 1):
            batch.append(image)
            if len(batch) == 32 or n == len(images):
                out.append(teacher.embed(torch.stack(batch)).numpy())
                batch = []
    return np.concatenate(out)


def test_all_category_pairs_of_real_products_are_the_oracle(real: Real, tmp_path: Path) -> None:
    ctx = context(tmp_path / "a", k=K, depth=DEPTH)
    assert len(set(real.products["category"].to_pylist())) >= 11
    made = in_process(ctx, real.products, real.header.weights)
    want = oracle(real.products, real.header.weights, ctx.taxonomy, ctx.taxonomy.categories, k=K, depth=DEPTH)
    assert {(r["source_category"], r["target_category"]) for r in made.table("complements").to_pylist()} == {
        (s, t) for s, t in ctx.taxonomy.pairs() if s in set(real.products["category"].to_pylist())
    }
    assert_equal(*made.tables, want)
    cut = context(tmp_path / "b", k=K, depth=DEPTH, query_block=50, base_block=33, partitions=4)
    other = in_process(cut, real.products, real.header.weights, threads=2)
    assert [ordered(t) for t in made.tables] == [ordered(t) for t in other.tables]
