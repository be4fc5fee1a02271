"""`medal plan`, `embed`, `nightly`, `runs`, `summary`: the commands that belong to no single stage package."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jobs.plan import PlanRequest
    from jobs.runs import Manifest
    from jobs.settings import Settings

Catalog = Annotated[Path, typer.Option(help="The catalogue (docs/catalog.md); image paths are relative to it.")]
Teacher = Annotated[Path, typer.Option(help="Folder of the exported teacher.")]
RunDate = Annotated[str | None, typer.Option(help="YYYY-MM-DD; default: today in the shop's time zone.")]
Categories = Annotated[str | None, typer.Option(help="Only lists of these source categories, with commas.")]
Recompute = Annotated[bool, typer.Option("--recompute", help="A new generation although nothing changed.")]
NoPublish = Annotated[bool, typer.Option("--no-publish", help="The lake only.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]
Accept = Annotated[
    str | None,
    typer.Option(help="Changes since the last date that are meant: departed, sold_out, prices, images, or all."),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda; cuda fails where there is none.")]
RunIdOption = Annotated[str, typer.Option("--run-id", help="A planned run, such as 2026-11-25-all-g1.")]


def register(app: typer.Typer) -> None:
    @app.command()
    def plan(
        catalog: Catalog,
        teacher: Teacher,
        run_date: RunDate = None,
        categories: Categories = None,
        recompute: Recompute = False,
        no_publish: NoPublish = False,
        dry_run: DryRun = False,
        accept: Accept = None,
        explain: Annotated[
            bool, typer.Option("--explain", help="Say what the lists will cost and why; write nothing.")
        ] = False,
    ) -> None:
        """Check the catalogue, write its snapshot, decide what tonight is. Last line of stdout: run_id=…"""
        from jobs.plan import plan_run
        from jobs.settings import load_settings

        settings = load_settings()
        request = _request(catalog, teacher, run_date, categories, recompute, no_publish, settings, accept)
        dry_run = dry_run or explain
        decision = plan_run(request, settings, dry_run=dry_run)
        counts = decision.plan.counts
        typer.echo(f"{counts['rows']} rows, {counts['rejected']} rejected, {counts['eligible']} eligible")
        typer.echo(f"{'would plan' if dry_run else 'planned'} {decision.plan.run_id}: {decision.why}")
        if explain:
            from jobs.explain import explain as lines_of
            from jobs.plan import resolve
            from jobs.stage import open_lake

            lake = open_lake(settings)
            for line in lines_of(resolve(request, settings, lake), decision, settings, lake):
                typer.echo(line)
        typer.echo(f"run_id={decision.plan.run_id}")

    @app.command()
    def embed(
        run_id: RunIdOption,
        device: Device = None,
        shard: Annotated[
            str | None,
            typer.Option(help="Only part i of n, such as 1/4; at once with others. Without it then, to end the stage."),
        ] = None,
    ) -> None:
        """Embed the images that have no vector yet."""
        from jobs.nightly import job_of
        from jobs.settings import load_settings
        from jobs.stage import run_stage

        settings = _with_device(load_settings(), device)
        if shard is not None:
            from jobs.embed.shards import run_shard

            typer.echo(run_shard(settings, run_id, shard))
            return
        run_stage("embed", job_of("embed"), settings, run_id)

    @app.command()
    def nightly(
        catalog: Catalog,
        teacher: Teacher,
        run_date: RunDate = None,
        categories: Categories = None,
        recompute: Recompute = False,
        no_publish: NoPublish = False,
        dry_run: DryRun = False,
        accept: Accept = None,
        device: Device = None,
    ) -> None:
        """The whole night in one process: plan, embed, complements, check, publish, report."""
        from jobs.nightly import run_night
        from jobs.plan import plan_run
        from jobs.settings import load_settings

        settings = _with_device(load_settings(), device)
        request = _request(catalog, teacher, run_date, categories, recompute, no_publish, settings, accept)
        if dry_run:
            decision = plan_run(request, settings, dry_run=True)
            typer.echo(f"would plan {decision.plan.run_id}: {decision.why}; nothing was written")
            return
        _show(run_night(request, settings), settings)

    @app.command()
    def summary(run_id: RunIdOption) -> None:
        """What a run did, and where its report and page are."""
        from jobs.settings import load_settings
        from jobs.stage import open_lake

        settings = load_settings()
        _show(open_lake(settings).manifest(run_id), settings)

    @app.command()
    def runs() -> None:
        """All planned runs, newest last, and how far they got."""
        from rich.console import Console
        from rich.table import Table

        from jobs.runs import STAGES
        from jobs.settings import load_settings
        from jobs.stage import open_lake

        lake = open_lake(load_settings())
        table = Table("run", "model", "rows", "stages", "reason")
        for run in lake.runs():
            m = lake.manifest(str(run))
            done = " ".join(s if s in m.stages else "–" for s in STAGES)
            table.add_row(str(run), m.plan.inputs.model_version, f"{m.plan.counts['rows']:,}", done, m.plan.reason)
        Console().print(table)


def _request(
    catalog: Path,
    teacher: Path,
    run_date: str | None,
    categories: str | None,
    recompute: bool,
    no_publish: bool,
    settings: Settings,
    accept: str | None,
) -> PlanRequest:
    from jobs.plan import PlanRequest
    from jobs.preflight import accepted

    return PlanRequest(
        run_date or today(settings.time_zone),
        catalog,
        teacher,
        tuple(sorted({c.strip() for c in categories.split(",") if c.strip()})) if categories is not None else None,
        recompute,
        publish=not no_publish,
        accept=accepted(accept),
    )


def today(time_zone: str) -> str:
    """Today's date in the shop's time zone. Raises SettingsError for an unknown zone."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from jobs.errors import SettingsError

    try:
        return datetime.now(ZoneInfo(time_zone)).date().isoformat()
    except (ZoneInfoNotFoundError, ValueError) as e:
        raise SettingsError(f"time_zone: '{time_zone}' is unknown; write it like Europe/Berlin") from e


def _with_device(settings: Settings, device: str | None) -> Settings:
    if device is None:
        return settings
    from jobs.embed.device import check_device

    check_device(device)
    return settings.model_copy(update={"embed": settings.embed.model_copy(update={"device": device})})


def _show(manifest: Manifest, settings: Settings) -> None:
    from rich.console import Console
    from rich.table import Table

    from jobs.report.figures import of_stage
    from jobs.runs import STAGES
    from jobs.stage import open_lake

    plan = manifest.plan
    table = Table("stage", "status", "seconds", "figures", title=f"{plan.run_id} · {plan.inputs.model_version}")
    c = plan.counts
    table.add_row("plan", "done", "", f"{c['rows']:,} rows = {c['rejected']:,} rejected + {c['eligible']:,} eligible")
    for name in STAGES:
        r = manifest.stages.get(name)
        if r is None:
            table.add_row(name, "not yet", "", "")
            continue
        figures = r.note or ", ".join(f"{figure} {what}".strip() for what, figure in of_stage(name, r.counts))
        table.add_row(name, r.status, f"{r.seconds:.1f}", figures)
    console = Console()
    console.print(table)
    lake = open_lake(settings)
    console.print(f"report  {lake.run_uri(plan.run_id)}/report.html", soft_wrap=True)
    console.print(f"page    {settings.public_url}/  (start it with `make serve` or `medal serve`)", soft_wrap=True)
