"""Losses. One function a loss; scores are larger for what is more compatible.

Triplet:    mean over active triplets of  margin - s(a, p) + s(a, n)
Across:     the same with the negative score s(b, m) of another anchor b
DINO:       mean over pairs of views (u of the teacher, v of the student, v is not u) of
            - sum_k  P_u[k] log softmax(logits_v / t_s)[k],   P_u = softmax((logits_u - centre) / t_t)
Text:       hinge of an image's visual part against its own and other items' text vectors
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from medal_model import distributed


def triplet_loss(positive: torch.Tensor, negative: torch.Tensor, margin: float) -> tuple[torch.Tensor, int]:
    """Hinge max(0, margin - s(a, p) + s(a, n)), averaged over the triplets where it is above zero; and their number.

    `positive` [B] are the scores of anchor and positive, `negative` [B] or [B, K] those of anchor and negatives.
    Where no triplet is active the loss is a zero that still has a graph. The mean over active triplets keeps the
    gradient's size when few are left (Hermans et al. 2017, section 3.1). In a distributed run the mean is over
    the active triplets of all processes. Raises ValueError for zero triplets.
    """
    if negative.ndim == positive.ndim + 1:
        positive = positive.unsqueeze(-1)
    if negative.numel() == 0 or positive.numel() == 0:
        raise ValueError("zero triplets: the mean of nothing is not a loss")
    return _active_mean(F.relu(margin - positive + negative))


def across_loss(positive: torch.Tensor, negative: torch.Tensor, margin: float, rng: torch.Generator) -> torch.Tensor:
    """The triplet hinge of each pair's score [B] against the negatives' scores [B, K] of another pair, by chance.

    A triplet orders what completes one anchor and leaves free how high that anchor scores with anything at all; an
    outfit is judged by the mean of its pairs' scores, held against those of other outfits. This makes scores of
    different anchors comparable, by pairs alone: the quadruplet term of Chen et al., CVPR 2017. Raises ValueError for
    zero triplets.
    """
    other = torch.randperm(len(positive), generator=rng).to(negative.device)
    return triplet_loss(positive, negative[other], margin)[0]


def text_loss(visual: torch.Tensor, text: torch.Tensor, margin: float) -> tuple[torch.Tensor, int]:
    """Hinge of visual parts [B, V] against projected text vectors [B, V], all unit, both ways; and its active terms.

    Row i of `text` describes row i of `visual`; all other rows are its negatives.
    Source: the visual-semantic term of Vasileva et al., ECCV 2018, eq. 4. Raises ValueError for fewer than two rows.
    """
    if len(visual) < 2:
        raise ValueError(f"{len(visual)} rows have no negative text")
    scores = visual @ text.T
    own = scores.diagonal()
    other = ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    by_image = F.relu(margin - own[:, None] + scores)[other]
    by_text = F.relu(margin - own[None, :] + scores)[other]
    return _active_mean(torch.cat((by_image, by_text)))


def _active_mean(hinge: torch.Tensor) -> tuple[torch.Tensor, int]:
    active = int((hinge > 0).sum())
    everywhere = distributed.total(active)
    # Gradients are averaged over processes later, so each carries its part of the mean over all, times their number.
    return hinge.sum() * (distributed.world_size() / max(1, everywhere)), active


def dino_targets(logits: torch.Tensor, centre: torch.Tensor, temperature: float) -> torch.Tensor:
    """Teacher's probabilities [B, K], float32, by centring: softmax((logits - centre) / temperature). No gradient."""
    return F.softmax((logits.detach().float() - centre) / temperature, dim=-1)


@torch.no_grad()
def sinkhorn_targets(logits: torch.Tensor, temperature: float, rounds: int = 3) -> torch.Tensor:
    """Teacher's probabilities [B, K], float32, each row sums to 1, prototypes used evenly over the batch.

    Source: Caron et al., SwAV (2020), section 3.1; over all processes of a distributed run.
    """
    scaled = logits.float() / temperature
    q = torch.exp(scaled - distributed.maximum(float(scaled.max())))
    rows = distributed.total(len(q))
    q = q / distributed.summed(q.sum()).clamp_min(1e-30)
    for _ in range(rounds):
        q = q / (distributed.summed(q.sum(0)).clamp_min(1e-30) * q.shape[1])
        q = q / (q.sum(1, keepdim=True).clamp_min(1e-30) * rows)
    return q * rows


def dino_cross_entropy(logits: torch.Tensor, targets: Sequence[torch.Tensor], temperature: float) -> torch.Tensor:
    """Sum over `targets` of the mean cross-entropy of one student view's logits [B, K]; float32 scalar.

    Call it view by view: a view's K log-probabilities are then freed before the next view's are made.
    Source: Caron et al., DINO (2021), eq. 3. Raises ValueError for zero targets.
    """
    if not targets:
        raise ValueError("zero targets: a view needs another view of the teacher")
    log_probabilities = F.log_softmax(logits.float() / temperature, dim=-1)
    total = log_probabilities.new_zeros(())
    for target in targets:
        total = total - (target * log_probabilities).sum(-1).mean()
    return total


class Centre:
    """Running mean of the teacher's logits, subtracted from them against collapse: float32 [K]."""

    def __init__(self, outputs: int, momentum: float = 0.9, device: str | torch.device = "cpu") -> None:
        self.value = torch.zeros(outputs, device=device)
        self.momentum = momentum

    @torch.no_grad()
    def update(self, logits: Sequence[torch.Tensor]) -> None:
        """Move towards the mean of all views' logits, over all processes."""
        total = torch.stack([x.float().sum(0) for x in logits]).sum(0)
        count = distributed.total(sum(len(x) for x in logits))
        self.value.lerp_(distributed.summed(total) / count, 1.0 - self.momentum)
