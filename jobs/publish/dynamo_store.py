"""The PDP store in DynamoDB, through boto3's low-level client.

Needs no transactions and no TTL: every step is a conditional write, or a put that may be repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from jobs.errors import DataError, SettingsError, TransientError
from jobs.publish.dynamo_calls import DEADLINE_S, Batches, Item, code_of, faults
from jobs.publish.dynamo_items import (
    INDEX,
    definitions,
    digest,
    list_item,
    list_key,
    pointer_item,
    pointer_of,
    product_item,
    product_of,
    release_item,
    release_key,
    release_of,
    shard_names,
)
from jobs.publish.store import (
    HISTORY,
    KEEP_RELEASES,
    ListRow,
    Pointer,
    PointerMoved,
    ProductRow,
    ProductSync,
    ReleaseInfo,
    SlotList,
    UnknownRelease,
    check_announceable,
    prunable,
    slots_from_json,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_READY_S = 120.0  # a new table is usable within seconds


class DynamoStore:
    """`PdpStore` in three tables. See jobs.publish.store for what the operations promise."""

    embedded = False

    def __init__(
        self,
        prefix: str,
        *,
        region: str,
        endpoint_url: str | None = None,
        deadline_s: float = DEADLINE_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.prefix, self.region, self.endpoint_url = prefix, region, endpoint_url
        self.lists, self.products, self.meta = (f"{prefix}_{t}" for t in ("lists", "products", "meta"))
        self._deadline_s, self._sleep = deadline_s, sleep

    @property
    def where(self) -> str:
        return f"DynamoDB {self.endpoint_url or self.region} ({self.prefix}_*)"

    @cached_property
    def client(self) -> DynamoDBClient:
        """Made at first use; safe to share between threads."""
        import boto3
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "max_attempts": 3},
            connect_timeout=3,
            read_timeout=10,
            max_pool_connections=32,
        )
        with faults(self.where, "connect"):
            try:
                return boto3.Session().client(
                    "dynamodb", region_name=self.region, endpoint_url=self.endpoint_url, config=config
                )
            except ValueError as e:
                raise SettingsError(f"store.endpoint_url: {e}; write it like http://127.0.0.1:8000") from e

    @cached_property
    def batches(self) -> Batches:
        return Batches(self.client, self.where, deadline_s=self._deadline_s, sleep=self._sleep)

    def init(self) -> list[str]:
        created = []
        for spec in definitions(self.prefix):
            name = spec["TableName"]
            with faults(self.where, f"create {name}"):
                try:
                    self.client.create_table(**spec)
                    created.append(name)
                except ClientError as e:
                    if code_of(e) != "ResourceInUseException":
                        raise
        until = time.monotonic() + _READY_S
        for name in (self.lists, self.products, self.meta):
            while True:
                with faults(self.where, f"describe {name}"):
                    if self.client.describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE":
                        break
                if time.monotonic() > until:
                    raise TransientError(f"{self.where}: {name} is not active after {_READY_S:.0f} s; look again later")
                time.sleep(0.2)
        return created

    # --- small helpers ----------------------------------------------------------------------------------------

    def _get(self, table: str, key: Item) -> Item | None:
        with faults(self.where, f"read from {table}"):
            return self.client.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")

    def _put_if(
        self, item: Item, condition: str, values: Item | None = None, names: dict[str, str] | None = None
    ) -> bool:
        """Put into the meta table under a condition; False where it does not hold."""
        extra: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
        if names:
            extra["ExpressionAttributeNames"] = names
        try:
            with faults(self.where, f"write to {self.meta}"):
                self.client.put_item(TableName=self.meta, Item=item, ConditionExpression=condition, **extra)
        except ClientError:  # only failed conditions come through `faults`
            return False
        return True

    def _pages(self, operation: str, **arguments: Any) -> Iterator[Item]:
        """All items of a query or scan."""
        call = getattr(self.client, operation)
        start: dict[str, Any] = {}
        while True:
            with faults(self.where, f"{operation} {arguments['TableName']}"):
                page = call(**arguments, **start)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    # --- releases ---------------------------------------------------------------------------------------------

    def begin_release(self, run_id: str, run_date: str, model_version: str, content_hash: str) -> ReleaseInfo:
        number = self._number_of(run_id)
        new = ReleaseInfo(number, run_id, run_date, model_version, content_hash, "writing")
        if self._put_if(release_item(new), "attribute_not_exists(id)"):
            return new
        found = self.release(number)
        assert found is not None  # releases are never deleted, only pruned
        if (found.content_hash, found.model_version) != (content_hash, model_version):
            raise DataError(f"{run_id}: release {number} of this run has other lists; plan the date with --recompute")
        if found.state == "pruned":
            self._set_state(found, "writing")
            return replace(found, state="writing")
        return found

    def _number_of(self, run_id: str) -> int:
        """The run's release number, given out once. A number lost by a kill in between stays unused."""
        key = {"id": {"S": f"run#{run_id}"}}
        if (item := self._get(self.meta, key)) is None:
            with faults(self.where, f"write to {self.meta}"):
                counted = self.client.update_item(
                    TableName=self.meta,
                    Key={"id": {"S": "counter"}},
                    UpdateExpression="ADD releases :one",
                    ExpressionAttributeValues={":one": {"N": "1"}},
                    ReturnValues="UPDATED_NEW",
                )
            item = {**key, "number": counted["Attributes"]["releases"]}
            if not self._put_if(item, "attribute_not_exists(id)"):  # another publisher of the same run was first
                item = self._get(self.meta, key)
                assert item is not None
        return int(item["number"]["N"])

    def _set_state(self, release: ReleaseInfo, state: Any) -> bool:
        item = release_item(replace(release, state=state))
        return self._put_if(item, "#state = :was", {":was": {"S": release.state}}, {"#state": "state"})

    def put_lists(self, release: int, rows: Iterable[ListRow]) -> int:
        found = self.release(release)
        if found is None or found.state != "writing":
            raise UnknownRelease(f"release {release}: {found.state if found else 'unknown'}, so it takes no lists")
        return self.batches.put(self.lists, (list_item(release, r) for r in rows), ("release_shard", "item_id"))

    def complete_release(self, release: int, *, lists: int, items: int) -> ReleaseInfo:
        found = self.release(release)
        if found is not None and found.state == "writing":
            self._set_state(replace(found, lists=lists, items=items), "complete")
            found = self.release(release)
        return check_announceable(release, found)

    def release(self, number: int) -> ReleaseInfo | None:
        item = self._get(self.meta, release_key(number))
        return release_of(item) if item else None

    def releases(self) -> list[ReleaseInfo]:
        rows = self._pages(
            "scan",
            TableName=self.meta,
            ConsistentRead=True,
            FilterExpression="begins_with(id, :r)",
            ExpressionAttributeValues={":r": {"S": "release#"}},
        )
        return sorted((release_of(i) for i in rows), key=lambda r: r.number)

    # --- pointer ----------------------------------------------------------------------------------------------

    def pointer(self) -> Pointer | None:
        item = self._get(self.meta, {"id": {"S": "pointer"}})
        return pointer_of(item) if item else None

    def move_pointer(self, to_release: int, expected_revision: int) -> Pointer:
        check_announceable(to_release, self.release(to_release))
        now = self.pointer()
        history = ((now.history if now else ()) + (to_release,))[-HISTORY:]
        moved = Pointer(to_release, expected_revision + 1, history)
        # History was read with the pointer; the same revision means the same history.
        if expected_revision == (now.revision if now else 0):
            if expected_revision == 0:
                held = self._put_if(pointer_item(moved), "attribute_not_exists(id)")
            else:
                held = self._put_if(
                    pointer_item(moved), "revision = :expected", {":expected": {"N": str(expected_revision)}}
                )
            if held:
                return moved
        raise PointerMoved(
            f"{self.where}: the pointer is not at revision {expected_revision} any more: somebody else announced a "
            "release meanwhile; look at `medal releases`, then run the command again"
        )

    def prune(self, keep: int = KEEP_RELEASES) -> list[int]:
        known = {r.number: r for r in self.releases()}
        gone = prunable(list(known.values()), self.pointer(), keep)
        for number in gone:
            # Marked before the rows go: from here on nobody can announce it.
            self._set_state(known[number], "pruned")
            now = self.pointer()
            if now is not None and now.release == number:  # a rollback was faster
                self._set_state(replace(known[number], state="pruned"), known[number].state)
                continue
            for shard in shard_names(number):
                rows = self._pages(
                    "query",
                    TableName=self.lists,
                    KeyConditionExpression="release_shard = :s",
                    ExpressionAttributeValues={":s": {"S": shard}},
                    ProjectionExpression="release_shard, item_id",
                )
                self.batches.delete(self.lists, rows, ("release_shard", "item_id"))
        return gone

    # --- lists and products -----------------------------------------------------------------------------------

    def get_lists(self, item_id: str, release: int) -> tuple[SlotList, ...]:
        item = self._get(self.lists, list_key(release, item_id))
        return slots_from_json(item["slots"]["S"]) if item else ()

    def put_products(self, rows: Iterable[ProductRow]) -> ProductSync:
        scan = self._pages("scan", TableName=self.products, ConsistentRead=True, ProjectionExpression="item_id, digest")
        before = {i["item_id"]["S"]: i["digest"]["S"] for i in scan}
        seen: dict[str, str] = {}

        def changed() -> Iterator[Item]:
            for row in rows:
                known = seen.get(row.item_id, before.get(row.item_id))
                seen[row.item_id] = digest(row)
                if known != seen[row.item_id]:
                    yield product_item(row)

        self.batches.put(self.products, changed(), ("item_id",))
        if not seen:
            raise DataError("products: none to write; an empty overlay would empty every page")
        removed = [{"item_id": {"S": i}} for i in before if i not in seen]
        self.batches.delete(self.products, removed, ("item_id",))
        unchanged = sum(before.get(i) == d for i, d in seen.items())
        return ProductSync(written=len(seen) - unchanged, unchanged=unchanged, removed=len(removed))

    def get_products(self, item_ids: Sequence[str]) -> dict[str, ProductRow]:
        keys: list[Item] = [{"item_id": {"S": i}} for i in dict.fromkeys(item_ids) if i]
        return {row.item_id: row for row in map(product_of, self.batches.get(self.products, keys))}

    def browse(self, *, category: str | None, after: str | None, limit: int) -> list[ProductRow]:
        if category is None:
            start: dict[str, Any] = {"ExclusiveStartKey": {"item_id": {"S": after}}} if after else {}
            with faults(self.where, f"scan {self.products}"):
                page = self.client.scan(TableName=self.products, Limit=limit, **start)
            return [product_of(i) for i in page["Items"]]
        condition, values = "category = :c", {":c": {"S": category}}
        if after:
            condition, values = f"{condition} and item_id > :a", {**values, ":a": {"S": after}}
        with faults(self.where, f"query {self.products}"):
            found = self.client.query(
                TableName=self.products,
                IndexName=INDEX,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                Limit=limit,
            )
        ids = [i["item_id"]["S"] for i in found["Items"]]
        rows = self.get_products(ids)
        return [rows[i] for i in ids if i in rows]
