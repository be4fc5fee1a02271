"""What `medal bench training` measures: a whole network and heads on cached features, on one drawn or given set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    from medal_model.backbones import BackboneSpec
    from medal_model.config import TrainConfig
    from medal_model.gallery import Gallery
    from medal_model.inputs import Network
    from medal_model.outfits import Outfits
    from medal_model.training import Trainer

KINDS = ("tops", "bottoms", "shoes", "bags", "jewellery")  # one item of each makes a drawn outfit
ITEMS_AN_OUTFIT = 4.0  # drawn items for each drawn outfit: an item is worn 1.25 times, as in the Polyvore download
LEAST = 2 * len(KINDS)  # items of a drawn set: a wrong one for every right one
_FEATURES, _BINS = 1280, 512
_BATCH = 32


@dataclass(frozen=True)
class Data:
    """Outfits and their gallery; `pixels` uint8 [N, 3, S, S] where a whole network is to be measured."""

    outfits: Outfits
    gallery: Gallery
    pixels: torch.Tensor | None
    categories: tuple[str, ...]
    source: str


def drawn_data(items: int, size: int = 0, seed: int = 0) -> Data:
    """Outfits of one item of each kind, random features, and smooth random pictures of `size` pixels (0: none).

    Raises ValueError for fewer items than one outfit needs twice.
    """
    import torch

    from medal_model.gallery import Gallery
    from medal_model.outfits import Item, Outfits

    if items < LEAST:
        raise ValueError(f"{items} items are too few; {LEAST} or more")
    rng = np.random.default_rng(seed)
    kinds = [KINDS[n % len(KINDS)] for n in range(items)]
    ids = tuple(f"i{n}" for n in range(items))
    known = {i: Item(i, kind, kind) for i, kind in zip(ids, kinds, strict=True)}
    pools = [np.arange(n, items, len(KINDS)) for n in range(len(KINDS))]
    many = max(2, round(items / ITEMS_AN_OUTFIT))
    # Every item is worn before one is worn again.
    chosen = np.stack([np.resize(rng.permutation(pool), many) for pool in pools], 1)
    sets = {"train": tuple(tuple(ids[n] for n in row) for row in chosen), "valid": (), "test": ()}
    nothing: dict[str, tuple[Any, ...]] = {"valid": (), "test": ()}
    outfits = Outfits(Path("drawn"), "nondisjoint", known, sets, nothing, nothing, {}, {})
    features = rng.standard_normal((items, _FEATURES), np.float32)
    histograms = rng.dirichlet(np.full(_BINS, 0.1), items).astype(np.float32)
    pixels = _pictures(items, size, torch.Generator().manual_seed(seed)) if size else None
    return Data(outfits, Gallery(ids, tuple(kinds), features, histograms), pixels, KINDS, "drawn")


def read_data(folder: Path, images: Path, size: int, trim: bool, taxonomy: Any, most: int) -> Data:
    """A real set: its first `most` train outfits, photos decoded. Features are random, since speed needs no others.

    Photos as `image_source.open_images` finds them. Raises OutfitsError, ImageSourceError.
    """
    import torch

    from medal_model.features import trim_border
    from medal_model.gallery import Gallery
    from medal_model.image_errors import ImageError
    from medal_model.image_source import open_images
    from medal_model.images import decode_image, letterbox
    from medal_model.outfits import Outfits, OutfitsError, read_outfits

    found = read_outfits(folder, "nondisjoint", taxonomy.category)
    train = found.sets["train"][:most]
    ids = tuple(sorted({i for outfit in train for i in outfit}))
    source, pixels = open_images(images), {}
    for i in source.order(ids):
        try:
            photo = decode_image(source.read(i))
        except OSError as e:
            why = e.strerror or str(e)
            raise OutfitsError(f"{source.where(i)}: cannot be read: {why}; give the photos by --images") from e
        except ImageError as e:
            raise OutfitsError(f"{source.where(i)}: {e.kind}: {e}") from e
        pixels[i] = letterbox(trim_border(photo) if trim else photo, size)
    kinds = tuple(found.items[i].category for i in ids)
    rng = np.random.default_rng(0)
    gallery = Gallery(
        ids, kinds, rng.standard_normal((len(ids), _FEATURES), np.float32),
        rng.dirichlet(np.full(_BINS, 0.1), len(ids)).astype(np.float32),
    )  # fmt: skip
    nothing: dict[str, tuple[Any, ...]] = {"valid": (), "test": ()}
    outfits = Outfits(
        folder, "nondisjoint", {i: found.items[i] for i in ids}, {"train": train, **nothing}, nothing, nothing, {}, {}
    )
    return Data(outfits, gallery, torch.stack([pixels[i] for i in ids]), tuple(taxonomy.categories), str(folder))


@dataclass(frozen=True)
class Effort:
    """How long to measure: turns and steps of each side, and steps of an epoch's cost, by mode."""

    rounds: int
    steps: int
    whole_cost_steps: int
    threads: int | None


