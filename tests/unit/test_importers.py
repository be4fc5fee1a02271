"""Feeds in whatever file they come: the contract's rows come out, and one bad row costs itself alone."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from jobs.catalog.reader import Reading, open_catalog
from jobs.catalog.rows import BAD_CELLS, CONTRACT, fault_of
from jobs.catalog.values import availability, gender, price
from jobs.errors import DataError, SettingsError

HEADER = (
    "id,title,image_link,price,availability,google_product_category,product_type,brand,item_group_id,gender,age_group"
)
ROW = "d1,Midi dress,https://x/d.jpg,999.00 USD,in_stock,2271,Women > Dresses,Acme,g1,female,adult"
WANT = {
    "item_id": "d1",
    "title": "Midi dress",
    "image": "https://x/d.jpg",
    "price": "999.00",
    "currency": "USD",
    "availability": "in_stock",
    "category": "all-body",
    "product_type": "Women > Dresses",
    "brand": "Acme",
    "group_id": "g1",
    "department": "female",
    "age_group": "adult",
}


def opened(folder: Path, data: bytes | str, name: str = "c.csv", columns: dict[str, str] | None = None) -> Reading:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return open_catalog(path, columns)


def rows(folder: Path, data: bytes | str, name: str = "c.csv") -> list[dict[str, str]]:
    return [{k: v for k, v in r.items() if k in CONTRACT} for r in opened(folder, data, name).rows]


def as_xml(opening: str, item: str, closing: str, prefix: str) -> str:
    cells = dict(zip(HEADER.split(","), ROW.split(","), strict=True))
    inside = "".join(f"<{prefix}{k}>{v.replace('>', '&gt;')}</{prefix}{k}>" for k, v in cells.items())
    return f'<?xml version="1.0"?>{opening}<title>Shop</title><{item}>{inside}</{item}>{closing}'


RSS = ('<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>', "item", "</channel></rss>")
ATOM = ('<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">', "entry", "</feed>")


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("f.csv", f"{HEADER}\n{ROW}\n", "CSV"),
        ("f.txt", f"{HEADER}\n{ROW}\n".replace(",", "\t"), "TSV"),
        ("f.csv", f"{HEADER}\n{ROW}\n".replace(",", ";"), "semicolons"),
        ("f.csv", f"{HEADER}\n{ROW}\n".replace(",", "|"), "bars"),
        ("f.csv", f"sep=;\r\n{HEADER}\r\n{ROW}\r\n".replace(",", ";"), "semicolons"),
        ("f.csv", f"Products of May\n\n{HEADER}\n{ROW}\n", "CSV"),
        ("f.csv", f"{HEADER},\n{ROW},\n", "CSV"),
        ("f.csv", f"{HEADER}\n,,,,,,,,,,\n{ROW}\n  \n", "CSV"),
        ("f.csv", HEADER.upper().replace("_", " ") + f"\n{ROW}\n", "CSV"),
        ("f.csv", ",".join(f"g:{h}" for h in HEADER.split(",")) + f"\n{ROW}\n", "CSV"),
        ("f.csv", ",".join(f"{h.replace('_', ' ').title()} [{h}]" for h in HEADER.split(",")) + f"\n{ROW}\n", "CSV"),
        ("feed", as_xml(*RSS, "g:"), "RSS 2.0"),
        ("feed.xml", as_xml(*RSS, ""), "RSS 2.0"),
        ("feed.xml", as_xml(*ATOM, "g:"), "Atom"),
        ("feed.xml", as_xml(*ATOM, "g:").replace("<entry>", "<entry><id>tag:x</id><title>Other</title>"), "Atom"),
        ("feed.xml", as_xml(*RSS, "g:").replace("</item>", "<title>Other</title><id>9</id></item>"), "RSS"),
        ("f.jsonl", json.dumps(dict(zip(HEADER.split(","), ROW.split(","), strict=True))), "JSON lines"),
    ],
)
def test_a_feed_is_known_by_content_and_header(tmp_path: Path, name: str, data: str, kind: str) -> None:
    reading = opened(tmp_path, data, name)
    assert [{k: v for k, v in r.items() if k in CONTRACT} for r in reading.rows] == [WANT]
    assert reading.notes.kind.startswith("Google Merchant feed") and kind in reading.notes.kind
    assert reading.notes.records == 1


@pytest.mark.parametrize(
    ("encode", "told"),
    [
        (lambda t: t.encode(), "UTF-8"),
        (lambda t: codecs.BOM_UTF8 + t.encode(), "UTF-8 with BOM"),
        (lambda t: t.encode("utf-16"), "UTF-16"),
        (lambda t: codecs.BOM_UTF16_BE + t.encode("utf-16-be"), "UTF-16"),
        (lambda t: t.encode("cp1252"), "Windows-1252"),
    ],
)
def test_an_encoding_is_told(tmp_path: Path, encode: object, told: str) -> None:
    text = f"{HEADER}\n{ROW.replace('Midi dress', 'Größe – été')}\n"
    reading = opened(tmp_path, encode(text))  # type: ignore[operator]
    assert [r["title"] for r in reading.rows] == ["Größe – été"]
    assert reading.notes.encoding == told
    assert any("Windows-1252" in line for line in reading.notes.lines()) == (told == "Windows-1252")


def test_a_few_broken_bytes_spoil_only_their_letters(tmp_path: Path) -> None:
    text = f"{HEADER}\n" + "".join(ROW.replace("d1", f"é{i}") + "\n" for i in range(20))
    data = text.encode().replace("é7".encode(), b"\xff7")
    reading = opened(tmp_path, data)
    assert [r["item_id"] for r in reading.rows][6:9] == ["é6", "\ufffd7", "é8"]
    assert reading.notes.lines() == ["1 bytes are not UTF-8 and read as U+FFFD, the first in line 9"]


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ('d1\t5" heel\tx.jpg\t2271', '5" heel'),
        ('d1\t"Best" shirt\tx.jpg\t2271', '"Best" shirt'),
        ('d1\t"A ""fine"" one"\tx.jpg\t2271', 'A "fine" one'),
        ('d1\t"open\tx.jpg\t2271', '"open'),
        ('d1\tx" and 5"\tx.jpg\t2271', 'x" and 5"'),
    ],
)
def test_quotes_between_tabs_are_quotes_only_where_they_can_be(tmp_path: Path, line: str, title: str) -> None:
    after = "d2\tNext\ty.jpg\t2271"
    got = rows(tmp_path, f"id\ttitle\timage_link\tgoogle_product_category\n{line}\n{after}\n")
    assert [(r["item_id"], r["title"]) for r in got] == [("d1", title), ("d2", "Next")]


def test_a_quoted_line_break_between_tabs_stays_in_its_cell(tmp_path: Path) -> None:
    header = "id\ttitle\timage_link\tgoogle_product_category\tdescription\n"
    data = header + 'd1\tA\tx.jpg\t2271\t"one\ntwo"\nd2\tB\ty.jpg\t2271\tz\n'
    assert [r["item_id"] for r in rows(tmp_path, data)] == ["d1", "d2"]


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ('d1,"Best" shirt,x.jpg,2271', "Best shirt"),
        ('d1,"one\ntwo, three",x.jpg,2271', "one\ntwo, three"),
        ('d1,"a ""b""",x.jpg,2271', 'a "b"'),
        ('d1,5" heel,x.jpg,2271', '5" heel'),
    ],
)
def test_odd_quotes_in_a_csv_cost_at_most_their_row(tmp_path: Path, line: str, title: str) -> None:
    got = rows(tmp_path, f"id,title,image_link,google_product_category\n{line}\nd2,Next,y.jpg,2271\n")
    assert [(r["item_id"], r["title"]) for r in got] == [("d1", title), ("d2", "Next")]


