"""What rules read of products, as arrays: one bundle a category, and which rows a condition matches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.rules import EVERYTHING, Condition, Range
from schemas.taxonomy import Taxonomy, fold

Bools = npt.NDArray[np.bool_]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class Names(tuple[str, ...]):
    """Folded values of a column, by code."""

    @cached_property
    def code(self) -> dict[str, int]:
        return {name: n for n, name in enumerate(self)}

    def among(self, values: Iterable[str]) -> Bools:
        """One flag a code, and a last one, False, which code -1 meets: is it one of these values?"""
        flags = np.zeros(len(self) + 1, dtype=np.bool_)
        flags[[self.code[v] for v in values if v in self.code]] = True
        return flags


@dataclass(frozen=True, eq=False)
class Codes:
    """A column of folded values: `names[codes[n]]`, -1 where there is none. All categories share the names."""

    codes: Int32  # [N]
    names: Names

    def take(self, rows: Int64) -> Codes:
        return Codes(self.codes[rows], self.names)

    def among(self, values: Iterable[str]) -> Bools:
        return self.names.among(values)[self.codes]


@dataclass(frozen=True, eq=False)
class Many:
    """A column of sets of folded values: row n has `names[codes[starts[n]:starts[n + 1]]]`."""

    starts: Int64  # [N + 1]
    codes: Int32
    names: Names

    def take(self, rows: Int64) -> Many:
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        at = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], lengths)
        return Many(starts, self.codes[at], self.names)

    def among(self, values: Iterable[str]) -> Bools:
        """Rows with any of these values."""
        out = np.zeros(len(self.starts) - 1, dtype=np.bool_)
        hits = np.flatnonzero(self.names.among(values)[self.codes])
        out[np.searchsorted(self.starts, hits, side="right") - 1] = True
        return out

    @property
    def empty(self) -> Bools:
        return np.diff(self.starts) == 0


@dataclass(frozen=True, eq=False)
class Attributes:
    """The products of one category, in item_id order (by bytes of UTF-8), as rules see them."""

    ids: pa.StringArray
    category: str
    called: frozenset[str]  # folded names of the category: its own, its title, its aliases
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
    _seen: dict[Condition, Bools] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __getstate__(self) -> dict[str, Any]:
        """What travels: no caches."""
        return {k: {} if k == "_seen" else v for k, v in self.__dict__.items() if k != "rows_of"}

    def take(self, rows: Int64) -> Attributes:
        """These rows, in this order."""
        return Attributes(
            self.ids.take(pa.array(rows)), self.category, self.called, self.group[rows], self.department[rows],
            self.departments, self.brand.take(rows), self.product_type.take(rows), self.season.take(rows),
            self.price[rows], self.tags.take(rows), self.markets.take(rows), self.in_stock[rows],
        )  # fmt: skip

    @cached_property
    def rows_of(self) -> dict[str, list[int]]:
        """Rows by folded item_id."""
        out: dict[str, list[int]] = {}
        for n, item_id in enumerate(self.ids.to_pylist()):
            out.setdefault(fold(item_id), []).append(n)
        return out

    def row(self, item_id: str) -> int:
        """The row of an item id: as written where there is such a product, else whatever its case; -1 if none."""
        rows = self.rows_of.get(fold(item_id), [])
        return next((n for n in rows if self.ids[n].as_py() == item_id), rows[0] if rows else -1)

    def department_among(self, values: Iterable[str]) -> Bools:
        wanted = frozenset(values)
        flags = np.array([bool(names & wanted) for names in self.departments], dtype=np.bool_)
        out: Bools = flags[self.department]
        return out

    def matching(self, condition: Condition) -> Bools:
        """[N] which products a condition matches; worked out once. An attribute that is missing matches nothing."""
        found = self._seen.get(condition)
        if found is None:
            found = self._seen[condition] = self._match(condition)
            found.flags.writeable = False
        return found

    def _match(self, c: Condition) -> Bools:
        if c.category and not self.called.intersection(c.category):
            return np.zeros(len(self), dtype=np.bool_)
        out = np.ones(len(self), dtype=np.bool_)
        if c == EVERYTHING:
            return out
        if c.item:
            out[:] = False
            out[[n for v in c.item for n in self.rows_of.get(v, ())]] = True
        for codes, values in ((self.brand, c.brand), (self.product_type, c.product_type), (self.season, c.season)):
            if values:
                out &= codes.among(values)
        if c.department:
            out &= self.department_among(c.department)
        if c.tag:
            out &= self.tags.among(c.tag)
        if c.price is not None:
            out &= within(self.price, c.price)
        return out


def within(price: Float64, range_: Range) -> Bools:
    """Which prices lie in a range, its ends included; none that is missing."""
    low = -np.inf if range_.min is None else range_.min
    high = np.inf if range_.max is None else range_.max
    out: Bools = (price >= low) & (price <= high)
    return out


def attributes(products: pa.Table, taxonomy: Taxonomy) -> dict[str, Attributes]:
    """Attributes of every category's products from `catalog` columns; order as jobs.complements.gallery.galleries.

    The columns brand, product_type, season, price, tags and markets may be missing.
    """
    p = products.take(pc.sort_indices(products, sort_keys=[("item_id", "ascending")])).combine_chunks()
    n = p.num_rows

    def column(name: str, kind: pa.DataType) -> pa.Array:
        if name not in p.column_names:
            return pa.nulls(n, kind)
        return p[name].cast(kind).combine_chunks()

    places = pa.array(list(taxonomy.departments))
    all_ = Attributes(
        ids=column("item_id", pa.string()),
        category="",
        called=frozenset(),
        group=column("group_id", pa.string()).dictionary_encode().indices.to_numpy().astype(np.int64),
        department=pc.index_in(column("department", pa.string()), value_set=places).to_numpy().astype(np.int16),
        departments=_called(taxonomy.departments, taxonomy.department_aliases),
        brand=_codes(column("brand", pa.string())),
        product_type=_codes(column("product_type", pa.string())),
        season=_codes(column("season", pa.string())),
        price=column("price", pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64),
        tags=_many(column("tags", pa.list_(pa.string()))),
        markets=_many(column("markets", pa.list_(pa.string()))),
        in_stock=column("in_stock", pa.bool_()).to_numpy(zero_copy_only=False).astype(np.bool_),
    )
    category = column("category", pa.string())
    out = {}
    for name, called in zip(taxonomy.categories, _called(taxonomy.titles, taxonomy.aliases), strict=True):
        mine = all_.take(np.flatnonzero(pc.equal(category, name).to_numpy(zero_copy_only=False)))
        object.__setattr__(mine, "category", name)
        object.__setattr__(mine, "called", called | {fold(taxonomy.titles[name])})
        out[name] = mine
    return out


def _called(names: Iterable[str], aliases: Any) -> tuple[frozenset[str], ...]:
    return tuple(frozenset({fold(name)} | {a for a, n in aliases.items() if n == name}) for name in names)


def _codes(values: pa.Array) -> Codes:
    encoded = values.dictionary_encode()
    folded = [fold(v) for v in encoded.dictionary.to_pylist()]
    names = Names(sorted(set(folded) - {""}))
    code = np.array([names.code.get(f, -1) for f in folded] + [-1], dtype=np.int32)
    at = encoded.indices.fill_null(len(folded)).to_numpy()
    return Codes(code[at], names)


def _many(values: pa.Array) -> Many:
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy().astype(np.int64)
    flat = _codes(pc.list_flatten(values))
    keep = flat.codes >= 0
    row = np.repeat(np.arange(len(values)), lengths)[keep]
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(values)))]).astype(np.int64)
    return Many(starts, flat.codes[keep], flat.names)
