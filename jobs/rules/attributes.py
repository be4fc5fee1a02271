"""What rules read of products, as arrays: one bundle a category."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.taxonomy import Taxonomy

Bools = npt.NDArray[np.bool_]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Codes:
    """A column of folded values: `names[codes[n]]`, -1 where there is none. All categories share the names."""

    codes: Int32  # [N]
    names: tuple[str, ...]

    def take(self, rows: Int64) -> Codes:
        return Codes(self.codes[rows], self.names)


@dataclass(frozen=True)
class Many:
    """A column of sets of folded values: row n has `names[codes[starts[n]:starts[n + 1]]]`."""

    starts: Int64  # [N + 1]
    codes: Int32
    names: tuple[str, ...]


@dataclass(frozen=True)
class Attributes:
    """The products of one category, in item_id order (by bytes of UTF-8), as rules see them."""

    ids: pa.StringArray
    category: str
    called: frozenset[str]  # folded names of the category: its own and its aliases
    group: Int64  # [N] code over all categories, from 0, as in jobs.complements.gallery
    department: Int16  # [N] place in the taxonomy
    departments: tuple[frozenset[str], ...]  # of each place: folded names, its own and its aliases
    brand: Codes
    product_type: Codes
    season: Codes
    price: Float64  # [N] nan where there is none
    tags: Many
    markets: Many
    in_stock: Bools  # [N]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Int64) -> Attributes:
        """These rows, in this order."""
        raise NotImplementedError


def attributes(products: pa.Table, taxonomy: Taxonomy) -> dict[str, Attributes]:
    """Attributes of every category's products from `catalog` columns; order as jobs.complements.gallery.galleries.

    Optional columns may be missing from the table (season, tags, markets, brand, product_type, price).
    """
    raise NotImplementedError
