"""Which image is fetched next: in order, but past a host that has all the requests it may have."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Todo:
    """An image to be read. `source_fingerprint` is its identity at the source."""

    item_id: str
    uri: str
    source_fingerprint: str


class Draw:
    """Images by lane (host), lanes in turn, each lane's in the order given."""

    def __init__(
        self, todo: Sequence[Todo], lane: Callable[[str], str | None], per_lane: int, more: Callable[[], bool]
    ) -> None:
        """At most `per_lane` of a lane are out at once; of lane None any number. `more`: False ends it for good."""
        self._lane, self._most, self._more = lane, per_lane, more
        self._waiting: dict[str | None, deque[Todo]] = {}
        for t in todo:
            self._waiting.setdefault(lane(t.uri), deque()).append(t)
        self._turn = deque(self._waiting)
        self._out: Counter[str | None] = Counter()
        self._change = threading.Condition()
        self.drawn = 0

    def next(self) -> Todo | None:
        """Waits while every lane that has images is full; None once there are no more."""
        with self._change:
            while self._turn and self._more():
                for _ in range(len(self._turn)):
                    lane = self._turn[0]
                    if lane is None or self._out[lane] < self._most:
                        todo = self._waiting[lane].popleft()
                        if not self._waiting[lane]:
                            self._turn.popleft()
                        else:
                            self._turn.rotate(-1)
                        self._out[lane] += 1
                        self.drawn += 1
                        return todo
                    self._turn.rotate(-1)
                self._change.wait(1.0)  # not for ever: `more` may have become False
            self._turn.clear()
            self._change.notify_all()
            return None

    def done(self, todo: Todo) -> None:
        """A place of the image's lane is free."""
        with self._change:
            self._out[self._lane(todo.uri)] -= 1
            self._change.notify()

    def stop(self) -> None:
        with self._change:
            self._turn.clear()
            self._change.notify_all()
