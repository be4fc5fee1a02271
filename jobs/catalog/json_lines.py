"""JSON: one value a line, or one small document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobs.catalog.rows import MAX_CELL, Notes
from jobs.catalog.text import open_text
from jobs.errors import DataError

_DOCUMENT = 64 * 1024 * 1024  # bytes of a file that may be one JSON value and not one a line


def values(path: Path, notes: Notes) -> Iterator[tuple[int, Any, str | None]]:
    """(number, value, why there is none) of each line, from 1. Raises DataError where it is no JSON at all."""
    notes.kind = "JSON lines"
    try:
        with open_text(path, notes) as f:
            number = 0
            while line := f.readline(2 * MAX_CELL):
                if not line.strip():
                    continue
                number += 1
                try:
                    value, why = _load(line), None
                except ValueError as e:
                    if number == 1:
                        yield from _document(path, notes, e)
                        return
                    value, why = None, f"is no JSON ({e})"
                yield number, value, why
    except UnicodeDecodeError as e:
        raise DataError(f"{path}: not {notes.encoding} ({e.reason}); save it as UTF-8") from e
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e.strerror or e}") from e


def _document(path: Path, notes: Notes, error: ValueError) -> Iterator[tuple[int, Any, str | None]]:
    """A file over several lines that is one value; an array gives its elements."""
    if path.stat().st_size > _DOCUMENT:
        raise DataError(f"{path}: line 1 is no JSON ({error}); write one object a line") from error
    with open_text(path, notes) as f:
        try:
            whole = _load(f.read())
        except ValueError as e:
            raise DataError(f"{path}: no JSON: {e}; write one object a line") from e
    notes.kind = "JSON"
    for number, value in enumerate(whole if isinstance(whole, list) else [whole], start=1):
        yield number, value, None


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
