"""Image bytes to pixels: decoding with named refusals, and letterboxing on white.

docs/decoding.md says what is done to which format, and how far the fast path is from the reference.
"""

from __future__ import annotations

import io
import threading
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFile, UnidentifiedImageError

from medal_model import jpeg, kernels
from medal_model.icc import to_srgb
from medal_model.image_errors import ImageError

MAX_BYTES = 50_000_000
MAX_PIXELS = 100_000_000  # 300 MB as RGB: a pack shot is 1 to 25 megapixels
MAX_SIDE = 65_535  # JPEG's own limit; a line of pixels far longer would need filters of its size
MAX_SCANS = 64  # a progressive JPEG has about 10; each scan is a pass over all pixels, whatever its bytes
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF")  # Pillow knows 30 more; EPS runs programs
_LARGE = 16_000_000  # pixels held at once; only one thread at a time may hold more
_STRIP = 4_000_000  # pixels converted at once
_PNG = b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112  # Exif 2.32, table 4
_OTHERS = (
    (b"8BPS", "a Photoshop file"),
    (b"%!PS", "a PostScript drawing"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
)
_large = threading.Lock()

UInt8 = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]  # y0, x0, y1, x1


@dataclass(frozen=True)
class Photo:
    """Upright RGB, perhaps scaled down: `pixels` uint8 [h, w, 3] of a photo of `height` x `width`.

    Position (y, x) of the photo is ((y + top) / factor, (x + left) / factor) of the pixels: where the size is no
    multiple of the factor the pixels have a rest, on the side that the orientation turned it to.
    """

    pixels: UInt8
    height: int
    width: int
    factor: int = 1
    top: int = 0
    left: int = 0


def decode_image(data: bytes) -> UInt8:
    """`decode` at full size: RGB uint8 [H, W, 3]."""
    return decode(data).pixels


def decode(data: bytes, side: float = 0.0) -> Photo:
    """Decode to RGB in sRGB, upright, alpha laid on white; of an animation the first frame, of a TIFF the first page.

    RGB and grey JPEG go through libjpeg-turbo, everything else through Pillow. A JPEG whose longer side will become
    `side` pixels may come scaled down (`jpeg.factor`). Several threads may call it; they take turns where an image is
    very large. Raises ImageError with kind
    `empty` (no bytes), `not_an_image` (HTML, JSON, text, unknown signature), `truncated` (cut short),
    `unsupported` (an image format that is not read here: SVG, HEIC, PSD, PDF ...),
    `too_large` (over MAX_BYTES, MAX_PIXELS, MAX_SIDE or MAX_SCANS), `unreadable` (a known format, but damaged).
    """
    if not data:
        raise ImageError("empty", "no bytes")
    if len(data) > MAX_BYTES:
        raise ImageError("too_large", f"{len(data):,} bytes; at most {MAX_BYTES:,} are read")
    try:
        if data.startswith(jpeg.SIGNATURE):
            fast = _fast_jpeg(data, side)
            if fast is not None:
                return fast
        return _with_pillow(data, side)
    except MemoryError as e:
        raise ImageError("too_large", "not enough memory to decode it") from e


