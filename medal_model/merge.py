"""Adding harvested outfits to others for training: + harvest in the table of ablations.

    outfits = merge_train(outfits, harvested)
    gallery = merge_gallery(gallery, harvested_gallery, outfits)

Ids and product types of the added items get a prefix: two folders may use one id for different things, and negatives
then come from the folder that the positive comes from, so that nothing can be learnt from telling photos of worn
clothes from pack shots. Questions stay as they are: what is added is trained on, never asked about.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from medal_model.gallery import Gallery
from medal_model.outfits import SPLITS, Item, Outfits, OutfitsError

PREFIX = "harvest:"


def merge_train(outfits: Outfits, added: Outfits, prefix: str = PREFIX, parts: Collection[str] = ("train",)) -> Outfits:
    """`outfits` with the sets of `parts` of `added` at the end of its train sets, and their items.

    All three parts may be given where nothing is asked about the added outfits. Raises OutfitsError where an id with
    the prefix is already there.
    """
    sets = tuple(tuple(prefix + i for i in outfit) for part in SPLITS if part in parts for outfit in added.sets[part])
    used = {i for outfit in sets for i in outfit}
    items = {
        key: Item(key, item.category, prefix + item.product_type)
        for item_id, item in added.items.items()
        if (key := prefix + item_id) in used
    }
    if twice := items.keys() & outfits.items.keys():
        raise OutfitsError(f"{added.root}: item '{min(twice)}' is already in {outfits.root}; choose another prefix")
    return replace(
        outfits,
        items={**outfits.items, **items},
        sets={**outfits.sets, "train": (*outfits.sets["train"], *sets)},
    )


def merge_gallery(gallery: Gallery, added: Gallery, merged: Outfits, prefix: str = PREFIX) -> Gallery:
    """Rows of `gallery`, then those of `added` whose prefixed id is an item of `merged`.

    Raises OutfitsError where the two galleries hold features of different widths.
    """
    if gallery.features.shape[1] != added.features.shape[1]:
        raise OutfitsError(
            f"features of {added.features.shape[1]} dimensions cannot be added to {gallery.features.shape[1]}; "
            f"compute both with one backbone"
        )
    rows = [n for n, i in enumerate(added.ids) if prefix + i in merged.items]
    return Gallery(
        (*gallery.ids, *(prefix + added.ids[n] for n in rows)),
        (*gallery.categories, *(added.categories[n] for n in rows)),
        np.concatenate([gallery.features, added.features[rows]]),
        np.concatenate([gallery.histograms, added.histograms[rows]]),
    )
