# ruff: noqa: E501 - a finding is one line, and so is the case that asks for it
"""`medal rules check`: each kind of finding names rule, field and value, and says what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cli import run
from jobs.rules.check import Report, check
from jobs.rules.choices import choices
from jobs.rules.compile import effects
from schemas.rules import EMPTY
from tests.rules_world import DAY, MAY, TAXONOMY, K, product, rules, shop

SHOP = shop(
    *(product(f"t{n}", "tops", brand="Acme", price=50.0, season="Summer") for n in range(3)),
    *(product(f"s{n}", "shoes", brand="Bolt" if n else "Acme", price=10.0 * (n + 1)) for n in range(6)),
    product("gone", "shoes", in_stock=False, availability="out_of_stock"),
    product("men", "shoes", department="men"),
    product("bra", "underwear"),
)
TOPS = "source: {category: tops}"


def found(text: str, minimum: int = 3) -> Report:
    return check(rules(text), DAY, SHOP, TAXONOMY, MAY, K, minimum)


@pytest.mark.parametrize(
    ("text", "level", "line"),
    [
        ("{name: a, verb: block, target: {brand: Bolz}}", "warning", "'a', target.brand 'bolz': unknown to the catalogue; did you mean 'bolt'"),
        ("{name: a, verb: block, target: {category: shoos}}", "error", "'a', target.category 'shoos': unknown to the taxonomy; did you mean"),
        ("{name: a, verb: block, source: {department: laddies}, target: {brand: bolt}}", "error", "'a', source.department 'laddies'"),
        ("{name: a, verb: block, target: {tag: hot}}", "warning", "'a', target.tag 'hot': unknown to the catalogue"),
        ("{name: a, verb: block, target: {season: sumer}}", "warning", "'a', target.season 'sumer': unknown to the catalogue; did you mean 'summer'"),
        ("{name: a, verb: block, source: {item: t9}, target: {brand: bolt}}", "warning", "'a', source.item 't9': unknown to the catalogue; mend it"),
        ("{name: a, verb: filter, brand: [bolt, acne]}", "warning", "'a', brand 'acne': unknown to the catalogue; did you mean 'acme'"),
        ("{name: a, verb: filter, market: DE}", "warning", "'a', market 'de': unknown"),
        ("{name: a, verb: pin, items: [s9]}", "error", "'a', items 's9': no product has this id"),
        ("{name: a, verb: block, target: {brand: x}, start: 2027-01-01}", "warning", "'a', target.brand 'x': unknown"),
        ("{name: a, verb: block, target: {brand: bolt}, end: 2026-01-01}", "warning", "'a', end 2026-01-01: the rule is over"),
        ("{name: a, verb: block, source: {season: summer, price: {max: 5}}, target: {brand: bolt}}", "warning", "'a', source (price at most 5, season summer): the rule never matches: no page"),
        ("{name: a, verb: block, target: {brand: acme, price: {min: 900}}}", "warning", "'a', target (brand acme, price at least 900): the rule never matches: no product"),
        ("{name: a, verb: block, source: {category: tops}, target: {category: underwear}}", "warning", "'a', target (category underwear): the rule never matches: no page of the source has a slot"),
        ("{name: a, verb: pin, items: [gone]}", "warning", "'a', items 'gone': dropped on 3 pages, and shown nowhere: it is sold out"),
        ("{name: a, verb: pin, items: [bra]}", "error", "'a', items 'bra': dropped on 12 pages, and shown nowhere: these pages have no slot"),
        (f"{{name: a, verb: pin, items: [men], {TOPS}}}", "error", "'a', items 'men': dropped on 3 pages, and shown nowhere: these pages may not show its department"),
        ("{name: a, verb: pin, items: [s1]}\n{name: b, verb: block, target: {item: s1}}", "error", "'a', items 's1': dropped on 3 pages, and shown nowhere: a block of these rules forbids it; take one of the two out ('b')"),
        ("{name: a, verb: pin, items: [s1]}\n{name: b, verb: block, source: {item: t0}, target: {item: s1}}", "warning", "'a', items 's1': dropped on 1 page: a block"),
        (f"{{name: a, verb: pin, items: [s1], {TOPS}}}\n{{name: b, verb: pin, items: [s2], source: {{item: t0}}}}", "warning", "'b', position 1: 'a' is pinned there too, on 1 page, and wins"),
        ("{name: a, verb: list, items: [s1]}\n{name: b, verb: list, items: [s2], importance: 1}", "warning", "'a', items : 'b' is another own list of 3 pages, and wins"),
        ("{name: a, verb: list, items: [s1]}\n{name: b, verb: pin, items: [s2]}", "warning", "'b', items 's2': dropped on 3 pages, and shown nowhere: these pages have an own list"),
        ("{name: a, verb: boost, amount: 0.1, target: {brand: bolt}}\n{name: b, verb: bury, amount: 0.1, target: {item: s1}}", "warning", "'a', target : boosts what 'b' buries (1 products"),
        ("{name: a, verb: block, target: {brand: bolt}}", "warning", "'a', slots tops → shoes: 3 lists keep fewer than 3 products to choose from, 0 of them none;"),
        (f"{{name: a, verb: filter, price: +200%/+300%, {TOPS}}}", "error", "'a', slots tops → shoes: 3 lists keep fewer than 3 products to choose from, 3 of them none; in 1 slots every page"),
        ("{name: a, verb: block, target: {item: s0}}\n{name: b, verb: filter, price: {max: 30}, source: {category: tops}}", "warning", "'a', 'b', slots tops → shoes: 3 lists keep fewer than 3"),
    ],
)  # fmt: skip
def test_a_finding(text: str, level: str, line: str) -> None:
    lines = [f.line() for f in found(text).findings]
    assert any(x.startswith(f"{level}: rule {line}") for x in lines), lines


@pytest.mark.parametrize(
    "text",
    [
        "{name: a, verb: block, target: {item: s0}}",
        "{name: a, verb: boost, amount: 0.1, target: {brand: bolt}}\n{name: b, verb: bury, amount: 0.1, target: {brand: acme}}",
        "{name: a, verb: pin, items: [s1]}\n{name: b, verb: pin, items: [s2], position: 2}",
        "{name: a, verb: list, items: [s1], source: {item: t0}}\n{name: b, verb: list, items: [s2], source: {item: t1}}",
        "{name: a, verb: filter, brand: bolt, source: {category: tops}}",
        "{name: a, verb: filter, price: -50%/+0%, source: {category: tops}}",
        "{name: a, verb: pin, items: [s1], start: 2027-01-01}",
    ],
)  # fmt: skip
def test_rules_that_are_as_they_should_be_give_no_finding(text: str) -> None:
    assert found(text).findings == ()


def test_a_list_short_without_rules_is_no_fault_of_the_rules() -> None:
    assert found("{name: a, verb: filter, brand: [bolt, acme]}", minimum=50).findings == ()
    assert [f.field for f in found("{name: a, verb: block, target: {item: s0}}", minimum=50).findings] == ["slots"]


def test_errors_come_first_and_only_rules_in_force_are_judged() -> None:
    report = found("{name: a, verb: block, target: {brand: x}}\n{name: b, verb: pin, items: [s9]}")
    assert [f.level for f in report.findings] == ["error", "warning"]
    later = found("{name: b, verb: pin, items: [s9], start: 2027-01-01}")
    assert (later.findings, later.rules, later.active, later.pages) == ((), 1, 0, 12)


@settings(max_examples=80, deadline=None)
@given(
    shoes=st.lists(
        st.tuples(st.sampled_from([None, 10.0, 11.0, 12.0, 14.0]), st.integers(0, 3), st.booleans()), max_size=8
    ),
    price=st.sampled_from([None, 10.0, 12.0]),
    text=st.sampled_from(["", "{name: a, verb: filter, price: -10%/+20%}", "{name: a, verb: block, target: {price: {min: 11}}}"]),
)  # fmt: skip
def test_choices_are_those_of_plain_loops(
    shoes: list[tuple[float | None, int, bool]], price: float | None, text: str
) -> None:
    made: list[dict[str, Any]] = [product("p", "tops", price=price, group_id="0")]
    made += [product(f"s{n}", "shoes", price=p, group_id=str(g), in_stock=s) for n, (p, g, s) in enumerate(shoes)]
    world = shop(*made)
    pages, targets = world["tops"], world["shoes"]
    e = effects(rules(text) if text else EMPTY, DAY, pages, targets, MAY, K)
    groups = set()
    for p, g, stock in shoes:
        good = stock and g != 0
        if "filter" in text and price is not None:
            good = good and p is not None and price * 0.9 - 1e-9 <= p <= price * 1.2 + 1e-9
        if "block" in text:
            good = good and (p is None or p < 11)
        groups |= {g} if good else set()
    assert choices(e, pages, targets, MAY).tolist() == [len(groups)]
    assert choices(None, pages, targets, MAY).dtype == np.int64


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{name: a, verb: filter, brand: same}",
        "{name: a, verb: filter, brand: same}\n{name: b, verb: filter, price: -30%/+50%}",
        "{name: a, verb: filter, department: same}\n{name: b, verb: block, source: {brand: b1}, target: {price: {max: 12}}}",
        "{name: a, verb: filter, price: +0%/+0%, source: {department: girls}}\n{name: b, verb: filter, season: same}",
        "{name: a, verb: filter, price: -90%/-50%}",
    ],
)
def test_choices_of_a_whole_shop_are_those_of_plain_loops(text: str) -> None:
    """Many pages of each class, groups that repeat, prices that tie or are missing, groups across the categories."""
    rng = np.random.default_rng(6)
    made = []
    for n in range(160):
        price = None if rng.random() < 0.15 else float(rng.integers(8, 20))
        brand = None if rng.random() < 0.1 else f"b{rng.integers(4)}"
        about = {"brand": brand, "price": price, "season": f"s{rng.integers(2)}", "group_id": f"g{rng.integers(70)}"}
        department = str(rng.choice(["women", "men", "unisex", "girls"]))
        made.append(product(f"p{n:03}", "tops" if n % 2 else "shoes", department=department,
                            in_stock=bool(rng.random() < 0.8), **about))  # fmt: skip
    world = shop(*made)
    pages, targets = world["tops"], world["shoes"]
    e = effects(rules(text), DAY, pages, targets, MAY, K) if text else None
    want = []
    for i in range(len(pages)):
        groups = set()
        for t in range(len(targets)):
            good = targets.in_stock[t] and MAY[pages.department[i], targets.department[t]]
            good = good and targets.group[t] != pages.group[i]
            if e is not None:
                good = good and e.allowed[e.klass[i], t]
                if np.isfinite(e.low[i]) or np.isfinite(e.high[i]):
                    good = good and e.low[i] <= targets.price[t] <= e.high[i]
            if good:
                groups.add(int(targets.group[t]))
        want.append(len(groups))
    assert choices(e, pages, targets, MAY).tolist() == want
    assert not text or 0 < sum(want) < sum(choices(None, pages, targets, MAY))


CATALOG = """item_id,category,image,brand,season,tags,markets
t,tops,a.jpg,Acme,Summer,new|eco,
s,shoes,a.jpg,Bolt,,,DE|AT
"""


@pytest.mark.parametrize(
    ("rule", "code", "said"),
    [
        ("{name: a, verb: boost, amount: 0.1, source: {tag: ECO}, target: {brand: bolt}}", 0, "0 errors, 0 warnings"),
        ("{name: a, verb: boost, amount: 0.1, target: {brand: bold}}", 0, "0 errors, 1 warnings"),
        ("{name: a, verb: pin, items: [x]}", 4, "error: rule 'a', items 'x': no product has this id"),
        ("{name: a, verb: pin}", 4, "rules.yaml: rule 'a', key items: is missing"),
    ],
)
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], rule: str, code: int, said: str) -> None:
    (tmp_path / "rules.yaml").write_text(f"rules:\n- {rule}\n")
    (tmp_path / "catalog.csv").write_text(CATALOG)
    files = ["--rules", str(tmp_path / "rules.yaml"), "--catalog", str(tmp_path / "catalog.csv")]
    assert run(["rules", "check", *files, "--run-date", DAY]) == code
    out = capsys.readouterr()
    assert said in out.out + out.err
    assert ("1 rules, 1 in force on 2026-06-15, 2 products" in out.out) is ("key items" not in said)


def test_the_example_of_the_docs_is_a_rules_file() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert example is not None
    from schemas.rules import parse_rules

    assert {r.verb for r in parse_rules(example[1], "docs/rules.md").rules} == {
        "pin", "block", "boost", "bury", "filter", "list",
    }  # fmt: skip
