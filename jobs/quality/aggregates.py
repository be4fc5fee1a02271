"""Aggregates of the catalogue and of the vectors, computed once, as the small frames that expectations run on.

Pure functions. Expectations ignore nulls and pass on empty frames, so every figure here is a number even where
there is nothing to measure, and then the worst one; the suites check row counts besides. Complement lists have
their own module, `jobs.quality.lists`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from schemas.tables import EMBEDDING_DIM, VISUAL_DIM

EXAMPLES = 5  # offenders named in a message
_MIN_FOR_RANK = 30  # with fewer vectors an effective rank says nothing

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """A table expectations run on; `examples` names a few offenders for each column that counts some."""

    data: pd.DataFrame
    examples: Mapping[str, Sequence[str]] = field(default_factory=dict)


def catalog_products(active: pa.Table) -> Frame:
    """One row a product of the snapshot: the columns whose values are checked one by one."""
    return Frame(active.select(["item_id", "category", "department", "group_id", "availability"]).to_pandas())


def catalog_accounts(active: pa.Table, counts: Mapping[str, float], rejected_logged: int) -> Frame:
    """One row: catalogue rows in = rejected + eligible, and what of it the tables hold.

    counts: the plan's (rows, rejected, eligible). rejected_logged: distinct rows of this run in `rejected_rows`.
    """
    rows, rejected, eligible = (int(counts[name]) for name in ("rows", "rejected", "eligible"))
    stocked = pc.sum(active["in_stock"]).as_py() or 0
    return _one_row(
        rows=rows,
        rejected=rejected,
        eligible=eligible,
        unaccounted=abs(rows - rejected - eligible),
        snapshot_off=abs(eligible - active.num_rows),
        rejected_log_off=abs(rejected - rejected_logged),
        without_state=active["state"].null_count,
        in_stock_share=stocked / max(1, active.num_rows),
    )


def vector_rows(active: pa.Table) -> Frame:
    """One row a product with a vector: item_id, dimension, norm, non_finite (count of NaN and infinities).

    norm is 0 where a vector has non-finite components.
    """
    held = active.filter(pc.is_valid(active["vector"]))
    lengths, flat = _flat(held["vector"])
    row = np.repeat(np.arange(len(lengths)), lengths)
    bad = np.bincount(row, weights=~np.isfinite(flat), minlength=len(lengths))
    flat = np.where(np.isfinite(flat), flat, 0.0)
    norm = np.sqrt(np.bincount(row, weights=flat * flat, minlength=len(lengths)))
    return Frame(
        pd.DataFrame(
            {
                "item_id": held["item_id"].to_pandas(),
                "dimension": lengths,
                "norm": np.where(bad > 0, 0.0, norm),
                "non_finite": bad.astype(np.int64),
            }
        )
    )


def vector_spread(active: pa.Table, images: pa.ChunkedArray | None = None, duplicate_keys: int = 0) -> Frame:
    """One row: whether the vectors tell products apart, or have collapsed.

    images: each product's image fingerprint, aligned with `active` (default: its address).
    duplicate_keys: rows of `embeddings` whose key stands there already.

    mean_cosine_visual/_colour: mean cosine of two different products' parts. distinct_share: distinct vectors by
    distinct images. largest_share: share of the most frequent vector. effective_rank: (Σλ)² / Σλ² of the
    covariance, EMBEDDING_DIM where there are too few vectors to tell.
    """
    has = np.asarray(pc.is_valid(active["vector"]).to_numpy(zero_copy_only=False), dtype=bool)
    z, sound = matrix(active)
    n = len(z)
    keys = (images if images is not None else active["image_uri"]).filter(pa.array(has)).filter(pa.array(sound))
    pictures = max(1, pc.count_distinct(keys).as_py()) if n else 1
    _, repeats = np.unique(np.ascontiguousarray(z).view(f"V{z.itemsize * EMBEDDING_DIM}"), return_counts=True)
    return _one_row(
        products=active.num_rows,
        vectors=n,
        vector_share=int(has.sum()) / max(1, active.num_rows),
        duplicate_keys=duplicate_keys,
        distinct_share=min(1.0, len(repeats) / pictures) if n else 0.0,
        largest_share=float(repeats.max()) / n if n else 1.0,
        mean_cosine_visual=_mean_cosine(z[:, :VISUAL_DIM]),
        mean_cosine_colour=_mean_cosine(z[:, VISUAL_DIM:]),
        effective_rank=_effective_rank(z),
    )


def matrix(active: pa.Table) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """The sound vectors, float32 [n, 128], and for each product that has a vector whether it is sound.

    Sound: the right dimension and finite throughout.
    """
    vectors = active["vector"].filter(pc.is_valid(active["vector"]))
    lengths, flat = _flat(vectors)
    sound = lengths == EMBEDDING_DIM
    if not sound.all():
        flat = flat[np.repeat(sound, lengths)]
    z = flat.astype(np.float32).reshape(-1, EMBEDDING_DIM)
    finite = np.isfinite(z).all(axis=1)
    sound[sound] = finite
    return z[finite], sound


def _flat(vectors: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], F64]:
    """Lengths, and all components one after another, of a list column without nulls."""
    lengths = pc.fill_null(pc.list_value_length(vectors), 0).to_numpy().astype(np.int64)
    flat = pc.list_flatten(vectors).to_numpy().astype(np.float64)
    return lengths, flat


def _mean_cosine(part: npt.NDArray[np.float32]) -> float:
    """Mean cosine over all pairs of different rows; 1 where every row is zero or there is no row."""
    x = part.astype(np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    x = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
    n = int((norms > 0).sum())
    if n < 2:
        return 0.0 if n else 1.0
    total = x.sum(axis=0)
    return float((total @ total - n) / (n * (n - 1)))


def _effective_rank(z: npt.NDArray[np.float32]) -> float:
    """Participation ratio of the covariance's eigenvalues: by traces, without an eigendecomposition."""
    if len(z) < _MIN_FOR_RANK:
        return float(EMBEDDING_DIM) if len(z) else 0.0
    x = z.astype(np.float64)
    x -= x.mean(axis=0)
    covariance = x.T @ x / len(x)
    trace = float(np.trace(covariance))
    return trace**2 / float((covariance**2).sum()) if trace > 1e-12 else 0.0


def _one_row(**figures: Any) -> Frame:
    return Frame(pd.DataFrame([figures]))
