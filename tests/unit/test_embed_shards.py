"""Shards of the embed stage: at once, in any order, killed and started twice, the end is that of one process."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from embed_shop import Shop, encoded, picture

from jobs.embed.shards import parse_shard, run_shard, shard_of
from jobs.errors import DataError, SettingsError
from jobs.plan import PlanRequest, plan_run
from jobs.settings import BudgetSettings, EmbedSettings, Limit
from jobs.stage import open_lake

pytestmark = pytest.mark.timeout(240)
DATE, RUN = "2026-01-01", "2026-01-01-all-g1"
ROOT = Path(__file__).resolve().parents[2]


def filled(root: Path, teacher: Path) -> Shop:
    """Forty products: two share a photo, one has none, two are no images."""
    shop = Shop(root, teacher)
    shop.settings = shop.settings.model_copy(update={"embed": EmbedSettings(batch_size=4, slice_size=5)})
    for n in range(40):
        data: bytes | None = encoded(picture(((37 * n) % 255, (91 * n) % 255, (53 * n) % 255)), "JPEG")
        data = {7: encoded(picture((0, 0, 0)), "JPEG"), 11: b"<html>", 13: b"<html>", 17: None}.get(n, data)
        shop.put(f"i{n:02d}", data)
    with (shop.root / "catalog.csv").open("w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(["item_id", "category", "image"])
        writer.writerows([i, "tops", path] for i, path in shop.items.items())
    plan_run(PlanRequest(DATE, shop.root / "catalog.csv", shop.teacher), shop.settings)
    return shop


def content(shop: Shop) -> dict[tuple[str, str], bytes]:
    """Vectors by key; no key twice."""
    lake = open_lake(shop.settings)
    rows = lake.read("embeddings", lake.version("embeddings")).to_pylist()
    found = {(r["item_id"], r["image_fingerprint"]): str(r["vector"]).encode() for r in rows}
    assert len(found) == len(rows), "a key stands there twice"
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, teacher_dir: Path) -> Shop:
    shop = filled(tmp_path_factory.mktemp("whole"), teacher_dir)
    _, shop.states = shop.embed(RUN)  # type: ignore[attr-defined]
    return shop


def start(shop: Shop, shard: str, **extra: str) -> subprocess.Popen[str]:
    env = {
        **os.environ, "PYTHONPATH": str(ROOT), "MEDAL_LAKE": shop.settings.lake, "MEDAL_EMBED__BATCH_SIZE": "4",
        "MEDAL_EMBED__SLICE_SIZE": "5", "OMP_NUM_THREADS": "1", **extra,
    }  # fmt: skip
    command = [sys.executable, "-m", "jobs", "embed", "--run-id", RUN, "--shard", shard]
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def assert_as_whole(shop: Shop, whole: Shop) -> None:
    _, states = shop.embed(RUN)
    assert states == whole.states  # type: ignore[attr-defined]
    assert content(shop) == content(whole)
    assert {i: (r["error_class"], r["attempts"], r["retry_from"]) for i, r in shop.quarantine().items()} == {
        i: (r["error_class"], r["attempts"], r["retry_from"]) for i, r in whole.quarantine().items()
    }


@pytest.mark.parametrize("n", [1, 3, 17])
def test_shards_one_after_another(n: int, tmp_path: Path, teacher_dir: Path, whole: Shop) -> None:
    shop = filled(tmp_path, teacher_dir)
    for i in (k for k in range(n, 0, -1) if any(shard_of(item, n) == k for item in shop.items)):
        assert f"embed {i}/{n}:" in run_shard(shop.settings, RUN, f"{i}/{n}")
    assert len(content(shop)) == 37
    result, _ = shop.embed(RUN)
    assert result.counts["images_read"] == 0, "nothing was left for the end"
    assert_as_whole(shop, whole)
    assert "nothing to do" in run_shard(shop.settings, RUN, f"1/{n}")


def test_shards_at_once_and_one_of_them_twice(tmp_path: Path, teacher_dir: Path, whole: Shop) -> None:
    shop = filled(tmp_path, teacher_dir)
    at_once = [start(shop, s) for s in ("1/2", "2/2", "2/2")]
    for process in at_once:
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        assert "vectors written" in out
    assert_as_whole(shop, whole)


def test_a_killed_shard_is_run_again(tmp_path: Path, teacher_dir: Path, whole: Shop) -> None:
    shop = filled(tmp_path, teacher_dir)
    killed = start(shop, "1/2", MEDAL_FAULT="embed.slice_committed")
    killed.communicate(timeout=200)
    assert killed.returncode == -signal.SIGKILL
    assert len(content(shop)) == 5, "the slice before the kill stays"
    for shard in ("2/2", "1/2"):
        run_shard(shop.settings, RUN, shard)
    assert_as_whole(shop, whole)


def test_the_end_judges_failures_by_the_whole_night(tmp_path: Path, teacher_dir: Path, whole: Shop) -> None:
    """Three of forty are broken, but of what the shards left for the end they are all."""
    shop = filled(tmp_path, teacher_dir)
    budget = BudgetSettings(broken=Limit(count=1, share=0.5))
    embed = shop.settings.embed.model_copy(update={"budget": budget})
    shop.settings = shop.settings.model_copy(update={"embed": embed})
    for shard in ("1/2", "2/2"):
        run_shard(shop.settings, RUN, shard)
    assert_as_whole(shop, whole)


def test_without_a_shard_the_rest_is_done(tmp_path: Path, teacher_dir: Path, whole: Shop) -> None:
    shop = filled(tmp_path, teacher_dir)
    run_shard(shop.settings, RUN, "2/2")
    assert_as_whole(shop, whole)


def test_a_shard_that_comes_too_late_writes_nothing(tmp_path: Path, teacher_dir: Path, whole: Shop) -> None:
    shop = filled(tmp_path, teacher_dir)
    from jobs.embed.shards import _Shard

    real = _Shard._append

    def late(self: _Shard) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(_Shard, "_append", real)
            if not open_lake(shop.settings).manifest(RUN).done("embed"):
                shop.embed(RUN)
        real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Shard, "_append", late)
        with pytest.raises(DataError, match="was ended while shard 1/2 was at work"):
            run_shard(shop.settings, RUN, "1/2")
    assert content(shop) == content(whole)


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3", "1 / 2"])
def test_a_shard_that_is_none(text: str) -> None:
    with pytest.raises(SettingsError, match="write it as i/n"):
        parse_shard(text)


def test_items_are_dealt_evenly_and_for_ever() -> None:
    counts = Counter(shard_of(f"item-{n}", 4) for n in range(4000))
    assert set(counts) == {1, 2, 3, 4} and min(counts.values()) > 900
    assert [shard_of(i, 7) for i in ("a", "b", "å", "47000096-99")] == [3, 6, 7, 6]
