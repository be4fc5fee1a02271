"""
### Older dates, on purpose

Runs `medal backfill` over a range of dates, oldest first. Started by hand only. Without `apply` it is a dry run: the
log lists the dates, what each would read, and what stands in the way. With `apply` it writes the lake; live lists
change only with `publish` as well, and never from a newer date to an older one.

It can be stopped and started again: dates that are complete are passed over.

| field | what |
| --- | --- |
| `from`, `to` | first and last date, both included |
| `reason` | why; kept with every run of the range |
| `catalog_pattern` | path of the dated catalogues with `{date}` in it; empty: the snapshots that the lake holds |
| `model` | the teacher's folder; empty: `MEDAL_NIGHTLY_TEACHER` |
| `apply`, `publish` | see above; both off at first |

A failed task says in its last line what was wrong and what to do next; exit codes are those of `medal_nightly`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, Param

from medal_airflow import POOL, BackfillOperator

with DAG(
    dag_id="medal_backfill",
    description="medal backfill, as a form; a dry run unless told to apply",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={
        "from": Param(type="string", format="date", title="From", description="First date, YYYY-MM-DD"),
        "to": Param(type="string", format="date", title="To", description="Last date, YYYY-MM-DD"),
        "reason": Param(type="string", minLength=5, title="Reason", description="Why; kept with every run"),
        "catalog_pattern": Param(
            None,
            type=["null", "string"],
            title="Catalogues",
            description="Path with {date}, e.g. catalogs/{date}.csv; empty: the snapshots in the lake",
        ),
        "model": Param(None, type=["null", "string"], title="Model", description="Empty: MEDAL_NIGHTLY_TEACHER"),
        "apply": Param(False, type="boolean", title="Apply", description="Off: a dry run"),
        "publish": Param(
            False, type="boolean", title="Publish", description="Also publish, where no newer date is live"
        ),
    },
    tags=["medal"],
) as dag:
    # Several nights in one task: no limit of one night's stage.
    BackfillOperator(task_id="backfill", pool=POOL, execution_timeout=None)
