"""A `medal` whose exit codes a test decides."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
DAGS = REPO / "dags"

FAKE = r"""#!/bin/sh
# A `medal` that does what the test wrote down: folder/<command> holds one exit code (or "kill") a line, one per call;
# for a shard it is folder/<command>.<i>.
here=$(dirname "$0")
key=$1
for a in "$@"; do case "$a" in --shard=*) a=${a#--shard=}; key=$1.${a%%/*};; esac; done
echo "$*" >> "$here/calls"
echo "$1 was called" >&2
if [ -s "$here/$key" ]; then
  code=$(head -n 1 "$here/$key"); sed -i 1d "$here/$key"
else
  code=0
fi
if [ "$code" = kill ]; then kill -9 $$; fi
if [ "$code" != 0 ]; then echo "medal: $1 said no" >&2; exit "$code"; fi
if [ "$1" = plan ]; then echo "7 rows"; echo "run_id=2026-11-25-all-g1"; fi
"""


class FakeMedal:
    """A `medal` whose exit codes a test decides, and the calls it got."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.bin = folder / "medal"
        self.bin.write_text(FAKE)
        self.bin.chmod(self.bin.stat().st_mode | stat.S_IXUSR)

    def will(self, command: str, *codes: int | str) -> None:
        (self.folder / command).write_text("".join(f"{c}\n" for c in codes))

    @property
    def calls(self) -> list[str]:
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []


Drive = Callable[[list[dict[str, Any]]], dict[str, Any]]
"""Scenarios (driver.py) in, what happened out."""
