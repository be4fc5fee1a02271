"""Decoding: every refusal has its kind, every readable format comes out as upright RGB on white."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from medal_model import images
from medal_model.features import trim_border
from medal_model.image_errors import ImageError
from medal_model.images import decode_image, letterbox


def _picture(mode: str = "RGB", size: tuple[int, int] = (60, 40)) -> Image.Image:
    ramp = np.linspace(0, 255, size[0] * size[1] * 3).astype(np.uint8).reshape(size[1], size[0], 3)
    return Image.fromarray(ramp).convert(mode)


def _bytes(image: Image.Image, fmt: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, fmt, **options)  # type: ignore[arg-type]
    return out.getvalue()


JPEG, PNG = _bytes(_picture()), _bytes(_picture(), "PNG")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404 not found</body></html>", "not_an_image"),
        (b"\n  <html>moved</html>", "not_an_image"),
        (b'{"error": "no such key"}', "not_an_image"),
        (bytes(range(64)), "not_an_image"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (JPEG[:-2], "truncated"),
        (JPEG[:20], "truncated"),
        (PNG[: len(PNG) // 2], "truncated"),
        (PNG[:12], "truncated"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "unsupported"),
        (b"%PDF-1.7 ...", "unsupported"),
        (b"\x00\x00\x00\x20ftypheic" + bytes(40), "unsupported"),
        (PNG[:40] + b"garbage" + PNG[47:], "unreadable"),
    ],
)
def test_bad_images_by_kind(data: bytes, kind: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    assert caught.value.kind == kind
    assert str(caught.value)


def test_every_cut_of_a_jpeg_or_png_is_refused() -> None:
    for whole in (JPEG, _bytes(_picture(), progressive=True), PNG):
        for end in range(1, len(whole) - 12, 37):
            with pytest.raises(ImageError):
                decode_image(whole[:end])


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 60 * 40 - 1)
    for data in (JPEG, PNG):
        with pytest.raises(ImageError) as caught:
            decode_image(data)
        assert caught.value.kind == "too_large"
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    with pytest.raises(ImageError) as caught:
        decode_image(JPEG)
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize(
    ("mode", "fmt"),
    [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("L", "PNG"), ("P", "PNG"), ("RGB", "WEBP")]
    + [("RGB", "BMP"), ("P", "GIF"), ("RGB", "TIFF"), ("1", "PNG"), ("CMYK", "TIFF")],
)
def test_formats_give_upright_rgb(mode: str, fmt: str) -> None:
    source = _picture(mode)
    got = decode_image(_bytes(source, fmt))
    assert got.shape == (40, 60, 3)
    assert got.dtype == np.uint8
    assert np.abs(got.astype(int) - np.asarray(source.convert("RGB")).astype(int)).mean() < 8


def test_fast_path_agrees_with_pillow() -> None:
    assert np.abs(decode_image(JPEG).astype(int) - np.asarray(Image.open(io.BytesIO(JPEG))).astype(int)).max() <= 2


def test_exif_orientation_is_applied() -> None:
    image = _picture()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    got = decode_image(_bytes(image, exif=exif))
    assert got.shape == (60, 40, 3)
    assert np.abs(got.astype(int) - np.rot90(np.asarray(image), -1).astype(int)).mean() < 8


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_on_white(mode: str) -> None:
    clear = Image.new(mode, (8, 8), 0)
    assert (decode_image(_bytes(clear, "PNG")) == 255).all()


def test_palette_transparency_is_laid_on_white() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 0] * 256)
    assert (decode_image(_bytes(image, "PNG", transparency=0)) == 255).all()


def test_sixteen_bit_grey_keeps_its_range() -> None:
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    got = decode_image(_bytes(Image.fromarray(deep), "PNG"))
    assert got[:, :, 0].ravel().tolist() == np.rint(deep.ravel() / 257.0).astype(int).tolist()


@pytest.mark.parametrize(("h", "w"), [(100, 50), (50, 100), (7, 300), (1, 1), (32, 32)])
def test_letterbox_centres_on_white(h: int, w: int) -> None:
    out = letterbox(np.zeros((h, w, 3), np.uint8), 32)
    assert out.shape == (3, 32, 32)
    assert out.dtype == torch.uint8
    dark = (out == 0).all(0).numpy()
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    assert max(len(rows), len(columns)) == 32
    assert abs(rows[0] - (31 - rows[-1])) <= 1
    assert abs(columns[0] - (31 - columns[-1])) <= 1
    assert bool((out[:, ~torch.from_numpy(dark)] == 255).all())


def test_letterbox_is_repeatable_and_takes_read_only_input() -> None:
    image = np.asarray(_picture(size=(300, 200)))
    image.setflags(write=False)
    assert torch.equal(letterbox(image, 64), letterbox(image.copy(), 64))


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_letterbox_refuses_other_input(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        letterbox(bad, 32)


def test_trim_keeps_the_product_and_a_margin() -> None:
    image = np.full((400, 300, 3), 255, np.uint8)
    image[100:200, 120:180] = (20, 40, 160)
    got = trim_border(image)
    assert 100 <= got.shape[0] <= 125
    assert 60 <= got.shape[1] <= 85
    assert (got == (20, 40, 160)).all(2).sum() == 100 * 60


def test_trim_leaves_a_photo_without_background() -> None:
    image = np.random.default_rng(0).integers(0, 255, (50, 40, 3)).astype(np.uint8)
    assert trim_border(image).shape == image.shape
