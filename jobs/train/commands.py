"""`medal train`; the commands that measure stand in `evaluate_commands`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.train import evaluate_commands, harvest_commands, slot_order_commands, text_commands
from jobs.train.processes import taking_part
from jobs.train.shared import (
    DEFAULT_CACHE,
    DEFAULT_WORK,
    Cache,
    OutfitsDir,
    Strict,
    Taxonomy,
    Variant,
    check_texts,
    faults,
    fill_cache,
    read,
    show,
    writable,
)


def register(app: typer.Typer) -> None:
    """Add this package's commands to the CLI."""
    evaluate_commands.register(app)
    text_commands.register(app)
    harvest_commands.register(app)
    slot_order_commands.register(app)

    @app.command()
    def train(
        outfits: OutfitsDir,
        images: Annotated[Path, typer.Option(help="Folder of <item_id>.jpg or of *.parquet, or a parquet file.")],
        out: Annotated[Path, typer.Option(help="Folder the teacher is written to.")],
        name: Annotated[str, typer.Option(help="Teacher's name; its version is this and a content hash.")],
        split: Variant = "nondisjoint",
        strict: Strict = False,
        config: Annotated[Path | None, typer.Option(help="YAML of settings; unknown keys are refused.")] = None,
        seed: Annotated[int | None, typer.Option(help="Overrides the configuration's seed.")] = None,
        preset: Annotated[str | None, typer.Option(help="Settings to start from; a file may also name one.")] = None,
        texts: Annotated[Path | None, typer.Option(help="Table of text vectors, from `medal text-table`.")] = None,
        work: Annotated[Path, typer.Option(help="Where each run keeps its checkpoint and log.")] = DEFAULT_WORK,
        cache: Cache = DEFAULT_CACHE,
        categories_from: Taxonomy = None,
    ) -> None:
        """Train a teacher on outfits, measure it on valid and test, and export it. Several processes by torchrun."""
        with taking_part() as processes, faults():
            from medal_model.config import read_config
            from medal_model.recipe import fit_teacher
            from schemas.taxonomy import load_taxonomy

            writable("--out", out, "folder")
            writable("--work", work, "folder")
            writable("--cache", cache, "folder")
            taxonomy = load_taxonomy(categories_from)
            asked = {"preset": preset, "seed": seed}
            settings = read_config(config, {k: v for k, v in asked.items() if v is not None})
            check_texts(texts, settings)
            found = read(outfits, split, taxonomy.category, strict=strict, quiet=not processes.first)
            # Features that differ in the last bit would give every process weights of its own.
            processes.after_the_first(lambda: fill_cache(found, images, settings, cache))
            processes.join(settings.device)
            fitted = fit_teacher(
                found, images, out, name=name, categories=taxonomy.categories, config=settings, cache=cache,
                work=work, texts=texts, quiet=not processes.first,
            )  # fmt: skip
            if fitted.header is None:
                return
        for part, evaluation in fitted.evaluations.items():
            show(f"{fitted.header.model_version} on {split} {part}", evaluation, strict=strict)
        typer.echo(
            f"{fitted.header.model_version} written to {out}: epoch {fitted.trained.best.number} of "
            f"{len(fitted.trained.history)}, {fitted.images_computed:,} images in {fitted.feature_seconds:.0f} s, "
            f"training {fitted.train_seconds:.0f} s"
        )
