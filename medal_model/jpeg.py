"""JPEG: what its segments say, and fast decoding by libjpeg-turbo, scaled down on the way where that is wanted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

UInt8 = npt.NDArray[np.uint8]
SIGNATURE = b"\xff\xd8\xff"
# Factors that libjpeg-turbo has fast code for (means of 8 x 8, 4 x 4, 2 x 2 pixels), each with the least number of
# its pixels an output pixel must be made of, so that the output stays within a grey level (docs/decoding.md).
_SPARE = {8: 3.0, 4: 2.0, 2: 1.5}
_ORIENTATION = 0x0112  # Exif 2.32, table 4
_EXIF, _ICC = b"Exif\x00\x00", b"ICC_PROFILE\x00"
_SOS, _EOI = b"\xff\xda", b"\xff\xd9"
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length (ITU-T T.81, table B.1)


@dataclass(frozen=True)
class Segments:
    """`whole`: the data runs up to an end marker. `scans` is 1 in a baseline JPEG, about 10 in a progressive one."""

    whole: bool
    scans: int
    progressive: bool
    orientation: int
    profile: bytes | None


@dataclass(frozen=True)
class Header:
    height: int
    width: int
    colourspace: str  # YCbCr, RGB, Gray, CMYK or YCCK


def segments(data: bytes) -> Segments:
    """Read the segments up to the first scan. Never raises: what cannot be followed has no orientation or profile."""
    at, end = 2, len(data)
    exif, parts, progressive, frame = b"", dict[int, bytes](), False, b""
    while at + 4 <= end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _ALONE:  # fill bytes
            at += 1 if marker == 0xFF else 2
            continue
        if marker in (0xDA, 0xD9):
            break
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + size]
        if marker == 0xE1 and not exif and body.startswith(_EXIF):
            exif = body
        elif marker == 0xE2 and body.startswith(_ICC) and len(body) > 14:
            parts[body[12]] = body[14:]
        progressive |= marker in (0xC2, 0xCA)
        if marker in (0xC0, 0xC1):
            frame = body[5:6]  # number of components, as a scan's first byte has it
        at += 2 + max(2, size)
    if data[at : at + 2] != _SOS:  # libjpeg finds its way where this loop does not: count with the thumbnail's
        at = max(0, data.find(_SOS))
        return Segments(data.find(_EOI, at) >= 0, data.count(_SOS), True, 1, None)
    if frame and data[at + 4 : at + 5] == frame:  # all components in one scan: libjpeg reads no other
        scans, stop = 1, data.rfind(_EOI, at)
    else:
        scans, stop = _scans(data, at)
    profile = b"".join(parts[n] for n in sorted(parts)) if parts else None
    return Segments(stop >= 0, scans, progressive, _orientation(exif) if exif else 1, profile)


def _scans(data: bytes, at: int) -> tuple[int, int]:
    """Number of scans from `at` on, and where the end marker is, or -1.

    Within a scan 0xFF is followed by 0 or a restart marker (ITU-T T.81, B.1.1.5). What comes after the end, such as
    the film of a motion photo, does not count.
    """
    rest = np.frombuffer(data, np.uint8)[at:]
    marks = np.flatnonzero(rest[:-1] == 0xFF)
    kinds = rest[marks + 1]
    ends = np.flatnonzero(kinds == 0xD9)
    scans = int(np.count_nonzero(kinds[: ends[0] if ends.size else None] == 0xDA))
    return scans, at + int(marks[ends[0]]) if ends.size else -1


def _orientation(exif: bytes) -> int:
    try:
        found = Image.Exif()
        found.load(exif)
        value = found.get(_ORIENTATION, 1)
    except Exception:  # Exif from outside: struct.error, SyntaxError, ValueError, ...
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def read_header(data: bytes) -> Header | None:
    """None where libjpeg-turbo cannot read it."""
    try:
        height, width, colourspace, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return Header(height, width, colourspace)


def factor(height: int, width: int, side: float) -> int:
    """By how much a photo may be scaled down whose longer side is to become `side` pixels (0: all): 8, 4, 2 or 1."""
    longer = max(height, width)
    return next((k for k, spare in _SPARE.items() if side and longer >= k * spare * side), 1)


def decode(data: bytes, header: Header, by: int) -> UInt8 | None:
    """RGB [ceil(H / by), ceil(W / by), 3]; None for CMYK and whatever libjpeg-turbo warns of.

    Raises MemoryError.
    """
    if header.colourspace not in ("YCbCr", "RGB", "Gray"):
        return None
    shape = (-(-header.height // by), -(-header.width // by), 3)
    try:
        least = (shape[0], shape[1], by) if by > 1 else (0, 0, 1)
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=least[0], min_width=least[1], min_factor=least[2])
    except ValueError:
        return None
    return np.asarray(pixels, np.uint8) if pixels.shape == shape else None
