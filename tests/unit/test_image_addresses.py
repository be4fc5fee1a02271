"""Which addresses are asked: IP addresses, URLs, keys of S3, and the choice of a source by scheme."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import SettingsError
from jobs.images.addresses import checked_url, networks, why_forbidden
from jobs.images.folder import FolderImages
from jobs.images.route import open_images
from jobs.images.s3 import split
from jobs.images.source import PASSING, Address, FetchError, ImageAddressError, ListedImage
from jobs.settings import ImageSettings, Settings, load_settings

PUBLIC = ["8.8.8.8", "172.32.0.1", "192.1.0.1", "100.128.0.1", "198.20.0.1", "2606:4700::1111", "2a00:1450::1"]
PUBLIC += ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]
PLACES = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::"],
    "link-local": ["169.254.0.1", "fe80::1", "febf::1", "::ffff:169.254.7.7"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fdff::1", "0.0.0.0",
                "198.18.0.1", "255.255.255.255", "::", "2001:db8::1", "::ffff:10.1.1.1", "64:ff9b::10.0.0.1",
                "2002:c0a8:101::1"],
    "reserved": ["100.64.0.1", "100.127.255.255", "192.0.0.9", "192.88.99.1", "fec0::1", "64:ff9b:1::1", "::127.0.0.1",
                 "5f00::1", "4000::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "::ffff:224.0.0.1"],
    "metadata": ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254",
                 "::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::"],
}  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_asked(address: str) -> None:
    assert why_forbidden(ipaddress.ip_address(address)) is None


@pytest.mark.parametrize(("place", "address"), [(p, a) for p, some in PLACES.items() for a in some])
def test_other_addresses_are_not(place: str, address: str) -> None:
    why = why_forbidden(ipaddress.ip_address(address))
    assert why is not None and place in why
    allowed = why_forbidden(ipaddress.ip_address(address), networks(["0.0.0.0/0", "::/0"]))
    assert (allowed is None) == (place != "metadata")


def test_a_network_that_is_allowed_lets_in_no_other() -> None:
    allowed = networks(["10.2.0.0/16", "fd12::/48"])
    inside, outside = ("10.2.255.1", "::ffff:10.2.0.1", "fd12::5"), ("10.3.0.1", "127.0.0.1", "fd13::5", "::1")
    assert [why_forbidden(ipaddress.ip_address(a), allowed) for a in inside] == [None] * 3
    assert all(why_forbidden(ipaddress.ip_address(a), allowed) for a in outside)


GOOD_URLS = {
    "https://cdn.shop.com/a/b.jpg?w=1000": "https://cdn.shop.com/a/b.jpg?w=1000",
    "HTTPS://CDN.Shop.com/A.jpg": "https://cdn.shop.com/A.jpg",
    "http://shop.com:8080/a b.jpg": "http://shop.com:8080/a%20b.jpg",
    "https://shop.com/ü.jpg#top": "https://shop.com/%C3%BC.jpg",
    "https://shop.com/../../etc/passwd": "https://shop.com/etc/passwd",
    "https://8.8.8.8/a.jpg": "https://8.8.8.8/a.jpg",
    "https://[2606:4700::1111]/a.jpg": "https://[2606:4700::1111]/a.jpg",
}
BAD_URLS = {
    "ftp://shop.com/a.jpg": "not allowed",
    "file:///etc/passwd": "not allowed",
    "gopher://shop.com/": "not allowed",
    "javascript:alert(1)": "not allowed",
    "shop.com/a.jpg": "not allowed",
    "https:///a.jpg": "no host",
    "https://user@shop.com/a.jpg": "user name",
    "https://user:secret@shop.com/a.jpg": "user name",
    "https://shop.com@10.0.0.1/a.jpg": "user name",
    "https://shop.com:22/a.jpg": "port 22",
    "https://shop.com:0/a.jpg": "port 0",
    "https://shop.com:99999/a.jpg": "URL",
    "https://shop.com:x/a.jpg": "URL",
    "http://127.0.0.1/a.jpg": "loopback",
    "http://10.0.0.1:8080/a.jpg": "private",
    "http://169.254.169.254/latest/meta-data/": "metadata",
    "http://[::1]/a.jpg": "loopback",
    "http://[::ffff:127.0.0.1]/a.jpg": "loopback",
    "http://[::ffff:7f00:1]/a.jpg": "loopback",
    "http://[fe80::1%25eth0]/a.jpg": "interface",
    "http://2130706433/a.jpg": "disguise",
    "http://017700000001/a.jpg": "disguise",
    "http://0x7f000001/a.jpg": "disguise",
    "http://0x7f.1/a.jpg": "disguise",
    "http://127.1/a.jpg": "disguise",
    "http://0177.0.0.1/a.jpg": "disguise",
    "http://127.0.0.1./a.jpg": "disguise",
    "http://shop.com\\@10.0.0.1/a.jpg": "backslash",
    "https://shop.com/a\r\nHost: b": "control",
    "https://shop.com/\x00": "control",
    "https://shop.com/" + "a" * 2048: "longer",
}


@pytest.mark.parametrize("text", GOOD_URLS)
def test_addresses_in_their_normal_form(text: str) -> None:
    url = checked_url(text, ["http", "https"])
    assert url.url == GOOD_URLS[text]
    assert checked_url(url.url, ["http", "https"]) == url


@pytest.mark.parametrize("text", BAD_URLS, ids=lambda t: t[:40])
def test_addresses_that_are_refused(text: str) -> None:
    with pytest.raises(ImageAddressError, match=BAD_URLS[text]):
        checked_url(text, ["http", "https"])


def test_full_width_and_circled_forms_are_what_they_become() -> None:
    for text in ("http://１２７.０.０.１/", "http://127。0。0。1/", "http://①②⑦.0.0.1/"):
        with pytest.raises(ImageAddressError):
            checked_url(text, ["http"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://shop-images/a/b.jpg", ("shop-images", "a/b.jpg")),
        ("s3://shop-images/a b%20ü.jpg", ("shop-images", "a b%20ü.jpg")),
        ("s3://shop-images", "key"),
        ("s3://shop-images/", "key"),
        ("s3:///a.jpg", "bucket"),
        ("s3://Shop/a.jpg", "bucket"),
        ("s3://../a.jpg", "bucket"),
        ("s3://shop-images/../lake/a.jpg", "part"),
        ("s3://shop-images/a\n.jpg", "control"),
        ("s3://shop-images/" + "ü" * 513, "1,024"),
    ],
)
def test_keys(text: str, expected: tuple[str, str] | str) -> None:
    if isinstance(expected, tuple):
        assert split(text) == expected
        return
    with pytest.raises(ImageAddressError, match=expected):
        split(text)


# --- the choice of a source ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "uri"),
    [
        ("a.jpg", "{root}/a.jpg"),
        (" HTTPS://cdn.shop.com/a.jpg ", "https://cdn.shop.com/a.jpg"),
        ("S3://shop-images/A.jpg", "s3://shop-images/A.jpg"),
        ("ftp://shop.com/a.jpg", None),
        ("FILE:///etc/passwd", None),
        ("file:/etc/passwd", None),
        ("data:image/png;base64,AAAA", None),
        ("//10.0.0.1/share/a.jpg", None),
        ("http://127.0.0.1/a.jpg", None),
        ("../a.jpg", None),
    ],
)
def test_a_source_for_each_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, uri: str | None
) -> None:
    def nobody(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    (tmp_path / "a.jpg").write_bytes(b"x")
    (got,) = open_images(Settings(), tmp_path, "2026-11-25", ask=False).list([Address(address)])
    if uri is None:
        assert isinstance(got, ImageAddressError)
    else:
        assert isinstance(got, ListedImage) and got.uri == uri.format(root=tmp_path.resolve())


def test_schemes_that_a_shop_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    texts = ["a.jpg", "s3://shop-images/a.jpg", "http://shop.com/a.jpg", "https://shop.com/a.jpg"]
    settings = Settings(images=ImageSettings(schemes=["https"]))
    images = open_images(settings, tmp_path, "2026-11-25", ask=False)
    got = images.list([Address(t) for t in texts])
    assert [isinstance(g, ListedImage) for g in got] == [False, False, False, True]
    assert all("images.schemes" in str(g) for g in got[:3])
    for uri in (str(tmp_path / "a.jpg"), *texts[1:3]):
        with pytest.raises(FetchError) as told:
            images.fetch(uri, None)
        assert told.value.kind == "forbidden"


@pytest.mark.parametrize("network", ["10.2.0.0/8", "shop.com", "10.2.0.0/99", ""])
def test_a_network_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str) -> None:
    file = tmp_path / "medal.yaml"
    file.write_text(f"images: {{allow_networks: ['{network}']}}\n")
    with pytest.raises(SettingsError, match=r"images.allow_networks: .*is no network"):
        load_settings(file)


# --- a folder's files, changed since they were listed -------------------------------------------------------------


def _swap(path: Path, kind: str, outside: Path) -> None:
    path.unlink()
    if kind == "link":
        path.symlink_to(outside / "secret.jpg")
    elif kind == "folder link":
        path.parent.rmdir()
        path.parent.symlink_to(outside)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        s = socket.socket(socket.AF_UNIX)
        s.bind(str(path))
        s.close()
    elif kind == "large":
        with path.open("wb") as f:
            f.truncate(1001)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("nothing there", "missing"), ("link", "forbidden"), ("folder link", "forbidden"), ("fifo", "not_a_file"),
        ("folder", "not_a_file"), ("socket", "unreadable"), ("large", "too_large"),
    ],
)  # fmt: skip
@pytest.mark.timeout(10)
def test_a_file_is_judged_again_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    root, outside = tmp_path / "shop", tmp_path / "private"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    for name in ("secret.jpg", "a.jpg"):
        (outside / name).write_bytes(b"secret")
    path = root / "sub" / "a.jpg"
    path.write_bytes(b"photo")
    images = FolderImages(root, 1000)
    (listed,) = images.list([Address("sub/a.jpg")])
    assert isinstance(listed, ListedImage) and images.fetch(listed.uri, listed.fingerprint) == b"photo"
    _swap(Path("shop/sub/a.jpg"), change, outside)
    open_files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FetchError) as told:
        images.fetch(listed.uri, listed.fingerprint)
    assert (told.value.kind, told.value.passing) == (kind, PASSING[kind])
    assert len(os.listdir("/proc/self/fd")) == open_files
