"""The error budget: how many images may fail on a night, by class of fault, before the run stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from jobs.embed.states import PASSING, Failure
from jobs.errors import DataError, MedalError, TransientError
from jobs.settings import BudgetSettings


def kind_of(failure: Failure) -> str:
    """`passing` faults are the network's and the hosts', `broken` ones the images' own."""
    return "passing" if failure.error_class in PASSING else "broken"


def overdrawn(failures: Iterable[Failure], read: int, budget: BudgetSettings) -> MedalError | None:
    """The error that stops a run with these new failures among `read` images; None within the budget.

    A class is over its budget where it exceeds both its count and its share of the images read.
    """
    failures = list(failures)
    for kind, limit in (("passing", budget.passing), ("broken", budget.broken)):
        of_kind = [f for f in failures if kind_of(f) == kind]
        if len(of_kind) <= limit.count or len(of_kind) <= limit.share * read:
            continue
        classes = Counter(f.error_class for f in of_kind)
        told = ", ".join(f"{n:,} {c}" for c, n in classes.most_common(3))
        message = (
            f"embed: {len(of_kind):,} of {read:,} images failed ({told}), over the budget of embed.budget.{kind} "
            f"({limit.count:,} and {limit.share:.0%}); e.g. {of_kind[0].message}; `medal quarantine list` has all; "
        )
        if kind == "passing":
            return TransientError(message + "what was embedded is kept, run the stage again")
        return DataError(message + "mend the images, or raise the budget, and run the stage again")
    return None
