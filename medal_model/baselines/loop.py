"""The training loop that the learnt baselines share: MEDAL's inputs, sampler, optimiser and way to choose the epoch.

Inputs are the standardised backbone features beside the root histograms, the latter scaled by sqrt(512) so that both
blocks have about unit mean square a dimension; MEDAL keeps the two in heads of their own. One general embedding of
128 dimensions, as many as MEDAL stores. What is chosen and exported is the moving average of the weights, as for
MEDAL: without it the baselines would be handicapped by something that is not theirs.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medal_model.curriculum import warmed_cosine
from medal_model.evaluation import evaluate
from medal_model.gallery import Gallery
from medal_model.outfits import Outfits
from medal_model.sampling import Triplets, TripletSampler
from medal_model.scorers import Floats, Ints, PoolScorer, category_numbers
from medal_model.workers import on_threads


@dataclass(frozen=True)
class LoopConfig:
    """Settings of every learnt baseline, named as in `TrainConfig`; `Plan.like` makes sizes and length those of a
    configuration."""

    dim: int = 128
    hidden: int = 0  # width of a hidden layer beside the linear projection; 0: none
    epochs: int = 60
    patience: int = 12
    batch_size: int = 2048
    negatives: int = 4
    margin: float = 0.3
    drop: float = 0.3
    learning_rate: float = 1e-3
    mask_learning_rate: float = 1e-2
    warmup: int = 20
    weight_decay: float = 0.05
    ema: float = 0.98


class Baseline(ABC):
    """A way to score pairs, from the same inputs as MEDAL's. Made with a `LoopConfig`, which those that learn nothing
    ignore."""

    def __init__(self, config: LoopConfig | None = None) -> None:
        self.config = config or LoopConfig()

    @abstractmethod
    def fit(self, outfits: Outfits, gallery: Gallery, categories: Sequence[str], seed: int) -> PoolScorer:
        """A scorer over the gallery's rows, learnt on train and, for the epoch, valid; never on test.

        Same inputs and seed: same scorer. Raises ValueError where no triplet can be made.
        """


@dataclass(frozen=True)
class Batch:
    """Triplets by position in the batch's U items, and what is known of those.

    `anchor`, `positive` [B], `negative` [B, K]; `rest` [B, L] are the items of one outfit of the pair without the
    positive, -1 where it is shorter; `kinds` [U].
    """

    anchor: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor
    rest: torch.Tensor
    kinds: torch.Tensor


class BaselineNetwork(nn.Module, ABC):
    """A general embedding [*, D] and what a method makes of it."""

    whole_outfits = False  # does the loss look at `Batch.rest`?

    def __init__(self, inputs: int, config: LoopConfig) -> None:
        super().__init__()
        self.margin = config.margin
        self.general = nn.Linear(inputs, config.dim)
        self.deep: nn.Sequential | None = None
        if config.hidden:  # starts by adding nothing, as MEDAL's
            last = nn.Linear(config.hidden, config.dim)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.deep = nn.Sequential(nn.Linear(inputs, config.hidden), nn.GELU(), last)

    def embed(self, x: torch.Tensor, drop: float = 0.0) -> torch.Tensor:
        """General embeddings [U, D], unit norm, of inputs [U, I]."""
        x = F.dropout(x, drop) if self.training and drop > 0 else x
        z = self.general(x) if self.deep is None else self.general(x) + self.deep(x)
        return F.normalize(z, dim=-1, eps=1e-8)

    @abstractmethod
    def loss(self, z: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Scalar loss of a batch with general embeddings z [U, D]."""

    @abstractmethod
    def scorer(self, z: torch.Tensor, kinds: Ints, pairs: tuple[Ints, Ints]) -> PoolScorer:
        """The method's score over all rows: z [N, D], category numbers [N], the pairs worn together in train."""


@on_threads(1)
def fit_network(
    make: Callable[[int], BaselineNetwork],
    outfits: Outfits,
    gallery: Gallery,
    categories: Sequence[str],
    seed: int,
    config: LoopConfig,
) -> PoolScorer:
    """Train the network that `make` gives for a number of inputs; its scorer at the best epoch by FITB + AUC on
    valid, MEDAL's rule. One thread.

    Raises ValueError where no triplet can be made or no validation question is, FloatingPointError where the loss
    stops being finite.
    """
    rows = gallery.rows
    sets = [np.array([rows[i] for i in outfit], np.int64) for outfit in outfits.sets["train"]]
    sampler = TripletSampler(outfits.sets["train"], outfits.items, rows)
    torch.manual_seed(seed)
    x = _inputs(gallery, np.unique(np.concatenate(sets)))
    kinds = category_numbers(gallery.categories, categories)
    student = make(x.shape[1])
    teacher = copy.deepcopy(student).requires_grad_(False).eval()
    worn = _pairs(sets)
    outfit_of = _outfits_by_pair(sets) if student.whole_outfits else None
    optimiser = _optimiser(student, config)
    steps, step = math.ceil(len(sampler) / config.batch_size), 0
    best, found, since = -math.inf, None, 0
    for epoch in range(1, config.epochs + 1):
        rng = np.random.default_rng([seed, epoch])
        drawn = sampler.draw(config.negatives, rng)
        student.train()
        for begin in range(0, len(sampler), config.batch_size):
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * warmed_cosine(step, config.warmup, steps * config.epochs, 0.1)
            at = slice(begin, begin + config.batch_size)
            triplets = Triplets(drawn.anchor[at], drawn.positive[at], drawn.negative[at])
            unique, batch = _batch(triplets, outfit_of, sets, kinds, rng)
            loss = student.loss(student.embed(x[torch.from_numpy(unique)], config.drop), batch)
            if not torch.isfinite(loss):
                raise FloatingPointError(f"epoch {epoch}: a baseline's loss is not finite; lower its learning_rate")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step += 1
            _follow(teacher, student, min(config.ema, (1 + step) / (10 + step)))
        with torch.inference_mode():
            scorer = teacher.scorer(teacher.embed(x), kinds, worn)
        score = evaluate(outfits, "valid", rows, scorer)
        since += 1
        if score.fitb + score.auc > best:
            best, found, since = score.fitb + score.auc, scorer, 0
        elif since >= config.patience:
            break
    assert found is not None  # epochs >= 1
    return found


def distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Euclidean distance over the last dimension, with a finite gradient at 0."""
    return ((a - b).square().sum(-1) + 1e-12).sqrt()


def to_numpy(x: torch.Tensor) -> Floats:
    return np.asarray(x.detach().double().numpy())


def _inputs(gallery: Gallery, used: Ints) -> torch.Tensor:
    """float32 [N, F + 512]; statistics of the train items alone."""
    features, root = torch.from_numpy(gallery.features), torch.from_numpy(gallery.histograms).clamp_min(0).sqrt()
    own = features[torch.from_numpy(used)]
    return torch.cat(((features - own.mean(0)) / own.std(0).clamp_min(1e-3), root * root.shape[1] ** 0.5), 1)


def _batch(
    t: Triplets,
    outfit_of: dict[tuple[int, int], list[int]] | None,
    sets: Sequence[Ints],
    kinds: Ints,
    rng: np.random.Generator,
) -> tuple[Ints, Batch]:
    """The batch's items by row [U], and the triplets by position among them."""
    rest = t.anchor[:, None]
    if outfit_of is not None:
        rest = _rest(t, outfit_of, sets, rng)
    parts = (t.anchor, t.positive, t.negative, rest)
    unique, flat = np.unique(np.concatenate([p.ravel() for p in parts]), return_inverse=True)
    pieces = np.split(flat, np.cumsum([p.size for p in parts])[:-1])
    a, p, n, r = (torch.from_numpy(i.reshape(q.shape)) for i, q in zip(pieces, parts, strict=True))
    if unique[0] < 0:  # the padding is no item
        unique, a, p, n, r = unique[1:], a - 1, p - 1, n - 1, r - 1
    return unique, Batch(a, p, n, r, torch.from_numpy(kinds[unique]))


def _rest(
    t: Triplets, outfit_of: dict[tuple[int, int], list[int]], sets: Sequence[Ints], rng: np.random.Generator
) -> Ints:
    """Of each pair, one outfit that holds both, by chance, without the positive: [B, L], padded by -1."""
    chosen = []
    for a, p, dice in zip(t.anchor.tolist(), t.positive.tolist(), rng.random(len(t.anchor)), strict=True):
        options = outfit_of[a, p]
        own = sets[options[int(dice * len(options))]]
        chosen.append(own[own != p])
    out = np.full((len(chosen), max(map(len, chosen))), -1, dtype=np.int64)
    for n, own in enumerate(chosen):
        out[n, : len(own)] = own
    return out


def _pairs(sets: Sequence[Ints]) -> tuple[Ints, Ints]:
    """All ordered pairs worn together."""
    pairs = np.array([(a, b) for own in sets for a in own for b in own if a != b], dtype=np.int64)
    return pairs[:, 0], pairs[:, 1]


def _outfits_by_pair(sets: Sequence[Ints]) -> dict[tuple[int, int], list[int]]:
    found: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for n, own in enumerate(sets):
        for a in own.tolist():
            for b in own.tolist():
                found[a, b].append(n)
    return dict(found)


def _optimiser(network: BaselineNetwork, config: LoopConfig) -> torch.optim.AdamW:
    """Masks and other small parts take MEDAL's rate for masks, without decay."""
    large = [p for module in (network.general, network.deep) if module is not None for p in module.parameters()]
    known = {id(p) for p in large}
    small = [p for p in network.parameters() if id(p) not in known]
    groups = [{"params": large, "base": config.learning_rate, "weight_decay": config.weight_decay}]
    if small:
        groups.append({"params": small, "base": config.mask_learning_rate, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=config.learning_rate)


@torch.no_grad()
def _follow(teacher: nn.Module, student: nn.Module, ema: float) -> None:
    for t, s in zip(teacher.parameters(), student.parameters(), strict=True):
        t.lerp_(s, 1.0 - ema)
