"""`medal bench training`; `lists` is in lists_commands.py, `embed` in embed_commands.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.bench import embed_commands, lists_commands
from jobs.errors import SettingsError
from jobs.train.shared import Images, Taxonomy, faults, images_of, say, whole_numbers, writable


def register(app: typer.Typer) -> None:
    """Add the group `bench` to the CLI."""
    bench = typer.Typer(name="bench", help="Figures of speed, as JSON on the last line.", no_args_is_help=True)
    app.add_typer(bench)

    @bench.callback()
    def group() -> None:
        """Figures of speed, as JSON on the last line."""

    lists_commands.add(bench)
    embed_commands.add(bench)

    @bench.command()
    def training(
        preset: Annotated[str, typer.Option(help="Preset of the whole network.")] = "lite0_cpu_ssl",
        frozen_preset: Annotated[str, typer.Option(help="Preset of heads on cached features.")] = "lite0_cpu_frozen",
        items: Annotated[int, typer.Option(help="Items of the drawn set the ratios are measured on.")] = 1000,
        sizes: Annotated[str, typer.Option(help="Items of the sets whose epochs are compared, with commas.")] = (
            "1000,2000,4000"
        ),
        rounds: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 5,
        steps: Annotated[int, typer.Option(min=1, help="Steps a turn.")] = 2,
        cost_steps: Annotated[int, typer.Option(min=1, help="Steps the whole network's epoch is told from.")] = 2,
        threads: Annotated[int | None, typer.Option(min=1, help="Threads of both sides; none: torch's own.")] = None,
        outfits: Annotated[Path | None, typer.Option(help="A real set for the ratios, instead of a drawn one.")] = None,
        images: Images = None,
        most: Annotated[int, typer.Option(min=2, help="Train outfits taken of a real set.")] = 250,
        categories_from: Taxonomy = None,
        out: Annotated[Path | None, typer.Option(help="File for the same JSON.")] = None,
    ) -> None:
        """The trainer's images/s over those of the bare networks, and the cost of an epoch by number of items."""
        with faults():
            from jobs.bench.training import LEAST, Effort, drawn_data, measure, read_data
            from medal_model.config import read_config
            from medal_model.settings_file import ConfigError
            from schemas.taxonomy import load_taxonomy

            writable("--out", out, "file")
            numbers = whole_numbers("--sizes", sizes, "1000,2000,4000", LEAST)
            whole, frozen = (read_config(None, {"preset": p}) for p in (preset, frozen_preset))
            if whole.frozen or not frozen.frozen:
                raise ConfigError(
                    f"--preset {preset} must train the backbone, --frozen-preset {frozen_preset} must not"
                )
            try:
                if outfits is None:
                    data = drawn_data(items, whole.input_size)
                else:
                    where = images or images_of(outfits)
                    taxonomy = load_taxonomy(categories_from)
                    data = read_data(outfits, where, whole.input_size, whole.trim, taxonomy, most)
                result = measure(whole, frozen, data, numbers, Effort(rounds, steps, cost_steps, threads), say)
            except ValueError as e:
                if type(e) is not ValueError:
                    raise
                raise SettingsError(str(e)) from e
            line = json.dumps(result)
            if out is not None:
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_text(line + "\n", encoding="utf-8")
        typer.echo(line)
