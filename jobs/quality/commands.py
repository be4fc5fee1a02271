"""`medal check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jobs.quality.verdict import Verdict


def register(app: typer.Typer) -> None:
    @app.command()
    def check(
        run_id: Annotated[str, typer.Option("--run-id", help="A planned run, such as 2026-11-25-all-g1.")],
    ) -> None:
        """Run the gate over a run's catalogue, vectors and lists; exit 3 where it blocks."""
        from jobs.errors import GateBlocked
        from jobs.nightly import job_of
        from jobs.quality.job import load_verdict
        from jobs.settings import load_settings
        from jobs.stage import open_lake, run_stage

        settings = load_settings()
        try:
            run_stage("check", job_of("check"), settings, run_id)
        except GateBlocked:
            show(load_verdict(open_lake(settings), run_id))
            raise
        show(load_verdict(open_lake(settings), run_id))


def show(verdict: Verdict | None) -> None:
    """The checks that did not pass as a table, crashed ones first; one line where all passed."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if verdict is None:
        return
    console = Console()
    wrong = [*verdict.crashed, *verdict.failed, *verdict.warnings]
    if wrong:
        table = Table("outcome", "check", "found", "what it means")
        for r in wrong:
            colour, outcome = ("red", r.outcome) if r.blocks else ("yellow", "warning")
            found = f"{r.observed or 'no answer'} (expected {r.expected})"
            table.add_row(f"[{colour}]{outcome}[/{colour}]", *(escape(c) for c in (r.name, found, r.message)))
        table.columns[1].overflow = table.columns[2].overflow = "fold"
        console.print(table)
    state = "[red]blocked[/red]" if verdict.blocked else "[green]OK[/green]"
    console.print(f"{state}: {escape(verdict.line())}", soft_wrap=True)
