"""`list_hash`: 128 bits over the published part of a list, so that two nights' lists can be told apart cheaply; and
`Digest`: the content of many rows whatever their order, so that what is written is known without being read.

Two 64-bit lanes, a from 1 and b from 2. Each word w of a list: a = mix(a ^ w), b = mix(b + w), mix being the finaliser
of SplitMix64 (Steele et al., OOPSLA 2014). Words of an entry: the first two little-endian 64-bit words of
sha256(item_id), then score << 32 | visual (32 bits each; all ones where they are null), then the reason's number.
The hash is a and b in 16 hex digits each.

A row's hash folds its columns the same way, h = mix(h ^ w) from 3 on; a digest is the rows' number, the sum of their
hashes and the exclusive or of mix(h + 1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.complements.score import Int32, Int64
from medal_model.compiled import compiled

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


def list_lanes(
    words: UInt64, rows: Int64, score: Int32, visual: Int32, reason: Int8, size: Int32, scored: Int8
) -> UInt64:
    """Hashes of N lists as two lanes [N, 2]: `words` [T, 2] of the targets, rows … [N, k]; `scored`: has a reason's
    entry a score."""
    lanes: UInt64 = _lanes(words, rows, score, visual, reason, size, scored)
    return lanes


def as_text(lanes: UInt64) -> pa.Array:
    """Lanes [N, 2] as 32 hex digits each."""
    digits = np.ascontiguousarray(lanes.astype(">u8")).view(np.uint8).reshape(len(lanes), 16)
    text = np.ascontiguousarray(_HEX[digits]).view("S32").ravel()
    return pa.array(text, pa.binary(32)).cast(pa.binary()).cast(pa.string())


def lanes_of(texts: pa.Array) -> UInt64:
    """The lanes [N, 2] that `as_text` wrote. Raises ValueError for a text of another length."""
    if not len(texts):
        return np.zeros((0, 2), dtype=np.uint64)
    if pc.min_max(pc.binary_length(texts)).as_py() != {"min": 32, "max": 32} or texts.null_count:
        raise ValueError("a list_hash has not 32 digits")
    flat = texts.cast(pa.binary()).cast(pa.binary(32))
    digits = np.frombuffer(flat.buffers()[1], dtype=np.uint8)[flat.offset * 32 : (flat.offset + len(flat)) * 32]
    lanes: UInt64 = _read_lanes(digits.reshape(len(texts), 32))
    return lanes


@compiled()
def _read_lanes(digits: npt.NDArray[np.uint8]) -> UInt64:
    out = np.empty((len(digits), 2), dtype=np.uint64)
    for i in range(len(digits)):
        for lane in range(2):
            value = np.uint64(0)
            for c in digits[i, 16 * lane : 16 * lane + 16]:
                value = (value << np.uint64(4)) | np.uint64(c - 48 if c <= 57 else c - 87)
            out[i, lane] = value
    return out


@compiled()
def _near_lane(words: UInt64, rows: Int64, score: Int32, visual: Int32) -> UInt64:
    out = np.empty(len(rows), dtype=np.uint64)
    for i in range(len(rows)):
        h = np.uint64(3)
        for j in range(rows.shape[1]):
            r = rows[i, j]
            if r >= 0:
                h = _mix(h ^ words[r, 0])
                high = np.uint64(np.uint32(score[i, j]))
                h = _mix(h ^ ((high << np.uint64(32)) | np.uint64(np.uint32(visual[i, j]))))
        out[i] = h
    return out


def near_lane(words: UInt64, rows: Int64, score: Int32, visual: Int32) -> UInt64:
    """A hash [N] of stored neighbours: rows (-1: none), score, visual [N, D], `words` [T, 2] of the targets."""
    lane: UInt64 = _near_lane(words, rows, score, visual)
    return lane


@dataclass(frozen=True)
class Digest:
    """Content of rows whatever their order."""

    rows: int = 0
    total: int = 0
    mixed: int = 0

    def __add__(self, other: Digest) -> Digest:
        return Digest(self.rows + other.rows, (self.total + other.total) % 2**64, self.mixed ^ other.mixed)


@compiled()
def _fold(columns: UInt64) -> tuple[np.uint64, np.uint64]:
    total, mixed = np.uint64(0), np.uint64(0)
    for i in range(columns.shape[1]):
        h = np.uint64(3)
        for c in range(len(columns)):
            h = _mix(h ^ columns[c, i])
        total += h
        mixed ^= _mix(h + np.uint64(1))
    return total, mixed


def digest(*columns: npt.NDArray[np.generic] | int) -> Digest:
    """Digest of N rows given by columns of integers [N] and numbers that hold for all rows; the first is a column."""
    n = len(columns[0])  # type: ignore[arg-type]
    matrix = np.empty((len(columns), n), dtype=np.uint64)
    for c, column in enumerate(columns):
        matrix[c] = column if isinstance(column, int) else column.astype(np.uint64)
    total, mixed = _fold(matrix)
    return Digest(n, int(total), int(mixed))


def word(text: str) -> int:
    """64 bits of a text, as a column of `digest` takes them."""
    return int(id_words([text])[0, 0])
