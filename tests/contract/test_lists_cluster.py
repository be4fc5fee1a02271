"""Lists made on a standalone Spark cluster are the local ones, whoever dies meanwhile."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lists_world import ROOT, Nights, context, draw_products, draw_weights, in_process, ordered, table
from pydantic import ValidationError
from require import require
from spark_cluster import Cluster, Driver, cluster, driver, members

from jobs.complements.generations import read_live
from jobs.errors import SettingsError
from jobs.lake import Lake
from jobs.settings import Settings, SparkSettings
from jobs.spark import check_archive, code_files, session, write_archive
from schemas.tables import TABLES

pytestmark = pytest.mark.spark
SETTINGS: dict[str, Any] = {"k": 3, "depth": 4, "partitions": 4}
FIRST, SECOND = "2026-03-02-all-g1", "2026-03-03-all-g1"


def another(products: pa.Table) -> pa.Table:
    """The next night's products: some gone, some sold out, some new, some photographed again."""
    rng, rows = np.random.default_rng(5), products.to_pylist()
    new = [{**row, "item_id": f"n-{row['item_id']}"} for row in draw_products(12, 6).to_pylist()]
    rows = [r for r in rows if rng.random() > 0.03]
    for row in rows:
        row["in_stock"] = bool(row["in_stock"]) if rng.random() > 0.05 else False
        if row["vector"] is not None and rng.random() < 0.02:
            row["vector"] = rng.permutation(np.array(row["vector"])).tolist()
    return table(*([r[n] for r in [*rows, *new]] for n in products.column_names))


@dataclass(frozen=True)
class Local:
    """Two nights' products, as files for the driver, and what this process makes of them, without Spark."""

    products: tuple[Path, Path]
    first: tuple[pa.Table, pa.Table]  # both tables
    second: pa.Table  # `complements`
    pairs: int  # of the first night


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Local:
    folder = tmp_path_factory.mktemp("local")
    one = draw_products(400, 17, ties=0.3)
    two = another(one)
    files = tuple(folder / f"{run_id}.parquet" for run_id in (FIRST, SECOND))
    for file, products in zip(files, (one, two), strict=True):
        pq.write_table(products, file)
    alone = in_process(context(folder / "one", **SETTINGS), one, draw_weights())
    nights = Nights(folder, draw_weights(), **SETTINGS)
    nights.night(one)
    made, brought = nights.night(two)
    assert made == brought
    return Local((files[0], files[1]), alone.tables, brought, alone.figures.pairs)


@dataclass(frozen=True)
class Running:
    cluster: Cluster
    driver: Driver


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, local: Local) -> Iterator[Running]:
    """After `local`, which has the machine code compiled that the archive carries."""
    require("java")
    folder = tmp_path_factory.mktemp("cluster")
    archive = write_archive(folder / "medal.zip")
    with cluster(folder / "spark") as there, driver(folder, there, archive) as asked:
        yield Running(there, asked)


def on_the_cluster(root: Path, name: str, writes: dict[str, int]) -> pa.Table:
    return ordered(read_live(Lake(str(root)), name, writes[name]))


def assert_first(root: Path, writes: dict[str, int], local: Local) -> None:
    for name, mine in zip(("candidates", "complements"), local.first, strict=True):
        assert len(mine) > 1000
        assert on_the_cluster(root, name, writes) == ordered(mine.cast(TABLES[name].schema))


def test_lists_are_the_local_ones_in_full_and_brought_up_to_date(
    running: Running, local: Local, tmp_path: Path
) -> None:
    first, second = (
        running.driver.ask(do="night", root=str(tmp_path), run_id=run_id, products=str(file), settings=SETTINGS)
        for run_id, file in zip((FIRST, SECOND), local.products, strict=True)
    )
    assert first["note"].startswith("full")
    assert first["counts"]["pairs"] == local.pairs
    assert_first(tmp_path, first["writes"], local)
    assert second["note"].startswith(f"incremental: since {FIRST}")
    assert second["counts"]["pairs"] < 0.25 * local.pairs
    got = on_the_cluster(tmp_path, "complements", second["writes"]).drop_columns(["written", "removed"])
    assert got == local.second.cast(got.schema)


def test_executors_have_nothing_of_the_driver_but_the_archive(running: Running) -> None:
    """After a night: all that they loaded of this project is from what Spark unpacked in their own folder."""
    got = running.driver.ask(do="look")
    work = running.cluster.work
    assert {Path(said["cwd"]).parents[1] for said in got["said"]} == {work}
    assert got["pid"] not in {said["pid"] for said in got["said"]}
    for said in got["said"]:
        assert len(said["files"]) > 10
        assert {Path(f).relative_to(said["cwd"]).parts[0] for f in said["files"]} == {"medal"}
        assert said["data"], "data files are there as files"
        assert not Path(said["home"]).is_relative_to(ROOT)


def test_a_worker_killed_in_mid_job_changes_no_list(running: Running, local: Local, tmp_path: Path) -> None:
    """SIGKILL to a worker, its executor and the executor's Python, while shares of the search are still to be done."""
    victim = running.cluster.workers[0]
    settings = {**SETTINGS, "partitions": 40, "query_block": 3, "base_block": 7}
    got = running.driver.ask(
        do="night", root=str(tmp_path), run_id=FIRST, products=str(local.products[0]), settings=settings,
        victim=victim.session,
    )  # fmt: skip
    killed = got["killed"]
    assert any("CoarseGrainedExecutorBackend" in c for c in killed["commands"])
    assert any("pyspark.daemon" in c for c in killed["commands"])
    assert 0 < killed["done"] < killed["shares"]
    assert members(victim.session) == {}
    assert members(running.cluster.workers[1].session) != {}
    assert_first(tmp_path, got["writes"], local)


# --- the archive ----------------------------------------------------------------------------------------------


def test_an_archive_holds_the_code_that_runs_here_or_is_refused(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "medal.zip")
    check_archive(archive)
    names = set(code_files())
    assert {"jobs/complements/worker.py", "schemas/taxonomy.yaml", "schemas/rules.schema.json"} <= names
    assert not any("__pycache__" in n or n.endswith(".safetensors") for n in names)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("jobs/old.py", "")
    with pytest.raises(SettingsError, match=r"1 files differ, first jobs/old.py\); write it again by"):
        check_archive(archive)
    with pytest.raises(SettingsError, match=r"none.zip: cannot be read .* write it by"):
        check_archive(tmp_path / "none.zip")
    with pytest.raises(SettingsError, match=r"must be named \*.zip"):
        write_archive(tmp_path / "medal.tar")


def test_a_session_on_a_cluster_starts_with_the_right_archive_or_not_at_all(tmp_path: Path) -> None:
    old = SparkSettings(master="spark://127.0.0.1:1", jars_dir=ROOT / ".jars", archive=tmp_path / "medal.zip")
    with pytest.raises(SettingsError, match="cannot be read"):
        session(Settings(spark=old), "medal tests")


def test_only_properties_of_spark_are_passed_on() -> None:
    with pytest.raises(ValidationError, match=r"executor\.memory is no property of Spark"):
        SparkSettings(conf={"executor.memory": "1g"})
