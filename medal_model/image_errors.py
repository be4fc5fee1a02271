"""Refusals of images, apart from what decodes them: a night that reads no image need not load that.

The kinds are values of the quarantine table's `error_class` (`schemas/tables.py`).
"""

from __future__ import annotations

from typing import Literal

ImageKind = Literal["empty", "not_an_image", "truncated", "unsupported", "too_large", "unreadable"]


class ImageError(ValueError):
    """An image that cannot be embedded. The message says what was found."""

    def __init__(self, kind: ImageKind, message: str) -> None:
        super().__init__(message)
        self.kind: ImageKind = kind
