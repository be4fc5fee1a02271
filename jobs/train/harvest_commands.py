"""`medal harvest`: outfits for training from photos of worn clothes, without a label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.errors import ConservationError, DataError, SettingsError
from jobs.train.shared import Taxonomy, command_line, faults, progress, say, writable

if TYPE_CHECKING:
    from medal_model.harvest.config import HarvestConfig
    from medal_model.harvest.counts import Tally
    from medal_model.harvest.detections import Detector
    from medal_model.harvest.run import Harvested


def register(app: typer.Typer) -> None:
    """Add the command to the CLI."""

    @app.command()
    def harvest(
        photos: Annotated[Path, typer.Option(help="Folder of photos of worn outfits.")],
        out: Annotated[Path, typer.Option(help="Folder for the outfits, in the layout of Polyvore Outfits.")],
        detections: Annotated[
            Path | None, typer.Option(help="CSV of recorded detections: photo, label, x, y, w, h.")
        ] = None,
        detector: Annotated[
            str | None,
            typer.Option(help="Object detector of transformers: folder or hub name; default: YOLOS on Fashionpedia."),
        ] = None,
        config: Annotated[Path | None, typer.Option(help="YAML of rules; unknown keys are refused.")] = None,
        sheet: Annotated[Path | None, typer.Option(help="PNG or JPEG of some sets, to be looked at.")] = None,
        sheet_sets: Annotated[int, typer.Option(min=1, help="Sets on the sheet.")] = 10,
        categories_from: Taxonomy = None,
    ) -> None:
        """Cut what is worn together out of photos into outfits for `medal train`; every dropped thing is counted."""
        if detections is not None and detector is not None:
            raise SettingsError("give --detections (recorded) or --detector (a model), not both")
        from medal_model.harvest.counts import LostError
        from medal_model.harvest.detections import DetectorError, HarvestError

        try:
            with faults():
                from medal_model.harvest.config import read_harvest_config
                from medal_model.harvest.run import harvest as run_harvest
                from medal_model.harvest.sheet import draw_sheet
                from schemas.taxonomy import load_taxonomy

                writable("--out", out, "folder")
                writable("--sheet", sheet, "picture")
                rules = read_harvest_config(config)
                _check_categories(rules, load_taxonomy(categories_from).categories, config)
                chosen = _open(detections, detector, rules)
                say(f"detector: {chosen.name}")
                done = run_harvest(photos, chosen, out, rules, command_line(), progress("photos"))
                for note in done.notes:
                    say(note)
                _show(done)
                if sheet is not None:
                    sheet.parent.mkdir(parents=True, exist_ok=True)
                    draw_sheet(done, sheet_sets, rules.seed).save(sheet)
                    say(f"sheet written to {sheet}")
        except DetectorError as e:
            raise SettingsError(str(e)) from e
        except HarvestError as e:
            raise DataError(str(e)) from e
        except LostError as e:
            raise ConservationError(str(e)) from e


def _open(detections: Path | None, detector: str | None, rules: HarvestConfig) -> Detector:
    if detections is not None:
        from medal_model.harvest.recorded import RecordedDetector

        return RecordedDetector(detections, rules.person_labels)
    from medal_model.harvest.object_detector import DEFAULT_DETECTOR, ObjectDetector

    return ObjectDetector(detector or DEFAULT_DETECTOR, rules.person_labels, rules.detector_floor)


def _check_categories(rules: HarvestConfig, known: tuple[str, ...], path: Path | None) -> None:
    """Masks are by category: an item of a category outside the taxonomy could never be trained on."""
    used = [(f"labels: {label}", c) for label, c in sorted(rules.labels.items()) if c is not None]
    for key, category in [*used, *(("worn_once", c) for c in rules.worn_once)]:
        if category not in known:
            where = path or "the built-in rules"
            raise SettingsError(f"{where}: {key}: category '{category}' is not in the taxonomy {list(known)}")


def _show(done: Harvested) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "rule", title="Harvest")
    table.add_column("count", justify="right")
    for what, tally in (("photos", done.counts.photos), ("detections", done.counts.detections)):
        for row in _rows(what, tally):
            table.add_row(*row)
        table.add_section()
    Console().print(table)
    sets = ", ".join(f"{split} {len(own):,}" for split, own in done.sets.items())
    asked = ", ".join(f"{split} {len(q.fill_in_blank):,}" for split, q in done.questions.items())
    typer.echo(
        f"{done.counts.photos.kept:,} outfits ({sets}) of {done.counts.detections.kept:,} items and "
        f"fill-in-the-blank questions ({asked}) written to {done.out}"
    )


def _rows(what: str, tally: Tally) -> Iterator[tuple[str, str, str]]:
    yield what, "in", f"{tally.taken:,}"
    for why, n in sorted(tally.dropped.items(), key=lambda x: (-x[1], x[0])):
        if n:
            yield "", why, f"−{n:,}"
    yield "", "kept", f"{tally.kept:,}"
