"""Losses on scores. One function a loss; larger scores mean more compatible."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def triplet_loss(positive: torch.Tensor, negative: torch.Tensor, margin: float) -> torch.Tensor:
    """Mean hinge: mean over all triplets of max(0, margin - s(a, p) + s(a, n)); scalar.

    `positive` [B] are the scores of anchor and positive, `negative` [B] or [B, K] those of anchor and
    negatives. Scores of unit vectors under a mask are in about [-1, 1], as is the margin.
    Source: Vasileva et al., ECCV 2018, eq. 2 (there on distances). Raises ValueError for zero triplets.
    """
    if negative.ndim == positive.ndim + 1:
        positive = positive.unsqueeze(-1)
    if negative.numel() == 0 or positive.numel() == 0:
        raise ValueError("zero triplets: the mean of nothing is not a loss")
    return F.relu(margin - positive + negative).mean()
