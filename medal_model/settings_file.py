"""Flat typed settings from YAML: what the trainer's and the harvest's configuration have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Ranges = Mapping[str, tuple[float, float]]
Choices = Mapping[str, tuple[str, ...]]


class ConfigError(ValueError):
    """Settings with an unknown key or a value out of range; the message names it."""


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML file's mapping; an empty file is an empty one. Raises ConfigError naming the file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise ConfigError(f"{path}: cannot be read as YAML: {e}") from e
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping of settings")
    return values


def plain_value(key: str, value: Any, want: Any, where: str, ranges: Ranges, choices: Choices) -> Any:
    """A str, bool, int or float of the wanted type, in its range or among its choices; a whole number is a float where
    one is wanted. Raises ConfigError naming `where` and key."""
    if want is float and type(value) is int:
        value = float(value)
    if type(value) is not want:
        hint = _as_yaml(value) if want is float else ""
        raise ConfigError(f"{where}: {key} must be of type {want.__name__}, is {value!r}{hint}")
    low, high = ranges.get(key, (float("-inf"), float("inf")))
    if want in (int, float) and not low <= value <= high:
        raise ConfigError(f"{where}: {key} must be from {low:g} to {high:g}, is {value!r}")
    if key in choices and value not in choices[key]:
        raise ConfigError(f"{where}: {key} must be one of {', '.join(choices[key])}, is {value!r}")
    return value


def _as_yaml(value: Any) -> str:
    """What to write where YAML 1.1 takes a number for text: its floats need a point and a signed exponent."""
    if not isinstance(value, str) or not (m := re.fullmatch(r"([+-]?\d+)(\.\d*)?[eE]([+-]?)(\d+)", value)):
        return ""
    return f"; write {m[1]}{m[2] or '.0'}e{m[3] or '+'}{m[4]}"
