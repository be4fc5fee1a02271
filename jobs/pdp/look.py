"""`complete_the_look`: one list from all slots of a product. A pure function; the reader derives it from its slots.

It is derived at every read, not published. What is stored of a list would be a copy of the slots' heads that a rollback
has to move with them, that goes stale as soon as a piece sells out or changes its group, and that no reader could cut
to some slots. From the slots as they are served it is right by construction, and costs one pass over their heads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

T = TypeVar("T")


def complete_the_look(
    slots: Sequence[Sequence[T]], group_of: Callable[[T], str], limit: int, taken: Collection[str] = ()
) -> list[tuple[int, T]]:
    """The best of the first slot, the best of the second, …, then the second of each, with the number of their slot.

    An item whose group stands in the list already, or is in `taken`, is passed over for the slot's next one; a slot
    that has run out is left out of the round. So nothing stands twice, and no two variants of one product.
    """
    out: list[tuple[int, T]] = []
    seen, next_ = set(taken), [0] * len(slots)
    while len(out) < limit:
        before = len(out)
        for s, items in enumerate(slots):
            while next_[s] < len(items) and group_of(items[next_[s]]) in seen:
                next_[s] += 1
            if next_[s] == len(items) or len(out) == limit:
                continue
            item = items[next_[s]]
            seen.add(group_of(item))
            out.append((s, item))
        if len(out) == before:
            break
    return out
