"""Reading `candidates` and `complements`: of the rows of a key, the last written.

A night with few changes adds rows of the keys that changed (`written` one higher than before) and leaves the files of
the others alone. `live` takes what holds out of all that is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.lake import Lake

Bools = npt.NDArray[np.bool_]
KEY = ("item_id", "target_category", "written", "removed")


def live(rows: pa.Table) -> Bools:
    """[N] which of these rows (with the columns of KEY) hold. All rows of a key must be among them."""
    removed = rows["removed"].to_numpy().astype(np.bool_)
    written = rows["written"].to_numpy()
    if not len(written) or written.max() == 0:
        return ~removed
    targets = int((target := _codes(rows["target_category"])).max()) + 1
    key = _codes(rows["item_id"]).astype(np.int64) * targets + target
    # The later one in this order wins: written ascending, so files that are read in order cost next to nothing.
    order = np.argsort(written, kind="stable")
    last = np.full(int(key.max()) + 1, -1, dtype=np.int64)
    last[key[order]] = order
    out: Bools = last[key] == np.arange(len(key))
    return out & ~removed


def read_live(
    lake: Lake,
    table: str,
    version: int,
    *,
    columns: Sequence[str] | None = None,
    filters: Sequence[tuple[str, str, Any]] | None = None,
) -> pa.Table:
    """As `Lake.read`, rows that hold alone. Filters must keep all rows of a key or none: on model, category, item."""
    wanted = None if columns is None else list(dict.fromkeys([*columns, *KEY]))
    rows = lake.read(table, version, columns=wanted, filters=filters)
    rows = rows.filter(pa.array(live(rows)))
    return rows if columns is None else rows.select(list(columns))


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    if not pa.types.is_dictionary(column.type):
        column = column.combine_chunks().dictionary_encode()
    else:
        column = column.unify_dictionaries()
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    codes: npt.NDArray[np.int32] = np.concatenate([c.indices.to_numpy(zero_copy_only=False) for c in chunks])
    return codes
