"""Nights on the drawn sample, through the CLI: skipping, scopes, dates, two at once, backfill, rollback."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from house import House

from jobs.sample.nights import second_night

pytestmark = [pytest.mark.timeout(600), pytest.mark.e2e]
DATE = "2026-03-02"


@pytest.fixture
def house(tmp_path: Path, teacher_dir: Path) -> House:
    return House(tmp_path / "house", teacher_dir)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, drawn: Path, teacher_dir: Path) -> tuple[House, Path]:
    """One full night on the drawn sample; the tests of this module build on it in order."""
    house = House(tmp_path_factory.mktemp("night"), teacher_dir)
    house.nightly(drawn / "catalog.csv", DATE)
    return house, drawn


def test_a_night_ends_in_a_release_and_a_report(night: tuple[House, Path]) -> None:
    house, _ = night
    manifest = house.manifest(f"{DATE}-all-g1")
    assert manifest.complete()
    counts = manifest.stages["embed"].counts
    states = ("embedded", "reused", "unchanged", "stale_vector", "waiting", "quarantined")
    assert sum(counts[s] for s in states) == manifest.plan.counts["eligible"]
    assert manifest.plan.counts["rows"] == manifest.plan.counts["eligible"] + manifest.plan.counts["rejected"]
    report = (house.root / "lake" / "runs" / f"{DATE}-all-g1" / "report.html").read_text()
    assert "data:image/jpeg;base64," in report
    pointer = house.store().pointer()
    assert pointer is not None and pointer.release == 1


def test_the_same_night_again_does_nothing(night: tuple[House, Path]) -> None:
    house, sample = night
    before, pointer = house.versions(), house.store().pointer()
    started = time.monotonic()
    house.nightly(sample / "catalog.csv", DATE)
    took = time.monotonic() - started
    assert house.versions() == before
    assert house.store().pointer() == pointer and len(house.store().releases()) == 1
    assert took < 30, f"{took:.0f} s: a night with nothing to do started Spark or torch"


def test_a_subset_run_never_stands_in_for_the_full_night(night: tuple[House, Path]) -> None:
    house, sample = night
    full = house.content(f"{DATE}-all-g1")
    done = house.nightly(sample / "catalog.csv", DATE, "--categories", "shoes")
    assert "lake only" in done.stdout + done.stderr
    assert len(house.store().releases()) == 1, "a subset was published as if it were everything"
    house.nightly(sample / "catalog.csv", DATE, "--recompute")
    again = house.content(f"{DATE}-all-g2")
    assert house.manifest(f"{DATE}-all-g2").stages["complements"].status == "done"
    assert again["complements"] == full["complements"]


def test_an_older_date_makes_no_newer_night_skip(night: tuple[House, Path], tmp_path: Path) -> None:
    house, sample = night
    pointer = house.store().pointer()
    tomorrow = second_night(sample, tmp_path / "tomorrow", new_items=7, reshot=0).folder
    house.nightly(sample / "catalog.csv", "2026-03-01")
    assert house.store().pointer() == pointer, "an older date was announced over a newer one"
    house.nightly(tomorrow / "catalog.csv", "2026-03-03")
    manifest = house.manifest("2026-03-03-all-g1")
    assert manifest.stages["embed"].counts["embedded"] == 7
    # and the truncated photo of the sample, whose day of waiting is over, is looked at once more
    assert manifest.stages["embed"].counts["images_read"] == 7 + 1
    assert manifest.stages["complements"].status == "done"
    assert house.store().pointer().release > pointer.release


def test_rollback_goes_back_and_says_so(night: tuple[House, Path]) -> None:
    house, _ = night
    newest = house.store().pointer()
    done = house.medal("rollback", "--to", "1")
    assert house.store().pointer().release == 1
    assert house.store().pointer().revision == newest.revision + 1
    assert "1" in done.stdout
    house.medal("rollback", "--to", "99", expect=2)
    house.medal("rollback", "--to", str(newest.release))


def test_two_runs_at_once_one_works_the_other_says_why(house: House, sample: Path) -> None:
    args = ("--catalog", str(sample / "catalog.csv"), "--teacher", str(house.teacher), "--run-date", DATE)
    first = house.start("nightly", *args)
    lease = house.root / "lake" / "lease.json"
    deadline = time.monotonic() + 60
    while not lease.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    second = house.nightly(sample / "catalog.csv", "2026-03-03", expect=5)
    assert f"medal nightly of {DATE}" in second.stderr and "holds the write lease" in second.stderr
    assert "Traceback" not in second.stderr
    _, err = first.communicate(timeout=300)
    assert first.returncode == 0, err


def test_a_backfill_fills_the_lake_and_leaves_the_live_release(night: tuple[House, Path], tmp_path: Path) -> None:
    house, sample = night
    pointer, releases = house.store().pointer(), len(house.store().releases())
    text = (sample / "catalog.csv").read_text()
    for date in ("2026-02-01", "2026-02-02"):
        feed = sample / f"feed-{date}.csv"
        feed.write_text(text)
    pattern = str(sample / "feed-{date}.csv")
    args = ("backfill", "--from", "2026-02-01", "--to", "2026-02-02", "--reason", "new model",
            "--teacher", str(house.teacher), "--catalog-pattern", pattern)  # fmt: skip
    dry = house.medal(*args)
    assert "nothing was written" in dry.stdout
    assert not [r for r in house.lake.runs() if r.run_date < "2026-03"]
    house.medal(*args, "--apply")
    for date in ("2026-02-01", "2026-02-02"):
        manifest = house.manifest(f"{date}-all-g1")
        assert manifest.complete() and manifest.plan.backfill and manifest.plan.reason == "new model"
    assert house.store().pointer() == pointer and len(house.store().releases()) == releases
    again = house.medal(*args, "--apply")
    assert "nothing to do" in again.stderr
    missing = house.medal(*args[:2], "2026-01-31", *args[3:], expect=4)
    assert "no catalogue snapshot of 2026-01-31" in missing.stderr


def test_the_lake_holds_earlier_snapshots_for_a_backfill(night: tuple[House, Path]) -> None:
    house, _ = night
    done = house.medal("backfill", "--from", DATE, "--to", DATE, "--reason", "check", "--teacher", str(house.teacher))
    assert "complete" in done.stdout
