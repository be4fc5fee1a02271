"""Several processes of one training, started by torchrun: how they meet, wait for the first, and fail as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from jobs.errors import MedalError, SettingsError
from jobs.settings import Launch, read_launch

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

_MEET = timedelta(minutes=10)  # for the last process to start
_WAIT = timedelta(days=1)  # for what the first process does alone: features of a large set
_LINGER = timedelta(seconds=20)  # for another process' word why it failed


@dataclass(frozen=True)
class Processes:
    """The processes of this training. Alone (`launch` and `store` None), everything here does nothing."""

    launch: Launch | None = None
    store: Store | None = None

    @property
    def first(self) -> bool:
        """Is this the process that writes and prints?"""
        return self.launch is None or self.launch.rank == 0

    def after_the_first(self, work: Callable[[], object]) -> None:
        """The first process does `work` alone, the others wait for it. Nothing in a single process."""
        if self.store is None:
            return
        if self.first:
            work()
            self.store.set("ready", "1")
        else:
            self.store.wait(["ready"], _WAIT)

    def join(self, device: str) -> None:
        """Join the process group for training on `device` (auto, cpu or cuda). Raises SettingsError."""
        from medal_model import distributed
        from medal_model.training import pick_device

        if self.launch is None or self.store is None:
            return
        try:
            kind = pick_device(device).type
            distributed.join(self.store, self.launch.rank, self.launch.world_size, kind, self.launch.local_rank)
        except ValueError as e:
            raise SettingsError(str(e)) from e


@contextmanager
def taking_part() -> Iterator[Processes]:
    """Meet the other processes of torchrun, if it started this one.

    Where one fails, it alone says why; the others, whom torchrun then ends or who fail for want of it, end without a
    word and with its exit code.
    """
    launch = read_launch()
    if launch is None or launch.world_size == 1:
        yield Processes()
        return
    from medal_model import distributed

    store = _meet(launch)
    try:
        yield Processes(launch, store)
    except BaseException as e:
        # The group is not left in order: the other processes may be in the middle of a sum.
        if (code := _code_of_the_first_failure(store, e)) is not None:
            raise SystemExit(code) from None
        raise
    distributed.leave()


def _meet(launch: Launch) -> Store:
    from torch.distributed import DistError, PrefixStore, TCPStore  # type: ignore[attr-defined]

    serves = launch.rank == 0 and not launch.agent_store
    try:
        store = TCPStore(launch.master_addr, launch.master_port, launch.world_size, serves, _MEET)
    except (DistError, RuntimeError, ValueError) as e:
        at = f"{launch.master_addr}:{launch.master_port}"
        raise SettingsError(f"process {launch.rank} cannot meet the others at {at}: {str(e).splitlines()[0]}") from e
    return PrefixStore(f"medal/{launch.restart_count}", store)


def _code_of_the_first_failure(store: Store, error: BaseException) -> int | None:
    """None where this process is the first to fail: it speaks. Else the exit code of the one that was."""
    try:
        if store.add("failures", 1) == 1:
            store.set("exit code", str(_code(error)))
            return None
        store.wait(["exit code"], _LINGER)
        return int(store.get("exit code"))
    except Exception:  # the store went with the process that served it, which has said why
        return 1


def _code(error: BaseException) -> int:
    if isinstance(error, MedalError):
        return error.exit_code
    return 130 if isinstance(error, KeyboardInterrupt) else 1
