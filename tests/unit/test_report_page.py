"""The report: self-contained, escaped, honest about blocked and unfinished runs, robust against broken pictures."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import clean_night as f
import pytest
from PIL import Image

from jobs.lake import Lake
from jobs.quality.job import verdict_file
from jobs.quality.verdict import CheckResult, Verdict
from jobs.report.figures import percent
from jobs.report.grid import choose
from jobs.report.job import render, write_report
from jobs.report.pictures import Thumbnails
from jobs.runs import Manifest, StageResult
from jobs.settings import Settings

PASSED = CheckResult("catalog", "products_exist", "critical", "passed", "62", "rows ≥ 1")
FAILED = CheckResult("complements", "no_self", "critical", "failed", "3", "self_in_list = 0", "Found: a → a.")
CRASHED = CheckResult("catalog", "odd", "warning", "crashed", "", "odd ≤ 3", "no column 'odd'")
WARNED = CheckResult("catalog", "stock", "warning", "failed", "0.05", "in_stock_share ≥ 0.1", "Little stock.")
HOSTILE = '<script>alert("1")</script> & <img src=x onerror=alert(2)>'


class Tags(HTMLParser):
    """Tags in order, with their attributes; and whether every tag that was opened was closed."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"


@pytest.fixture
def night(tmp_path: Path) -> tuple[Settings, Lake, Manifest]:
    made = f.products()
    for n, p in enumerate(made):
        path = tmp_path / "images" / f"{p['item_id']}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (300, 400), (n * 3 % 256, 80, 160)).save(path)
        p |= {"image_uri": str(path), "title": HOSTILE}
    lists = f.lists(made)
    return f.write_night(tmp_path, made, lists)


def shown(night: tuple[Settings, Lake, Manifest], verdict: Verdict | None, *stages: StageResult) -> str:
    settings, lake, manifest = night
    if verdict:
        lake.files.write(verdict_file(f.RUN_ID), verdict.to_json().encode())
    for s in stages:
        manifest = manifest.with_stage(s)
    return render(settings, lake, manifest).decode()


def published(night: tuple[Settings, Lake, Manifest]) -> str:
    return shown(
        night, Verdict((PASSED,), "/lake/docs"),
        StageResult("check", "done", counts={"checks": 1}, seconds=2),
        StageResult("publish", "done", counts={"release": 12}, seconds=1),
    )  # fmt: skip


def test_the_page_asks_for_nothing_but_itself(night: tuple[Settings, Lake, Manifest]) -> None:
    text = published(night)
    tags = Tags(text)
    assert tags.open == []
    for tag, attributes in tags.found:
        for name in ("src", "href", "srcset", "data", "poster"):
            address = attributes.get(name) or ""
            assert address.startswith(("data:", "#")) or address in ("", "data_docs/index.html"), (tag, address)
    assert {t for t, _ in tags.found} & {"script", "iframe", "object", "form"} == set()
    assert "@import" not in text
    assert "url(" not in text


def test_hostile_titles_are_shown_as_text(night: tuple[Settings, Lake, Manifest]) -> None:
    text = published(night)
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt; &amp; " in text


def test_a_published_run_says_so_first(night: tuple[Settings, Lake, Manifest]) -> None:
    text = published(night)
    assert "Published as release 12" in text
    assert "Wednesday 25 November 2026" in text
    assert 'class="top published"' in text
    assert text.count('<article class="card">') == 12
    assert text.count("data:image/jpeg;base64,") > 12 * f.K


def test_a_blocked_run_shows_what_blocks_before_anything_else(night: tuple[Settings, Lake, Manifest]) -> None:
    text = shown(night, Verdict((PASSED, WARNED, FAILED, CRASHED), "/lake/docs"))
    assert 'class="top blocked"' in text
    assert "Blocked: nothing was published" in text
    assert "1 check failed: complements.no_self (3); 1 check crashed, data unknown: catalog.odd." in text
    order = [text.index(f"<code>{r.name}</code>") for r in (CRASHED, FAILED, WARNED, PASSED)]
    assert order == sorted(order)
    assert text.index('id="checks"') < text.index('id="ran"')
    assert re.search(r"<b>check</b></td>\s*<td><span class=\"pill blocked\">", text)
    assert re.search(r"<b>publish</b></td>\s*<td><span class=\"pill not run\">", text)


