"""Image bytes to pixels: decoding with named refusals, and letterboxing on white.

The refusal kinds are the `error_class` values of the quarantine table (`schemas/tables.py`).
"""

from __future__ import annotations

import io
import warnings
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import simplejpeg
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

ImageKind = Literal["empty", "not_an_image", "truncated", "unsupported", "too_large", "unreadable"]
IMAGE_KINDS: tuple[str, ...] = get_args(ImageKind)

MAX_BYTES = 50_000_000
MAX_PIXELS = 100_000_000  # 300 MB as RGB: a pack shot is 1 to 25 megapixels
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112  # Exif 2.32, table 4

UInt8 = npt.NDArray[np.uint8]


class ImageError(ValueError):
    """An image that cannot be embedded. `kind` is one of `IMAGE_KINDS`; the message says what was found."""

    def __init__(self, kind: ImageKind, message: str) -> None:
        super().__init__(message)
        self.kind: ImageKind = kind


def decode_image(data: bytes) -> UInt8:
    """Decode to RGB, uint8 [H, W, 3], upright, alpha laid on white; embedded colour profiles are ignored.

    Plain RGB and grey JPEG without rotation go through libjpeg-turbo, everything else through Pillow.
    Raises ImageError with kind
    `empty` (no bytes), `not_an_image` (HTML, JSON, text, unknown signature), `truncated` (cut short),
    `unsupported` (an image format that cannot be read here: SVG, AVIF without plug-in, PDF),
    `too_large` (over MAX_BYTES or MAX_PIXELS), `unreadable` (a known format, but damaged).
    """
    if not data:
        raise ImageError("empty", "no bytes")
    if len(data) > MAX_BYTES:
        raise ImageError("too_large", f"{len(data):,} bytes; at most {MAX_BYTES:,} are read")
    if data[:3] == b"\xff\xd8\xff":
        fast = _fast_jpeg(data)
        if fast is not None:
            return fast
    return _with_pillow(data)


def letterbox(image: UInt8, size: int) -> torch.Tensor:
    """Scale [H, W, 3] to fit into a square, centred on white: uint8 [3, size, size] (channels-last strides).

    Antialiased bilinear on uint8: within one grey level of Pillow and 9 times faster (design section 7).
    Raises ValueError for anything but uint8 [H, W, 3] with H, W > 0.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"letterbox needs uint8 [H, W, 3], got {image.dtype} {image.shape}")
    h, w = image.shape[:2]
    scale = size / max(h, w)
    nh, nw = max(1, round(h * scale)), max(1, round(w * scale))
    if not image.flags.writeable or not image.flags.c_contiguous:
        image = np.array(image, order="C")  # torch refuses read-only buffers
    pixels = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)  # [1, 3, H, W], channels-last strides
    if (nh, nw) != (h, w):
        pixels = torch.nn.functional.interpolate(
            pixels, size=(nh, nw), mode="bilinear", antialias=True, align_corners=False
        )
    canvas = torch.full((1, 3, size, size), 255, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    top, left = (size - nh) // 2, (size - nw) // 2
    canvas[:, :, top : top + nh, left : left + nw] = pixels
    return canvas[0]


def _fast_jpeg(data: bytes) -> UInt8 | None:
    """libjpeg-turbo for the plain case; None where Pillow must look at it (rotation, CMYK, any fault)."""
    try:
        height, width, colourspace, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if height * width > MAX_PIXELS:
        raise ImageError("too_large", f"{width} x {height} pixels; at most {MAX_PIXELS:,} are read")
    # The orientation needs a full Exif parse, and Pillow's is lazy and cheap: only where Exif is present at all.
    if colourspace not in ("YCbCr", "RGB", "Gray") or b"Exif\x00\x00" in data[:65536]:
        return None
    if not _jpeg_is_whole(data):
        raise ImageError("truncated", f"the JPEG ends after {len(data):,} bytes without its end marker")
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB"), dtype=np.uint8)
    except ValueError:
        return None


def _jpeg_is_whole(data: bytes) -> bool:
    """Does the scan data run up to an end marker? Trailing padding after it is common and harmless."""
    end = data.rfind(b"\xff\xd9")
    return end >= 0 and end > data.rfind(b"\xff\xda")


def _png_is_whole(data: bytes) -> bool:
    """Does it have its end chunk? What is wrong then is damage, not a cut."""
    return data.startswith(_PNG) and b"IEND" in data[-64:]


def _with_pillow(data: bytes) -> UInt8:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on: cut images would pass as whole ones")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of bombs and odd Exif; the limits below decide
            image: Any = Image.open(io.BytesIO(data))
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(image.width, image.height)
            if image.format == "JPEG" and not _jpeg_is_whole(data):
                raise ImageError("truncated", f"the JPEG ends after {len(data):,} bytes without its end marker")
            image.load()
            return _to_rgb(image)
    except ImageError:
        raise
    except Image.DecompressionBombError as e:
        raise ImageError("too_large", str(e)) from e
    except UnidentifiedImageError as e:
        raise _unidentified(data) from e
    except MemoryError as e:
        raise ImageError("too_large", "not enough memory to decode it") from e
    except Exception as e:  # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error, KeyError ...
        text = str(e) or type(e).__name__
        cut = any(word in text.lower() for word in ("truncated", "incomplete", "end of file", "unexpected end"))
        raise ImageError("truncated" if cut and not _png_is_whole(data) else "unreadable", text) from e


def _too_large(width: int, height: int) -> ImageError:
    return ImageError("too_large", f"{width} x {height} pixels; at most {MAX_PIXELS:,} are read")


def _to_rgb(image: Any) -> UInt8:
    """Upright RGB on white, from any Pillow mode."""
    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":  # 16-bit grey PNG and TIFF, 32-bit integer, float
        return _deep_grey(image)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return np.asarray(image.convert("RGB"), dtype=np.uint8).copy()


def _deep_grey(image: Any) -> UInt8:
    """Scale to 8 bits: 16-bit images by their full range, float images from 0..1 or 0..255."""
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ImageError("unreadable", "the pixels hold NaN or infinity")
    if image.mode == "F":
        values = values * 255.0 if values.max(initial=0.0) <= 1.0 else values
    elif values.max(initial=0.0) > 255.0:  # Pillow reports 16-bit PNG as I or I;16 by version
        values = values / 257.0  # 65535 / 255
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _unidentified(data: bytes) -> ImageError:
    """Name what Pillow did not recognise."""
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    low = head.lower()
    if low.startswith(b"<svg") or (low.startswith(b"<?xml") and b"<svg" in low):
        return ImageError("unsupported", "an SVG drawing; export it as JPEG, PNG or WebP")
    if low.startswith(b"%pdf"):
        return ImageError("unsupported", "a PDF; export the page as JPEG, PNG or WebP")
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("ascii", "replace").strip()
        return ImageError("unsupported", f"an ISO media file of brand '{brand}' (AVIF, HEIC or video)")
    if data.startswith((_JPEG, _PNG)) or _PNG.startswith(data[:8]):
        whole = _jpeg_is_whole(data) if data.startswith(_JPEG) else _png_is_whole(data)
        if not whole:
            return ImageError("truncated", f"only {len(data):,} bytes of it, cut inside the header")
        return ImageError("unreadable", "a JPEG or PNG signature, but a damaged header")
    if low.startswith((b"<!doctype", b"<html", b"<head", b"<body")):
        return ImageError("not_an_image", "an HTML page; the shop's server answered with a page instead of the image")
    shown = head[:24].decode("ascii", "backslashreplace")
    return ImageError("not_an_image", f"no image signature; it begins with '{shown}'")
