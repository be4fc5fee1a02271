"""glibc's malloc, told to keep the memory that a network gives back.

The maps of a batch are megabytes each. By default glibc asks the kernel for each anew and gives it back after the
layer, so every page is faulted in and zeroed at every layer: two fifths of Lite0's time on a CPU. PyTorch's guide to
performance on CPUs names other allocators for the same reason; they would have to be loaded before the interpreter.
"""

from __future__ import annotations

import ctypes
import sys

# malloc.h of glibc
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_memory() -> bool:
    """For the whole process, from now on; False where the C library is another, and nothing is changed.

    Large blocks come from one heap that keeps a GiB of free end: not from maps of their own, nor from threads' arenas,
    whose heaps are too small for them. A few batches pass until the heap is as large as it needs to be.
    """
    if (libc := _glibc()) is None:
        return False
    done = [libc.mallopt(*option) for option in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, 1 << 30))]
    return done == [1, 1, 1]


def give_back() -> None:
    """What is free by now goes back to the kernel: the stages after this one need it."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "gnu_get_libc_version") else None
