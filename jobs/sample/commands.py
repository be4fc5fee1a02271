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

Vectors = Annotated[Path, typer.Option(help="Catalogue to write (.csv); its few photos go into photos/ beside it.")]
Many = Annotated[int, typer.Option(min=100, help="Products of the first night.")]
Teacher = Annotated[Path, typer.Option(help="Exported teacher whose model version and ρ the vectors have.")]
Nights = Annotated[int, typer.Option("--night", min=0, help="This many nights later; the shares are each night's.")]


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

    @app.command()
    def sample_vectors(
        items: Many,
        out: Vectors,
        seed: Seed = 7,
        teacher: Teacher = Path("jobs/sample/teacher"),
        night: Nights = 0,
        new: Annotated[float, typer.Option(min=0, max=1, help="New products a night, of --items.")] = 0.01,
        gone: Annotated[float, typer.Option(min=0, max=1, help="Products that leave a night.")] = 0.005,
        back: Annotated[float, typer.Option(min=0, max=1, help="Of those that left, how many return a night.")] = 0.1,
        repriced: Annotated[float, typer.Option(min=0, max=1, help="Products with another price.")] = 0.05,
        sold_out: Annotated[float, typer.Option(min=0, max=1, help="Products that sell out.")] = 0.01,
        restocked: Annotated[float, typer.Option(min=0, max=1, help="Of those sold out, how many return.")] = 0.19,
        reshot: Annotated[float, typer.Option(min=0, max=1, help="Products with a new photo, so vector.")] = 0.002,
    ) -> None:
        """Vectors for load: clustered, with categories, departments and variants, straight into the lake.

        No network runs and memory does not grow with --items. Plan the catalogue as any other; embed finds nothing
        to do. --night 1 is the next night of the same shop: its new vectors, and its catalogue.
        """
        from jobs.lease import held
        from jobs.sample.vector_lake import teacher_of, write_vectors
        from jobs.sample.vectors import Night, VectorShop
        from jobs.settings import load_settings
        from jobs.stage import log, open_lake

        settings = load_settings()
        header, rho = teacher_of(teacher)
        each = Night(new, gone, back, repriced, sold_out, restocked, reshot)
        shop = VectorShop(items, seed, rho, (each,) * night)
        lake = open_lake(settings)
        with held(lake, "medal sample-vectors", settings.lease.ttl_s) as lease:
            got = write_vectors(shop, header, lake, lease, out, log)
        typer.echo(
            f"{got.products:,} products in {got.catalog}, {got.vectors:,} vectors of {got.model_version} in "
            f"{lake.root}, {got.written:,} of them new; next:"
        )
        typer.echo(f"medal plan --catalog {out} --teacher {teacher} --run-date {got.run_date}")


def _progress(done: int, total: int) -> None:
    if done % 60 == 0 or done == total:
        typer.echo(f"drawing {done}/{total}", err=True)
