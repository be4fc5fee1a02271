"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def replace_folder(new: Path, old: Path) -> None:
    """Put a folder in another's place; what stood there is removed only once the new one is in."""
    aside = old.with_name(f".{old.name}.replaced-{os.getpid()}")
    if old.exists():
        old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)
