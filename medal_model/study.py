"""The whole study: variants × seeds × (MEDAL, its ablations, the baselines), measured once at the end.

Nothing that trains or chooses sees a question of the measured part: it is taken out of the outfits first (unless
that part is valid, which chooses epochs). Each fitted scorer is asked each question of the part once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from medal_model.baselines import BASELINES, LoopConfig
from medal_model.config import TrainConfig, make_config
from medal_model.gallery import Gallery
from medal_model.inputs import Texts
from medal_model.measure import Measured, chances, differences, measure, summarise
from medal_model.outfits import Outfits, blamed, check_askable
from medal_model.report_table import Evaluation, Kind, Line, PoolFacts
from medal_model.retrieval import RetrievalTask, retrieval_task
from medal_model.scorers import MaskedScorer, PoolScorer, masked_scorer
from medal_model.student import MedalModel
from medal_model.training import embed_gallery, train
from medal_model.workers import timed, workers

MEDAL = "MEDAL"


@dataclass(frozen=True)
class Ablation:
    """MEDAL with one thing changed: `settings` over the configuration, or the `student` of MEDAL's own runs, or
    trained `on` other inputs of the same questions, by name in `Variant.others` (left out where a variant has none)."""

    settings: Mapping[str, object] = field(default_factory=dict)
    student: bool = False
    on: str = ""


ABLATIONS: Mapping[str, Ablation] = {
    "− masks": Ablation({"masks": False}),
    "− colour": Ablation({"colour": False}),
    "student instead of teacher": Ablation(student=True),
}


@dataclass(frozen=True)
class Variant:
    """One variant's outfits, the items by row and, where there is one, their text table.

    `others` are other inputs for the same questions, such as features of another backbone or more outfits to train
    on; their galleries begin with the same rows.
    """

    outfits: Outfits
    gallery: Gallery
    texts: Texts | None = None
    others: Mapping[str, Variant] = field(default_factory=dict)

    def without(self, part: str) -> Variant:
        """The same without what `part` asks: see `set_apart`."""
        others = {name: v.without(part) for name, v in self.others.items()}
        return replace(self, outfits=set_apart(self.outfits, part), others=others)


@dataclass(frozen=True)
class Fitted:
    """Scorers of one training run."""

    teacher: PoolScorer
    student: PoolScorer


# (variant, categories, settings) to scorers over the variant's gallery.
Fit = Callable[[Variant, Sequence[str], TrainConfig], Fitted]


@dataclass(frozen=True)
class Plan:
    """What to run: MEDAL with `seeds`, baselines and ablations with `side_seeds` (the student with MEDAL's own).
    `retrieval`: also rank pools. `jobs`: fits at a time, each in a process. `commands` and `notes` go into the
    report."""

    seeds: tuple[int, ...] = (0, 1, 2)
    side_seeds: tuple[int, ...] = (0,)
    part: str = "test"
    baselines: tuple[str, ...] = tuple(BASELINES)
    loop: LoopConfig = field(default_factory=LoopConfig)
    retrieval: bool = True
    jobs: int = 1
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def like(self, config: TrainConfig) -> Plan:
        """The same plan with baselines as large as MEDAL and trained on as much. Rates, margins and dropout stay the
        baselines' own: they were chosen for them."""
        loop = replace(
            self.loop, hidden=config.hidden, epochs=config.epochs, patience=config.patience,
            batch_size=config.batch_size, negatives=config.negatives,
        )  # fmt: skip
        return replace(self, loop=loop)


@dataclass(frozen=True)
class _Run:
    name: str
    kind: Kind
    seeds: tuple[int, ...]
    scorers: tuple[PoolScorer, ...]
    seconds: float


@dataclass(frozen=True)
class _Begun:
    """A run whose fits are under way; each gives a `Fitted` or a scorer, and its seconds."""

    name: str
    kind: Kind
    seeds: tuple[int, ...]
    fits: tuple[Future[tuple[Any, float]], ...]
    student: bool = False

    def done(self) -> _Run:
        results = [f.result() for f in self.fits]
        scorers = tuple((x.student if self.student else x.teacher) if isinstance(x, Fitted) else x for x, _ in results)
        return _Run(self.name, self.kind, self.seeds, scorers, float(np.mean([s for _, s in results])))


def run_study(
    variants: Mapping[str, Variant],
    categories: Sequence[str],
    config: TrainConfig,
    plan: Plan,
    ablations: Mapping[str, Ablation] | None = None,
    *,
    fit: Fit | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Fit everything on train and valid, then measure it on the plan's part.

    Raises ValueError for an unknown baseline, inputs of an ablation that a variant lacks or whose rows are not the
    same; ConfigError for an unknown key of an ablation; OutfitsError where there is nothing to train on or to ask.
    """
    if unknown := set(plan.baselines) - set(BASELINES):
        raise ValueError(f"unknown baselines {sorted(unknown)}; there are {', '.join(BASELINES)}")
    changed = dict(ablations or {})
    settings = {n: make_config({**config.to_dict(), **a.settings}, f"ablation {n}") for n, a in changed.items()}
    for name, variant in variants.items():
        _check_others(name, variant, changed)
        check_askable(variant.outfits, dict.fromkeys(("valid", plan.part)))
    with workers(plan.jobs) as pool:
        begun = {}
        for name, variant in variants.items():
            apart = variant.without(plan.part)
            runs = _medal(pool, apart, categories, config, plan, changed, settings, fit or fit_medal)
            begun[name] = [*runs, *_baselines(pool, apart, categories, plan)]
        fitted: dict[str, list[_Run]] = {}
        for name, runs in begun.items():
            fitted[name] = []
            for run in runs:
                with blamed(variants[name].outfits, run.name):
                    fitted[name].append(run.done())
                seeds = f"{len(run.seeds)} seed{'s' if len(run.seeds) > 1 else ''}"
                say(f"{name}: fitted {run.name} ({seeds}, {fitted[name][-1].seconds:.0f} s each)")
    measured = {}
    for name, variant in variants.items():
        with blamed(variant.outfits, plan.part):
            tasks = tasks_of(variant, plan.part) if plan.retrieval else ()
            measured[name] = [
                (run, [measure(variant.outfits, plan.part, variant.gallery.rows, s, tasks) for s in run.scorers])
                for run in fitted[name]
            ]
    return gather(measured, plan.part, plan.commands, plan.notes)


def compare_scorer(
    name: str, variant_name: str, variant: Variant, categories: Sequence[str], scorer: PoolScorer, plan: Plan
) -> Evaluation:
    """One finished scorer beside the plan's baselines, on one variant."""
    apart = variant.without(plan.part)
    runs = [_Run(name, "medal", (), (scorer,), 0.0), *fit_baselines(apart, categories, plan)]
    tasks = tasks_of(variant, plan.part) if plan.retrieval else ()
    rows = variant.gallery.rows
    measured = [(r, [measure(variant.outfits, plan.part, rows, s, tasks) for s in r.scorers]) for r in runs]
    return gather({variant_name: measured}, plan.part, plan.commands, plan.notes)


def set_apart(outfits: Outfits, part: str) -> Outfits:
    """The same outfits without the questions and outfits of `test`, where that is measured: what training may see."""
    if part != "test":
        return outfits
    return replace(
        outfits,
        sets={s: own for s, own in outfits.sets.items() if s != part},
        questions={s: own for s, own in outfits.questions.items() if s != part},
        judged={s: own for s, own in outfits.judged.items() if s != part},
    )


def fit_medal(variant: Variant, categories: Sequence[str], config: TrainConfig) -> Fitted:
    """Teacher and student of one run on the gallery's features."""
    trained = train(variant.outfits, variant.gallery, categories, config, texts=variant.texts)
    return Fitted(_scorer(trained.model, variant.gallery), _scorer(trained.student, variant.gallery))


def fit_baselines(variant: Variant, categories: Sequence[str], plan: Plan) -> list[_Run]:
    """The plan's baselines, each with the side seeds."""
    with workers(1) as pool:
        return [run.done() for run in _baselines(pool, variant, categories, plan)]


def _baselines(pool: Executor, variant: Variant, categories: Sequence[str], plan: Plan) -> list[_Begun]:
    plain = replace(variant, others={})
    return [
        _Begun(
            name, "baseline", plan.side_seeds,
            tuple(pool.submit(timed, _fit_baseline, name, plan.loop, plain, categories, s) for s in plan.side_seeds),
        )
        for name in plan.baselines
    ]  # fmt: skip


def _fit_baseline(name: str, loop: LoopConfig, variant: Variant, categories: Sequence[str], seed: int) -> PoolScorer:
    return BASELINES[name](loop).fit(variant.outfits, variant.gallery, categories, seed)


def tasks_of(variant: Variant, part: str) -> tuple[RetrievalTask, ...]:
    """Both kinds of pools."""
    rows = variant.gallery.rows
    return (retrieval_task(variant.outfits, part, rows, "fine"), retrieval_task(variant.outfits, part, rows, "type"))


def gather(
    measured: Mapping[str, Sequence[tuple[_Run, Sequence[Measured]]]],
    part: str,
    commands: tuple[str, ...],
    notes: tuple[str, ...],
) -> Evaluation:
    """Intervals of all measurements, by variant; the first run of each is MEDAL's."""
    variants = list(measured)
    lines = []
    for n, (run, _) in enumerate(measured[variants[0]]):
        figures, lead = {}, {}
        for v in variants:
            own, medal = measured[v][n][1], measured[v][0][1]
            figures.update({f"{v}_{k}": i for k, i in summarise(own).items()})
            if n:
                lead.update({f"{v}_{k}": i for k, i in differences(medal, own).items()})
        seconds = float(np.mean([measured[v][n][0].seconds for v in variants]))
        lines.append(Line(run.name, run.kind, _ordered(figures), run.seeds, lead, seconds))
    firsts = {v: measured[v][0][1][0] for v in variants}
    chance = {f"{v}_{k}": x for v, m in firsts.items() for k, x in chances(m).items()}
    pools = {f"{v}_{r.task.pool}": _facts(r.task) for v, m in firsts.items() for r in m.retrieved}
    return Evaluation(part, tuple(lines), chance, pools, commands, notes)


def _medal(
    pool: Executor,
    variant: Variant,
    categories: Sequence[str],
    config: TrainConfig,
    plan: Plan,
    ablations: Mapping[str, Ablation],
    settings: Mapping[str, TrainConfig],
    fit: Fit,
) -> list[_Begun]:
    """MEDAL with all seeds, then each ablation; the student is that of MEDAL's own runs."""

    def begin(on: str, config: TrainConfig, seeds: Sequence[int]) -> tuple[Future[tuple[Any, float]], ...]:
        inputs = replace(variant.others[on] if on else variant, others={})
        return tuple(pool.submit(timed, fit, inputs, categories, replace(config, seed=s)) for s in seeds)

    own = begin("", config, plan.seeds)
    runs = [_Begun(MEDAL, "medal", plan.seeds, own)]
    for name, ablation in ablations.items():
        if ablation.student:
            runs.append(_Begun(name, "ablation", plan.seeds, own, student=True))
        else:
            fits = begin(ablation.on, settings[name], plan.side_seeds)
            runs.append(_Begun(name, "ablation", plan.side_seeds, fits))
    return runs


def _check_others(name: str, variant: Variant, ablations: Mapping[str, Ablation]) -> None:
    for what, ablation in ablations.items():
        if not ablation.on:
            continue
        if ablation.on not in variant.others:
            raise ValueError(f"ablation {what}: variant {name} has no inputs '{ablation.on}'")
        ids = variant.gallery.ids
        if variant.others[ablation.on].gallery.ids[: len(ids)] != ids:
            raise ValueError(f"ablation {what}: its items in variant {name} do not begin with the variant's own")


def _scorer(model: MedalModel, gallery: Gallery) -> MaskedScorer:
    weights = np.asarray(model.masks.weights().detach().cpu().numpy(), dtype=np.float32)
    return masked_scorer(embed_gallery(model, gallery), gallery.categories, model.categories, weights)


def _ordered(figures: Mapping[str, Any]) -> dict[str, Any]:
    """FITB and AUC of all variants first."""
    return dict(sorted(figures.items(), key=lambda x: not x[0].endswith(("_fitb", "_auc"))))


def _facts(task: RetrievalTask) -> PoolFacts:
    sizes = sorted(len(task.pools[c]) for c in range(len(task.names)))
    many = len(sizes)
    return PoolFacts(task.rule, len(task.answers), many, task.seed, sizes[0], sizes[many // 2], sizes[-1])
