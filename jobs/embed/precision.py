"""In what precision a teacher's network runs, and the check that its vectors are still those of float32.

Pixels, colours and heads are the same whatever the precision; only the backbone runs in bfloat16, and vectors are
float32 of unit norm. Any way but float32 on a CPU is checked when the teacher is loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch

from jobs.errors import SettingsError

if TYPE_CHECKING:
    from medal_model.teacher import Teacher

Precision = Literal["auto", "float32", "bfloat16"]
LEAST = 0.9995
"""Least cosine to float32 on the CPU, of every drawn image."""
DRAWN = 16


def prepared(
    teacher: Teacher, device: str, precision: Precision, batch: int, compiled: bool, say: Callable[[str], None]
) -> Teacher:
    """The teacher, loaded on the CPU, as it is to run on `device`, checked and warm.

    `auto` is bfloat16 on a GPU, or float32 where that fails the check, and float32 on a CPU. Raises SettingsError where
    the precision that was asked for fails the check, the processor has no bfloat16, or the GPU has too little memory.
    """
    if device == "cpu":
        if precision != "bfloat16":
            return teacher
        if not has_bfloat16():
            raise SettingsError(
                "embed.precision bfloat16: this processor has neither avx512_bf16 nor amx_bf16; "
                "set embed.precision: float32"
            )
    else:
        torch.backends.cudnn.allow_tf32 = False  # float32 is to mean float32
    return checked(teacher, device, ways(device, precision), batch, compiled and device != "cpu", say)


def checked(
    teacher: Teacher,
    device: str,
    dtypes: Sequence[torch.dtype],
    batch: int,
    compiled: bool,
    say: Callable[[str], None],
) -> Teacher:
    """A copy in the first of `dtypes` that passes the check. Raises SettingsError where the last one does not."""
    pixels = torch.from_numpy(drawn(teacher.input_size))
    wanted = teacher.latents(pixels)
    for dtype in dtypes:
        begun = time.monotonic()
        try:
            there = teacher.on(device, dtype)
            how = warm(there, batch) if compiled else ""
            least = cosine(wanted, vectors(there, pixels, batch))
        except torch.OutOfMemoryError as e:
            raise SettingsError(f"embed: {device} has no room for batches of {batch}; lower embed.batch_size") from e
        told = (
            f"{_name(dtype)} on {device}{how}: least cosine {least:.6f} to float32 on the CPU, "
            f"over {DRAWN} drawn images"
        )
        if least >= LEAST:
            say(f"embed: {told}, checked in {time.monotonic() - begun:.1f} s")
            return there
        if dtype is not dtypes[-1]:
            say(f"embed: {told}, is below the limit of {LEAST}; {_name(dtypes[-1])} is used instead")
    mend = "set embed.device: cpu" if dtypes[-1] is torch.float32 else "set embed.precision: float32"
    raise SettingsError(f"embed.precision: {told}, is below the limit of {LEAST}; {mend}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def ways(device: str, precision: Precision) -> list[torch.dtype]:
    """What is tried, in this order."""
    if precision == "auto":
        return [torch.float32] if device == "cpu" else [torch.bfloat16, torch.float32]
    return [torch.bfloat16 if precision == "bfloat16" else torch.float32]


def has_bfloat16() -> bool:
    """Has this processor instructions for bfloat16? oneDNN would emulate it otherwise, slower than float32."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def warm(teacher: Teacher, batch: int, backend: str = "inductor") -> str:
    """Compile the network for batches of one shape: as one graph, else in parts, else not at all; says which."""
    from torch._dynamo.exc import TorchDynamoException

    zeros = torch.zeros(batch, 3, teacher.input_size, teacher.input_size, dtype=torch.uint8)
    for fullgraph, how in ((True, ", compiled"), (False, ", compiled in parts")):
        try:
            teacher.extractor.compile(fullgraph=fullgraph, backend=backend)
            teacher.latents(zeros)
            return how
        except TorchDynamoException as e:
            why = str(e).strip().splitlines()[0]
    teacher.extractor.compiled = None
    return f", not compiled ({why[:200]})"


def vectors(teacher: Teacher, pixels: torch.Tensor, batch: int) -> torch.Tensor:
    """Float32 [N, D] on the CPU, computed in padded batches of the one shape that the stage uses."""
    out = []
    for start in range(0, len(pixels), batch):
        part = pixels[start : start + batch]
        padded = torch.zeros(batch, *pixels.shape[1:], dtype=torch.uint8)
        padded[: len(part)] = part
        out.append(teacher.latents(padded)[: len(part)].cpu())
    return torch.cat(out)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Least cosine of two rows; -1 where a number is not finite."""
    got = torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=1)
    return float(got.nan_to_num(-1.0).min())


def drawn(size: int) -> npt.NDArray[np.uint8]:
    """Uint8 [16, 3, S, S], the same always: garments on white and filled frames; flat, shaded, patterned, woven."""
    y, x = np.mgrid[0:size, 0:size] / size
    rng = np.random.default_rng(16)
    out = []
    for n in range(DRAWN):
        ground, ink = rng.uniform(0, 255, (2, 3))
        turn, step = rng.uniform(0, np.pi), rng.uniform(6, 40)
        along = x * np.cos(turn) + y * np.sin(turn)
        across = y * np.cos(turn) - x * np.sin(turn)
        share = [
            np.zeros_like(x),  # flat
            along - along.min(),  # shaded
            (np.sin(along * step * np.pi) > 0) * 1.0,  # stripes
            (np.sin(along * step * np.pi) * np.sin(across * step * np.pi) > 0) * 1.0,  # checks
        ][n % 4]
        cloth = ground + (ink - ground) * share[..., None]
        cloth = cloth * (1 - 0.25 * (x - 0.5) ** 2)[..., None] + rng.normal(0, (0, 4, 16)[n % 3], (size, size, 1))
        if n < 12:  # a body with sleeves, or trousers
            if n % 2:
                worn = (abs(x - 0.5) < 0.2) & (abs(y - 0.5) < 0.4) | (abs(x - 0.5) < 0.38) & (abs(y - 0.25) < 0.1)
            else:
                worn = (abs(abs(x - 0.5) - 0.11) < 0.1) & (abs(y - 0.5) < 0.42)
            cloth = np.where(worn[..., None], cloth, 255.0)
        out.append(cloth.clip(0, 255).astype(np.uint8).transpose(2, 0, 1))
    return np.stack(out)
