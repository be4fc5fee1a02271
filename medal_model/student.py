"""Student and teacher: the modules on the triplet's path, the self-supervised head, and the moving average.

The student is trained. The teacher is a deep copy that gets no gradient, is always in eval mode and follows the
student as its exponential moving average; it is what validation measures and what is exported.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from medal_model.heads import DinoHead
from medal_model.meta_spaces import MetaSpaces, all_pairs
from medal_model.network import Heads, HeadShape


class MedalModel(nn.Module):
    """Backbone (None: its features are given), heads, masks, and the self-supervised head (None: not trained so).

    `keep_norm`: batch norms keep their statistics while training, as a pretrained backbone's should.
    """

    def __init__(
        self,
        shape: HeadShape,
        categories: Sequence[str],
        backbone: nn.Module | None = None,
        dino: DinoHead | None = None,
        *,
        keep_norm: bool = True,
    ) -> None:
        super().__init__()
        self.categories = tuple(categories)
        self.heads = Heads(shape)
        self.masks = MetaSpaces(len(all_pairs(categories)), shape.dim)
        self.backbone = backbone
        self.dino = dino
        self._keep_norm = keep_norm

    def train(self, mode: bool = True) -> MedalModel:
        """As nn.Module.train, with the batch norms' statistics kept where asked for."""
        super().train(mode)
        if mode and self._keep_norm and self.backbone is not None:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def see(self, images: torch.Tensor) -> torch.Tensor:
        """Features [B, F] of normalised images [B, 3, S, S]. Raises ValueError for a model without a backbone."""
        if self.backbone is None:
            raise ValueError("this model has no backbone: its features are given")
        features: torch.Tensor = self.backbone(images)
        return features

    def prototype_logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [B, K] of the self-supervised head for normalised images [B, 3, S, S].

        Features are standardised first: what all photos share is most of a pretrained network's feature, and a head
        that sees it gives all of them one target. Raises ValueError for a model without backbone or head.
        """
        if self.dino is None:
            raise ValueError("this model has no self-supervised head")
        features = self.see(images)
        logits: torch.Tensor = self.dino((features - self.heads.feature_mean) * self.heads.feature_scale)
        return logits


def make_teacher(student: MedalModel) -> MedalModel:
    """A deep copy that shares no storage, wants no gradient and stays in eval mode."""
    teacher = copy.deepcopy(student)
    teacher.requires_grad_(False)
    return teacher.eval()


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """teacher = momentum * teacher + (1 - momentum) * student for every parameter; buffers are copied. In place.

    Source: Caron et al., DINO (2021), section 3.1.
    """
    for t, s in zip(teacher.parameters(), student.parameters(), strict=True):
        t.mul_(momentum).add_(s, alpha=1.0 - momentum)
    for held, now in zip(teacher.buffers(), student.buffers(), strict=True):
        held.copy_(now)
