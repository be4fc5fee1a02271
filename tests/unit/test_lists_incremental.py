"""An incremental night publishes what a night in full does, whatever happened since."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lists_world import Nights, draw_products, draw_weights, table, unit

from jobs.rules.compile import active
from schemas.rules import parse_rules

K, DEPTH = 3, 5  # so small that bases outgrow them and the horizon matters
Rows = list[dict[str, Any]]


def table_of(rows: Rows) -> pa.Table:
    names = ("item_id", "category", "department", "group_id", "in_stock", "vector")
    return table(*([r[n] for r in rows] for n in names))


def _vector(rng: np.random.Generator) -> Any:
    return unit(rng.normal(size=128)).tolist()


def _arrive(rows: Rows, rng: np.random.Generator) -> None:
    for n in range(12):
        like = rows[rng.integers(len(rows))]
        rows.append({**like, "item_id": f"new{rng.integers(10**9)}-{n}", "vector": _vector(rng)})


def _arrive_near(rows: Rows, rng: np.random.Generator) -> None:
    """Copies of what is there: ties with known neighbours, decided by item_id."""
    for n in range(8):
        like = rows[rng.integers(len(rows))]
        rows.append({**like, "item_id": f"{'a' if n % 2 else 'z'}{rng.integers(10**9)}", "group_id": f"gn{n}"})


def _depart(rows: Rows, rng: np.random.Generator) -> None:
    for _ in range(15):
        rows.pop(rng.integers(len(rows)))


def _sell_out(rows: Rows, rng: np.random.Generator) -> None:
    for n in rng.integers(0, len(rows), 60):
        rows[n]["in_stock"] = False


def _restock(rows: Rows, rng: np.random.Generator) -> None:
    for n in rng.integers(0, len(rows), 60):
        rows[n]["in_stock"] = True


def _photograph(rows: Rows, rng: np.random.Generator) -> None:
    for n in rng.integers(0, len(rows), 10):
        rows[n]["vector"] = _vector(rng)


def _lose_vectors(rows: Rows, rng: np.random.Generator) -> None:
    for n in rng.integers(0, len(rows), 10):
        rows[n]["vector"] = None


def _move_category(rows: Rows, rng: np.random.Generator) -> None:
    for n in rng.integers(0, len(rows), 6):
        rows[n]["category"] = rng.choice(["tops", "bags", "shoes", "hats", "underwear"])


def _move_department(rows: Rows, rng: np.random.Generator) -> None:
    for n in rng.integers(0, len(rows), 6):
        rows[n]["department"] = rng.choice(["women", "men", "unisex", "girls"])


def _regroup(rows: Rows, rng: np.random.Generator) -> None:
    for n in rng.integers(0, len(rows), 8):
        rows[n]["group_id"] = rows[rng.integers(len(rows))]["group_id"]


def _clear_a_category(rows: Rows, rng: np.random.Generator) -> None:
    rows[:] = [r for r in rows if r["category"] != "scarves"]


def _nothing(rows: Rows, rng: np.random.Generator) -> None:
    pass


EVENTS: list[Callable[[Rows, np.random.Generator], None]] = [
    _arrive, _arrive_near, _depart, _sell_out, _restock, _photograph, _lose_vectors, _move_category, _move_department,
    _regroup, _clear_a_category, _nothing,
]  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.__name__.strip("_"))
def test_each_kind_of_change(event: Callable[[Rows, np.random.Generator], None], tmp_path: Path) -> None:
    rng, products = np.random.default_rng(3), draw_products(330, 3, ties=0.2)
    nights = Nights(tmp_path, draw_weights(), k=K, depth=DEPTH, categories=("tops", "scarves", "hats", "underwear"))
    nights.night(products)
    rows = products.to_pylist()
    for _ in range(2):
        event(rows, rng)
        full, found = nights.night(table_of(rows))
        assert found == full
    if event is _nothing:
        assert nights.changed == {"candidates": 0, "complements": 0}
        assert nights.figures["full"] == nights.figures["pairs"] == 0


def test_a_sale_searches_only_the_lists_that_ran_out(tmp_path: Path) -> None:
    """No new photo: 5 % sold out, nothing is compared with anything but for lists that cannot be filled otherwise."""
    rng, products = np.random.default_rng(2), draw_products(600, 9)
    nights = Nights(tmp_path, draw_weights(), k=K, depth=24)
    nights.night(products)
    rows = products.to_pylist()
    for n in rng.choice(len(rows), 30, replace=False):
        rows[n]["in_stock"] = False
    full, found = nights.night(table_of(rows))
    assert found == full
    assert nights.figures["pairs"] == nights.figures["full"] == nights.changed["candidates"] == 0
    assert nights.figures["refilled"] < 0.02 * nights.figures["planned"]
    assert 0 < nights.changed["complements"] < nights.figures["planned"]


def test_another_order_of_slots_moves_slots_alone(tmp_path: Path) -> None:
    """Nothing is searched, `candidates` stay, every list keeps its items; a night brought up to date is one in full."""
    rng, products = np.random.default_rng(8), draw_products(330, 4, ties=0.2)
    nights = Nights(tmp_path, draw_weights(), k=K, depth=DEPTH, categories=("tops", "scarves", "underwear"))
    _, before = nights.night(products)
    nights.settings["order"] = {"tops": ("hats", "underwear", "bags", "unknown"), "underwear": ("tops",)}
    full, found = nights.night(products)
    assert found == full
    assert nights.changed["candidates"] == nights.figures["pairs"] == nights.figures["full"] == 0
    slot = before.schema.get_field_index("slot")
    assert found.remove_column(slot) == before.remove_column(slot)
    own = [r for r in found.to_pylist() if r["source_category"] == "tops"]
    assert {r["target_category"]: r["slot"] for r in own if r["slot"] < 2} == {"hats": 0, "bags": 1}
    moved = sum(a != b for a, b in zip(found["slot"].to_pylist(), before["slot"].to_pylist(), strict=True))
    assert nights.changed["complements"] == moved > 0
    rows = products.to_pylist()
    for order in ({"scarves": ("sunglasses", "hats")}, {}, {"tops": ("sunglasses",)}):
        nights.settings["order"] = order
        for event in (_arrive, _depart, _sell_out, _move_category, _lose_vectors):
            event(rows, rng)
        full, found = nights.night(table_of(rows))
        assert found == full


RULES = [
    "rules: []",
    """
