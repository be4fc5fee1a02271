"""Baselines that learn no weights: chance, popularity, colour, the frozen backbone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from medal_model.baselines.loop import Baseline
from medal_model.gallery import Gallery
from medal_model.outfits import Outfits
from medal_model.scorers import PoolScorer, PopularityScorer, cosine_scorer, histogram_scorer, random_scorer


class Random(Baseline):
    """One fixed random number a pair: what guessing gives."""

    def fit(self, outfits: Outfits, gallery: Gallery, categories: Sequence[str], seed: int) -> PoolScorer:
        return random_scorer(seed)


class Popularity(Baseline):
    """In how many train outfits an item stands, whatever it is shown with: how much popularity alone explains."""

    def fit(self, outfits: Outfits, gallery: Gallery, categories: Sequence[str], seed: int) -> PoolScorer:
        use = Counter(i for outfit in outfits.sets["train"] for i in outfit)
        return PopularityScorer(np.array([use[i] for i in gallery.ids], dtype=np.float64))


class ColourHistogram(Baseline):
    """Bhattacharyya coefficient of the two LUV histograms: items of like colour go together."""

    def fit(self, outfits: Outfits, gallery: Gallery, categories: Sequence[str], seed: int) -> PoolScorer:
        return histogram_scorer(gallery.histograms)


class FrozenCosine(Baseline):
    """Cosine of the frozen backbone's features: items that look alike go together."""

    def fit(self, outfits: Outfits, gallery: Gallery, categories: Sequence[str], seed: int) -> PoolScorer:
        return cosine_scorer(gallery.features)
