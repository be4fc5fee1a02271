"""Nights whose photos are far away: on a web server that does its worst, and in a bucket behind a bad line."""

from __future__ import annotations

import time
import zlib
from pathlib import Path

import pytest
from embed_shop import Shop, encoded, picture
from fault_proxy import Fault, fault_proxy_apart
from hostile_server import hostile_server
from require import require
from s3_server import s3_server

import jobs.images.patience
from jobs.errors import TransientError
from jobs.settings import CatalogSettings, EmbedSettings, ImageSettings
from jobs.stage import open_lake
from medal_model.teacher import load_teacher

pytestmark = [pytest.mark.timeout(120), pytest.mark.e2e]
STAGE_S = 12.0

# item → path on the server, its state on the first night, its error class
HOSTILE: dict[str, tuple[str, str, str | None]] = {
    "good": ("good/a", "embedded", None),
    "tagged": ("etag/b", "embedded", None),
    "dated": ("dated/c", "embedded", None),
    "plain": ("plain/d", "embedded", None),
    "moved": ("on/2", "embedded", None),
    "gone": ("status/404", "quarantined", "missing"),
    "secret": ("status/403", "quarantined", "refused"),
    "broken": ("status/500", "waiting", "server_error"),
    "busy": ("status/429", "waiting", "throttled"),
    "drip": ("drip/body", "waiting", "timeout"),
    "hang": ("hang", "waiting", "timeout"),
    "short": ("short", "waiting", "incomplete"),
    "reset": ("reset/early", "waiting", "unreachable"),
    "loop": ("loop/a", "quarantined", "redirects"),
    "inside": (f"to/{b'http://127.0.0.2/'.hex()}", "quarantined", "forbidden"),
    "cloud": (f"to/{b'http://169.254.169.254/latest'.hex()}", "quarantined", "forbidden"),
    "file": (f"to/{b'file:///etc/passwd'.hex()}", "quarantined", "forbidden"),
    "endless": ("endless/body", "quarantined", "too_large"),
    "bomb": ("packed/bomb", "quarantined", "too_large"),
    "page": ("html", "quarantined", "not_an_image"),
    "noise": ("noise", "quarantined", "bad_answer"),
}
REJECTED = [
    "http://127.0.0.2/a.jpg",
    "http://2130706433/a.jpg",
    "https://a@b.com/a.jpg",
    "file:///etc/passwd",
    "../a.jpg",
]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.images.patience, "BASE_S", 0.02)


def test_nights_on_a_hostile_server(tmp_path: Path, teacher_dir: Path) -> None:
    load_teacher(teacher_dir)  # torch is there before the clock runs
    shop = Shop(tmp_path, teacher_dir)
    patient = EmbedSettings(batch_size=4, slice_size=3, retry_days=3)
    images = ImageSettings(
        allow_networks=["127.0.0.1/32"], max_bytes=200_000, tries=2, read_s=0.4, item_s=3.0, stage_s=STAGE_S
    )
    shop.settings = shop.settings.model_copy(
        update={"images": images, "catalog": CatalogSettings(max_rejected_share=0.5), "embed": patient}
    )
    with hostile_server() as server:
        server.files = {n: encoded(picture((50 * i, 90, 60)), "JPEG") for i, n in enumerate(["", *"abcd", "0"])}
        shop.items = {i: f"http://127.0.0.1:{server.port}/{path}" for i, (path, _, _) in HOSTILE.items()}
        shop.items |= {f"rejected-{n}": address for n, address in enumerate(REJECTED)}
        started = time.monotonic()
        result, states = shop.night("2026-11-25")
        assert time.monotonic() - started < 2 * STAGE_S
        assert states == {i: state for i, (_, state, _) in HOSTILE.items()}
        assert {i: r["error_class"] for i, r in shop.quarantine().items()} == {
            i: kind for i, (_, _, kind) in HOSTILE.items() if kind
        }
        lake = open_lake(shop.settings)
        logged = lake.read("rejected_rows", lake.version("rejected_rows"))
        assert sorted(logged["item_id"].to_pylist()) == [f"rejected-{n}" for n in range(len(REJECTED))]
        assert len(states) + logged.num_rows == len(shop.items)

        before = len(server.asked)
        result, states = shop.night("2026-11-26")
        fetched = {r.path.lstrip("/") for r in server.asked[before:] if r.method == "GET" and "range" not in r.headers}
    kept = {"good", "tagged", "dated", "plain", "moved"}
    assert states == {i: "unchanged" if i in kept else state for i, (_, state, _) in HOSTILE.items()}
    assert result.counts["embedded"] == 0
    # Only what tells no validator and what may have passed is read again; the rest of the failures wait.
    paths = {i: HOSTILE[i][0] for i in HOSTILE}
    assert paths["plain"] in fetched and paths["broken"] in fetched
    rest = ("good", "tagged", "dated", "moved", "gone", "secret", "loop", "inside", "file")
    assert {i for i in rest if paths[i] in fetched} == set()


