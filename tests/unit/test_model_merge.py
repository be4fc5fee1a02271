"""Harvested outfits beside others in training: nothing collides, no question changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medal_model.gallery import Gallery
from medal_model.merge import merge_gallery, merge_train
from medal_model.outfits import Item, Judged, Outfits, OutfitsError, Question
from medal_model.sampling import TripletSampler


def outfits(root: str, kinds: str = "12") -> Outfits:
    items = {k: Item(k, "tops", kinds[0]) for k in "abc"} | {k: Item(k, "shoes", kinds[1]) for k in "xyz"}
    sets = {"train": (("a", "x"), ("b", "y")), "valid": (("c", "z"),), "test": ()}
    asked = {"valid": (Question(("c",), ("z", "x"), 0),), "test": ()}
    return Outfits(Path(root), "nondisjoint", items, sets, asked, {"valid": (Judged(("c", "z"), True),)}, {}, {})


def gallery(width: int = 3, first: float = 0.0) -> Gallery:
    rows = np.arange(6, dtype=np.float32)[:, None] + np.float32(first)
    return Gallery(tuple("abcxyz"), ("tops",) * 3 + ("shoes",) * 3, rows.repeat(width, 1), rows.repeat(4, 1))


def test_train_sets_are_added_and_nothing_else_changes() -> None:
    own, added = outfits("own"), outfits("added")
    both = merge_train(own, added)
    assert both.sets["train"] == (*own.sets["train"], ("harvest:a", "harvest:x"), ("harvest:b", "harvest:y"))
    assert both.sets["valid"] == own.sets["valid"]
    assert (both.questions, both.judged) == (own.questions, own.judged)
    assert set(both.items) == {*"abcxyz", "harvest:a", "harvest:x", "harvest:b", "harvest:y"}
    assert both.items["harvest:a"] == Item("harvest:a", "tops", "harvest:1")
    assert {k: v for k, v in both.items.items() if ":" not in k} == own.items
    assert len(merge_train(own, added, parts=("train", "valid", "test")).sets["train"]) == 5


def test_rows_follow_the_items() -> None:
    both = merge_train(outfits("own"), outfits("added"))
    merged = merge_gallery(gallery(), gallery(first=100), both)
    assert merged.ids == (*"abcxyz", "harvest:a", "harvest:b", "harvest:x", "harvest:y")
    assert merged.features[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 100, 101, 103, 104]
    assert merged.histograms[:, 3].tolist() == [0, 1, 2, 3, 4, 5, 100, 101, 103, 104]
    assert merged.categories[-2:] == ("shoes", "shoes")


def test_negatives_come_from_the_positives_own_folder() -> None:
    both = merge_train(outfits("own"), outfits("added"))
    merged = merge_gallery(gallery(), gallery(first=100), both)
    sampler = TripletSampler(both.sets["train"], both.items, merged.rows)
    drawn = sampler.draw(5, np.random.default_rng(0))
    added = np.array([i.startswith("harvest:") for i in merged.ids])
    assert len(drawn.anchor) == 8
    assert (added[drawn.negative] == added[drawn.positive][:, None]).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(OutfitsError, match="item 'a' is already in own; choose another prefix"):
        merge_train(outfits("own"), outfits("added"), prefix="")
    both = merge_train(outfits("own"), outfits("added"))
    with pytest.raises(OutfitsError, match="features of 4 dimensions cannot be added to 3"):
        merge_gallery(gallery(3), gallery(4), both)
