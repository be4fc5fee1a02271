"""Reading expectation suites, and turning each check into an expectation before anything runs.

A file that is no suite is a SettingsError. A check that names something unknown (an expectation, an argument, a
column, a frame, a threshold) is misspelt: it counts as crashed, which blocks, because a check that never ran
must not look like one that passed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import yaml

from jobs.errors import SettingsError
from jobs.quality.aggregates import EXAMPLES, Frame
from jobs.settings import Settings
from schemas.taxonomy import Taxonomy

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

SUITES = ("catalog", "embeddings", "complements")
SUITES_DIR = Path(__file__).parents[2] / "schemas" / "suites"
_KEYS = {"name", "about", "frame", "expectation", "kwargs", "severity"}
_ROW_COUNTS = ("expect_table_row_count_to_be_between", "expect_table_row_count_to_equal")
# Nulls are this one's business, or (unique) have a check of their own beside it.
_SEES_NULLS = ("expect_column_values_to_not_be_null", "expect_column_values_to_be_unique")
_COLUMN_KWARGS = ("column", "column_A", "column_B")

Severity = Literal["critical", "warning"]


class Misspelt(ValueError):
    """A check names something that does not exist; the message says what, and what may have been meant."""


@dataclass(frozen=True)
class Check:
    """One check of a suite file, thresholds not yet filled in."""

    suite: str
    name: str
    about: str
    frame: str
    expectation: str
    severity: Severity
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def load_suites(folder: Path | None = None) -> tuple[Check, ...]:
    """All checks of the three suites. Raises SettingsError naming file, check and key."""
    folder = folder or SUITES_DIR
    return tuple(check for name in SUITES for check in load_suite(folder / f"{name}.yaml", name))


def load_suite(path: Path, suite: str) -> tuple[Check, ...]:
    """The checks of one file. Every frame it uses must have a critical row-count check: empty frames pass others."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as e:
        raise SettingsError(f"{path}: cannot be read as a suite: {e}; see docs/gate.md") from e
    if not isinstance(raw, dict) or set(raw) != {"suite", "checks"} or raw["suite"] != suite:
        raise SettingsError(f"{path}: needs exactly the keys `suite: {suite}` and `checks`; see docs/gate.md")
    if not isinstance(raw["checks"], list) or not raw["checks"]:
        raise SettingsError(f"{path}: checks: a suite without checks passes everything; list at least one")
    checks = tuple(_check(path, suite, n, entry) for n, entry in enumerate(raw["checks"], 1))
    names = [c.name for c in checks]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise SettingsError(f"{path}: the check names {twice} stand twice")
    counted = {c.frame for c in checks if c.expectation in _ROW_COUNTS and c.severity == "critical"}
    if uncounted := sorted({c.frame for c in checks} - counted):
        raise SettingsError(
            f"{path}: frame {uncounted[0]}: has no critical row-count check; an empty frame passes most checks, "
            f"so add one of {list(_ROW_COUNTS)}"
        )
    return checks


def _check(path: Path, suite: str, n: int, raw: object) -> Check:
    where = f"{path}: check {n}"
    if not isinstance(raw, dict):
        raise SettingsError(f"{where}: must be a mapping with the keys {sorted(_KEYS)}")
    where += f" ({raw.get('name', 'no name')})"
    if unknown := set(raw) - _KEYS:
        raise SettingsError(f"{where}: unknown key {sorted(map(str, unknown))}; known are {sorted(_KEYS)}")
    if missing := _KEYS - {"kwargs"} - set(raw):
        raise SettingsError(f"{where}: missing key {sorted(missing)}")
    if raw["severity"] not in ("critical", "warning"):
        raise SettingsError(f"{where}: severity: '{raw['severity']}' is neither critical nor warning")
    if not isinstance(raw.get("kwargs", {}), dict):
        raise SettingsError(f"{where}: kwargs: must be a mapping of the expectation's arguments")
    text = {k: str(raw[k]) for k in ("name", "about", "frame", "expectation")}
    return Check(suite, severity=cast(Severity, raw["severity"]), kwargs=raw.get("kwargs", {}), **text)


def gate_values(settings: Settings, taxonomy: Taxonomy) -> dict[str, Any]:
    """What `$name` stands for in a suite: the thresholds of settings.gate, and the taxonomy's names."""
    thresholds = settings.gate.model_dump(exclude={"suites_dir"})
    return {**thresholds, "categories": list(taxonomy.categories), "departments": list(taxonomy.departments)}


def filled(check: Check, values: Mapping[str, Any]) -> dict[str, Any]:
    """The check's arguments with `$name` replaced by the value of that name. Raises Misspelt."""
    out: dict[str, Any] = {}
    for key, given in check.kwargs.items():
        if isinstance(given, str) and given.startswith("$"):
            if given[1:] not in values:
                raise Misspelt(f"no threshold '{given}'{_meant(given[1:], values, '$')}")
            given = values[given[1:]]
        out[key] = given
    return out


def build(check: Check, values: Mapping[str, Any], frame: Frame) -> Expectation:
    """The expectation of a check, its thresholds filled in, its names checked. Raises Misspelt."""
    from great_expectations.compatibility import pydantic
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    known = list_registered_expectation_implementations()
    if check.expectation not in known:
        raise Misspelt(f"no expectation '{check.expectation}'{_meant(check.expectation, known)}")
    kwargs = filled(check, values)
    if check.expectation.endswith("_to_be_between") and not {"min_value", "max_value"} & set(kwargs):
        raise Misspelt(f"{check.expectation}: neither min_value nor max_value, so anything passes")
    columns = [c for k in _COLUMN_KWARGS if (c := kwargs.get(k)) is not None] + list(kwargs.get("column_list") or [])
    for column in columns:
        if column not in frame.data.columns:
            raise Misspelt(f"frame {check.frame} has no column '{column}'{_meant(column, frame.data.columns)}")
        if check.expectation not in _SEES_NULLS and frame.data[column].isna().any():
            raise Misspelt(f"column '{column}' of frame {check.frame} has nulls, which this check ignores")
    told: dict[str, Any] = {
        "severity": check.severity,
        "description": check.about,
        "meta": {"check": check.name},
        "result_format": {"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES},
    }
    try:
        return get_expectation_impl(check.expectation)(**kwargs, **told)
    except (pydantic.ValidationError, TypeError, ValueError) as e:
        first = e.errors()[0] if isinstance(e, pydantic.ValidationError) else {"loc": (), "msg": str(e)}
        place = ".".join(str(p) for p in first["loc"] if p != "__root__")
        raise Misspelt(f"{check.expectation}: {place + ': ' if place else ''}{first['msg']}") from e


def _meant(name: str, known: Iterable[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(name, [str(k) for k in known], n=1)
    return f" (meant {prefix}{close[0]}?)" if close else ""
