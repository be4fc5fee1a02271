"""Images by HTTP against a server that does its worst: each outcome has its class, and an end in time."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hostile_server import HTML, IMAGE, HostileServer, hostile_server
from servers import free_port

import jobs.images.hosts
import jobs.images.patience
from jobs.images.source import PASSING, Address, FetchError, ImageAddressError, ListedImage
from jobs.images.web import WebImages
from jobs.settings import ImageSettings
from medal_model.image_errors import ImageError
from medal_model.images import decode_image

ITEM_S = 2.0
QUICK = ImageSettings(
    allow_networks=["127.0.0.1/32"], max_bytes=200_000, tries=3, connect_s=0.6, read_s=0.6, item_s=ITEM_S, redirects=3
)
ELSEWHERE = {"ten.test": ["10.0.0.7"], "cloud.test": ["169.254.169.254"], "mixed.test": ["127.0.0.1", "192.168.1.1"]}


def to_loopback(host: str, port: int) -> list[tuple[Any, ...]]:
    """A resolver: names end in .test and lead here, but for those ELSEWHERE; numbers as the system reads them."""
    if host.endswith(".test") and host != "none.test":
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in ELSEWHERE.get(host, ["127.0.0.1"])]
    if host == "none.test":
        raise socket.gaierror(-2, "Name or service not known")
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


@pytest.fixture(scope="module")
def server() -> Iterator[HostileServer]:
    with hostile_server() as started:
        yield started


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.images.patience, "BASE_S", 0.02)


def web(run_date: str = "2026-11-25", **changes: Any) -> WebImages:
    before = changes.pop("before", dict)
    return WebImages(QUICK.model_copy(update=changes), run_date, before, to_loopback)


def to(address: str) -> str:
    return f"to/{address.encode().hex()}"


# path → the bytes, or the class of failure; requests that the server sees
OUTCOMES: dict[str, tuple[bytes | str, int | None]] = {
    "good": (IMAGE, 1),
    "status/404": ("missing", 1),
    "status/410": ("missing", 1),
    "status/401": ("refused", 1),
    "status/403": ("refused", 1),
    "status/418": ("refused", 1),
    "status/204": ("refused", 1),
    "status/206": ("refused", 1),
    "status/300": ("refused", 1),
    "status/304": ("refused", 1),
    "status/500": ("server_error", 3),
    "status/503": ("server_error", 3),
    "status/429": ("throttled", 3),
    "then-good/503/2": (IMAGE, 3),
    "then-good/429/1": (IMAGE, 2),
    "then-good/500/3": ("server_error", 3),
    "retry-after/1": (IMAGE, 2),
    "drip/body": ("timeout", 1),
    "drip/headers": ("timeout", 1),
    "hang": ("timeout", 3),
    "short": ("incomplete", 3),
    "long": (IMAGE[:-7], 1),
    "reset/early": ("unreachable", 3),
    "reset/late": ("unreachable", 3),
    "close": ("unreachable", 3),
    "loop/a": ("redirects", 1),
    "on/3": (IMAGE, 1),
    "on/4": ("redirects", 1),
    "endless/body": ("too_large", 1),
    "endless/chunks": ("too_large", 1),
    "endless/headers": ("bad_answer", 1),
    "endless/continue": ("bad_answer", 1),
    "declared/200001": ("too_large", 1),
    "declared/99999999999999999999999": ("too_large", 1),
    "packed/gzip": (IMAGE, 1),
    "packed/deflate": (IMAGE, 1),
    "packed/bomb": ("too_large", 1),
    "packed/cut": ("incomplete", 3),
    "packed/noise": ("bad_answer", 1),
    "packed/br": ("bad_answer", 1),
    "noise": ("bad_answer", 1),
    "html": (HTML, 1),
    to("http://127.0.0.2/"): ("forbidden", 1),
    to("http://[::1]/"): ("forbidden", 1),
    to("http://ten.test/"): ("forbidden", 1),
    to("http://cloud.test/latest/meta-data/"): ("forbidden", 1),
    to("http://169.254.169.254/latest/meta-data/"): ("forbidden", 1),
    to("http://mixed.test/"): ("forbidden", 1),
    to("http://0x7f.0.0.2/"): ("forbidden", 1),
    to("http://user@shop.test/"): ("forbidden", 1),
    to("http://shop.test:22/"): ("forbidden", 1),
    to("//ten.test/x"): ("forbidden", 1),
    to("file:///etc/passwd"): ("forbidden", 1),
    to("ftp://shop.test/a.jpg"): ("forbidden", 1),
    to("http://[::1"): ("forbidden", 1),
}  # fmt: skip


@pytest.mark.parametrize("path", OUTCOMES, ids=lambda p: bytes.fromhex(p[3:]).decode() if p[:3] == "to/" else p)
def test_each_outcome_has_its_class_and_an_end(server: HostileServer, path: str) -> None:
    expected, requests = OUTCOMES[path]
    images = web()
    uri = f"http://shop.test:{server.port}/{path}"
    before, started = server.tries[f"/{path}"], time.monotonic()
    if isinstance(expected, bytes):
        assert images.fetch(uri, None) == expected
    else:
        with pytest.raises(FetchError) as told:
            images.fetch(uri, None)
        assert (told.value.kind, told.value.passing) == (expected, PASSING[expected])
        assert str(told.value).startswith(uri) and "\n" not in str(told.value)
    assert time.monotonic() - started < ITEM_S + 0.5
    assert server.tries[f"/{path}"] - before == requests
    # What the server did to one connection harms no other request.
    assert images.fetch(f"http://shop.test:{server.port}/good", None) == IMAGE


def test_a_page_is_no_image_whatever_its_type(server: HostileServer) -> None:
    with pytest.raises(ImageError) as told:
        decode_image(web().fetch(f"http://shop.test:{server.port}/html", None))
    assert told.value.kind == "not_an_image"


@pytest.mark.parametrize(
    ("host", "kind"),
    [("none.test", "unreachable"), ("ten.test", "forbidden"), ("cloud.test", "forbidden"), ("mixed.test", "forbidden")],
)
def test_names_are_judged_by_where_they_lead(host: str, kind: str) -> None:
    images = web()
    with pytest.raises(FetchError) as told:
        images.fetch(f"http://{host}/a.jpg", None)
    assert told.value.kind == kind
    (listed,) = images.list([Address(f"http://{host}/a.jpg")])
    assert isinstance(listed, ListedImage) and listed.fingerprint is not None
    assert listed.fingerprint.startswith("read-2026-11-25-" if kind == "unreachable" else "forbidden-")


def test_a_cloud_s_metadata_is_refused_whatever_is_allowed() -> None:
    images = web(allow_networks=["0.0.0.0/0"])
    with pytest.raises(FetchError, match="metadata") as told:
        images.fetch("http://cloud.test/a.jpg", None)
    assert told.value.kind == "forbidden"


def test_a_name_that_changes_its_mind_is_asked_once_a_connection(server: HostileServer) -> None:
    """DNS rebinding: the address that was judged is the one that is connected to."""
    answers = iter(["127.0.0.1", "10.0.0.7"])

    def fickle(host: str, port: int) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    images = WebImages(QUICK, "2026-11-25", resolver=fickle)
    assert images.fetch(f"http://shop.test:{server.port}/good", None) == IMAGE
    assert next(answers) == "10.0.0.7"


@pytest.mark.parametrize(
    "soiled",
    ["once/close", "once/noise", "short", "reset/early", "declared/5000", "drip/body", "endless/body"],
)
def test_a_soiled_connection_harms_no_other_image(server: HostileServer, soiled: str) -> None:
    """A kept connection may be of no use by the time of the next request: that is no fault of the next image."""
    images, at = web(tries=1), f"http://shop.test:{server.port}"
    for n in range(5):
        images.list([Address(f"{at}/{soiled}?{n}")])
        (listed,) = images.list([Address(f"{at}/etag/{soiled}{n}")])
        assert isinstance(listed, ListedImage) and (listed.fingerprint or "").startswith("etag-")


def test_nobody_listens() -> None:
    started = time.monotonic()
    with pytest.raises(FetchError) as told:
        web().fetch(f"http://shop.test:{free_port()}/a.jpg", None)
    assert told.value.kind == "unreachable" and time.monotonic() - started < ITEM_S


# --- patience -----------------------------------------------------------------------------------------------------


def test_a_pause_longer_than_there_is_time_for_ends_at_once(server: HostileServer) -> None:
    started = time.monotonic()
    with pytest.raises(FetchError) as told:
        web().fetch(f"http://busy.test:{server.port}/retry-after/3600", None)
    assert told.value.kind == "throttled" and time.monotonic() - started < 0.5


def test_a_pause_holds_for_all_of_its_host_and_no_other(server: HostileServer) -> None:
    images, at = web(), f":{server.port}"
    with ThreadPoolExecutor(4) as crew:
        first = crew.submit(images.fetch, f"http://calm.test{at}/retry-after/1?a", None)
        time.sleep(0.3)
        started = time.monotonic()
        other = crew.submit(images.fetch, f"http://other.test{at}/good?b", None)
        same = crew.submit(images.fetch, f"http://calm.test{at}/good?c", None)
        assert other.result() == IMAGE and time.monotonic() - started < 0.4
        assert same.result() == first.result() == IMAGE
    assert server.of("/good?c")[0].at - server.of("/retry-after/1?a")[0].at > 0.95


def test_the_stage_has_an_end(server: HostileServer) -> None:
    """A hundred images of a host that hangs: all accounted for by the deadline, the rest not asked at all."""
    images, started = web(stage_s=1.0, per_host=4), time.monotonic()
    kinds = []

    def one(n: int) -> None:
        try:
            images.fetch(f"http://tar.test:{server.port}/hang/{n}", None)
        except FetchError as e:
            kinds.append(e.kind)

    with ThreadPoolExecutor(16) as crew:
        list(crew.map(one, range(100)))
    assert time.monotonic() - started < 1.0 + 0.6 + 0.5
    assert len(kinds) == 100 and set(kinds) == {"timeout", "deadline"} and kinds.count("deadline") > 80
    (listed,) = images.list([Address(f"http://tar.test:{server.port}/good")])
    assert isinstance(listed, ListedImage) and (listed.fingerprint or "").startswith("read-")


def test_a_host_that_is_down_is_hardly_asked(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.images.hosts, "DOWN_S", 0.2)
    monkeypatch.setattr(jobs.images.hosts, "PROBE_S", 0.3)
    images, before = web(), len(server.asked)
    kinds = []
    for n in range(60):
        with pytest.raises(FetchError) as told:
            images.fetch(f"http://down.test:{server.port}/status/500?{n}", None)
        kinds.append(told.value.kind)
        time.sleep(0.005)
    assert set(kinds) == {"server_error", "deadline"} and kinds[-1] == "deadline"
    assert len(server.asked) - before < 60
    time.sleep(0.35)
    assert images.fetch(f"http://down.test:{server.port}/good", None) == IMAGE  # the probe: it is up again
    assert images.fetch(f"http://down.test:{server.port}/good", None) == IMAGE


def test_a_slow_host_holds_up_no_other(server: HostileServer) -> None:
    addresses = [Address(f"http://stuck.test:{server.port}/hang/{n}") for n in range(6)]
    addresses += [Address(f"http://swift.test:{server.port}/good/{n}") for n in range(40)]
    before, started = len(server.asked), time.monotonic()
    found = web(list_threads=4, per_host=2, tries=1).list(addresses)
    assert all(isinstance(f, ListedImage) for f in found)
    swift = [r.at for r in server.asked[before:] if r.headers["host"].startswith("swift")]
    assert len(swift) == 40 and max(swift) - started < 0.5
    assert time.monotonic() - started < 3 * 0.6 + 0.8


@pytest.mark.parametrize("by", ["list", "fetch"])
def test_a_host_gets_so_many_at_once(server: HostileServer, by: str) -> None:
    names = [f"http://{h}.{by}.test:{server.port}/busy/{n}" for n in range(40) for h in ("one", "two")]
    images = web(per_host=3)
    if by == "list":
        images.list([Address(n) for n in names])
    else:
        with ThreadPoolExecutor(16) as crew:
            list(crew.map(lambda n: images.fetch(n, None), names))
    assert (server.most[f"one.{by}.test"], server.most[f"two.{by}.test"]) == (3, 3)


# --- fingerprints -------------------------------------------------------------------------------------------------


def test_what_an_image_s_fingerprint_is_taken_from(server: HostileServer) -> None:
    def at(path: str) -> str:
        return f"http://shop.test:{server.port}/{path}"

    paths = {
        "etag/a": "etag-", "dated/a": "time-", "plain/a": "read-2026-11-25-", "status/404?l": None,
        "status/403?l": "refused-", "status/500?l": "read-2026-11-25-", "on/9": "redirects-",
        "no-head/a": "etag-", "no-head/ranged": "etag-", "hang?l": "read-2026-11-25-",
    }  # fmt: skip
    addresses = [Address(at(p)) for p in paths] + [Address(at("good/upd"), "2026-11-24T10:00:00Z")]
    images, before = web(), len(server.asked)
    found = dict(zip([*paths, "upd"], images.list(addresses), strict=True))
    for path, start in {**paths, "upd": "upd-"}.items():
        listed = found[path]
        assert isinstance(listed, ListedImage)
        if start is None:
            assert listed.fingerprint is None
        else:
            assert listed.fingerprint is not None and listed.fingerprint.startswith(start), path
    asked = server.asked[before:]
    assert not [r for r in asked if r.path == "/good/upd"]  # the catalogue knows: nobody is asked
    for request in asked:
        refused = request.path.startswith(("/no-head", "/status/403"))
        assert request.method == "HEAD" or (refused and request.headers["range"] == "bytes=0-0")
        assert request.headers["accept-encoding"] == "identity"
    assert [f for f in images.list(addresses) if isinstance(f, ListedImage)] == list(found.values())
    tomorrow = web("2026-11-26").list([Address(at(p)) for p in ("etag/a", "dated/a", "plain/a", "on/9")])
    assert [t == found[p] for t, p in zip(tomorrow, paths, strict=False)] == [True, True, False] + [False]
    other = web().list([Address(at("good/upd"), "2026-11-25T10:00:00Z"), Address(at("good/b"), "2026-11-24T10:00:00Z")])
    assert len({f.fingerprint for f in (*other, found["upd"]) if isinstance(f, ListedImage)}) == 3


def test_the_catalogue_s_time_need_not_be_trusted(server: HostileServer) -> None:
    (listed,) = web(trust_updated_at=False).list([Address(f"http://shop.test:{server.port}/etag/t", "2026-11-24")])
    assert isinstance(listed, ListedImage) and (listed.fingerprint or "").startswith("etag-")


@pytest.mark.parametrize("path", ["etag/c", "no-head/c"])
def test_a_known_image_is_asked_for_on_condition(server: HostileServer, path: str) -> None:
    uri = f"http://shop.test:{server.port}/{path}"
    (first,) = web().list([Address(uri)])
    assert isinstance(first, ListedImage)
    before = len(server.asked)
    (again,) = web("2026-11-26", before=lambda: {uri: first.fingerprint}).list([Address(uri)])
    assert again == first
    assert server.asked[-1].headers["if-none-match"] == server.etag
    server.etag = '"v2"'
    try:
        (changed,) = web("2026-11-27", before=lambda: {uri: first.fingerprint}).list([Address(uri)])
    finally:
        server.etag = '"v1"'
    assert isinstance(changed, ListedImage) and changed.fingerprint == (first.fingerprint or "").replace("v1", "v2")
    assert not [r for r in server.asked[before:] if r.method == "GET" and r.headers.get("range") != "bytes=0-0"]


def test_an_address_in_many_rows_is_asked_for_once(server: HostileServer) -> None:
    uri = f"http://shop.test:{server.port}/etag/many"
    found = web().list([Address(uri)] * 50 + [Address("http://10.1.2.3/a.jpg")])
    assert len(server.of("/etag/many")) == 1 and len({f.uri for f in found[:50] if isinstance(f, ListedImage)}) == 1
    assert isinstance(found[50], ImageAddressError)


# --- TLS ----------------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A certificate that vouches for itself: a server's context, and the file that makes a client trust it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    day = datetime.datetime(2020, 1, 1)
    made = (
        x509.CertificateBuilder()
        .subject_name(who).issuer_name(who).public_key(key.public_key()).serial_number(7)
        .not_valid_before(day).not_valid_after(day + datetime.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = folder / f"{name}.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret = folder / f"{name}.key"
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return context, pem


TLS_OUTCOMES = {
    "https://safe.test/good": IMAGE,
    "https://other.test/good": "untrusted",  # the certificate is of another name
    "https://safe.test/drip/body": "timeout",
    "https://safe.test/hang": "timeout",
    "https://safe.test/endless/headers": "bad_answer",
    f"https://safe.test/{to('http://shop.test/good')}": "forbidden",  # from https down to http
    f"https://safe.test/{to('/good')}": IMAGE,
}


def test_outcomes_by_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, pem = certificate(tmp_path, "safe.test")
    with hostile_server(context) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        images = web()
        for uri, expected in TLS_OUTCOMES.items():
            started = time.monotonic()
            uri = uri.replace(".test/", f".test:{server.port}/", 1)
            try:
                got: bytes | str = images.fetch(uri, None)
            except FetchError as e:
                got = e.kind
            assert got == expected, uri
            assert time.monotonic() - started < ITEM_S + 0.5
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(FetchError) as told:
            web().fetch(f"https://safe.test:{server.port}/good", None)
        assert (told.value.kind, told.value.passing) == ("untrusted", False)


def test_a_server_that_speaks_no_tls(server: HostileServer) -> None:
    with pytest.raises(FetchError) as told:
        web().fetch(f"https://shop.test:{server.port}/good", None)
    assert told.value.kind == "unreachable"


def test_no_thread_is_left_behind(server: HostileServer) -> None:
    before = threading.active_count()
    images = web(list_threads=16)
    images.list([Address(f"http://shop.test:{server.port}/busy/left{n}") for n in range(30)])
    images.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("list-")]
    assert threading.active_count() <= before + 20  # the server's own, a connection each
