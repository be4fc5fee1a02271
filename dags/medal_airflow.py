"""What the DAGs share: how a `medal` command becomes an Airflow task.

Standard library and Airflow only. A task starts the command line, shows what it says and reads its exit code;
what a night *is* lives in `jobs/`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta
from typing import IO, Any, Literal
from zoneinfo import ZoneInfo

from airflow.sdk import BaseOperator, Context, TriggerRule
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, AirflowTaskTimeout

from medal_site import Site

POOL = "medal_lake"
"""One slot: one table-writing task at a time, over all runs and both DAGs (docs/airflow.md makes it)."""

SHARD_POOL = "medal_shards"
"""A slot for each shard of the embed stage that may run at once; wanted where `embed.shards` is above 1. Shards do not
take POOL: each holds the lake's lease only while it commits."""

RETRIES = 2
RETRY_DELAY = timedelta(minutes=2)
"""Longer than the write lease lives without a heartbeat (setting lease.ttl_s, 60 s): the lease of a run whose host
died has expired when the first retry comes."""

STAGE_LIMIT = timedelta(hours=6)
"""A hung stage must end before the next night is due, or `max_active_runs` keeps that one waiting as well."""

EVERY_TASK: dict[str, Any] = {"retries": RETRIES, "retry_delay": RETRY_DELAY, "execution_timeout": STAGE_LIMIT}
"""`partial` wants them said: the scheduler takes a mapped task's retries from there and never calls __init__."""

MEANING = {
    1: "a bug in medal",
    2: "bad arguments or settings",
    3: "gate blocked",
    4: "data break their contract",
    5: "a passing fault",
}

_KILL_AFTER_S = 20.0
_TAIL = 20


def refuse_unknown(conf: Mapping[str, Any] | None, known: Collection[str]) -> None:
    """Airflow accepts any key of a run's configuration silently; a misspelt `dry_run` would then run for real."""
    if unknown := sorted(set(conf or {}) - set(known)):
        raise AirflowFailException(
            f"unknown parameter {', '.join(unknown)}; this DAG knows {', '.join(sorted(known))}. Nothing was run"
        )


def run_date_of(given: str | None, logical_date: datetime | None, run_after: datetime, time_zone: str) -> str:
    """The date a run means: the parameter, else the logical date, else the day it was asked for.

    Both moments belong to the DAG run and not to the try, so that a retry after midnight keeps the date.
    """
    if given:
        try:
            return date.fromisoformat(given).isoformat()
        except ValueError:
            raise AirflowFailException(f"run_date '{given}' is no date; write it as YYYY-MM-DD") from None
    try:
        zone = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError):
        raise AirflowFailException(f"MEDAL_TIME_ZONE '{time_zone}' is unknown; write it like Europe/Berlin") from None
    return (logical_date or run_after).astimezone(zone).date().isoformat()


def required(value: str | None, parameter: str, variable: str) -> str:
    if not value:
        raise AirflowFailException(f"no {parameter}: give the parameter, or set {variable} where the workers run")
    return value


def verdict(code: int) -> Literal["done", "retry", "fail"]:
    """What Airflow does about an exit code: only code 5 says that the same call may work later."""
    return "done" if code == 0 else "retry" if code == 5 else "fail"


def explain(command: str, code: int, last_line: str) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in iter(signal.Signals) else f"signal {-code}"
        hint = "; was it short of memory?" if name == "SIGKILL" else ""
        meaning = f"killed by {name}{hint}"
    else:
        meaning = f"exit {code}, {MEANING.get(code, 'unknown code')}"
    return f"medal {command}: {meaning}" + (f": {last_line}" if last_line else "")


class MedalOperator(BaseOperator):
    """Runs one `medal` command as a child process. Gives its standard output's lines.

    Raises AirflowException (which Airflow retries) for exit code 5, AirflowFailException (which it does not) for any
    other failure.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**(EVERY_TASK | kwargs))
        self._child: subprocess.Popen[str] | None = None
        self._stopped = False

    def arguments(self, context: Context, site: Site) -> list[str]:
        """The command's arguments. Raises AirflowFailException; AirflowSkipException where there is nothing to run."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        site = Site.read()
        return self.medal(self.arguments(context, site), site)

    def medal(self, arguments: list[str], site: Site) -> list[str]:
        self.log.info("medal %s", " ".join(arguments))
        try:
            self._child = child = subprocess.Popen(
                [str(site.bin), *arguments],
                cwd=site.home,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # so that on_kill reaches Spark's JVM and its workers too
            )
        except OSError as e:
            raise AirflowFailException(
                f"{site.bin}: cannot be started ({e.strerror}); set MEDAL_BIN and MEDAL_HOME"
            ) from e
        out: list[str] = []
        tail: deque[str] = deque(maxlen=_TAIL)
        readers = [
            threading.Thread(target=self._read, args=(child.stdout, out), daemon=True),
            threading.Thread(target=self._read, args=(child.stderr, tail), daemon=True),
        ]
        try:
            for reader in readers:
                reader.start()
            code = child.wait()
            for reader in readers:
                reader.join(timeout=5)  # a grandchild may keep a pipe open; its words no longer matter
        except AirflowTaskTimeout:
            raise AirflowFailException(
                f"medal {arguments[0]}: not done after {self.execution_timeout}; stopped"
            ) from None
        finally:
            self._end(child)
        if self._stopped:
            raise AirflowException(f"medal {arguments[0]}: stopped by Airflow")
        what = verdict(code)
        if what != "done":
            message = explain(arguments[0], code, tail[-1] if tail else "")
            raise (AirflowException if what == "retry" else AirflowFailException)(message)
        return out

    def on_kill(self) -> None:
        """Runs in a signal handler, with `wait` of the same child further up the stack: signals only, no waiting."""
        self._stopped = True
        if (child := self._child) is not None and child.returncode is None:
            _signal_group(child.pid, signal.SIGTERM)
            insist = threading.Timer(_KILL_AFTER_S, _signal_group, (child.pid, signal.SIGKILL))
            insist.daemon = True
            insist.start()

    def _read(self, pipe: IO[str], lines: list[str] | deque[str]) -> None:
        with pipe:
            for line in pipe:
                if line := line.rstrip():
                    lines.append(line)
                    self.log.info("%s", line)

    @staticmethod
    def _end(child: subprocess.Popen[str]) -> None:
        """Ends the child and all it started: asks, waits, then insists."""
        if child.poll() is None:
            _signal_group(child.pid, signal.SIGTERM)
            try:
                child.wait(_KILL_AFTER_S)
            except subprocess.TimeoutExpired:
                pass
        _signal_group(child.pid, signal.SIGKILL)
        child.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass  # nobody left in it


