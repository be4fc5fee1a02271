"""What the gate says: each check's outcome, and whether the run may be published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Outcome = Literal["passed", "failed", "crashed"]
_NAMED = 6  # checks named in the one line


@dataclass(frozen=True)
class CheckResult:
    """One check: `passed`, `failed` (it ran, the data are wrong), or `crashed` (it never gave an answer)."""

    suite: str
    check: str
    severity: str  # critical, warning
    outcome: Outcome
    observed: str = ""
    expected: str = ""
    message: str = ""

    @property
    def name(self) -> str:
        return f"{self.suite}.{self.check}"

    @property
    def blocks(self) -> bool:
        """A failed critical check blocks; a crashed one always does, whatever its severity."""
        return self.outcome == "crashed" or (self.outcome == "failed" and self.severity == "critical")


@dataclass(frozen=True)
class Verdict:
    """All results of a run's gate. `docs`: where the Data Docs are, empty where none were written."""

    results: tuple[CheckResult, ...]
    docs: str = ""

    @property
    def blocked(self) -> bool:
        return not self.results or any(r.blocks for r in self.results)

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        return tuple(r for r in self.results if r.outcome == "failed" and r.severity == "critical")

    @property
    def crashed(self) -> tuple[CheckResult, ...]:
        return tuple(r for r in self.results if r.outcome == "crashed")

    @property
    def warnings(self) -> tuple[CheckResult, ...]:
        return tuple(r for r in self.results if r.outcome == "failed" and r.severity != "critical")

    def line(self) -> str:
        """One line for a person: what failed, what crashed, told apart, and where to look."""
        if not self.blocked:
            warned = f", {_count(len(self.warnings), 'warning')} ({_names(self.warnings)})" if self.warnings else ""
            return f"{_count(len(self.results), 'check')} ran, none blocks{warned}"
        parts = []
        if self.failed:
            parts.append(f"{_count(len(self.failed), 'check')} failed: {_names(self.failed, observed=True)}")
        if self.crashed:
            parts.append(f"{_count(len(self.crashed), 'check')} crashed, data unknown: {_names(self.crashed)}")
        if not self.results:
            parts.append("no check ran")
        return "; ".join(parts) + "; nothing was published" + (f"; Data Docs: {self.docs}" if self.docs else "")

    def to_json(self) -> str:
        return json.dumps({"docs": self.docs, "results": [asdict(r) for r in self.results]}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Verdict:
        raw = json.loads(text)
        return cls(tuple(CheckResult(**r) for r in raw["results"]), raw["docs"])


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _names(results: Sequence[CheckResult], observed: bool = False) -> str:
    named = [f"{r.name} ({r.observed})" if observed and r.observed else r.name for r in results[:_NAMED]]
    return ", ".join(named) + (f" and {len(results) - _NAMED} more" if len(results) > _NAMED else "")
