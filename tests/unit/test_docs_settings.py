"""docs/settings.md tells every setting and its default, and the docs name only commands that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from jobs.cli import build_app
from jobs.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "dags").glob("*.py"))]
ROW = re.compile(r"^\| `(?P<name>[a-z0-9_.]+)`(?P<marked> ●)? \| (?P<default>[^|]+) \|", re.MULTILINE)


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and default of every setting."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings_of(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field.default


def told() -> dict[str, str]:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    return {m["name"]: m["default"].strip().strip("`") for m in ROW.finditer(text)}


def test_every_setting_is_told_and_no_other() -> None:
    assert sorted(told()) == sorted(name for name, _ in settings_of(Settings))


@pytest.mark.parametrize(("name", "default"), list(settings_of(Settings)), ids=lambda v: str(v))
def test_defaults_are_those_of_the_code(name: str, default: Any) -> None:
    said = told().get(name, "")
    if isinstance(default, int | float) and not isinstance(default, bool):
        assert float(said) == default
    else:
        assert said == ("none" if default is None else str(default))


@pytest.mark.parametrize("doc", DOCS, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_the_docs_exist(doc: Path) -> None:
    command = typer.main.get_command(build_app())
    known = set(command.commands)  # type: ignore[attr-defined]
    named = re.findall(r"(?:^ *|`|/)medal ([a-z-]+)\b", doc.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= known


@pytest.mark.parametrize("doc", [d for d in DOCS if d.suffix == ".md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_the_docs_lead_somewhere(doc: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", doc.read_text(encoding="utf-8")):
        if "://" not in link:
            assert (doc.parent / link).exists(), link


@pytest.mark.parametrize("doc", [d for d in DOCS if d.suffix == ".md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_options_in_the_docs_exist(doc: Path) -> None:
    commands = typer.main.get_command(build_app()).commands  # type: ignore[attr-defined]
    text = re.sub(r"\\\n\s*", " ", doc.read_text(encoding="utf-8"))
    for line in re.findall(r"(?:^ *|`|/)medal ([a-z-]+ [^`\n]*)", text, re.MULTILINE):
        words = line.split()
        command = commands[words.pop(0)]
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", " ".join(words).split("  #")[0])) <= known, line
