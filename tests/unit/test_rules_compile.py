"""What each rule makes of a page: verbs, conditions, dates, conflicts, precedence, and the same by plain loops."""

from __future__ import annotations

import pickle
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.rules.compile import active, columns_read, effects, rule_key, unplaced
from schemas.rules import (
    EMPTY,
    EVERYTHING,
    Band,
    Condition,
    Filters,
    Range,
    Rule,
    Rules,
    parse_rules,
)  # fmt: skip
from tests.rules_world import DAY, MAY, TAXONOMY, K, Seen, look, product, rules, shop

# Pages are tops, targets are shoes.
SHOP = shop(
    product(
        "page", "tops", brand="Acme", price=100.0, season="Summer", tags=["Hot"], product_type="Shirt", group_id="g"
    ),
    product("plain", "tops"),
    product("his", "tops", department="men", brand="Bolt", price=40.0, season="Winter"),
    product("S1", "shoes", brand="ACME", price=80.0, season="summer", tags=["new", "Eco"], product_type="Boots"),
    product("S2", "shoes", brand="Bolt", price=150.0, season="Winter", markets=["DE", "AT"], tags=["eco"]),
    product("S3", "shoes", brand="Bolt", price=150.01, markets=["FR"], department="unisex"),
    product("S4", "shoes", price=79.99, season="summer"),
    product("S5", "shoes", brand="acme"),
    product("gone", "shoes", brand="Acme", price=90.0, in_stock=False, availability="out_of_stock"),
    product("men", "shoes", brand="Acme", price=90.0, department="men"),
    product("kin", "shoes", brand="Acme", price=90.0, group_id="g"),
    product("v1", "shoes", group_id="v", price=1.0),
    product("v2", "shoes", group_id="v", price=2.0),
    product("bag", "bags", brand="Acme"),
    product("bra", "underwear", brand="Acme"),
)
ALL = {"S1", "S2", "S3", "S4", "S5", "gone", "men", "kin", "v1", "v2"}
ACME = {"S1", "S5", "gone", "men", "kin"}


def blocks(target: str, source: str = "") -> str:
    return f"{{name: a, verb: block, {f'source: {source}, ' if source else ''}target: {target}}}"


def filters(what: str) -> str:
    return f"{{name: a, verb: filter, {what}}}"


@pytest.mark.parametrize(
    ("text", "blocked"),
    [
        (blocks("{item: S1}"), {"S1"}),
        (blocks("{item: [s1, S2, nobody]}"), {"S1", "S2"}),
        (blocks("{category: shoes}"), ALL),
        (blocks("{category: [Footwear]}"), ALL),
        (blocks("{category: shoes, brand: bolt}"), {"S2", "S3"}),
        (blocks("{brand: ' aCmE '}"), ACME),
        (blocks("{brand: [acme, BOLT]}"), {*ACME, "S2", "S3"}),
        (blocks("{product_type: boots}"), {"S1"}),
        (blocks("{tag: eco}"), {"S1", "S2"}),
        (blocks("{tag: [new, missing]}"), {"S1"}),
        (blocks("{department: Male}"), {"men"}),
        (blocks("{department: [men, unisex]}"), {"men", "S3"}),
        (blocks("{season: SUMMER}"), {"S1", "S4"}),
        (blocks("{price: {min: 150}}"), {"S2", "S3"}),
        (blocks("{price: {max: 2}}"), {"v1", "v2"}),
        (blocks("{price: {min: 80, max: 150}}"), {"S1", "S2", "gone", "men", "kin"}),
        (blocks("{brand: acme, season: summer, price: {max: 80}}"), {"S1"}),
        (blocks("{brand: bolt}", "{item: PAGE}"), {"S2", "S3"}),
        (blocks("{brand: bolt}", "{category: Top}"), {"S2", "S3"}),
        (blocks("{brand: bolt}", "{brand: acme, season: summer, tag: hot, product_type: shirt}"), {"S2", "S3"}),
        (blocks("{brand: bolt}", "{department: Ladies}"), {"S2", "S3"}),
        (blocks("{brand: bolt}", "{price: {min: 100, max: 100}}"), {"S2", "S3"}),
        (blocks("{brand: bolt}", "{brand: bolt}"), set()),
        (blocks("{brand: bolt}", "{price: {max: 50}}"), set()),
        (filters("price: -20%/+50%"), {"S3", "S4", "S5", "v1", "v2"}),
        (filters("price: +50%/+51%"), ALL - {"S2", "S3"}),
        (filters("price: {max: 90}"), {"S2", "S3", "S5"}),
        (filters("brand: same"), ALL - ACME),
        (filters("brand: [Bolt]"), ALL - {"S2", "S3"}),
        (filters("department: same"), {"S3", "men"}),
        (filters("department: [unisex, Male]"), ALL - {"S3", "men"}),
        (filters("season: same"), ALL - {"S1", "S4"}),
        (filters("season: winter"), ALL - {"S2"}),
        (filters("market: de"), {"S3"}),
        (filters("market: [CH, fr]"), {"S2"}),
        (filters("brand: same, season: same"), ALL - {"S1"}),
        (filters("brand: same, target: {season: [summer, winter]}"), {"S2", "S4"}),
        (filters("price: -20%/+50%, target: {category: shoes}"), {"S3", "S4", "S5", "v1", "v2"}),
        (filters("brand: nobody"), ALL),
    ],
)
def test_what_a_page_may_not_show(text: str, blocked: set[str]) -> None:
    got = look(text, SHOP, "page")
    assert got is not None
    assert ALL - got.allowed == blocked
    assert got.boost == {} and got.pins == {} and got.own is None


