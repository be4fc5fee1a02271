"""`medal rules check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jobs.rules.check import Report
    from jobs.settings import Settings
    from schemas.rules import Rules

RunDate = Annotated[str | None, typer.Option(help="YYYY-MM-DD the rules are judged on; default: today.")]


def register(app: typer.Typer) -> None:
    rules = typer.Typer(no_args_is_help=True, help="Merchandising rules (docs/rules.md).")
    app.add_typer(rules, name="rules")

    @rules.callback()
    def group() -> None:
        """Merchandising rules (docs/rules.md)."""

    @rules.command("check")
    def check_(
        rules: Annotated[Path, typer.Option(help="The rules file, such as rules.yaml.")],
        catalog: Annotated[Path, typer.Option(help="The catalogue (docs/catalog.md).")],
        run_date: Annotated[
            str | None, typer.Option(help="YYYY-MM-DD the rules are judged on; default: today.")
        ] = None,
    ) -> None:
        """Check a rules file against a catalogue. Exit 0 with warnings alone, 4 with errors; writes nothing."""
        from jobs.commands import today
        from jobs.errors import DataError
        from jobs.rules.files import load
        from jobs.runs import parse_date
        from jobs.settings import load_settings

        settings = load_settings()
        day = parse_date(run_date) if run_date else today(settings.time_zone)
        report = report_on(load(rules), day, catalog, settings)
        for finding in report.findings:
            typer.echo(finding.line())
        warnings = len(report.findings) - report.errors
        told = (
            f"{report.rules} rules, {report.active} in force on {day}, {report.pages:,} products: "
            f"{report.errors} errors, {warnings} warnings"
        )
        typer.echo(told)
        if report.errors:
            raise DataError(f"{rules}: {report.errors} errors; each line above says what to do")


def report_on(rules: Rules, run_date: str, catalog: Path, settings: Settings) -> Report:
    """Check rules against a catalogue file. Raises as the reading of a catalogue does; DataError where it is empty."""
    from jobs.catalog.reader import read_catalog
    from jobs.catalog.snapshot import take_snapshot
    from jobs.complements.tasks import allowed
    from jobs.errors import DataError
    from jobs.images.route import open_images
    from jobs.rules.attributes import attributes
    from jobs.rules.check import check
    from jobs.stage import taxonomy_of

    taxonomy = taxonomy_of(settings)
    pattern = settings.catalog.group_id_pattern
    images = open_images(settings, catalog.parent, run_date, ask=False)
    rows = read_catalog(catalog, settings.catalog.columns, taxonomy)
    snapshot = take_snapshot(rows, run_date, taxonomy, images, pattern)
    if not snapshot.rows.num_rows:
        told = snapshot.commonest_rejections() or "there is no row"
        raise DataError(f"{catalog}: no product to check the rules against ({told}); mend the catalogue")
    products = attributes(snapshot.rows, taxonomy)
    minimum = int(getattr(settings.lists, "min", None) or settings.lists.k)
    return check(rules, run_date, products, taxonomy, allowed(taxonomy), settings.lists.k, minimum)
