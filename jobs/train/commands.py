"""`medal train` and `medal evaluate`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.errors import DataError, SettingsError

if TYPE_CHECKING:
    from medal_model.evaluation import Score
    from medal_model.outfits import Outfits

DEFAULT_CACHE = Path("var/cache/features")

OutfitsDir = Annotated[Path, typer.Option("--outfits", help="Folder in the layout of the Polyvore Outfits download.")]
Variant = Annotated[str, typer.Option("--split", help="nondisjoint or disjoint.")]
Cache = Annotated[Path, typer.Option(help="Where backbone features are kept between runs.")]
Taxonomy = Annotated[
    Path | None, typer.Option("--categories-from", help="Taxonomy file; the product's own where left out.")
]


def register(app: typer.Typer) -> None:
    """Add this package's commands to the CLI."""

    @app.command()
    def train(
        outfits: OutfitsDir,
        images: Annotated[Path, typer.Option(help="Folder of <item_id>.jpg.")],
        out: Annotated[Path, typer.Option(help="Folder the teacher is written to.")],
        name: Annotated[str, typer.Option(help="Teacher's name; its version is this and a content hash.")],
        split: Variant = "nondisjoint",
        config: Annotated[Path | None, typer.Option(help="YAML of settings; unknown keys are refused.")] = None,
        seed: Annotated[int | None, typer.Option(help="Overrides the configuration's seed.")] = None,
        cache: Cache = DEFAULT_CACHE,
        categories_from: Taxonomy = None,
    ) -> None:
        """Train a teacher on outfits, measure it on valid and test, and export it."""
        with _faults():
            from medal_model.config import read_config
            from medal_model.recipe import fit_teacher
            from schemas.taxonomy import load_taxonomy

            taxonomy = load_taxonomy(categories_from)
            settings = read_config(config, None if seed is None else {"seed": seed})
            read = _read(outfits, split, taxonomy.category)
            fitted = fit_teacher(
                read, images, out, name=name, categories=taxonomy.categories, config=settings, cache=cache
            )
        for part, scores in fitted.scores.items():
            _table(f"{fitted.header.model_version} on {split} {part}", scores)
        typer.echo(
            f"{fitted.header.model_version} written to {out}: epoch {fitted.trained.best.number} of "
            f"{len(fitted.trained.history)}, {fitted.images_computed:,} images in {fitted.feature_seconds:.0f} s, "
            f"training {fitted.train_seconds:.0f} s"
        )

    @app.command()
    def evaluate(
        teacher: Annotated[Path, typer.Option(help="Folder of the exported teacher.")],
        outfits: OutfitsDir,
        split: Variant = "nondisjoint",
        part: Annotated[str, typer.Option(help="valid or test.")] = "test",
        images: Annotated[
            Path | None, typer.Option(help="Folder of <item_id>.jpg; OUTFITS/images, else its sibling.")
        ] = None,
        suffix: Annotated[str, typer.Option(help="Other question files of the same part, such as _uniform.")] = "",
        cache: Cache = DEFAULT_CACHE,
        categories_from: Taxonomy = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of the table.")] = False,
    ) -> None:
        """Measure a teacher on outfits, beside the frozen backbone, the colour histogram and chance."""
        if part not in ("valid", "test"):
            raise SettingsError(f"--part {part}: must be valid or test")
        with _faults():
            from medal_model.recipe import compare
            from schemas.taxonomy import load_taxonomy

            taxonomy = load_taxonomy(categories_from)
            read = _read(outfits, split, taxonomy.category, suffix)
            header, scores = compare(teacher, read, images or _images(outfits), part, cache)
        if as_json:
            import json
            from dataclasses import asdict

            figures = {who: asdict(score) for who, score in scores.items()}
            typer.echo(
                json.dumps({"model_version": header.model_version, "split": split, "part": part, "scores": figures})
            )
        else:
            _table(f"{header.model_version} on {split} {part}{suffix}", scores)


def _images(outfits: Path) -> Path:
    inside = outfits / "images"
    return inside if inside.is_dir() else outfits.parent / "images"


def _read(folder: Path, variant: str, category: Any, suffix: str = "") -> Outfits:
    from medal_model.outfits import read_outfits

    outfits = read_outfits(folder, variant, category, suffix)
    notes = [f"{n} items dropped: {why}" for why, n in outfits.dropped.items()]
    notes += [f"{n} left out of {why}" for why, n in outfits.left_out.items()]
    for note in notes:
        typer.echo(note, err=True)
    return outfits


@contextmanager
def _faults() -> Iterator[None]:
    """Faults of input data become one clear line; bad settings likewise."""
    from medal_model.backbones import BackboneError
    from medal_model.config import ConfigError
    from medal_model.export import TeacherError
    from medal_model.images import ImageError
    from medal_model.outfits import OutfitsError
    from schemas.taxonomy import TaxonomyError

    try:
        yield
    except (ConfigError, BackboneError) as e:
        raise SettingsError(str(e)) from e
    except (OutfitsError, TeacherError, TaxonomyError, ImageError) as e:
        raise DataError(str(e)) from e


def _table(title: str, scores: dict[str, Score] | Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("scorer", "FITB", "AUC", "questions", "outfits", title=title)
    for who, s in scores.items():
        table.add_row(who, f"{s.fitb:.3f}", f"{s.auc:.3f}", f"{s.questions:,}", f"{s.judged:,}")
    Console().print(table)