@pytest.mark.parametrize(
    ("change", "column", "value"),
    [
        ({"price": "USD 999.00"}, "price", "999.00"),
        ({"sale_price": "9.50 USD"}, "price", "9.50"),
        (
            {"sale_price": "9.50 USD", "sale_price_effective_date": "2026-01-01T00:00Z/2026-02-01T00:00Z"},
            "price",
            "999.00",
        ),
        ({"price": "on request"}, "price", "on request"),  # the row's check says that it is none
        ({"availability": "in stock"}, "availability", "in_stock"),
        ({"availability": "Out Of Stock"}, "availability", "out_of_stock"),
        ({"availability": "maybe"}, "availability", "maybe"),
        ({"google_product_category": "Apparel & Accessories > Shoes", "product_type": ""}, "category", "shoes"),
        (
            {"google_product_category": "Apparel & Accessories > Clothing", "product_type": "Jeans"},
            "category",
            "bottoms",
        ),
        ({"google_product_category": "", "product_type": "Women > Ankle boots"}, "category", "shoes"),
        ({"google_product_category": "5424", "age_group": ""}, "age_group", "toddler"),
        ({"product_type": "Girls > Dresses", "gender": "", "age_group": ""}, "department", "girls"),
        ({"product_type": "Kids > Dresses", "age_group": ""}, "age_group", "kids"),
        ({"product_type": "Kids > Dresses", "age_group": "adult"}, "age_group", "adult"),
        ({"product_type": "Dresses", "gender": "male, female"}, "department", "unisex"),
    ],
)
def test_an_attribute_is_understood(tmp_path: Path, change: dict[str, str], column: str, value: str) -> None:
    cells = {**dict(zip(HEADER.split(","), ROW.split(","), strict=True)), **change}
    (got,) = rows(tmp_path, json.dumps(cells), "f.jsonl")
    assert got.get(column) == value


