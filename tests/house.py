"""Running `medal` as an operator does: a process, its exit code, what it left in lake and store."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.lake import Lake
from jobs.runs import Manifest

ROOT = Path(__file__).resolve().parents[1]
CONTENT = ("catalog", "embeddings", "quarantine", "candidates", "complements")


@dataclass
class House:
    """A lake and a store of its own, and the CLI on them."""

    root: Path
    teacher: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def lake(self) -> Lake:
        return Lake(str(self.root / "lake"))

    def environment(self, **extra: str) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("MEDAL_")},
            "MEDAL_LAKE": str(self.root / "lake"),
            "MEDAL_STORE__PATH": str(self.root / "pdp.sqlite"),
            "MEDAL_SPARK__JARS_DIR": str(ROOT / ".jars"),
            "MEDAL_SPARK__MASTER": "local[2]",
            "MEDAL_EMBED__SLICE_SIZE": "24",
            "MEDAL_EMBED__BATCH_SIZE": "8",
            "MEDAL_LISTS__DEPTH": "16",
            "MEDAL_LISTS__K": "6",
            # The sample's two broken photos are both shoes: of its few shoes that is a large share.
            "MEDAL_GATE__MIN_COVERAGE": "0.5",
            "MEDAL_GATE__MIN_CATEGORY_COVERAGE": "0.5",
            **self.env,
            **extra,
        }

    def start(self, *args: str, **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "jobs", *args],
            env=self.environment(**extra),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def medal(self, *args: str, expect: int = 0, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a command line; the exit code must be the expected one (negative: killed by that signal)."""
        process = self.start(*args, **extra)
        out, err = process.communicate(timeout=300)
        assert process.returncode == expect, f"{args}: exit {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def nightly(self, catalog: Path, date: str, *more: str, expect: int = 0, **extra: str) -> Any:
        return self.medal(
            "nightly", "--catalog", str(catalog), "--teacher", str(self.teacher), "--run-date", date, *more,
            expect=expect, **extra,
        )  # fmt: skip

    def plan(self, catalog: Path, date: str, *more: str, **extra: str) -> str:
        done = self.medal(
            "plan", "--catalog", str(catalog), "--teacher", str(self.teacher), "--run-date", date, *more, **extra
        )
        return done.stdout.strip().splitlines()[-1].removeprefix("run_id=")

    def manifest(self, run_id: str) -> Manifest:
        return self.lake.manifest(run_id)

    def versions(self) -> dict[str, int]:
        """Newest versions of the content tables."""
        return {t: self.lake.version(t) for t in CONTENT}

    def content(self, run_id: str) -> dict[str, list[dict[str, Any]]]:
        """What a run says: the rows of the content tables at its versions, in key order."""
        from schemas.tables import TABLES

        manifest = self.manifest(run_id)
        out = {}
        for name in CONTENT:
            rows = self.lake.read(name, manifest.version(name)).to_pylist()
            out[name] = sorted(rows, key=lambda r: tuple(str(r[k]) for k in TABLES[name].key))
        return out

    def store(self) -> Any:
        from jobs.publish.stores import open_store
        from jobs.settings import Settings, StoreSettings

        return open_store(Settings(store=StoreSettings(path=self.root / "pdp.sqlite")))
