"""`medal sample`: draw the sample catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option(help="Folder for the sample; made, or left as it is where it already holds it.")]
Items = Annotated[int, typer.Option(help="Products to draw, at least 20.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same files, byte for byte.")]
Force = Annotated[bool, typer.Option("--force", help="Draw again although the sample is already there.")]
NextNight = Annotated[
    Path | None, typer.Option(help="Also write the next day's catalogue here: new, gone, repriced, sold out.")
]


def register(app: typer.Typer) -> None:
    """Add this package's command to the CLI."""

    @app.command()
    def sample(
        out: Out = Path("var/sample"),
        items: Items = 660,
        seed: Seed = 7,
        force: Force = False,
        next_night: NextNight = None,
    ) -> None:
        """Draw a sample shop: catalogue, pictures and outfits. Nothing is downloaded."""
        from jobs.sample.draw import draw_sample

        summary = draw_sample(out, items, seed, force=force, progress=_progress)
        if summary.drawn:
            outfits = sum(summary.outfits.values())
            typer.echo(
                f"drew {summary.items} products, {summary.images} pictures and {outfits} outfits into {out} "
                f"(fingerprint {summary.fingerprint})"
            )
        else:
            typer.echo(f"{out} already holds this sample (fingerprint {summary.fingerprint}); nothing done")
        if next_night:
            from jobs.sample.nights import second_night

            night = second_night(out, next_night)
            typer.echo(
                f"next night in {next_night}: {len(night.new)} new, {len(night.departed)} gone, "
                f"{len(night.repriced)} repriced, {len(night.restocked)} stock changes, {len(night.reshot)} new photos"
            )


def _progress(done: int, total: int) -> None:
    if done % 60 == 0 or done == total:
        typer.echo(f"drawing {done}/{total}", err=True)
