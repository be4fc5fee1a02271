"""What the commands on outfits share: options, reading, outputs, and faults as one clear line."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jobs.errors import DataError, SettingsError
from medal_model.outfits import VARIANTS

if TYPE_CHECKING:
    from medal_model.config import TrainConfig
    from medal_model.outfits import Outfits
    from medal_model.report_table import Evaluation

DEFAULT_CACHE = Path("var/cache/features")
DEFAULT_WORK = Path("var/training")
STRICT_NOTE = "Of valid and test, what shares an item with train is left out (--strict-disjoint)."

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


def writable(option: str, path: Path | None, kind: Literal["folder", "file", "picture"]) -> None:
    """Refuse an output that could not be written, before anything is computed for it; None passes.

    Raises SettingsError naming the option: something of another kind stands there or above it, the folder is
    read-only, a picture is neither .png nor .jpg.
    """
    if path is None:
        return
    if kind == "picture" and path.suffix.lower() not in (".png", ".jpg"):
        raise SettingsError(f"{option} {path}: must end in .png or .jpg")
    if kind != "folder" and path.is_dir():
        raise SettingsError(f"{option} {path}: is a folder; name a file")
    places = (path.absolute(), *path.absolute().parents)
    there = next(p for p in (places if kind == "folder" else places[1:]) if p.exists())
    if not there.is_dir():
        raise SettingsError(f"{option} {path}: {there} is a file; name another path")
    if not os.access(there, os.W_OK):
        raise SettingsError(f"{option} {path}: {there} cannot be written to; name another path")


def whole_numbers(option: str, text: str, example: str, least: int = 0) -> tuple[int, ...]:
    """Numbers of an option, with commas. Raises SettingsError: no whole number, one below `least`, one twice."""
    try:
        found = tuple(int(n) for n in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < least or len(set(found)) < len(found):
        raise SettingsError(
            f"{option} {text}: must be whole numbers from {least} on, none twice, with commas, such as {example}"
        )
    return found


def variants(text: str) -> tuple[str, ...]:
    """Variants of `--split`, with commas. Raises SettingsError for an unknown one, or one named twice."""
    names = tuple(n.strip() for n in text.split(","))
    if not set(names) <= set(VARIANTS) or len(set(names)) < len(names):
        raise SettingsError(f"--split {text}: must be of {', '.join(VARIANTS)}, none twice")
    return names


def check_texts(texts: Path | None, config: TrainConfig) -> None:
    """Raises ConfigError for a text table that training would not look at."""
    from medal_model.settings_file import ConfigError

    if texts is not None and config.text_weight == 0:
        raise ConfigError(f"--texts {texts}: text_weight is 0; set it or leave --texts out")


def command_line() -> str:
    """The command as it was typed, for reports."""
    return "medal " + shlex.join(sys.argv[1:])


def say(line: str) -> None:
    """A line beside the result, on stderr."""
    typer.echo(line, err=True)


def progress(what: str) -> Callable[[int, int], None]:
    """Shows how many are done, of how many: on a terminal as they come, elsewhere once at the end."""

    def said(done: int, total: int) -> None:
        if sys.stderr.isatty() or done == total:
            sys.stderr.write(f"\r{what} {done:,}/{total:,}" + ("\n" if done == total else ""))
            sys.stderr.flush()

    return said


def images_of(outfits: Path) -> Path:
    """The images folder of an outfits folder."""
    inside = outfits / "images"
    return inside if inside.is_dir() else outfits.parent / "images"


def read(
    folder: Path, variant: str, category: Any, suffix: str = "", *, strict: bool = False, quiet: bool = False
) -> Outfits:
    """One variant, `strict` by `outfits.strict_disjoint`; what was dropped and left out goes to stderr unless `quiet`.

    Raises SettingsError for an unknown variant, OutfitsError, also for a typespaces.p that is damaged or hostile.
    """
    if variant not in VARIANTS:
        raise SettingsError(f"--split {variant}: must be {' or '.join(VARIANTS)}")
    from medal_model.outfits import read_outfits, strict_disjoint
    from medal_model.typespaces import typespaces

    outfits = read_outfits(folder, variant, category, suffix)
    if strict:
        outfits = strict_disjoint(outfits)
    pairs = typespaces(folder, variant, outfits.semantic)
    notes = [f"{n} items dropped: {why}" for why, n in outfits.dropped.items()]
    notes += [f"{n} left out of {why}" for why, n in outfits.left_out.items()]
    notes += [] if pairs is None else [f"typespaces.p: {len(pairs)} pairs; here every pair of categories has a mask"]
    for note in () if quiet else notes:
        say(note)
    return outfits


def fill_cache(outfits: Outfits, images: Path, config: TrainConfig, cache: Path) -> None:
    """Features of all items into the cache, by this process alone. Raises OutfitsError, BackboneError."""
    from medal_model.features import Extractor
    from medal_model.recipe import read_gallery, spec_of
    from medal_model.training import pick_device

    extractor = Extractor(spec_of(config), config.input_size, config.trim, pick_device(config.device))
    read_gallery(outfits, images, extractor, cache, lambda line: None, False)


@contextmanager
def faults() -> Iterator[None]:
    """Faults of input data become one clear line; bad settings and paths likewise."""
    from medal_model.backbones import BackboneError
    from medal_model.checkpoints import CheckpointError
    from medal_model.export import TeacherError
    from medal_model.image_errors import ImageError
    from medal_model.image_source import ImageSourceError
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
    except (
        OutfitsError, ImageSourceError, ImageError, TextError, TeacherError, CheckpointError, TaxonomyError
    ) as e:  # fmt: skip
        raise DataError(str(e)) from e
    except OSError as e:
        if e.filename is None:
            raise
        raise SettingsError(f"{e.filename}: {e.strerror}; name another path") from e


def show(title: str, evaluation: Evaluation, *, strict: bool = False) -> None:
    """Print an evaluation: FITB and AUC with intervals, a table of each kind of pool, and in words what MEDAL is not
    above. Each table fits 100 columns."""
    from rich.console import Console
    from rich.table import Table

    from medal_model.report_table import column_title, verdict

    console = Console(width=max(100, Console().width))
    keys = [k for k in evaluation.keys if not k.endswith("_macro")]
    fits = [k for k in keys if k.endswith(("_fitb", "_auc"))]
    first = f"{title}, strictly disjoint" if strict else title
    groups = {first: fits}
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
