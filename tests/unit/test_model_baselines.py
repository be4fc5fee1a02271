"""Baselines on a world with planted compatibility, and the study's table of them."""

from __future__ import annotations

import json
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compatibility_world import CATEGORIES, draw_world

from medal_model.baselines import BASELINES, LoopConfig
from medal_model.config import TrainConfig
from medal_model.evaluation import evaluate
from medal_model.measure import measure, summarise
from medal_model.outfits import OutfitsError
from medal_model.report_table import Evaluation, to_html, to_json, to_markdown, verdict
from medal_model.scorers import cosine_scorer, random_scorer
from medal_model.study import ABLATIONS, Ablation, Fitted, Plan, Variant, run_study, set_apart
from medal_model.study_inputs import More
from medal_model.workers import workers

OUTFITS, GALLERY = draw_world()
LOOP = LoopConfig(epochs=12, batch_size=256, dim=16)
LEARNT = ("plain triplet", "Type-aware", "SCE-Net averaged", "CSA-Net")
PAIRS = (np.arange(100), np.arange(100)[::-1].copy())


@pytest.mark.parametrize("name", LEARNT)
def test_learnt_baselines_find_the_planted_styles_and_repeat_by_seed(name: str) -> None:
    apart = set_apart(OUTFITS, "test")  # a look at a test question would be a KeyError
    scorer, again, other = (BASELINES[name](LOOP).fit(apart, GALLERY, CATEGORIES, s) for s in (0, 0, 1))
    score = evaluate(OUTFITS, "test", GALLERY.rows, scorer)
    assert score.fitb > 0.25 + 0.15  # four standard errors
    assert score.auc > 0.5 + 0.1
    assert np.array_equal(scorer(*PAIRS), again(*PAIRS))
    assert not np.array_equal(scorer(*PAIRS), other(*PAIRS))


def test_untrained_baselines_have_nothing_to_find() -> None:
    for name in set(BASELINES) - set(LEARNT):
        score = evaluate(OUTFITS, "test", GALLERY.rows, BASELINES[name]().fit(OUTFITS, GALLERY, CATEGORIES, 0))
        assert abs(score.auc - 0.5) < 0.2, name


def test_popularity_counts_train_outfits() -> None:
    scorer = BASELINES["popularity"]().fit(OUTFITS, GALLERY, CATEGORIES, 0)
    use = [sum(i in o for o in OUTFITS.sets["train"]) for i in GALLERY.ids]
    assert scorer(np.array([3]), np.array([50]))[0] == (use[3] + use[50]) / 2


@pytest.mark.parametrize("name", LEARNT)
def test_a_baseline_whose_loss_is_not_finite_says_what_to_change(name: str) -> None:
    loop = replace(LOOP, epochs=3, warmup=0, learning_rate=1e30, mask_learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"epoch 1: a baseline's loss is not finite; lower its learning_rate"):
        BASELINES[name](loop).fit(OUTFITS, GALLERY, CATEGORIES, 0)


def _fit(variant: Variant, categories: object, config: TrainConfig) -> Fitted:
    """In MEDAL's place: the planted styles seen through noise by seed; without masks nothing is seen."""
    assert "test" not in variant.outfits.questions
    if not config.masks:
        return Fitted(random_scorer(config.seed), random_scorer(9))
    noise = np.random.default_rng(config.seed).normal(0, 0.3, variant.gallery.features.shape).astype(np.float32)
    return Fitted(cosine_scorer(variant.gallery.features + noise), random_scorer(config.seed))


@pytest.fixture(scope="module")
def study() -> Evaluation:
    plan = Plan(seeds=(0, 1, 2), baselines=("random", "plain triplet"), loop=LOOP, commands=("medal study",))
    other = Variant(replace(OUTFITS, variant="disjoint"), GALLERY)
    variants = {"nondisjoint": Variant(OUTFITS, GALLERY), "disjoint": other}
    ablations = {n: ABLATIONS[n] for n in ("− masks", "student instead of teacher")}
    return run_study(variants, CATEGORIES, TrainConfig(), plan, ablations, fit=_fit)


