"""`medal complements`."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def complements(
        run_id: Annotated[str, typer.Option("--run-id", help="A planned run, such as 2026-11-25-all-g1.")],
    ) -> None:
        """Find, for every product, what goes with it: candidates and finished lists."""
        from jobs.nightly import job_of
        from jobs.settings import load_settings
        from jobs.stage import run_stage

        run_stage("complements", job_of("complements"), load_settings(), run_id)
