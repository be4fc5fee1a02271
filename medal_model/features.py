"""From image bytes to backbone features and histograms, and the cache of both that training reads.

The cache is one safetensors file per backbone and preprocessing, keyed by the image's content hash: a changed
photo is computed anew, an unchanged one never twice.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from medal_model import jpeg, kernels
from medal_model.backbones import BackboneSpec, folded, load_backbone
from medal_model.colour import foreground, luv_histogram
from medal_model.image_errors import ImageError
from medal_model.image_source import ImageSource
from medal_model.images import Box, Photo, UInt8, decode, fit, fitted
from medal_model.preprocessing import preprocessing

_LOOK = 128  # pixels, side of the small copy on which the product is looked for
_MARGIN = 0.06  # of the longer side of the product, kept around it
_EVERY = 256  # images between two saves of the cache: half a minute of work on two cores ...
_SHARE = 8  # ... or an eighth of it where that is more: the whole file is written, nine times its size at most in all


def product_box(photo: Photo) -> Box:
    """The product with a small margin around it, in the photo's whole pixels; all of it where there is no background.

    The product is what `colour.foreground` finds on a small copy.
    """
    h, w = photo.height, photo.width
    whole = (0, 0, h, w)
    nh, nw = fitted(h, w, _LOOK)
    top, left = (_LOOK - nh) // 2, (_LOOK - nw) // 2
    front = foreground(fit(photo, _LOOK).unsqueeze(0))[0, top : top + nh, left : left + nw].numpy()
    down, across = np.flatnonzero(front.any(1)), np.flatnonzero(front.any(0))
    if not down.size:
        return whole
    y0, y1 = down[0] * h / nh, (down[-1] + 1) * h / nh
    x0, x1 = across[0] * w / nw, (across[-1] + 1) * w / nw
    margin = _MARGIN * max(y1 - y0, x1 - x0)
    y0, x0 = max(0, int(y0 - margin)), max(0, int(x0 - margin))
    return y0, x0, min(h, math.ceil(y1 + margin)), min(w, math.ceil(x1 + margin))


def trim_border(image: UInt8) -> UInt8:
    """Cut the empty border off: [H, W, 3] to [h, w, 3], as `product_box` says."""
    y0, x0, y1, x1 = product_box(Photo(image, *image.shape[:2]))
    return np.ascontiguousarray(image[y0:y1, x0:x1])


def preprocess(data: bytes, size: int, trim: bool) -> torch.Tensor:
    """Decode, cut the empty border off, letterbox: uint8 [3, size, size]. Raises ImageError.

    A large JPEG is decoded scaled down; where the product turns out to be a small part of it, once more, finer. May be
    called by several threads: nearly all of it runs without the interpreter's lock.
    """
    if not trim:
        return fit(decode(data, size), size)
    photo = decode(data, max(size, _LOOK))
    box = product_box(photo)
    return fit(finer(photo, box, data, size), size, box)


def finer(photo: Photo, box: Box, data: bytes, size: int) -> Photo:
    """The photo as finely decoded as its box needs that is to fill `size` pixels; itself where that is so."""
    shown = size * max(photo.height, photo.width) / max(box[2] - box[0], box[3] - box[1])
    needed = jpeg.factor(photo.height, photo.width, shown)
    return decode(data, shown) if photo.factor > needed else photo


class Extractor:
    """Preprocessing and the frozen backbone on one device."""

    def __init__(
        self,
        spec: BackboneSpec,
        input_size: int,
        trim: bool,
        device: str | torch.device = "cpu",
        state: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """`state` are trained weights. Raises BackboneError where weights are missing or not the referenced ones."""
        self.spec, self.input_size, self.trim, self.device = spec, input_size, trim, torch.device(device)
        self._backbone = folded(load_backbone(spec, self.device, state))
        self._mean = torch.tensor(spec.mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(spec.std, device=self.device).view(1, 3, 1, 1)
        levels = torch.arange(256, dtype=torch.uint8, device=self.device).view(1, 1, 1, 256).expand(1, 3, 1, 256)
        self._table = self._normalised(levels)[0, :, 0].cpu().contiguous().numpy()
        self.dtype = torch.float32
        self.compiled: Callable[[torch.Tensor], torch.Tensor] | None = None

    def on(self, device: str | torch.device, dtype: torch.dtype) -> Extractor:
        """A copy on a device, with the backbone, and it alone, in `dtype`; not compiled."""
        new = copy.copy(self)
        new.device, new.dtype, new.compiled = torch.device(device), dtype, None
        new._backbone = copy.deepcopy(self._backbone).to(new.device, dtype, memory_format=torch.channels_last)
        new._mean, new._std = self._mean.to(new.device), self._std.to(new.device)
        return new

    def compile(self, *, fullgraph: bool = True, backend: str = "inductor") -> None:
        """Compile normalising and backbone for the one shape of the first batch.

        No CUDA graphs (mode `reduce-overhead`): a graph belongs to the thread that recorded it and gives its outputs in
        memory that the next batch overwrites, while kernels of a large batch outlast their launches anyway. No
        `max-autotune`: it times candidates for minutes, and its choice, with the bits, may differ from start to start.
        """
        self.compiled = torch.compile(self._features, dynamic=False, fullgraph=fullgraph, backend=backend)

    def preprocess(self, data: bytes) -> torch.Tensor:
        """Decode, trim and letterbox: uint8 [3, S, S]. Raises ImageError."""
        return preprocess(data, self.input_size, self.trim)

    @torch.inference_mode()
    def extract(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features float32 [B, F] and histograms float32 [B, 512] of uint8 [B, 3, S, S], on the device.

        Pixels travel as uint8; normalising and counting happen on the device. Raises ValueError for another
        dtype or shape.
        """
        size = self.input_size
        if images.dtype != torch.uint8 or images.ndim != 4 or tuple(images.shape[1:]) != (3, size, size):
            raise ValueError(f"needs uint8 [B, 3, {size}, {size}], got {images.dtype} {tuple(images.shape)}")
        pixels = images.to(self.device, non_blocking=True)
        if self.compiled is not None:
            features = self.compiled(pixels)
        elif self.device.type == "cpu":
            features = self._run(self._looked_up(pixels))
        else:
            features = self._features(pixels)
        return features, luv_histogram(pixels)

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._run(self._normalised(pixels).contiguous(memory_format=torch.channels_last))

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.to(torch.float32) / 255.0 - self._mean) / self._std

    def _looked_up(self, pixels: torch.Tensor) -> torch.Tensor:
        """`_normalised` in one pass instead of four, bit for bit: of each channel's 256 values it is known."""
        last = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        out = np.empty(last.shape, np.float32)
        kernels.look_up(last, self._table, out)
        return torch.from_numpy(out).permute(0, 3, 1, 2)

    def _run(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self._backbone(x.to(self.dtype)).to(torch.float32)
        return features

    @property
    def fingerprint(self) -> str:
        """16 hex digits over everything but the image that a feature depends on."""
        content = {**self.spec.to_dict(), **preprocessing(self.input_size, self.trim), "rule": 2}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Features:
    """Of the items that could be read, by row; `failed` maps the others to why."""

    ids: tuple[str, ...]
    features: npt.NDArray[np.float32]
    histograms: npt.NDArray[np.float32]
    failed: Mapping[str, str]
    computed: int
    seconds: float


def cached_features(
    ids: Sequence[str],
    images: ImageSource,
    extractor: Extractor,
    cache: Path,
    batch_size: int = 32,
    quiet: bool = False,
) -> Features:
    """Features of items by their photos, from the cache where their bytes were seen; progress goes to stderr.

    Rows are in the order of `ids`, whatever order the source is read in. A missing or unreadable image is reported in
    `failed`, never fatal. Raises ImageSourceError for a damaged source, OSError where the cache folder cannot be
    written.
    """
    begun = time.monotonic()
    store = _Cache(cache / f"{extractor.spec.name}-{extractor.fingerprint}.safetensors")
    keys: dict[str, str] = {}
    failed: dict[str, str] = {}
    waiting: list[tuple[str, torch.Tensor]] = []
    queued: set[str] = set()
    for n, item_id in enumerate(images.order(ids), 1):
        try:
            data = images.read(item_id)
            key = hashlib.sha256(data).hexdigest()
            if key not in store.rows and key not in queued:
                waiting.append((key, extractor.preprocess(data)))
                queued.add(key)
            keys[item_id] = key
        except OSError as e:
            failed[item_id] = f"missing: {e.strerror or e}"
        except ImageError as e:
            failed[item_id] = f"{e.kind}: {e}"
        if len(waiting) >= batch_size:
            store.add(waiting, extractor)
            waiting = []
            _progress(n, len(ids), begun, quiet)
    if waiting:
        store.add(waiting, extractor)
    store.save()
    _progress(len(ids), len(ids), begun, quiet, end="\n")
    read = tuple(i for i in ids if i in keys)
    features, histograms = store.arrays(
        np.array([store.rows[keys[i]] for i in read], np.int64), extractor.spec.feature_dim
    )
    return Features(read, features, histograms, failed, store.added, time.monotonic() - begun)


def _progress(done: int, total: int, begun: float, quiet: bool, end: str = "") -> None:
    if not quiet:
        rate = done / max(1e-6, time.monotonic() - begun)
        sys.stderr.write(f"\rfeatures {done:,}/{total:,}  {rate:.0f} images/s{end}")
        sys.stderr.flush()


class _Cache:
    """One safetensors file: keys uint8 [N, 32], features [N, F], histograms [N, 512]."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.added = 0
        self.rows: dict[str, int] = {}
        self._features: list[npt.NDArray[np.float32]] = []
        self._histograms: list[npt.NDArray[np.float32]] = []
        self._unsaved = 0
        if path.is_file():
            try:
                stored = load_file(path)
                self._append([bytes(k).hex() for k in stored["keys"]], stored["features"], stored["histograms"])
            except (SafetensorError, KeyError, OSError) as e:
                sys.stderr.write(f"{path}: damaged cache is computed anew ({e})\n")

    def add(self, batch: list[tuple[str, torch.Tensor]], extractor: Extractor) -> None:
        features, histograms = extractor.extract(torch.stack([image for _, image in batch]))
        self._append([key for key, _ in batch], features.cpu().numpy(), histograms.cpu().numpy())
        self.added += len(batch)
        self._unsaved += len(batch)
        if self._unsaved >= max(_EVERY, len(self.rows) // _SHARE):
            self.save()

    def _append(self, keys: list[str], features: npt.NDArray[np.float32], histograms: npt.NDArray[np.float32]) -> None:
        for key in keys:
            self.rows[key] = len(self.rows)
        self._features.append(features)
        self._histograms.append(histograms)

    def save(self) -> None:
        """Whole file beside the old one, then renamed over it: a killed run leaves the old one."""
        if not self._unsaved:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        keys = np.array([list(bytes.fromhex(k)) for k in self.rows], dtype=np.uint8)
        features, histograms = np.concatenate(self._features), np.concatenate(self._histograms)
        self._features, self._histograms, self._unsaved = [features], [histograms], 0
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        save_file({"keys": keys, "features": features, "histograms": histograms}, beside)
        os.replace(beside, self.path)

    def arrays(self, rows: npt.NDArray[np.int64], dim: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        if not self._features:
            return np.zeros((0, dim), np.float32), np.zeros((0, 512), np.float32)
        return np.concatenate(self._features)[rows], np.concatenate(self._histograms)[rows]
