"""Local product photos: found through the overlay alone, sent only when their bytes are those of an image."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from jobs.publish.store import ProductRow

MAX_BYTES = 50 * 1024 * 1024  # as much as the embed stage reads
# First bytes -> type. No SVG: it can carry scripts.
_SIGNATURES = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF8", "image/gif"))


@dataclass(frozen=True)
class Photo:
    path: Path
    media_type: str
    etag: str


def local_path(image_uri: str) -> Path | None:
    """Path of a local image; None where the address is not of this machine."""
    if image_uri.startswith("file://"):
        return Path(unquote(urlsplit(image_uri).path))
    return None if "://" in image_uri else Path(image_uri)


def media_type(head: bytes) -> str | None:
    """Type by the first 12 bytes; None where they are of no raster image a browser shows."""
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return "image/avif" if head[4:12] == b"ftypavif" else None


def photo_of(row: ProductRow) -> Photo | None:
    """The product's photo; None where it is not a readable image file of at most 50 MB."""
    path = local_path(row.image_uri)
    if path is None or not path.is_absolute():
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO must not hang the server
        with os.fdopen(fd, "rb") as f:
            found = os.fstat(f.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
                return None
            kind = media_type(f.read(12))
    except OSError:
        return None
    return Photo(path, kind, f'"{found.st_size:x}-{found.st_mtime_ns:x}"') if kind else None
