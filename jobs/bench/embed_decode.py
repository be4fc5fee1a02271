"""What `medal bench embed` says of decoding: our path from JPEG bytes to pixels and histogram, beside what peers do
without a histogram, and how far the pixels are from the reference. One thread each.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

_QUALITY = 85  # of the JPEG files made here, 4:2:0 as most are
_WARM = 3  # photos of each side before the clock runs: compiling, page faults, tables
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Order:
    """`photos` of `pixels` x `pixels`, drawn, or of the first files of `images`; `rounds` turns of each side."""

    photos: int = 40
    pixels: int = 1000
    size: int = 224
    rounds: int = 5
    seed: int = 7
    images: Path | None = None


def measure(order: Order, say: Callable[[str], None]) -> dict[str, Any]:
    """All figures as plain JSON values, medians of the rounds. Raises ValueError for no photo.

    Milliseconds of processor time a photo, of all threads: what else the machine does is not in them.
    """
    files = drawn(order) if order.images is None else read(order)
    say(f"decode: {len(files)} photos, {sum(map(len, files)) / len(files) / 1000:.0f} kB each; {order.rounds} rounds")
    ours, baseline, parts = _ours(order.size), _baseline(order.size), Parts(order.size)
    rows: dict[str, list[float]] = {"ours": [], "baseline": []}
    with one_thread():
        for f in files[:_WARM]:
            for side in (ours, baseline, parts):
                side(f)
        parts.clear()
        for _ in range(order.rounds):  # sides in turn: what else the machine does meets both
            for name, side in (("ours", ours), ("baseline", baseline)):
                begun = time.process_time()
                for f in files:
                    side(f)
                rows[name].append((time.process_time() - begun) / len(files) * 1000)
            for f in files:
                parts(f)
            parts.round(len(files))
        off = [np.abs(_pixels(f, order.size) - reference(f, order.size)) for f in files]
    ours_ms, baseline_ms = median(rows["ours"]), median(rows["baseline"])
    result = {
        "decode_ratio": round(median(b / o for b, o in zip(rows["baseline"], rows["ours"], strict=True)), 3),
        "ours_ms": round(ours_ms, 3),
        "baseline_ms": round(baseline_ms, 3),
        "parts": parts.medians(),
        "photos": len(files),
        "kilobytes": round(sum(map(len, files)) / len(files) / 1000, 1),
        "decoded_twice": parts.again / max(1, parts.photos),
        "off_mean": round(float(np.mean([o.mean() for o in off])), 3),
        "off_mean_worst": round(max(float(o.mean()) for o in off), 3),
        "off_max": round(max(float(o.max()) for o in off), 1),
    }
    say(f"decode: ours {ours_ms:.2f} ms, baseline {baseline_ms:.2f} ms, ratio {result['decode_ratio']:.2f}")
    return result


def drawn(order: Order) -> list[bytes]:
    """Product shots: cloth with weave, folds and grain on a light background with a shadow; a fifth fill the frame."""
    return [_photo(np.random.default_rng([order.seed, n]), order.pixels, n) for n in range(order.photos)]


def _photo(rng: np.random.Generator, pixels: int, number: int) -> bytes:
    y, x = np.mgrid[:pixels, :pixels] / pixels - 0.5
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 14)
    weave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * pixels * 2 * np.pi / period)
    folds = sum(np.sin(x * rng.uniform(5, 30) + y * rng.uniform(5, 30) + rng.uniform(0, 6)) for _ in range(4))
    light = 1 + 0.08 * folds + rng.uniform(0.03, 0.12) * weave
    cloth = rng.uniform(30, 220, 3) * light[..., None]
    if number % 5:
        tall, wide = rng.uniform(0.30, 0.47), rng.uniform(0.15, 0.45)
        inside = np.abs(x / wide) ** 3 + np.abs(y / tall) ** 3
        shadow = 1 - 0.12 * np.exp(-((inside - 1).clip(0) * 6))
        ground = np.full(3, rng.uniform(235, 255)) * shadow[..., None]
        cloth = np.where((inside < 1)[..., None], cloth + rng.normal(0, 4, (pixels, pixels, 1)), ground)
    else:
        cloth = cloth + rng.normal(0, 6, (pixels, pixels, 1))
    return _jpeg(cloth.clip(0, 255).astype(np.uint8))


def read(order: Order) -> list[bytes]:
    """Photos of a folder, evenly through its names, scaled to the size asked for and packed anew."""
    from PIL import Image, UnidentifiedImageError

    assert order.images is not None
    names = sorted(p for p in order.images.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    files = []
    for p in names[:: max(1, len(names) // order.photos)][: order.photos]:
        try:
            with Image.open(p) as image:
                square = image.convert("RGB").resize((order.pixels, order.pixels), Image.Resampling.BICUBIC)
        except (UnidentifiedImageError, OSError):
            continue
        files.append(_jpeg(np.asarray(square)))
    if not files:
        raise ValueError(f"--images {order.images}: no photo that can be read")
    return files


def _jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def reference(data: bytes, size: int, trim: bool = True) -> Float64:
    """What preprocessing is measured against: float64 [size, size, 3], unrounded.

    Full decode by Pillow, upright, profile to sRGB, alpha on white, then Pillow's antialiased bilinear in float. The
    product's box is the one that preprocessing takes: where it lies is a decision, not a colour.
    """
    from PIL import Image, ImageCms, ImageOps

    from medal_model.features import product_box
    from medal_model.images import decode, fitted

    image: Any = Image.open(io.BytesIO(data))
    image.load()
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    alpha = image.convert("RGBA").getchannel("A") if image.mode in ("RGBA", "LA", "P", "PA") else None
    if profile and image.mode in ("RGB", "L", "CMYK"):
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        image = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    pixels = np.asarray(image.convert("RGBA").convert("RGB"), np.float32)
    if alpha is not None:
        part = np.asarray(alpha, np.float32)[..., None] / 255
        pixels = (pixels * part + 255 * (1 - part)).astype(np.float32)
    h, w = pixels.shape[:2]
    y0, x0, y1, x1 = product_box(decode(data, max(size, 128))) if trim else (0, 0, h, w)
    nh, nw = fitted(y1 - y0, x1 - x0, size)
    out, top, left = np.full((size, size, 3), 255.0), (size - nh) // 2, (size - nw) // 2
    for c in range(3):
        plane = Image.fromarray(np.ascontiguousarray(pixels[:, :, c]))
        scaled = plane.resize((nw, nh), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1))
        out[top : top + nh, left : left + nw, c] = np.asarray(scaled)
    return out


def _pixels(data: bytes, size: int) -> Float64:
    from medal_model.features import preprocess

    return preprocess(data, size, True).permute(1, 2, 0).numpy().astype(np.float64)


def _ours(size: int) -> Callable[[bytes], Any]:
    from medal_model.colour import luv_histogram
    from medal_model.features import preprocess

    return lambda data: luv_histogram(preprocess(data, size, True)[None])


def _baseline(size: int) -> Callable[[bytes], Any]:
    from PIL import Image

    steps = peer_transform(size)
    return lambda data: steps(Image.open(io.BytesIO(data)))


def peer_transform(size: int, mean: Sequence[float] = (0.5,) * 3, std: Sequence[float] = (0.5,) * 3) -> Any:
    """As OpenCLIP and clip-retrieval prepare a photo: Pillow, torchvision's bicubic, crop, tensor, normalise."""
    from torchvision import transforms as t

    return t.Compose(
        [
            t.Resize(size, interpolation=t.InterpolationMode.BICUBIC),
            t.CenterCrop(size),
            lambda image: image.convert("RGB"),
            t.ToTensor(),
            t.Normalize(mean, std),
        ]
    )


