"""An exported teacher measured on outfits: figures with intervals beside baselines, and the paper's figure."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from medal_model.evaluation import Score
from medal_model.export import TeacherHeader
from medal_model.figure import draw_figure, draw_rows
from medal_model.outfits import Outfits, OutfitsError
from medal_model.recipe import read_gallery
from medal_model.report_table import Evaluation
from medal_model.retrieval import retrieval_task
from medal_model.scorers import MaskedScorer, masked_scorer
from medal_model.study import Plan, Variant, compare_scorer
from medal_model.teacher import load_teacher

FIGURE_ROWS = 6


@dataclass(frozen=True)
class TeacherReport:
    """`scores` by scorer, the teacher's own first under its version; `figure` where asked for."""

    header: TeacherHeader
    evaluation: Evaluation
    scores: dict[str, Score]
    figure: Image.Image | None


def report_on(
    folder: Path, outfits: Outfits, images: Path, cache: Path, plan: Plan, *, figure: bool = False, quiet: bool = False
) -> TeacherReport:
    """Load a teacher, read features of the outfits' photos (`<images>/<item_id>.jpg`, cached), measure.

    Learnt baselines are trained on the teacher's own features and get a hidden layer as wide as the teacher's.
    Raises TeacherError, BackboneError; OutfitsError where the teacher does not know a category, no photo can be
    read or the part asks nothing.
    """
    teacher = load_teacher(folder)
    header = teacher.header
    if odd := set(outfits.categories) - set(header.categories):
        raise OutfitsError(f"{outfits.root}: teacher {header.model_version} does not know categories {sorted(odd)}")
    say = (lambda line: None) if quiet else (lambda line: print(line, file=sys.stderr, flush=True))
    outfits, gallery, _, _ = read_gallery(outfits, images, teacher.extractor, cache, say, quiet)
    with torch.inference_mode():
        z = teacher.heads(torch.from_numpy(gallery.features), torch.from_numpy(gallery.histograms)).cpu().numpy()
    scorer = masked_scorer(z, gallery.categories, header.categories, header.masks)
    plan = replace(plan, loop=replace(plan.loop, hidden=teacher.heads.shape.hidden))
    variant = Variant(outfits, gallery)
    try:
        evaluation = compare_scorer(header.model_version, outfits.variant, variant, header.categories, scorer, plan)
        drawn = _figure(variant, scorer, teacher.heads.shape.visual_dim, plan, images, header) if figure else None
    except ValueError as e:
        raise OutfitsError(f"{outfits.root / outfits.variant}: {plan.part}: {e}") from e
    v, many = outfits.variant, (len(outfits.questions[plan.part]), len(outfits.judged[plan.part]))
    scores = {x.name: Score(x.figures[f"{v}_fitb"].value, x.figures[f"{v}_auc"].value, *many) for x in evaluation.lines}
    return TeacherReport(header, evaluation, scores, drawn)


def _figure(
    variant: Variant, scorer: MaskedScorer, visual_dim: int, plan: Plan, images: Path, header: TeacherHeader
) -> Image.Image:
    gallery, name = variant.gallery, variant.outfits.variant
    task = retrieval_task(variant.outfits, plan.part, gallery.rows, "type")
    rows = draw_rows(task, scorer, visual_dim, gallery.ids, FIGURE_ROWS)
    return draw_figure(
        rows,
        lambda item_id: images / f"{item_id}.jpg",
        "What completes the outfit",
        f"{header.model_version}; {name} {plan.part}; questions drawn by seed {task.seed}, not by how well they went",
    )
