"""`medal backfill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def backfill(
        first: Annotated[str, typer.Option("--from", help="First date, YYYY-MM-DD.")],
        last: Annotated[str, typer.Option("--to", help="Last date, YYYY-MM-DD.")],
        reason: Annotated[str, typer.Option(help="Why; kept in every run's manifest.")],
        teacher: Annotated[Path, typer.Option(help="Folder of the exported teacher.")],
        catalog_pattern: Annotated[
            str | None, typer.Option(help="Path with {date}; without it, the snapshots that the lake holds.")
        ] = None,
        apply: Annotated[bool, typer.Option("--apply", help="Do it; without this nothing is written.")] = False,
        publish: Annotated[bool, typer.Option("--publish", help="Publish too, where no newer date is live.")] = False,
    ) -> None:
        """Run several dates again, oldest first. A dry run unless --apply; the lake only unless --publish."""
        from rich.console import Console
        from rich.table import Table

        from jobs.backfill.job import BackfillRequest, preview
        from jobs.backfill.job import apply as run_all
        from jobs.settings import load_settings

        settings = load_settings()
        request = BackfillRequest(first, last, reason, teacher, catalog_pattern, publish)
        table = Table("date", "run", "catalogue", "rows", "action", "why", title="Backfill")
        for d in preview(request, settings):
            table.add_row(d.run_date, d.run_id, d.catalog, f"{d.rows:,}", d.action, d.why)
        console = Console()
        console.print(table)
        where = "the lake and, where no newer date is live, the store" if publish else "the lake only"
        if not apply:
            console.print(f"Dry run: nothing was written. With --apply this writes {where}.")
            return
        for manifest in run_all(request, settings):
            note = manifest.stages["publish"].note
            console.print(f"{manifest.plan.run_id}: done" + (f" ({note})" if note else ""))