def measure(
    whole: TrainConfig,
    frozen: TrainConfig,
    data: Data,
    sizes: Sequence[int],
    effort: Effort,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """All figures as plain JSON values. Raises BackboneError, ValueError."""
    from medal_model.recipe import spec_of
    from medal_model.training_speed import against_bare, epoch_cost, exponent

    spec = spec_of(whole)
    result: dict[str, Any] = {"data": data.source, "items": len(data.gallery.ids), "backbone": whole.backbone}
    result["weights"], result["left_out"] = spec.weights, "evaluation and checkpoints between epochs"
    for mode, config in (("whole", whole), ("frozen", frozen)):
        say(f"{mode}: {effort.rounds} rounds of {effort.steps} steps")
        ratio = against_bare(_trainer(mode, data, config, spec), effort.rounds, effort.steps, effort.threads)
        result[mode] = {**asdict(ratio), "ratio": ratio.ratio}
        say(f"{mode}: trainer {ratio.trainer:,.1f}, bare {ratio.bare:,.1f} images/s, ratio {ratio.ratio:.3f}")
    for mode, config in (("whole", whole), ("frozen", frozen)):
        costs = []
        for items in sizes:
            set_ = drawn_data(items, config.input_size if mode == "whole" else 0)
            most = effort.whole_cost_steps if mode == "whole" else 0
            costs.append(
                epoch_cost(_trainer(mode, set_, replace(config, epoch_steps=0), spec), items, most, effort.threads)
            )
            say(f"{mode}: {items:,} items, {costs[-1].seconds:.2f} s an epoch")
        result[f"{mode}_epoch"] = {
            "sizes": [{**asdict(c), "seconds": c.seconds} for c in costs],
            "exponent": exponent(costs) if len(set(sizes)) > 1 else None,
        }
    return result


def _trainer(mode: str, data: Data, config: TrainConfig, spec: BackboneSpec) -> Trainer:
    from medal_model.training import Trainer

    if mode == "frozen":
        return Trainer(data.outfits, data.gallery, data.categories, config)
    return Trainer(data.outfits, _as_wide(data.gallery, spec.feature_dim), data.categories, config,
                   network=_network(data, spec))  # fmt: skip


def _network(data: Data, spec: BackboneSpec) -> Network:
    from medal_model.backbones import load_backbone
    from medal_model.inputs import Network

    assert data.pixels is not None
    return Network(load_backbone(spec), spec.mean, spec.std, data.pixels, np.arange(len(data.gallery.ids)))


def _as_wide(gallery: Gallery, width: int) -> Gallery:
    """The same gallery with features as wide as a backbone's: they set the heads' shape and statistics alone."""
    from medal_model.gallery import Gallery as Made

    features = np.resize(gallery.features, (len(gallery.ids), width))
    return Made(gallery.ids, gallery.categories, features, gallery.histograms)


def _pictures(many: int, size: int, rng: torch.Generator) -> torch.Tensor:
    """uint8 [many, 3, size, size]: a smooth random patch on white."""
    import torch
    from torch.nn import functional as F

    out = torch.full((many, 3, size, size), 255, dtype=torch.uint8)
    edge = size // 8
    inner = size - 2 * edge
    for start in range(0, many, _BATCH):
        n = min(_BATCH, many - start)
        patch = F.interpolate(torch.rand((n, 3, 6, 6), generator=rng), (inner, inner), mode="bilinear")
        out[start : start + n, :, edge : edge + inner, edge : edge + inner] = (patch * 220).to(torch.uint8)
    return out