@pytest.mark.parametrize(
    "text",
    [
        blocks("{brand: nobody}"),
        blocks("{category: bags}"),
        blocks("{brand: acme}", "{category: bags}"),
        blocks("{brand: acme}", "{item: S1}"),
        filters("price: -20%/+50%, target: {category: bags}"),
        "{name: a, verb: pin, items: [bag]}",
        "{name: a, verb: list, items: [nobody]}",
        "{name: a, verb: block, target: {brand: acme}, end: 2026-06-14}",
    ],
)
def test_rules_that_do_not_meet_pages_and_targets_are_no_effects(text: str) -> None:
    assert look(text, SHOP, "page") is None
    assert effects(EMPTY, DAY, SHOP["tops"], SHOP["shoes"], MAY, K) is None


@pytest.mark.parametrize(
    ("dates", "on"),
    [
        ("", True),
        ("start: 2026-06-15", True),
        ("start: 2026-06-16", False),
        ("end: 2026-06-15", True),
        ("end: 2026-06-14", False),
        ("start: 2026-06-15, end: 2026-06-15", True),
        ("start: 2025-01-01, end: 2025-12-31", False),
        ("start: 2027-01-01", False),
    ],
)
def test_dates_are_inclusive_and_judged_on_the_run_date(dates: str, on: bool) -> None:
    text = f"{{name: a, verb: block, target: {{brand: bolt}}{', ' if dates else ''}{dates}}}"
    assert (look(text, SHOP, "page", day=DAY) is not None) is on
    assert bool(active(rules(text), DAY)) is on
    assert bool(columns_read(rules(text), DAY)) is on
    assert (rule_key(rules(text), DAY) != "") is on


@pytest.mark.parametrize(
    ("text", "boost"),
    [
        ("{name: a, verb: boost, amount: 0.05, target: {brand: bolt}}", {"S2": 50_000, "S3": 50_000}),
        ("{name: a, verb: bury, amount: 0.000001, target: {item: S2}}", {"S2": -1}),
        (
            """{name: a, verb: boost, amount: 0.05, target: {brand: bolt}, importance: 9}
               {name: b, verb: boost, amount: 0.01, target: {tag: eco}}
               {name: c, verb: bury, amount: 0.05, target: {item: S3}}""",
            {"S1": 10_000, "S2": 60_000},
        ),
        ("{name: a, verb: boost, amount: 0.05, source: {brand: bolt}, target: {brand: bolt}}", {}),
    ],
)
def test_boosts_and_buries_add_up(text: str, boost: dict[str, int]) -> None:
    got = look(text, SHOP, "page")
    assert got is not None and got.boost == boost and got.allowed == ALL


