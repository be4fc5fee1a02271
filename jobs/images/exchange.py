"""One question to the web and its answer: redirects judged, sizes and times bounded, every failure with its class."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, RemoteDisconnected
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse, PoolManager
from urllib3.exceptions import HTTPError, IncompleteRead, ProtocolError
from urllib3.exceptions import TimeoutError as Late
from urllib3.util import Url

from jobs.images.addresses import Network, checked_url
from jobs.images.hosts import Hosts
from jobs.images.patience import Asked, Patience
from jobs.images.source import FetchError, ImageAddressError, fetch_fault
from jobs.images.wire import Clock

_HEADERS = {
    # Formats that every decoder has come first: the same server then gives the same bytes every night.
    "Accept": "image/jpeg,image/png,image/webp;q=0.9,image/*;q=0.8,*/*;q=0.5",
    "Accept-Encoding": "identity",
    "User-Agent": "medal-nightly",
}
_REDIRECTS = (301, 302, 303, 307, 308)
_PIECE = 65536


@dataclass(frozen=True)
class Answer:
    """Status 200, 206 or 304. `data` is empty where the body was not asked for."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class Exchange:
    """Asks; tries nothing twice. Called from all threads."""

    def __init__(
        self,
        pools: PoolManager,
        clock: Clock,
        hosts: Hosts,
        schemes: Sequence[str],
        allowed: Sequence[Network],
        redirects: int,
        max_bytes: int,
    ) -> None:
        self._pools, self._clock, self._hosts = pools, clock, hosts
        self._schemes, self._allowed, self._redirects, self._max_bytes = schemes, allowed, redirects, max_bytes

    def ask(
        self, method: str, url: Url, patience: Patience, headers: Mapping[str, str] | None = None, *, body: bool
    ) -> Answer:
        """The answer where redirects end. Raises FetchError."""
        seen = {url.url}
        for _ in range(self._redirects + 1):
            found = self._hop(method, url, patience, headers or {}, body)
            if isinstance(found, Answer):
                return found
            url = self._next(url, found)
            if url.url in seen:
                raise fetch_fault("redirects", f"redirects lead back to {url.url}")
            seen.add(url.url)
        raise fetch_fault("redirects", f"more than {self._redirects} redirects, last to {url.url}")

    def _next(self, url: Url, location: str) -> Url:
        try:
            target = checked_url(urljoin(url.url, location), self._schemes, self._allowed)
        except (ImageAddressError, ValueError) as e:
            raise fetch_fault("forbidden", f"a redirect to '{location[:200]}': {e}") from e
        if url.scheme == "https" and target.scheme == "http":
            raise fetch_fault("forbidden", f"a redirect from https to '{location[:200]}'")
        return target

    def _hop(self, method: str, url: Url, patience: Patience, headers: Mapping[str, str], body: bool) -> Answer | str:
        """An answer, or where it redirects to."""
        host = self._hosts.of(url.host or "")
        with host.slot(patience.last()):
            patience.begin()
            self._clock.whole = patience.until
            try:
                answer = self._exchange(method, url, headers, body)
            except Exception as e:
                fault = _class_of(e)
                if fault.kind in ("throttled", "server_error", "unreachable", "timeout"):
                    host.failed()
                if isinstance(fault, Asked):
                    host.pause(fault.after_s)
                raise fault from e
            host.answered()
            return answer

    def _exchange(self, method: str, url: Url, headers: Mapping[str, str], body: bool) -> Answer | str:
        response = self._open(method, url, headers)
        whole = False
        try:
            status = response.status
            if status in _REDIRECTS and response.headers.get("location"):
                return response.headers["location"].encode("latin-1", "replace").decode("utf-8", "replace")
            _judge(status, response.headers, headers)
            data = self._body(response) if body and status == 200 else b""
            whole = body or method == "HEAD" or status == 304
            return Answer(status, response.headers, data)
        finally:
            if whole:
                response.release_conn()
            else:  # what is left of a body is not read: the connection is of no more use
                response.close()

    def _open(self, method: str, url: Url, headers: Mapping[str, str]) -> BaseHTTPResponse:
        """An answer up to its body. A kept connection may be closed, soiled or silent by now: then one is made."""
        for renew in (False, True):
            self._clock.begin(renew=renew)
            try:
                answer = self._pools.urlopen(
                    method, url.url, headers=_HEADERS | dict(headers), redirect=False, preload_content=False,
                    decode_content=False,
                )  # fmt: skip
            except Exception:
                if renew or self._clock.fresh:
                    raise
            else:
                self._clock.answered()
                return answer
        raise AssertionError("the second try returns or raises")

    def _body(self, response: BaseHTTPResponse) -> bytes:
        promised = response.headers.get("content-length", "")
        if promised.isdigit() and int(promised) > self._max_bytes:
            raise fetch_fault("too_large", f"{int(promised):,} bytes; at most {self._max_bytes:,} are read")
        unpack = _Unpack(response.headers.get("content-encoding", "identity"), self._max_bytes)
        out = bytearray()
        while piece := response.read1(_PIECE):
            out += unpack.feed(piece, self._max_bytes - len(out))
        unpack.finish()
        return bytes(out)


