"""The teacher's card and its metrics: what people, and programs, read beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from medal_model.backbones import BackboneSpec
from medal_model.config import TrainConfig
from medal_model.outfits import Outfits
from medal_model.report_table import Evaluation
from medal_model.training import Trained

FAILURES = "failures.jpg"  # beside the card


def metrics_of(
    outfits: Outfits, trained: Trained, evaluations: Mapping[str, Evaluation], config: TrainConfig
) -> dict[str, Any]:
    """The content of metrics.json."""
    return {
        "outfits": {"variant": outfits.variant, **{s: len(own) for s, own in outfits.sets.items()}},
        "items": len(outfits.items),
        "dropped_items": dict(outfits.dropped),
        "left_out": dict(outfits.left_out),
        "triplets": trained.triplets,
        "pairs_without_negative": trained.without_negative,
        "seed": config.seed,
        "best_epoch": trained.best.number,
        "scores": {
            part: {x.name: {k: asdict(i) for k, i in x.figures.items()} for x in own.lines}
            for part, own in evaluations.items()
        },
        "history": [
            {"epoch": e.number, "loss": round(e.loss, 6), "fitb": round(e.fitb, 6), "auc": round(e.auc, 6)}
            for e in trained.history
        ],
    }


def write_card(
    name: str,
    outfits: Outfits,
    spec: BackboneSpec,
    config: TrainConfig,
    trained: Trained,
    evaluations: Mapping[str, Evaluation],
    with_text: bool,
) -> str:
    """The content of model_card.md; `{model_version}` is left to the exporter; it shows the picture `FAILURES`."""
    shape = trained.model.heads.shape
    rows = "\n".join(
        f"| {part} | {x.name} | {x.figures[f'{outfits.variant}_fitb']} | {x.figures[f'{outfits.variant}_auc']} |"
        for part, own in evaluations.items()
        for x in own.lines
    )
    asked = " ".join(
        f"{part.capitalize()}: {own.lines[0].figures[f'{outfits.variant}_fitb'].units:,} questions, "
        f"{own.lines[0].figures[f'{outfits.variant}_auc'].units:,} judged outfits."
        for part, own in evaluations.items()
    )
    source = f"{spec.weights} weights, package `{spec.package}`" if spec.package else f"{spec.weights} weights"
    masks = len(trained.model.masks.logits)
    made = (
        f"`{spec.name}` trained along, its weights in this folder"
        if spec.weights == "trained"
        else f"Frozen `{spec.name}` ({source}, kept by reference)"
    )
    terms = ["the triplet loss"]
    if with_text:
        terms.append("a term towards frozen text vectors of the titles (training only)")
    if not config.frozen and config.ssl_weight > 0:
        terms.append("self-distillation on crops without colour (training only)")
    return f"""# Teacher `{name}`

Version `{{model_version}}`. Product photo in, unit vector of {shape.dim} dimensions out
({shape.visual_dim} visual, {shape.colour_dim} colour); two products are compared under their categories' mask.

**Use.** Finding products that look right beside another. Not for recognising people, nor for similarity search.

**Made of.** {made}, an LUV histogram of the product without its background, heads and {masks} masks, one for each
pair of categories. Exponential moving average of the trained student, epoch {trained.best.number}.

**Photo in.** Decoded upright on white, {"its empty border cut off, " if config.trim else ""}letterboxed to
{config.input_size} pixels; mean {spec.mean}, standard deviation {spec.std}.

**Trained on.** {len(outfits.sets["train"]):,} outfits (`{outfits.variant}`), {trained.triplets:,} pairs worn together,
negatives of the positive's product type drawn by use. By {" and ".join(terms)}. Seed {config.seed}. Epoch and
settings chosen on valid. **Licence.** That of the outfits and photos trained on, and of the backbone's weights: check
both before use. This folder holds numbers of either, and photos in `{FAILURES}` alone: leave that out where they may
not be passed on.

| part | scorer | FITB (95 % interval) | AUC (95 % interval) |
| --- | --- | --- | --- |
{rows}

{asked} Intervals are over questions: one training run. Chance is 1 in the number of answers for FITB and 0.5 for AUC.
`medal evaluate` measures the same, retrieval and learnt baselines besides.

**Known failures.** The questions of valid whose true item stood lowest in its category, one of each category first:

![Outfits, the true item, and what stood above it]({FAILURES})

**Limits.** Taste is that of the outfits it saw; pairs of categories that never met in an outfit have the plain inner
product (w = 1). Photos unlike pack shots, such as worn garments, were not measured.
"""
