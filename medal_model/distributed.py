"""The few sums a data-parallel run needs; all of them are the identity in a single process.

Gradients are averaged here rather than by DistributedDataParallel: one step runs backward several times (once a
view, so that 65,536 outputs fit), and only the sum of them is to be exchanged.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import distributed as dist
from torch import nn


def active() -> bool:
    """Is this process one of several?"""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if active() else 1


def rank() -> int:
    """This process' number; 0 is the one that writes."""
    return dist.get_rank() if active() else 0


def summed(value: torch.Tensor) -> torch.Tensor:
    """Sum of a tensor over all processes (a new tensor where there are several)."""
    if not active():
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value


def total(value: int, device: str | torch.device | None = None) -> int:
    """Sum of a number over all processes."""
    if not active():
        return value
    return int(summed(torch.tensor(value, dtype=torch.int64, device=device or _device())).item())


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
    flat = torch.cat([p.grad.reshape(-1).float() for p in own if p.grad is not None])
    dist.all_reduce(flat)
    flat /= world_size()
    at = 0
    for p in own:
        assert p.grad is not None
        p.grad.copy_(flat[at : at + p.numel()].view_as(p))
        at += p.numel()


def _device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
