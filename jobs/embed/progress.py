"""How far the stage is: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_EVERY_S = 10.0


class Told:
    """Progress over `total` images."""

    def __init__(self, total: int, log: Callable[[str], None]) -> None:
        self._total, self._log = total, log
        self._done = self._failed = 0
        self._begun = self._said = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            rate = TextColumn("{task.fields[rate]:,.0f} images/s, {task.fields[failed]:,} failed")
            columns = (TextColumn("embed"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("embed", total=total, rate=0.0, failed=0)

    def __enter__(self) -> Told:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def one(self, failed: bool) -> None:
        """An image more has its outcome."""
        self._done += 1
        self._failed += failed
        now = time.monotonic()
        rate = self._done / max(1e-6, now - self._begun)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, rate=rate, failed=self._failed)
        elif now - self._said >= _EVERY_S:
            self._said = now
            left = (self._total - self._done) / max(rate, 1e-6)
            self._log(
                f"embed: {self._done:,} of {self._total:,} images, {rate:,.1f} a second, {self._failed:,} failed, "
                f"about {left / 60:,.0f} min left"
            )
