"""How releases, lists and products look as DynamoDB items, and the definitions of the tables.

| table | key | holds |
| --- | --- | --- |
| `<prefix>_lists` | `release_shard` (`<release>#<0..63>`), `item_id` | all slots of a product in a release, as JSON |
| `<prefix>_products` | `item_id`; index `by_category` | the overlay, an attribute a field, absent where there is none |
| `<prefix>_meta` | `id` | `pointer`, `counter`, `run#<run_id>`, `release#<number>` |

A release's lists lie in 64 partitions of their own: reads and writes spread, and pruning reads that release only.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Any, Literal

from jobs.publish.dynamo_calls import Item
from jobs.publish.store import ListRow, Pointer, ProductRow, ReleaseInfo, slots_to_json

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import CreateTableInputTypeDef

SHARDS = 64
INDEX = "by_category"
_PRODUCT = tuple(f.name for f in fields(ProductRow))
_NUMBERS = {"number", "lists", "items"}


def definitions(prefix: str) -> list[CreateTableInputTypeDef]:
    """CreateTable requests of the three tables, pay per request."""

    def table(name: str, *keys: str) -> CreateTableInputTypeDef:
        kinds: list[Literal["HASH", "RANGE"]] = ["HASH", "RANGE"]
        return {
            "TableName": f"{prefix}_{name}",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": n, "AttributeType": "S"} for n in keys],
            "KeySchema": [{"AttributeName": n, "KeyType": kind} for n, kind in zip(keys, kinds, strict=False)],
        }

    products = table("products", "item_id")
    products["AttributeDefinitions"] = table("", "item_id", "category")["AttributeDefinitions"]
    products["GlobalSecondaryIndexes"] = [
        {
            "IndexName": INDEX,
            "KeySchema": table("", "category", "item_id")["KeySchema"],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ]
    return [table("lists", "release_shard", "item_id"), products, table("meta", "id")]


def shard_names(release: int) -> list[str]:
    return [f"{release}#{n}" for n in range(SHARDS)]


def list_key(release: int, item_id: str) -> Item:
    shard = zlib.crc32(item_id.encode()) % SHARDS
    return {"release_shard": {"S": f"{release}#{shard}"}, "item_id": {"S": item_id}}


def list_item(release: int, row: ListRow) -> Item:
    return {**list_key(release, row.item_id), "slots": {"S": slots_to_json(row.slots)}}


def digest(row: ProductRow) -> str:
    """Short hash of a product's values: equal rows are not written again."""
    text = json.dumps(astuple(row), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def product_item(row: ProductRow) -> Item:
    item: Item = {"digest": {"S": digest(row)}}
    for name in _PRODUCT:
        value = getattr(row, name)
        if isinstance(value, bool):
            item[name] = {"BOOL": value}
        elif isinstance(value, float | int):
            item[name] = {"N": repr(value)}
        elif value:  # older servers refuse an empty string, and to a page it is no value
            item[name] = {"S": value}
    return item


def product_of(item: Item) -> ProductRow:
    values: dict[str, Any] = dict.fromkeys(_PRODUCT)
    for name in _PRODUCT:
        if name in item:
            ((kind, value),) = item[name].items()
            values[name] = float(value) if kind == "N" else value
    return ProductRow(**values)


def release_key(number: int) -> Item:
    return {"id": {"S": f"release#{number:010d}"}}


def release_item(release: ReleaseInfo) -> Item:
    values = {f.name: getattr(release, f.name) for f in fields(ReleaseInfo)}
    return release_key(release.number) | {n: {"N": str(v)} if n in _NUMBERS else {"S": v} for n, v in values.items()}


def release_of(item: Item) -> ReleaseInfo:
    values: dict[str, Any] = {
        f.name: int(item[f.name]["N"]) if f.name in _NUMBERS else item[f.name]["S"] for f in fields(ReleaseInfo)
    }
    return ReleaseInfo(**values)


def pointer_item(pointer: Pointer) -> Item:
    return {
        "id": {"S": "pointer"},
        "release": {"N": str(pointer.release)},
        "revision": {"N": str(pointer.revision)},
        "history": {"S": json.dumps(pointer.history)},
    }


def pointer_of(item: Item) -> Pointer:
    return Pointer(int(item["release"]["N"]), int(item["revision"]["N"]), tuple(json.loads(item["history"]["S"])))