@pytest.mark.parametrize(
    ("change", "field", "value", "reason"),
    [
        (
            {"google_product_category": "Home & Garden > Linens"},
            "category",
            "Home & Garden > Linens",
            "no product to wear",
        ),
        (
            {"google_product_category": "5181", "product_type": "Gift card"},
            "product_type",
            "Gift card",
            "no product to wear",
        ),
        ({"google_product_category": "1594", "product_type": ""}, "category", "1594", "too wide"),
        ({"google_product_category": "999999", "product_type": ""}, "category", "999999", "no number of Google's"),
        (
            {"google_product_category": "", "product_type": "Radio straps"},
            "product_type",
            "Radio straps",
            "maps to no category",
        ),
        ({"google_product_category": "", "product_type": ""}, "category", None, "is empty"),
        ({"title": "x" * 9000}, "title", "x" * 200, "9,000 characters long"),
    ],
)
def test_what_is_no_garment_says_so(
    tmp_path: Path, change: dict[str, str], field: str, value: str | None, reason: str
) -> None:
    cells = {**dict(zip(HEADER.split(","), ROW.split(","), strict=True)), **change}
    (row,) = opened(tmp_path, json.dumps(cells), "f.jsonl").rows
    told = fault_of(row)
    assert told is not None
    assert told[:2] == (field, value) and reason in told[2]


def test_what_means_nothing_is_counted_by_name(tmp_path: Path) -> None:
    lines = ["d0,a.jpg,Dog coats", "d1,a.jpg,Suits", "d2,b.jpg,Radio straps", "d3,c.jpg,Radio straps", "d4,d.jpg,Jeans"]
    reading = opened(tmp_path, "id,image_link,product_type\n" + "\n".join(lines))
    assert sum(fault_of(r) is None for r in reading.rows) == 1
    assert reading.notes.unmapped == {("product_type", "Radio straps"): 2, ("product_type", "Suits"): 1}
    assert reading.notes.first["product_type", "Radio straps"] == 3


def test_a_row_with_another_number_of_cells_says_so(tmp_path: Path) -> None:
    got = list(opened(tmp_path, "id,image_link,product_type\nd1,a.jpg\nd2,b.jpg,Jeans\n").rows)
    assert got[0][BAD_CELLS] == "2 cells where the header has 3"
    assert got[1]["category"] == "bottoms"


