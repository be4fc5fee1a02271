"""Table contracts of the lake: columns, keys, partitions and kind (design section 4).

Source of truth for every reader and writer; `docs/tables.md` explains the columns. All are written by
delta-rs; Spark reads them as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

EMBEDDING_DIM = 128
VISUAL_DIM = 96  # the first dimensions; the remaining 32 are colour

# Required and further columns of a catalogue file (CSV or Parquet), by name.
CATALOG_REQUIRED: tuple[str, ...] = ("item_id", "category", "image")
CATALOG_OPTIONAL: tuple[str, ...] = (
    "title", "product_type", "department", "age_group", "brand", "group_id",
    "price", "currency", "availability", "updated_at", "season", "tags", "markets",
)  # fmt: skip

MANY = "|"  # between the values of tags and markets in a CSV; in Parquet a list<string> will do as well

AVAILABILITY = ("in_stock", "out_of_stock", "preorder", "backorder")
IN_STOCK = ("in_stock", "preorder", "backorder")  # may be shown as a complement


@dataclass(frozen=True)
class Table:
    """One table: its Arrow schema and its key."""

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    kind: Literal["content", "log"]
    partition_by: tuple[str, ...] = ()


def _s(name: str, nullable: bool = True) -> pa.Field:
    return pa.field(name, pa.string(), nullable=nullable)


# Of the rows of one key the last written holds; the others are its past, until the slice is written as a whole again.
# jobs/complements/generations.py reads tables that have these columns.
GENERATION = (
    pa.field("written", pa.int32(), nullable=False),  # 0 of a whole slice, then counting up by nights with changes
    pa.field("removed", pa.bool_(), nullable=False),  # the key is no more; every other column is empty or 0
)


CATALOG = Table(
    "catalog",
    pa.schema(
        [
            _s("snapshot", False),  # ISO date; the run_date the snapshot was taken for
            _s("item_id", False),
            _s("category", False),  # a taxonomy category
            _s("image", False),  # as the catalogue gave it
            _s("image_uri", False),  # resolved: absolute file path or http(s)/s3 address
            _s("source_fingerprint"),  # cheap identity of the image at its source; null = not there
            _s("title"),
            _s("product_type"),
            _s("department", False),  # a taxonomy department: women, men, unisex, girls, boys, kids
            _s("brand"),
            _s("group_id", False),  # variants of one product; the item_id where the catalogue gives none
            pa.field("price", pa.float64()),
            _s("currency"),
            _s("availability", False),
            pa.field("in_stock", pa.bool_(), nullable=False),
            _s("updated_at"),
            _s("season"),
            pa.field("tags", pa.list_(pa.string())),  # null = none
            pa.field("markets", pa.list_(pa.string())),  # where it is sold; null = everywhere
        ]
    ),
    ("snapshot", "item_id"),
    "content",
    ("snapshot",),
)

REJECTED_ROWS = Table(
    "rejected_rows",
    pa.schema(
        [
            _s("run_id", False),
            pa.field("row", pa.int64(), nullable=False),  # 1-based data row in the file
            _s("item_id"),
            _s("field", False),
            _s("value"),
            _s("reason", False),
        ]
    ),
    ("run_id", "row"),
    "log",
)

EMBEDDINGS = Table(
    "embeddings",
    pa.schema(
        [
            _s("item_id", False),
            _s("image_fingerprint", False),  # of the image's bytes
            _s("source_fingerprint", False),  # what the source said when these bytes were read
            _s("model_version", False),
            pa.field("vector", pa.list_(pa.float32()), nullable=False),  # [EMBEDDING_DIM], unit norm
            _s("run_id", False),
        ]
    ),
    ("item_id", "image_fingerprint", "model_version"),
    "content",
    ("model_version",),
)

QUARANTINE = Table(
    "quarantine",
    pa.schema(
        [
            _s("item_id", False),
            _s("image_fingerprint", False),  # of the bytes; of the source where none could be read
            _s("source_fingerprint"),
            _s("model_version", False),
            _s("error_class", False),  # medal_model.image_errors.ImageKind, jobs.images.source.PASSING
            _s("message", False),
            pa.field("attempts", pa.int32(), nullable=False),
            _s("retry_from", False),  # ISO date; not tried again before
            _s("run_id", False),
        ]
    ),
    ("item_id", "image_fingerprint", "model_version"),
    "content",
    ("model_version",),
)

CANDIDATES = Table(
    "candidates",
    pa.schema(
        [
            _s("item_id", False),
            _s("source_category", False),
            _s("target_category", False),
            _s("model_version", False),
            pa.field("neighbour_ids", pa.list_(pa.string()), nullable=False),  # by (-score, item_id)
            pa.field("scores", pa.list_(pa.int32()), nullable=False),  # micro-units
            pa.field("visuals", pa.list_(pa.int32()), nullable=False),  # micro-units; colour = score - visual
            # Every possible target with a score above this is listed. INT32_MIN: all possible targets are.
            pa.field("horizon", pa.int32(), nullable=False),
            *GENERATION,
        ]
    ),
    ("item_id", "target_category", "model_version"),
    "content",
    ("model_version", "source_category"),
)

# Why an item stands in a list; the place here is its number in list_hash. A pin and an own list carry no score.
REASONS = ("model", "pin", "list", "boost", "bury", "explore")
UNSCORED = ("pin", "list")

COMPLEMENT = pa.struct(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("score", pa.int32()),  # micro-units; null for a pin
        pa.field("visual", pa.int32()),
        pa.field("colour", pa.int32()),
        pa.field("reason", pa.string(), nullable=False),  # of REASONS
    ]
)

COMPLEMENTS = Table(
    "complements",
    pa.schema(
        [
            _s("item_id", False),
            _s("source_category", False),
            _s("target_category", False),
            _s("model_version", False),
            pa.field("slot", pa.int32(), nullable=False),  # display order of the target category, from 0
            pa.field("items", pa.list_(COMPLEMENT), nullable=False),  # at most k, in rank order
            pa.field("size", pa.int32(), nullable=False),
            pa.field("feasible", pa.int32(), nullable=False),  # min(k, groups that could fill it, rules apart)
            _s("empty_reason"),  # why size is 0: no_vector, no_target; null otherwise
            _s("level"),  # whose vector asked: product, group, product_type, category; null: none could
            _s("list_hash", False),  # of the published part: ids, scores, visual, colour, reasons
            *GENERATION,
        ]
    ),
    ("item_id", "target_category", "model_version"),
    "content",
    ("model_version", "source_category"),
)

QUALITY_RESULTS = Table(
    "quality_results",
    pa.schema(
        [
            _s("run_id", False),
            _s("suite", False),
            _s("check", False),
            _s("severity", False),  # critical, warning
            _s("outcome", False),  # passed, failed, crashed
            _s("observed"),
            _s("expected"),
            _s("message"),
        ]
    ),
    ("run_id", "suite", "check"),
    "log",
)

RUN_METRICS = Table(
    "run_metrics",
    pa.schema(
        [
            _s("run_id", False),
            _s("stage", False),
            _s("metric", False),
            pa.field("value", pa.float64(), nullable=False),
            _s("at", False),  # wall clock, UTC: a log
        ]
    ),
    ("run_id", "stage", "metric"),
    "log",
)

RELEASES = Table(
    "releases",
    pa.schema(
        [
            pa.field("release", pa.int64(), nullable=False),
            _s("run_id", False),
            _s("event", False),  # published, announced, rolled_back, withheld
            _s("detail"),
            _s("at", False),
        ]
    ),
    ("release", "event", "at"),
    "log",
)

TABLES: dict[str, Table] = {
    t.name: t
    for t in (CATALOG, REJECTED_ROWS, EMBEDDINGS, QUARANTINE, CANDIDATES, COMPLEMENTS,
              QUALITY_RESULTS, RUN_METRICS, RELEASES)
}  # fmt: skip
