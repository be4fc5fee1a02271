"""One tree of errors. The class decides the exit code and whether a retry helps.

Every message is one line a person can act on: what was wrong, where (file, row, item), what to do next.
`jobs.cli.main` prints it and exits with `exit_code`; Airflow retries exit code 5 and nothing else.
"""

from __future__ import annotations


class MedalError(Exception):
    """Base of all errors the CLI turns into one line. Exit code 1 is left to bugs."""

    exit_code = 1


class SettingsError(MedalError):
    """Bad arguments or settings: a person must change the call."""

    exit_code = 2


class GateBlocked(MedalError):
    """A critical check failed, or a check crashed. Nothing is published."""

    exit_code = 3


class DataError(MedalError):
    """Input data break their contract (catalogue, teacher, rules, outfits)."""

    exit_code = 4


class TransientError(MedalError):
    """A passing fault (network, lease held, throttling): the same call may work later."""

    exit_code = 5


class LeaseHeld(TransientError):
    """Another run holds the lake's write lease."""


class ConservationError(MedalError):
    """Rows went in that did not come out: a bug, never to be retried silently."""
