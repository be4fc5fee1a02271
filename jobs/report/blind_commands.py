"""`medal blind sheets` and `medal blind tally`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    blind = typer.Typer(help="Judge lists beside random ones without knowing which is which.", no_args_is_help=True)
    app.add_typer(blind, name="blind")

    @blind.command()
    def sheets(
        run_id: Annotated[str, typer.Option("--run-id", help="A run with lists.")],
        out: Annotated[Path, typer.Option(help="Folder for sheets, answers.csv and key.json.")],
        lists: Annotated[int, typer.Option(min=1, help="Lists of the run; as many random ones are added.")] = 30,
        seed: Annotated[int, typer.Option(help="Which lists, which random products, which order.")] = 1,
    ) -> None:
        """Lay out lists and random products with their pictures, in shuffled order."""
        from jobs.complements.generations import read_live
        from jobs.plan import snapshot_rows
        from jobs.report.blind import draw_rows, write_sheets
        from jobs.settings import load_settings
        from jobs.stage import open_lake

        lake = open_lake(load_settings())
        manifest = lake.manifest(run_id)
        products = snapshot_rows(lake, manifest)
        of_model = [("model_version", "=", manifest.plan.inputs.model_version)]
        complements = read_live(lake, "complements", manifest.version("complements"), filters=of_model)
        images = dict(zip(products["item_id"].to_pylist(), products["image_uri"].to_pylist(), strict=True))
        for page in write_sheets(draw_rows(complements, products, lists, seed), images, out):
            typer.echo(page)
        typer.echo(f"fill {out}/answers.csv with yes or no, then: medal blind tally {out}")

    @blind.command()
    def tally(folder: Annotated[Path, typer.Argument(help="The folder of `medal blind sheets`.")]) -> None:
        """Open the key and count."""
        from jobs.report.blind import tally as count

        for kind, answers in count(folder).items():
            typer.echo(kind + ": " + ", ".join(f"{q} {yes}/{n}" for q, (yes, n) in answers.items()))
