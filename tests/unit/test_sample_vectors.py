"""Vectors for load: what they are like, that any slice can be made by itself, and that a night plans as any other."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lists_world import ROOT, FreeLease

from jobs.errors import DataError, SettingsError
from jobs.lake import Lake
from jobs.sample.vector_lake import teacher_of, write_vectors
from jobs.sample.vectors import CATEGORIES, DEPARTMENTS, Night, Slice, VectorShop

TEACHER = ROOT / "jobs" / "sample" / "teacher"
SHOP = VectorShop(6000, 7, 0.75)
BUSY = Night(new=0.05, gone=0.04, back=0.3, repriced=0.3, sold_out=0.1, restocked=0.3, reshot=0.03)


def all_of(shop: VectorShop, size: int = 8192) -> Slice:
    return joined(list(shop.slices(size)))


def joined(slices: list[Slice]) -> Slice:
    return Slice(*(np.concatenate([getattr(s, f) for s in slices]) for f in Slice.__dataclass_fields__))


def same(a: Slice, b: Slice) -> bool:
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in Slice.__dataclass_fields__)


def test_the_size_of_slices_decides_nothing() -> None:
    shop = replace(SHOP, nights=(BUSY, BUSY))
    assert same(all_of(shop, 64), all_of(shop, 8192))
    assert same(joined(list(shop.photographed(2, 104))), joined(list(shop.photographed(2))))


def test_another_seed_is_another_shop() -> None:
    assert not np.array_equal(all_of(SHOP).vector, all_of(replace(SHOP, seed=8)).vector)


def test_vectors_are_unit_and_split_by_rho() -> None:
    z = all_of(SHOP).vector.astype(np.float64)
    assert np.allclose(np.linalg.norm(z, axis=1), 1, atol=1e-6)
    assert np.allclose(np.linalg.norm(z[:, :96], axis=1), np.sqrt(0.75), atol=1e-6)


def test_sizes_are_a_shops() -> None:
    made = all_of(SHOP)
    by_category = np.bincount(made.category, minlength=len(CATEGORIES)) / len(made)
    assert np.allclose(by_category, list(CATEGORIES.values()), atol=0.02)
    departments = np.bincount(made.department, minlength=len(DEPARTMENTS)) / len(made)
    assert np.all(departments > 0.02)
    assert np.mean(made.availability == 1) == pytest.approx(0.05, abs=0.01)
    members = np.unique(made.group, return_counts=True)[1]
    assert members.max() <= 8
    assert 1.5 < members.mean() < 2.0
    assert made.price.min() >= 1


def test_variants_are_near_designs_are_not_and_styles_cross_categories() -> None:
    made = all_of(SHOP)
    v = made.vector[:, :96].astype(np.float64)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    order = np.argsort(made.group, kind="stable")
    pairs = [(a, b) for a, b in pairwise(order) if made.group[a] == made.group[b]]
    assert min(float(v[a] @ v[b]) for a, b in pairs) > 0.98
    assert len({made.category[a] for a, b in pairs if made.category[a] != made.category[b]}) == 0
    rng = np.random.default_rng(0)
    strangers = np.einsum("nd,nd->n", v, v[rng.permutation(len(v))])
    assert abs(strangers.mean()) < 0.2
    tops, shoes = v[made.category == 0], v[made.category == 4]
    # Shoes of a top's style lie nearer to it than shoes whose dimensions are shuffled, which have no style.
    best, chance = ((tops[:300] @ y.T).max(axis=1).mean() for y in (shoes, shoes[:, rng.permutation(96)]))
    assert best > chance + 0.1
    values = np.linalg.eigvalsh(np.cov(v.T))
    assert values.sum() ** 2 / (values**2).sum() > 10
    assert 0.95 < len(np.unique(made.vector, axis=0)) / len(made) < 1, "a few sizes of a product share its photo"


@pytest.fixture(scope="module")
def two_nights() -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    def rows(shop: VectorShop) -> dict[int, dict[str, Any]]:
        made = all_of(shop)
        columns = {f: list(getattr(made, f)) for f in Slice.__dataclass_fields__}
        columns["vector"] = [v.tobytes() for v in made.vector]
        return {n: {f: columns[f][i] for f in columns} for i, n in enumerate(made.number.tolist())}

    return rows(replace(SHOP, nights=(BUSY,))), rows(replace(SHOP, nights=(BUSY, BUSY)))


def test_a_night_brings_the_shares_asked_for(two_nights: Any) -> None:
    before, after = two_nights
    n = len(before)
    both = [i for i in before if i in after]
    assert sum(i >= 6300 for i in after) == 300
    returned = [i for i in after if i < 6300 and i not in before]
    assert len(returned) == pytest.approx(0.3 * 6000 * 0.04, rel=0.4)
    assert n - len(both) == pytest.approx(0.04 * n, rel=0.2)
    changed = {f: sum(before[i][f] != after[i][f] for i in both) / len(both) for f in Slice.__dataclass_fields__}
    assert changed["price"] == pytest.approx(0.3, abs=0.03)
    assert changed["vector"] == changed["photo"] == pytest.approx(0.03, abs=0.008)
    out = [i for i in both if before[i]["availability"] != 1]
    assert np.mean([after[i]["availability"] == 1 for i in out]) == pytest.approx(0.1, abs=0.02)
    kept = set(changed) - {"price", "vector", "photo", "availability", "updated"}
    assert all(changed[f] == 0 for f in kept)
    for i in both:
        assert (after[i]["updated"] == 2) >= any(after[i][f] != before[i][f] for f in ("price", "photo"))


def test_some_new_products_are_variants_of_old_designs(two_nights: Any) -> None:
    _, after = two_nights
    new = [r for i, r in after.items() if i >= 6300]
    old = [r for r in new if r["group"] < 6000]
    assert len(old) / len(new) == pytest.approx(0.25, abs=0.08)
    for r in old:
        lead = after.get(int(r["group"]))
        assert lead is None or (lead["category"], lead["department"]) == (r["category"], r["department"])


# --- in the lake --------------------------------------------------------------------------------------------------


def written(shop: VectorShop, lake: Lake, out: Path) -> Any:
    header, rho = teacher_of(TEACHER)
    assert rho == shop.rho
    return write_vectors(shop, header, lake, FreeLease(), out, lambda line: None)


def test_each_vector_is_written_once_whatever_is_called_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.sample.vector_lake._SLICE", 1000)
    lake, night = Lake(str(tmp_path / "lake")), replace(SHOP, nights=(BUSY,))
    first = written(SHOP, lake, tmp_path / "a.csv")
    assert (first.products, first.vectors, first.written) == (6000, 6000, 6000)
    version = lake.version("embeddings")
    assert written(SHOP, lake, tmp_path / "a.csv").written == 0
    assert lake.version("embeddings") == version
    second = written(night, lake, tmp_path / "b.csv")
    shot = sum(len(s) for s in night.photographed(1))
    assert second.written == shot == second.vectors - 6000
    keys = lake.read("embeddings", lake.version("embeddings"), columns=["item_id", "image_fingerprint"])
    assert keys.num_rows == len(set(zip(*(c.to_pylist() for c in keys.columns), strict=True))) == second.vectors
    # The later night by itself, in a lake of its own, is the same.
    other = Lake(str(tmp_path / "other"))
    assert written(night, other, tmp_path / "c.csv").written == second.vectors
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "c.csv").read_bytes()


def test_a_night_is_planned_as_any_other_and_embeds_nothing(tmp_path: Path) -> None:
    from jobs.embed.active import active_products
    from jobs.embed.job import run
    from jobs.plan import PlanRequest, plan_run
    from jobs.settings import Settings
    from jobs.stage import StageContext, taxonomy_of

    settings = Settings(lake=str(tmp_path / "lake"))
    lake = Lake(settings.lake)
    small = VectorShop(400, 3, 0.75)
    for n, shop in enumerate((small, replace(small, nights=(BUSY,)))):
        got = written(shop, lake, tmp_path / f"{n}.csv")
        plan = plan_run(PlanRequest(got.run_date, got.catalog, TEACHER), settings, lease=FreeLease()).plan
        assert plan.counts["rejected"] == 0
        assert plan.counts["eligible"] == got.products
        ctx = StageContext(settings, lake, lake.manifest(plan.run_id), taxonomy_of(settings), FreeLease())
        result = run(ctx)
        assert (result.status, result.counts["images_read"]) == ("skipped", 0)
        assert result.counts["unchanged"] == got.products
        lake.save_manifest(ctx.manifest.with_stage(result))
        ctx = replace(ctx, manifest=lake.manifest(plan.run_id))
        rows = active_products(ctx)
        made = all_of(shop)
        assert rows["item_id"].to_pylist() == [f"v{i:08d}" for i in made.number.tolist()]
        assert np.array_equal(np.array(rows["vector"].to_pylist(), dtype=np.float32), made.vector)
        assert rows["category"].to_pylist() == np.array(list(CATEGORIES))[made.category].tolist()
        assert rows["in_stock"].to_pylist() == (made.availability != 1).tolist()


def test_the_catalogue_is_the_same_wherever_it_is_made(tmp_path: Path) -> None:
    for name in ("a", "b"):
        written(VectorShop(300, 1, 0.75), Lake(str(tmp_path / name)), tmp_path / name / "catalog.csv")
    assert (tmp_path / "a/catalog.csv").read_bytes() == (tmp_path / "b/catalog.csv").read_bytes()
    rows = list(csv.DictReader((tmp_path / "a/catalog.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 300
    assert all((tmp_path / "a" / r["image"]).is_file() for r in rows)


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\.csv"):
        written(SHOP, Lake(str(tmp_path)), tmp_path / "catalog.parquet")
    with pytest.raises(DataError, match="no such file"):
        teacher_of(tmp_path)
