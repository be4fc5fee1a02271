"""`medal evaluate` (one exported teacher) and `medal study` (the whole table, trained anew)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.errors import SettingsError
from jobs.train.shared import (
    DEFAULT_CACHE,
    STRICT_NOTE,
    Cache,
    Images,
    OutfitsDir,
    Strict,
    Taxonomy,
    Variant,
    check_texts,
    command_line,
    faults,
    images_of,
    read,
    say,
    show,
    variants,
    whole_numbers,
    writable,
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
        figure: Annotated[Path | None, typer.Option(help="PNG or JPEG of outfits and the ten best for them.")] = None,
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

            writable("--figure", figure, "picture")
            writable("--out", out, "folder")
            writable("--cache", cache, "folder")
            plan = Plan(
                part=part, baselines=_chosen(baselines), retrieval=retrieval, commands=(command_line(),),
                notes=(STRICT_NOTE,) if strict else (),
            )  # fmt: skip
            found = read(outfits, split, load_taxonomy(categories_from).category, suffix, strict=strict)
            where = images or images_of(outfits)
            report = report_on(teacher, found, where, cache, plan, figure=figure is not None)
            if report.figure is not None and figure is not None:
                figure.parent.mkdir(parents=True, exist_ok=True)
                report.figure.save(figure)
                say(f"figure written to {figure}")
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
            told = {"model_version": version, "split": split, "part": part, "strict": strict, "scores": scores}
            typer.echo(json.dumps(told))
        else:
            show(f"{version} on {split} {part}{suffix}", report.evaluation, strict=strict)

    @app.command()
    def study(
        outfits: OutfitsDir,
        out: Annotated[Path, typer.Option(help="Folder for evaluation.md, evaluation.html and evaluation.json.")],
        config: Annotated[Path | None, typer.Option(help="YAML of settings, as for `medal train`.")] = None,
        part: Part = "test",
        split: Annotated[str, typer.Option(help="Variants, with commas.")] = "nondisjoint,disjoint",
        strict: Strict = False,
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
            from medal_model.outfits import check_askable
            from medal_model.recipe import spec_of
            from medal_model.settings_file import ConfigError
            from medal_model.study import ABLATIONS, Plan, run_study
            from medal_model.study_inputs import More, read_variant
            from medal_model.training import pick_device
            from schemas.taxonomy import load_taxonomy

            writable("--out", out, "folder")
            writable("--cache", cache, "folder")
            names = variants(split)
            plan = Plan(
                seeds=whole_numbers("--seeds", seeds, "0,1,2"),
                side_seeds=whole_numbers("--side-seeds", side_seeds, "0,1,2"),
                part=part, baselines=_chosen(baselines), retrieval=retrieval, jobs=jobs, commands=(command_line(),),
                notes=(STRICT_NOTE,) if strict else (),
            )  # fmt: skip
            settings = read_config(config, {"preset": preset} if preset else None)
            if not settings.frozen:
                raise ConfigError(f"{config}: frozen: false; a study compares on features of a frozen backbone")
            check_texts(texts, settings)
            category = load_taxonomy(categories_from)
            more = More(
                texts,
                None if harvest is None else read(harvest, "nondisjoint", category.category),
                None if harvest is None else images_of(harvest),
                tuple(features_of or ()),
            )
            device = pick_device(settings.device)
            extractor = Extractor(spec_of(settings), settings.input_size, settings.trim, device)
            where, inputs = images or images_of(outfits), {}
            for name in names:
                found = read(outfits, name, category.category, strict=strict)
                check_askable(found, ("valid", part))
                inputs[name] = read_variant(found, where, extractor, cache, more, say)
            changed = {**ABLATIONS, **more.ablations()} if ablations else more.ablations()
            evaluation = run_study(inputs, category.categories, settings, plan.like(settings), changed, say=say)
            _write(out, evaluation)
        show(f"MEDAL on {part}", evaluation, strict=strict)


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


def _write(out: Path, evaluation: Evaluation) -> None:
    from medal_model.report_table import to_html, to_json, to_markdown

    out.mkdir(parents=True, exist_ok=True)
    for name, text in (("md", to_markdown), ("html", to_html), ("json", to_json)):
        (out / f"evaluation.{name}").write_text(text(evaluation), encoding="utf-8")
    say(f"evaluation.md, .html and .json written to {out}")
