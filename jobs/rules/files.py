"""Rules as files: the shop's `rules.yaml`, and the copy that a run keeps so that a retry sees the same."""

from __future__ import annotations

from pathlib import Path

from jobs.errors import DataError, SettingsError
from jobs.lake import Lake
from jobs.rules.compile import rule_key
from schemas.rules import EMPTY, Rules, RulesError, parse_rules, read_rules


def load(path: Path | None) -> Rules:
    """The shop's rules; none without a path. Raises SettingsError where there is no such file, DataError if wrong."""
    if path is None:
        return EMPTY
    if not path.is_file():
        raise SettingsError(f"{path}: no such rules file; create it, or take the setting rules out (docs/rules.md)")
    try:
        return read_rules(path)
    except RulesError as e:
        raise DataError(str(e)) from e


def keep(lake: Lake, run_id: str, rules: Rules) -> None:
    """Copy the rules canonically into the run's folder; before the manifest that names them."""
    if rules:
        lake.files.write(_name(run_id), rules.to_json().encode())
    else:
        lake.files.remove(_name(run_id))  # what a plan that was killed may have left


def rules_of(lake: Lake, run_id: str) -> Rules:
    """The rules a run was planned with; EMPTY where there were none.

    Raises DataError where the copy is not what the manifest names.
    """
    plan = lake.manifest(run_id).plan
    data = lake.files.read(_name(run_id))
    try:
        rules = EMPTY if data is None else parse_rules(data.decode(), _name(run_id))
    except (RulesError, UnicodeDecodeError) as e:
        raise DataError(f"{_name(run_id)}: is damaged ({e}); plan the date again with --recompute") from e
    if rule_key(rules, plan.run_date) != plan.inputs.rules:
        raise DataError(f"{_name(run_id)}: holds other rules than planned; plan the date again with --recompute")
    return rules


def _name(run_id: str) -> str:
    return f"runs/{run_id}/rules.json"
