"""Checkpoints of a training run: tensors and plain values alone, so they load with `weights_only=True`."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medal_model.monitors import Readings

if TYPE_CHECKING:
    from medal_model.training import Trainer

FILE = "checkpoint.pt"
FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be gone on from; the message names the file and says what to do."""


def save(trainer: Trainer, folder: Path) -> None:
    """Write the state after an epoch, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    state: dict[str, Any] = {
        "format": FORMAT,
        "run": trainer.identity,
        "step": trainer.step,
        "history": [asdict(e) for e in trainer.history],
        "best": trainer.best.number if trainer.best else 0,
        "best_state": list(trainer.best_state) if trainer.best_state else [],
        "student": trainer.student.state_dict(),
        "teacher": trainer.teacher.state_dict(),
        "projection": trainer.projection.state_dict() if trainer.projection is not None else {},
        "optimiser": trainer.optimiser.state_dict(),
        "centre": trainer.centre.value,
    }
    beside = folder / f"{FILE}.tmp"
    torch.save(state, beside)
    os.replace(beside, folder / FILE)


def restore(trainer: Trainer, folder: Path) -> bool:
    """Go on from the folder's checkpoint; False where there is none.

    Raises CheckpointError for a damaged file, or one of another configuration or other data: nothing is overwritten.
    """
    from medal_model.training import Epoch

    path = folder / FILE
    if not path.is_file():
        return False
    try:
        state = torch.load(path, map_location=trainer.device, weights_only=True)
    except Exception as e:  # the restricted reader has no one class of its own for a damaged file
        raise CheckpointError(f"{path}: cannot be read as a checkpoint ({e}); remove it to start anew") from e
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: is no checkpoint of this version; remove it to start anew")
    if state["run"] != trainer.identity:
        raise CheckpointError(
            f"{path}: belongs to another configuration or other data; use another folder or remove it"
        )
    trainer.step = state["step"]
    trainer.history = [
        Epoch(**{**e, "readings": Readings(**e["readings"]), "alarms": tuple(e["alarms"])}) for e in state["history"]
    ]
    trainer.best = trainer.history[state["best"] - 1] if state["best"] else None
    trainer.best_state = (state["best_state"][0], state["best_state"][1]) if state["best_state"] else None
    trainer.student.load_state_dict(state["student"])
    trainer.teacher.load_state_dict(state["teacher"])
    if trainer.projection is not None:
        trainer.projection.load_state_dict(state["projection"])
    trainer.optimiser.load_state_dict(state["optimiser"])
    trainer.centre.value = state["centre"]
    return True


def identity(trainer: Trainer) -> str:
    """16 hex digits over all that a run is made of: settings, categories, the outfits and questions that it learns
    and chooses by, and what it is given of every item. Two runs with one identity give one teacher."""
    outfits, gallery, inputs = trainer.outfits, trainer.gallery, trainer.inputs
    settings = {k: v for k, v in trainer.config.to_dict().items() if k != "tensorboard"}
    digest = hashlib.sha256()
    for part in (
        sorted(settings.items()), trainer.student.categories, gallery.ids, gallery.categories,
        sorted(outfits.items.items()), outfits.sets["train"], outfits.questions["valid"], outfits.judged["valid"],
    ):  # fmt: skip
        digest.update(f"{part!r}\n".encode())
    given = (inputs.text, inputs.told, inputs.pixels, trainer.seen)
    for array in (gallery.features, gallery.histograms, *(None if t is None else t.cpu().numpy() for t in given)):
        digest.update(f"{None if array is None else (array.dtype, array.shape)}\n".encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:16]
