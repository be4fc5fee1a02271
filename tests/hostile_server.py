"""A web server on loopback that misbehaves on demand: the path says how. Raw sockets, a thread a connection."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

IMAGE = b"\xff\xd8\xff\xe0 any bytes do here " * 20
HTML = b"<!doctype html><html><body>Are you a robot?</body></html>"
ETAG = '"v1"'


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    at: float


@dataclass
class HostileServer:
    """`asked`: all requests so far. `most[host]`: the most that were under way at once."""

    port: int
    asked: list[Request] = field(default_factory=list)
    most: Counter[str] = field(default_factory=Counter)
    tries: Counter[str] = field(default_factory=Counter)
    etag: str = ETAG
    files: dict[str, bytes] = field(default_factory=dict)  # /good/NAME, /etag/NAME ... where it is not IMAGE
    _now: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def of(self, path: str) -> list[Request]:
        return [r for r in self.asked if r.path == path]

    # --- one connection ---------------------------------------------------------------------------------------

    def serve(self, conn: socket.socket) -> None:
        with conn, contextlib.suppress(OSError, ValueError):
            conn.settimeout(20)
            while (request := _read(conn)) is not None:
                host = request.headers.get("host", "").partition(":")[0]
                with self._lock:
                    self.asked.append(request)
                    self.tries[request.path] += 1
                    self._now[host] += 1
                    self.most[host] = max(self.most[host], self._now[host])
                try:
                    if not self._answer(conn, request):
                        return
                finally:
                    with self._lock:
                        self._now[host] -= 1

    def _answer(self, conn: socket.socket, request: Request) -> bool:
        """True: the connection goes on."""
        name, _, rest = request.path.partition("?")[0].lstrip("/").partition("/")
        act: Callable[..., bool | None] = getattr(self, "do_" + name.replace("-", "_"))
        return bool(act(conn, request, rest))

    # --- what it can do ---------------------------------------------------------------------------------------

    def do_good(self, conn: socket.socket, request: Request, rest: str) -> bool:
        send(conn, request, 200, self.files.get(rest, IMAGE), ETag=self.etag)
        return True

    def do_busy(self, conn: socket.socket, request: Request, _: str) -> bool:
        time.sleep(0.03)
        send(conn, request, 200, IMAGE)
        return True

    def do_etag(self, conn: socket.socket, request: Request, rest: str) -> bool:
        if request.headers.get("if-none-match") == self.etag:
            send(conn, request, 304, b"", ETag=self.etag)
        else:
            send(conn, request, 200, self.files.get(rest, IMAGE), ETag=self.etag)
        return True

    def do_dated(self, conn: socket.socket, request: Request, rest: str) -> bool:
        send(conn, request, 200, self.files.get(rest, IMAGE), **{"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"})
        return True

    def do_plain(self, conn: socket.socket, request: Request, rest: str) -> bool:
        send(conn, request, 200, self.files.get(rest, IMAGE))
        return True

    def do_no_head(self, conn: socket.socket, request: Request, rest: str) -> bool:
        if request.method == "HEAD":
            send(conn, request, 405, b"")
        elif "range" in request.headers and rest == "ranged" and "if-none-match" not in request.headers:
            send(conn, request, 206, IMAGE[:1], ETag=self.etag, **{"Content-Range": f"bytes 0-0/{len(IMAGE)}"})
        else:
            return self.do_etag(conn, request, rest)
        return True

    def do_once(self, conn: socket.socket, request: Request, rest: str) -> None:
        """Answers, keeps the connection, and gives the next request on it nothing, or noise."""
        send(conn, request, 200, IMAGE, ETag=self.etag)
        if conn.recv(65536) and rest == "noise":
            self.do_noise(conn, request, rest)

    def do_status(self, conn: socket.socket, request: Request, rest: str) -> bool:
        send(conn, request, int(rest), b"no image")
        return True

    def do_then_good(self, conn: socket.socket, request: Request, rest: str) -> bool:
        """/then-good/503/2: that status twice, then the image."""
        status, times = rest.split("/")[:2]
        late = self.tries[request.path] > int(times)
        send(conn, request, 200 if late else int(status), IMAGE)
        return True

    def do_retry_after(self, conn: socket.socket, request: Request, rest: str) -> bool:
        if self.tries[request.path] > 1 and rest != "3600":
            return self.do_good(conn, request, "")
        send(conn, request, 429, b"", **{"Retry-After": rest})
        return True

    def do_drip(self, conn: socket.socket, request: Request, rest: str) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        conn.sendall(b"" if rest == "headers" else head)
        for byte in head * 1000 if rest == "headers" else IMAGE * 1000:
            if self._stop.wait(0.05):
                return
            conn.sendall(bytes([byte]))

    def do_hang(self, conn: socket.socket, request: Request, _: str) -> None:
        self._stop.wait(10)

    def do_short(self, conn: socket.socket, request: Request, _: str) -> None:
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(IMAGE) + 1) + IMAGE)

    def do_long(self, conn: socket.socket, request: Request, _: str) -> bool:
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(IMAGE) - 7) + IMAGE)
        return True

    def do_reset(self, conn: socket.socket, request: Request, rest: str) -> None:
        if rest == "late":
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + IMAGE)
            time.sleep(0.05)
        reset(conn)

    def do_close(self, conn: socket.socket, request: Request, _: str) -> None:
        return

    def do_loop(self, conn: socket.socket, request: Request, rest: str) -> bool:
        send(conn, request, 302, b"", Location="/loop/b" if rest == "a" else "/loop/a")
        return True

    def do_on(self, conn: socket.socket, request: Request, rest: str) -> bool:
        """/on/7: seven redirects, then the image."""
        if rest == "0":
            return self.do_good(conn, request, "")
        send(conn, request, 301, b"", Location=f"/on/{int(rest) - 1}")
        return True

    def do_to(self, conn: socket.socket, request: Request, rest: str) -> bool:
        """/to/<hex>: redirects to that address."""
        send(conn, request, 302, b"", Location=bytes.fromhex(rest).decode())
        return True

    def do_endless(self, conn: socket.socket, request: Request, rest: str) -> None:
        if rest == "headers":
            conn.sendall(b"HTTP/1.1 200 OK\r\n")
            while not self._stop.is_set():
                conn.sendall(b"X-" + b"a" * 60_000 + b": b\r\n")
        elif rest == "continue":
            while not self._stop.is_set():
                conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif rest == "chunks":
            conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not self._stop.is_set():
                conn.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        else:
            conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while not self._stop.is_set():
                conn.sendall(b"x" * 65536)

    def do_declared(self, conn: socket.socket, request: Request, rest: str) -> None:
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: " + rest.encode() + b"\r\n\r\n")
        self._stop.wait(5)

    def do_html(self, conn: socket.socket, request: Request, _: str) -> bool:
        send(conn, request, 200, HTML, **{"Content-Type": "image/jpeg"})
        return True

    def do_packed(self, conn: socket.socket, request: Request, rest: str) -> bool:
        bodies = {
            "gzip": gzip.compress(IMAGE),
            "deflate": zlib.compress(IMAGE),
            "bomb": _bomb(),
            "cut": gzip.compress(IMAGE)[:-9],
            "noise": b"this is not packed at all",
            "br": IMAGE,
        }
        encoding = rest if rest in ("deflate", "br") else "gzip"
        send(conn, request, 200, bodies[rest], **{"Content-Encoding": encoding})
        return True

    def do_noise(self, conn: socket.socket, request: Request, _: str) -> None:
        conn.sendall(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")


@cache
def _bomb() -> bytes:
    """20 MB of nothing in 20 kB."""
    return gzip.compress(bytes(20_000_000), 6)


def send(conn: socket.socket, request: Request, status: int, body: bytes, **headers: str) -> None:
    head = f"HTTP/1.1 {status} Status\r\nContent-Length: {len(body)}\r\n"
    head += "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    conn.sendall(head.encode("latin-1") + b"\r\n" + (b"" if request.method == "HEAD" or status == 304 else body))


def reset(conn: socket.socket) -> None:
    """Close by RST."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def _read(conn: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = conn.recv(65536)
        if not more:
            return None
        data += more
        if data[:1] == b"\x16":  # a TLS hello, which a server without TLS takes for a bad request
            conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return None
    lines = data.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ")
    headers: dict[str, str] = defaultdict(str)
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Request(method, path, dict(headers), time.monotonic())


@contextmanager
def hostile_server(tls: ssl.SSLContext | None = None) -> Iterator[HostileServer]:
    """Listens on 127.0.0.1 until the block ends."""
    _bomb()  # made now: a client with little time waits for it
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    server = HostileServer(listener.getsockname()[1])

    def one(conn: socket.socket) -> None:
        if tls is not None:
            try:
                conn = tls.wrap_socket(conn, server_side=True)
            except OSError:
                return
        server.serve(conn)

    def accept() -> None:
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(conn,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        server._stop.set()
        listener.close()
