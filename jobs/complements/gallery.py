"""Galleries: the products of a category as arrays, staged under the run for the executors to read.

`runs/<run_id>/gallery/<n>.npy` holds the vectors (memory-mapped where the lake is a folder, so that the workers of
a machine share them), `<n>.arrow` everything else; n is the category's place in the taxonomy.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.complements.finish import Shelf
from jobs.complements.hashing import UInt64, id_words
from jobs.complements.score import Bools, Float32, Float64, Int32, Int64, check_vectors, scaled_base
from jobs.complements.search import Base
from jobs.errors import DataError
from jobs.files import LocalFiles
from jobs.lake import Lake
from schemas.tables import EMBEDDING_DIM
from schemas.taxonomy import Taxonomy, fold

FOLDER = "gallery"

# Whose vector asks for a page's lists: its own, or where it has none (docs/lists.md) that of a variant, else the
# mean of its product type in the category, else the category's: the last one's list are the products with the highest
# mean score over all of the category's pages.
LEVELS = ("product", "group", "product_type", "category")
NO_QUERY = -1
_OPTIONAL = {"product_type": pa.string(), "brand": pa.string(), "price": pa.float64(), "new": pa.bool_()}


@dataclass(frozen=True)
class Gallery:
    """The products of one category, in item_id order (by bytes of UTF-8)."""

    ids: pa.StringArray
    vectors: Float32  # [N, 128] of the page's query: the product's own where it has one; zeros where there is none
    has_vector: Bools  # [N] its own: only such a product is a possible target
    level: npt.NDArray[np.int8]  # [N] place in LEVELS; NO_QUERY
    department: npt.NDArray[np.int16]  # [N] place in the taxonomy
    group: Int64  # [N] code over all categories, from 0
    in_stock: Bools  # [N]
    brand: Int32  # [N] code over all categories; -1: none
    price: Float64  # [N] nan: none
    words: UInt64  # [N, 2] of the ids, for list_hash
    new: Bools  # [N] may be drawn into lists (jobs/embed/newcomers.py)
    fresh: Bools  # [N] pages to be searched in full
    arrived: Bools  # [N] possible targets that the lists of the other pages do not know yet

    def __len__(self) -> int:
        return len(self.ids)

    def base(self, allowed: Bools, only: Bools | None = None) -> Base:
        """Possible targets for pages that may show these departments (one flag a department), or some of them."""
        may = self.has_vector & allowed[self.department]
        rows = np.flatnonzero(may if only is None else may & only)
        return Base.of(rows, scaled_base(self.vectors[rows]), self.group[rows], self.in_stock[rows])

    def shelf(self, base: Base) -> Shelf:
        return Shelf.of(base, self.group, self.in_stock, self.brand, self.price)


def galleries(products: pa.Table, taxonomy: Taxonomy, *, fallback: bool = True) -> dict[str, Gallery]:
    """Galleries of all categories from active products: item_id, category, department, group_id, in_stock, vector, and
    where there are such columns product_type, brand, price, new. All pages are fresh.

    `fallback`: a product without a vector asks with a substitute.
    Raises DataError for a vector of another length, or one that is not finite or far from unit.
    """
    for name, kind in _OPTIONAL.items():
        if name not in products.column_names:
            products = products.append_column(name, pa.nulls(len(products), kind))
    order = pc.sort_indices(products, sort_keys=[("item_id", "ascending")])
    names = ["item_id", "category", "department", "group_id", "in_stock", "vector", *_OPTIONAL]
    p = products.select(names)
    if not np.array_equal(order.to_numpy(), np.arange(len(p))):
        p = p.take(order)
    p = p.combine_chunks()
    departments = pa.array(list(taxonomy.departments))
    department = pc.index_in(p["department"], value_set=departments).to_numpy().astype(np.int16)
    group = p["group_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    brand, kind_of = _codes(p["brand"]), _codes(p["product_type"])
    price = p["price"].to_numpy().astype(np.float64)
    new = pc.fill_null(p["new"], False).to_numpy().astype(np.bool_)
    has = p["vector"].is_valid().to_numpy().astype(np.bool_)
    lengths = pc.list_value_length(p["vector"].drop_null())
    if len(lengths) and pc.any(pc.not_equal(lengths, EMBEDDING_DIM)).as_py():
        raise DataError(f"embeddings: a vector has not {EMBEDDING_DIM} dimensions; plan again with --recompute")
    vectors = np.zeros((len(p), EMBEDDING_DIM), dtype=np.float32)
    vectors[has] = pc.list_flatten(p["vector"]).to_numpy().astype(np.float32).reshape(-1, EMBEDDING_DIM)
    in_stock = p["in_stock"].to_numpy().astype(np.bool_)
    out = {}
    for category in taxonomy.categories:
        at = np.flatnonzero(pc.equal(p["category"], category).to_numpy())
        own = vectors[at]
        try:
            check_vectors(own, f"embeddings, category {category}")
        except ValueError as e:
            raise DataError(f"{e}; plan again with --recompute") from e
        level = np.where(has[at], 0, NO_QUERY).astype(np.int8)
        if fallback:
            _substitute(own, has[at], level, group[at], kind_of[at])
        ids = p["item_id"].take(pa.array(at)).combine_chunks()
        out[category] = Gallery(
            ids, own, has[at], level, department[at], group[at], in_stock[at], brand[at], price[at],
            id_words(ids.to_pylist()), new[at], np.ones(len(at), np.bool_), np.zeros(len(at), np.bool_),
        )  # fmt: skip
    return out


def _codes(column: pa.ChunkedArray) -> Int32:
    """Codes of folded names, -1 for null."""
    encoded = column.combine_chunks().dictionary_encode()
    folded: dict[str, int] = {}
    names = [folded.setdefault(fold(n), len(folded)) for n in encoded.dictionary.to_pylist()]
    codes = pc.fill_null(encoded.indices, -1).to_numpy()
    return np.append(np.array(names, dtype=np.int32), np.int32(-1))[codes]


def _substitute(vectors: Float32, has: Bools, level: npt.NDArray[np.int8], group: Int64, kind: Int32) -> None:
    """Fill the rows of products without a vector, in place. Sums run in item_id order, so they are repeatable."""
    if has.all() or not has.any():
        return
    with_vector = np.flatnonzero(has)
    groups, first = np.unique(group[with_vector], return_index=True)
    for n in np.flatnonzero(~has):
        at = int(np.searchsorted(groups, group[n]))
        if at < len(groups) and groups[at] == group[n]:
            vectors[n], level[n] = vectors[with_vector[first[at]]], 1
    for place, same in ((2, kind), (3, np.zeros(len(has), dtype=np.int32))):
        for value in np.unique(same[(level == NO_QUERY) & (same >= 0)]):
            mean = vectors[has & (same == value)].astype(np.float64).sum(axis=0)
            size = float(np.sqrt((mean * mean).sum()))
            if size > 1e-6:
                to = (level == NO_QUERY) & (same == value)
                vectors[to], level[to] = (mean / size).astype(np.float32), place


def marked(gallery: Gallery, fresh: Bools, arrived: Bools) -> Gallery:
    """The gallery of an incremental night."""
    return replace(gallery, fresh=fresh, arrived=arrived)


def stage(lake: Lake, run_id: str, all_: Mapping[str, Gallery]) -> None:
    """Write galleries under the run."""
    for n, g in enumerate(all_.values()):
        data = io.BytesIO()
        np.save(data, g.vectors)
        lake.files.write(_name(run_id, n, "npy"), data.getvalue())
        flat = {f.name: getattr(g, f.name) for f in fields(g) if f.name not in ("vectors", "words")}
        table = pa.table({**flat, "word_a": g.words[:, 0], "word_b": g.words[:, 1]})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        lake.files.write(_name(run_id, n, "arrow"), sink.getvalue().to_pybytes())


def open_gallery(lake: Lake, run_id: str, n: int) -> Gallery:
    """The staged gallery of the taxonomy's n-th category. Raises DataError where it is not there."""
    about = lake.files.read(_name(run_id, n, "arrow"))
    if about is None:
        raise DataError(f"{lake.run_uri(run_id)}/{FOLDER}: gallery {n} is not there; run the stage again")
    t = pa.ipc.open_file(about).read_all().combine_chunks()
    if isinstance(lake.files, LocalFiles):
        vectors = np.load(lake.files.root / _name(run_id, n, "npy"), mmap_mode="r")
    else:
        vectors = np.load(io.BytesIO(lake.files.read(_name(run_id, n, "npy")) or b""))

    def column(name: str) -> npt.NDArray[np.generic]:
        return t[name].to_numpy().astype(t[name].type.to_pandas_dtype())

    plain = {f.name: column(f.name) for f in fields(Gallery) if f.name not in ("ids", "vectors", "words")}
    words = np.column_stack([column("word_a"), column("word_b")])
    return Gallery(ids=t["ids"].combine_chunks(), vectors=vectors, words=words, **plain)  # type: ignore[arg-type]


def stage_products(lake: Lake, run_id: str, products: pa.Table) -> None:
    """Write what the shop's rules read of the products, vectors apart."""
    plain = products.drop_columns([c for c in ("vector", "state") if c in products.column_names])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, plain.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(plain)
    lake.files.write(f"runs/{run_id}/{FOLDER}/products.arrow", sink.getvalue().to_pybytes())


def open_products(lake: Lake, run_id: str) -> pa.Table:
    """What `stage_products` wrote. Raises DataError where it is not there."""
    data = lake.files.read(f"runs/{run_id}/{FOLDER}/products.arrow")
    if data is None:
        raise DataError(f"{lake.run_uri(run_id)}/{FOLDER}: products.arrow is not there; run the stage again")
    return pa.ipc.open_file(data).read_all()


def drop(lake: Lake, run_id: str) -> None:
    """Delete a run's galleries: once the lists are committed nobody reads them."""
    for name in lake.files.list(f"runs/{run_id}/{FOLDER}/"):
        lake.files.remove(name)


def _name(run_id: str, n: int, kind: str) -> str:
    return f"runs/{run_id}/{FOLDER}/{n:03d}.{kind}"
