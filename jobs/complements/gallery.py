"""Galleries: the products of a category as arrays, staged under the run for the executors to read.

`runs/<run_id>/gallery/<n>.npy` holds the vectors (memory-mapped where the lake is a folder, so that the workers of
a machine share them), `<n>.arrow` ids, departments, groups and stock; n is the category's place in the taxonomy.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.complements.score import Bools, Float32, Int64, check_vectors, scaled_base
from jobs.complements.search import Base
from jobs.errors import DataError
from jobs.lake import Lake, LocalFiles
from schemas.tables import EMBEDDING_DIM
from schemas.taxonomy import Taxonomy

FOLDER = "gallery"


@dataclass(frozen=True)
class Gallery:
    """The products of one category, in item_id order (by bytes of UTF-8)."""

    ids: pa.StringArray
    vectors: Float32  # [N, 128]; zeros where there is none
    has_vector: Bools  # [N]
    department: npt.NDArray[np.int16]  # [N] place in the taxonomy
    group: Int64  # [N] code over all categories, from 0
    in_stock: Bools  # [N]

    def __len__(self) -> int:
        return len(self.ids)

    def base(self, allowed: Bools) -> Base:
        """Possible targets for pages that may show these departments (one flag a department)."""
        rows = np.flatnonzero(self.has_vector & allowed[self.department])
        return Base.of(rows, scaled_base(self.vectors[rows]), self.group[rows], self.in_stock[rows])


def galleries(products: pa.Table, taxonomy: Taxonomy) -> dict[str, Gallery]:
    """Galleries of all categories from active products (item_id, category, department, group_id, in_stock, vector).

    Raises DataError for a vector of another length, or one that is not finite or far from unit.
    """
    order = pc.sort_indices(products, sort_keys=[("item_id", "ascending")])
    p = products.select(["item_id", "category", "department", "group_id", "in_stock", "vector"]).take(order)
    p = p.combine_chunks()
    departments = pa.array(list(taxonomy.departments))
    department = pc.index_in(p["department"], value_set=departments).to_numpy().astype(np.int16)
    group = p["group_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    has = p["vector"].is_valid().to_numpy().astype(np.bool_)
    lengths = pc.list_value_length(p["vector"].drop_null())
    if len(lengths) and pc.any(pc.not_equal(lengths, EMBEDDING_DIM)).as_py():
        raise DataError(f"embeddings: a vector has not {EMBEDDING_DIM} dimensions; plan again with --recompute")
    vectors = np.zeros((len(p), EMBEDDING_DIM), dtype=np.float32)
    vectors[has] = pc.list_flatten(p["vector"]).to_numpy().astype(np.float32).reshape(-1, EMBEDDING_DIM)
    out = {}
    for category in taxonomy.categories:
        at = np.flatnonzero(pc.equal(p["category"], category).to_numpy())
        try:
            check_vectors(vectors[at], f"embeddings, category {category}")
        except ValueError as e:
            raise DataError(f"{e}; plan again with --recompute") from e
        ids = p["item_id"].take(pa.array(at)).combine_chunks()
        in_stock = p["in_stock"].to_numpy().astype(np.bool_)[at]
        out[category] = Gallery(ids, vectors[at], has[at], department[at], group[at], in_stock)
    return out


def stage(lake: Lake, run_id: str, all_: Mapping[str, Gallery]) -> None:
    """Write galleries under the run."""
    for n, g in enumerate(all_.values()):
        data = io.BytesIO()
        np.save(data, g.vectors)
        lake.files.write(_name(run_id, n, "npy"), data.getvalue())
        table = pa.table(
            {"id": g.ids, "has_vector": g.has_vector, "department": g.department, "group": g.group, "stock": g.in_stock}
        )
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
    return Gallery(
        t["id"].combine_chunks(),
        vectors,
        t["has_vector"].to_numpy().astype(np.bool_),
        t["department"].to_numpy(),
        t["group"].to_numpy(),
        t["stock"].to_numpy().astype(np.bool_),
    )


def drop(lake: Lake, run_id: str) -> None:
    """Delete a run's galleries: once the lists are committed nobody reads them."""
    for name in lake.files.list(f"runs/{run_id}/{FOLDER}/"):
        lake.files.remove(name)


def _name(run_id: str, n: int, kind: str) -> str:
    return f"runs/{run_id}/{FOLDER}/{n:03d}.{kind}"
