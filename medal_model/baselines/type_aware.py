"""Type-aware embeddings: a learnt mask for each pair of types over a general embedding.

Source: Vasileva et al., ECCV 2018, sections 3.1-3.3, and the settings of its published code (masks start at
N(0.9, 0.7), rectified; masked embeddings scaled to unit length; margin 0.3; weights 5e-4 of the mask's l1 and the
embedding's l2 norm, 5e-5 of the similarity term).
Different here: inputs, sampler and optimiser are MEDAL's (four negatives by use, not one drawn by type); the general
embedding is of unit length, so its l2 term is constant and left out; so are the terms of text, as everywhere in the
comparison.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from medal_model.baselines.loop import Baseline, BaselineNetwork, Batch, LoopConfig, distances, fit_network, to_numpy
from medal_model.gallery import Gallery
from medal_model.losses import triplet_loss
from medal_model.meta_spaces import pair_matrix
from medal_model.outfits import Outfits
from medal_model.scorers import DistanceScorer, Ints, PoolScorer

MASK_L1, SIMILARITY = 5e-4, 5e-5


class TypeAware(Baseline):
    def fit(self, outfits: Outfits, gallery: Gallery, categories: Sequence[str], seed: int) -> PoolScorer:
        make = lambda inputs: _Network(inputs, categories, self.config)  # noqa: E731
        return fit_network(make, outfits, gallery, categories, seed, self.config)


class _Network(BaselineNetwork):
    pairs: torch.Tensor

    def __init__(self, inputs: int, categories: Sequence[str], config: LoopConfig) -> None:
        super().__init__(inputs, config)
        self.register_buffer("pairs", pair_matrix(categories))
        self.masks = nn.Parameter(0.9 + 0.7 * torch.randn(int(self.pairs.max()) + 1, config.dim))

    def loss(self, z: torch.Tensor, batch: Batch) -> torch.Tensor:
        a, p, n = z[batch.anchor], z[batch.positive], z[batch.negative]
        own, other = batch.kinds[batch.anchor], batch.kinds[batch.positive]
        # The condition is the anchor's and the positive's; negatives are of the positive's type.
        mask = F.relu(self.masks[self.pairs[own, other]])
        near = distances(_unit(a * mask), _unit(p * mask))
        far = distances(_unit(a * mask)[:, None], _unit(n * mask[:, None]))
        loss = triplet_loss(-near, -far, self.margin)[0] + MASK_L1 * mask.sum(-1).mean()
        # Two items of a type lie nearer to each other than to the anchor, in the general embedding.
        return loss + SIMILARITY * self._similar(p[:, None], n, a[:, None])

    def _similar(self, one: torch.Tensor, other: torch.Tensor, apart: torch.Tensor) -> torch.Tensor:
        together = distances(one, other)
        terms = (F.relu(together - distances(x, apart) + self.margin) for x in (one, other))
        return torch.stack([t.expand_as(together) for t in terms]).mean()

    def scorer(self, z: torch.Tensor, kinds: Ints, pairs: tuple[Ints, Ints]) -> PoolScorer:
        return DistanceScorer(to_numpy(z), kinds, to_numpy(F.relu(self.masks)[self.pairs]), unit=True)


def _unit(x: torch.Tensor) -> torch.Tensor:
    return F.normalize(x, dim=-1, eps=1e-8)
