"""Nights on which images fail: the budget by class, the retry after it, the time box, bits that nothing moves."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embed_shop import Shop, encoded, picture

from jobs.errors import DataError, MedalError, TransientError
from jobs.images.folder import FolderImages
from jobs.images.source import fetch_fault
from jobs.settings import BudgetSettings, EmbedSettings, Limit
from jobs.stage import open_lake

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def shop(tmp_path: Path, teacher_dir: Path) -> Shop:
    return Shop(tmp_path, teacher_dir)


def photo(n: int) -> bytes:
    return encoded(picture(((37 * n) % 255, (91 * n) % 255, (53 * n) % 255)), "JPEG")


def with_budget(shop: Shop, count: int, share: float, **more: Any) -> None:
    limit = Limit(count=count, share=share)
    own = EmbedSettings(batch_size=4, slice_size=3, budget=BudgetSettings(passing=limit, broken=limit), **more)
    shop.settings = shop.settings.model_copy(update={"embed": own})


class Faulty:
    """The folder's files, some of which cannot be had at the moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, items: set[str]) -> None:
        self.items, real = items, FolderImages.fetch

        def fetch(images: FolderImages, uri: str, fingerprint: str | None) -> bytes:
            if Path(uri).stem in self.items:
                raise fetch_fault("unreachable", f"{uri}: connection reset")
            return real(images, uri, fingerprint)

        monkeypatch.setattr(FolderImages, "fetch", fetch)


# kind of fault, failures among 10, budget → what the night ends with
BUDGETS: list[tuple[str, int, tuple[int, float], type[MedalError] | None]] = [
    ("broken", 0, (0, 0.0), None),
    ("broken", 2, (2, 0.0), None),
    ("broken", 3, (2, 0.3), None),
    ("broken", 3, (2, 0.2), DataError),
    ("missing", 3, (2, 0.2), DataError),
    ("missing", 3, (3, 0.0), None),
    ("passing", 3, (2, 0.3), None),
    ("passing", 3, (2, 0.2), TransientError),
    ("passing", 10, (0, 1.0), None),
]


@pytest.mark.parametrize(("fault", "failing", "budget", "error"), BUDGETS)
def test_the_budget(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, fault: str, failing: int, budget: tuple[int, float],
    error: type[MedalError] | None,
) -> None:  # fmt: skip
    bad = {f"i{n}" for n in range(failing)}
    for n in range(10):
        data: bytes | None = photo(n)
        if f"i{n}" in bad:
            data = {"broken": b"<html>", "missing": None}.get(fault, data)
        shop.put(f"i{n}", data)
    faulty = Faulty(monkeypatch, bad if fault == "passing" else set())
    with_budget(shop, *budget)
    if error is None:
        _, states = shop.night("2026-01-01")
        assert Counter(states.values())["embedded"] == 10 - failing
        return
    share = f"{budget[1]:.0%}"
    kind = "passing" if fault == "passing" else "broken"
    told = rf"{failing} of 10 images failed .*embed\.budget\.{kind} \({budget[0]} and {share}\).*run the stage again"
    with pytest.raises(error, match=told):
        shop.night("2026-01-01")
    # Nothing is lost: the failures stand in quarantine, and the stage run again ends as if nothing had been.
    assert bad <= set(shop.quarantine())
    assert {r["error_class"] for r in shop.quarantine().values()} == {
        {"broken": "not_an_image", "missing": "missing", "passing": "unreachable"}[fault]
    }
    if fault == "passing":
        faulty.items = set()
        _, states = shop.embed("2026-01-01-all-g1")
        assert set(states.values()) == {"embedded"} and shop.quarantine() == {}
    else:
        with pytest.raises(error):
            shop.embed("2026-01-01-all-g1")
        with_budget(shop, 10, 1.0)
        _, states = shop.embed("2026-01-01-all-g1")
        assert Counter(states.values()) == {"embedded": 10 - failing, "quarantined": failing}
        assert {r["attempts"] for r in shop.quarantine().values()} == {1}, "a retry is no further attempt"


