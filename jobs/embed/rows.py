"""Rows of `embeddings` as the stage builds and commits them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from jobs.embed.draw import Todo
from schemas.tables import EMBEDDINGS


def row_of(todo: Todo, image: str, vector: list[float], model: str, run_id: str) -> dict[str, Any]:
    """The vector of an image's bytes (`image`: their fingerprint) for one product."""
    return {
        "item_id": todo.item_id,
        "image_fingerprint": image,
        "source_fingerprint": todo.source_fingerprint,
        "model_version": model,
        "vector": vector,
        "run_id": run_id,
    }


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """What a slice's commit writes."""
    return pa.Table.from_pylist(rows, schema=EMBEDDINGS.schema)
