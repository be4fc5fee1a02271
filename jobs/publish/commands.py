"""`medal publish`, `store init`, `releases`, `rollback`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

RunIdOption = Annotated[str, typer.Option("--run-id", help="A planned run, such as 2026-11-25-all-g1.")]
To = Annotated[int, typer.Option("--to", help="Number of the release to announce; see `medal releases`.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be announced; move nothing.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


def register(app: typer.Typer) -> None:
    store = typer.Typer(help="The store that the product pages read.", no_args_is_help=True)
    app.add_typer(store, name="store")

    @app.command()
    def publish(run_id: RunIdOption) -> None:
        """Write a checked run's release to the store and announce it."""
        from jobs.nightly import job_of, target_of
        from jobs.settings import load_settings
        from jobs.stage import run_stage

        settings = load_settings()
        result = run_stage("publish", job_of("publish"), settings, run_id, target=target_of("publish", settings))
        typer.echo(result.note or result.status)

    @store.command("init")
    def store_init() -> None:
        """Create the store's file or tables; does nothing where they are there."""
        from jobs.publish.stores import open_store
        from jobs.settings import load_settings

        opened = open_store(load_settings())
        created = opened.init()
        typer.echo(f"{opened.where}: " + (f"created {', '.join(created)}" if created else "all there already"))

    @app.command()
    def releases(as_json: Json = False) -> None:
        """All releases of the store, and which one readers see."""
        from jobs.publish.stores import open_store
        from jobs.settings import load_settings

        opened = open_store(load_settings())
        pointer, rows = opened.pointer(), opened.releases()
        if as_json:
            found = [{**asdict(r), "announced": pointer is not None and r.number == pointer.release} for r in rows]
            document = {"pointer": asdict(pointer) if pointer else None, "releases": found}
            typer.echo(json.dumps(document, indent=2))
            return
        from rich.box import SIMPLE
        from rich.console import Console
        from rich.table import Table

        table = Table(title=opened.where, title_justify="left", box=SIMPLE)  # fits 80 columns
        for name in ("no", "run", "date", "state", "lists", "products", "live"):
            table.add_column(name, no_wrap=True, justify="right" if name in ("lists", "products") else "left")
        for r in rows:
            seen = "← live" if pointer and r.number == pointer.release else ""
            figures = (f"{r.lists:,}", f"{r.items:,}") if r.state != "writing" else ("", "")
            table.add_row(str(r.number), r.run_id, r.run_date, r.state, *figures, seen)
        Console().print(table if rows else f"{opened.where}: no releases yet; `medal publish` makes the first")

    @app.command()
    def rollback(to: To, dry_run: DryRun = False) -> None:
        """Announce an earlier release. Titles, prices and stock stay those of today."""
        from jobs.publish.rollback import roll_back
        from jobs.settings import load_settings

        for line in roll_back(load_settings(), to, dry_run=dry_run):
            typer.echo(line)