def test_a_nested_price_is_not_the_items(tmp_path: Path) -> None:
    shipping = "<g:shipping><g:country>DE</g:country><g:price>4.90 EUR</g:price></g:shipping>"
    data = as_xml(*RSS, "g:").replace("<item>", f"<item>{shipping}")
    assert rows(tmp_path, data, "f.xml")[0]["price"] == "999.00"


@pytest.mark.parametrize(
    ("name", "data", "error", "told"),
    [
        ("c.csv", b"PK\x03\x04rest", SettingsError, "Excel"),
        ("c.csv", b"\x1f\x8b\x08rest", SettingsError, "gzip"),
        ("c.xml", b"<!DOCTYPE html><html></html>", DataError, "web page"),
        ("c.xml", b"<rss><channel></channel></rss>", DataError, "holds no <item>"),
        ("c.xml", b"<rss><channel><item><id>1</id>", DataError, "cut off"),
        ("c.xml", b"<rss><item><t>a & b</t></item></rss>", DataError, "broken XML in line 1"),
        ("c.xml", b"<rss><item><t>&nbsp;</t></item></rss>", DataError, "undefined entity"),
        (
            "c.xml",
            b'<!DOCTYPE r [<!ENTITY a "b">]><rss><item><t>&a;</t></item></rss>',
            DataError,
            "declares the entity 'a'",
        ),
        (
            "c.xml",
            b'<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><rss/>',
            DataError,
            "declares the entity 'a'",
        ),
        ("c.xml", b'<?xml version="1.0" encoding="martian"?><rss/>', DataError, "XML|decoded"),
        ("c.csv", "id,image_link\n1,é".encode()[:-1], DataError, "middle of a character"),
        ("c.csv", "id,image_link\n".encode("utf-16-le"), DataError, "UTF-16 without a byte-order mark"),
        ("c.csv", b"\xff\xfe\0\0x", DataError, "UTF-32"),
        ("c.csv", b"handle,what\n", DataError, "catalog.columns"),
        ("c.jsonl", b'{"a": 1', DataError, "one object a line"),
        ("c.jsonl", b'{"a": 1}', DataError, "required column"),
    ],
)
def test_a_file_that_is_no_catalogue_says_what_to_do(
    tmp_path: Path, name: str, data: bytes, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told) as e:
        list(opened(tmp_path, data, name).rows)
    assert str(tmp_path / name) in str(e.value)


def test_a_broken_json_line_costs_itself(tmp_path: Path) -> None:
    good = json.dumps({"id": "1", "image_link": "a.jpg", "product_type": "Jeans"})
    got = list(opened(tmp_path, f"{good}\n{{broken\n[1]\n{good}\n", "f.jsonl").rows)
    assert [fault_of(r) is None for r in got] == [True, False, False, True]


COLUMNS = {
    "item_id": "SKU",
    "category": "Path",
    "image": "Photo",
    "title": "Name",
    "price": "Amount",
    "availability": "Stock",
}
OTHER = {
    "SKU": "7",
    "Path": "Women/Shoes/Boots",
    "Photo": "a.jpg",
    "Name": "Boot",
    "Amount": "1.299,00 EUR",
    "Stock": "Sold out",
}


def other_files(folder: Path) -> list[Path]:
    (folder / "o.csv").write_text(f"{';'.join(OTHER)}\n{';'.join(OTHER.values())}\n")
    (folder / "o.jsonl").write_text(json.dumps(OTHER))
    inside = "".join(f"<{k.lower()}>{v}</{k.lower()}>" for k, v in OTHER.items())
    (folder / "o.xml").write_text(f"<shop><product>{inside}</product></shop>")
    table = pa.Table.from_pylist([OTHER])
    pq.write_table(table, folder / "o.parquet")
    write_deltalake(str(folder / "o"), table)
    return [folder / n for n in ("o.csv", "o.jsonl", "o.xml", "o.parquet", "o")]


