"""A wire to an HTTP server that spoils the first tries of chosen paths: 503s, resets, answers cut on their way."""

from __future__ import annotations

import contextlib
import os
import signal
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
        """One connection."""
        far = socket.create_connection(("127.0.0.1", self.to))
        with near, far, contextlib.suppress(OSError):
            while request := _message(near, waits=True):
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
                answer = _message(far, body=method != b"HEAD")
                if fault is None:
                    near.sendall(answer)
                    continue
                near.sendall(answer[: (answer.index(b"\r\n\r\n") + 4 + len(answer)) // 2])
                return reset(near) if fault == "late reset" else None
        return None


def _message(source: socket.socket, *, body: bool = True, waits: bool = False) -> bytes:
    """A whole request or answer, empty at the end. `waits`: its body may wait for a 100 Continue."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        more = source.recv(1 << 16)
        if not more:
            return b""
        data += more
    lines = data[:end].split(b"\r\n")
    fields = {line.split(b":")[0].lower(): line.split(b":", 1)[1].strip() for line in lines[1:]}
    if waits and b"expect" in fields:
        source.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        kept = b"\r\n".join(line for line in lines if not line.lower().startswith(b"expect:"))
        data, end = kept + data[end:], len(kept)
    chunked = body and fields.get(b"transfer-encoding", b"").lower() == b"chunked"
    whole = end + 4 + (int(fields.get(b"content-length", 0)) if body else 0)
    while len(data) < whole or (chunked and not data.endswith(b"0\r\n\r\n")):
        more = source.recv(1 << 16)
        if not more:
            return b""
        data += more
    return data


@contextmanager
def fault_proxy(to: int, fault: Callable[[str, str, int], Fault | None]) -> Iterator[FaultProxy]:
    """In threads of this process."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    proxy = FaultProxy(to, fault, listener.getsockname()[1])
    threading.Thread(target=_accept, args=(listener, proxy), daemon=True).start()
    try:
        yield proxy
    finally:
        listener.close()


@contextmanager
def fault_proxy_apart(to: int, fault: Callable[[str, str, int], Fault | None]) -> Iterator[FaultProxy]:
    """In a process of its own, for clients such as delta-rs that hold the GIL while they wait.

    `spoilt` is filled at the end of the block; `tries` is not.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    proxy = FaultProxy(to, fault, listener.getsockname()[1])
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        proxy.spoilt = _Piped(tell)
        _accept(listener, proxy)
        os._exit(0)
    listener.close()
    os.close(tell)
    try:
        yield proxy
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(told, encoding="utf-8") as lines:
            proxy.spoilt = Counter(line.strip() for line in lines)


class _Piped(Counter[str]):
    """Tells each count to another process."""

    def __init__(self, to: int) -> None:
        super().__init__()
        self._to = to

    def __setitem__(self, key: str, value: int) -> None:
        os.write(self._to, f"{key}\n".encode())


def _accept(listener: socket.socket, proxy: FaultProxy) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=proxy.serve, args=(near,), daemon=True).start()
