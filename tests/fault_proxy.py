"""A wire to an HTTP server that spoils the first tries of chosen paths: 503s, resets, answers cut on their way."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from hostile_server import reset

Fault = Literal["503", "500", "reset", "cut", "late reset"]
ERROR = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>%s</Code><Message>Try again</Message></Error>"


@dataclass
class FaultProxy:
    """`fault(method, path, n)` is asked at the n-th try (from 1) of a path; None lets it through."""

    to: int
    fault: Callable[[str, str, int], Fault | None]
    port: int = 0
    tries: Counter[tuple[str, str]] = field(default_factory=Counter)
    spoilt: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, near: socket.socket) -> None:
        """One connection: requests of one piece each, which those without a body are."""
        far = socket.create_connection(("127.0.0.1", self.to))
        with near, far, contextlib.suppress(OSError):
            while request := near.recv(1 << 16):
                method, path = request.split(b" ", 2)[:2]
                key = (method.decode(), path.decode().partition("?")[0])
                with self.lock:
                    self.tries[key] += 1
                    fault = self.fault(*key, self.tries[key])
                    self.spoilt[fault or "none"] += 1
                if fault == "reset":
                    return reset(near)
                if fault in ("503", "500"):
                    body = b"" if method == b"HEAD" else ERROR % (b"SlowDown" if fault == "503" else b"InternalError")
                    near.sendall(b"HTTP/1.1 %s No\r\nContent-Length: %d\r\n\r\n" % (fault.encode(), len(body)) + body)
                    continue
                far.sendall(request)
                if self._answer(far, near, method, fault):
                    return None
        return None

    def _answer(self, far: socket.socket, near: socket.socket, method: bytes, fault: Fault | None) -> bool:
        """Hands on one answer; True where the connection ends with it."""
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            more = far.recv(1 << 16)
            if not more:
                return True
            data += more
        named = (line.split(b":") for line in data[:end].lower().split(b"\r\n")[1:])
        length = next((int(value) for name, value, *_ in named if name == b"content-length"), 0)
        whole = end + 4 + (0 if method == b"HEAD" else length)
        while len(data) < whole:
            data += far.recv(1 << 16)
        if fault is None:
            near.sendall(data)
            return False
        near.sendall(data[: end + 4 + length // 2])
        if fault == "late reset":
            reset(near)
        return True


@contextmanager
def fault_proxy(to: int, fault: Callable[[str, str, int], Fault | None]) -> Iterator[FaultProxy]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    proxy = FaultProxy(to, fault, listener.getsockname()[1])

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=proxy.serve, args=(near,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield proxy
    finally:
        listener.close()
