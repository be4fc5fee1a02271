"""Images in a bucket on versitygw: listed cheaply, fetched whole through 503s and resets, faults by class."""

from __future__ import annotations

import re
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fault_proxy import Fault, fault_proxy
from require import require
from s3_server import S3Server, s3_server
from servers import free_port

import jobs.images.patience
import jobs.images.s3
from jobs.errors import SettingsError
from jobs.images.s3 import S3Images
from jobs.images.source import PASSING, Address, FetchError, ImageAddressError, ListedImage
from jobs.settings import ImageSettings

pytestmark = pytest.mark.s3
QUICK = ImageSettings(max_bytes=20_000, tries=3, connect_s=1.0, read_s=1.0, item_s=5.0, s3_connections=16)
KEYS = [f"photos/{n:03}.jpg" for n in range(120)] + [f"loose/{n}/a b ü%20.jpg" for n in range(5)]


def photo(key: str) -> bytes:
    return (key.encode() + b" is its own picture; ") * 40


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    require("versitygw")
    with s3_server() as started:
        yield started


@pytest.fixture(scope="module")
def shop(server: S3Server) -> str:
    """A bucket with the photos of KEYS."""
    import boto3

    client = boto3.Session(
        server.env["AWS_ACCESS_KEY_ID"], server.env["AWS_SECRET_ACCESS_KEY"], region_name=server.env["AWS_REGION"]
    ).client("s3", endpoint_url=server.endpoint_url)
    client.create_bucket(Bucket="shop-images")
    with ThreadPoolExecutor(8) as crew:
        list(crew.map(lambda k: client.put_object(Bucket="shop-images", Key=k, Body=photo(k)), KEYS))
    client.put_object(Bucket="shop-images", Key="odd/large.jpg", Body=bytes(20_001))
    client.put_object(Bucket="shop-images", Key="odd/empty.jpg", Body=b"")
    return "shop-images"


@pytest.fixture(autouse=True)
def credentials(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jobs.images.patience, "BASE_S", 0.02)


def s3(endpoint: str, run_date: str = "2026-11-25", **changes: Any) -> S3Images:
    return S3Images(QUICK.model_copy(update=changes), run_date, endpoint)


def port(server: S3Server) -> int:
    return int(server.endpoint_url.rsplit(":", 1)[1])


def fine(method: str, path: str, n: int) -> None:
    return None


def addresses(keys: list[str]) -> list[Address]:
    return [Address(f"s3://shop-images/{k}") for k in keys]


def kind_of(images: S3Images, uri: str) -> str:
    try:
        images.fetch(uri, None)
    except FetchError as e:
        told = e
    else:
        return "fine"
    assert told.passing == PASSING[told.kind] and str(told).startswith(uri) and "\n" not in str(told)
    return told.kind


# --- listing ------------------------------------------------------------------------------------------------------


def test_listing_reads_no_image_and_asks_little(server: S3Server, shop: str) -> None:
    with fault_proxy(port(server), fine) as wire:
        images = s3(wire.url)
        found = images.list(addresses([*KEYS, "photos/none.jpg", "loose/none.jpg"]))
        asked = Counter(wire.tries)
        again = images.list(addresses(KEYS[:60]))
    uris = [f.uri for f in found if isinstance(f, ListedImage)]
    assert uris == [a.image for a in addresses([*KEYS, "photos/none.jpg", "loose/none.jpg"])]
    prints = [f.fingerprint for f in found if isinstance(f, ListedImage)]
    assert prints[-2:] == [None, None] and None not in prints[:-2] and len(set(prints[:-2])) == len(KEYS)
    # One listing for the folder of many; a HEAD for each of the few; no image.
    assert asked.total() == 1 + 6 and asked["GET", f"/{shop}"] == 1
    assert sum(n for (method, _), n in asked.items() if method == "HEAD") == 6
    assert wire.tries == asked and again == found[:60]  # listed once, known from then on


