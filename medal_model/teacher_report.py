"""An exported teacher measured on outfits: figures with intervals beside baselines, and the paper's figure."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from medal_model.export import TeacherHeader
from medal_model.image_source import open_images
from medal_model.outfits import Outfits, OutfitsError, blamed
from medal_model.question_figure import question_figure, teacher_scorer
from medal_model.recipe import read_gallery
from medal_model.report_table import Evaluation
from medal_model.study import Plan, Variant, compare_scorer
from medal_model.teacher import load_teacher


@dataclass(frozen=True)
class TeacherReport:
    """The evaluation's first line is the teacher's, under its version; `figure` where asked for."""

    header: TeacherHeader
    evaluation: Evaluation
    figure: Image.Image | None


def report_on(
    folder: Path, outfits: Outfits, images: Path, cache: Path, plan: Plan, *, figure: bool = False, quiet: bool = False
) -> TeacherReport:
    """Load a teacher, read features of the outfits' photos (`image_source.open_images`, cached), measure.

    Learnt baselines are trained on the teacher's own features and get a hidden layer as wide as the teacher's.
    Raises TeacherError, BackboneError; OutfitsError where the teacher does not know a category, no photo can be
    read or the part asks nothing.
    """
    teacher = load_teacher(folder)
    header = teacher.header
    if odd := set(outfits.categories) - set(header.categories):
        raise OutfitsError(f"{outfits.root}: teacher {header.model_version} does not know categories {sorted(odd)}")
    say = (lambda line: None) if quiet else (lambda line: print(line, file=sys.stderr, flush=True))
    source = open_images(images)
    outfits, gallery, _, _ = read_gallery(outfits, source, teacher.extractor, cache, say, quiet)
    scorer = teacher_scorer(teacher, gallery)
    plan = replace(plan, loop=replace(plan.loop, hidden=teacher.heads.shape.hidden))
    variant = Variant(outfits, gallery)
    with blamed(outfits, plan.part):
        evaluation = compare_scorer(header.model_version, outfits.variant, variant, header.categories, scorer, plan)
        drawn = question_figure(variant, scorer, header, plan.part, source) if figure else None
    return TeacherReport(header, evaluation, drawn)
