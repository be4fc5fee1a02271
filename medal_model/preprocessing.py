"""What happens to a photo before the network sees it, as part of a teacher's identity. No torch here."""

from __future__ import annotations

from typing import Any

# Raised whenever the same bytes may give other pixels: vectors of two versions are not to be compared.
#   1  Pillow and libjpeg-turbo at full size, profiles ignored; torch's bilinear antialias on uint8 (until 2026-11;
#      config.json had no `version`)
#   2  JPEG scaled down while decoding where it is much larger than the input, profiles to sRGB, 16-bit grey by its
#      own range; bilinear antialias in float32 with one rounding; the product's box may end between pixels
VERSION = 2
RESIZE = "bilinear antialias float32, letterbox on white"


def preprocessing(input_size: int, trim: bool) -> dict[str, Any]:
    """The `preprocessing` section of a teacher's config.json."""
    return {"version": VERSION, "input_size": input_size, "trim": trim, "resize": RESIZE}