@pytest.mark.parametrize(
    ("text", "page", "allowed"),
    [
        ("{name: a, verb: filter, price: -20%/+50%}", "plain", ALL),  # no price to be relative to
        ("{name: a, verb: filter, price: -20%/+50%}", "his", set()),  # none costs 32 to 60
        ("{name: a, verb: filter, brand: same}", "plain", ALL),
        ("{name: a, verb: filter, season: same}", "plain", ALL),
        (
            """{name: a, verb: filter, price: -20%/+50%, importance: 1}
               {name: b, verb: filter, price: {max: 2}}""",
            "plain",
            {"v1", "v2"},
        ),
        (
            """{name: a, verb: filter, brand: acme}
               {name: b, verb: filter, brand: bolt, importance: 1}""",
            "page",
            {"S2", "S3"},
        ),
        (
            """{name: z, verb: filter, brand: acme}
               {name: b, verb: filter, brand: bolt}""",
            "page",
            {"S2", "S3"},
        ),
        (
            """{name: a, verb: filter, price: {max: 2}, importance: 1}
               {name: b, verb: filter, price: -20%/+50%}""",
            "page",
            {"v1", "v2"},
        ),
        (
            """{name: a, verb: filter, price: {max: 80}, target: {brand: acme}, importance: 1}
               {name: b, verb: filter, price: {max: 150}}""",
            "page",
            {"S1", "S2", "S4", "v1", "v2"},
        ),
        (
            """{name: a, verb: filter, brand: bolt}
               {name: b, verb: filter, market: de}""",
            "page",
            {"S2"},
        ),
        (
            """{name: a, verb: filter, brand: bolt, source: {item: plain}}
               {name: b, verb: filter, brand: acme, source: {item: page}}""",
            "plain",
            {"S2", "S3"},
        ),
        (
            """{name: a, verb: block, target: {item: S2}, importance: -5}
               {name: b, verb: filter, brand: bolt, importance: 5}""",
            "page",
            {"S3"},
        ),
    ],
)
def test_filters_on_a_page(text: str, page: str, allowed: set[str]) -> None:
    got = look(text, SHOP, page)
    assert got is not None and got.allowed == allowed


def test_pages_without_a_price_are_counted() -> None:
    got = look("{name: a, verb: filter, price: -20%/+50%, source: {department: women}}", SHOP, "page")
    assert got is not None and got.unpriced == 1


def test_the_ends_of_a_band_are_not_lost_to_rounding() -> None:
    world = shop(
        product("p", "tops", price=19.9), product("s", "shoes", price=29.85), product("t", "shoes", price=29.86)
    )
    got = look("{name: a, verb: filter, price: -20%/+50%}", world, "p")
    assert got is not None and got.allowed == {"s"}


def pin(items: str, more: str = "", name: str = "a") -> str:
    return f"{{name: {name}, verb: pin, items: [{items}]{', ' if more else ''}{more}}}"


@pytest.mark.parametrize(
    ("text", "pins"),
    [
        (pin("S1"), {0: "S1"}),
        (pin("s1"), {0: "S1"}),
        (pin("S1, S2", "position: 2"), {1: "S1", 2: "S2"}),
        (pin("bag, S1, bra, S2"), {0: "S1", 1: "S2"}),  # a place is one of the item's own slot
        (pin("gone, S1"), {0: "S1"}),  # what is dropped leaves no gap
        (pin("S1", "source: {brand: bolt}"), {}),
        (pin("S1") + "\n" + pin("S2", name="b"), {0: "S1", 1: "S2"}),
        (pin("S1") + "\n" + pin("S2", "importance: 1", "b"), {0: "S2", 1: "S1"}),
        (pin("S1, S2") + "\n" + pin("S3", name="b"), {0: "S1", 1: "S2", 2: "S3"}),
        (pin("S1", "position: 2") + "\n" + pin("S2, S3", name="b"), {1: "S1", 0: "S2", 2: "S3"}),
        (pin("S1") + "\n" + pin("S1", "position: 3, importance: 1", "b"), {2: "S1"}),
        (pin("S1", "position: 4"), {3: "S1"}),
        (pin("S2") + "\n{name: f, verb: filter, brand: acme, importance: 9}", {0: "S2"}),  # above filters
    ],
)
def test_pins(text: str, pins: dict[int, str]) -> None:
    got = look(text, SHOP, "page")
    assert got is not None and got.pins == pins


