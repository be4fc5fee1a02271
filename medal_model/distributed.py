"""The few sums a data-parallel run needs; all of them are the identity in a single process.

Gradients are averaged here rather than by DistributedDataParallel: one step runs backward several times (once a
view, so that 65,536 outputs fit), and only the sum of them is to be exchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import distributed as dist
from torch import nn

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

_PATIENCE = timedelta(hours=1)  # for the slowest process at any sum


def active() -> bool:
    """Is this process one of several?"""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if active() else 1


def rank() -> int:
    """This process' number; 0 is the one that writes."""
    return dist.get_rank() if active() else 0


def join(store: Store, number: int, processes: int, device: str, local: int = 0) -> None:
    """Become process `number` of `processes`, which meet at `store`; on a GPU, take the one numbered `local`.

    `device` is the kind to train on: NCCL for cuda, Gloo for cpu. Raises ValueError where that GPU is not there.
    """
    if device == "cuda":
        if local >= torch.cuda.device_count():
            raise ValueError(
                f"process {local} of this machine has no GPU of its own, torch sees {torch.cuda.device_count()}; "
                "start as many processes as there are, or set device: cpu"
            )
        torch.cuda.set_device(local)
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=processes, timeout=_PATIENCE)


def leave() -> None:
    """Take this process out again; nothing where it is alone."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def summed(value: torch.Tensor) -> torch.Tensor:
    """Sum of a tensor over all processes (a new tensor where there are several)."""
    if not active():
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value


def total(value: int) -> int:
    """Sum of a number over all processes."""
    if not active():
        return value
    return int(summed(torch.tensor(value, dtype=torch.int64, device=_device())).item())


def maximum(value: float) -> float:
    """Largest of a number over all processes."""
    if not active():
        return value
    held = torch.tensor(value, dtype=torch.float64, device=_device())
    dist.all_reduce(held, op=dist.ReduceOp.MAX)
    return float(held)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Mean of every gradient over all processes, in place, in one exchange; a missing gradient counts as zero."""
    if not active():
        return
    own = [p for p in parameters if p.requires_grad]
    for p in own:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    _average([p.grad for p in own if p.grad is not None])


def average_buffers(module: nn.Module) -> None:
    """Mean of every floating buffer over all processes, in place: batch norms' statistics, which each has of its share.

    Without it the processes' teachers, and with them the epoch they stop at, would differ.
    """
    if active():
        _average([b for b in module.buffers() if b.is_floating_point()])


def _average(tensors: Sequence[torch.Tensor]) -> None:
    """Mean of each over all processes, in place."""
    if not tensors:
        return
    flat = torch.cat([t.reshape(-1).float() for t in tensors])
    dist.all_reduce(flat)
    flat /= world_size()
    for t, mean in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
        t.copy_(mean.view_as(t))


def _device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
