"""`medal`: every command. Errors become one clear line on stderr and an exit code (jobs.errors)."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import cast

import typer

from jobs.errors import ConservationError, MedalError

_PACKAGES = (
    "jobs", "jobs.complements", "jobs.quality", "jobs.publish", "jobs.report",
    "jobs.backfill", "jobs.pdp", "jobs.sample", "jobs.train", "jobs.bench", "jobs.doctor", "jobs.rules",
    "jobs.catalog", "jobs.embed",
)  # fmt: skip

# Typer carries a click of its own; the base of its usage errors has no public name.
_USAGE = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])
assert _USAGE.__name__ == "ClickException"


def build_app() -> typer.Typer:
    """The CLI, put together from each package's `commands.py`."""
    app = typer.Typer(
        name="medal",
        help="The nightly job that gives every product the products that look right beside it.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    importlib.import_module("jobs.report.blind_commands").register(app)
    for package in _PACKAGES:
        importlib.import_module(f"{package}.commands").register(app)
    return app


def main(argv: list[str] | None = None) -> None:
    """Entry point. Exit codes: 0 done, 2 arguments or settings, 3 gate, 4 data, 5 retry helps, 1 a bug."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: list[str]) -> int:
    """Run a command line and give its exit code."""
    command = typer.main.get_command(build_app())
    try:
        result = command.main(args=argv, prog_name="medal", standalone_mode=False)
    except (typer.Exit, SystemExit) as e:
        code = getattr(e, "exit_code", None)
        return int(code if code is not None else getattr(e, "code", 0) or 0)
    except typer.Abort:
        _say("stopped")
        return 130
    except _USAGE as e:
        e.show()
        return 2
    except KeyboardInterrupt:
        _say("stopped by the keyboard; run the same command again to resume")
        return 130
    except ConservationError as e:
        _say(f"medal: bug: {e}")
        return e.exit_code
    except MedalError as e:
        _say(f"medal: {_kind(e)}: {e}")
        return e.exit_code
    except BrokenPipeError:
        return 0
    except Exception as e:
        traceback.print_exc()
        _say(f"medal: bug: {e!r}; please report it with the lines above")
        return 1
    return int(result) if isinstance(result, int) else 0


def _kind(error: MedalError) -> str:
    return {2: "bad arguments or settings", 3: "gate blocked", 4: "data", 5: "passing fault"}.get(
        error.exit_code, "error"
    )


def _say(message: str) -> None:
    print(" ".join(message.split("\n")), file=sys.stderr, flush=True)
