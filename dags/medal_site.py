"""Where MEDAL is, for the DAGs: the environment, and the two settings of medal.yaml that an Airflow has to know.

Standard library, and the YAML parser that Airflow brings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MOST_SHARDS = 1000
"""As the setting allows."""


@dataclass(frozen=True)
class Site:
    """Where MEDAL is on this worker, from the environment.

    The names keep clear of the settings of `medal` itself: MEDAL_CATALOG would be read there as a section.
    """

    home: Path
    bin: Path
    time_zone: str
    catalog: str | None
    teacher: str | None
    shards: int = 1

    @classmethod
    def read(cls, env: Mapping[str, str] = os.environ) -> Site:
        home = Path(env.get("MEDAL_HOME") or Path(__file__).resolve().parent.parent)
        file = _settings_file(env, home)
        return cls(
            home=home,
            bin=Path(env.get("MEDAL_BIN") or home / ".venv" / "bin" / "medal"),
            time_zone=env.get("MEDAL_TIME_ZONE") or str(file.get("time_zone") or "Europe/Berlin"),
            catalog=env.get("MEDAL_NIGHTLY_CATALOG"),
            teacher=env.get("MEDAL_NIGHTLY_TEACHER"),
            shards=_shards(env.get("MEDAL_EMBED__SHARDS"), file.get("embed")),
        )


def _settings_file(env: Mapping[str, str], home: Path) -> dict[str, Any]:
    """What medal.yaml says; nothing where it cannot be read, of which `medal plan` tells."""
    try:
        found = yaml.safe_load((home / (env.get("MEDAL_CONFIG") or "medal.yaml")).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _shards(given: str | None, section: object) -> int:
    """`embed.shards`; 1 where it is no such number: a DAG must parse, and `medal plan` refuses the setting (exit 2)."""
    value = given or (section.get("shards") if isinstance(section, dict) else None) or 1
    try:
        shards = int(value)
    except (TypeError, ValueError):
        return 1
    return shards if 1 <= shards <= MOST_SHARDS else 1
