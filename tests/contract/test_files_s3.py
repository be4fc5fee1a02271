"""Faults of an S3 store: a read that comes broken is asked again, everything else is one line with its class."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from require import require
from s3_server import S3Server, s3_server
from servers import free_port

import jobs.s3
from jobs.errors import MedalError, SettingsError, TransientError
from jobs.files import S3Files
from jobs.lake import Lake

pytestmark = pytest.mark.s3
TEXT = b"the manifest of a night"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    require("versitygw")
    with s3_server() as started:
        yield started


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    import boto3

    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jobs.s3, "AGAIN_S", (0.01, 0.01))
    name = f"files-{time.time_ns()}"
    client = boto3.Session().client("s3", endpoint_url=server.endpoint_url)
    client.create_bucket(Bucket=name)
    client.put_object(Bucket=name, Key="shop/note", Body=TEXT)
    return name


class Line:
    """A wire to the server that spoils the first `times` answers that carry the text."""

    def __init__(self, to: int, fault: str, times: int) -> None:
        self.to, self.fault, self.left, self.asked = to, fault, times, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.to))
            threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with source, sink:
            try:
                while data := source.recv(1 << 16):
                    at = data.find(TEXT) if answers else -1
                    self.asked += at >= 0
                    if at >= 0 and self.left:
                        self.left -= 1
                        if self.fault == "cut":
                            sink.sendall(data[: at + 5])
                            sink.shutdown(socket.SHUT_RDWR)
                            return
                        data = data[:at] + TEXT.upper() + data[at + len(TEXT) :]
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                return


@contextmanager
def line(server: S3Server, fault: str, times: int) -> Iterator[Line]:
    wire = Line(int(server.endpoint_url.rsplit(":", 1)[1]), fault, times)
    try:
        yield wire
    finally:
        wire.listener.close()


@pytest.mark.parametrize("fault", ["cut", "changed"])
@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_broken_read_is_asked_again(server: S3Server, bucket: str, fault: str, times: int) -> None:
    with line(server, fault, times) as wire:
        files = S3Files(f"s3://{bucket}/shop", f"http://127.0.0.1:{wire.port}")
        assert files.read("note") == TEXT
        assert wire.asked == times + 1
        assert files.swap("note", TEXT, b"new")
    assert S3Files(f"s3://{bucket}/shop", server.endpoint_url).read("note") == b"new"


@pytest.mark.parametrize("fault", ["cut", "changed"])
def test_a_read_that_stays_broken_is_a_passing_fault(server: S3Server, bucket: str, fault: str) -> None:
    with line(server, fault, 99) as wire:
        files = S3Files(f"s3://{bucket}/shop", f"http://127.0.0.1:{wire.port}")
        with pytest.raises(TransientError, match=rf"s3://{bucket}/shop/note: .*run it again"):
            files.read("note")
        assert wire.asked == 3


CALLS = {
    "read": lambda f: f.read("note"),
    "write": lambda f: f.write("note", b""),
    "create": lambda f: f.create("other", b""),
    "swap": lambda f: f.swap("note", TEXT, b""),
    "list": lambda f: f.list(""),
    "remove": lambda f: f.remove("note"),
}
FAULTS: dict[str, tuple[type[MedalError], str]] = {
    "no bucket": (SettingsError, "there is no bucket none-such; make it, or mend `lake`"),
    "wrong secret": (SettingsError, "refused"),
    "no credentials": (SettingsError, "no credentials; give AWS_ACCESS_KEY_ID"),
    "nobody there": (TransientError, "check that the store answers"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_call_tells_each_fault(
    server: S3Server, bucket: str, call: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = server.endpoint_url
    if fault == "no bucket":
        bucket = "none-such"
    elif fault == "wrong secret":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-it")
    elif fault == "no credentials":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            monkeypatch.setenv(name, "none-such")
    else:
        endpoint = f"http://127.0.0.1:{free_port()}"
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    kind, words = FAULTS[fault]
    with pytest.raises(kind, match=words) as told:
        CALLS[call](S3Files(f"s3://{bucket}/shop", endpoint))
    assert f"s3://{bucket}/shop" in str(told.value)
    assert "\n" not in str(told.value)


def test_what_is_not_there(server: S3Server, bucket: str) -> None:
    files = Lake(f"s3://{bucket}/shop", s3_endpoint_url=server.endpoint_url).files
    assert files.read("none") is None
    assert not files.swap("none", b"", b"new")
    assert not files.create("note", b"")
    files.remove("none")
