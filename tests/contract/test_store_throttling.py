"""DynamoDB that takes only part of a batch, or nothing for a while: moto with its answers cut by an event hook."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from moto import mock_aws

from jobs.errors import DataError, TransientError
from jobs.publish.dynamo_calls import CAP_S
from jobs.publish.dynamo_store import DynamoStore
from jobs.publish.store import ListedItem, ListRow, ProductRow, SlotList


class Refusing:
    """Takes a random part of every batch; notes the batches and the waits."""

    def __init__(self, store: DynamoStore, share: float, seed: int = 1) -> None:
        self.rng, self.share = random.Random(seed), share
        self.batches: list[dict[str, Any]] = []
        self.waits: list[float] = []
        self.real = {n: getattr(store.client, n) for n in ("batch_write_item", "batch_get_item")}
        store.client.batch_write_item = self.write  # type: ignore[method-assign]
        store.client.batch_get_item = self.read  # type: ignore[method-assign]

    def write(self, RequestItems: dict[str, list[Any]]) -> dict[str, Any]:
        ((table, requests),) = RequestItems.items()
        self.batches.append(RequestItems)
        refused = [r for r in requests if self.rng.random() < self.share]
        taken = [r for r in requests if r not in refused]
        if taken:
            self.real["batch_write_item"](RequestItems={table: taken})
        return {"UnprocessedItems": {table: refused} if refused else {}}

    def read(self, RequestItems: dict[str, Any]) -> dict[str, Any]:
        ((table, wanted),) = RequestItems.items()
        refused = [k for k in wanted["Keys"] if self.rng.random() < self.share]
        taken = [k for k in wanted["Keys"] if k not in refused]
        found = {"Responses": {table: []}}
        if taken:
            found = self.real["batch_get_item"](RequestItems={table: {**wanted, "Keys": taken}})
        return {**found, "UnprocessedKeys": {table: {**wanted, "Keys": refused}} if refused else {}}


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[DynamoStore]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        made = DynamoStore("t", region="eu-central-1", sleep=waits.append)
        made.init()
        yield made


def rows(n: int) -> list[ListRow]:
    return [ListRow(f"i{i}", (SlotList("bags", (ListedItem(f"b{i}", i, i, 0),)),)) for i in range(n)]


def test_refused_rows_are_sent_again_until_all_are_there(store: DynamoStore, waits: list[float]) -> None:
    refusing = Refusing(store, share=0.6)
    release = store.begin_release("2026-03-01-all-g1", "2026-03-01", "m", "h").number
    store.put_lists(release, rows(300))
    assert all(store.get_lists(r.item_id, release) == r.slots for r in rows(300))
    for batch in refusing.batches:
        ((_, requests),) = batch.items()
        keys = [r["PutRequest"]["Item"]["item_id"]["S"] for r in requests]
        assert len(requests) <= 25
        assert len(set(keys)) == len(keys)
    assert waits, "nothing was waited for"
    assert all(0 <= w <= CAP_S for w in waits)


def test_refused_keys_are_read_again(store: DynamoStore) -> None:
    made = [
        ProductRow(f"i{n}", None, "bags", "women", None, None, f"i{n}", None, None, "in_stock", True, "/x.jpg")
        for n in range(250)
    ]
    store.put_products(made)
    Refusing(store, share=0.5)
    assert store.get_products([p.item_id for p in made]) == {p.item_id: p for p in made}


def test_throttling_that_does_not_end_is_a_passing_fault(store: DynamoStore) -> None:
    release = store.begin_release("2026-03-01-all-g1", "2026-03-01", "m", "h").number
    clock = iter(range(0, 100_000, 30))
    store.batches.clock = lambda: float(next(clock))
    Refusing(store, share=1.0)
    with pytest.raises(TransientError, match="10 rows still refused after 120 s of throttling"):
        store.put_lists(release, rows(10))


def test_a_call_that_is_throttled_as_a_whole_is_sent_again(store: DynamoStore, waits: list[float]) -> None:
    left = [7]

    def throttle(**_: Any) -> AWSResponse | None:
        if not left[0]:
            return None
        left[0] -= 1
        body = (
            b'{"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "slow"}'
        )
        answer = AWSResponse("http://x", 400, {"content-type": "application/x-amz-json-1.0"}, None)
        answer._content = body
        return answer

    release = store.begin_release("2026-03-01-all-g1", "2026-03-01", "m", "h").number
    store.client.meta.events.register("before-send.dynamodb.BatchWriteItem", throttle)
    store.put_lists(release, rows(10))
    assert left == [0]
    assert waits
    assert store.get_lists("i9", release) == rows(10)[9].slots


def test_a_row_above_400_kb_names_its_item_and_the_mend(store: DynamoStore) -> None:
    release = store.begin_release("2026-03-01-all-g1", "2026-03-01", "m", "h").number
    large = ListRow("huge", (SlotList("bags", tuple(ListedItem(f"{n}" * 100, n, n, 0) for n in range(1500))),))
    with pytest.raises(DataError, match=r"item huge: .*lists\.k"):
        store.put_lists(release, [large])
