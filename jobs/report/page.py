"""From facts to one HTML file: template and style are beside this module, everything is inlined and escaped."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path

import jinja2

from jobs.lake import Lake
from jobs.quality.verdict import Verdict
from jobs.report.facts import Facts, gather
from jobs.report.figures import duration, number, percent
from jobs.runs import Manifest
from jobs.settings import Settings
from jobs.stage import taxonomy_of

_HERE = Path(__file__).parent


def render(settings: Settings, lake: Lake, manifest: Manifest) -> bytes:
    """The report of a run as it stands: finished, blocked, or on its way. UTF-8 HTML."""
    data = lake.files.read(f"runs/{manifest.plan.run_id}/checks.json")
    verdict = None if data is None else Verdict.from_json(data.decode())
    facts = gather(lake, manifest, taxonomy_of(settings), verdict, settings.gate.min_category_coverage)
    return page(facts)


def page(facts: Facts) -> bytes:
    """The page of these facts."""
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    day = date.fromisoformat(facts.run_date)
    long_date = f"{day:%A} {day.day} {day:%B %Y}"
    return _template().render(f=facts, style=style, long_date=long_date).encode()


@cache
def _template() -> jinja2.Template:
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"percent": percent, "duration": duration, "number": number, "units": _units}
    return env.get_template("page.html.j2")


def _units(score: float | None) -> str:
    """A score with three decimals and a real minus sign."""
    return "–" if score is None else f"{score:.3f}".replace("-", "\N{MINUS SIGN}")
