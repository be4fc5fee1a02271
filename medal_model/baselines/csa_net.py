"""CSA-Net: subspaces attended to by the two categories, trained by a loss over whole outfits.

Source: Lin et al., CVPR 2020, sections 3.1-3.3: k = 5 masks over a general embedding, weighted by a two-layer branch
over the one-hot own and other category (softmax), so that an item has one vector for each other category;
D(O, x) is the mean distance of x to the outfit's items, and the loss max(0, D(O, p) - D(O, n) + 0.3).
Different here: subspace embeddings are scaled to unit length, as those of the other baselines; D(O, n) is the mean
over hinges of four negatives (the paper has both mean and minimum); negatives never met the anchor, but may have met
another item of the outfit; inputs, sampler and optimiser are MEDAL's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from medal_model.baselines.loop import Baseline, BaselineNetwork, Batch, LoopConfig, fit_network, to_numpy
from medal_model.gallery import Gallery
from medal_model.losses import triplet_loss
from medal_model.outfits import Outfits
from medal_model.scorers import DistanceScorer, Ints, PoolScorer

SUBSPACES = 5


class CsaNet(Baseline):
    def fit(self, outfits: Outfits, gallery: Gallery, categories: Sequence[str], seed: int) -> PoolScorer:
        make = lambda inputs: _Network(inputs, len(categories), self.config)  # noqa: E731
        return fit_network(make, outfits, gallery, categories, seed, self.config)


class _Network(BaselineNetwork):
    whole_outfits = True

    def __init__(self, inputs: int, categories: int, config: LoopConfig) -> None:
        super().__init__(inputs, config)
        self.categories = categories
        self.masks = nn.Parameter(0.9 + 0.7 * torch.randn(SUBSPACES, config.dim))
        self.branch = nn.Sequential(nn.Linear(2 * categories, 32), nn.ReLU(), nn.Linear(32, SUBSPACES))

    def table(self) -> torch.Tensor:
        """The mask of an item by own and other category, [C, C, D]: the attended sum of the subspaces' masks."""
        one_hot = torch.eye(self.categories)
        own = one_hot[:, None].expand(-1, self.categories, -1)
        other = one_hot[None].expand(self.categories, -1, -1)
        return F.softmax(self.branch(torch.cat((own, other), -1)), -1) @ self.masks

    def loss(self, z: torch.Tensor, batch: Batch) -> torch.Tensor:
        table, present = self.table(), batch.rest >= 0
        rest = batch.rest.clamp_min(0)
        own, target = batch.kinds[rest], batch.kinds[batch.positive][:, None]
        asked = F.normalize(z[rest] * table[own, target], dim=-1, eps=1e-8)  # [B, L, D]
        mask = table[target, own]
        answers = z[torch.cat((batch.positive[:, None], batch.negative), 1)]  # [B, 1 + K, D]
        # |a - u|^2 = 2 - 2 a.u for unit vectors, u = m * x / |m * x|: products instead of B x L x K x D differences.
        dot = (asked * mask) @ answers.transpose(1, 2)
        size = (mask.square() @ answers.square().transpose(1, 2)).clamp_min(1e-12).sqrt()
        apart = ((2.0 - 2.0 * dot / size).clamp_min(0.0) + 1e-12).sqrt()  # [B, L, 1 + K]
        mean = (apart * present[..., None]).sum(1) / present.sum(1, keepdim=True)
        return triplet_loss(-mean[:, 0], -mean[:, 1:], self.margin)[0]

    def scorer(self, z: torch.Tensor, kinds: Ints, pairs: tuple[Ints, Ints]) -> PoolScorer:
        return DistanceScorer(to_numpy(z), kinds, to_numpy(self.table()), unit=True)
