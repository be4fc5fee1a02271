"""The teacher on its device, for the threads of the pipeline."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from jobs.embed.allocator import keep_memory
from jobs.embed.lanes import AtOnce, Lane
from jobs.errors import DataError, SettingsError

if TYPE_CHECKING:
    from jobs.embed.precision import Precision
    from medal_model.teacher import Teacher


# A CPU gains nothing from more, and holds a third of the memory of 32; a GPU is not filled by less.
BATCH = {"cpu": 8, "cuda": 256}


def pick_device(asked: Literal["auto", "cpu", "cuda"]) -> str:
    """Raises SettingsError where cuda is asked for and there is none."""
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise SettingsError("--device cuda: this machine has no usable CUDA device; use --device cpu or auto")
    return asked


def check_device(asked: str) -> None:
    """Refuse an unknown or absent device before anything is planned. Raises SettingsError."""
    if asked not in ("auto", "cpu", "cuda"):
        raise SettingsError(f"--device {asked}: choose auto, cpu or cuda")
    if asked == "cuda":
        pick_device("cuda")


class TeacherNetwork:
    """A teacher, loaded before the first image that needs it.

    On a CPU each of `workers` threads runs batches of its own on one core: two batches side by side waste nothing at
    barriers, and the bits of a vector do not depend on how many cores there are. A GPU has one thread, that keeps its
    queues filled and takes vectors back in blocks.
    """

    def __init__(
        self,
        teacher_dir: Path,
        device: str,
        workers: int | None = None,
        *,
        batch: int = 32,
        precision: Precision = "auto",
        compiled: bool = True,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`workers` of a CPU: none means one a core that this process may use. `compiled`: on a GPU."""
        self.device = device
        if device == "cpu":
            keep_memory()
        self._batch, self._precision, self._compile, self._say = batch, precision, compiled, say
        self.workers = (workers or len(os.sched_getaffinity(0))) if device == "cpu" else 1
        self._dir, self._loading = teacher_dir, threading.Lock()
        self._loaded: Teacher | None = None
        self._own = threading.local()

    def load(self) -> None:
        """Raises DataError where the teacher cannot be loaded, SettingsError where it fails its check."""
        self._teacher()

    def preprocess(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Raises ImageError, and as `load`."""
        return np.asarray(self._teacher().preprocess(data), dtype=np.uint8)

    def lane(self) -> Lane:
        """For a thread that runs batches."""
        if self.device == "cpu":
            return AtOnce(self.embed, self._batch)
        import torch

        from jobs.embed.blocks import Blocks, CudaStreams

        teacher, device = self._teacher(), torch.device(self.device)
        streams = CudaStreams(device)
        return Blocks(teacher.latents, teacher.check, streams, device, self._batch, teacher.heads.shape.dim)

    def embed(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Unit vectors [B, 128] of uint8 [B, 3, S, S], at once. Raises as `load`."""
        import torch

        return self._teacher().embed(torch.from_numpy(batch)).cpu().numpy().astype(np.float32, copy=False)

    def _teacher(self) -> Teacher:
        import torch

        from jobs.embed.precision import prepared
        from medal_model.export import TeacherError
        from medal_model.teacher import load_teacher

        if not getattr(self._own, "ready", False):
            torch.set_num_threads(1)  # of this thread: OpenMP counts for each of its callers
            self._own.ready = True
        with self._loading:
            if self._loaded is None:
                try:
                    teacher = load_teacher(self._dir)
                except TeacherError as e:
                    raise DataError(str(e)) from e
                self._loaded = prepared(teacher, self.device, self._precision, self._batch, self._compile, self._say)
            return self._loaded