def test_a_run_on_its_way_can_be_shown(night: tuple[Settings, Lake, Manifest]) -> None:
    settings, lake, manifest = night
    assert "Not checked yet" in render(settings, lake, Manifest(manifest.plan)).decode()
    text = shown(
        night, Verdict((PASSED,)), StageResult("check", "done"), StageResult("publish", "skipped", note="lake only")
    )
    assert "Passed, not published" in text
    assert "lake only" in text


def test_counts_add_up_and_refusals_are_shown_with_examples(night: tuple[Settings, Lake, Manifest]) -> None:
    text = published(night)
    assert "does not add up" not in text
    assert text.count("adds up") == 3
    assert "Rejected catalogue rows: 2" in text
    assert "bad-7" in text
    assert "Pictures in quarantine: 1" in text
    assert "ends after 99 bytes" in text


def test_a_list_with_an_unknown_product_is_still_drawn(tmp_path: Path) -> None:
    made = f.products()
    lists = copy.deepcopy(f.lists(made))
    for r in lists:
        for e in r["items"]:
            e["item_id"] = "nobody"
    text = shown(f.write_night(tmp_path, made, lists), Verdict((FAILED,)))
    assert "not in the snapshot" in text
    assert "no picture" in text


def test_the_same_run_gives_the_same_page(night: tuple[Settings, Lake, Manifest]) -> None:
    settings, lake, manifest = night
    assert render(settings, lake, manifest) == render(settings, lake, manifest)
    where = Path(write_report(settings, lake, manifest))
    assert where == Path(lake.root) / "runs" / f.RUN_ID / "report.html"
    assert where.read_bytes() == render(settings, lake, manifest)
    assert not lake.manifest(f.RUN_ID).done("report")


def test_products_are_chosen_across_categories_and_departments_and_stay_chosen() -> None:
    made = [p for p in f.products() if p["vector"] is not None]
    chosen = choose(made, f.TAXONOMY)
    assert [sum(p["category"] == c for p in chosen) for c in f.CATEGORIES] == [4, 4, 4]
    assert {p["department"] for p in chosen} == {"women", "girls"}
    assert choose(list(reversed(made)), f.TAXONOMY) == chosen
    left = [p for p in made if p["item_id"] != chosen[0]["item_id"]]
    kept = {p["item_id"] for p in choose(left, f.TAXONOMY)}
    assert {p["item_id"] for p in chosen[1:]} <= kept


PICTURES: dict[str, Any] = {
    "missing": None,
    "empty": b"",
    "html": b"<html>not found</html>",
    "cut short": b"\xff\xd8\xff\xe0\x00\x10JFIF",
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_broken_picture_is_left_out(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.jpg"
    if PICTURES[kind] is not None:
        path.write_bytes(PICTURES[kind])
    assert Thumbnails().get(str(path)) is None


def test_a_folder_or_a_remote_address_is_no_picture(tmp_path: Path) -> None:
    assert Thumbnails().get(str(tmp_path)) is None
    assert Thumbnails().get("https://shop.example/a.jpg") is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "CMYK"])
def test_every_kind_of_picture_becomes_a_small_jpeg(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.new(mode, (900, 600)).save(path)
    made = Thumbnails().get(str(path))
    assert made is not None
    assert made.startswith("data:image/jpeg;base64,")
    assert len(made) < 4000


def test_shares_are_never_rounded_up_to_all() -> None:
    assert percent(1) == "100 %"
    assert percent(0.99999) == "99.9 %"
    assert percent(0.125) == "12.5 %"
