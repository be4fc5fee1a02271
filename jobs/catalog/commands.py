"""`medal catalog check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    catalog = typer.Typer(no_args_is_help=True, help="Catalogue files (docs/catalog.md).")
    app.add_typer(catalog, name="catalog")

    @catalog.callback()
    def group() -> None:
        """Catalogue files (docs/catalog.md)."""

    @catalog.command("check")
    def check_(
        file: Annotated[Path, typer.Argument(help="The catalogue, in any format that a plan takes.")],
        json_: Annotated[bool, typer.Option("--json", help="All of it as JSON, every rejected row too.")] = False,
        most: Annotated[int, typer.Option(min=1, help="How many reasons and names to show.")] = 10,
    ) -> None:
        """Show what a plan would take, reject and not understand. Exit 4 where it would stop; writes nothing."""
        import json

        from jobs.catalog.check import check_catalog
        from jobs.commands import today
        from jobs.errors import DataError
        from jobs.settings import load_settings

        settings = load_settings()
        report = check_catalog(file, settings, today(settings.time_zone), most)
        if json_:
            typer.echo(json.dumps(report.as_json(), ensure_ascii=False))
        else:
            for line in report.lines():
                typer.echo(line)
        if not report.accepted:
            told = report.snapshot.commonest_rejections(1) or "there is no row"
            raise DataError(f"{file}: a plan would stop ({told}); mend the catalogue or the taxonomy's aliases")
