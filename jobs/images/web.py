"""Images by http:// and https://. See docs/images.md for what each failure becomes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from urllib3.util import Url, parse_url

from jobs.images.addresses import checked_url, networks
from jobs.images.exchange import Answer, Exchange
from jobs.images.hosts import Hosts, by_lane
from jobs.images.patience import Patience, patiently
from jobs.images.source import (
    Address,
    FetchError,
    ImageAddressError,
    Images,
    ListedImage,
    fetch_fault,
    short_hash,
)  # fmt: skip
from jobs.images.wire import Clock, Resolve, manager, resolve
from jobs.settings import ImageSettings

_MAX_ETAG = 100


class WebImages(Images):
    """Fingerprints without a download, conditional where an earlier one is known (`before`: address → fingerprint).

    upd-   the catalogue's updated_at: nothing was asked
    etag-  the server's ETag
    time-  its Last-Modified and length
    read-  it gives neither, or a passing fault hid them: the image is read, once each run_date
    refused-, forbidden-, ... how the listing failed: the image is asked for, and rests in quarantine while it fails so
    """

    def __init__(
        self,
        settings: ImageSettings,
        run_date: str,
        before: Callable[[], Mapping[str, str | None]] = dict,
        resolver: Resolve = resolve,
    ) -> None:
        self._settings, self._run_date = settings, run_date
        self._schemes = [s for s in settings.schemes if s in ("http", "https")]
        self._allowed = networks(settings.allow_networks)
        self._stage_until = time.monotonic() + settings.stage_s
        self._hosts, self._no_head = Hosts(settings.per_host), set[str]()
        self._load_before, self._lock = before, threading.Lock()
        self._known: Mapping[str, str | None] | None = None
        clock = Clock(settings.read_s)
        self._pools = manager(clock, self._allowed, settings.connect_s, settings.per_host, resolver)
        self._exchange = Exchange(
            self._pools, clock, self._hosts, self._schemes, self._allowed, settings.redirects, settings.max_bytes
        )

    def list(self, addresses: Sequence[Address]) -> list[ListedImage | ImageAddressError]:
        """Asks for each address once, however many rows name it. Never raises for what a server does."""
        found: dict[Address, ListedImage | ImageAddressError] = {}
        ask: dict[str, Url] = {}
        for a in dict.fromkeys(addresses):
            try:
                url = checked_url(a.image, self._schemes, self._allowed)
            except ImageAddressError as e:
                found[a] = e
                continue
            if a.updated_at and self._settings.trust_updated_at:
                found[a] = ListedImage(url.url, f"upd-{short_hash(url.url, a.updated_at)}")
            else:
                ask[a.image] = url
        urls = list(ask.values())
        fingerprints = by_lane(
            urls, lambda u: u.host or "", self._look, self._settings.list_threads, self._settings.per_host
        )
        seen = dict(zip(ask, (ListedImage(u.url, f) for u, f in zip(urls, fingerprints, strict=True)), strict=True))
        return [found[a] if a in found else seen[a.image] for a in addresses]

    def fetch(self, uri: str, fingerprint: str | None) -> bytes:
        try:
            url = checked_url(uri, self._schemes, self._allowed)
            return self._patiently("GET", url, {}, body=True).data
        except ImageAddressError as e:
            raise fetch_fault("forbidden", f"{uri}: {e}") from e
        except FetchError as e:
            raise FetchError(e.kind, f"{uri}: {e}", passing=e.passing) from e

    def lane(self, uri: str) -> str | None:
        return parse_url(uri).host

    def close(self) -> None:
        self._pools.clear()

    def _patiently(self, method: str, url: Url, headers: Mapping[str, str], *, body: bool) -> Answer:
        """Tries again what may pass, while the image has time. Raises FetchError."""
        patience = Patience(self._settings.item_s, self._stage_until)
        return patiently(
            lambda: self._exchange.ask(method, url, patience, headers, body=body), patience, self._settings.tries
        )

    # --- listing --------------------------------------------------------------------------------------------------

    def _look(self, url: Url) -> str | None:
        """The fingerprint of what is there now; None where nothing is."""
        known = self._before().get(url.url)
        try:
            answer = self._validators(url, _condition(url, known))
        except FetchError as e:
            if e.kind == "missing":
                return None
            return self._unseen(url) if e.passing else f"{e.kind}-{short_hash(url.url)}"
        if answer.status == 304:
            return known
        return _fingerprint(url, answer) or self._unseen(url)

    def _validators(self, url: Url, condition: Mapping[str, str]) -> Answer:
        """By HEAD; where a host refuses that, by a GET for one byte whose body is not read."""
        host = url.host or ""
        if host not in self._no_head:
            try:
                return self._patiently("HEAD", url, condition, body=False)
            except FetchError as e:
                if e.kind != "refused":
                    raise
        answer = self._patiently("GET", url, {"Range": "bytes=0-0", **condition}, body=False)
        self._no_head.add(host)
        return answer

    def _unseen(self, url: Url) -> str:
        return f"read-{self._run_date}-{short_hash(url.url)}"

    def _before(self) -> Mapping[str, str | None]:
        with self._lock:
            if self._known is None:
                self._known = self._load_before()
            return self._known


def _fingerprint(url: Url, answer: Answer) -> str | None:
    """The address is part of it: two images may share a validator."""
    etag, modified = answer.headers.get("etag", "").strip(), answer.headers.get("last-modified", "").strip()
    if etag.isascii() and etag.isprintable() and len(etag) > 2:
        long = len(etag) > _MAX_ETAG
        return f"{'etaghash' if long else 'etag'}-{short_hash(url.url)}-{short_hash(etag) if long else etag}"
    length = answer.headers.get("content-length", "")
    if answer.status == 206:
        length = answer.headers.get("content-range", "").rpartition("/")[2]
    if modified.isascii() and modified.isprintable() and 0 < len(modified) <= 40 and length.isdigit():
        return f"time-{short_hash(url.url)}-{length}-{modified}"
    return None


def _condition(url: Url, known: str | None) -> dict[str, str]:
    """What makes the answer 304 where the image is still the one of an earlier fingerprint.

    By ETag alone: "not modified since" also holds of an image that was replaced by an older one.
    """
    kind, _, rest = (known or "").partition("-")
    at, _, etag = rest.partition("-")
    return {"If-None-Match": etag} if kind == "etag" and at == short_hash(url.url) else {}
