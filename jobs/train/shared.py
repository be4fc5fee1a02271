"""What the commands on outfits share: options, reading, and faults as one clear line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.errors import DataError, SettingsError

if TYPE_CHECKING:
    from medal_model.config import TrainConfig
    from medal_model.outfits import Outfits
    from medal_model.report_table import Evaluation

DEFAULT_CACHE = Path("var/cache/features")
DEFAULT_WORK = Path("var/training")

OutfitsDir = Annotated[Path, typer.Option("--outfits", help="Folder in the layout of the Polyvore Outfits download.")]
Variant = Annotated[str, typer.Option("--split", help="nondisjoint or disjoint.")]
Cache = Annotated[Path, typer.Option(help="Where backbone features are kept between runs.")]
Taxonomy = Annotated[
    Path | None, typer.Option("--categories-from", help="Taxonomy file; the product's own where left out.")
]
Images = Annotated[
    Path | None,
    typer.Option(help="Folder of <item_id>.jpg or of *.parquet, or a parquet file; OUTFITS/images, else its sibling."),
]
Strict = Annotated[
    bool,
    typer.Option("--strict-disjoint", help="Leave out what of valid and test shares an item with train."),
]


def images_of(outfits: Path) -> Path:
    """The images folder of an outfits folder."""
    inside = outfits / "images"
    return inside if inside.is_dir() else outfits.parent / "images"


def read(
    folder: Path, variant: str, category: Any, suffix: str = "", *, strict: bool = False, quiet: bool = False
) -> Outfits:
    """One variant, `strict` by `outfits.strict_disjoint`; what was dropped and left out goes to stderr unless `quiet`.

    Raises OutfitsError, also for a typespaces.p that is damaged or hostile.
    """
    from medal_model.outfits import read_outfits, strict_disjoint
    from medal_model.typespaces import typespaces

    outfits = read_outfits(folder, variant, category, suffix)
    if strict:
        outfits = strict_disjoint(outfits)
    pairs = typespaces(folder, variant)
    notes = [f"{n} items dropped: {why}" for why, n in outfits.dropped.items()]
    notes += [f"{n} left out of {why}" for why, n in outfits.left_out.items()]
    notes += [] if pairs is None else [f"typespaces.p: {len(pairs)} pairs; here every pair of categories has a mask"]
    for note in () if quiet else notes:
        typer.echo(note, err=True)
    return outfits


def fill_cache(outfits: Outfits, images: Path, config: TrainConfig, cache: Path) -> None:
    """Features of all items into the cache, by this process alone. Raises OutfitsError, BackboneError."""
    from medal_model.features import Extractor
    from medal_model.recipe import read_gallery, spec_of

    extractor = Extractor(spec_of(config), config.input_size, config.trim)
    read_gallery(outfits, images, extractor, cache, lambda line: None, False)


@contextmanager
def faults() -> Iterator[None]:
    """Faults of input data become one clear line; bad settings likewise."""
    from medal_model.backbones import BackboneError
    from medal_model.export import TeacherError
    from medal_model.image_source import ImageSourceError
    from medal_model.images import ImageError
    from medal_model.outfits import OutfitsError
    from medal_model.settings_file import ConfigError
    from medal_model.text import EncoderError, TextError
    from schemas.taxonomy import TaxonomyError

    try:
        yield
    except (ConfigError, BackboneError, EncoderError) as e:
        raise SettingsError(str(e)) from e
    except FloatingPointError as e:  # the message names the settings to change
        raise SettingsError(str(e)) from e
    except (OutfitsError, ImageSourceError, TeacherError, TaxonomyError, TextError, ImageError) as e:
        raise DataError(str(e)) from e


def show(title: str, evaluation: Evaluation) -> None:
    """Print an evaluation: FITB and AUC with intervals, a table of each kind of pool, and in words what MEDAL is not
    above. Each table fits 100 columns."""
    from rich.console import Console
    from rich.table import Table

    from medal_model.report_table import column_title, verdict

    console = Console(width=max(100, Console().width))
    keys = [k for k in evaluation.keys if not k.endswith("_macro")]
    fits = [k for k in keys if k.endswith(("_fitb", "_auc"))]
    groups = {title: fits}
    for pool in evaluation.pools:
        groups[f"{pool.replace('_', ', pools by ')}, over queries"] = [k for k in keys if k.startswith(f"{pool}_r")]
    for name, own in groups.items():
        heads = [column_title(k) if own is fits else f"R@{k.split('_')[2][1:]}" for k in own]
        out = Table("scorer", *heads, title=name)
        for line in evaluation.lines:
            cells = (line.figures.get(k) for k in own)
            out.add_row(line.name, *("" if c is None else str(c) if own is fits else f"{c.value:.3f}" for c in cells))
        console.print(out)
    for sentence in verdict(evaluation):
        typer.echo(sentence)