@pytest.mark.parametrize(
    ("text", "item", "reason", "pages"),
    [
        (pin("gone"), "gone", "sold_out", 2),  # men's shoes may not stand on his page in any case
        (pin("kin"), "kin", "own_group", 1),
        (pin("men"), "men", "department", 2),
        (pin("S2") + "\n" + blocks("{brand: bolt}").replace("name: a", "name: b"), "S2", "blocked", 2),
        (pin("v1, v2"), "v2", "same_group", 2),
        (pin("S2", "position: 5"), "S2", "no_room", 2),
        (pin("S1", "position: 4") + "\n" + pin("S2", "position: 4", "b"), "S2", "no_room", 2),
        ("{name: l, verb: list, items: [S1]}\n" + pin("S2"), "S2", "own_list", 2),
        ("{name: l, verb: list, items: [gone, S1]}", "gone", "sold_out", 2),
        ("{name: l, verb: list, items: [S1, S2, S4, S5, v1]}", "v1", "no_room", 2),
    ],
)
def test_what_cannot_stand_is_dropped_and_reported(text: str, item: str, reason: str, pages: int) -> None:
    got = look(text, SHOP, "page")
    assert got is not None
    assert got.dropped[item, reason] == pages
    others = [r for (i, r), _ in got.dropped.items() if i == item and r not in (reason, "department")]
    assert others == []


def test_a_page_is_not_pinned_on_itself() -> None:
    pages = SHOP["tops"]
    got = effects(rules(pin("page")), DAY, pages, pages, MAY, K)
    assert got is not None
    assert {(d.reason, d.page_count) for d in got.ineligible} == {("own_page", 1), ("department", 1)}
    assert Seen.of(got, pages.ids.to_pylist().index("plain"), pages).pins == {0: "page"}


@pytest.mark.parametrize(
    ("text", "own", "fill", "pins"),
    [
        ("{name: l, verb: list, items: [S2, s1]}", ["S2", "S1"], False, {}),
        ("{name: l, verb: list, items: [S2, bag, S1], fill: true}", ["S2", "S1"], True, {}),
        ("{name: l, verb: list, items: [S2], source: {item: page}}", ["S2"], False, {}),
        ("{name: l, verb: list, items: [S2], source: {item: plain}}", None, False, {}),
        ("{name: l, verb: list, items: [gone, kin, men]}", None, False, {}),
        ("{name: a, verb: list, items: [S1]}\n{name: b, verb: list, items: [S2]}", ["S1"], False, {}),
        ("{name: a, verb: list, items: [S1]}\n{name: b, verb: list, items: [S2], importance: 1}", ["S2"], False, {}),
        (
            "{name: a, verb: list, items: [S1]}\n{name: b, verb: list, items: [gone], importance: 1, fill: true}",
            ["S1"],
            False,
            {},
        ),
        ("{name: l, verb: list, items: [S1]}\n" + pin("S2", "importance: 99"), ["S1"], False, {}),
        ("{name: l, verb: list, items: [S1], fill: true}\n" + pin("S2, S4"), ["S1"], True, {1: "S2", 2: "S4"}),
        ("{name: l, verb: list, items: [S1], fill: true}\n" + pin("S1, S4", "position: 3"), ["S1"], True, {2: "S4"}),
        ("{name: l, verb: list, items: [S2]}\n{name: f, verb: filter, brand: acme}", ["S2"], False, {}),
        ("{name: l, verb: list, items: [S2, S1]}\n{name: f, verb: block, target: {brand: bolt}}", ["S1"], False, {}),
    ],
)
def test_own_lists(text: str, own: list[str] | None, fill: bool, pins: dict[int, str]) -> None:
    got = look(text, SHOP, "page")
    assert got is not None
    assert (got.own, got.fill, got.pins) == (own, fill, pins)


