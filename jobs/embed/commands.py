"""`medal quarantine list`, `show` and `retry`."""

from __future__ import annotations

from typing import Annotated

import typer

Model = Annotated[str | None, typer.Option("--model", help="Model version; default: all.")]
Class = Annotated[str | None, typer.Option(help="Only this class of error, such as timeout.")]


def register(app: typer.Typer) -> None:
    quarantine = typer.Typer(no_args_is_help=True, help="Photos that could not be embedded (docs/operations.md).")
    app.add_typer(quarantine, name="quarantine")

    @quarantine.command("list")
    def list_(
        error_class: Class = None,
        model: Model = None,
        limit: Annotated[int, typer.Option(min=1, help="Rows shown.")] = 20,
        as_json: Annotated[bool, typer.Option("--json", help="All rows, as JSON lines.")] = False,
    ) -> None:
        """What is in quarantine, by class, and its rows: those that are tried soonest first."""
        import json

        from rich.console import Console
        from rich.table import Table

        from jobs.embed import quarantine as q
        from jobs.settings import load_settings
        from jobs.stage import open_lake

        found = q.entries(open_lake(load_settings()), model)
        for name, all_ in found.items():
            rows = [f for f in all_ if error_class in (None, f.error_class)]
            rows.sort(key=lambda f: (f.retry_from, f.item_id))
            if as_json:
                for f in rows:
                    typer.echo(json.dumps({**f.__dict__, "model_version": name}, ensure_ascii=False))
                continue
            console = Console()
            classes = Table("class", "images", "", "next try", title=f"Quarantine of {name}: {len(rows):,} images")
            for kind, n, fate, soonest in q.summary(rows):
                classes.add_row(kind, f"{n:,}", fate, _date(soonest))
            console.print(classes)
            table = Table("item", "class", "tries", "next try", "message")
            for f in rows[:limit]:
                table.add_row(f.item_id, f.error_class, str(f.attempts), _date(f.retry_from), f.message)
            console.print(table)
            if len(rows) > limit:
                console.print(f"{len(rows) - limit:,} more; --limit {len(rows)} or --json shows them")
        if not found and not as_json:
            typer.echo("nothing is in quarantine")

    @quarantine.command("show")
    def show_(item_id: str) -> None:
        """All that is known of one item's failure."""
        from jobs.embed import quarantine as q
        from jobs.settings import load_settings
        from jobs.stage import open_lake

        for name, f in q.show(open_lake(load_settings()), item_id):
            fate = (
                "waits: the fault may pass" if f.state() == "waiting" else "quarantined: the image itself is at fault"
            )
            typer.echo(f"{f.item_id} under {name}")
            typer.echo(f"  class     {f.error_class} ({fate})")
            typer.echo(f"  message   {f.message}")
            typer.echo(f"  tries     {f.attempts}, the last by {f.run_id}")
            typer.echo(f"  next try  {_date(f.retry_from)}, or on the night on which the image changes")
            typer.echo(f"  image     {f.source_fingerprint or 'not there'} at its source")

    @quarantine.command("retry")
    def retry_(
        item_ids: Annotated[list[str] | None, typer.Argument(help="Items; none: all of --error-class.")] = None,
        error_class: Class = None,
        model: Model = None,
    ) -> None:
        """Let images be tried again on the next night, however long they would have to wait."""
        from jobs.embed import quarantine as q
        from jobs.settings import load_settings
        from jobs.stage import open_lake

        settings = load_settings()
        changed = q.retry(open_lake(settings), settings.lease.ttl_s, item_ids or (), error_class, model)
        typer.echo(
            f"{changed:,} images are tried again by the next night that is planned "
            "(for a date that has been run already: `medal nightly … --recompute`)"
        )


def _date(retry_from: str) -> str:
    from jobs.embed.quarantine import AT_ONCE

    return "next night" if retry_from == AT_ONCE else retry_from
