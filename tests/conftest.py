"""Fixtures that several folders of tests share: the drawn sample, its teacher, settings on a temporary lake."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
TEACHER = ROOT / "jobs" / "sample" / "teacher"
SHARED = ROOT.parent / "shared" / "data"

# Tests decide their own settings; a MEDAL_* of the developer's shell must not leak in.
for _name in [n for n in os.environ if n.startswith("MEDAL_") and n != "MEDAL_REQUIRE_ALL"]:
    del os.environ[_name]


@pytest.fixture(scope="session")
def teacher_dir() -> Path:
    """The committed sample teacher."""
    return TEACHER


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small drawn sample (catalog.csv, images/, outfits/). Copy it before changing it."""
    from jobs.sample.draw import draw_sample

    out = tmp_path_factory.mktemp("drawn") / "sample"
    draw_sample(out, items=96, seed=11)
    return out


@pytest.fixture
def sample(drawn: Path, tmp_path: Path) -> Path:
    """A copy of the drawn sample that the test may change; modification times are kept."""
    out = tmp_path / "sample"
    shutil.copytree(drawn, out)
    return out


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The one session that tests share, on two cores: starting it takes longer than most tests.

    Here and nowhere else: imported into two modules it would be two fixtures, and both would stop the one JVM.
    """
    from require import require

    require("java")
    from jobs.settings import Settings, SparkSettings
    from jobs.spark import session, stop

    started = session(Settings(spark=SparkSettings(master="local[2]", jars_dir=ROOT / ".jars")), "medal tests")
    yield started
    stop(started)
