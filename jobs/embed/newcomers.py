"""Which products are new: for `lists.explore_days` days from the night that first gave them a vector.

Before that night a product could stand in no list. It is the earliest run date among the product's rows of
`embeddings`, whatever photo and whatever model, so who is new rests on that table's version alone. Since when the shop
has what the table's first night embedded nobody knows: that is not new.
"""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from jobs.lake import NO_TABLE, Lake
from jobs.stage import StageContext

NEW = "new"  # the column of active products


def exploring(ctx: StageContext, products: pa.Table) -> pa.Table:
    """Active products with the column `new` where the settings want some explored; else as they are."""
    lists = ctx.settings.lists
    if not lists.explore:
        return products
    return with_new(products, ctx.lake, ctx.manifest.version("embeddings"), ctx.run.run_date, lists.explore_days)


def with_new(products: pa.Table, lake: Lake, embeddings: int, run_date: str, days: int) -> pa.Table:
    """Active products with the column `new`, by this version of `embeddings`."""
    first = first_vectors(lake, embeddings)
    if not len(first):
        return products.append_column(NEW, pa.repeat(pa.scalar(False), len(products)))
    at = pc.index_in(products["item_id"], value_set=first["item_id"].combine_chunks())
    since = first["date"].combine_chunks().take(at.combine_chunks())
    oldest = (date.fromisoformat(run_date) - timedelta(days=days)).isoformat()
    new = pc.and_(pc.greater_equal(since, oldest), pc.less_equal(since, run_date))
    new = pc.and_(new, pc.greater(since, pc.min(first["date"])))
    return products.append_column(NEW, pc.fill_null(new, False))


def first_vectors(lake: Lake, embeddings: int) -> pa.Table:
    """`item_id`, `date`: of each product that ever had a vector the date of the run that gave it the first."""
    if embeddings == NO_TABLE:
        return pa.table({"item_id": pa.array([], pa.string()), "date": pa.array([], pa.string())})
    rows = lake.read("embeddings", embeddings, columns=["item_id", "run_id"])
    dated = pa.table({"item_id": rows["item_id"], "date": pc.utf8_slice_codeunits(rows["run_id"], 0, 10)})
    return dated.group_by("item_id").aggregate([("date", "min")]).rename_columns(["item_id", "date"])
