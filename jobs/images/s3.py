"""Images by s3://bucket/key. Many small requests at once by one client; keys that lie close together are listed."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from jobs.images.patience import Patience, patiently
from jobs.images.source import (
    Address,
    FetchError,
    ImageAddressError,
    Images,
    ListedImage,
    fetch_fault,
    short_hash,
)
from jobs.s3 import BAD_CREDENTIALS, code_of, told
from jobs.settings import ImageSettings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

T = TypeVar("T")

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# A LIST gives 1,000 keys for the price of about 12 HEADs and is not faster than a few of them.
_LIST_FROM = 32  # keys wanted under one prefix
_SPARSE, _SPARSE_FROM = 4, 8  # fewer wanted keys a page, after so many pages: the rest is asked for one by one
_MOST_KEYS = 2_000_000  # kept of all listings, about 300 MB
_PIECE = 1 << 20
_THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "429"}
_MISSING = {"NoSuchKey", "NoSuchBucket", "404", "NotFound"}
_REFUSED = {"AccessDenied", "403", "Forbidden", "InvalidObjectState", "MethodNotAllowed"}


class S3Images(Images):
    """The fingerprint is ETag and size.

    Raises SettingsError where there are no credentials, or bad ones: then no image of the shop can be had.
    """

    def __init__(self, settings: ImageSettings, run_date: str, endpoint_url: str | None = None) -> None:
        import boto3
        from botocore.config import Config

        self._settings, self._run_date = settings, run_date
        self._stage_until = time.monotonic() + settings.stage_s
        config = Config(
            max_pool_connections=settings.s3_connections,
            connect_timeout=settings.connect_s,
            read_timeout=settings.read_s,
            # Botocore's own retries have one quota for all threads, which a bad minute of the store uses up.
            retries={"mode": "standard", "total_max_attempts": 1},
        )
        self._s3: S3Client = boto3.Session().client("s3", endpoint_url=endpoint_url, config=config)
        self._listed: dict[tuple[str, str], dict[str, str]] = {}  # (bucket, prefix) → key → fingerprint
        self._sparse: set[tuple[str, str]] = set()

    def list(self, addresses: Sequence[Address]) -> list[ListedImage | ImageAddressError]:
        """By prefix where many keys share one, by HEAD otherwise."""
        out: dict[str, ListedImage | ImageAddressError] = {}
        keys: dict[str, tuple[str, str]] = {}
        for text in dict.fromkeys(a.image for a in addresses):
            try:
                keys[text] = split(text)
            except ImageAddressError as e:
                out[text] = e
        alone = self._from_listings(keys, out)
        with ThreadPoolExecutor(self._settings.s3_connections) as crew:
            out.update(zip(alone, crew.map(lambda text: self._head(*keys[text]), alone), strict=True))
        return [out[a.image] for a in addresses]

    def fetch(self, uri: str, fingerprint: str | None) -> bytes:
        try:
            bucket, key = split(uri)
        except ImageAddressError as e:
            raise fetch_fault("forbidden", f"{uri}: {e}") from e
        patience = self._patience()
        return self._patiently(lambda: self._read(bucket, key, patience.until), uri, patience)

    def close(self) -> None:
        self._s3.close()

    def _patience(self) -> Patience:
        patience = Patience(self._settings.item_s, self._stage_until)
        patience.begin()
        return patience

    def _patiently(self, ask: Callable[[], T], uri: str, patience: Patience) -> T:
        """Tries again what may pass, while there is time. Raises FetchError, SettingsError."""

        def told() -> T:
            try:
                return ask()
            except Exception as e:
                raise _class_of(e, uri) from e

        try:
            return patiently(told, patience, self._settings.tries)
        except FetchError as e:
            if str(e).startswith(uri):
                raise
            raise FetchError(e.kind, f"{uri}: {e}", passing=e.passing) from e

    def _read(self, bucket: str, key: str, until: float) -> bytes:
        got = self._s3.get_object(Bucket=bucket, Key=key)
        body, most = got["Body"], self._settings.max_bytes
        try:
            if got["ContentLength"] > most:
                raise fetch_fault("too_large", f"{got['ContentLength']:,} bytes; at most {most:,} are read")
            out = bytearray()
            while data := body.read(_PIECE):
                out += data
                if len(out) > most:
                    raise fetch_fault("too_large", f"more than {most:,} bytes")
                if time.monotonic() > until:
                    raise fetch_fault("timeout", f"not read within {self._settings.item_s:g} s")
            return bytes(out)
        finally:
            body.close()

    # --- listing --------------------------------------------------------------------------------------------------

    def _from_listings(
        self, keys: dict[str, tuple[str, str]], out: dict[str, ListedImage | ImageAddressError]
    ) -> Sequence[str]:
        """Answers what listings answer; gives the rest."""
        groups: dict[tuple[str, str], list[str]] = defaultdict(list)
        for text, (bucket, key) in keys.items():
            groups[bucket, key[: key.rfind("/") + 1]].append(text)
        loose: dict[str, list[str]] = defaultdict(list)  # folders with few images each: what all have in common
        for (bucket, prefix), texts in list(groups.items()):
            if len(texts) < _LIST_FROM and (bucket, prefix) not in self._listed:
                loose[bucket] += groups.pop((bucket, prefix))
        for bucket, texts in loose.items():
            groups[bucket, _common([keys[t][1] for t in texts])] += texts
        alone: list[str] = []
        for (bucket, prefix), texts in groups.items():
            found = self._under(bucket, prefix, [keys[t][1] for t in texts])
            if found is None:
                alone += texts
                continue
            for t in texts:
                out[t] = ListedImage(t, found.get(keys[t][1]))
        return alone

    def _under(self, bucket: str, prefix: str, wanted: Sequence[str]) -> dict[str, str] | None:
        """All keys under a prefix, listed once; None where that does not pay or is not allowed."""
        for (b, p), found in self._listed.items():
            if b == bucket and prefix.startswith(p):
                return found
        if len(wanted) < _LIST_FROM or (bucket, prefix) in self._sparse:
            return None
        keys: dict[str, str] = {}
        room = _MOST_KEYS - sum(map(len, self._listed.values()))
        looked_for, matched = set(wanted), 0
        try:
            for n, page in enumerate(self._pages(bucket, prefix), start=1):
                for o in page.get("Contents", []):
                    keys[o["Key"]] = _fingerprint(bucket, o["Key"], o["ETag"], o["Size"])
                    matched += o["Key"] in looked_for
                if (n >= _SPARSE_FROM and matched < _SPARSE * n) or len(keys) > room:
                    self._sparse.add((bucket, prefix))
                    return None
        except FetchError:  # each key tells its own fault
            self._sparse.add((bucket, prefix))
            return None
        self._listed[bucket, prefix] = keys
        return keys

    def _pages(self, bucket: str, prefix: str) -> Iterator[ListObjectsV2OutputTypeDef]:
        after: dict[str, str] = {}
        while True:
            page = self._patiently(
                lambda after=after: self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix, **after),  # type: ignore[misc]
                f"s3://{bucket}/{prefix}",
                self._patience(),
            )
            yield page
            if not page.get("IsTruncated"):
                return
            after = {"ContinuationToken": page["NextContinuationToken"]}

    def _head(self, bucket: str, key: str) -> ListedImage:
        uri = f"s3://{bucket}/{key}"
        unseen = f"read-{self._run_date}-{short_hash(uri)}"
        try:
            found = self._patiently(lambda: self._s3.head_object(Bucket=bucket, Key=key), uri, self._patience())
        except FetchError as e:
            if e.kind == "missing":
                return ListedImage(uri, None)
            return ListedImage(uri, unseen if e.passing else f"{e.kind}-{short_hash(uri)}")
        return ListedImage(uri, _fingerprint(bucket, key, found["ETag"], found["ContentLength"]))


def split(address: str) -> tuple[str, str]:
    """(bucket, key). The key is taken letter by letter; nothing in it is an escape. Raises ImageAddressError."""
    bucket, _, key = address[len("s3://") :].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ImageAddressError(f"'{bucket[:63]}' is no name of a bucket; write s3://bucket/key")
    if not key or len(key.encode()) > 1024:
        raise ImageAddressError("the key is empty or longer than 1,024 bytes; write s3://bucket/key")
    if "\ufffd" in key or any(ord(c) < 32 or ord(c) == 127 for c in key):
        raise ImageAddressError("the key has control characters")
    if any(part in (".", "..") for part in key.split("/")):
        raise ImageAddressError("the key has a part '.' or '..'")  # a store on a file system might follow it
    return bucket, key


def _common(keys: Sequence[str]) -> str:
    """What all begin with, which for S3 may end anywhere."""
    low, high = min(keys), max(keys)
    return next((low[:n] for n, c in enumerate(low) if n >= len(high) or c != high[n]), low)


def _fingerprint(bucket: str, key: str, etag: str, size: int) -> str:
    """The key is part of it: equal bytes have equal ETags."""
    return f"s3-{short_hash(bucket, key)}-{size:x}-{etag.strip(chr(34))}"


def _class_of(e: Exception, uri: str) -> FetchError:
    """What a failure means. Raises SettingsError for bad credentials, and what is no failure of S3."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectTimeoutError,
        FlexibleChecksumError,
        IncompleteReadError,
        NoCredentialsError,
        PartialCredentialsError,
        ReadTimeoutError,
        ResponseStreamingError,
    )

    if isinstance(e, ClientError):
        code = code_of(e)
        status = int(e.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in BAD_CREDENTIALS:
            with told(uri, "image"):
                raise e
        if code in _MISSING:
            bucket = f": there is no bucket {uri.split('/')[2]}" if code == "NoSuchBucket" else ""
            return fetch_fault("missing", f"{uri}: no such object{bucket}")
        if code in _THROTTLED or status == 429:
            return fetch_fault("throttled", f"{uri}: {code}")
        if code in _REFUSED or 400 <= status < 500:
            return fetch_fault("refused", f"{uri}: {code or status}")
        return fetch_fault("server_error", f"{uri}: {code or status}")
    if isinstance(e, FetchError):
        return e
    if isinstance(e, FlexibleChecksumError | IncompleteReadError | ResponseStreamingError):
        return fetch_fault("incomplete", f"{uri}: {' '.join(str(e).split())}")
    if isinstance(e, ConnectTimeoutError | ReadTimeoutError):
        return fetch_fault("timeout", f"{uri}: no answer in time")
    if isinstance(e, NoCredentialsError | PartialCredentialsError):
        with told(uri, "image"):
            raise e
    if isinstance(e, BotoCoreError):
        return fetch_fault("unreachable", f"{uri}: {' '.join(str(e).split())}")
    raise e