def test_items_without_a_slot_or_a_product_are_told_once_for_all() -> None:
    text = """{name: a, verb: pin, items: [nobody, S1], source: {category: [tops, underwear]}}
              {name: b, verb: list, items: [bra]}
              {name: c, verb: pin, items: [bag]}"""
    got = {(d.rule, d.item_id, d.reason, d.page_count) for d in unplaced(rules(text), DAY, SHOP, TAXONOMY)}
    # Rule c is for all pages: that bags' own pages have no slot for bags is no news.
    assert got == {("a", "nobody", "unknown", 4), ("a", "S1", "never_pair", 1), ("b", "bra", "never_pair", 15)}


def test_the_item_as_written_comes_before_one_in_another_case() -> None:
    world = shop(product("p", "tops"), product("ab", "shoes"), product("AB", "shoes"))
    assert [look(pin(i), world, "p").pins for i in ("ab", "AB", "Ab")] == [{0: "ab"}, {0: "AB"}, {0: "AB"}]  # type: ignore[union-attr]


def test_the_key_follows_what_is_in_force_and_nothing_else() -> None:
    one = "{name: a, verb: block, target: {brand: bolt}, end: 2026-12-31}"
    key = rule_key(rules(one), DAY)
    assert key == rule_key(rules(one.replace("2026-12-31", "2027-01-01").replace("bolt", "BOLT")), DAY)
    assert key == rule_key(rules(one + "\n{name: b, verb: block, target: {brand: x}, start: 2030-01-01}"), DAY)
    assert key != rule_key(rules(one.replace("bolt", "acme")), DAY)
    assert rule_key(rules(one), "2027-01-01") == ""


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (pin("S1"), set()),
        (blocks("{item: S1}"), set()),
        (blocks("{brand: x, tag: y}", "{price: {min: 1}}"), {"brand", "tags", "price"}),
        (filters("price: -1%/+1%, market: de"), {"price", "markets"}),
        (
            filters("season: same, department: same, target: {product_type: x}"),
            {"season", "department", "product_type"},
        ),
    ],
)
def test_the_columns_that_rules_read(text: str, columns: set[str]) -> None:
    assert columns_read(rules(text), DAY) == columns


# --- the same by plain loops -----------------------------------------------------------------------------------

BRANDS, SEASONS, TAGS, MARKETS = ["A", "b", None], ["s", "W", None], ["t", "U"], ["DE", "fr"]


