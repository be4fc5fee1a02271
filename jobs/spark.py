"""The Spark session: jars, Delta, S3A, settings for small data and clusters.

Jars are resolved through Ivy once, at set-up (`python -m jobs.spark`); sessions start from those files alone. The
executors of a cluster get this project as an archive (`python -m jobs.spark archive FILE.zip`, docs/scaling.md).
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import SettingsError, TransientError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.settings import Settings

# The pair that works: 4.4.1 lacks its jar, and pyspark 4.2 lacks a matching 4.4.0 jar (design section 7).
SPARK_LINE, DELTA = "4.1", "4.4.0"
_AWS = "2.29.52"  # what hadoop-aws 3.4.2 was built against
COORDINATES = (
    f"io.delta:delta-spark_{SPARK_LINE}_2.13:{DELTA}",
    "org.apache.hadoop:hadoop-aws:3.4.2",
    *(f"software.amazon.awssdk:{part}:{_AWS}" for part in ("s3", "s3-transfer-manager", "apache-client", "sts")),
)
EXCLUDES = ("software.amazon.awssdk:bundle",)  # 580 MB of clients for everything AWS sells
MARKER = "medal-jars.json"
# Besides what Spark ships under the same name: replaced in Spark by another artifact (jcl-over-slf4j, RoaringBitmap).
_SHIPPED_OTHERWISE = {"commons-logging", "shims"}
_LOG4J = Path(__file__).with_name("log4j2.properties")
_ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("jobs", "medal_model", "schemas")
_NOT_SHIPPED = "jobs/sample/teacher"  # megabytes that no executor reads
_UNPACKED = "medal"  # folder of an executor's working directory that the archive is unpacked into


@dataclass(frozen=True)
class Jars:
    """The jars of `jars_dir`; `fresh` where this call resolved them."""

    files: tuple[Path, ...]
    fresh: bool

    @property
    def megabytes(self) -> float:
        return sum(f.stat().st_size for f in self.files) / 1e6


def check_versions() -> None:
    """Raises SettingsError unless pyspark, delta-spark and the jars are the pair that works together."""
    try:
        spark, delta = (importlib.metadata.version(p) for p in ("pyspark", "delta-spark"))
    except importlib.metadata.PackageNotFoundError as e:
        raise SettingsError(f"package {e.name} is not installed; run `make install` (extra `lists`)") from e
    if not spark.startswith(SPARK_LINE + ".") or delta != DELTA:
        raise SettingsError(
            f"pyspark {spark} and delta-spark {delta} do not pair; this job needs pyspark {SPARK_LINE}.x with "
            f"delta-spark {DELTA}; run `make install`"
        )


def find_jars(jars_dir: Path) -> Jars:
    """The jars kept by `make install`. Raises SettingsError where they are absent, damaged or of other versions."""
    try:
        said = json.loads((jars_dir / MARKER).read_text(encoding="utf-8"))
        sizes: dict[str, int] = said["files"]
        wanted = said["coordinates"] == list(COORDINATES)
    except (OSError, ValueError, KeyError, TypeError):
        raise SettingsError(f"{jars_dir}: no Spark jars here; run `make install` (python -m jobs.spark)") from None
    files = tuple(jars_dir / name for name in sorted(sizes))
    if not wanted or any(not f.is_file() or f.stat().st_size != sizes[f.name] for f in files):
        raise SettingsError(f"{jars_dir}: Spark jars of other versions or damaged; run `make install` again")
    return Jars(files, fresh=False)


def fetch_jars(jars_dir: Path) -> Jars:
    """Resolve the jars through Ivy into `jars_dir`, unless they are there. Quiet. Raises TransientError."""
    check_versions()
    try:
        return find_jars(jars_dir)
    except SettingsError:
        pass
    jars_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".jars-", dir=jars_dir.parent) as scratch:
        found = _resolve(Path(scratch) / "ivy")
        new = Path(scratch) / "new"
        new.mkdir()
        for jar in found:
            shutil.move(jar, new / jar.name)
        sizes = {f.name: f.stat().st_size for f in new.iterdir()}
        marker = json.dumps({"coordinates": list(COORDINATES), "files": sizes}, indent=1, sort_keys=True)
        (new / MARKER).write_text(marker + "\n", encoding="utf-8")
        if jars_dir.exists():
            shutil.rmtree(jars_dir)
        new.rename(jars_dir)
    return Jars(find_jars(jars_dir).files, fresh=True)


def _resolve(ivy: Path) -> list[Path]:
    """Jars of COORDINATES less those that Spark ships. Ivy's hundreds of lines are shown only where it fails."""
    # In a process of its own: the JVM that resolved keeps Ivy's class loader for the life of the process.
    script = (
        "from pyspark.sql import SparkSession as S\n"
        "b = S.builder.master('local[1]').config('spark.ui.enabled', 'false')\n"
        f"b = b.config('spark.jars.packages', {','.join(COORDINATES)!r})\n"
        f"b = b.config('spark.jars.excludes', {','.join(EXCLUDES)!r})\n"
        f"b.config('spark.jars.ivy', {str(ivy.resolve())!r}).getOrCreate().stop()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    jars = sorted((ivy / "jars").glob("*.jar"))
    if done.returncode or not jars:
        said = (done.stdout + done.stderr).splitlines()
        why = [line for line in said if "FAILED" in line or "Exception" in line or "::" in line]
        raise TransientError(
            f"Spark jars could not be resolved through Ivy: {' | '.join(why[-3:]) or f'exit {done.returncode}'}; "
            "check Java 17 and the network, then run `make install` again"
        )
    import pyspark

    shipped = {_artifact(p.name) for p in (Path(pyspark.__file__).parent / "jars").glob("*.jar")} | _SHIPPED_OTHERWISE
    # Ivy names them <organisation>_<artifact>-<version>.jar.
    return [j for j in jars if _artifact(j.name.partition("_")[2]) not in shipped]


def _artifact(jar: str) -> str:
    return re.sub(r"-\d[\w.\-]*\.jar$", "", jar)


def code_files() -> dict[str, Path]:
    """What an executor needs of this project, by path in the archive: all files of the packages but for byte code."""
    files = [f for package in PACKAGES for f in (_ROOT / package).rglob("*") if f.is_file()]
    named = {f.relative_to(_ROOT).as_posix(): f for f in files if "__pycache__" not in f.parts}
    return {name: named[name] for name in sorted(named) if not name.startswith(_NOT_SHIPPED)}


def _machine_code() -> dict[str, Path]:
    """What numba has compiled here, beside the source. Executors on another kind of processor pass over it."""
    files = sorted(f for package in PACKAGES for f in (_ROOT / package).rglob("__pycache__/*.nb[ic]"))
    return {f.relative_to(_ROOT).as_posix(): f for f in files}


def write_archive(out: Path) -> Path:
    """The project's packages with their data files as a zip for `spark.archive`.

    With the machine code that is there: an executor starts with a folder of its own, so each would compile again, for
    about 11 s a core. Raises SettingsError for another ending than .zip: Spark unpacks by it.
    """
    if out.suffix != ".zip":
        raise SettingsError(f"{out}: the archive must be named *.zip, since Spark unpacks by the ending")
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, file in {**code_files(), **_machine_code()}.items():
            entry = zipfile.ZipInfo(name)  # dated 1980
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    scratch.write_bytes(data.getvalue())
    scratch.replace(out)
    return out


def check_archive(archive: Path) -> None:
    """Raises SettingsError unless the archive holds the code that runs here: executors must not run another."""
    try:
        with zipfile.ZipFile(archive) as opened:
            there = {e.filename: e.CRC for e in opened.infolist() if not e.filename.endswith((".nbi", ".nbc"))}
    except (OSError, zipfile.BadZipFile) as e:
        raise SettingsError(
            f"spark.archive {archive}: cannot be read ({e}); write it by `python -m jobs.spark archive {archive}`"
        ) from e
    here = {name: zlib.crc32(file.read_bytes()) for name, file in code_files().items()}
    if differing := sorted(n for n in here.keys() | there.keys() if here.get(n) != there.get(n)):
        raise SettingsError(
            f"spark.archive {archive}: holds other code than runs here ({len(differing)} files differ, first "
            f"{differing[0]}); write it again by `python -m jobs.spark archive {archive}`"
        )


def session(settings: Settings, app: str) -> SparkSession:
    """The process's Spark session, started where there is none.

    Raises SettingsError (versions, jars, archive, Java) and TransientError where a cluster's master does not answer.
    """
    check_versions()
    jars = find_jars(settings.spark.jars_dir)
    if settings.spark.archive is not None and not _is_local(settings):
        check_archive(settings.spark.archive)
    # Spark's launcher and workers learn the interpreter from the environment alone.
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["PYSPARK_PYTHON"] = settings.spark.executor_python or sys.executable
    from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(app).master(settings.spark.master)
    for key, value in _conf(settings, jars).items():
        builder = builder.config(key, value)
    try:
        spark = builder.getOrCreate()
    except PySparkRuntimeError as e:
        raise SettingsError(f"Spark did not start: {e}; is Java 17 installed? (see `medal doctor`)") from e
    except Py4JJavaError as e:
        said = str(e.java_exception).splitlines()[0]
        raise TransientError(
            f"Spark at {settings.spark.master} (spark.master) took no session: {said}; does its master answer?"
        ) from e
    return spark


def _is_local(settings: Settings) -> bool:
    return settings.spark.master.startswith("local")


def _conf(settings: Settings, jars: Jars) -> dict[str, str]:
    conf = {
        "spark.jars": ",".join(str(f.resolve()) for f in jars.files),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.driver.memory": settings.spark.driver_memory,
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={_LOG4J.as_uri()}",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # Defaults of 200 and 50 make small tables four times slower (design section 7); a large one is cut by bytes.
        "spark.sql.shuffle.partitions": "4",
        "spark.databricks.delta.snapshotPartitions": "2",
        # Both engines must read every table (design section 4).
        "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
        "spark.databricks.delta.properties.defaults.columnMapping.mode": "none",
    }
    if _is_local(settings):
        # The JVM lives for a minute and copies bytes: at 7,200 products the first compiler alone and one collector
        # thread take two thirds of the processor time of the defaults, half of it on the sample.
        conf["spark.driver.extraJavaOptions"] += " -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        # A laptop's host name need not resolve; nothing outside talks to a local session.
        conf |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
        # Its workers find this very code wherever they are started from.
        conf["spark.executorEnv.PYTHONPATH"] = str(_ROOT)
    else:
        # How many shares the search is dealt in follows the cores there are: of those asked for (spark.cores.max on a
        # standalone master) most must be there first, for which a standalone master does not wait otherwise.
        conf["spark.scheduler.minRegisteredResourcesRatio"] = "0.8"
        if settings.spark.archive is not None:
            # Unpacked, since data files are read by path and numba keeps machine code beside the source. Executors
            # start their Python in the folder that they unpack into, and PYTHONPATH goes before what is installed.
            conf["spark.archives"] = f"{settings.spark.archive.resolve().as_uri()}#{_UNPACKED}"
            conf["spark.executorEnv.PYTHONPATH"] = f"./{_UNPACKED}"
    if settings.lake.startswith("s3://"):
        conf |= {"spark.hadoop.fs.s3a.path.style.access": "true"}
        if endpoint := settings.s3_endpoint_url:
            conf |= {
                "spark.hadoop.fs.s3a.endpoint": endpoint,
                "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",  # other servers take any; without one S3A asks AWS
                "spark.hadoop.fs.s3a.connection.ssl.enabled": str(endpoint.startswith("https://")).lower(),
            }
    return conf | settings.spark.conf


@contextmanager
def alive(settings: Settings) -> Iterator[None]:
    """Use of a session: the end of its JVM, killed for memory as a rule, raises TransientError."""
    from py4j.protocol import Py4JNetworkError

    try:
        yield
    except (Py4JNetworkError, ConnectionError) as e:
        raise TransientError(
            "Spark's JVM ended in the middle of the work; was it killed for memory (see the kernel's log)? It may take "
            f"{settings.spark.driver_memory} (spark.driver_memory) beside its Python workers; run the stage again"
        ) from e


def stop(spark: SparkSession) -> None:
    """Stop a session and its JVM, so that the stages after it have the memory. One whose JVM has ended is cleared."""
    from py4j.protocol import Py4JError
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    gateway = SparkContext._gateway
    try:
        spark.stop()
    except (Py4JError, ConnectionError):
        SparkContext._active_spark_context = SparkSession._instantiatedSession = None
    if gateway is None:
        return
    process = getattr(gateway, "proc", None)
    gateway.shutdown()
    SparkContext._gateway = SparkContext._jvm = None
    if process is not None and process.stdin is not None:
        process.stdin.close()  # the gateway's JVM ends at the end of its input
        process.wait(timeout=30)


def main() -> None:
    """`python -m jobs.spark`: what `make install` calls. `python -m jobs.spark archive FILE.zip`: for executors."""
    from jobs.errors import MedalError
    from jobs.settings import load_settings

    try:
        match sys.argv[1:]:
            case []:
                settings = load_settings()
                jars = fetch_jars(settings.spark.jars_dir)
                state = "fetched" if jars.fresh else "there already"
                said = f"{len(jars.files)} files, {jars.megabytes:.0f} MB in {settings.spark.jars_dir} ({state})"
                print(f"Spark jars: {said}")
            case ["archive", file]:
                out = write_archive(Path(file))
                parts = f"{len(code_files())} files, {len(_machine_code())} of machine code"
                print(f"archive for executors: {parts}, {out.stat().st_size / 1e6:.1f} MB in {out}")
            case _:
                raise SettingsError("usage: python -m jobs.spark [archive FILE.zip]")
    except MedalError as e:
        print(f"jobs.spark: {e}", file=sys.stderr)
        sys.exit(e.exit_code)


if __name__ == "__main__":
    main()
