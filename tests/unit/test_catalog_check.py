"""`medal catalog check`, what a hostile catalogue leads to, and the memory that a large one takes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.catalog.check import check_catalog, plain
from jobs.catalog.rows import BAD_CELLS, FAULT, ROW
from jobs.cli import run
from jobs.settings import Settings

DATE = "2026-01-01"
GOOD = {"id": "a1", "title": "Tee", "image_link": "a.jpg", "product_type": "T-Shirts"}


def feed(folder: Path, rows: list[dict[str, str]], name: str = "feed.csv") -> Path:
    (folder / "a.jpg").write_bytes(b"x")
    with (folder / name).open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, list(dict.fromkeys(k for r in rows for k in r)))
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"image_link": "../a.jpg"}, "image", "leads out"),
        ({"image_link": "/etc/passwd"}, "image", "leads out"),
        ({"image_link": "sub/../../a.jpg"}, "image", "leads out"),
        ({"image_link": "link.jpg"}, "image", "leads out"),
        ({"image_link": "file:///etc/passwd"}, "image", "file"),
        ({"image_link": "gopher://x/a.jpg"}, "image", "gopher"),
        ({"image_link": "a\0.jpg"}, "image", "control"),
        ({"image_link": "https://169.254.169.254/latest"}, "image", "metadata"),
        ({"image_link": "http://u:p@shop.invalid/a.jpg"}, "image", "password"),
        ({"id": "=cmd|' /C calc'!A0"}, None, ""),
        ({"title": "=HYPERLINK(\"http://x\")"}, None, ""),
        ({"title": "a\0b"}, None, ""),
        ({"title": "<script>alert(1)</script>"}, None, ""),
        ({"title": "\x1b[2J\u202eevil"}, None, ""),
        ({"id": "a\0b"}, "item_id", "control"),
        ({"id": "a\x1bb"}, "item_id", "control"),
        ({"id": "x" * 201}, "item_id", "longer than 200"),
        ({"title": "x" * 1_000_000}, "title", "1,000,000 characters"),
        ({"image_link": "x" * 1_000_000}, "image", "1,000,000 characters"),
        ({"product_type": "x" * 1_000_000}, "product_type", "maps to no category"),
        ({"description": "x" * 1_000_000}, None, ""),
        ({"price": "1e999 USD"}, "price", "no number"),
        ({"price": "9" * 400 + " USD"}, "price", "not finite"),
        ({"price": "-5 USD"}, "price", "negative"),
        ({"availability": "'; DROP TABLE"}, "availability", "none of"),
    ],
    ids=str,
)  # fmt: skip
def test_a_hostile_row_costs_itself_and_is_accounted_for(
    tmp_path: Path, change: dict[str, str], field: str | None, reason: str
) -> None:
    os.symlink("/etc/passwd", tmp_path / "link.jpg")
    report = check_catalog(feed(tmp_path, [{**GOOD, **change}, {**GOOD, "id": "other-row"}]), Settings(), DATE)
    rejected = report.snapshot.rejected
    assert [r.field for r in rejected] == ([field] if field else [])
    assert all(reason in r.reason and r.row == 1 and len(r.value or "") <= 201 for r in rejected)
    assert report.snapshot.total == 2 == report.snapshot.rows.num_rows + len(rejected)
    assert not any(c in line for line in report.lines() for c in "\x1b\u202e\0")
    json.dumps(report.as_json())


@pytest.mark.parametrize("mark", [FAULT, ROW, BAD_CELLS])
def test_a_file_cannot_set_the_marks_of_its_reader(tmp_path: Path, mark: str) -> None:
    row = {"item_id": "1", "category": "tops", "image": "a.jpg", mark: "x"}
    (tmp_path / "c.csv").write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    (tmp_path / "c.jsonl").write_text(json.dumps(row))
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "c.parquet")
    for name in ("c.csv", "c.jsonl", "c.parquet"):
        assert check_catalog(tmp_path / name, Settings(), DATE).snapshot.rows.num_rows == 1, name


@pytest.mark.parametrize("column", ["item_id", "image", "title", "category"])
def test_a_nul_in_json_or_parquet_costs_its_row_at_most(tmp_path: Path, column: str) -> None:
    row = {"item_id": "1", "category": "tops", "image": "a.jpg", "title": "Tee"}
    rows = [{**row, column: row[column] + "\0"}, {**row, "item_id": "2"}]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    for name in ("c.jsonl", "c.parquet"):
        snapshot = check_catalog(tmp_path / name, Settings(), DATE).snapshot
        assert snapshot.total == 2 and snapshot.rows["item_id"].to_pylist()[-1] == "2"
        assert len(snapshot.rejected) == (column != "title")


def test_the_check_says_what_is_taken_rejected_and_not_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    away = [{**GOOD, "id": f"w{i}", "image_link": "https://shop.invalid/a.jpg"} for i in range(60)]
    suits = [{**GOOD, "id": f"s{i}", "product_type": "Suits"} for i in range(3)]
    path = feed(tmp_path, [GOOD, *away, *suits])
    assert run(["catalog", "check", str(path)]) == 0
    out = capsys.readouterr().out
    for told in (
        "feed.csv: Google Merchant feed, CSV, UTF-8",
        "64 records, 64 rows of products",
        "61 products of 61 groups, 61 in stock",
        "3 rows, 4.7% (a plan stops above 5%)",
        "3 × product_type: maps to no category",
        "row 62 (s0): 'Suits'",
        "3 × product_type 'Suits', first in row 62",
    ):
        assert told in out, out
    assert {p.name for p in tmp_path.iterdir()} == {"feed.csv", "a.jpg"}  # nothing is written


def test_the_check_as_json_has_every_rejected_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = feed(tmp_path, [GOOD, *({**GOOD, "id": f"s{i}", "product_type": f"Suit {i}"} for i in range(15))])
    assert run(["catalog", "check", str(path), "--json"]) == 4
    got = capsys.readouterr()
    report = json.loads(got.out)
    assert (report["taken"], len(report["rejected"]), len(report["unmapped"])) == (1, 15, 15)
    assert report["rejected"][0] == {
        "row": 2, "item_id": "s0", "field": "product_type", "value": "Suit 0", "reason": "maps to no category",
    }  # fmt: skip
    assert not report["accepted"] and "a plan would stop" in got.err


def test_the_ten_commonest_are_shown(tmp_path: Path) -> None:
    rows = [{**GOOD, "id": f"s{i}-{j}", "product_type": f"Suit {i}"} for i in range(12) for j in range(i + 1)]
    lines = list(check_catalog(feed(tmp_path, rows), Settings(), DATE).lines())
    named = [line for line in lines if "'Suit" in line and "first in row" in line]
    assert [line.split("'")[1] for line in named] == [f"Suit {i}" for i in range(11, 1, -1)]
    assert any("the 10 commonest of 12 names" in line for line in lines)


@pytest.mark.parametrize(
    ("data", "code"),
    [("", 4), ("id,image_link\n", 4), ("a,b\n1,2\n", 4), (None, 2)],
)
def test_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str | None, code: int) -> None:
    monkeypatch.chdir(tmp_path)
    if data is not None:
        Path("c.csv").write_text(data)
    assert run(["catalog", "check", "c.csv"]) == code


def test_text_from_outside_is_one_plain_line() -> None:
    assert plain("a\nb\x1b[31m\u202ec\u200b") == "a\ufffdb\ufffd[31m\ufffdc\ufffd"
    assert plain("x" * 500, 10) == "x" * 10 + "…"


SIZE = 100 * 1024 * 1024
WRITE = {
    "tsv": ("id\ttitle\timage_link\tproduct_type\tdescription\n", "{i}\tTee\ta.jpg\tT-Shirts\t{fill}\n", ""),
    "csv": (
        "Handle,Title,Option1 Name,Option1 Value,Image Src,Type,Body\n",
        'h{i},Tee,Color,Red,a.jpg,Tees,"{fill}"\n',
        "",
    ),
    "xml": (
        "<rss version='2.0'><channel>",
        "<item><id>{i}</id><image_link>a.jpg</image_link><product_type>Tees</product_type><d>{fill}</d></item>",
        "</channel></rss>",
    ),
    "jsonl": ("", '{{"@type":"Product","sku":"{i}","image":"a.jpg","category":"Tees","d":"{fill}"}}\n', ""),
}
READ = """
import resource, sys
from pathlib import Path
from jobs.catalog.reader import open_catalog
def rss():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
small, large = map(Path, sys.argv[1:])
list(open_catalog(small).rows)
before, most, n = rss(), 0, 0
for n, row in enumerate(open_catalog(large).rows, start=1):
    if n % 2000 == 0:
        most = max(most, rss())
print(n, most - before)
"""


@pytest.mark.parametrize("kind", WRITE)
def test_a_large_file_is_read_in_the_memory_of_a_small_one(tmp_path: Path, kind: str) -> None:
    opening, one, closing = WRITE[kind]
    paths = [tmp_path / f"small.{kind}", tmp_path / f"large.{kind}"]
    fill = "lorem ipsum " * 160
    for path, size in zip(paths, (SIZE // 100, SIZE), strict=True):
        with path.open("w") as f:
            f.write(opening)
            count = size // len(one.format(i=0, fill=fill))
            for i in range(count):
                f.write(one.format(i=i, fill=fill))
            f.write(closing)
    done = subprocess.run([sys.executable, "-c", READ, *map(str, paths)], capture_output=True, text=True, check=True)
    rows, growth = map(int, done.stdout.split())
    assert rows == count
    assert growth < 16 * 1024 * 1024, f"{growth / 2**20:.1f} MiB more for a file of {SIZE / 2**20:.0f} MiB"
