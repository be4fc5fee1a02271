"""Calls to DynamoDB that fail well: errors sorted into ours, batches written to the last row or refused.

DynamoDB answers a batch with the part it did not take (`UnprocessedItems`, a dict by table): that part is sent
again after a wait that grows, capped and fully jittered, until a deadline.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from jobs.errors import DataError, SettingsError, TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]  # attribute name -> {type: value}, as the low-level client has it

# Limits of the service (DynamoDB developer guide, "Quotas"): 25 puts or deletes a batch, 100 keys a batch read,
# 400 KB an item, names included. 25 items of 400 KB stay below the 16 MB of a request.
BATCH_WRITE, BATCH_READ, MAX_ITEM_BYTES = 25, 100, 400 * 1024
BASE_S, CAP_S = 0.05, 5.0  # full jitter: a wait is uniform in [0, min(CAP_S, BASE_S * 2**attempt)]
DEADLINE_S = 120.0  # for one batch; throttling that lasts longer needs a person or a later retry
WRITERS = 4  # batches in flight
_THROTTLED = {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"}
_REFUSED = {
    "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "InvalidClientTokenId",
    "ExpiredTokenException", "MissingAuthenticationTokenException", "IncompleteSignatureException",
}  # fmt: skip


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def faults(where: str, doing: str) -> Iterator[None]:
    """Turn the client's errors into ours. Conditional failures pass through."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as e:
        raise SettingsError(
            f"{where}: {doing}: no credentials; give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a role "
            "(a local server takes any)"
        ) from e
    except ClientError as e:
        code = code_of(e)
        if code == "ConditionalCheckFailedException":
            raise
        if code == "ResourceNotFoundException":
            raise SettingsError(f"{where}: {doing}: a table is not there; run `medal store init`") from e
        if code in _REFUSED:
            raise SettingsError(f"{where}: {doing}: refused ({code}); check the credentials and their policy") from e
        if code == "ValidationException":
            raise DataError(f"{where}: {doing}: {e.response['Error'].get('Message', e)}") from e
        raise TransientError(f"{where}: {doing}: {code or e}; run the command again later") from e
    except BotoCoreError as e:
        raise TransientError(
            f"{where}: {doing}: {' '.join(str(e).split())}; check that the server runs and store.endpoint_url, "
            "then run the command again"
        ) from e


def item_bytes(item: Mapping[str, Any]) -> int:
    """Size of an item as DynamoDB counts it, slightly above for numbers: UTF-8 bytes of names and values."""
    total = 0
    for name, typed in item.items():
        ((_, value),) = typed.items()
        total += len(name.encode()) + (len(str(value).encode()) if not isinstance(value, bytes) else len(value))
    return total


class Batches:
    """Batch writes and reads of one client."""

    def __init__(
        self,
        client: DynamoDBClient,
        where: str,
        *,
        deadline_s: float = DEADLINE_S,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.client, self.where = client, where
        self.deadline_s, self.sleep, self.clock, self.uniform = deadline_s, sleep, clock, uniform

    def put(self, table: str, items: Iterable[Item], key: tuple[str, ...]) -> int:
        """Put items; of several with one key in a batch the last wins. Returns how many came in.

        Raises DataError for an item above 400 KB, TransientError when the deadline passes.
        """
        return self._write(table, ((self._key(i, key), {"PutRequest": {"Item": self._fits(i, key)}}) for i in items))

    def delete(self, table: str, keys: Iterable[Item], key: tuple[str, ...]) -> int:
        """Delete items by key. Returns how many keys came in."""
        return self._write(table, ((self._key(k, key), {"DeleteRequest": {"Key": k}}) for k in keys))

    def get(self, table: str, keys: list[Item]) -> list[Item]:
        """Items by key, consistently, in no order; missing ones are left out."""
        found: list[Item] = []

        def once(todo: list[Item]) -> list[Item]:
            answer = self.client.batch_get_item(RequestItems={table: {"Keys": todo, "ConsistentRead": True}})
            found.extend(answer["Responses"].get(table, []))
            left = answer.get("UnprocessedKeys", {})
            return list(left[table]["Keys"]) if table in left else []

        for start in range(0, len(keys), BATCH_READ):
            self._drain(f"read from {table}", keys[start : start + BATCH_READ], once)
        return found

    @staticmethod
    def _key(item: Item, key: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(next(iter(item[name].values()))) for name in key)

    @staticmethod
    def _fits(item: Item, key: tuple[str, ...]) -> Item:
        if (size := item_bytes(item)) > MAX_ITEM_BYTES:
            raise DataError(
                f"item {Batches._key(item, key)[-1]}: its row takes {size:,} bytes, more than the {MAX_ITEM_BYTES:,} "
                "a DynamoDB item may hold; lower lists.k or the number of slots in the taxonomy"
            )
        return item

    def _write(self, table: str, requests: Iterable[tuple[tuple[str, ...], Any]]) -> int:
        source, written = iter(requests), 0
        with ThreadPoolExecutor(WRITERS) as pool:
            while chunk := list(islice(source, BATCH_WRITE * WRITERS * 4)):
                unique = list(dict(chunk).values())
                batches = [unique[i : i + BATCH_WRITE] for i in range(0, len(unique), BATCH_WRITE)]
                for _ in pool.map(lambda b: self._send(table, b), batches):
                    pass
                written += len(chunk)
        return written

    def _send(self, table: str, batch: list[Any]) -> None:
        def once(todo: list[Any]) -> list[Any]:
            answer = self.client.batch_write_item(RequestItems={table: todo})
            return list(answer.get("UnprocessedItems", {}).get(table, []))

        self._drain(f"write to {table}", batch, once)

    def _drain(self, doing: str, todo: list[Any], once: Callable[[list[Any]], list[Any]]) -> None:
        """Call `once` on what is left until nothing is. Raises TransientError at the deadline."""
        until, attempt = self.clock() + self.deadline_s, 0
        while True:
            with faults(self.where, doing):
                try:
                    todo = once(todo)
                except ClientError as e:
                    if code_of(e) not in _THROTTLED:  # throttled as a whole: all of it is left
                        raise
            if not todo:
                return
            if self.clock() >= until:
                raise TransientError(
                    f"{self.where}: {doing}: {len(todo)} rows still refused after {self.deadline_s:.0f} s of "
                    "throttling; raise the table's capacity or run the command again later"
                )
            attempt += 1
            self.sleep(self.uniform(0, min(CAP_S, BASE_S * 2 ** min(attempt, 20))))
