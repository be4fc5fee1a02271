"""The one Spark session that tests share: starting it takes longer than most tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from lists_world import ROOT
from require import require

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A session on two cores. Fails with the mend where `make install` has not fetched the jars."""
    require("java")
    from jobs.settings import Settings, SparkSettings
    from jobs.spark import session, stop

    started = session(Settings(spark=SparkSettings(master="local[2]", jars_dir=ROOT / ".jars")), "medal tests")
    yield started
    stop(started)