def test_json_has_the_promised_layout(study: Evaluation) -> None:
    got = json.loads(to_json(study))
    keys = {"nondisjoint_fitb", "nondisjoint_auc", "disjoint_fitb", "disjoint_auc"}
    assert set(got["medal"]) == keys
    assert {n: set(v) for n, v in got["baselines"].items()} == {"random": keys, "plain triplet": keys}
    assert {n: set(v) for n, v in got["ablations"].items()} == {"− masks": keys, "student instead of teacher": keys}
    assert got["seeds"]["MEDAL"] == got["seeds"]["student instead of teacher"] == [0, 1, 2]
    assert got["seeds"]["random"] == got["seeds"]["− masks"] == [0]
    for name in got["intervals_95"]:
        own = got["medal"] if name == "MEDAL" else {**got["baselines"], **got["ablations"]}[name]
        assert all(got["intervals_95"][name][k][0] <= own[k] <= got["intervals_95"][name][k][1] for k in keys)
    assert set(got["pools"]) == {"nondisjoint_fine", "nondisjoint_type", "disjoint_fine", "disjoint_type"}
    assert set(got["pools"]["nondisjoint_fine"]) >= {"rule", "queries", "categories", "seed"}


def test_the_table_says_what_medal_is_not_above(study: Evaluation) -> None:
    # The plain triplet learns the world; what stands in MEDAL's place sees no rotation.
    line = next(x for x in study.lines if x.name == "plain triplet")
    medal = study.lines[0]
    assert medal.figures["nondisjoint_auc"].value < line.figures["nondisjoint_auc"].value
    want = (
        f"plain triplet in nondisjoint AUC ({medal.figures['nondisjoint_auc'].value:.3f} against "
        f"{line.figures['nondisjoint_auc'].value:.3f})"
    )
    for text in (" ".join(verdict(study)), to_markdown(study), to_html(study)):
        assert "MEDAL is not above the baseline" in text
        assert want in text
    alone = replace(study, lines=tuple(x for x in study.lines if x.name in ("MEDAL", "plain triplet")))
    turned = replace(
        alone, lines=(replace(line, kind="medal", name="MEDAL"), replace(medal, kind="baseline", name="x"))
    )
    assert verdict(turned)[0] == "MEDAL is above every baseline in FITB and AUC."


def test_seeds_are_told_where_something_was_trained(study: Evaluation) -> None:
    untrained = replace(study, lines=tuple(replace(x, seeds=()) for x in study.lines))
    for page in (to_markdown, to_html):
        assert "Training seeds: 0, 1 and 2 for MEDAL and student instead of teacher; 0 for " in page(study)
        assert "Training seeds" not in page(untrained)


def test_the_best_of_each_column_is_bold_and_medals_row_is_marked(study: Evaluation) -> None:
    rows = [r for r in to_markdown(study).split("## Retrieval")[0].splitlines() if r.startswith("| ")][2:]
    assert rows[0].startswith("| **▸ MEDAL**")
    best = max(study.lines, key=lambda x: x.figures["nondisjoint_fitb"].value)
    at = study.lines.index(best)
    assert f"**{best.figures['nondisjoint_fitb']}**" in rows[at]
    assert to_html(study).count("<tr class=medal>") == 1 + len(study.pools)


def test_unknown_baselines_and_settings_are_refused() -> None:
    variants = {"nondisjoint": Variant(OUTFITS, GALLERY)}
    with pytest.raises(ValueError, match="unknown baselines"):
        run_study(variants, CATEGORIES, TrainConfig(), Plan(baselines=("best",)), fit=_fit)
    with pytest.raises(ValueError, match="ablation x: unknown key maks"):
        run_study(variants, CATEGORIES, TrainConfig(), Plan(baselines=()), {"x": Ablation({"maks": False})}, fit=_fit)


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_part_that_asks_nothing_is_told_before_any_fit(part: str) -> None:
    """Valid chooses the epoch, whatever part is measured."""
    variants = {
        "nondisjoint": Variant(replace(OUTFITS, judged={**OUTFITS.judged, part: OUTFITS.judged[part][::2]}), GALLERY)
    }
    with pytest.raises(OutfitsError, match=rf"compatibility_{part}.txt: {part} has no outfit of label 0"):
        run_study(variants, CATEGORIES, TrainConfig(), Plan(baselines=()), fit=lambda *_: pytest.fail("fitted"))