def test_head_and_list_give_the_same_fingerprint(server: S3Server, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = s3(server.endpoint_url).list(addresses(KEYS))
    monkeypatch.setattr(jobs.images.s3, "_LIST_FROM", 10_000)
    assert s3(server.endpoint_url, "2026-11-26").list(addresses(KEYS)) == listed


@pytest.mark.parametrize("why", ["sparse", "too many to keep"])
def test_a_folder_of_which_few_are_wanted_is_not_listed_to_its_end(
    server: S3Server, shop: str, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    expected = s3(server.endpoint_url).list(addresses(KEYS[:40]))
    if why == "sparse":
        monkeypatch.setattr(jobs.images.s3, "_SPARSE", 1001)
        monkeypatch.setattr(jobs.images.s3, "_SPARSE_FROM", 1)
    else:
        monkeypatch.setattr(jobs.images.s3, "_MOST_KEYS", 50)
    with fault_proxy(port(server), fine) as wire:
        images = s3(wire.url)
        assert images.list(addresses(KEYS[:40])) == expected == images.list(addresses(KEYS[:40]))
        assert sum(n for (method, _), n in wire.tries.items() if method == "HEAD") == 80
        assert wire.tries["GET", f"/{shop}"] == 1


def test_a_changed_image_has_another_fingerprint(server: S3Server, shop: str) -> None:
    import boto3

    client = boto3.Session().client("s3", endpoint_url=server.endpoint_url)
    prints = set()
    for body in (b"one", b"two", b"three"):
        client.put_object(Bucket=shop, Key="changing/a.jpg", Body=body)
        (listed,) = s3(server.endpoint_url).list(addresses(["changing/a.jpg"]))
        assert isinstance(listed, ListedImage)
        prints.add(listed.fingerprint)
    assert len(prints) == 3


def test_bad_addresses_stand_beside_good_ones(server: S3Server, shop: str) -> None:
    found = s3(server.endpoint_url).list([Address("s3://shop-images/../x"), *addresses(KEYS[:1])])
    assert isinstance(found[0], ImageAddressError) and isinstance(found[1], ListedImage)


# --- 503s and resets ----------------------------------------------------------------------------------------------

FAULTS: tuple[Fault, ...] = ("503", "500", "reset", "cut", "late reset")


def spoil(path: str) -> tuple[Fault, int]:
    """A fault for each path, and for how many tries: none, one, two, or for ever."""
    number = zlib.crc32(path.encode())
    return FAULTS[number % 5], (0, 1, 1, 2, 99)[number // 5 % 5]


def faulty(method: str, path: str, n: int) -> Fault | None:
    fault, times = spoil(path)
    if method != "GET" and fault in ("cut", "late reset"):
        fault = "reset"
    return fault if n <= times else None


def test_every_image_is_accounted_for_through_503s_and_resets(server: S3Server, shop: str) -> None:
    """Each photo comes whole, or its fault is a passing one of its class, in bounded time."""
    kinds = {"503": "throttled", "500": "server_error", "reset": "unreachable", "cut": "incomplete"}
    kinds["late reset"] = "incomplete"
    uris = [a.image for a in addresses(KEYS)]
    with fault_proxy(port(server), faulty) as wire:
        images = s3(wire.url)

        def one(uri: str) -> bytes | str:
            try:
                return images.fetch(uri, None)
            except FetchError as e:
                return e.kind if e.passing else f"{e.kind}, for good"

        started = time.monotonic()
        with ThreadPoolExecutor(16) as crew:
            got = dict(zip(KEYS, crew.map(one, uris), strict=True))
        took = time.monotonic() - started
        paths = {key: next(p for _, p in wire.tries if _is(p, key)) for key in KEYS}
    for key in KEYS:
        fault, times = spoil(paths[key])
        assert got[key] == (kinds[fault] if times == 99 else photo(key)), (key, fault, times)
    lost = sum(isinstance(g, str) for g in got.values())
    assert 10 < lost < 60 and all(wire.spoilt[f] > 5 for f in FAULTS)
    assert took < 30


def _is(path: str, key: str) -> bool:
    from urllib.parse import unquote

    return unquote(path) == f"/shop-images/{key}"


def test_a_listing_through_faults(server: S3Server, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.images.s3, "_LIST_FROM", 10_000)  # by HEAD
    expected = s3(server.endpoint_url).list(addresses(KEYS))
    with fault_proxy(port(server), faulty) as wire:
        found = s3(wire.url).list(addresses(KEYS))
        paths = {key: next(p for _, p in wire.tries if _is(p, key)) for key in KEYS}
    for key, one, true in zip(KEYS, found, expected, strict=True):
        assert isinstance(one, ListedImage)
        if spoil(paths[key])[1] == 99:  # not seen tonight: to be read, whatever it is
            assert re.fullmatch(r"read-2026-11-25-[0-9a-f]{16}", one.fingerprint or "")
        else:
            assert one == true


def test_a_listing_that_fails_leaves_each_image_to_tell_its_own_fault(server: S3Server, shop: str) -> None:
    def no_lists(method: str, path: str, n: int) -> Fault | None:
        return "503" if path == "/shop-images" else None

    expected = s3(server.endpoint_url).list(addresses(KEYS))
    with fault_proxy(port(server), no_lists) as wire:
        assert s3(wire.url).list(addresses(KEYS)) == expected
        assert wire.spoilt["503"] == 3


# --- classes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (KEYS[0], "fine"), (KEYS[-1], "fine"), ("odd/empty.jpg", "fine"), ("odd/none.jpg", "missing"),
        ("odd/large.jpg", "too_large"), ("../lake/x", "forbidden"),
    ],
)  # fmt: skip
def test_classes_of_a_fetch(server: S3Server, shop: str, key: str, kind: str) -> None:
    assert kind_of(s3(server.endpoint_url), f"s3://{shop}/{key}") == kind


def test_no_such_bucket_is_a_missing_image(server: S3Server) -> None:
    images = s3(server.endpoint_url)
    with pytest.raises(FetchError, match="no bucket none-such") as told:
        images.fetch("s3://none-such/a.jpg", None)
    assert told.value.kind == "missing"
    found = images.list([Address(f"s3://none-such/{n}.jpg") for n in range(40)])
    assert {f.fingerprint for f in found if isinstance(f, ListedImage)} == {None}


def test_nobody_there_and_nobody_answers(shop: str) -> None:
    import socket

    assert kind_of(s3(f"http://127.0.0.1:{free_port()}", tries=1), f"s3://{shop}/a.jpg") == "unreachable"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        images = s3(f"http://127.0.0.1:{silent.getsockname()[1]}", tries=1, read_s=0.2)
        assert kind_of(images, f"s3://{shop}/a.jpg") == "timeout" and time.monotonic() - started < 3


def test_the_stage_has_an_end(server: S3Server, shop: str) -> None:
    images = s3(server.endpoint_url, stage_s=0.001)
    time.sleep(0.01)
    assert kind_of(images, f"s3://{shop}/{KEYS[0]}") == "deadline"
    (listed,) = images.list(addresses(KEYS[:1]))
    assert isinstance(listed, ListedImage) and (listed.fingerprint or "").startswith("read-2026-11-25-")


def test_bad_credentials_stop_the_run(server: S3Server, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-it")
    with pytest.raises(SettingsError, match=r"s3://shop-images/photos/.*refused \(SignatureDoesNotMatch\)"):
        s3(server.endpoint_url).fetch(f"s3://{shop}/{KEYS[0]}", None)
    with pytest.raises(SettingsError, match="refused"):
        s3(server.endpoint_url).list(addresses(KEYS))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "none-such")
    for n in (1, 40):
        with pytest.raises(SettingsError, match="no credentials"):
            s3(server.endpoint_url).list(addresses(KEYS[:n]))


def test_many_small_requests_at_once_by_one_client(server: S3Server, shop: str) -> None:
    with fault_proxy(port(server), fine) as wire, ThreadPoolExecutor(16) as crew:
        images = s3(wire.url)
        assert list(crew.map(lambda k: images.fetch(f"s3://{shop}/{k}", None), KEYS)) == [photo(k) for k in KEYS]
        assert wire.spoilt == {"none": len(KEYS)}
