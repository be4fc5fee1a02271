"""The teacher on its device: decoded images in, vectors out, in batches of one fixed shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from jobs.errors import DataError, SettingsError
from medal_model.images import ImageError

if TYPE_CHECKING:
    from medal_model.teacher import Teacher

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Work:
    """An image whose bytes were read: `data` is decoded on a thread of the embedder."""

    item_id: str
    image_fingerprint: str
    source_fingerprint: str
    data: bytes


@dataclass(frozen=True)
class Vector:
    """`value` is the unit vector [128] float32, or the error that kept it from being made."""

    work: Work
    value: Float32 | ImageError


def pick_device(asked: Literal["auto", "cpu", "cuda"]) -> str:
    """Raises SettingsError where cuda is asked for and there is none."""
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise SettingsError("--device cuda: this machine has no usable CUDA device; use --device cpu or auto")
    return asked


class Embedder:
    """Decodes on threads and runs the teacher on full batches; the last batch is padded to the same shape.

    With one batch shape a vector depends on its own image only, not on its batch-mates.
    """

    def __init__(self, teacher_dir: Path, device: str, batch_size: int, threads: int) -> None:
        from medal_model.export import TeacherError
        from medal_model.teacher import load_teacher

        try:
            self._teacher: Teacher = load_teacher(teacher_dir, device=device)
        except TeacherError as e:
            raise DataError(str(e)) from e
        self._batch_size, self._threads = batch_size, threads

    def run(self, work: Iterator[Work]) -> Iterator[Vector]:
        """Vectors in the order of `work`; at most four batches are held at once."""
        with ThreadPoolExecutor(self._threads, thread_name_prefix="decode") as pool:
            while chunk := list(islice(work, self._batch_size * 4)):
                decoded = list(pool.map(self._decode, chunk))
                yield from self._embed(chunk, decoded)

    def _decode(self, work: Work) -> npt.NDArray[np.uint8] | ImageError:
        try:
            return np.asarray(self._teacher.preprocess(work.data), dtype=np.uint8)
        except ImageError as e:
            return e

    def _embed(self, chunk: Sequence[Work], decoded: Sequence[npt.NDArray[np.uint8] | ImageError]) -> Iterator[Vector]:
        import torch

        good = [i for i, d in enumerate(decoded) if not isinstance(d, ImageError)]
        found: dict[int, Float32] = {}
        for at in range(0, len(good), self._batch_size):
            members = good[at : at + self._batch_size]
            first = decoded[members[0]]
            assert isinstance(first, np.ndarray)
            batch = np.zeros((self._batch_size, *first.shape), dtype=np.uint8)
            for slot, i in enumerate(members):
                batch[slot] = decoded[i]
            z = self._teacher.embed(torch.from_numpy(batch)).cpu().numpy()
            found.update({i: z[slot].astype(np.float32) for slot, i in enumerate(members)})
        for i, work in enumerate(chunk):
            d = decoded[i]
            yield Vector(work, d if isinstance(d, ImageError) else found[i])