def test_what_a_fit_says_of_its_outfits_names_them() -> None:
    def fit(*_: object) -> Fitted:
        raise ValueError("no triplet with a negative")

    variants = {"nondisjoint": Variant(OUTFITS, GALLERY)}
    with pytest.raises(OutfitsError, match="world/nondisjoint: MEDAL: no triplet with a negative"):
        run_study(variants, CATEGORIES, TrainConfig(), Plan(baselines=()), fit=fit)


def test_each_run_is_told_when_it_is_fitted() -> None:
    told: list[str] = []

    def fit(variant: Variant, categories: object, config: TrainConfig) -> Fitted:
        told.append(f"fit {'with' if config.masks else 'without'} masks")
        return _fit(variant, categories, config)

    plan = Plan(seeds=(0, 1), baselines=("random",), retrieval=False)
    ablations = {n: ABLATIONS[n] for n in ("− masks", "student instead of teacher")}
    variants = {"nondisjoint": Variant(OUTFITS, GALLERY)}
    run_study(
        variants, CATEGORIES, TrainConfig(), plan, ablations, fit=fit, say=lambda x: told.append(x.split(" (")[0])
    )
    assert told == [
        "fit with masks", "fit with masks", "nondisjoint: fitted MEDAL", "fit without masks",
        "nondisjoint: fitted − masks", "nondisjoint: fitted student instead of teacher", "nondisjoint: fitted random",
    ]  # fmt: skip


def test_after_a_failure_no_other_fit_begins() -> None:
    begun: list[Future[None]] = []

    def study() -> None:
        with workers(2) as pool:
            begun.extend(pool.submit(time.sleep, 0.2) for _ in range(40))
            begun[0].result()
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        study()
    assert all(f.done() for f in begun)
    assert sum(f.cancelled() for f in begun) > 20


def test_folders_of_one_name_are_rows_of_their_own() -> None:
    folders = [Path("a/teacher"), Path("b/teacher"), Path("c/other")]
    assert {name: x.on for name, x in More(teachers=folders).ablations().items()} == {
        "on features of a/teacher": "a/teacher",
        "on features of b/teacher": "b/teacher",
        "on features of other": "c/other",
    }


def test_an_ablation_trains_on_other_inputs_of_the_same_questions() -> None:
    blind = replace(GALLERY, features=np.random.default_rng(5).normal(size=GALLERY.features.shape).astype(np.float32))
    plan = Plan(seeds=(0,), baselines=(), retrieval=False)
    ablations = {"blind": Ablation(on="blind")}
    variants = {"nondisjoint": Variant(OUTFITS, GALLERY, others={"blind": Variant(OUTFITS, blind)})}
    study = run_study(variants, CATEGORIES, TrainConfig(), plan, ablations, fit=_fit)
    for line, gallery in zip(study.lines, (GALLERY, blind), strict=True):
        alone = _fit(Variant(set_apart(OUTFITS, "test"), gallery), CATEGORIES, TrainConfig()).teacher
        assert line.figures["nondisjoint_auc"] == summarise([measure(OUTFITS, "test", GALLERY.rows, alone)])["auc"]
    shuffled = replace(blind, ids=tuple(reversed(blind.ids)))
    for others, said in (({}, "has no inputs 'blind'"), ({"blind": Variant(OUTFITS, shuffled)}, "do not begin with")):
        with pytest.raises(ValueError, match=said):
            run_study({"nondisjoint": Variant(OUTFITS, GALLERY, others=others)}, CATEGORIES, TrainConfig(), plan,
                      ablations, fit=_fit)  # fmt: skip


def test_figures_do_not_depend_on_how_many_fits_run_at_a_time() -> None:
    plan = Plan(seeds=(0, 1), baselines=("plain triplet",), loop=replace(LOOP, epochs=2), retrieval=False)
    variants = {"nondisjoint": Variant(OUTFITS, GALLERY)}
    short = TrainConfig(epochs=2, hidden=8)
    one, two = (
        run_study(variants, CATEGORIES, short, replace(plan, jobs=jobs), {"− masks": ABLATIONS["− masks"]})
        for jobs in (1, 2)
    )
    assert [(x.name, x.seeds, x.figures) for x in one.lines] == [(x.name, x.seeds, x.figures) for x in two.lines]
