"""A teacher's scorer, and pictures of how it answers an outfits folder's questions."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from medal_model.export import TeacherHeader
from medal_model.figure import draw_figure, draw_rows
from medal_model.gallery import Gallery
from medal_model.image_source import ImageSource, open_images
from medal_model.retrieval import retrieval_task
from medal_model.scorers import MaskedScorer, masked_scorer
from medal_model.study import Variant
from medal_model.teacher import Teacher

ROWS = 6


def teacher_scorer(teacher: Teacher, gallery: Gallery) -> MaskedScorer:
    """Scores by the teacher's vectors of a gallery of its own features."""
    with torch.inference_mode():
        x, h = (torch.from_numpy(a).to(teacher.extractor.device) for a in (gallery.features, gallery.histograms))
        z = teacher.heads(x, h).cpu().numpy()
    return masked_scorer(z, gallery.categories, teacher.header.categories, teacher.header.masks)


def question_figure(
    variant: Variant,
    scorer: MaskedScorer,
    header: TeacherHeader,
    part: str,
    images: Path | ImageSource,
    *,
    worst: bool = False,
) -> Image.Image:
    """Six questions with the ten best answers each: drawn by seed, or those whose true item stands lowest.

    Raises ValueError where the part asks nothing.
    """
    gallery, name = variant.gallery, variant.outfits.variant
    task = retrieval_task(variant.outfits, part, gallery.rows, "type")
    rows = draw_rows(task, scorer, header.visual_dim, gallery.ids, ROWS, worst=worst)
    title, rule = "What completes the outfit", f"questions drawn by seed {task.seed}, not by how well they went"
    if worst:
        title, rule = "Known failures", "the questions whose true item stands lowest, one of each category first"
    return draw_figure(rows, open_images(images).read, title, f"{header.model_version}; {name} {part}; {rule}")