class PlanOperator(MedalOperator):
    """`medal plan`; its XCom is the run id. None in a dry run, which the stages take as "nothing to do"."""

    def arguments(self, context: Context, site: Site) -> list[str]:
        run, params = context["dag_run"], context["params"]
        refuse_unknown(run.conf, self.dag.params.keys())
        arguments = [
            "plan",
            f"--catalog={required(params['catalog'] or site.catalog, 'catalog', 'MEDAL_NIGHTLY_CATALOG')}",
            f"--teacher={required(params['model'] or site.teacher, 'model', 'MEDAL_NIGHTLY_TEACHER')}",
            f"--run-date={run_date_of(params['run_date'], run.logical_date, run.run_after, site.time_zone)}",
        ]
        if not params["publish"]:
            arguments.append("--no-publish")
        if params["accept"]:
            arguments.append(f"--accept={params['accept']}")
        if params["dry_run"]:
            arguments.append("--dry-run")
        return arguments

    def execute(self, context: Context) -> str | None:
        out = super().execute(context)
        last = out[-1] if out else ""
        if not last.startswith("run_id="):
            raise AirflowFailException(f"medal plan: the last line of its output is not run_id=…: '{last}'")
        if context["params"]["dry_run"]:
            self.log.info("dry run: nothing was written, no stage follows")
            return None
        return last.removeprefix("run_id=")


class StageOperator(MedalOperator):
    """`medal <task_id> --run-id …` on the run that the task `plan` made."""

    def arguments(self, context: Context, site: Site) -> list[str]:
        run_id = context["ti"].xcom_pull(task_ids="plan")
        if not run_id:
            raise AirflowSkipException("dry run")
        return [self.task_id, f"--run-id={run_id}"]

    def execute(self, context: Context) -> None:
        super().execute(context)


class ShardOperator(StageOperator):
    """`medal embed --run-id … --shard i/n`: a part of the stage that the task `embed` ends once all are done."""

    def __init__(self, *, shard: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard

    def arguments(self, context: Context, site: Site) -> list[str]:
        _, run_id = super().arguments(context, site)
        return ["embed", run_id, f"--shard={self.shard}"]


def shard_names(shards: int) -> list[str]:
    """All shards, as `medal embed --shard` is told one."""
    return [f"{i}/{shards}" for i in range(1, shards + 1)]


class BackfillOperator(MedalOperator):
    """`medal backfill` from a form."""

    def arguments(self, context: Context, site: Site) -> list[str]:
        params = context["params"]
        refuse_unknown(context["dag_run"].conf, self.dag.params.keys())
        first, last = (run_date_of(params[k], None, datetime.now().astimezone(), "UTC") for k in ("from", "to"))
        if first > last:
            raise AirflowFailException(f"from {first} is after to {last}; nothing was run")
        if not params["reason"].strip():
            raise AirflowFailException("a backfill needs a reason; nothing was run")
        arguments = [
            "backfill",
            f"--from={first}",
            f"--to={last}",
            f"--reason={params['reason'].strip()}",
            f"--teacher={required(params['model'] or site.teacher, 'model', 'MEDAL_NIGHTLY_TEACHER')}",
        ]
        if params["catalog_pattern"]:
            arguments.append(f"--catalog-pattern={params['catalog_pattern']}")
        if params["apply"]:
            arguments.append("--apply")
        if params["publish"]:
            arguments.append("--publish")
        return arguments

    def execute(self, context: Context) -> None:
        super().execute(context)


REPORT_RULE = TriggerRule.ALL_DONE_MIN_ONE_SUCCESS
"""After a blocked gate there are lists to show, so the report is made; after a failure before them there are none."""
