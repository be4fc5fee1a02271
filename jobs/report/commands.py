"""`medal report`."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def report(
        run_id: Annotated[str, typer.Option("--run-id", help="A planned run, such as 2026-11-25-all-g1.")],
        force: Annotated[bool, typer.Option("--force", help="Write it again although it is there.")] = False,
    ) -> None:
        """Write a run's report; prints where it is. A blocked or unfinished run gets one of what there is."""
        from jobs.nightly import job_of
        from jobs.report.job import write_report
        from jobs.settings import load_settings
        from jobs.stage import open_lake, run_stage

        settings = load_settings()
        lake = open_lake(settings)
        manifest = lake.manifest(run_id)
        # Only a published run's report is the stage's last word; an earlier one must be written again later.
        if force or not manifest.done("publish"):
            typer.echo(write_report(settings, lake, manifest))
            return
        run_stage("report", job_of("report"), settings, run_id)
        typer.echo(f"{lake.run_uri(run_id)}/report.html")
