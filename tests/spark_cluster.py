"""A standalone Spark cluster on this machine: a master and two workers of the pyspark package, as processes.

Workers run in a folder and an environment of their own, so that executors have nothing of the driver's but what Spark
sends them. `python tests/spark_cluster.py ROOT` is the driver: it makes lists as it is told, a line of JSON an order.
Every process is in a session (setsid) of one of those started here, which is ended as a whole; and where this process
dies without a word, the kernel ends them (PR_SET_PDEATHSIG), and the executors with their worker.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_MASTER, _WORKER = (f"org.apache.spark.deploy.{name}" for name in ("master.Master", "worker.Worker"))
_START_S = 60.0
# Java's own and Spark's pools are sized for a machine each; here a dozen of them share two cores.
_THRIFTY = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
_WITH_PARENT = (  # PR_SET_PDEATHSIG = 1; it outlives the exec
    "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGKILL); os.execv(sys.argv[1], sys.argv[1:])"
)


def members(session: int) -> dict[int, str]:
    """Processes of a session (setsid): command lines by process id."""
    out = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # ended meanwhile
                continue
            if int(after_name[3]) == session and after_name[0] != "Z":
                out[int(entry.name)] = command
    return out


def kill_session(session: int) -> None:
    """SIGKILL to all of a session, until none is left."""
    while there := members(session):
        for pid in there:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)


@dataclass(frozen=True)
class Process:
    """A process that leads a session, and what it says."""

    process: subprocess.Popen[str]
    log: Path

    @property
    def session(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        kill_session(self.session)
        self.process.wait()

    def wait_for(self, pattern: str) -> str:
        """The first group of the first line of its log that matches. Raises AssertionError with the log."""
        end = time.monotonic() + _START_S
        while True:
            said = self.log.read_text(encoding="utf-8")
            if found := re.search(pattern, said):
                return found[1]
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{self.log.stem} did not start:\n{said[-3000:]}")
            time.sleep(0.05)


@dataclass(frozen=True)
class Cluster:
    master: str
    workers: tuple[Process, ...]
    work: Path  # of the workers


@contextmanager
def cluster(folder: Path, *, workers: int = 2) -> Iterator[Cluster]:
    """A master and workers of one core each, on 127.0.0.1 and ports that are free. All processes end with the block."""
    import pyspark

    spark_class = str(Path(pyspark.__file__).parent / "bin" / "spark-class")
    home = folder / "home"
    home.mkdir(parents=True)
    env = {n: os.environ[n] for n in ("PATH", "JAVA_HOME", "LANG") if n in os.environ} | {
        "HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_DIRS": str(folder / "local"),
        "SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": _THRIFTY,
    }  # fmt: skip
    with ExitStack() as stack:

        def start(name: str, *command: str) -> Process:
            log = folder / f"{name}.log"
            with log.open("w", encoding="utf-8") as out:
                process = subprocess.Popen(
                    [sys.executable, "-c", _WITH_PARENT, spark_class, *command], cwd=home, env=env, text=True,
                    stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                )  # fmt: skip
            started = Process(process, log)
            stack.callback(started.kill)
            return started

        on = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        address = start("master", _MASTER, *on).wait_for(r"Starting Spark master at (spark://\S+)")
        work = folder / "work"
        each = ("--cores", "1", "--memory", "1g", "--work-dir", str(work))
        started = [start(f"worker-{n}", _WORKER, *on, *each, address) for n in range(workers)]
        for worker in started:
            worker.wait_for(r"(Successfully registered with master)")
        yield Cluster(address, tuple(started), work)


class Driver:
    """The driver in a process of its own: a pytest process may hold another Spark session already."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def ask(self, **order: Any) -> dict[str, Any]:
        """An order's answer. Raises AssertionError with what the driver said where it fails."""
        process = self._process.process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, f"the driver ended:\n{self._process.log.read_text(encoding='utf-8')[-5000:]}"
        return dict(json.loads(line))


