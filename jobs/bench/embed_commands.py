"""`medal bench embed`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.errors import SettingsError


def add(bench: typer.Typer) -> None:
    """Add the command to the group `bench`."""

    @bench.command()
    def embed(
        photos: Annotated[int, typer.Option(min=1, help="Photos that are decoded.")] = 40,
        pixels: Annotated[int, typer.Option(min=16, help="Side of a photo.")] = 1000,
        size: Annotated[int, typer.Option(min=16, help="Side of the network's input.")] = 224,
        rounds: Annotated[int, typer.Option(min=1, help="Turns of each side; medians are reported.")] = 5,
        seed: Annotated[int, typer.Option(help="Of the drawn photos.")] = 7,
        images: Annotated[Path | None, typer.Option(help="Photos of this folder, scaled, instead of drawn ones.")] = (
            None
        ),
        out: Annotated[Path | None, typer.Option(help="File for the same JSON.")] = None,
    ) -> None:
        """Decoding, trimming, resizing and histogram on one core, against the pipeline that peers use."""
        from jobs.bench.embed_decode import Order, measure
        from jobs.stage import log

        if images is not None and not images.is_dir():
            raise SettingsError(f"--images {images}: no such folder")
        try:
            result = measure(Order(photos, pixels, size, rounds, seed, images), log)
        except ValueError as e:
            raise SettingsError(str(e)) from e
        line = json.dumps(result)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(line + "\n", encoding="utf-8")
        typer.echo(line)