def test_old_failures_are_no_failures_of_the_night(shop: Shop) -> None:
    """Photos that wait in quarantine draw on no budget."""
    for n in range(10):
        shop.put(f"i{n}", b"<html>" if n < 5 else photo(n))
    with_budget(shop, 5, 0.0, retry_days=9)
    shop.night("2026-01-01")
    with_budget(shop, 0, 0.0, retry_days=9)
    shop.put("new", photo(77))
    _, states = shop.night("2026-01-02")
    assert Counter(states.values()) == {"quarantined": 5, "unchanged": 5, "embedded": 1}


def test_a_time_box_embeds_what_is_in_stock_and_leaves_the_rest(shop: Shop) -> None:
    for n in range(12):
        shop.put(f"i{n:02d}", photo(n))
    shop.sold_out = {f"i{n:02d}" for n in range(6)}
    shop.settings = shop.settings.model_copy(
        update={"embed": EmbedSettings(batch_size=2, fetch_threads=1, time_box_s=1e-9)}
    )
    result, states = shop.night("2026-01-01")
    assert set(states.values()) == {"waiting"} and result.counts["images_read"] == 0
    assert shop.quarantine() == {}, "left is not failed"
    order: list[str] = []
    real = FolderImages.fetch

    class Slow(FolderImages):
        def fetch(self, uri: str, fingerprint: str | None) -> bytes:
            order.append(Path(uri).stem)
            return real(self, uri, fingerprint)

    shop.settings = shop.settings.model_copy(update={"embed": EmbedSettings(batch_size=2, fetch_threads=1)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderImages, "fetch", Slow.fetch)
        _, states = shop.night("2026-01-02")
    assert set(states.values()) == {"embedded"}
    assert set(order[:6]) == {f"i{n:02d}" for n in range(6, 12)}, "in stock first"


def test_a_time_box_keeps_old_vectors(shop: Shop) -> None:
    shop.put("a", photo(1))
    shop.night("2026-01-01")
    before = shop.vector("a")
    shop.put("a", photo(2), mtime=9)
    shop.settings = shop.settings.model_copy(update={"embed": EmbedSettings(time_box_s=1e-9)})
    _, states = shop.night("2026-01-02")
    assert states == {"a": "stale_vector"} and (shop.vector("a") == before).all()


SHAPES = [
    {"network_threads": 1, "decode_threads": 1, "fetch_threads": 1},
    {"network_threads": 3, "decode_threads": 3, "fetch_threads": 8},
    {"network_threads": 2, "decode_threads": 1, "slice_size": 2},
]


def test_no_bit_depends_on_threads_order_or_slices(tmp_path: Path, teacher_dir: Path) -> None:
    found: list[dict[str, bytes]] = []
    for k, shape in enumerate(SHAPES):
        shop = Shop(tmp_path / str(k), teacher_dir)
        shop.settings = shop.settings.model_copy(update={"embed": EmbedSettings(**{"batch_size": 4, **shape})})
        items = [f"i{n:02d}" for n in range(23)]
        for item in items if k % 2 else reversed(items):
            shop.put(item, photo(int(item[1:])))
        shop.night("2026-01-01")
        found.append({i: np.asarray(shop.vector(i)).tobytes() for i in items})
    assert found[0] == found[1] == found[2]
    assert len(set(found[0].values())) == 23


def test_figures_of_the_stage(shop: Shop) -> None:
    for n in range(9):
        shop.put(f"i{n}", photo(n))
    shop.settings = shop.settings.model_copy(
        update={"embed": EmbedSettings(batch_size=4, network_threads=2, cost_per_hour=3.6)}
    )
    result, _ = shop.night("2026-01-01")
    c = result.counts
    assert c["images_read"] == 9 and c["bytes_read"] == sum(os.path.getsize(shop.root / p) for p in shop.items.values())
    assert all(c[f"{s}_s"] > 0 and c[f"{s}_per_s"] > 0 for s in ("fetch", "decode", "network"))
    assert 0 < c["device_use"] <= 1 and 0 <= c["queue_decode"] <= 1 and 0 <= c["queue_network"] <= 1
    assert c["cost_per_1000"] > 0
    assert (c["fetch_threads"], c["decode_threads"], c["network_threads"]) == (16, 2, 2) and c["pipeline_s"] > 0
    assert c["network_s"] <= c["network_threads"] * c["pipeline_s"]
    lake = open_lake(shop.settings)
    logged = {r["metric"] for r in lake.read("run_metrics", lake.version("run_metrics")).to_pylist()}
    assert {"network_per_s", "device_use", "cost_per_1000"} <= logged
