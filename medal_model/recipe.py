"""The whole way from an outfits folder to an exported, measured teacher, and its comparison with baselines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from medal_model import distributed
from medal_model.backbones import BackboneSpec, check_size, default_spec, load_backbone, random_spec, trained_spec
from medal_model.card import FAILURES, metrics_of, write_card
from medal_model.config import TrainConfig
from medal_model.export import Architecture, TeacherHeader, check_name, export_teacher
from medal_model.features import Extractor, cached_features
from medal_model.gallery import Gallery
from medal_model.image_errors import ImageError
from medal_model.image_source import ImageSource, open_images
from medal_model.inputs import Network, Texts
from medal_model.outfits import Outfits, OutfitsError, blamed, check_askable, without
from medal_model.preprocessing import preprocessing
from medal_model.question_figure import question_figure, teacher_scorer
from medal_model.report_table import Evaluation
from medal_model.run_log import RunLog
from medal_model.study import Plan, Variant, compare_scorer
from medal_model.teacher import HISTOGRAM, load_teacher
from medal_model.text import read_texts
from medal_model.training import Trained, Trainer, check_views, pick_device

TEACHER = "teacher"
UNTRAINED = ("random", "popularity", "colour histogram", "frozen cosine")  # baselines that learn nothing


@dataclass(frozen=True)
class Fitted:
    """What training gave: the exported header (None in processes that do not write) and its evaluation by part."""

    header: TeacherHeader | None
    evaluations: Mapping[str, Evaluation]
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
    work: Path | None = None,
    texts: Path | None = None,
    backbone: BackboneSpec | None = None,
    quiet: bool = False,
) -> Fitted:
    """Features (cached), training, measuring on valid and test, export to `out`.

    Images are a folder of `<item_id>.jpg`, or parquet (`image_source`); items whose image cannot be read are left out
    with one line on stderr.
    `categories` get a mask for every pair; pairs in no outfit keep w = 1. Under `work` every run has a folder of its
    own with checkpoint and log: the same run goes on there, another one starts beside it. `texts` is a table of text
    vectors. Raises OutfitsError where nothing is left to train on or to ask, or outfits hold another category;
    BackboneError, TextError; TeacherError for a bad name; ConfigError for settings that cannot be run, such as a
    device that is not there; CheckpointError for a damaged one.
    """
    check_name(name)
    check_views(config)
    device = pick_device(config.device)
    if odd := set(outfits.categories) - set(categories):
        raise OutfitsError(f"{outfits.root}: categories {sorted(odd)} are not among those to train")
    say = _sayer(quiet)
    spec, source = backbone or spec_of(config), open_images(images)
    extractor = Extractor(spec, config.input_size, config.trim, device)
    outfits, gallery, seconds, computed = read_gallery(outfits, source, extractor, cache, say, quiet)
    check_askable(outfits, ("valid", "test"))
    table = None if texts is None or config.text_weight == 0 else read_texts(texts, gallery)
    network = None if config.frozen else read_network(outfits, gallery, source, extractor, say, config.ssl_more)
    begun = time.monotonic()
    log = RunLog(config.tensorboard, quiet)
    try:
        with blamed(outfits):
            trainer = Trainer(outfits, gallery, categories, config, network=network, texts=table)
            if work is not None:
                trainer.folder = work / f"{name}-{trainer.identity}"
                log.open(trainer.folder, config)
            trained = trainer.run(log.epoch, log.step)
    finally:
        log.close()
    train_seconds = time.monotonic() - begun
    if distributed.rank() > 0:
        return Fitted(None, {}, trained, seconds, train_seconds, computed)
    header = _export(out, name, categories, config, spec, outfits, trained, {}, table)
    own = gallery if config.frozen else None
    evaluations, failures = _measured(out, outfits, source, own, device, cache, quiet)
    header = _export(out, name, categories, config, spec, outfits, trained, evaluations, table)
    failures.thumbnail((1600, 1600))  # legible on a page, and small
    failures.save(out / FAILURES, quality=85)
    return Fitted(header, evaluations, trained, seconds, train_seconds, computed)


def _measured(
    folder: Path,
    outfits: Outfits,
    images: ImageSource,
    gallery: Gallery | None,
    device: torch.device,
    cache: Path,
    quiet: bool,
) -> tuple[dict[str, Evaluation], Image.Image]:
    """The exported teacher as others will load it, on valid and test beside what learns nothing; its worst on valid.

    `gallery` where the features are those it was trained on; then nothing is left that a GPU would be of use for.
    """
    teacher = load_teacher(folder, device if gallery is None else "cpu")
    header = teacher.header
    if gallery is None:
        outfits, gallery, _, _ = read_gallery(outfits, images, teacher.extractor, cache, _sayer(quiet), quiet)
    scorer = teacher_scorer(teacher, gallery)
    variant = Variant(outfits, gallery)
    with blamed(outfits):
        evaluations = {
            part: compare_scorer(TEACHER, outfits.variant, variant, header.categories, scorer, Plan(
                part=part, baselines=UNTRAINED, retrieval=False))
            for part in ("valid", "test")
        }  # fmt: skip
        drawn = question_figure(variant, scorer, header, "valid", images, worst=True)
    return evaluations, drawn


def spec_of(config: TrainConfig) -> BackboneSpec:
    """The backbone that a configuration asks for. Raises BackboneError where its weights cannot be had or it cannot
    take images of the configured sizes."""
    check_size(config.backbone, config.input_size)
    if not config.frozen and config.ssl_weight > 0 and config.local_crops > 0:
        check_size(config.backbone, config.local_size)
    if config.pretrained:
        return default_spec(config.backbone, config.stages)
    return random_spec(config.backbone, config.seed, config.stages)


def read_network(
    outfits: Outfits,
    gallery: Gallery,
    images: Path | ImageSource,
    extractor: Extractor,
    say: Callable[[str], None],
    more: bool = False,
) -> Network:
    """The extractor's backbone to train, and all photos in memory; a gigabyte for 7,000 of 224 pixels.

    Self-supervision sees the photos of items that no valid or test question or outfit holds, and with `more` those
    among `images` that are of no outfit at all.
    """
    source = open_images(images)
    asked = {i for qs in outfits.questions.values() for q in qs for i in (*q.outfit, *q.answers)}
    asked |= {i for js in outfits.judged.values() for j in js for i in j.outfit}
    own = gallery.rows
    beside = [i for i in source.ids() if i not in own and i not in outfits.items] if more else []
    say(f"photos: {len(own):,} of outfits and {len(beside):,} others to memory")
    names = list(gallery.ids)
    # Filled in place: a stack of all photos would need their memory twice.
    pixels = torch.empty((len(own) + len(beside), 3, extractor.input_size, extractor.input_size), dtype=torch.uint8)
    for i in source.order((*gallery.ids, *beside)):
        try:
            photo = extractor.preprocess(source.read(i))
        except (OSError, ImageError):
            if i in own:
                raise
            continue
        pixels[own.get(i, len(names))] = photo
        if i not in own:
            names.append(i)
    if unread := len(pixels) - len(names):
        say(f"photos: {unread:,} others cannot be read and are left out")
    seen = np.array([n for n, i in enumerate(names) if i not in asked], np.int64)
    if not len(seen):
        seen = np.arange(len(names))
        say("photos: every item is asked about; self-supervision sees all of them, without any outfit")
    spec = extractor.spec
    return Network(load_backbone(spec), spec.mean, spec.std, pixels[: len(names)], seen)


def _export(
    out: Path,
    name: str,
    categories: Sequence[str],
    config: TrainConfig,
    spec: BackboneSpec,
    outfits: Outfits,
    trained: Trained,
    evaluations: Mapping[str, Evaluation],
    texts: Texts | None,
) -> TeacherHeader:
    """Teacher to its folder. The self-supervised head stays behind; a trained backbone goes along."""
    model, shape = trained.model.cpu(), trained.model.heads.shape
    state = {k: v.detach().numpy() for k, v in model.state_dict().items() if not k.startswith("dino.")}
    if model.backbone is not None:
        spec = trained_spec(spec, model.backbone)
    return export_teacher(
        out,
        name=name,
        tensors=state,
        masks=np.asarray(model.masks.weights().detach().numpy(), dtype=np.float32),
        categories=categories,
        architecture=Architecture(
            shape.feature_dim, shape.histogram_dim, shape.visual_dim, shape.colour_dim, shape.rho
        ),
        backbone=spec.to_dict(),
        preprocessing=preprocessing(config.input_size, config.trim),
        histogram=HISTOGRAM,
        training=config.to_dict(),
        metrics=metrics_of(outfits, trained, evaluations, config),
        card=write_card(name, outfits, spec, config, trained, evaluations, texts is not None),
    )


def read_gallery(
    outfits: Outfits,
    images: Path | ImageSource,
    extractor: Extractor,
    cache: Path,
    say: Callable[[str], None],
    quiet: bool,
) -> tuple[Outfits, Gallery, float, int]:
    """Features of all items; items without a readable image are taken out of the outfits (`outfits.without`).

    Raises ImageSourceError for photos that are not there or damaged as a whole, OutfitsError where not one item has a
    photo that can be read.
    """
    source, ids = open_images(images), sorted(outfits.items)
    if len(source.missing(ids)) == len(ids):
        raise OutfitsError(
            f"{source.root}: none of {len(ids):,} items has a photo here; the first would be {source.where(ids[0])}"
        )
    found = cached_features(ids, source, extractor, cache, quiet=quiet)
    if found.failed:
        first, why = min(found.failed.items())
        if not found.ids:
            raise OutfitsError(f"{source.root}: none of {len(ids):,} photos can be read; {source.where(first)}: {why}")
        say(f"{len(found.failed)} images left out, the first: {source.where(first)}: {why}")
        before, outfits = outfits.left_out, without(outfits, set(found.failed))
        for why, n in outfits.left_out.items():
            if more := n - before.get(why, 0):
                say(f"{more:,} left out of {why}")
    kinds = tuple(outfits.items[i].category for i in found.ids)
    return outfits, Gallery(found.ids, kinds, found.features, found.histograms), found.seconds, found.computed


def _sayer(quiet: bool) -> Callable[[str], None]:
    return (lambda line: None) if quiet else (lambda line: print(line, file=sys.stderr, flush=True))