class Parts:
    """Our path once more, with a clock between its steps."""

    NAMES = ("decode", "trim", "resize", "histogram")

    def __init__(self, size: int) -> None:
        self._size = size
        self.clear()

    def clear(self) -> None:
        self._spent = dict.fromkeys(self.NAMES, 0.0)
        self._rounds: list[dict[str, float]] = []
        self.photos = self.again = 0

    def __call__(self, data: bytes) -> None:
        from medal_model.colour import luv_histogram
        from medal_model.features import finer, product_box
        from medal_model.images import decode, fit

        clock = [time.process_time()]
        photo = decode(data, max(self._size, 128))
        clock.append(time.process_time())
        box = product_box(photo)
        clock.append(time.process_time())
        sharp = finer(photo, box, data, self._size)
        clock.append(time.process_time())
        pixels = fit(sharp, self._size, box)
        clock.append(time.process_time())
        luv_histogram(pixels[None])
        clock.append(time.process_time())
        first, trim, second, resize, histogram = np.diff(clock)
        for name, s in zip(self.NAMES, (first + second, trim, resize, histogram), strict=True):
            self._spent[name] += float(s)
        self.photos, self.again = self.photos + 1, self.again + (sharp is not photo)

    def round(self, photos: int) -> None:
        """End of a round over so many photos."""
        self._rounds.append({k: v / photos * 1000 for k, v in self._spent.items()})
        self._spent = dict.fromkeys(self.NAMES, 0.0)

    def medians(self) -> dict[str, float]:
        return {k: round(median(r[k] for r in self._rounds), 3) for k in self.NAMES}


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, as a decode thread of the job has one core."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