rules:
  - {name: up, verb: boost, target: {brand: b1}, amount: 0.2}
  - {name: down, verb: bury, target: {tag: old}, amount: 0.1}
""",
    """
rules:
  - {name: never, verb: block, target: {brand: b2}}
  - {name: near in price, verb: filter, price: -50%/+100%}
  - {name: up, verb: boost, source: {brand: b0}, target: {tag: new}, amount: 0.3}
""",
    """
rules:
  - {name: own, verb: list, source: {brand: b1}, items: [PIN0, PIN1], fill: true}
  - {name: pinned, verb: pin, source: {category: tops}, items: [PIN1, PIN2], position: 2}
  - {name: same season, verb: filter, source: {category: bags}, season: same}
""",
]


def _dress(rows: Rows, rng: np.random.Generator) -> None:
    """Give what has none yet a brand, a price, tags and a season."""
    for r in rows:
        if "brand" not in r:
            r |= {"brand": f"b{rng.integers(4)}", "price": float(rng.integers(5, 100)), "season": f"s{rng.integers(2)}"}
            r["tags"] = [t for t in ("old", "new") if rng.random() < 0.3]


def _reprice(rows: Rows, rng: np.random.Generator) -> None:
    for n in rng.integers(0, len(rows), 60):
        rows[n]["price"] = None if rng.random() < 0.1 else float(rng.integers(5, 100))


def _retag(rows: Rows, rng: np.random.Generator) -> None:
    for n in rng.integers(0, len(rows), 30):
        rows[n] |= {"brand": f"b{rng.integers(4)}", "tags": ["new"]}


def _dressed(rows: Rows) -> pa.Table:
    """Products with the columns that rules read."""
    products = table_of(rows)
    for name, kind in (("brand", pa.string()), ("price", pa.float64()), ("season", pa.string()),
                       ("tags", pa.list_(pa.string())), ("markets", pa.list_(pa.string())),
                       ("product_type", pa.string())):  # fmt: skip
        products = products.append_column(name, pa.array([r.get(name) for r in rows], kind))
    return products


def _rules_of(rows: Rows, n: int) -> Any:
    """The n-th of RULES, its pins on products that may stand there."""
    pins = [r["item_id"] for r in rows if r["category"] in ("bags", "shoes") and r["in_stock"]][:3]
    text = RULES[n % len(RULES)]
    for m, item in enumerate(pins):
        text = text.replace(f"PIN{m}", item)
    return active(parse_rules(text, "drawn"), "2026-03-02")


A_NIGHT = st.tuples(
    st.lists(st.sampled_from([*EVENTS[:10], _reprice, _retag]), max_size=3), st.integers(0, len(RULES) - 1),
    st.integers(0, 2**32),
)  # fmt: skip


@settings(max_examples=2, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(nights_=st.lists(A_NIGHT, min_size=30, max_size=30), seed=st.integers(0, 99))
def test_thirty_nights_of_any_kind(nights_: list[tuple[list[Any], int, int]], seed: int) -> None:
    """Arrivals, departures, returns, prices, stock, variants, new photos and other rules, in any order."""
    rows = draw_products(100, seed, ties=0.2).to_pylist()
    with tempfile.TemporaryDirectory() as folder:
        # Lists of two categories, which every kind of change reaches, from targets in all.
        nights = Nights(Path(folder), draw_weights(), k=K, depth=DEPTH, categories=("tops", "bags"))
        for n, (events, rules, luck) in enumerate([([], 0, 0), *nights_]):
            rng = np.random.default_rng(luck)
            for event in events:
                if len(rows) > 30 or event not in (_depart,):
                    event(rows, rng)
            _dress(rows, rng)
            full, found = nights.night(_dressed(rows), _rules_of(rows, rules))
            assert found == full, f"night {n}"


def test_random_nights_under_changing_rules(tmp_path: Path) -> None:
    _under_changing_rules(tmp_path, 21, {"model", "boost", "bury", "pin", "list"})


def test_random_nights_with_new_products_drawn(tmp_path: Path) -> None:
    _under_changing_rules(tmp_path, 22, {"model", "boost", "bury", "pin", "list", "explore"}, explore=0.4)


def _under_changing_rules(root: Path, seed: int, reasons: set[str], explore: float = 0.0) -> None:
    rng, rows = np.random.default_rng(seed), draw_products(170, 6, ties=0.2).to_pylist()
    nights = Nights(root, draw_weights(), k=K, depth=DEPTH, categories=("tops", "bags"), explore=explore)
    seen: set[str] = set()
    for n in range(12):
        _dress(rows, rng)
        # Every night draws anew; now and then somebody changes share and seed.
        nights.settings |= {"run_id": f"2026-03-{n + 2:02}-all-g1", "explore_seed": n // 3}
        nights.settings["explore"] = explore * (1 if n % 4 else 0.5)
        products = _dressed(rows)
        if explore:
            products = products.append_column("new", pa.array(rng.random(len(rows)) < 0.3))
        full, found = nights.night(products, _rules_of(rows, n))
        assert found == full, f"night {n}"
        seen |= {i["reason"] for items in found["items"].to_pylist() for i in items}
        for event in rng.choice(np.array([*EVENTS[:6], _reprice, _retag], dtype=object), 3):
            event(rows, rng)
    assert seen == reasons


def test_another_night_draws_anew_and_searches_nothing(tmp_path: Path) -> None:
    products = draw_products(600, 9)
    products = products.append_column("new", pa.array(np.random.default_rng(1).random(600) < 0.2))
    nights = Nights(tmp_path, draw_weights(), k=6, depth=24, explore=0.2)
    drawn = []
    for n in range(3):
        nights.settings["run_id"] = f"2026-03-{n + 2:02}-all-g1"
        full, found = nights.night(products)
        assert found == full
        lists = found["items"].to_pylist()
        drawn.append([[i["item_id"] for i in items if i["reason"] == "explore"] for items in lists])
        assert nights.figures["explored"] == sum(map(len, drawn[-1]))
        if n:
            assert nights.changed["candidates"] == nights.figures["full"] == 0
            assert drawn[-1] != drawn[-2]
    new = dict(zip(products["item_id"].to_pylist(), products["new"].to_pylist(), strict=True))
    assert all(new[i] for night in drawn for items in night for i in items)
    full_lists = [items for items in lists if len(items) == 6]
    share = sum(i["reason"] == "explore" for items in full_lists for i in items) / (6 * len(full_lists))
    assert 0.1 < share <= 0.2 + 0.02, "a list that has nothing new to draw from is the model's"
    scored = [i for items in lists for i in items if i["reason"] == "explore"]
    assert all(i["score"] == i["visual"] + i["colour"] for i in scored)


@pytest.mark.parametrize("back", ["as it was", "photographed again", "sold out", "another department", "twice"])
def test_what_left_and_came_back(back: str, tmp_path: Path) -> None:
    """A departed neighbour may stay in the stored row, so what it is when it comes back must not be what it was."""
    rng, rows = np.random.default_rng(4), draw_products(330, 12, ties=0.2).to_pylist()
    nights = Nights(tmp_path, draw_weights(), k=K, depth=DEPTH, categories=("tops", "bags"))
    nights.night(table_of(rows))
    away = [rows.pop(n) for n in sorted(rng.choice(len(rows), 25, replace=False), reverse=True)]
    for n in range(2):  # a night more: their rows were left alone meanwhile
        full, found = nights.night(table_of(rows))
        assert found == full
        assert n == 0 or nights.changed == {"candidates": 0, "complements": 0}
    for row in away:
        if back == "photographed again":
            row["vector"] = _vector(rng)
        row["in_stock"] = back != "sold out"
        if back == "another department":
            row["department"] = "men" if row["department"] == "women" else "women"
    steps = [[*rows, *away], rows, [*rows, *away]] if back == "twice" else [[*rows, *away]]
    for products in [*steps, steps[-1]]:
        full, found = nights.night(table_of(products))
        assert found == full
