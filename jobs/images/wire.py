"""Connections that go to the very address that was judged, and end when their time is up.

urllib3 does HTTP; here are its sockets. A name is resolved once for each connection and every address of the answer is
judged, so a second answer of a name server (DNS rebinding) is never asked for.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from jobs.images.addresses import Network, why_forbidden
from jobs.images.source import fetch_fault

MAX_HEADER_BYTES = 64 * 1024
KEPT_SHARE = 1 / 3  # of an image's time, for the head of an answer on a kept connection
Resolve = Callable[[str, int], Sequence[tuple[Any, ...]]]  # as socket.getaddrinfo


def resolve(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    """The system's resolver. How long it may take is the system's to say (resolv.conf)."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Clock(threading.local):
    """What the request of this thread may still use up."""

    whole = math.inf  # until when the image may take
    until = math.inf  # ... and what is under way
    header_bytes = math.inf
    renew = False  # the request must have a connection of its own ...
    fresh = False  # ... and has one, not one that was kept

    def __init__(self, read_s: float) -> None:  # called anew in each thread
        self.read_s = read_s

    def begin(self, *, renew: bool) -> None:
        """A request starts. A kept connection may be silent for ever, so it gets a part of the time only."""
        self.header_bytes, self.renew, self.fresh = MAX_HEADER_BYTES, renew, False
        now = time.monotonic()
        self.until = now + (self.whole - now) * KEPT_SHARE

    def connects(self) -> None:
        self.fresh, self.until = True, self.whole

    def answered(self) -> None:
        self.header_bytes, self.until = math.inf, self.whole

    def timeout(self, most: float) -> float:
        """Seconds for the next step. Raises TimeoutError where none is left."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no time left")
        return min(most, left)

    def received(self, size: int) -> None:
        self.header_bytes -= size
        if self.header_bytes < 0:
            raise fetch_fault("bad_answer", f"headers of more than {MAX_HEADER_BYTES:,} bytes")


class _Timed:
    """A timeout counts from byte to byte; only a look at the clock before each read ends a slow drip."""

    clock: Clock

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.clock.timeout(self.clock.read_s))  # type: ignore[attr-defined]
        size: int = super().recv_into(*args, **kwargs)  # type: ignore[misc]
        self.clock.received(size)
        return size


def manager(
    clock: Clock, allowed: Sequence[Network], connect_s: float, per_host: int, resolver: Resolve
) -> urllib3.PoolManager:
    """Pools whose connections are judged and timed. Proxies of the environment are not used."""

    class TimedSocket(_Timed, socket.socket):
        pass

    class TimedTLSSocket(_Timed, ssl.SSLSocket):
        pass

    TimedSocket.clock = TimedTLSSocket.clock = clock

    def connect(host: str, port: int) -> socket.socket:
        try:
            found = resolver(host.strip("[]"), port)
        except (OSError, UnicodeError) as e:
            raise fetch_fault("unreachable", f"{host}: the name is not found") from e
        for *_, where in found:
            if why := why_forbidden(ipaddress.ip_address(str(where[0]).partition("%")[0]), allowed):
                raise fetch_fault(
                    "forbidden", f"{host} leads to {where[0]}, {why}, which is not asked (images.allow_networks)"
                )
        clock.connects()
        fault: OSError = OSError(f"{host}: the name has no address")
        for family, kind, protocol, _, where in found:
            sock = TimedSocket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(clock.timeout(connect_s))
                sock.connect(where)
            except OSError as e:
                sock.close()
                fault = e
            else:
                return sock
        raise fault

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self._dns_host, self.port)

    class TLS(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self._dns_host, self.port)

    class Renewing:
        """A kept connection is closed where the request must have one of its own; it then connects anew."""

        def _get_conn(self, timeout: float | None = None) -> Any:
            conn = super()._get_conn(timeout)  # type: ignore[misc]
            if clock.renew:
                conn.close()
            return conn

    class PlainPool(Renewing, HTTPConnectionPool):
        ConnectionCls = Plain

    class TLSPool(Renewing, HTTPSConnectionPool):
        ConnectionCls = TLS

    context = ssl.create_default_context()
    context.sslsocket_class = TimedTLSSocket
    pools = urllib3.PoolManager(
        num_pools=256, maxsize=per_host, retries=False, timeout=urllib3.Timeout(connect=connect_s, read=None),
        ssl_context=context,
    )  # fmt: skip
    pools.pool_classes_by_scheme = {"http": PlainPool, "https": TLSPool}
    return pools
