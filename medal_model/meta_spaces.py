"""Meta-spaces: one projection mask per unordered pair of categories, the same category included.

`w_p = softplus(a_p) / mean(softplus(a_p))`, so every mask is positive and averages 1;
score `s_p(x, y) = sum_d w_pd x_d y_d` (design section 3). Weights are learnt: pairs seen in no outfit keep
the plain inner product, w = 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from medal_model.pairs import all_pairs, pair_index

__all__ = ["MetaSpaces", "all_pairs", "masked_score", "pair_index", "pair_matrix"]


def pair_matrix(categories: Sequence[str]) -> torch.Tensor:
    """int64 [C, C], symmetric: the mask's row for two category numbers."""
    index = pair_index(categories)
    return torch.tensor([[index[a, b] for b in categories] for a in categories], dtype=torch.int64)


class MetaSpaces(nn.Module):
    """The masks' logits `a`, float32 [P, D]. Starts at w = 1 everywhere."""

    def __init__(self, pairs: int, dim: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(pairs, dim))

    def weights(self) -> torch.Tensor:
        """w, float [P, D], each row averages 1."""
        positive = F.softplus(self.logits)
        return positive / positive.mean(-1, keepdim=True)

    def forward(self, x: torch.Tensor, y: torch.Tensor, pair: torch.Tensor) -> torch.Tensor:
        """Scores [...] of x, y [..., D] under the masks of rows `pair` [...] (broadcast together)."""
        return masked_score(x, y, self.weights()[pair])


def masked_score(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """sum_d w_d x_d y_d over the last dimension: in [-max w, max w] for unit vectors."""
    return (w * x * y).sum(-1)
