"""The catalogue contract: every row is taken or rejected, with field and reason."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.catalog.reader import read_catalog
from jobs.catalog.snapshot import Snapshot, fingerprint_of, take_snapshot
from jobs.errors import DataError, SettingsError
from jobs.images.folder import FolderImages
from jobs.images.source import Address, ImageAddressError, ListedImage
from schemas.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
GOOD = {"item_id": "a1", "category": "tops", "image": "a.jpg"}


def snapshot(folder: Path, rows: list[dict[str, str]], **options: str) -> Snapshot:
    (folder / "a.jpg").write_bytes(b"x")
    names = list(dict.fromkeys(k for r in rows for k in r))
    path = folder / "catalog.csv"
    with path.open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, names)
        writer.writeheader()
        writer.writerows(rows)
    return take_snapshot(read_catalog(path), "2026-01-01", TAXONOMY, FolderImages(folder), **options)


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"item_id": ""}, "item_id", "empty"),
        ({"item_id": "x" * 201}, "item_id", "longer than 200"),
        ({"item_id": "a\0b"}, "item_id", "control"),
        ({"category": ""}, "category", "empty"),
        ({"category": "other"}, "category", "'other' is refused"),
        ({"category": "furniture"}, "category", "'furniture' is neither"),
        ({"department": "aliens"}, "department", "'aliens' is not known"),
        ({"age_group": "fossil"}, "department", "'fossil' is not known"),
        ({"department": "girls", "age_group": "adult"}, "department", "contradicts"),
        ({"image": ""}, "image", "empty"),
        ({"image": "../a.jpg"}, "image", "leads out"),
        ({"image": "/etc/passwd"}, "image", "leads out"),
        ({"image": "file:///etc/passwd"}, "image", "by file:"),
        ({"image": "https://shop.example/a.jpg"}, "image", "by https:"),
        ({"image": "link.jpg"}, "image", "leads out"),
        ({"price": "cheap"}, "price", "no number"),
        ({"price": "-1"}, "price", "negative"),
        ({"price": "nan"}, "price", "not finite"),
        ({"currency": "Euro"}, "currency", "three-letter"),
        ({"availability": "maybe"}, "availability", "none of"),
    ],
)
def test_a_row_that_breaks_the_contract_is_rejected(
    tmp_path: Path, change: dict[str, str], field: str, reason: str
) -> None:
    os.symlink("/etc/passwd", tmp_path / "link.jpg")
    got = snapshot(tmp_path, [{**GOOD, **change}, {**GOOD, "item_id": "other-row"}])
    assert [(r.row, r.field) for r in got.rejected] == [(1, field)]
    assert reason in got.rejected[0].reason
    assert got.rows["item_id"].to_pylist() == ["other-row"]
    assert got.total == 2


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("a.jpg", "a.jpg"),
        ("./sub//b.jpg", "sub/b.jpg"),
        ("sub/../a.jpg", "a.jpg"),
        ("sub/.", "sub"),
        ("sub/", "sub"),
        ("inside/b.jpg", "sub/b.jpg"),  # links followed
        ("inside/../a.jpg", "a.jpg"),
        ("deep/c.jpg", "a.jpg"),
        ("gone/x.jpg", "gone/x.jpg"),
        ("a.jpg/x.jpg", "a.jpg/x.jpg"),
        ("loop/x.jpg", "loop/x.jpg"),
        ("out/passwd", None),
        ("sub/out.jpg", None),
        ("sub/../../a.jpg", None),
        ("..", None),
    ],
)
def test_an_image_is_where_its_links_lead_and_never_outside(tmp_path: Path, address: str, where: str | None) -> None:
    for folder in ("sub", "deep"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "sub" / "b.jpg").write_bytes(b"xy")
    links = {"inside": "sub", "deep/c.jpg": "../a.jpg", "out": "/etc", "sub/out.jpg": "/etc/passwd", "loop": "loop"}
    for name, to in links.items():
        os.symlink(to, tmp_path / name)
    images = FolderImages(tmp_path)
    for _ in range(2):  # a folder that is known already gives the same
        (got,) = images.list([Address(address)])
        if where is None:
            assert isinstance(got, ImageAddressError) and "leads out" in str(got)
            continue
        assert isinstance(got, ListedImage)
        assert got.uri == os.path.realpath(tmp_path / address) == str(tmp_path.resolve() / where)
        size = {"a.jpg": "1-", "sub/b.jpg": "2-"}.get(where)
        if size:
            assert (got.fingerprint or "").startswith(size)


@pytest.mark.parametrize(
    ("change", "column", "value"),
    [
        ({}, "in_stock", True),
        ({}, "department", "unisex"),
        ({}, "group_id", "a1"),
        ({"availability": "Out of Stock"}, "in_stock", False),
        ({"availability": "preorder"}, "in_stock", True),
        ({"category": "DRESSES"}, "category", "all-body"),
        ({"category": "swim-underwear", "product_type": "Bikini top"}, "category", "swimwear"),
        ({"category": "swim-underwear", "product_type": "Bras"}, "category", "underwear"),
        ({"department": "Female"}, "department", "women"),
        ({"department": "male", "age_group": "kids"}, "department", "boys"),
        ({"age_group": "toddler"}, "department", "kids"),
        ({"price": "19.90", "currency": "EUR"}, "price", 19.9),
        ({"image": "gone.jpg"}, "source_fingerprint", None),
        ({"season": " Summer 26 "}, "season", "Summer 26"),
        ({}, "season", None),
        ({"tags": "New | eco|New||"}, "tags", ["New", "eco"]),
        ({"tags": " | "}, "tags", None),
        ({"markets": "DE|AT"}, "markets", ["DE", "AT"]),
        ({}, "markets", None),
    ],
)
def test_a_value_is_understood(tmp_path: Path, change: dict[str, str], column: str, value: object) -> None:
    got = snapshot(tmp_path, [{**GOOD, **change}])
    assert got.rejected == ()
    assert got.rows[column].to_pylist() == [value]


def test_the_second_row_of_an_item_is_rejected(tmp_path: Path) -> None:
    got = snapshot(tmp_path, [GOOD, {**GOOD, "category": "shoes"}])
    assert [(r.row, r.field) for r in got.rejected] == [(2, "item_id")]
    assert got.rows["category"].to_pylist() == ["tops"]


def test_groups_may_come_from_the_item_id(tmp_path: Path) -> None:
    rows = [{**GOOD, "item_id": i} for i in ("370-10", "370-20", "myntra_5", "x")]
    got = snapshot(tmp_path, rows, group_id_pattern=r"^(\d+)-")
    assert got.rows["group_id"].to_pylist() == ["370", "370", "myntra_5", "x"]


def test_the_fingerprint_follows_content_and_image_but_not_row_order(tmp_path: Path) -> None:
    rows = [GOOD, {**GOOD, "item_id": "b"}]
    first = snapshot(tmp_path, rows)
    os.utime(tmp_path / "a.jpg", ns=(1, 1))
    (tmp_path / "a.jpg").write_bytes(b"x")
    os.utime(tmp_path / "a.jpg", ns=(1, 1))
    touched = snapshot(tmp_path, rows)
    assert first.rows["item_id"] == touched.rows["item_id"]
    assert first.fingerprint != touched.fingerprint, "a new modification time must be looked at"


def _bytes(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "data", "error", "told"),
    [
        ("none.csv", None, SettingsError, "no such catalogue"),
        ("c.xlsx", b"x", SettingsError, "unknown kind"),
        ("c.csv", b"", DataError, "required column"),
        ("c.csv", b"id,category,image\n1,tops,a.jpg\n", DataError, "required column item_id"),
        ("c.csv", b"item_id,item_id,category,image\n", DataError, "more than once"),
        ("c.csv", b"item_id,category,image\n\x81\xfe,tops,a.jpg\n", DataError, "neither UTF-8 nor Windows"),
        ("c.csv", b'item_id,category,image\n1,tops,a.jpg\n2,"tops,a.jpg\n', DataError, "broken CSV near data row"),
        ("c.parquet", b"PAR1 not really", DataError, "not a readable Parquet"),
    ],
)
def test_a_file_that_is_no_catalogue_is_named(
    tmp_path: Path, name: str, data: bytes | None, error: type[Exception], told: str
) -> None:
    path = tmp_path / name if data is None else _bytes(tmp_path, name, data)
    with pytest.raises(error, match=told) as e:
        list(read_catalog(path))
    assert str(path) in str(e.value)


def test_a_row_with_too_many_cells_is_rejected_and_the_rest_is_taken(tmp_path: Path) -> None:
    path = _bytes(tmp_path, "c.csv", b"item_id,category,image\n1,tops,a.jpg,more\n\n2,tops,a.jpg\n")
    got = take_snapshot(read_catalog(path), "2026-01-01", TAXONOMY, FolderImages(tmp_path))
    assert [r.reason for r in got.rejected] == ["4 cells where the header has 3"]
    assert got.rows["item_id"].to_pylist() == ["2"]


def test_parquet_and_csv_give_the_same_snapshot(tmp_path: Path) -> None:
    rows = [{**GOOD, "price": "19.5", "currency": "EUR", "title": "Ünï"}, {**GOOD, "item_id": "7"}]
    from_csv = snapshot(tmp_path, rows)
    table = pa.Table.from_pylist(
        [{**r, "price": float(r["price"]) if "price" in r else None} for r in rows],
        schema=pa.schema([(n, pa.float64() if n == "price" else pa.string()) for n in from_names(rows)]),
    )
    pq.write_table(table, tmp_path / "c.parquet")
    raw = read_catalog(tmp_path / "c.parquet")
    from_parquet = take_snapshot(raw, "2026-01-01", TAXONOMY, FolderImages(tmp_path))
    assert from_parquet.rows == from_csv.rows
    assert from_parquet.fingerprint == from_csv.fingerprint


def test_lists_in_parquet_are_those_between_bars(tmp_path: Path) -> None:
    from_csv = snapshot(tmp_path, [{**GOOD, "tags": "a|b"}, {**GOOD, "item_id": "b2", "markets": "DE"}])
    table = pa.Table.from_pylist(
        [{**GOOD, "tags": ["a", None, " b "]}, {**GOOD, "item_id": "b2", "tags": [], "markets": ["DE"]}],
        schema=pa.schema(
            [*((n, pa.string()) for n in GOOD), *((n, pa.list_(pa.string())) for n in ("tags", "markets"))]
        ),
    )
    pq.write_table(table, tmp_path / "c.parquet")
    got = take_snapshot(read_catalog(tmp_path / "c.parquet"), "2026-01-01", TAXONOMY, FolderImages(tmp_path))
    assert got.rows == from_csv.rows


def test_columns_that_came_later_change_no_fingerprint_where_they_are_empty(tmp_path: Path) -> None:
    os.utime(tmp_path, ns=(1, 1))
    got = snapshot(tmp_path, [GOOD]).rows
    before = got.drop_columns(["season", "tags", "markets"])
    assert fingerprint_of(got) == fingerprint_of(before)
    tagged = snapshot(tmp_path, [{**GOOD, "tags": "x"}])
    assert fingerprint_of(tagged.rows) != fingerprint_of(got)


def from_names(rows: list[dict[str, str]]) -> list[str]:
    return list(dict.fromkeys(k for r in rows for k in r))
