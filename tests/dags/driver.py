"""Runs the DAGs of a folder by `dag.test`, as told on standard input, and writes what happened as JSON.

A process of its own: Airflow takes over logging and signals of the one it runs in.
A scenario: {"name", "dag", "conf", "logical_date" (ISO or null), "run_after" (ISO), "env", "clear" (true: once the run
has failed, clear what failed with all that waits for it, and let it go on)}.
"""

from __future__ import annotations

import importlib.abc
import json
import os
import sys
from datetime import datetime, timedelta
from typing import Any

BLOCKED = {"torch", "pyspark", "faiss", "great_expectations", "jobs", "medal_model", "schemas"}


class Blocker(importlib.abc.MetaPathFinder):
    """A scheduler has none of these installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is blocked: DAGs must parse where only Airflow is installed")


def facts(dag: Any) -> dict[str, Any]:
    return {
        "schedule": dag.timetable.summary if hasattr(dag.timetable, "summary") else str(dag.timetable),
        "timetable": type(dag.timetable).__name__,
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "doc_md": dag.doc_md or "",
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "tasks": {
            t.task_id: {
                "pool": t.pool,
                "retries": t.retries,
                "retry_delay": t.retry_delay.total_seconds(),
                "limit": t.execution_timeout.total_seconds() if t.execution_timeout else None,
                "trigger_rule": str(t.trigger_rule.value),
                "upstream": sorted(t.upstream_task_ids),
                "mapped": t.is_mapped,
            }
            for t in dag.tasks
        },
    }


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def play(dag: Any, scenario: dict[str, Any]) -> dict[str, Any]:
    run = dag.test(
        logical_date=moment(scenario.get("logical_date")),
        run_after=moment(scenario.get("run_after")),
        run_conf=scenario.get("conf"),
    )
    answer = outcome(run)
    if scenario.get("clear"):
        answer["cleared"] = clear_failed(dag, run)
    return answer


def outcome(run: Any) -> dict[str, Any]:
    tis = {t.task_id if t.map_index < 0 else f"{t.task_id}[{t.map_index}]": t for t in run.get_task_instances()}
    return {
        "state": str(getattr(run.state, "value", run.state)),
        "tasks": {name: str(getattr(t.state, "value", t.state)) for name, t in tis.items()},
        "tries": {name: t.try_number for name, t in tis.items()},
        "labels": {name: t.rendered_map_index for name, t in tis.items() if t.map_index >= 0},
    }


def clear_failed(dag: Any, run: Any) -> dict[str, Any]:
    """As `airflow tasks clear --only-failed` does it, and then the loop of `dag.test`, which would start a new run."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import clear_task_instances
    from airflow.sdk.definitions.dag import _run_task
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState

    with create_session() as session:
        again = session.get(DagRun, run.id)
        assert again is not None
        again.dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        red = {TaskInstanceState.FAILED, TaskInstanceState.UPSTREAM_FAILED}
        clear_task_instances(
            [t for t in again.get_task_instances(session=session) if t.state in red], session, DagRunState.RUNNING
        )
        session.commit()
        while again.state == DagRunState.RUNNING:
            session.expire_all()
            for ti in again.update_state(session=session)[0]:
                ti.try_number += 1
                ti.state = TaskInstanceState.SCHEDULED
                session.commit()
                _run_task(ti=ti, task=dag.task_dict[ti.task_id])
        return outcome(again)


def main(folder: str, result: str) -> None:
    sys.meta_path.insert(0, Blocker())
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.models.pool import Pool
    from airflow.utils.db import initdb

    initdb()
    Pool.create_or_update_pool("medal_lake", slots=1, description="one writer", include_deferred=False)

    def load() -> Any:
        return BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")

    bag = load()
    answer: dict[str, Any] = {
        "import_errors": bag.import_errors,
        "dags": {dag_id: facts(dag) for dag_id, dag in bag.dags.items()},
        "loaded": sorted(BLOCKED & set(sys.modules)),
        "runs": {},
    }
    before = dict(os.environ)
    for scenario in json.load(sys.stdin):
        os.environ.clear()
        os.environ.update(before | scenario.get("env", {}))
        dag = load().dags[scenario["dag"]]  # a run leaves its configuration in the DAG's params
        known = facts(dag)
        for task in dag.tasks:
            task.retry_delay = timedelta(seconds=1)
        answer["runs"][scenario["name"]] = {"dag": known, **play(dag, scenario)}
    with open(result, "w", encoding="utf-8") as f:
        json.dump(answer, f, default=str)


if __name__ == "__main__":
    main(*sys.argv[1:])