@contextmanager
def driver(folder: Path, cluster: Cluster, archive: Path) -> Iterator[Driver]:
    """A driver on a cluster, with its session started at the first order."""
    about = {"master": cluster.master, "archive": str(archive), "workers": len(cluster.workers)}
    log = folder / "driver.log"
    with log.open("w", encoding="utf-8") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", _WITH_PARENT, sys.executable, __file__, json.dumps(about)], text=True, cwd=folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, start_new_session=True,
        )  # fmt: skip
    started = Process(process, log)
    try:
        yield Driver(started)
    finally:
        started.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


# --- the driver's side ----------------------------------------------------------------------------------------


def serve(about: dict[str, Any]) -> None:
    """Orders from stdin, a line each; answers to stdout."""
    from jobs.settings import Settings, SparkSettings
    from jobs.spark import session

    conf = {
        "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.driver.memory": "512m",
        "spark.cores.max": str(about["workers"]), "spark.executor.cores": "1", "spark.executor.memory": "512m",
        "spark.executor.extraJavaOptions": _THRIFTY, "spark.driver.extraJavaOptions": _THRIFTY,
    }  # fmt: skip
    spark_settings = SparkSettings(
        master=about["master"], jars_dir=ROOT / ".jars", archive=Path(about["archive"]), conf=conf
    )
    spark = session(Settings(spark=spark_settings), "medal cluster test")
    for line in sys.stdin:
        order = json.loads(line)
        answer = night(spark, order) if order["do"] == "night" else executors(spark)
        print(json.dumps(answer), flush=True)


def night(spark: Any, order: dict[str, Any]) -> dict[str, Any]:
    """One night's lists: what the stage says. `victim`: a worker that is killed, with its executor, in mid-search."""
    import pyarrow.parquet as pq
    from lists_world import context, draw_weights

    from jobs.complements.job import make_lists
    from jobs.stage import StageContext

    killed: dict[str, Any] = {}

    class Striking(StageContext):
        def fault(self, name: str) -> None:
            if order.get("victim") and name == "complements.searching" and not killed:
                killed["commands"] = list(members(order["victim"]).values())
                tracker = spark.sparkContext.statusTracker()
                stages = [s for i in tracker.getActiveStageIds() if (s := tracker.getStageInfo(i)) is not None]
                kill_session(order["victim"])
                killed["done"] = sum(s.numCompletedTasks for s in stages)
                killed["shares"] = sum(s.numTasks for s in stages)

    ctx = context(order["root"], run_id=order["run_id"], **order["settings"])
    ctx = Striking(ctx.settings, ctx.lake, ctx.manifest, ctx.taxonomy, ctx.lease)
    result = make_lists(ctx, pq.read_table(order["products"]), draw_weights())
    ctx.lake.save_manifest(ctx.manifest.with_stage(result))
    return {"writes": dict(result.writes), "counts": dict(result.counts), "note": result.note, "killed": killed}


def executors(spark: Any) -> dict[str, Any]:
    """What the executors' Python processes are, and where their code of this project is from."""

    def look(batches: Any) -> Any:
        import sys as there

        import pyarrow as pa

        import jobs.complements.worker

        assert jobs.complements.worker
        names = {m.__file__ for n, m in list(there.modules.items()) if n.split(".")[0] in ("jobs", "schemas")}
        data = Path(jobs.complements.worker.__file__).parents[2] / "schemas" / "taxonomy.yaml"
        for batch in batches:
            said = {"pid": os.getpid(), "cwd": os.getcwd(), "home": os.environ["HOME"], "data": data.is_file(),
                    "files": sorted(names)}  # fmt: skip
            yield pa.record_batch({"said": [json.dumps(said)] * batch.num_rows})

    rows = spark.range(0, 4, 1, 4).mapInArrow(look, "said string").collect()
    return {"pid": os.getpid(), "cwd": os.getcwd(), "said": [json.loads(r["said"]) for r in rows]}


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    serve(json.loads(sys.argv[1]))
