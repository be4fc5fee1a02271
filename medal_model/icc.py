"""Embedded colour profiles to sRGB (ICC.1:2022), by LittleCMS.

A profile that is damaged, of another colour model than the pixels, or too large is ignored: shops' photos carry many
such, and every browser shows them as if they had none. One that is sRGB by what it does costs nothing.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE = 4 << 20  # bytes; profiles of printing presses have up to 2.5 MB
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}
_CLASSES = ("scnr", "mntr", "prtr", "spac")  # not device links, abstract and named-colour profiles
_STEP = 32  # levels between the colours that a profile is tried on


def to_srgb(image: Any, profile: bytes | None) -> Any:
    """A Pillow image of mode RGB, L or CMYK in sRGB, mode RGB; itself where there is nothing to convert."""
    if not profile or len(profile) > MAX_PROFILE or image.mode not in _SPACES:
        return image
    transform = _transform(profile, image.mode)
    return image if transform is None else ImageCms.applyTransform(image, transform)


@lru_cache(maxsize=16)  # a shop's photos share a few; LittleCMS' transforms may be used by several threads
def _transform(profile: bytes, mode: str) -> Any:
    """None where the profile cannot be used or changes no colour by more than one level."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        about = source.profile
        if about.xcolor_space.strip() != _SPACES[mode] or about.device_class not in _CLASSES:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "CMYK":
            return transform
        tried = _colours(mode)
        got = np.asarray(ImageCms.applyTransform(tried, transform), np.int16)
        return None if np.abs(got - np.asarray(tried.convert("RGB"), np.int16)).max() <= 1 else transform
    except Exception:  # whatever LittleCMS or its wrapper says of data from outside
        return None


def _colours(mode: str) -> Any:
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.minimum(np.arange(0, 257, _STEP), 255).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1)
    return Image.fromarray(grid.reshape(1, -1, 3))