def until_done(shop: Shop, date: str) -> dict[str, str]:
    """As the scheduler does: exit code 5 is tried again. A commit that met a reset may be there or not."""
    for _ in range(8):
        try:
            return shop.night(date)[1]
        except TransientError as e:
            told = str(e)
        assert told.isprintable(), told  # one line, without colours
    raise AssertionError("the night does not end")


@pytest.mark.s3
def test_a_night_on_s3_behind_a_bad_line(tmp_path: Path, teacher_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos and lake in buckets; a third of all paths meets a 503, a reset or a cut answer at its first try."""
    import boto3

    require("versitygw")
    faults: tuple[Fault | None, ...] = ("503", "reset", "cut", None, None, None, None, None)

    def bad_line(method: str, path: str, n: int) -> Fault | None:
        fault = faults[zlib.crc32(f"{method} {path}".encode()) % len(faults)]
        if "lost" in path:
            return "503"
        if n > 1 or (fault == "cut" and not path.startswith("/photos")):
            return None
        return "reset" if fault == "cut" and method != "GET" else fault

    names = [f"p{n}" for n in range(24)]
    with s3_server() as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        client = boto3.Session().client("s3", endpoint_url=server.endpoint_url)
        for bucket in ("photos", "lake"):
            client.create_bucket(Bucket=bucket)
        for n, name in enumerate([*names, "lost-1", "lost-2"]):
            body = encoded(picture((10 * n, 200 - 7 * n, 60)), "JPEG")
            client.put_object(Bucket="photos", Key=f"all/{name}.jpg", Body=body)
        shops = []
        with fault_proxy_apart(int(server.endpoint_url.rsplit(":", 1)[1]), bad_line) as wire:
            for folder, endpoint in (("calm", server.endpoint_url), ("bad", wire.url)):
                (tmp_path / folder).mkdir()
                shop = Shop(tmp_path / folder, teacher_dir)
                shop.settings = shop.settings.model_copy(
                    update={"lake": f"s3://lake/{folder}", "s3_endpoint_url": endpoint}
                )
                shop.items = {n: f"s3://photos/all/{n}.jpg" for n in [*names, "gone", "lost-1", "lost-2"]}
                states = until_done(shop, "2026-11-25")
                found = "waiting" if folder == "bad" else "embedded"
                assert states == dict.fromkeys(names, "embedded") | {"gone": "quarantined"} | dict.fromkeys(
                    ("lost-1", "lost-2"), found
                )
                shops.append(shop)
        assert all(wire.spoilt[f] > 1 for f in ("503", "reset", "cut")), wire.spoilt
        calm, bad = shops
        bad.settings = bad.settings.model_copy(update={"s3_endpoint_url": server.endpoint_url})  # the line is mended
        assert {i: r["error_class"] for i, r in bad.quarantine().items()} == {
            "gone": "missing", "lost-1": "throttled", "lost-2": "throttled"
        }  # fmt: skip
        assert all((calm.vector(n) == bad.vector(n)).all() for n in names)
        result, states = bad.night("2026-11-26")
        assert set(states.values()) == {"unchanged", "embedded", "quarantined"} and result.counts["embedded"] == 2
        assert (calm.vector("lost-1") == bad.vector("lost-1")).all()