def _products(category: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    one = st.builds(
        dict,
        brand=st.sampled_from(BRANDS),
        season=st.sampled_from(SEASONS),
        price=st.sampled_from([None, 10.0, 12.0, 15.0, 20.0]),
        tags=st.sampled_from([None, ["t"], ["T", "u"]]),
        markets=st.sampled_from([None, ["DE"], ["de", "FR"]]),
        department=st.sampled_from(["women", "men", "unisex"]),
        in_stock=st.booleans(),
        group_id=st.sampled_from(["g1", "g2", "g3", "g4"]),
    )
    return st.lists(one, min_size=1, max_size=7).map(
        lambda ps: [product(f"{category}{n}", category, **p) for n, p in enumerate(ps)]
    )


def _conditions() -> st.SearchStrategy[Condition]:
    return st.one_of(
        st.just(EVERYTHING),
        st.builds(
            Condition,
            item=st.sampled_from([(), ("shoes1", "tops0")]),
            category=st.sampled_from([(), ("tops",), ("shoe", "top")]),
            brand=st.sampled_from([(), ("a",), ("a", "b")]),
            season=st.sampled_from([(), ("w",)]),
            tag=st.sampled_from([(), ("u",)]),
            price=st.sampled_from([None, Range(12, None), Range(None, 15)]),
            department=st.sampled_from([(), ("ladies", "unisex")]),
        ),
    )


def _rules() -> st.SearchStrategy[Rules]:
    items = st.permutations([f"shoes{n}" for n in range(7)]).map(lambda p: tuple(p[:3]))
    importance = st.integers(0, 2)
    common = {"name": st.just(""), "source": _conditions(), "importance": importance}
    prices = st.sampled_from([None, Range(10, 15), Band(-0.2, 0.25)])
    same = st.sampled_from([None, "same", ("a", "w", "women")])
    filters_ = st.builds(
        Filters, price=prices, brand=same, season=same, department=same, market=st.sampled_from([None, ("fr",)])
    )
    one = st.one_of(
        st.builds(Rule, verb=st.just("block"), target=_conditions(), **common),
        st.builds(Rule, verb=st.sampled_from(["boost", "bury"]), target=_conditions(),
                  amount=st.integers(1, 9), **common),
        st.builds(Rule, verb=st.just("filter"), target=_conditions(), filters=filters_, **common),
        st.builds(Rule, verb=st.just("pin"), items=items, position=st.integers(1, 4), **common),
        st.builds(Rule, verb=st.just("list"), items=items, fill=st.booleans(), **common),
    )  # fmt: skip

    def named(some: list[Rule]) -> Rules:
        out = []
        for n, r in enumerate(some):
            band = isinstance(r.filters.price, Band)
            target = Condition(category=r.target.category) if band else r.target
            out.append(Rule(**{**vars(r), "name": f"r{n}", "target": target}))
        return Rules.of(out)

    return st.lists(one, min_size=1, max_size=6).map(named)


def _holds(c: Condition, p: dict[str, Any]) -> bool:
    names = {"women": {"women", "ladies"}, "men": {"men"}, "unisex": {"unisex"}, "tops": {"tops", "top"},
             "shoes": {"shoes", "shoe"}}  # fmt: skip
    checks = [
        not c.item or p["item_id"] in c.item,
        not c.category or names[p["category"]] & set(c.category),
        not c.brand or (p["brand"] or "").lower() in c.brand,
        not c.season or (p["season"] or "").lower() in c.season,
        not c.tag or {t.lower() for t in p["tags"] or ()} & set(c.tag),
        not c.department or names[p["department"]] & set(c.department),
        c.price is None or _in(p["price"], c.price.min, c.price.max),
    ]
    return all(checks)


def _in(price: float | None, low: float | None, high: float | None) -> bool:
    return price is not None and (low is None or price >= low) and (high is None or price <= high)


def _passes(rule: Rule, kind: str, page: dict[str, Any], target: dict[str, Any]) -> bool | None:
    """None: the filter is not for this page."""
    asked = getattr(rule.filters, kind)
    if kind == "price":
        if isinstance(asked, Band):
            if page["price"] is None:
                return None
            return _in(target["price"], page["price"] * (1 + asked.low) - 1e-7, page["price"] * (1 + asked.high) + 1e-7)
        return _in(target["price"], asked.min, asked.max)
    if kind == "market":
        return not target["markets"] or bool({m.lower() for m in target["markets"]} & set(asked))
    own, other = (x[kind] and x[kind].lower() for x in (page, target))
    if asked == "same":
        return None if own is None else own == other
    return other in asked


def _may_show(rs: list[Rule], page: dict[str, Any], target: dict[str, Any], targets: list[dict[str, Any]]) -> bool:
    for kind in ("price", "brand", "season", "department", "market"):
        decided = False
        for r in rs:
            if r.verb != "filter" or getattr(r.filters, kind) is None or not _holds(r.source, page):
                continue
            band = isinstance(r.filters.price, Band) and kind == "price"
            mine = any(_holds(r.target, t) for t in targets) if band else _holds(r.target, target)
            if not mine or (decided and not band):
                continue
            if decided and band and all_decided(rs, r, kind, page, targets):
                break
            ok = _passes(r, kind, page, target)
            if ok is None:
                continue
            if not ok:
                return False
            decided = True
            if band:
                break
    return True


def all_decided(rs: list[Rule], until: Rule, kind: str, page: dict[str, Any], targets: list[dict[str, Any]]) -> bool:
    """Have more important filters of the kind decided for every target of the slot?"""
    earlier = [r for r in rs[: rs.index(until)] if r.verb == "filter" and getattr(r.filters, kind) is not None]
    earlier = [r for r in earlier if _holds(r.source, page) and not isinstance(r.filters.price, Band)]
    return all(any(_holds(r.target, t) for r in earlier) for t in targets)


@settings(max_examples=250, deadline=None)
@given(tops=_products("tops"), shoes=_products("shoes"), rs=_rules())
def test_effects_are_those_of_plain_loops(tops: list[dict[str, Any]], shoes: list[dict[str, Any]], rs: Rules) -> None:
    world = shop(*tops, *shoes)
    got = effects(rs, DAY, world["tops"], world["shoes"], MAY, K)
    ranked = sorted(rs.rules, key=lambda r: (-r.importance, r.name))
    matrix = TAXONOMY.matrix
    by_id = {t["item_id"]: t for t in shoes}
    for n, page in enumerate(tops):
        mine = [r for r in ranked if _holds(r.source, page)]
        blocked = {t["item_id"] for t in shoes if any(r.verb == "block" and _holds(r.target, t) for r in mine)}
        allowed = {t["item_id"] for t in shoes if _may_show(ranked, page, t, shoes)} - blocked
        boost = {
            t["item_id"]: sum(
                (r.verb == "boost") * r.amount - (r.verb == "bury") * r.amount
                for r in mine
                if r.verb in ("boost", "bury") and _holds(r.target, t)
            )
            for t in shoes
        }
        placed: dict[int, str] = {}

        def fits(item: str, page: dict[str, Any] = page, blocked: set[str] = blocked, placed: Any = placed) -> bool:
            t = by_id.get(item)
            groups = {by_id[i]["group_id"] for i in placed.values()} | {page["group_id"]}
            return (
                t is not None and item not in blocked and t["in_stock"] and t["group_id"] not in groups
                and t["department"] in matrix[page["department"]]
            )  # fmt: skip

        own: list[str] | None = None
        fill = False
        for r in mine:
            if r.verb == "list" and own is None:
                for i in r.items:
                    if fits(i):
                        placed[len(placed)] = i
                if placed:
                    own, fill = list(placed.values()), r.fill
        pins: dict[int, str] = {}
        for r in mine:
            at = r.position - 1
            for i in r.items if r.verb == "pin" and (own is None or fill) else ():
                if fits(i):
                    spot = next(s for s in range(at, 99) if s not in placed)
                    if spot < K:
                        placed[spot] = pins[spot] = i
                        at = spot + 1
        seen = Seen({t["item_id"] for t in shoes}, {}, {}, None, False, {}, 0)
        if got is not None:
            seen = Seen.of(got, n, world["shoes"])
        assert seen.allowed == allowed
        assert seen.boost == {i: b for i, b in boost.items() if b}
        assert (seen.own, seen.fill, seen.pins) == (own, fill, pins)


@settings(max_examples=40, deadline=None)
@given(tops=_products("tops"), shoes=_products("shoes"), rs=_rules())
def test_a_part_of_the_pages_gives_that_part_of_the_effects_and_both_travel(
    tops: list[dict[str, Any]], shoes: list[dict[str, Any]], rs: Rules
) -> None:
    world = shop(*tops, *shoes)
    pages, targets = world["tops"], world["shoes"]
    whole = effects(rs, DAY, pages, targets, MAY, K)
    some = np.arange(len(pages))[::2]
    sent = pickle.loads(pickle.dumps((rs, pages.take(some), targets)))  # noqa: S301 - as Spark sends them
    part = effects(sent[0], DAY, sent[1], sent[2], MAY, K)
    for n, page in enumerate(some):
        if part is None:
            nothing = Seen(set(targets.ids.to_pylist()), {}, {}, None, False, {}, 0)
        a = nothing if part is None else Seen.of(part, n, targets)
        b = nothing if whole is None else Seen.of(whole, int(page), targets)
        assert (a.allowed, a.boost, a.pins, a.own, a.fill) == (b.allowed, b.boost, b.pins, b.own, b.fill)
    if whole is not None:
        again = pickle.loads(pickle.dumps(whole))  # noqa: S301 - as Spark sends them
        assert np.array_equal(again.allowed, whole.allowed) and np.array_equal(again.boost, whole.boost)


@settings(max_examples=100, deadline=None)
@given(rs=_rules(), start=st.dates(date(2026, 1, 1), date(2026, 12, 31)))
def test_the_canonical_file_reads_back_the_same(rs: Rules, start: date) -> None:
    dated = Rules.of(Rule(**{**vars(r), "start": start}) for r in rs.rules)
    kept = [r for r in dated.rules if r.verb != "block" or r.target]
    kept = [r for r in kept if r.verb not in ("boost", "bury") or r.target]
    kept = [r for r in kept if r.verb != "filter" or r.filters != Filters()]
    one = Rules.of(kept)
    assert parse_rules(one.to_json(), "x") == one
