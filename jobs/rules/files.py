"""Rules as files: the shop's `rules.yaml`, and the copy that a run keeps so that a retry sees the same."""

from __future__ import annotations

from pathlib import Path

from jobs.lake import Lake
from schemas.rules import Rules


def load(path: Path | None) -> Rules:
    """The shop's rules; none without a path. Raises SettingsError where there is no such file, DataError if wrong."""
    raise NotImplementedError


def keep(lake: Lake, run_id: str, rules: Rules) -> None:
    """Copy the rules canonically into the run's folder."""
    raise NotImplementedError


def rules_of(lake: Lake, run_id: str) -> Rules:
    """The rules a run was planned with; EMPTY where there were none. Raises DataError where the copy is damaged."""
    raise NotImplementedError
