"""SCE-Net, averaged: similarity conditions found without labels, their weights averaged for retrieval.

Source: Tan et al., ICCV 2019, section 3: M = 5 masks over a general embedding; a small branch looks at both images
and gives each condition's weight (softmax). Those weights exist for two images at a time only, so no index can be
built; for retrieval they are averaged, as Lin et al. (CVPR 2020, section 4.2) do for their comparison.
Different here: weights are averaged over the train pairs of the two categories (over all train pairs where the
categories never met), which keeps more of the method than one mean of all masks; each pair of a triplet has its own
weights (the authors' later version), not one for the three images; inputs, sampler and optimiser are MEDAL's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from medal_model.baselines.loop import Baseline, BaselineNetwork, Batch, LoopConfig, distances, fit_network, to_numpy
from medal_model.gallery import Gallery
from medal_model.losses import triplet_loss
from medal_model.outfits import Outfits
from medal_model.scorers import DistanceScorer, Ints, PoolScorer

CONDITIONS = 5
MASK_L1 = 5e-4


class SceNetAveraged(Baseline):
    def fit(self, outfits: Outfits, gallery: Gallery, categories: Sequence[str], seed: int) -> PoolScorer:
        make = lambda inputs: _Network(inputs, len(categories), self.config)  # noqa: E731
        return fit_network(make, outfits, gallery, categories, seed, self.config)


class _Network(BaselineNetwork):
    def __init__(self, inputs: int, categories: int, config: LoopConfig) -> None:
        super().__init__(inputs, config)
        self.categories = categories
        self.masks = nn.Parameter(0.9 + 0.7 * torch.randn(CONDITIONS, config.dim))
        self.branch = nn.Sequential(nn.Linear(2 * config.dim, 32), nn.ReLU(), nn.Linear(32, CONDITIONS))

    def weights(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Weight of each condition [..., M] for pairs of general embeddings [..., D]; symmetric."""
        one, other = self.branch(torch.cat((a, b), -1)), self.branch(torch.cat((b, a), -1))
        return F.softmax((one + other) / 2, -1)

    def loss(self, z: torch.Tensor, batch: Batch) -> torch.Tensor:
        a, p, n = z[batch.anchor], z[batch.positive], z[batch.negative]
        near = self._distance(a, p)
        far = self._distance(a[:, None].expand_as(n), n)
        return triplet_loss(-near, -far, self.margin)[0] + MASK_L1 * F.relu(self.masks).sum(-1).mean()

    def _distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        mask = self.weights(a, b) @ F.relu(self.masks)
        return distances(F.normalize(a * mask, dim=-1, eps=1e-8), F.normalize(b * mask, dim=-1, eps=1e-8))

    def scorer(self, z: torch.Tensor, kinds: Ints, pairs: tuple[Ints, Ints]) -> PoolScorer:
        a, b = (torch.from_numpy(p) for p in pairs)
        w = self.weights(z[a], z[b])
        k = torch.from_numpy(kinds)
        cell = k[a] * self.categories + k[b]
        many = torch.bincount(cell, minlength=self.categories**2)[:, None]
        total = torch.zeros(self.categories**2, CONDITIONS).index_add_(0, cell, w)
        mean = torch.where(many > 0, total / many.clamp_min(1), w.mean(0))
        mean = mean.view(self.categories, self.categories, CONDITIONS)
        masks = (mean + mean.transpose(0, 1)) / 2 @ F.relu(self.masks)
        return DistanceScorer(to_numpy(z), kinds, to_numpy(masks), unit=True)
