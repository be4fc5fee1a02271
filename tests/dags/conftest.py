"""Airflow keeps its database and settings in AIRFLOW_HOME, read at import: a folder of these tests' own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.dags.fake_medal import DAGS, Drive, FakeMedal

DRIVER = Path(__file__).with_name("driver.py")

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="medal-airflow-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
sys.path.append(str(DAGS))  # as Airflow does


@pytest.fixture
def fake_medal(tmp_path: Path) -> FakeMedal:
    return FakeMedal(tmp_path / "fake")


@pytest.fixture(scope="session")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Drive:
    """Runs DAGs by `dag.test` in a process of their own (driver.py) and gives back what happened."""

    def call(scenarios: list[dict[str, Any]]) -> dict[str, Any]:
        home = tmp_path_factory.mktemp("airflow")
        result = home / "result.json"
        done = subprocess.run(
            [sys.executable, str(DRIVER), str(DAGS), str(result)],
            input=json.dumps(scenarios),
            text=True,
            capture_output=True,
            cwd=home,
            env={
                **os.environ,
                "AIRFLOW_HOME": str(home),
                "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
                "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            },
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
        answer: dict[str, Any] = json.loads(result.read_text())
        answer["log"] = done.stdout + done.stderr
        return answer

    return call
