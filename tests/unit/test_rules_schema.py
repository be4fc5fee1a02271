"""rules.yaml: what it may say, and the one line that a mistake gives."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from jobs.errors import DataError, SettingsError
from jobs.rules.files import load
from schemas.rules import (
    EMPTY,
    MICRO,
    Band,
    Condition,
    Filters,
    Range,
    Rule,
    Rules,
    RulesError,
    parse_rules,
    read_rules,
)  # fmt: skip

ONE = "{name: a, verb: pin, items: [x]}"


def of(rule: str) -> Rule:
    (found,) = parse_rules(f"rules:\n- {rule}\n", "rules.yaml").rules
    return found


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("a", "number 2: 'a' is not a mapping"),
        ("{verb: pin}", "number 2, key name: is missing"),
        ("{name: '', verb: pin, items: [x]}", "number 2, key name: is empty"),
        ("{name: a}", "'a', key verb: is missing"),
        ("{name: a, verb: pim}", "'a', key verb: 'pim' is none of pin, block"),
        ("{name: a, verb: pin}", "'a', key items: is missing"),
        ("{name: a, verb: pin, items: []}", "'a', key items: is empty"),
        ("{name: a, verb: pin, items: }", "'a', key items: is empty"),
        ("{name: a, verb: pin, items: [x, x]}", "'a', key items: 'x' stands twice"),
        ("{name: a, verb: pin, items: [x], psition: 1}", "'a', key psition: is unknown; known are name"),
        ("{name: a, verb: pin, items: [x], position: 0}", "'a', key position: '0' is out of range; at least 1"),
        ("{name: a, verb: pin, items: [x], position: top}", "'a', key position: 'top' is not a whole number"),
        ("{name: a, verb: pin, items: [x], position: '1'}", "'a', key position: '1' is not a whole number"),
        ("{name: a, verb: pin, items: [x], target: {brand: b}}", "'a', key target: does not belong to this verb"),
        ("{name: a, verb: list, items: [x], fill: maybe}", "'a', key fill: 'maybe' is not true or false"),
        ("{name: a, verb: list, items: [x], importance: 1.5}", "'a', key importance: '1.5' is not a whole number"),
        ("{name: a, verb: block}", "'a', key target: is missing"),
        ("{name: a, verb: block, target: {}}", "'a', key target: is empty"),
        ("{name: a, verb: block, target: {brnad: b}}", "'a', key target.brnad: is unknown; known are item, category"),
        ("{name: a, verb: block, target: {brand: {b: c}}}", "'a', key target.brand: this is neither a text nor a list"),
        ("{name: a, verb: block, target: {price: cheap}}", "'a', key target.price: 'cheap' is not a mapping"),
        ("{name: a, verb: block, target: {price: -20%/+50%}}", "'a', key target.price: '-20%/+50%' is not a mapping"),
        ("{name: a, verb: block, target: {price: {min: 5, max: 1}}}", "'a', key target.price: min 5 is above max 1"),
        ("{name: a, verb: block, target: {price: {min: x}}}", "'a', key target.price.min: 'x' is not a number"),
        ("{name: a, verb: boost, target: {brand: b}}", "'a', key amount: is missing"),
        ("{name: a, verb: boost, target: {brand: b}, amount: 0}", "'a', key amount: '0' is out of range; at least"),
        ("{name: a, verb: bury, target: {brand: b}, amount: -1}", "'a', key amount: '-1' is out of range; at least"),
        ("{name: a, verb: bury, target: {brand: b}, amount: 5}", "'a', key amount: '5' is out of range; at most 2"),
        ("{name: a, verb: filter}", "'a': a filter needs one of price, brand, department, season, market"),
        ("{name: a, verb: filter, price: 20%}", "'a', key price: '20%' is no price band; write -20%/+50%"),
        ("{name: a, verb: filter, price: +50%/-20%}", "'a', key price: '+50%/-20%' is no band; write the lower end"),
        ("{name: a, verb: filter, price: -120%/+0%}", "'a', key price: '-120%/+0%' is no band"),
        ("{name: a, verb: filter, price: -1%/+1%, target: {brand: x}}", "'a', key target: a price band in % is for"),
        ("{name: a, verb: filter, brand: same, end: tomorrow}", "'a', key end: 'tomorrow' is no date"),
        ("{name: a, verb: filter, brand: same, start: 2026-02-30}", "'a', key start: '2026-02-30' is no date"),
        ("{name: a, verb: filter, brand: same, start: 2026-02-03, end: 2026-02-02}", "'a', key end: 2026-02-02 is bef"),
    ],
)
def test_a_mistake_in_a_rule_is_one_line_with_file_rule_and_key(tmp_path: Path, rule: str, told: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(f"rules:\n- {ONE.replace('name: a', 'name: before')}\n- {rule}\n")
    with pytest.raises(RulesError) as e:
        read_rules(path)
    said = str(e.value)
    assert said.startswith(f"{path}: rule {told}")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must be a mapping with the key rules"),
        ("[a]", "must be a mapping with the key rules"),
        ("rules:", "key rules: is empty"),
        ("rules: {a: b}", "key rules: this is not a list"),
        ("rule: []", "key rule: is unknown; known are rules"),
        ("rules: [", "is no YAML near line 1"),
        ("rules:\n- name: a\n  name: b\n", "line 3: key name stands twice"),
        ("&a [*a]", "line 1 is nested too deeply"),
        (f"rules:\n- {ONE}\n- {ONE.replace('name: a', 'name: A')}\n", "rule 'A', key name: there is another rule 'a'"),
    ],
)
def test_a_file_that_is_none_is_named(text: str, told: str) -> None:
    with pytest.raises(RulesError) as e:
        parse_rules(text, "rules.yaml")
    assert str(e.value).startswith(f"rules.yaml: {told}")


@pytest.mark.parametrize(
    ("rule", "meant"),
    [
        ("{name: a, verb: pin, items: 0123}", Rule("a", "pin", items=("0123",))),
        ("{name: a, verb: pin, items: [X, y], position: 3}", Rule("a", "pin", items=("X", "y"), position=3)),
        ("{name: a, verb: list, items: [on], fill: yes}", Rule("a", "list", items=("on",), fill=True)),
        (
            "{name: a, verb: block, target: {brand: [ON, '  H  & M ', on]}, importance: -3}",
            Rule("a", "block", target=Condition(brand=("h & m", "on")), importance=-3),
        ),
        (
            "{name: a, verb: boost, target: {price: {min: 1.5}}, amount: 5e-2, start: 2026-01-01, end: '2026-01-01'}",
            Rule("a", "boost", target=Condition(price=Range(1.5)), amount=MICRO // 20,
                 start=date(2026, 1, 1), end=date(2026, 1, 1)),
        ),
        (
            "{name: a, verb: filter, price: ' -20 % / +50% ', brand: Same, season: [same], market: [DE, at]}",
            Rule("a", "filter", filters=Filters(Band(-0.2, 0.5), "same", None, ("same",), ("at", "de"))),
        ),
        (
            "{name: a, verb: filter, source: {item: A1}, price: {max: 9}}",
            Rule("a", "filter", source=Condition(item=("a1",)), filters=Filters(Range(None, 9))),
        ),
    ],
)  # fmt: skip
def test_a_rule_is_understood(rule: str, meant: Rule) -> None:
    assert of(rule) == meant
    assert parse_rules(Rules.of([meant]).to_json(), "again").rules == (meant,)


def test_the_order_and_the_writing_of_a_file_do_not_change_its_fingerprint() -> None:
    a, b = "- {name: a, verb: block, target: {brand: [X, y]}}\n", "- {name: b, verb: pin, items: i, position: 1}\n"
    one = parse_rules(f"rules:\n{a}{b}", "x")
    two = parse_rules(
        "rules:\n" + b.replace("items: i, position: 1", "items: [i]") + a.replace("[X, y]", "[Y, x]"), "x"
    )
    assert one == two and len(one.fingerprint) == 16
    assert one.fingerprint != parse_rules(f"rules:\n{a}", "x").fingerprint
    assert parse_rules("rules: []", "x") == EMPTY


def test_no_path_is_no_rules_and_a_missing_file_is_a_setting(tmp_path: Path) -> None:
    assert load(None) is EMPTY
    with pytest.raises(SettingsError, match="no such rules file"):
        load(tmp_path / "rules.yaml")
    (tmp_path / "rules.yaml").write_bytes(b"rules: \xff")
    with pytest.raises(DataError, match="is not UTF-8"):
        load(tmp_path / "rules.yaml")
