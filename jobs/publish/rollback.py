"""Announcing another complete release by hand."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.errors import SettingsError
from jobs.publish.job import announced, log_event
from jobs.publish.store import ReleaseInfo, check_announceable
from jobs.publish.stores import open_store
from jobs.settings import Settings
from jobs.stage import log, open_lake


def roll_back(settings: Settings, to: int, *, dry_run: bool = False) -> Iterator[str]:
    """Move the pointer to release `to`; yields lines saying what readers saw before and see now.

    Needs no lease: the pointer's own revision decides, so it works while a night runs. Raises UnknownRelease for a
    number that cannot be announced, PointerMoved where somebody else was faster.
    """
    store = open_store(settings)
    now = announced(store)
    if now is None:
        raise SettingsError(f"{store.where}: nothing is announced, so there is nothing to roll back")
    target = check_announceable(to, store.release(to))
    yield f"before: {_name(now.release)}"
    if target.number == now.release.number:
        yield "nothing to do: it is announced already"
        return
    if dry_run:
        yield f"would announce: {_name(target)}; nothing was moved"
        return
    moved = store.move_pointer(target.number, now.pointer.revision)
    yield f"now: {_name(target)} (pointer revision {moved.revision})"
    try:
        log_event(open_lake(settings), target, "rolled_back", f"from release {now.release.number}")
    except Exception as e:  # readers see the old release already; the log must not make this look like a failure
        log(f"rollback: done, but the event could not be logged: {e}")


def _name(release: ReleaseInfo) -> str:
    return f"release {release.number} of {release.run_date} ({release.run_id}, {release.lists:,} lists)"
