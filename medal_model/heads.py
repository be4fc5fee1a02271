"""The self-supervised head: backbone feature to 65,536 prototype logits. Dropped at inference."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class DinoHead(nn.Module):
    """feature [B, F] -> 2048 -> 2048 -> 256, L2 -> cosine with K prototypes.

    Prototypes are kept unit by normalising at use, which is DINO's weight-normalised last layer with its gain
    fixed at 1. Source: Caron et al., DINO (2021), appendix C.
    """

    def __init__(self, feature_dim: int, outputs: int = 65_536, hidden: int = 2048, bottleneck: int = 256) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(feature_dim, hidden), nn.GELU(),
            nn.Linear(hidden, hidden), nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )  # fmt: skip
        self.prototypes = nn.Parameter(torch.empty(outputs, bottleneck))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.prototypes)

    def bottleneck(self, features: torch.Tensor) -> torch.Tensor:
        """Unit vectors [B, 256]."""
        return F.normalize(self.mlp(features), dim=-1, eps=1e-6)

    def logits(self, unit: torch.Tensor) -> torch.Tensor:
        """Cosines [B, K] with the prototypes, of unit vectors [B, 256]."""
        return unit @ F.normalize(self.prototypes, dim=-1, eps=1e-6).T

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits [B, K]."""
        return self.logits(self.bottleneck(features))
