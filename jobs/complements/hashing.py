"""`list_hash`: 128 bits over the published part of a list, so that two nights' lists can be told apart cheaply.

Two 64-bit lanes, a from 1 and b from 2. Each word w of a list: a = mix(a ^ w), b = mix(b + w), mix being the finaliser
of SplitMix64 (Steele et al., OOPSLA 2014). Words of an entry: the first two little-endian 64-bit words of
sha256(item_id), then score << 32 | visual (32 bits each; all ones where they are null), then the reason's number.
The hash is a and b in 16 hex digits each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.complements.compiled import compiled
from jobs.complements.score import Int32, Int64

Int8 = npt.NDArray[np.int8]
UInt64 = npt.NDArray[np.uint64]
_HEX = np.frombuffer("".join(f"{n:02x}" for n in range(256)).encode(), dtype=np.uint16)


def id_words(ids: Iterable[str]) -> UInt64:
    """uint64 [N, 2] of item ids."""
    digests = b"".join(hashlib.sha256(i.encode()).digest()[:16] for i in ids)
    return np.frombuffer(digests, dtype="<u8").reshape(-1, 2).astype(np.uint64)


@compiled()
def _mix(x: np.uint64) -> np.uint64:
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled()
def _lanes(words: UInt64, rows: Int64, score: Int32, visual: Int32, reason: Int8, size: Int32, scored: Int8) -> UInt64:
    out = np.empty((len(rows), 2), dtype=np.uint64)
    for i in range(len(rows)):
        a, b = np.uint64(1), np.uint64(2)
        for j in range(size[i]):
            value = np.uint64(0xFFFFFFFFFFFFFFFF)
            if scored[reason[i, j]]:
                high = np.uint64(np.uint32(score[i, j]))
                value = (high << np.uint64(32)) | np.uint64(np.uint32(visual[i, j]))
            r = rows[i, j]
            a, b = _mix(a ^ words[r, 0]), _mix(b + words[r, 0])
            a, b = _mix(a ^ words[r, 1]), _mix(b + words[r, 1])
            a, b = _mix(a ^ value), _mix(b + value)
            why = np.uint64(reason[i, j])
            a, b = _mix(a ^ why), _mix(b + why)
        out[i, 0], out[i, 1] = a, b
    return out


def list_hashes(
    words: UInt64, rows: Int64, score: Int32, visual: Int32, reason: Int8, size: Int32, scored: Int8
) -> pa.Array:
    """Hashes of N lists: `words` [T, 2] of the targets, rows … [N, k]; `scored`: has a reason's entry a score."""
    lanes = _lanes(words, rows, score, visual, reason, size, scored)
    digits = np.ascontiguousarray(lanes.astype(">u8")).view(np.uint8).reshape(len(rows), 16)
    text = np.ascontiguousarray(_HEX[digits]).view("S32").ravel()
    return pa.array(text, pa.binary(32)).cast(pa.binary()).cast(pa.string())
