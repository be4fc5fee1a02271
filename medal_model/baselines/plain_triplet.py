"""Plain triplet: one embedding for all categories, no masks (FaceNet's loss on inner products).

Source: Schroff et al., CVPR 2015, eq. 1, on MEDAL's triplets and with MEDAL's hinge, 0.3 on the cosine.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from medal_model.baselines.loop import Baseline, BaselineNetwork, Batch, fit_network, to_numpy
from medal_model.gallery import Gallery
from medal_model.losses import triplet_loss
from medal_model.outfits import Outfits
from medal_model.scorers import Ints, PoolScorer, cosine_scorer


class PlainTriplet(Baseline):
    def fit(self, outfits: Outfits, gallery: Gallery, categories: Sequence[str], seed: int) -> PoolScorer:
        make = lambda inputs: _Network(inputs, self.config)  # noqa: E731
        return fit_network(make, outfits, gallery, categories, seed, self.config)


class _Network(BaselineNetwork):
    def loss(self, z: torch.Tensor, batch: Batch) -> torch.Tensor:
        a = z[batch.anchor]
        positive = (a * z[batch.positive]).sum(-1)
        return triplet_loss(positive, (a[:, None] * z[batch.negative]).sum(-1), self.margin)[0]

    def scorer(self, z: torch.Tensor, kinds: Ints, pairs: tuple[Ints, Ints]) -> PoolScorer:
        return cosine_scorer(to_numpy(z).astype("float32"))
