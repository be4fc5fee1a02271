"""
### The night: lists of complements for every product

`plan → embed → complements → check → publish`, then `report`, which also runs when the gate blocked; `summary` ends the
run and is green only when everything before it is. Each task is one `medal` command and can be cleared and run again
at any time: a stage that a run has already is not done twice. Where the setting `embed.shards` is above 1, `embed_shard`
comes before `embed`: that many parts of it at once, each retried by itself; `embed` ends the stage when all are done.

#### Parameters
`run_date` (default: the logical date, else the day the run was asked for, both in the shop's time zone) · `catalog` and
`model` (default: `MEDAL_NIGHTLY_CATALOG` and `MEDAL_NIGHTLY_TEACHER` of the workers) · `publish` (off: the lake only) ·
`dry_run` (says what it would do; the stages are skipped) · `accept` (changes of the catalogue that are meant, see below).
Any other key stops the run before it does anything.

#### What to do
The last line of a failed task says what was wrong, where, and what to do next. The exit code in it says of what kind.

| you see | it means | do |
| --- | --- | --- |
| a task waits for a retry, exit 5 | a passing fault: lease held, store throttled, network | nothing; two retries follow. Still red: `medal doctor` |
| exit 2 | parameters or settings are wrong | correct them as the message says, clear the task |
| exit 3 in `check` | the gate blocked; the old release stays live | open the report named in the log of `report`; mend the cause, clear `plan` with all that follows it |
| exit 4 in `plan` | the catalogue or the teacher breaks its contract | mend the file, clear `plan` with all that follows it |
| exit 4 in `plan`: unlike the catalogue of … | the feed is cut off, or stock, prices or images broke | mend the feed; if it is meant, a new run with `accept` as the message says |
| exit 1 | a bug | keep the log; `medal summary --run-id …` tells how far it got; live lists are untouched |
| killed by SIGKILL | mostly: out of memory | give the worker more, or lower `spark.driver_memory`; clear the task, it resumes |
| one of `embed_shard` is red | its machine or its images, as its last line says | mend that, clear this one with what follows it: the others are not run again |
| lists are live and wrong | | `medal releases`, then `medal rollback --to N` |
| days are missing | | DAG `medal_backfill`, first without `apply` |
| tasks stay queued | pool `medal_lake` missing or taken | `airflow pools set medal_lake 1 "one writer"`, `airflow pools list` |
| `embed_shard` stays queued | pool `medal_shards` missing or taken | `airflow pools set medal_shards N "shards at once"` |

Full text: `docs/operations.md`; setting up: `docs/airflow.md`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, CronTriggerTimetable, Param, chain

from medal_airflow import (
    EVERY_TASK,
    POOL,
    REPORT_RULE,
    SHARD_POOL,
    PlanOperator,
    ShardOperator,
    Site,
    StageOperator,
    shard_names,
)

with DAG(
    dag_id="medal_nightly",
    description="Complements for every product: plan, embed, complements, check, publish, report",
    doc_md=__doc__,
    # 01:00 UTC is after midnight in the shop's time zone (Europe/Berlin: 02:00 or 03:00), when the day's catalogue
    # export is there. In UTC, because a local 02:30 comes twice or never on the days when the clock changes.
    schedule=CronTriggerTimetable("0 1 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # an older date must be asked for, with a reason: medal_backfill
    max_active_runs=1,
    params={
        "run_date": Param(
            None, type=["null", "string"], format="date", description="YYYY-MM-DD; empty: this run's day"
        ),
        "catalog": Param(None, type=["null", "string"], description="Catalogue file; empty: MEDAL_NIGHTLY_CATALOG"),
        "model": Param(None, type=["null", "string"], description="Teacher's folder; empty: MEDAL_NIGHTLY_TEACHER"),
        "publish": Param(True, type="boolean", description="Off: write the lake, leave the live lists alone"),
        "accept": Param(
            None,
            type=["null", "string"],
            description="departed, sold_out, prices, images or all: changes that are meant",
        ),
        "dry_run": Param(False, type="boolean", description="Say what would be done and stop"),
    },
    tags=["medal"],
) as dag:
    plan = PlanOperator(task_id="plan", pool=POOL)
    # No parameter of a run: how many machines embed is the site's, and with one the night has no task for it.
    parts = []
    if (shards := Site.read().shards) > 1:
        part = ShardOperator.partial(
            task_id="embed_shard", pool=SHARD_POOL, map_index_template="shard {{ task.shard }}", **EVERY_TASK
        )
        parts.append(part.expand(shard=shard_names(shards)))
    embed = StageOperator(task_id="embed", pool=POOL)
    complements = StageOperator(task_id="complements", pool=POOL)
    check = StageOperator(task_id="check", pool=POOL)
    publish = StageOperator(task_id="publish", pool=POOL)
    report = StageOperator(task_id="report", pool=POOL, trigger_rule=REPORT_RULE)
    summary = StageOperator(task_id="summary")

    chain(plan, *parts, embed, complements, check, publish)
    [complements, check, publish] >> report
    # A run is as good as its last tasks: without this edge a good report would turn a blocked night green.
    [publish, report] >> summary
