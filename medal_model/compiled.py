"""Loops compiled by numba, once a machine instead of once a night.

Machine code is kept in `__pycache__` beside the source, else in the user's cache folder, or where NUMBA_CACHE_DIR says:
by hash of the source file and kind of processor, written by rename, so the workers of one machine share it and a mixed
cluster does not mix it up. Where none of these may be written to (a read-only install, a user without a home) it goes
to a private folder in the temporary one. Compiling takes some seconds, loading some milliseconds.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: machine code of a function of arrays and numbers, that runs without the interpreter's lock.

    Options as numba.njit's. Compiled at the first call; only the source file of the function itself is watched for
    changes, so constants and compiled functions it uses belong into the same file.
    """

    def wrap(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # numba found no folder it may write to
            numba.config.CACHE_DIR = str(_private_folder())  # type: ignore[attr-defined]
            return numba.njit(nogil=True, cache=True, **options)(function)

    return wrap


def _private_folder() -> Path:
    """A folder in the temporary one that is this user's alone: what lies in a cache is run as code."""
    folder = Path(tempfile.gettempdir()) / f"medal-numba-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if folder.is_symlink() or about.st_uid != os.getuid() or about.st_mode & 0o022:
        folder = Path(tempfile.mkdtemp(prefix="medal-numba-"))  # this process's own: compiled once by each
    return folder
