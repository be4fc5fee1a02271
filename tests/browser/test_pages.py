"""The preview pages in a real browser: pictures load, slots are in order, only the public answer is read."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser.shop import open_shop, products_of
from playwright.sync_api import Browser, Page, Route, sync_playwright
from require import chromium, require
from servers import serving

from jobs.pdp.app import create_app
from jobs.publish.sqlite_store import SqliteStore
from jobs.settings import Settings
from schemas.taxonomy import load_taxonomy

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
ARGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
LOADED = "i => i.complete && i.naturalWidth > 0"


def until(page: Page, expression: str, arg: object = None) -> None:
    """Wait for a condition. Playwright's own wait_for_function needs `eval`, which the pages' policy forbids."""
    end = time.monotonic() + 20
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"still not true after 20 s: {expression}"
        page.wait_for_timeout(50)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    require("chromium")
    with sync_playwright() as p:
        found = p.chromium.launch(executable_path=chromium(), args=ARGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def shop(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> SqliteStore:
    rows = products_of(drawn / "catalog.csv")
    extra = [
        dataclasses.replace(rows[0], item_id="~evil", title=EVIL, brand=EVIL, currency="<b>", image_uri="s3://b/x.jpg"),
        dataclasses.replace(rows[0], item_id="~gone", title="Gone photo", image_uri="/nowhere/photo.jpg"),
        dataclasses.replace(rows[0], item_id="~a/b?c#d %41é", title="Odd id"),
    ]
    return open_shop(drawn / "catalog.csv", tmp_path_factory.mktemp("shop") / "pdp.sqlite", extra)


@pytest.fixture(scope="module")
def site(shop: SqliteStore) -> Iterator[str]:
    with serving(create_app(Settings(), shop)) as url:
        yield url


class Visit:
    """A page that notes what it asked for and what it complained about."""

    def __init__(self, page: Page, site: str) -> None:
        self.page, self.site = page, site
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda r: self.asked.append(r.url))
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self.complaints.append(str(e)))

    def open(self, path: str) -> Page:
        self.page.goto(self.site + path)
        until(
            self.page, "document.querySelectorAll('[aria-busy=true]').length === 0 || document.querySelector('.panel')"
        )
        return self.page


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "mobile"])
def visit(request: pytest.FixtureRequest, browser: Browser, site: str) -> Iterator[Visit]:
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, locale="en-GB")
    yield Visit(context.new_page(), site)
    context.close()


@pytest.fixture
def dress(shop: SqliteStore) -> str:
    """An item that has lists, in stock."""
    return next(
        p.item_id for p in shop.browse(category="all-body", after=None, limit=50) if shop.get_lists(p.item_id, 1)
    )


def test_the_product_page_shows_the_product_and_its_slots(visit: Visit, dress: str, shop: SqliteStore) -> None:
    page = visit.open(f"/items/{dress}")
    product = shop.get_products([dress])[dress]
    until(page, f"[...document.querySelectorAll('.photo.large img')].every({LOADED})")
    assert page.locator("#product img").count() == 1
    assert page.locator("h1").inner_text() == product.title
    assert page.locator("#product img").get_attribute("alt") == product.title
    answer = page.evaluate(f"fetch('/v1/items/{dress}/complements?limit=24').then(r => r.json())")
    order = page.locator(".slot").evaluate_all("s => s.map(x => x.dataset.category)")
    assert order == [s["category"] for s in answer["slots"]]
    targets = load_taxonomy().targets["all-body"]
    assert order == [t for t in targets if t in order]
    assert len(order) >= 4
    for slot, shown in zip(answer["slots"], page.locator(".slot").all(), strict=True):
        assert shown.locator("h3").inner_text() == slot["title"]
        hrefs = shown.locator(".card a").evaluate_all("a => a.map(x => x.getAttribute('href'))")
        assert [urlsplit(h).path for h in hrefs] == [i["product_url"] for i in slot["items"]]
    drawn = [i["title"] for s in answer["slots"] for i in s["items"] if i["reason"] == "explore"]
    assert page.locator(".slot .card:has(.new) .title").all_text_contents() == drawn != []
    page.locator(".slot").last.scroll_into_view_if_needed()
    for shown in page.locator(".slot").all():
        shown.scroll_into_view_if_needed()
        first = shown.locator(".card img").first
        until(page, LOADED, arg=first.element_handle())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    assert visit.complaints == []


def test_the_look_lies_on_a_board(visit: Visit, dress: str, shop: SqliteStore) -> None:
    page = visit.open(f"/items/{dress}")
    answer = page.evaluate(f"fetch('/v1/items/{dress}/complements?limit=24&look=8').then(r => r.json())")
    pieces = answer["complete_the_look"]
    assert len(pieces) == 8
    assert [p["category"] for p in pieces[:4]] == [s["category"] for s in answer["slots"][:4]]
    shown = page.locator("#board .card a")
    hrefs = shown.evaluate_all("a => a.map(x => x.getAttribute('href'))")
    assert [urlsplit(h).path for h in hrefs] == [p["product_url"] for p in pieces]
    assert page.locator("#board .card .label").all_text_contents() == [p["category_title"] for p in pieces]
    assert page.locator("#board .own img").get_attribute("alt") == shop.get_products([dress])[dress].title
    page.locator("#look").scroll_into_view_if_needed()
    for image in page.locator("#board img").all():
        image.scroll_into_view_if_needed()
        until(page, LOADED, arg=image.element_handle())
    boxes = page.locator("#board > li").evaluate_all(
        "l => l.map(x => x.getBoundingClientRect()).map(b => [b.left, b.right, b.top, b.bottom])"
    )
    apart = (a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2] for a in boxes for b in boxes if a is not b)
    assert all(apart), "pieces lie over one another"
    assert all(a[0] >= 0 and a[1] <= page.viewport_size["width"] for a in boxes)
    assert page.locator(".go a").get_attribute("href") == "#look"
    assert visit.complaints == []


def test_one_slot_alone_makes_no_look(visit: Visit, dress: str) -> None:
    def one(route: Route) -> None:
        body = route.fetch().json()
        kept = body["slots"][0]["category"]
        body["slots"] = body["slots"][:1]
        body["complete_the_look"] = [p for p in body["complete_the_look"] if p["category"] == kept]
        route.fulfill(json=body)

    visit.page.route("**/v1/items/**", one)
    page = visit.open(f"/items/{dress}")
    assert page.locator(".slot").count() == 1
    assert not page.locator("#look").is_visible()
    assert page.locator(".go a").get_attribute("href") == "#complements"


def test_the_page_reads_only_the_public_answer_and_photos(visit: Visit, dress: str) -> None:
    page = visit.open(f"/items/{dress}")
    page.wait_for_load_state("networkidle")
    visit.open("/").wait_for_load_state("networkidle")
    assert all(u.startswith(visit.site) for u in visit.asked), "another host was asked"
    paths = {urlsplit(u).path for u in visit.asked} - {f"/items/{dress}", "/"}
    data = {p for p in paths if not p.startswith("/static/")}
    assert all(p.startswith(("/v1/", "/media/")) for p in data), data
    assert f"/v1/items/{dress}/complements" in data


def test_a_keyboard_reaches_the_complements(visit: Visit, dress: str) -> None:
    page = visit.open(f"/items/{dress}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#board .card a')"):
            break
    assert page.evaluate("document.activeElement.matches('#board .card a:focus-visible')")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    words = page.locator(".card a:focus .words")
    until(page, "getComputedStyle(document.querySelector('.card a:focus .words')).opacity === '1'")
    assert words.inner_text().startswith("Match 0.")
    page.keyboard.press("Enter")
    page.wait_for_url("**/items/**")
    assert visit.complaints == []


def test_browsing_by_category_leads_to_a_product(visit: Visit) -> None:
    page = visit.open("/")
    cards = page.locator("#grid .card a")
    assert cards.count() == 24
    until(page, LOADED, arg=cards.first.locator("img").element_handle())
    page.locator("#more").click()
    until(page, "document.querySelectorAll('#grid .card a').length === 48")
    page.locator(".chip", has_text="Shoes").click()
    page.wait_for_selector("#grid .card a")
    assert page.locator(".chip[aria-current=page]").inner_text() == "Shoes"
    page.locator("#grid .card a").first.click()
    page.wait_for_selector(".slot")
    assert page.locator(".eyebrow").inner_text().casefold().startswith("shoes")
    assert visit.complaints == []


def test_catalogue_text_is_text(visit: Visit) -> None:
    page = visit.open("/items/~evil")
    assert page.locator("h1").inner_text() == EVIL
    assert page.locator("main img").count() == 0
    assert page.title() != "owned"
    assert page.locator(".nophoto").get_attribute("aria-label") == f"No photo of {EVIL}"
    assert page.get_by_text("Nothing to show beside it").is_visible()
    assert visit.complaints == []


def test_a_photo_that_is_gone_leaves_a_quiet_placeholder(visit: Visit) -> None:
    page = visit.open("/items/~gone")
    page.wait_for_selector(".nophoto")
    assert page.locator("#product img").count() == 0
    assert page.locator("h1").inner_text() == "Gone photo"


def test_any_id_has_a_page(visit: Visit) -> None:
    page = visit.open("/items/~a%2Fb%3Fc%23d%20%2541%C3%A9")
    assert page.locator("h1").inner_text() == "Odd id"
    until(page, LOADED, arg=page.locator("#product img").element_handle())


def test_an_unknown_product_says_so_and_leads_on(visit: Visit) -> None:
    page = visit.open("/items/none")
    assert page.get_by_text("This product is not in the catalogue").is_visible()
    page.get_by_role("link", name="Browse all products").last.click()
    page.wait_for_selector("#grid .card a")


def test_a_failure_can_be_tried_again(visit: Visit, dress: str) -> None:
    page, answers = visit.page, iter([True, False])
    page.route("**/v1/items/**", lambda r: r.abort() if next(answers, False) else r.continue_())
    visit.open(f"/items/{dress}")
    assert page.get_by_text("The server cannot be reached.").is_visible()
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".slot")


# Contrast of text against the grounds it stands on, WCAG 2.2: at least 4.5.
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("ink", "paper"),
        ("muted", "paper"),
        ("muted", "surface"),
        ("alarm", "paper"),
        ("good", "paper"),
        ("paper", "ink"),
    ],
)
def test_text_is_legible(text: str, ground: str) -> None:
    css = (Path(create_app.__code__.co_filename).parent / "static" / "page.css").read_text()

    def luminance(name: str) -> float:
        value = css.split(f"--{name}: #")[1].split(";")[0]
        value = value if len(value) == 6 else "".join(c * 2 for c in value)
        parts = [int(value[n : n + 2], 16) / 255 for n in (0, 2, 4)]
        r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    low, high = sorted((luminance(text), luminance(ground)))
    assert (high + 0.05) / (low + 0.05) >= 4.5