def test_any_other_file_is_read_by_a_mapping(tmp_path: Path) -> None:
    for path in other_files(tmp_path):
        columns = {k: v.lower() for k, v in COLUMNS.items()} if path.suffix == ".xml" else COLUMNS
        (got,) = open_catalog(path, columns).rows
        assert got == {
            "item_id": "7",
            "category": "shoes",
            "image": "a.jpg",
            "title": "Boot",
            "price": "1299.00",
            "currency": "EUR",
            "availability": "out_of_stock",
            "department": "women",
        }, path


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({**COLUMNS, "colour": "X"}, "colour unknown"),
        ({"item_id": "SKU", "category": "Path"}, "image is missing"),
        ({"item_id": "SKU", "image": "Photo"}, "category .or product_type. is missing"),
        ({**COLUMNS, "brand": "Maker"}, r"Maker \(brand\)"),
    ],
)
def test_a_mapping_that_does_not_fit_is_an_error(tmp_path: Path, columns: dict[str, str], told: str) -> None:
    path = other_files(tmp_path)[0]
    with pytest.raises(SettingsError, match=told):
        list(open_catalog(path, columns).rows)


def test_the_contracts_columns_in_every_file_give_the_same(tmp_path: Path) -> None:
    row = {"item_id": "1", "category": "tops", "image": "a.jpg", "price": "19.5", "tags": "a|b"}
    table = pa.Table.from_pylist([{**row, "tags": ["a", "b"], "price": 19.5, "other": b"\xff"}])
    (tmp_path / "c.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    (tmp_path / "c.tsv").write_text("\t".join(row) + "\n" + "\t".join(row.values()) + "\n")
    (tmp_path / "c.jsonl").write_text(json.dumps({**row, "tags": ["a", "b"]}))
    pq.write_table(table, tmp_path / "c.parquet")
    write_deltalake(str(tmp_path / "c"), table)
    for name in ("c.csv", "c.tsv", "c.jsonl", "c.parquet", "c"):
        assert list(open_catalog(tmp_path / name).rows) == [row], name


def test_a_folder_without_a_delta_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="folder without a Delta table"):
        open_catalog(tmp_path)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("999.00 USD", ("999.00", "USD")),
        ("USD 999.00", ("999.00", "USD")),
        ("19.99", ("19.99", None)),
        ("1,299.00 usd", ("1299.00", "USD")),
        ("1.299,00 EUR", ("1299.00", "EUR")),
        ("19,99", ("19.99", None)),
        ("1,299", ("1299", None)),
        ("1.299", ("1.299", None)),
        ("€ 19,99", ("19.99", "EUR")),
        ("£5", ("5", "GBP")),
        ("19.99€", ("19.99", "EUR")),
        ("1 299,00 SEK", ("1299.00", "SEK")),
        ("1'299.00 CHF", ("1299.00", "CHF")),
        ("1,299,000 JPY", ("1299000", "JPY")),
        ("-5 EUR", ("-5", "EUR")),
        ("", ("", None)),
        ("USD", ("USD", None)),
        ("$5", ("$5", None)),
        ("EUR 5 USD", ("EUR 5 USD", None)),
        ("1,2,3.4.5", ("1,2,3.4.5", None)),
    ],
)
def test_prices(text: str, want: tuple[str, str | None]) -> None:
    assert price(text) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("in stock", "in_stock"),
        ("in_stock", "in_stock"),
        ("In Stock", "in_stock"),
        ("InStock", "in_stock"),
        ("available for order", "in_stock"),
        ("https://schema.org/InStock", "in_stock"),
        ("schema:SoldOut", "out_of_stock"),
        ("http://schema.org/OutOfStock", "out_of_stock"),
        ("out of stock", "out_of_stock"),
        ("discontinued", "out_of_stock"),
        ("pre-order", "preorder"),
        ("PreOrder", "preorder"),
        ("BackOrder", "backorder"),
        ("soon", "soon"),
    ],
)
def test_availability(text: str, want: str) -> None:
    assert availability(text) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [("Female", "Female"), ("https://schema.org/Male", "Male"), ("Men; Women", "unisex"), ("unisex", "unisex")],
)
def test_gender(text: str, want: str) -> None:
    assert gender(text) == want
