"""The whole way from an outfits folder to an exported, measured teacher, and its comparison with baselines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medal_model.backbones import BackboneSpec, default_spec
from medal_model.config import TrainConfig
from medal_model.evaluation import (
    Score,
    cosine_scorer,
    evaluate,
    histogram_scorer,
    masked_scorer,
    random_scorer,
)
from medal_model.export import Architecture, TeacherHeader, export_teacher, read_teacher
from medal_model.features import Extractor, cached_features
from medal_model.gallery import Gallery
from medal_model.network import Heads, HeadShape
from medal_model.outfits import Item, Judged, Outfits, OutfitsError, Question
from medal_model.teacher import HISTOGRAM, Teacher, load_teacher, preprocessing
from medal_model.training import Epoch, Trained, train

TEACHER, FROZEN, COLOUR, CHANCE = "teacher", "frozen backbone, cosine", "LUV histogram, Bhattacharyya", "random"


@dataclass(frozen=True)
class Fitted:
    """What training gave: the exported header, scores by split and scorer, seconds spent."""

    header: TeacherHeader
    scores: Mapping[str, Mapping[str, Score]]
    trained: Trained
    feature_seconds: float
    train_seconds: float
    images_computed: int


def fit_teacher(
    outfits: Outfits,
    images: Path,
    out: Path,
    *,
    name: str,
    categories: Sequence[str],
    config: TrainConfig,
    cache: Path,
    backbone: BackboneSpec | None = None,
    quiet: bool = False,
) -> Fitted:
    """Features (cached), training, measuring on valid and test, export to `out`.

    Images are `<images>/<item_id>.jpg`; items whose image cannot be read are left out with one line on stderr.
    `categories` get a mask for every pair; pairs in no outfit keep w = 1. Raises OutfitsError where nothing is
    left to train on or outfits hold another category, BackboneError, TeacherError.
    """
    if odd := set(outfits.categories) - set(categories):
        raise OutfitsError(f"{outfits.root}: categories {sorted(odd)} are not among those to train")
    say = _sayer(quiet)
    spec = backbone or default_spec(config.backbone)
    extractor = Extractor(spec, config.input_size, config.trim)
    outfits, gallery, seconds, computed = read_gallery(outfits, images, extractor, cache, say, quiet)
    begun = time.monotonic()
    try:
        trained = train(outfits, gallery, categories, config, lambda e: say(_epoch_line(e)))
    except ValueError as e:
        raise OutfitsError(f"{outfits.root / outfits.variant}: {e}") from e
    train_seconds = time.monotonic() - begun
    weights = np.asarray(trained.model.masks.weights().detach().numpy(), dtype=np.float32)
    scores = {
        split: scores_of(outfits, split, gallery, trained.model.heads, categories, weights)
        for split in ("valid", "test")
    }
    shape = trained.model.heads.shape
    tensors = {k: v.detach().cpu().numpy() for k, v in trained.model.state_dict().items()}
    metrics = _metrics(outfits, trained, scores, config)
    header = export_teacher(
        out,
        name=name,
        tensors=tensors,
        masks=weights,
        categories=categories,
        architecture=Architecture(
            shape.feature_dim, shape.histogram_dim, shape.visual_dim, shape.colour_dim, shape.rho
        ),
        backbone=spec.to_dict(),
        preprocessing=preprocessing(config.input_size, config.trim),
        histogram=HISTOGRAM,
        training=config.to_dict(),
        metrics=metrics,
        card=_card(name, outfits, spec, config, trained, scores, shape),
    )
    return Fitted(header, scores, trained, seconds, train_seconds, computed)


def compare(
    folder: Path, outfits: Outfits, images: Path, split: str, cache: Path, quiet: bool = False
) -> tuple[TeacherHeader, dict[str, Score]]:
    """An exported teacher and the baselines on one split. Raises TeacherError, OutfitsError."""
    teacher = load_teacher(folder)
    return teacher.header, _compare(teacher, outfits, images, split, cache, quiet)


def _compare(
    teacher: Teacher, outfits: Outfits, images: Path, split: str, cache: Path, quiet: bool
) -> dict[str, Score]:
    header = teacher.header
    if odd := set(outfits.categories) - set(header.categories):
        raise OutfitsError(f"{outfits.root}: teacher {header.model_version} does not know categories {sorted(odd)}")
    outfits, gallery, _, _ = read_gallery(outfits, images, teacher.extractor, cache, _sayer(quiet), quiet)
    return scores_of(outfits, split, gallery, teacher.heads, header.categories, header.masks)


def scores_of(
    outfits: Outfits, split: str, gallery: Gallery, heads: Heads, categories: Sequence[str], weights: Any
) -> dict[str, Score]:
    """FITB and AUC of the teacher, the frozen backbone, the histogram and chance, on the same questions."""
    with torch.inference_mode():
        heads.eval()
        vectors = heads(torch.from_numpy(gallery.features), torch.from_numpy(gallery.histograms)).cpu().numpy()
    scorers = {
        TEACHER: masked_scorer(vectors, gallery.categories, categories, weights),
        FROZEN: cosine_scorer(gallery.features),
        COLOUR: histogram_scorer(gallery.histograms),
        CHANCE: random_scorer(),
    }
    try:
        return {name: evaluate(outfits, split, gallery.rows, scorer) for name, scorer in scorers.items()}
    except ValueError as e:
        raise OutfitsError(f"{outfits.root / outfits.variant}: {split}: {e}") from e


def read_gallery(
    outfits: Outfits, images: Path, extractor: Extractor, cache: Path, say: Callable[[str], None], quiet: bool
) -> tuple[Outfits, Gallery, float, int]:
    """Features of all items; items without a readable image are taken out of the outfits.

    Raises OutfitsError where no image at all can be read.
    """
    found = cached_features({i: images / f"{i}.jpg" for i in sorted(outfits.items)}, extractor, cache, quiet=quiet)
    if not found.ids:
        raise OutfitsError(f"{images}: none of {len(outfits.items):,} images can be read; expected <item_id>.jpg there")
    if found.failed:
        first = next(iter(found.failed.items()))
        say(f"{len(found.failed)} images left out, the first: {images / (first[0] + '.jpg')}: {first[1]}")
        outfits = without(outfits, set(found.failed))
    kinds = tuple(outfits.items[i].category for i in found.ids)
    return outfits, Gallery(found.ids, kinds, found.features, found.histograms), found.seconds, found.computed


def without(outfits: Outfits, gone: set[str]) -> Outfits:
    """The same outfits and questions without some items, by the reader's rules for dropped ones."""

    def keep(ids: Sequence[str]) -> tuple[str, ...]:
        return tuple(i for i in ids if i not in gone)

    items: dict[str, Item] = {k: v for k, v in outfits.items.items() if k not in gone}
    sets = {s: tuple(k for o in own if len(k := keep(o)) >= 2) for s, own in outfits.sets.items()}
    questions: dict[str, tuple[Question, ...]] = {
        s: tuple(replace(q, outfit=k) for q in own if (k := keep(q.outfit)) and not gone & set(q.answers))
        for s, own in outfits.questions.items()
    }
    judged: dict[str, tuple[Judged, ...]] = {
        s: tuple(replace(j, outfit=k) for j in own if len(k := keep(j.outfit)) >= 2)
        for s, own in outfits.judged.items()
    }
    dropped = {**outfits.dropped, "image cannot be read": len(gone)}
    return replace(outfits, items=items, sets=sets, questions=questions, judged=judged, dropped=dropped)


