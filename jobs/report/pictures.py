"""Thumbnails as data addresses, so that the page needs no other file."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps

SIZE = 128  # shown at 76 to 168 CSS pixels: sharp on dense screens, 3 to 5 KB each
_MAX_BYTES = 50_000_000
_MAX_PIXELS = 100_000_000


class Thumbnails:
    """Makes each picture once. `get` gives a `data:` address, or None where there is no picture to show."""

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self._made: dict[str, str | None] = {}

    def get(self, uri: str) -> str | None:
        """The thumbnail of a file. Missing, broken, oversized and remote pictures give None."""
        if uri not in self._made:
            self._made[uri] = self._make(uri)
        return self._made[uri]

    def _make(self, uri: str) -> str | None:
        if "://" in uri:  # a report is made from what is at hand
            return None
        try:
            path = Path(uri)
            if not path.is_file() or path.stat().st_size > _MAX_BYTES:
                return None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(path) as opened:
                    if opened.width * opened.height > _MAX_PIXELS:
                        return None
                    opened.draft("RGB", (self.size * 2, self.size * 2))  # libjpeg scales while decoding
                    return _address(self._small(opened))
        except Exception:  # whatever is wrong with a picture, the report must still appear
            return None

    def _small(self, image: Image.Image) -> Image.Image:
        small = ImageOps.exif_transpose(image)
        if small.mode in ("RGBA", "LA", "P", "PA"):
            rgba = small.convert("RGBA")
            small = Image.new("RGB", rgba.size, "white")
            small.paste(rgba, mask=rgba.getchannel("A"))
        small = small.convert("RGB")
        small.thumbnail((self.size, self.size), Image.Resampling.LANCZOS)
        return small


def _address(image: Image.Image) -> str:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=78, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(sink.getvalue()).decode("ascii")
