"""What a test needs from outside Python: skipped with a reason where it is missing, failed in CI.

`MEDAL_REQUIRE_ALL=1` (set by `.ci/run`) turns every such skip into a failure, so that a missing server never
passes as a green run.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NODE_BIN = ROOT / "tests" / "node" / "node_modules" / ".bin"


def missing(component: str) -> str | None:
    """Why a component cannot be used here, with the mend; None where it can."""
    if component == "dynalite":
        if not (NODE_BIN / "dynalite").exists() or shutil.which("node") is None:
            return "dynalite is not installed; run `npm ci --prefix tests/node` (needs Node.js 18 or newer)"
        return None
    if component == "chromium":
        return None if chromium() else "chromium is not installed; `apt-get install chromium`"
    if component == "versitygw":
        return None if versitygw() else "versitygw is not on the PATH; DEVELOPERS.md says how to install it"
    if component == "java":
        return None if shutil.which("java") else "Java 17 is not on the PATH; `apt-get install openjdk-17-jre-headless`"
    if component == "clip-retrieval":
        there = any((ROOT / "var" / "peers-embed").glob("lib/python3*/site-packages/clip_retrieval"))
        return None if there else "clip-retrieval is not installed; `make peers-embed`"
    raise ValueError(f"unknown component {component}")


def versitygw() -> str | None:
    """Path of the S3 server's binary: on the PATH, or where `go install` puts it."""
    gopath = os.environ.get("GOPATH") or str(Path.home() / "go")
    return shutil.which("versitygw") or shutil.which("versitygw", path=f"{gopath}/bin")


def chromium() -> str | None:
    """Path of a Chromium or Chrome binary."""
    return next((found for n in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(n))), None)


def require(component: str) -> None:
    """Skip the calling test or fixture where a component is missing; fail it under MEDAL_REQUIRE_ALL=1."""
    if why := missing(component):
        if os.environ.get("MEDAL_REQUIRE_ALL") == "1":
            pytest.fail(f"MEDAL_REQUIRE_ALL=1 and {why}", pytrace=False)
        pytest.skip(why)