def letterbox(image: UInt8, size: int) -> torch.Tensor:
    """Scale [H, W, 3] to fit into a square, centred on white: uint8 [3, size, size], channels-last strides.

    Antialiased bilinear in float32 with one rounding.
    Raises ValueError for anything but uint8 [H, W, 3] with H, W > 0.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"letterbox needs uint8 [H, W, 3], got {image.dtype} {image.shape}")
    return fit(Photo(image, *image.shape[:2]), size)


def fit(photo: Photo, size: int, box: Box | None = None) -> torch.Tensor:
    """`letterbox` of a photo or of a box of it."""
    y0, x0, y1, x1 = box or (0, 0, photo.height, photo.width)
    nh, nw = fitted(y1 - y0, x1 - x0, size)
    canvas = np.full((size, size, 3), 255, np.uint8)
    pixels = photo.pixels
    if not pixels.flags.c_contiguous or not pixels.flags.writeable:  # the kernel is compiled for this one layout
        pixels = np.array(pixels, order="C")
    kernels.resize(
        pixels, photo.factor, (float(y0), float(y1), photo.height, photo.top),
        (float(x0), float(x1), photo.width, photo.left), canvas, (size - nh) // 2, (size - nw) // 2, nh, nw,
    )  # fmt: skip
    return torch.from_numpy(canvas).permute(2, 0, 1)


def fitted(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width of a picture scaled to fit into a square of `size`."""
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _fast_jpeg(data: bytes, side: float) -> Photo | None:
    """None where Pillow must look at it (CMYK, any fault)."""
    told = jpeg.segments(data)
    if told.scans > MAX_SCANS:
        raise ImageError("too_large", f"{told.scans:,} scans; at most {MAX_SCANS} of a JPEG are read")
    header = jpeg.read_header(data)
    if header is None:
        return None
    _check_size(header.width, header.height)
    if not told.whole:
        raise _cut_jpeg(data)
    by = jpeg.factor(header.height, header.width, side)
    with _turn(header.width * header.height // (1 if told.progressive else by * by)):
        pixels = jpeg.decode(data, header, by)
        if pixels is None:
            return None
        if told.profile is not None:
            grey = header.colourspace == "Gray"
            before = Image.fromarray(pixels[:, :, 0] if grey else pixels)
            after = to_srgb(before, told.profile)
            pixels = pixels if after is before else np.array(after, np.uint8)
        return _upright(pixels, told.orientation, header.height, header.width, by)


def _upright(pixels: UInt8, orientation: int, height: int, width: int, by: int = 1) -> Photo:
    """Turn and mirror as Exif orientation 1 to 8 says; the pixels may be more than the photo by a rest below `by`."""
    down, across = pixels.shape[0] * by - height, pixels.shape[1] * by - width
    top = left = 0
    if orientation in (3, 4):
        pixels, top = pixels[::-1], down
    if orientation in (2, 3):
        pixels, left = pixels[:, ::-1], across
    if orientation in (5, 6, 7, 8):
        pixels, height, width, down, across = pixels.swapaxes(0, 1), width, height, across, down
        if orientation in (7, 8):
            pixels, top = pixels[::-1], down
        if orientation in (6, 7):
            pixels, left = pixels[:, ::-1], across
    return Photo(np.ascontiguousarray(pixels), height, width, by, top, left)


def _turn(pixels: int) -> AbstractContextManager[Any]:
    """Very large images are decoded one at a time, so that threads do not multiply their memory."""
    return _large if pixels > _LARGE else nullcontext()


def _png_is_whole(data: bytes) -> bool:
    """Does it have its end chunk? What is wrong then is damage, not a cut."""
    return data.startswith(_PNG) and b"IEND" in data[-64:]


def _with_pillow(data: bytes, side: float) -> Photo:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on: cut images would pass as whole ones")
    _quiet()
    try:
        image: Any = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(image.width, image.height)
        if image.format in ("JPEG", "MPO") and not jpeg.segments(data).whole:
            raise _cut_jpeg(data)
        with _turn(image.width * image.height):
            image.load()
            orientation = image.getexif().get(_ORIENTATION, 1)
            height, width = image.height, image.width
            by = jpeg.factor(height, width, side) if height * width > _LARGE else 1  # held after the turn is over
            return _upright(_to_rgb(image, by), orientation, height, width, by)
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as e:
        raise ImageError("too_large", str(e)) from e
    except UnidentifiedImageError as e:
        raise _unidentified(data) from e
    except Exception as e:  # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error, KeyError ...
        text = str(e) or type(e).__name__
        cut = any(word in text.lower() for word in ("truncated", "incomplete", "end of file", "unexpected end"))
        raise ImageError("truncated" if cut and not _png_is_whole(data) else "unreadable", text) from e


@cache
def _quiet() -> None:
    """Pillow warns of bombs and odd Exif; the limits here decide. For good: catch_warnings is not made for threads."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError("too_large", f"{width} x {height} pixels; at most {MAX_PIXELS:,} are read")
    if max(width, height) > MAX_SIDE:
        raise ImageError("too_large", f"{width} x {height} pixels; a side may have at most {MAX_SIDE:,}")


def _cut_jpeg(data: bytes) -> ImageError:
    return ImageError("truncated", f"the JPEG ends after {len(data):,} bytes without its end marker")


def _to_rgb(image: Any, by: int) -> UInt8:
    """RGB on white in sRGB, from any Pillow mode, means of `by` x `by` pixels.

    Strip by strip, since each conversion is a copy.
    """
    out = np.empty((-(-image.height // by), -(-image.width // by), 3), np.uint8)
    scale = _grey_scale(image) if image.mode.startswith("I") or image.mode == "F" else 0.0
    rows = max(1, _STRIP // image.width // by) * by
    for y in range(0, image.height, rows):
        below = min(image.height, y + rows)
        strip = image if rows >= image.height else image.crop((0, y, image.width, below))
        if scale:
            grey = np.rint(np.asarray(strip, np.float64) * scale)
            if not np.isfinite(grey).all():
                raise ImageError("unreadable", "the pixels hold NaN or infinity")
            strip = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
        levels = _strip(strip, image.info)
        out[y // by : -(-below // by)] = levels if by == 1 else kernels.means(np.array(levels), by)
    return out


def _strip(image: Any, info: dict[str, Any]) -> UInt8:
    profile, alpha = info.get("icc_profile"), None
    if "transparency" in info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    image = to_srgb(image, profile).convert("RGB")
    if alpha is not None:
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=alpha)
        image = white
    return np.asarray(image, np.uint8)


def _grey_scale(image: Any) -> float:
    """Of levels to 0..255: 16-bit grey by its full range, floats from 0..1 or 0..255, 32-bit integers likewise."""
    if image.mode.startswith("I;16"):
        return 1 / 257.0  # 65535 / 255
    highest = float(image.getextrema()[1])
    if image.mode == "F":
        return 255.0 if highest <= 1.0 else 1.0
    return 1.0 if highest <= 255.0 else 1 / 257.0


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
        return ImageError("unsupported", f"an ISO media file of brand '{brand}' (HEIC or video)")
    if data.startswith((b"II*\x00", b"MM\x00*", b"GIF8", b"BM")) or data[8:12] == b"WEBP":
        return ImageError("unreadable", "the signature of an image, but a damaged header")
    for signature, name in _OTHERS:
        if data.startswith(signature):
            return ImageError("unsupported", f"{name}; export it as JPEG, PNG or WebP")
    if data.startswith((jpeg.SIGNATURE[:2], _PNG)) or _PNG.startswith(data[:8]):
        whole = _png_is_whole(data) if data.startswith(_PNG[:1]) else jpeg.segments(data).whole
        if not whole:
            return ImageError("truncated", f"only {len(data):,} bytes of it, cut inside the header")
        return ImageError("unreadable", "a JPEG or PNG signature, but a damaged header")
    if low.startswith((b"<!doctype", b"<html", b"<head", b"<body")):
        return ImageError("not_an_image", "an HTML page; the shop's server answered with a page instead of the image")
    shown = head[:24].decode("ascii", "backslashreplace")
    return ImageError("not_an_image", f"no image signature; it begins with '{shown}'")
