"""`medal doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of lines.")]


def register(app: typer.Typer) -> None:
    @app.command()
    def doctor(as_json: AsJson = False) -> None:
        """Is all there that a night needs? A line for each part, with the mend. Exit 2 where one fails."""
        import json
        from dataclasses import asdict

        from jobs.doctor.checks import Finding, examine
        from jobs.errors import SettingsError
        from jobs.settings import load_settings

        try:
            settings = load_settings()
        except SettingsError as e:
            findings = [Finding("settings", "fail", str(e), "correct it first; the other checks need the settings")]
        else:
            findings = [Finding("settings", "ok", "valid"), *examine(settings)]
        failed = sum(f.level == "fail" for f in findings)
        if as_json:
            typer.echo(json.dumps({"ok": not failed, "findings": [asdict(f) for f in findings]}, indent=2))
        else:
            for f in findings:
                typer.echo(f"{f.level:<5} {f.name:<9} {f.found}")
                if f.mend:
                    typer.echo(f"{'':<15} → {f.mend}")
            if failed:
                typer.echo(f"{failed} of {len(findings)} need mending", err=True)
        if failed:
            raise typer.Exit(2)