def teacher_size(folder: Path) -> int:
    """Bytes of the tensors in an exported teacher."""
    return sum(t.nbytes for t in read_teacher(folder)[2].values())


def _sayer(quiet: bool) -> Callable[[str], None]:
    return (lambda line: None) if quiet else (lambda line: print(line, file=sys.stderr, flush=True))


def _epoch_line(e: Epoch) -> str:
    return f"epoch {e.number:3d}  loss {e.loss:.4f}  valid FITB {e.fitb:.3f}  AUC {e.auc:.3f}  {e.seconds:.1f} s"


def _metrics(
    outfits: Outfits, trained: Trained, scores: Mapping[str, Mapping[str, Score]], config: TrainConfig
) -> dict[str, Any]:
    return {
        "outfits": {"variant": outfits.variant, **{s: len(own) for s, own in outfits.sets.items()}},
        "items": len(outfits.items),
        "dropped_items": dict(outfits.dropped),
        "left_out": dict(outfits.left_out),
        "triplets": trained.triplets,
        "pairs_without_negative": trained.without_negative,
        "seed": config.seed,
        "best_epoch": trained.best.number,
        "scores": {split: {name: asdict(s) for name, s in own.items()} for split, own in scores.items()},
        "history": [
            {"epoch": e.number, "loss": round(e.loss, 6), "fitb": round(e.fitb, 6), "auc": round(e.auc, 6)}
            for e in trained.history
        ],
    }


def _card(
    name: str,
    outfits: Outfits,
    spec: BackboneSpec,
    config: TrainConfig,
    trained: Trained,
    scores: Mapping[str, Mapping[str, Score]],
    shape: HeadShape,
) -> str:
    rows = "\n".join(
        f"| {split} | {who} | {s.fitb:.3f} | {s.auc:.3f} |" for split, own in scores.items() for who, s in own.items()
    )
    test = scores["test"][TEACHER]
    source = f"{spec.weights} weights, package `{spec.package}`" if spec.package else f"{spec.weights} weights"
    masks = len(trained.model.masks.logits)
    return f"""# Teacher `{name}`

Version `{{model_version}}`. Product photo in, unit vector of {shape.dim} dimensions out
({shape.visual_dim} visual, {shape.colour_dim} colour); two products are compared under their categories' mask.

**Use.** Finding products that look right beside another. Not for recognising people, nor for similarity search.

**Made of.** Frozen `{spec.name}` ({source}, kept by reference), an LUV histogram of the product without its
background, linear heads and {masks} masks, one for each pair of categories. Exponential moving average of the
trained student, epoch {trained.best.number}.

**Trained on.** {len(outfits.sets["train"]):,} outfits (`{outfits.variant}`), {trained.triplets:,} pairs worn together,
negatives of the positive's product type drawn by use. Seed {config.seed}. Epoch and settings chosen on valid.

| split | scorer | FITB | AUC |
| --- | --- | --- | --- |
{rows}

Test: {test.questions:,} questions, {test.judged:,} judged outfits. Chance is 1 in the number of answers for FITB and
0.5 for AUC.

**Limits.** Taste is that of the outfits it saw; pairs of categories that never met in an outfit have the plain inner
product (w = 1). Photos unlike pack shots, such as worn garments, were not measured.
"""
