"""The heads that make MEDAL's latent: visual and colour parts from backbone features and histograms.

z = [sqrt(rho) * v ; sqrt(1 - rho) * c], v and c unit vectors, so |z| = 1 (design section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

VISUAL_DIM = 96
COLOUR_DIM = 32
RHO = 0.75


@dataclass(frozen=True)
class HeadShape:
    """Sizes of the heads. `rho` is the visual share of the latent's squared norm; `hidden` the width of the hidden
    layer beside the linear visual head (0: none)."""

    feature_dim: int
    histogram_dim: int = 512
    visual_dim: int = VISUAL_DIM
    colour_dim: int = COLOUR_DIM
    rho: float = RHO
    hidden: int = 0

    @property
    def dim(self) -> int:
        return self.visual_dim + self.colour_dim


class Heads(nn.Module):
    """Backbone features [B, F] and LUV histograms [B, 512] to latents [B, 128], unit norm: a linear map for
    each part, and where asked a hidden layer beside the visual one.

    Features are standardised by statistics of the training items (buffers, exported with the weights);
    histograms enter as square roots, whose inner product is the Bhattacharyya coefficient.
    """

    feature_mean: torch.Tensor
    feature_scale: torch.Tensor

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.shape = shape
        self.visual = nn.Linear(shape.feature_dim, shape.visual_dim)
        self.colour = nn.Linear(shape.histogram_dim, shape.colour_dim)
        self.deep = _beside(shape) if shape.hidden else None
        self.register_buffer("feature_mean", torch.zeros(shape.feature_dim))
        self.register_buffer("feature_scale", torch.ones(shape.feature_dim))

    def fit_statistics(self, features: torch.Tensor) -> None:
        """Take mean and standard deviation of training features [N, F], N >= 2."""
        if len(features) < 2:
            raise ValueError(f"{len(features)} items are too few to standardise features")
        self.feature_mean.copy_(features.mean(0))
        self.feature_scale.copy_(1.0 / features.std(0).clamp_min(1e-3))

    def inputs(self, features: torch.Tensor, histograms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Standardised features [B, F] and root histograms [B, 512]: fixed while training."""
        return (features - self.feature_mean) * self.feature_scale, histograms.clamp_min(0).sqrt()

    def project(self, x: torch.Tensor, h: torch.Tensor, drop: float = 0.0) -> torch.Tensor:
        """Latents [B, 128] of `inputs`. While training, `drop` is the dropout rate on them."""
        if self.training and drop > 0:
            x, h = F.dropout(x, drop), F.dropout(h, drop)
        rho = self.shape.rho
        v = self.visual(x) if self.deep is None else self.visual(x) + self.deep(x)
        v = F.normalize(v, dim=-1, eps=1e-8)
        c = F.normalize(self.colour(h), dim=-1, eps=1e-8)
        return torch.cat((rho**0.5 * v, (1 - rho) ** 0.5 * c), -1)

    def forward(self, features: torch.Tensor, histograms: torch.Tensor) -> torch.Tensor:
        """Latents [B, 128], unit norm."""
        return self.project(*self.inputs(features, histograms))


def _beside(shape: HeadShape) -> nn.Sequential:
    """A hidden layer that starts by adding nothing: the linear head learns first."""
    last = nn.Linear(shape.hidden, shape.visual_dim)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(shape.feature_dim, shape.hidden), nn.GELU(), last)