class _Unpack:
    """gzip and deflate, for servers that pack unasked, never beyond the limit."""

    def __init__(self, encoding: str, most: int) -> None:
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise fetch_fault("bad_answer", f"packed as '{encoding[:40]}', which was not asked for")
        self._most, self._taken = most, 0
        self._packed = zlib.decompressobj(47) if encoding not in ("", "identity") else None  # 47: gzip or zlib

    def feed(self, piece: bytes, room: int) -> bytes:
        self._taken += len(piece)
        if self._packed is None:
            out = piece
        else:
            try:
                out = self._packed.decompress(piece, room + 1)
            except zlib.error as e:
                raise fetch_fault("bad_answer", f"cannot be unpacked: {e}") from e
        if len(out) > room or self._taken > self._most:
            raise fetch_fault("too_large", f"more than {self._most:,} bytes")
        return out

    def finish(self) -> None:
        if self._packed is not None and self._taken and not self._packed.eof:
            raise fetch_fault("incomplete", "the packed body ends too early")


def _judge(status: int, headers: Mapping[str, str], asked: Mapping[str, str]) -> None:
    """Raises FetchError unless the answer is one to what was asked."""
    if status == 200 or (status == 206 and "Range" in asked) or (status == 304 and asked):
        return
    told = f"the server answers {status}"
    if status in (404, 410):
        raise fetch_fault("missing", told)
    if status in (408, 425, 429) or (status >= 500 and status not in (501, 505)):
        kind = "throttled" if status == 429 else "server_error"
        after = _after(headers.get("retry-after"))
        raise fetch_fault(kind, told) if after is None else Asked(kind, told, after)
    raise fetch_fault("refused", told)


def _after(text: str | None) -> float | None:
    """Seconds of a Retry-After (RFC 9110, 10.2.3), by number or date."""
    if text is None:
        return None
    if text.strip().isdigit():
        return float(min(int(text.strip()[:9]), 86_400))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())


def _class_of(e: Exception) -> FetchError:
    """What a failure on the way means. Exceptions of urllib3 carry those of the socket."""
    if isinstance(e, FetchError):
        return e
    chain: list[BaseException] = [e]
    for x in chain:
        inner = [x.__cause__, x.__context__, *x.args] + ([x.reason] if hasattr(x, "reason") else [])
        chain += [i for i in inner if isinstance(i, BaseException) and not any(i is c for c in chain)]
    told = " ".join(str(e).split())[:200]
    names = {type(x).__name__ for x in chain}
    if isinstance(found := next((x for x in chain if isinstance(x, FetchError)), None), FetchError):
        return found
    if "SSLCertVerificationError" in names or "CertificateError" in names:
        return fetch_fault("untrusted", f"the certificate does not hold: {told}")
    if any(isinstance(x, TimeoutError | Late) for x in chain):
        return fetch_fault("timeout", "no answer in time")
    if any(isinstance(x, IncompleteRead) or type(x).__name__ == "IncompleteRead" for x in chain):
        return fetch_fault("incomplete", "fewer bytes came than were promised")
    if any(isinstance(x, OSError | RemoteDisconnected) for x in chain):
        return fetch_fault("unreachable", told)
    if isinstance(e, ProtocolError | HTTPException | HTTPError | ValueError):
        return fetch_fault("bad_answer", f"no HTTP: {told}")
    raise e
