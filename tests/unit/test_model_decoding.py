"""Decoding and preprocessing against a reference in float; every format, profile and hostile file as a row."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from child_memory import PEAK_MIB
from PIL import Image, ImageCms

from jobs.bench.embed_decode import reference
from medal_model import images, jpeg
from medal_model.features import preprocess
from medal_model.image_errors import ImageError
from medal_model.images import Photo, decode, decode_image, fit


def _scene(height: int = 360, width: int = 300, seed: int = 0) -> Image.Image:
    """A product with cloth, print and shadow on white."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    inside = np.abs((x / width - 0.5) / 0.36) ** 4 + np.abs((y / height - 0.5) / 0.42) ** 4 < 1
    cloth = np.stack([130 + 90 * np.sin(x / 17), 110 + 70 * np.cos(y / 23), 90 + 60 * np.sin((x + y) / 31)], -1)
    cloth += rng.normal(0, 5, (height, width, 1))
    return Image.fromarray(np.where(inside[..., None], cloth, 255).clip(0, 255).astype(np.uint8))


def _bytes(image: Image.Image, fmt: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, fmt, **options)
    return out.getvalue()


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _wide(image: Image.Image) -> bytes:
    """A matrix profile with a much wider red than sRGB's, made from sRGB's by exchanging red's and green's columns."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = {bytes(profile[i : i + 4]): i for i in range(132, 132 + 12 * profile[131], 12)}
    red, green = at[b"rXYZ"], at[b"gXYZ"]
    profile[red + 4 : red + 12], profile[green + 4 : green + 12] = (
        profile[green + 4 : green + 12],
        profile[red + 4 : red + 12],
    )
    return bytes(profile)


WIDE = _wide(_scene(8, 8))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RGBA = _scene().convert("RGBA")
RGBA.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 300).astype(np.uint8), (360, 1))))

READABLE: dict[str, bytes] = {
    "jpeg": _bytes(_scene(), "JPEG", quality=90),
    "jpeg 4:4:4": _bytes(_scene(), "JPEG", quality=90, subsampling=0),
    "jpeg progressive": _bytes(_scene(), "JPEG", quality=90, progressive=True),
    "jpeg with restart markers": _bytes(_scene(), "JPEG", restart_marker_rows=1),
    "jpeg grey": _bytes(_scene().convert("L"), "JPEG", quality=90),
    "jpeg cmyk": _bytes(_scene().convert("CMYK"), "JPEG", quality=95),
    "jpeg sRGB profile": _bytes(_scene(), "JPEG", icc_profile=SRGB),
    "jpeg wide profile": _bytes(_scene(), "JPEG", quality=95, icc_profile=WIDE),
    "jpeg and what follows its end": _bytes(_scene(), "JPEG") + b"ftypmp42" + b"\xff\xda" * 500,
    "png": _bytes(_scene(), "PNG"),
    "png palette": _bytes(_scene().convert("P"), "PNG"),
    "png alpha": _bytes(RGBA, "PNG"),
    "png wide profile": _bytes(_scene(), "PNG", icc_profile=WIDE),
    "png interlaced grey": _bytes(_scene().convert("L"), "PNG"),
    "webp": _bytes(_scene(), "WEBP", quality=90),
    "webp lossless alpha": _bytes(RGBA, "WEBP", lossless=True),
    "avif": _bytes(_scene(), "AVIF", quality=90),
    "gif": _bytes(_scene().convert("P"), "GIF"),
    "bmp": _bytes(_scene(), "BMP"),
    "tiff": _bytes(_scene(), "TIFF"),
    "tiff lzw": _bytes(_scene(), "TIFF", compression="tiff_lzw"),
    "tiff cmyk": _bytes(_scene().convert("CMYK"), "TIFF"),
    "large jpeg, halved": _bytes(_scene(1000, 900), "JPEG", quality=90),
    "large jpeg, quartered": _bytes(_scene(2011, 1803), "JPEG", quality=90),
    "large jpeg, odd size and mirrored": _bytes(_scene(1001, 903), "JPEG", quality=90, exif=_exif(7)),
    "large jpeg, wide profile": _bytes(_scene(1000, 900), "JPEG", quality=90, icc_profile=WIDE),
}
READABLE |= {f"jpeg turned {n}": _bytes(_scene(), "JPEG", quality=90, exif=_exif(n)) for n in range(2, 9)}
READABLE |= {f"large jpeg turned {n}": _bytes(_scene(999, 905), "JPEG", quality=90, exif=_exif(n)) for n in range(2, 9)}
READABLE |= {f"{f} turned 6": _bytes(_scene(), f, exif=_exif(6)) for f in ("PNG", "WEBP", "TIFF", "AVIF")}


@pytest.mark.parametrize("name", READABLE)
def test_every_format_is_within_one_grey_level_of_the_reference(name: str) -> None:
    """On average over a photo; half of the level is the rounding to uint8 of a busy photo."""
    got = preprocess(READABLE[name], 224, True).permute(1, 2, 0).numpy().astype(np.float64)
    off = np.abs(got - reference(READABLE[name], 224))
    assert off.mean() <= 1.0
    assert np.quantile(off, 0.999) <= (8.0 if "large" in name else 2.0)


@pytest.mark.parametrize(("side", "factor"), [(1000, 1), (668, 1), (666, 2), (400, 2), (250, 4), (90, 4), (60, 8)])
def test_a_jpeg_is_scaled_only_as_far_as_it_keeps_what_is_asked_for(side: int, factor: int) -> None:
    data = _bytes(Image.new("RGB", (1998, 2000), (90, 30, 200)), "JPEG")
    photo = decode(data, side)
    assert (photo.factor, photo.height, photo.width) == (factor, 2000, 1998)
    assert photo.pixels.shape == (-(-2000 // factor), -(-1998 // factor), 3)


def test_a_small_product_in_a_large_photo_is_decoded_finely() -> None:
    page = Image.new("RGB", (1600, 1600), (255, 255, 255))
    page.paste(_scene(300, 250), (700, 500))
    data = _bytes(page, "JPEG", quality=95)
    got = preprocess(data, 224, True).permute(1, 2, 0).numpy().astype(np.float64)
    assert np.abs(got - reference(data, 224)).mean() <= 0.5


def test_pixels_that_are_means_give_what_the_whole_photo_gives() -> None:
    """A smooth photo by means of 2, 4 and 8 pixels, its rest before or after it, against all its pixels."""
    y, x = np.mgrid[:808, :648]
    smooth = np.stack([127 + 120 * np.sin(x / 90), 127 + 120 * np.cos(y / 70), 127 + 100 * np.sin((x + y) / 80)], -1)
    for by in (2, 4, 8):
        for top, left in ((0, 0), (by - 1, 1)):
            photo = smooth[top:, left:]
            means = np.rint(smooth.reshape(808 // by, by, 648 // by, by, 3).mean((1, 3))).astype(np.uint8)
            got = fit(Photo(means, *photo.shape[:2], by, top, left), 64)
            want = fit(Photo(np.rint(photo).astype(np.uint8), *photo.shape[:2]), 64)
            assert (got.int() - want.int()).abs().max() <= 1


def test_sixteen_bits_are_scaled_by_their_range() -> None:
    dark = np.full((8, 8), 200, np.uint16)  # nearly black, not a light grey
    assert (decode_image(_bytes(Image.fromarray(dark), "PNG")) == 1).all()
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    got = decode_image(_bytes(Image.fromarray(deep), "TIFF"))[:, :, 0]
    assert np.array_equal(got, np.rint(deep / 257.0).astype(np.uint8))
    assert np.abs(decode_image(_deep_png(deep)).astype(float) - (deep / 257.0)[..., None]).max() <= 1


def _deep_png(values: np.ndarray) -> bytes:
    """RGB of 16 bits, which Pillow does not write."""
    h, w = values.shape
    lines = b"".join(b"\x00" + np.repeat(row[:, None], 3, 1).astype(">u2").tobytes() for row in values)
    return _png([(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(lines))])


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    out = b"\x89PNG\r\n\x1a\n"
    for kind, body in [*chunks, (b"IEND", b"")]:
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return out


def test_float_pixels_are_scaled_or_refused() -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    got = decode_image(_bytes(Image.fromarray(ramp), "TIFF"))[:, :, 0]
    assert np.array_equal(got, np.rint(ramp * 255).astype(np.uint8))
    ramp[3, 3] = np.nan
    with pytest.raises(ImageError, match="NaN"):
        decode_image(_bytes(Image.fromarray(ramp), "TIFF"))


def test_of_an_animation_the_first_frame_is_read() -> None:
    frames = [Image.new("RGB", (20, 20), c) for c in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    for fmt in ("GIF", "WEBP", "PNG", "AVIF", "TIFF"):
        data = _bytes(frames[0], fmt, save_all=True, append_images=frames[1:])
        assert np.abs(decode_image(data).astype(int) - (255, 0, 0)).max() <= 4, fmt


def test_cmyk_is_read_as_adobe_writes_it() -> None:
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow: red
    red = decode_image(_bytes(ink, "JPEG", quality=95))
    assert np.abs(red.astype(int) - (255, 0, 0)).max() <= 6


@pytest.mark.parametrize(
    ("mode", "profile", "changed"),
    [
        ("RGB", WIDE, True),
        ("RGB", SRGB, False),
        ("RGB", b"", False),
        ("RGB", b"no profile", False),
        ("RGB", WIDE[:200], False),
        ("RGB", SRGB[:16] + b"CMYK" + SRGB[20:], False),  # says it is of another colour model
        ("RGB", WIDE[:12] + b"link" + WIDE[16:], False),
        ("L", WIDE, False),
        ("CMYK", WIDE, False),
        ("RGB", WIDE + bytes(5 << 20), False),
    ],
)
def test_profiles_are_applied_or_ignored(mode: str, profile: bytes, changed: bool) -> None:
    from medal_model.icc import to_srgb

    image = _scene(16, 16).convert(mode)
    got = to_srgb(image, profile)
    assert (got is not image) is changed
    if changed:
        want = ImageCms.profileToProfile(image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB")
        assert np.array_equal(np.asarray(got), np.asarray(want))


def test_a_profile_counts_the_same_in_jpeg_and_png() -> None:
    """Of the fast path and the fallback, with a grey and a colour photo; a JPEG may hold it in parts."""
    scene = _scene()
    plain, wide = decode_image(_bytes(scene, "PNG")), decode_image(_bytes(scene, "PNG", icc_profile=WIDE))
    assert np.abs(plain.astype(int) - wide.astype(int)).mean() > 5
    fast = decode_image(_bytes(scene, "JPEG", quality=100, subsampling=0, icc_profile=WIDE))
    assert np.abs(fast.astype(int) - wide.astype(int)).mean() < 2
    long = jpeg.segments(_bytes(scene, "JPEG", icc_profile=WIDE + bytes(70_000)))
    assert long.profile == WIDE + bytes(70_000)


# --- hostile files ---------------------------------------------------------------------------------------------------


def _bomb() -> bytes:
    """10,000 x 10,000 black pixels in 100 kB: just within the limit."""
    lines = zlib.compress(bytes(10_000 * (10_000 + 1)), 9)
    return _png([(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)), (b"IDAT", lines)])


def _many_scans(n: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = _bytes(_scene(64, 64), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    return data[:last] + data[last:-2] * n + data[-2:]


def _header(width: int, height: int) -> bytes:
    return _png([(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\x00"))])


def _sized_jpeg(width: int, height: int) -> bytes:
    data = bytearray(_bytes(_scene(16, 16), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _gif_frames(n: int) -> bytes:
    first = _bytes(Image.new("P", (8, 8)), "GIF")
    frame = first[first.index(b",") : -1]
    return first[:-1] + frame * n + b";"


HOSTILE: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "png bomb within the limit": (_bomb, None),
    "png over the pixel limit": (lambda: _header(60_000, 60_000), "too_large"),
    "png one pixel high": (lambda: _header(90_000_000, 1), "too_large"),
    "png of no size": (lambda: _header(0, 10), "unreadable"),
    "png with a text bomb": (
        lambda: _png([(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
                      (b"zTXt", b"a\x00\x00" + zlib.compress(bytes(80_000_000), 9)),
                      (b"IDAT", zlib.compress(b"\x00\x00"))]),
        "unreadable",
    ),
    "jpeg over the pixel limit": (lambda: _sized_jpeg(65_000, 65_000), "too_large"),
    "jpeg larger than its data": (lambda: _sized_jpeg(9_000, 9_000), None),
    "jpeg of 5,000 scans": (lambda: _many_scans(5_000), "too_large"),
    "jpeg of 5,000 scans behind rubbish": (
        lambda: b"\xff\xd8\xff\xe0\x00\x04ab??" + _many_scans(5_000)[2:], "too_large",
    ),
    "gif of 20,000 frames": (lambda: _gif_frames(20_000), None),
    "gif of a huge canvas": (
        lambda: b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(3) + _gif_frames(1)[13:], "too_large",
    ),
    "gif cut in its first frame": (lambda: READABLE["gif"][: len(READABLE["gif"]) // 2], "truncated"),
    "webp cut": (lambda: READABLE["webp"][:-200], "unreadable"),
    "avif cut": (lambda: READABLE["avif"][:-200], "truncated"),
    "tiff with a loop of directories": (
        lambda: b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", 0) + struct.pack("<I", 8), "unreadable",
    ),
    "bmp that promises more": (lambda: READABLE["bmp"][:5_000], "truncated"),
    "jpeg that is a page too": (lambda: READABLE["jpeg"] + b"<html><script>alert(1)</script></html>", None),
    "page with a jpeg's name": (lambda: b"<html>" + READABLE["jpeg"], "not_an_image"),
    "jpeg with endless exif": (
        lambda: READABLE["jpeg"][:2] + b"\xff\xe1\xff\xffExif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff" + b"\x01" * 65_519
        + READABLE["jpeg"][2:], None,
    ),
    "jpeg of end markers": (lambda: b"\xff\xd8\xff" + b"\xff\xd9" * 10_000, "unreadable"),
    "eps, which would start a program": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unsupported"),
    "psd": (lambda: b"8BPS\x00\x01" + bytes(30), "unsupported"),
    "icon": (lambda: _bytes(_scene(32, 32), "ICO"), "unsupported"),
    "jpeg 2000": (lambda: _bytes(_scene(32, 32), "JPEG2000"), "unsupported"),
    "gzip bomb": (lambda: b"\x1f\x8b\x08" + bytes(1000), "not_an_image"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_soon_and_by_kind(name: str) -> None:
    make, kind = HOSTILE[name]
    data = make()
    begun = time.process_time()
    if kind is None:
        assert preprocess(data, 64, True).shape == (3, 64, 64)
    else:
        with pytest.raises(ImageError) as caught:
            preprocess(data, 64, True)
        assert caught.value.kind == kind, caught.value
    assert time.process_time() - begun < 5


def test_random_damage_gives_an_image_or_an_image_error() -> None:
    rng = np.random.default_rng(0)
    for name in ("jpeg", "jpeg progressive", "jpeg turned 6", "png alpha", "webp", "avif", "gif", "bmp", "tiff lzw"):
        whole = READABLE[name]
        for _ in range(25):
            spoilt = bytearray(whole)
            for at in rng.integers(0, min(len(whole), 2000), 4):
                spoilt[at] = rng.integers(256)
            try:
                got = preprocess(bytes(spoilt), 32, True)
            except ImageError:  # anything else ends the test
                continue
            assert got.shape == (3, 32, 32)


def test_memory_of_the_largest_image_is_bounded(tmp_path: Any) -> None:
    """100 million transparent pixels, which are 400 MB to Pillow alone."""
    lines = zlib.compress(bytes(10_000 * (4 * 10_000 + 1)), 9)
    path = tmp_path / "bomb.png"
    path.write_bytes(_png([(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 8, 6, 0, 0, 0)), (b"IDAT", lines)]))
    code = f"""{PEAK_MIB}
from medal_model.features import preprocess
preprocess(open({str(path)!r}, "rb").read(), 32, True)
print(peak_mib())
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 400 < float(out.stdout) < 2_000  # with torch and the compiler


def test_very_large_images_take_turns() -> None:
    large = _bytes(Image.new("L", (4100, 4100), 90), "PNG")
    with ThreadPoolExecutor(2) as pool:
        with images._large:  # as if another thread were at it
            waits, small = pool.submit(preprocess, large, 32, True), pool.submit(preprocess, READABLE["png"], 32, True)
            assert small.result(timeout=60).shape == (3, 32, 32)
            time.sleep(0.5)
            assert not waits.done()
        assert bool((waits.result(timeout=60) == 90).all())


def test_threads_get_the_same_pixels() -> None:
    rows = list(READABLE.values())
    alone = [preprocess(data, 64, True) for data in rows]
    gate = threading.Barrier(4)

    def work(n: int) -> list[torch.Tensor]:
        gate.wait()
        order = rows[n:] + rows[:n]
        got = [preprocess(data, 64, True) for data in order]
        return got[len(rows) - n :] + got[: len(rows) - n]

    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(work, (0, 7, 13, 22)):
            assert all(torch.equal(a, b) for a, b in zip(alone, got, strict=True))
