"""The score, by the exact rule of design section 5.

    q  = round(2^20 · w ⊙ x)        y' = round(2^20 · y)        (float64, half to even)
    S  = Σ_d q_d y'_d               score = round(S · 10^6 / 2^40)  (half to even, int32 "micro-units")

q and y' are integers and |S| stays below 2^53, so S is exact in float64 whatever the order of summation, the
library or the machine. The visual part is the same sum over the first 96 dimensions; colour = score - visual.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from schemas.tables import EMBEDDING_DIM

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SCALE = 2.0**20
INT32_MIN = -(2**31)
MAX_NORM = 1.5  # vectors are unit; this is far outside and still far inside 2^53
# The masks' mean is 1 over 128 dimensions, so none exceeds 128: |S| ≤ 2^40 · 128 · MAX_NORM² < 2^49 + rounding.
MAX_WEIGHT = float(EMBEDDING_DIM)
_MICRO = 1e6 / 2.0**40  # exact in float64: 15625 · 2^-34


def check_vectors(vectors: Float32, what: str) -> None:
    """Raises ValueError unless every vector is finite and short enough for the sum to be exact."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1) if len(vectors) else np.zeros(0)
    if not np.all(norms <= MAX_NORM):  # false for NaN as well
        raise ValueError(f"{what}: vector {int(np.argmin(norms <= MAX_NORM))} is not finite or no unit vector")


def check_weights(w: Float32, what: str) -> None:
    """Raises ValueError unless a mask is float32 [128] with finite weights of at most 128."""
    if w.shape != (EMBEDDING_DIM,) or w.dtype != np.float32:
        raise ValueError(f"{what}: mask is {w.dtype} {w.shape}, not float32 ({EMBEDDING_DIM},)")
    if not np.all(np.abs(w) <= MAX_WEIGHT):
        raise ValueError(f"{what}: mask has weights that are not finite or above {MAX_WEIGHT:g}")


def scaled_queries(w: Float32, x: Float32) -> Float64:
    """q of the rule: [128] and [N, 128] → integers in float64 [N, 128]. The product of two float32 is exact."""
    return np.rint(SCALE * (w.astype(np.float64) * x.astype(np.float64)))


def scaled_base(y: Float32) -> Float32:
    """y' of the rule, kept as float32: scaling by 2^20 is exact, and integers to 2^24 are."""
    out: Float32 = np.rint(y * np.float32(SCALE))
    return out


def micro(s: Float64) -> Int32:
    """Integer sums S (any shape, float64) → micro-units, half to even.

    S · 10^6 / 2^40 rounds once in float64, by at most 2^-25 (it stays below 2^29); where that could move a value
    across a half (a few in ten million) the integers decide.
    """
    p = s * _MICRO
    r = np.rint(p)
    unsure = np.abs(p - r) > 0.5 - 2.0**-23
    if unsure.any():
        r[unsure] = _micro_integers(s[unsure].astype(np.int64))
    out: Int32 = r.astype(np.int32)
    return out


def _micro_integers(s: Int64) -> Int64:
    """S · 15625 / 2^34, half to even, in int64: the high and the low 34 bits of S apart."""
    low = (s & ((1 << 34) - 1)) * 15625  # < 2^48
    whole = (s >> 34) * 15625 + (low >> 34)
    rest = low & ((1 << 34) - 1)
    half = 1 << 33
    return whole + ((rest > half) | ((rest == half) & (whole & 1 == 1)))


def rescore(q: Float64, base: Float32, rows: Int64) -> tuple[Int32, Int32]:
    """Exact scores of chosen rows. q [N, 128], base y' [M, 128], rows [N, m] into base → score and visual [N, m].

    Raises IndexError for a row that is not in the base.
    """
    from jobs.complements import kernels

    score, visual = np.empty(rows.shape, dtype=np.int32), np.empty(rows.shape, dtype=np.int32)
    kernels.rescore(np.ascontiguousarray(q), np.ascontiguousarray(base), np.ascontiguousarray(rows), score, visual)
    return score, visual


def proposal_error(q: Float64, base_norm: float) -> Float64:
    """Bound of |float32 inner product - S| for each query, in units of S. q [N, 128] → [N].

    FAISS gets q and y' in float32. y' is exact; q is where |q| < 2^24 and off by at most u|q| elsewhere
    (u = 2^-24). A float32 dot product of n terms, in any order, with or without fused multiply-add, is off by at
    most γ_n Σ|q_d y'_d| with γ_n = nu/(1-nu) (Higham, Accuracy and Stability, eq. 3.5); one u more covers q, one
    more the product of both. Σ|q_d y'_d| ≤ ‖q‖‖y'‖ (Cauchy-Schwarz). About 8 micro-units for unit vectors.
    """
    u = 2.0**-24
    n = EMBEDDING_DIM + 2
    gamma = n * u / (1 - n * u)
    # One part in 2^40 more for the rounding of this very expression.
    return gamma * np.linalg.norm(q, axis=1) * base_norm * (1 + 2.0**-40)


def order_keys(score: Int32, rows: Int64) -> Int64:
    """Keys whose ascending order is (-score, item_id), for base rows that stand in item_id order (any shape)."""
    return (-score.astype(np.int64) << 32) | rows


def score_of_key(keys: Int64) -> Int32:
    out: Int32 = (-(keys >> 32)).astype(np.int32)
    return out


def row_of_key(keys: Int64) -> Int64:
    return keys & 0xFFFFFFFF
