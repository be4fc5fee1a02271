"""`medal evaluate` (one exported teacher) and `medal study` (the whole table, trained anew)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.errors import SettingsError
from jobs.train.shared import (
    DEFAULT_CACHE,
    Cache,
    Images,
    OutfitsDir,
    Strict,
    Taxonomy,
    Variant,
    faults,
    images_of,
    read,
    show,
)

if TYPE_CHECKING:
    from medal_model.report_table import Evaluation

Part = Annotated[str, typer.Option(help="valid or test.")]
Baselines = Annotated[str, typer.Option(help="all, quick (those that learn nothing), none, or names with commas.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the CLI."""

    @app.command()
    def evaluate(
        teacher: Annotated[Path, typer.Option(help="Folder of the exported teacher.")],
        outfits: OutfitsDir,
        split: Variant = "nondisjoint",
        part: Part = "test",
        strict: Strict = False,
        images: Images = None,
        suffix: Annotated[str, typer.Option(help="Other question files of the same part, such as _uniform.")] = "",
        retrieval: Annotated[
            bool, typer.Option("--retrieval", help="Also R@10, 30 and 50 in two kinds of pools.")
        ] = False,
        baselines: Baselines = "quick",
        figure: Annotated[Path | None, typer.Option(help="PNG of outfits and the ten best for them.")] = None,
        out: Annotated[
            Path | None, typer.Option(help="Folder for evaluation.md, evaluation.html and evaluation.json.")
        ] = None,
        cache: Cache = DEFAULT_CACHE,
        categories_from: Taxonomy = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of the table.")] = False,
    ) -> None:
        """Measure a teacher on outfits with 95 % intervals, beside baselines on the same inputs and questions."""
        _check_part(part)
        with faults():
            from medal_model.study import Plan
            from medal_model.teacher_report import report_on
            from schemas.taxonomy import load_taxonomy

            plan = Plan(part=part, baselines=_chosen(baselines), retrieval=retrieval, commands=(_command(),))
            found = read(outfits, split, load_taxonomy(categories_from).category, suffix, strict=strict)
            where = images or images_of(outfits)
            report = report_on(teacher, found, where, cache, plan, figure=figure is not None)
        if report.figure is not None and figure is not None:
            figure.parent.mkdir(parents=True, exist_ok=True)
            report.figure.save(figure)
            typer.echo(f"figure written to {figure}", err=True)
        if out is not None:
            _write(out, report.evaluation)
        version = report.header.model_version
        if as_json:
            import json
            from dataclasses import asdict

            scores = {
                ("teacher" if n == 0 else x.name): {k: asdict(i) for k, i in x.figures.items()}
                for n, x in enumerate(report.evaluation.lines)
            }
            typer.echo(json.dumps({"model_version": version, "split": split, "part": part, "scores": scores}))
        else:
            show(f"{version} on {split} {part}{suffix}", report.evaluation)

    @app.command()
    def study(
        outfits: OutfitsDir,
        out: Annotated[Path, typer.Option(help="Folder for evaluation.md, evaluation.html and evaluation.json.")],
        config: Annotated[Path | None, typer.Option(help="YAML of settings, as for `medal train`.")] = None,
        part: Part = "test",
        split: Annotated[str, typer.Option(help="Variants, with commas.")] = "nondisjoint,disjoint",
        seeds: Annotated[str, typer.Option(help="MEDAL's training seeds, with commas.")] = "0,1,2",
        side_seeds: Annotated[str, typer.Option(help="Seeds of baselines and ablations.")] = "0",
        baselines: Baselines = "all",
        ablations: Annotated[bool, typer.Option(help="Also train MEDAL without each of its parts.")] = True,
        retrieval: Annotated[bool, typer.Option(help="Also R@10, 30 and 50 in two kinds of pools.")] = True,
        jobs: Annotated[int, typer.Option(min=1, help="Fits at a time; the figures do not depend on it.")] = 1,
        images: Images = None,
        preset: Annotated[str | None, typer.Option(help="Settings to start from, as for `medal train`.")] = None,
        texts: Annotated[
            Path | None, typer.Option(help="Table of text vectors: also train MEDAL with it (row `+ text`).")
        ] = None,
        harvest: Annotated[
            Path | None, typer.Option(help="Folder of `medal harvest`: also train on it (row `+ harvest`).")
        ] = None,
        features_of: Annotated[
            list[Path] | None, typer.Option(help="Teacher with a trained backbone: also train on its features.")
        ] = None,
        cache: Cache = DEFAULT_CACHE,
        categories_from: Taxonomy = None,
    ) -> None:
        """Train MEDAL, its ablations and the baselines on outfits, and write the table of all of them.

        Works on cached features of a frozen backbone. The part's questions are kept from everything that trains.
        """
        _check_part(part)
        with faults():
            from medal_model.config import read_config
            from medal_model.features import Extractor
            from medal_model.recipe import spec_of
            from medal_model.settings_file import ConfigError
            from medal_model.study import ABLATIONS, Plan, run_study
            from medal_model.study_inputs import More, read_variant
            from schemas.taxonomy import load_taxonomy

            settings = read_config(config, {"preset": preset} if preset else None)
            if not settings.frozen:
                raise ConfigError(f"{config}: frozen: false; a study compares on features of a frozen backbone")
            category = load_taxonomy(categories_from)
            more = More(
                texts,
                None if harvest is None else read(harvest, "nondisjoint", category.category),
                None if harvest is None else images_of(harvest),
                tuple(features_of or ()),
            )
            extractor = Extractor(spec_of(settings), settings.input_size, settings.trim)
            variants = {}
            for name in split.split(","):
                found = read(outfits, name, category.category)
                variants[name] = read_variant(found, images or images_of(outfits), extractor, cache, more, _say)
            plan = Plan(
                seeds=_numbers("--seeds", seeds), side_seeds=_numbers("--side-seeds", side_seeds), part=part,
                baselines=_chosen(baselines), retrieval=retrieval, jobs=jobs, commands=(_command(),),
            ).like(settings)  # fmt: skip
            changed = {**ABLATIONS, **more.ablations()} if ablations else more.ablations()
            evaluation = run_study(variants, category.categories, settings, plan, changed, say=_say)
        _write(out, evaluation)
        show(f"MEDAL on {part}", evaluation)


def _check_part(part: str) -> None:
    if part not in ("valid", "test"):
        raise SettingsError(f"--part {part}: must be valid or test")


def _chosen(text: str) -> tuple[str, ...]:
    from medal_model.baselines import BASELINES
    from medal_model.recipe import UNTRAINED

    if text in ("all", "quick", "none"):
        return {"all": tuple(BASELINES), "quick": UNTRAINED, "none": ()}[text]
    names = tuple(n.strip() for n in text.split(","))
    if unknown := [n for n in names if n not in BASELINES]:
        raise SettingsError(f"--baselines: {unknown[0]!r} is none of all, quick, none, {', '.join(BASELINES)}")
    return names


def _numbers(flag: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(n) for n in text.split(","))
    except ValueError:
        raise SettingsError(f"{flag} {text}: must be whole numbers with commas, such as 0,1,2") from None


def _command() -> str:
    import shlex

    return "medal " + shlex.join(sys.argv[1:])


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _write(out: Path, evaluation: Evaluation) -> None:
    from medal_model.report_table import to_html, to_json, to_markdown

    out.mkdir(parents=True, exist_ok=True)
    for name, text in (("md", to_markdown), ("html", to_html), ("json", to_json)):
        (out / f"evaluation.{name}").write_text(text(evaluation), encoding="utf-8")
    _say(f"evaluation.md, .html and .json written to {out}")
