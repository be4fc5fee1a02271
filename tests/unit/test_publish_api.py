"""The public answer: its shape, what it leaves out, its errors, and that it serves no file it should not."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from jobs.pdp.app import create_app
from jobs.pdp.look import complete_the_look
from jobs.publish.sqlite_store import SqliteStore
from jobs.publish.store import ListedItem, ListRow, ProductRow, SlotList
from jobs.settings import Settings
from schemas.pdp import Complements, Problem


def product(item: str, **changes: object) -> ProductRow:
    row = ProductRow(
        item, f"Title {item}", "shoes", "women", None, "Brand", item, 19.9, "EUR", "in_stock", True, "/none.jpg"
    )
    return dataclasses.replace(row, **changes)  # type: ignore[arg-type]


SHOES = SlotList("shoes", tuple(ListedItem(f"s{n}", 700_000 - n, 500_000, 200_000 - n) for n in range(5)))
BAGS = SlotList("bags", (ListedItem("b1", 1, 2, -1), ListedItem("b2", None, None, None, "pinned")))
HATS = SlotList("hats", (ListedItem("h1", 5, 5, 0),))
PRODUCTS = [
    product("top/1 é", category="tops"),
    *(product(f"s{n}") for n in range(5)),
    product("b1", category="bags", title=None, price=None),
    product("b2", category="bags"),
    product("h1", category="hats", in_stock=False, availability="out_of_stock"),
    product("plain", category="underwear"),
]


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    made = SqliteStore(tmp_path / "pdp.sqlite")
    made.init()
    release = made.begin_release("2026-03-02-all-g1", "2026-03-02", "m-1", "h").number
    made.put_lists(release, [ListRow("top/1 é", (SHOES, BAGS, HATS))])
    made.put_products(PRODUCTS)
    made.complete_release(release, lists=3, items=1)
    made.move_pointer(release, 0)
    return made


@pytest.fixture
def client(store: SqliteStore) -> TestClient:
    return TestClient(create_app(Settings(), store, pointer_ttl_s=0), raise_server_exceptions=False)


URL = f"/v1/items/{quote('top/1 é', safe='')}/complements"


def test_the_answer_has_the_documented_shape(client: TestClient) -> None:
    got = client.get(URL)
    assert got.status_code == 200
    body = got.json()
    assert Complements.model_validate(body).model_dump(mode="json") == body
    assert (body["item_id"], body["release"], body["run_date"], body["model_version"]) == (
        "top/1 é",
        1,
        "2026-03-02",
        "m-1",
    )
    assert body["product"]["title"] == "Title top/1 é"
    assert [(s["category"], s["title"], len(s["items"])) for s in body["slots"]] == [
        ("shoes", "Shoes", 5),
        ("bags", "Bags", 2),
    ]
    assert body["slots"][0]["items"][1] == {
        "item_id": "s1", "title": "Title s1", "brand": "Brand", "price": 19.9, "currency": "EUR",
        "image_url": "/media/s1", "product_url": "/items/s1",
        "score": 0.699999, "visual": 0.5, "colour": 0.199999, "reason": "model",
    }  # fmt: skip
    unnamed, pinned = body["slots"][1]["items"]
    assert (unnamed["title"], unnamed["price"], unnamed["colour"]) == ("b1", None, -1e-06)
    assert (pinned["score"], pinned["reason"]) == (None, "pinned")


def test_the_schema_names_every_field(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    answer = schema["components"]["schemas"]["Complements"]
    assert list(answer["properties"]) == [
        "item_id", "release", "run_date", "model_version", "product", "slots", "complete_the_look",
    ]  # fmt: skip
    responses = schema["paths"]["/v1/items/{item_id}/complements"]["get"]["responses"]
    assert {"200", "404", "422", "503"} <= set(responses)


def test_slots_and_limit_narrow_the_answer(client: TestClient) -> None:
    body = client.get(URL, params={"slots": "bags, shoes", "limit": 2}).json()
    assert [(s["category"], [i["item_id"] for i in s["items"]]) for s in body["slots"]] == [
        ("shoes", ["s0", "s1"]), ("bags", ["b1", "b2"]),
    ]  # fmt: skip
    assert client.get(URL, params={"slots": ""}).json()["slots"] == []


# Slots are words of items; an item is a letter for its group and a number.
@pytest.mark.parametrize(
    ("slots", "limit", "taken", "look"),
    [
        ("a1 a2 b1|c1 d1", 9, "", "0a1 1c1 0b1 1d1"),
        ("a1 b1|c1 d1|e1 f1", 9, "", "0a1 1c1 2e1 0b1 1d1 2f1"),
        ("a1 b1|a2 c1", 9, "", "0a1 1c1 0b1"),  # a group across slots: the second slot gives its next
        ("a1 b1|a1 b1", 9, "", "0a1 1b1"),  # the same item in two slots
        ("a1 b1 c1|d1", 9, "", "0a1 1d1 0b1 0c1"),  # a slot runs out and the others go on
        ("a1|b1|c1", 2, "", "0a1 1b1"),  # cut within a round
        ("a1 b1|c1 d1", 3, "", "0a1 1c1 0b1"),
        ("a1 b1|c1", 9, "a", "0b1 1c1"),  # the page's own group
        ("a1 a2|a3", 9, "a", ""),
        ("||a1", 9, "", "2a1"),
        ("a1", 0, "", ""),
        ("", 9, "", ""),
    ],
)
def test_a_look_takes_of_each_slot_in_turn(slots: str, limit: int, taken: str, look: str) -> None:
    got = complete_the_look([s.split() for s in slots.split("|")], lambda item: item[0], limit, set(taken))
    assert got == [(int(w[0]), w[1:]) for w in look.split()]


def look_of(client: TestClient, **params: object) -> list[tuple[str, str]]:
    body = client.get(URL, params=params).json()
    return [(i["category"], i["item_id"]) for i in body["complete_the_look"]]


def test_the_look_is_made_of_the_slots_as_they_are_served(client: TestClient, store: SqliteStore) -> None:
    assert look_of(client) == [
        ("shoes", "s0"), ("bags", "b1"), ("shoes", "s1"), ("bags", "b2"), ("shoes", "s2"), ("shoes", "s3"),
        ("shoes", "s4"),
    ]  # fmt: skip
    assert look_of(client, limit=1) == look_of(client), "the slots' limit does not cut the look"
    assert look_of(client, look=2) == [("shoes", "s0"), ("bags", "b1")]
    assert look_of(client, look=0) == []
    assert look_of(client, slots="bags") == [("bags", "b1"), ("bags", "b2")]
    body = client.get(URL).json()
    piece = body["complete_the_look"][1]
    assert piece == body["slots"][1]["items"][0] | {"category": "bags", "category_title": "Bags"}
    assert client.get(f"{URL}?look=51").status_code == 422
    # Stock and groups of now over last night's lists: s0 is sold out, s2 a variant of s1, b1 of the page.
    now = {"s0": {"in_stock": False}, "s2": {"group_id": "s1"}, "b1": {"group_id": "top/1 é"}}
    store.put_products([dataclasses.replace(p, **now.get(p.item_id, {})) for p in PRODUCTS])
    assert look_of(client) == [("shoes", "s1"), ("bags", "b2"), ("shoes", "s3"), ("shoes", "s4")]


def test_a_rollback_takes_the_look_with_it(client: TestClient, store: SqliteStore) -> None:
    new = store.begin_release("2026-03-03-all-g1", "2026-03-03", "m-1", "h2").number
    store.put_lists(new, [ListRow("top/1 é", (BAGS,))])
    store.complete_release(new, lists=1, items=1)
    before = look_of(client)
    store.move_pointer(new, 1)
    assert look_of(client) == [("bags", "b1"), ("bags", "b2")]
    store.move_pointer(1, 2)
    assert look_of(client) == before


def test_sold_out_and_vanished_targets_are_left_out_at_read(client: TestClient, store: SqliteStore) -> None:
    changed = [
        dataclasses.replace(p, in_stock=p.item_id != "s0", price=5.0) for p in PRODUCTS if p.item_id not in ("s3", "h1")
    ]
    store.put_products(changed)
    body = client.get(URL, params={"limit": 2}).json()
    assert [i["item_id"] for i in body["slots"][0]["items"]] == ["s1", "s2"], "the limit counts what is shown"
    assert body["slots"][0]["items"][0]["price"] == 5.0
    assert body["release"] == 1


def test_a_sold_out_product_still_has_its_page(client: TestClient, store: SqliteStore) -> None:
    store.put_products([dataclasses.replace(p, in_stock=p.category != "tops") for p in PRODUCTS])
    body = client.get(URL).json()
    assert body["product"]["in_stock"] is False
    assert body["slots"]


def test_a_product_without_lists_has_an_empty_answer(client: TestClient) -> None:
    got = client.get("/v1/items/plain/complements")
    assert (got.status_code, got.json()["slots"]) == (200, [])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/items/none/complements", 404),
        ("/v1/items/../../etc/passwd/complements", 404),
        ("/v1/nothing", 404),
        ("/media/none", 404),
        (f"{URL}?limit=0", 422),
        (f"{URL}?limit=x", 422),
        ("/v1/items?limit=1000", 422),
    ],
)
def test_errors_are_problem_documents(client: TestClient, path: str, status: int) -> None:
    got = client.get(path)
    assert got.status_code == status
    assert got.headers["content-type"] == "application/problem+json"
    assert Problem.model_validate(got.json()).status == status


def test_nothing_announced_is_503_until_something_is(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "new.sqlite")
    client = TestClient(create_app(Settings(), store, pointer_ttl_s=0), raise_server_exceptions=False)
    away = client.get("/healthz")
    assert away.status_code == 503
    assert str(tmp_path) not in away.text, "paths are not for the public"
    store.init()
    for path in ("/healthz", "/v1/items", "/v1/categories", "/v1/items/a/complements"):
        got = client.get(path)
        assert (got.status_code, got.json()["title"]) == (503, "Nothing announced")
        assert int(got.headers["retry-after"]) > 0


def test_an_unchanged_answer_costs_no_body(client: TestClient, store: SqliteStore) -> None:
    first = client.get(URL)
    assert "max-age=60" in first.headers["cache-control"]
    again = client.get(URL, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    store.put_products([dataclasses.replace(p, price=1.0) for p in PRODUCTS])
    assert client.get(URL, headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_a_rollback_reaches_readers(client: TestClient, store: SqliteStore) -> None:
    new = store.begin_release("2026-03-03-all-g1", "2026-03-03", "m-1", "h2").number
    store.put_lists(new, [ListRow("top/1 é", (BAGS,))])
    store.complete_release(new, lists=1, items=1)
    assert client.get(URL).json()["release"] == 1
    store.move_pointer(new, 1)
    assert [s["category"] for s in client.get(URL).json()["slots"]] == ["bags"]
    store.move_pointer(1, 2)
    assert client.get(URL).json()["release"] == 1


def test_browsing_pages_through_a_category(client: TestClient) -> None:
    seen, after = [], ""
    while True:
        body = client.get("/v1/items", params={"category": "shoes", "limit": 2, "after": after}).json()
        seen += [i["item_id"] for i in body["items"]]
        if body["next"] is None:
            break
        after = body["next"]
    assert seen == [f"s{n}" for n in range(5)]
    categories = [c["category"] for c in client.get("/v1/categories").json()["categories"]]
    assert categories == ["tops", "shoes", "bags", "hats", "underwear"]


def test_media_sends_images_and_nothing_else(client: TestClient, store: SqliteStore, tmp_path: Path) -> None:
    picture = tmp_path / "pic ture.jpg"
    Image.new("RGB", (8, 8), "red").save(picture)
    page, svg, fifo = tmp_path / "page.jpg", tmp_path / "x.svg", tmp_path / "fifo.jpg"
    page.write_text("<html><script>alert(1)</script>")
    svg.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    os.mkfifo(fifo)
    uris = {
        "good": str(picture), "uri": picture.as_uri(), "page": str(page), "svg": str(svg), "fifo": str(fifo),
        "dir": str(tmp_path), "gone": str(tmp_path / "gone.jpg"), "passwd": "/etc/passwd", "relative": "pic.jpg",
        "s3": "s3://bucket/a.jpg", "web": "https://shop.example/a.jpg",
    }  # fmt: skip
    store.put_products([product(i, image_uri=u) for i, u in uris.items()])
    for item in uris:
        got = client.get(f"/media/{item}")
        if item in ("good", "uri"):
            assert (got.status_code, got.headers["content-type"]) == (200, "image/jpeg")
            assert got.content == picture.read_bytes()
            assert client.get(f"/media/{item}", headers={"If-None-Match": got.headers["etag"]}).status_code == 304
        else:
            assert got.status_code == 404, item
    assert client.get("/media/..%2F..%2Fetc%2Fpasswd").status_code == 404
    assert client.get(f"/media/{quote(str(picture), safe='')}").status_code == 404
    urls = {i["item_id"]: i["image_url"] for i in client.get("/v1/items", params={"limit": 50}).json()["items"]}
    assert (urls["good"], urls["web"], urls["s3"]) == ("/media/good", "https://shop.example/a.jpg", None)


def test_pages_come_with_a_strict_policy(client: TestClient) -> None:
    for path in ("/", "/items/anything", "/static/item.js"):
        got = client.get(path)
        assert got.status_code == 200
        policy = got.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert got.headers["x-content-type-options"] == "nosniff"
