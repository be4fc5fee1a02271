"""A shop's merchandising rules: `rules.yaml`, checked against `rules.schema.json`, as typed data.

Pure data. What the rules do to lists is `jobs/rules`; what a merchandiser writes is docs/rules.md.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, Literal

import yaml

from schemas.taxonomy import fold

SCHEMA = Path(__file__).with_name("rules.schema.json")
MICRO = 1_000_000  # micro-units a score unit

Verb = Literal["pin", "block", "boost", "bury", "filter", "list"]
SAME = "same"  # a filter's value that means: the page's own

_BAND = re.compile(r"^\s*([+-]?\d+(?:\.\d+)?)\s*%\s*/\s*([+-]?\d+(?:\.\d+)?)\s*%\s*$")


class RulesError(ValueError):
    """The rules file is wrong; the message names the file, the rule and the key."""


@dataclass(frozen=True)
class Range:
    """An absolute price range, both ends inclusive."""

    min: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class Band:
    """A price range relative to the page's price, in shares of it: -20%/+50% is (-0.2, 0.5). Both ends inclusive."""

    low: float
    high: float

    @property
    def text(self) -> str:
        return f"{self.low * 100:+.12g}%/{self.high * 100:+.12g}%"


@dataclass(frozen=True)
class Condition:
    """Which products. Every key that is given must hold; of a key's (folded) values any one may."""

    item: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    brand: tuple[str, ...] = ()
    product_type: tuple[str, ...] = ()
    price: Range | None = None
    tag: tuple[str, ...] = ()
    department: tuple[str, ...] = ()
    season: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != EVERYTHING


EVERYTHING = Condition()


@dataclass(frozen=True)
class Filters:
    """What a filter asks of a target; None: nothing. `same`: the page's own value."""

    price: Range | Band | None = None
    brand: tuple[str, ...] | Literal["same"] | None = None
    department: tuple[str, ...] | Literal["same"] | None = None
    season: tuple[str, ...] | Literal["same"] | None = None
    market: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Rule:
    """One rule. What a verb does not use keeps its default."""

    name: str
    verb: Verb
    source: Condition = EVERYTHING  # pages
    target: Condition = EVERYTHING  # products; of pin and list the `items`
    items: tuple[str, ...] = ()  # as written, in order
    position: int = 1  # of the first pinned item, from 1
    amount: int = 0  # micro-units, > 0 for boost and bury
    filters: Filters = Filters()
    fill: bool = False
    start: date | None = None  # first day
    end: date | None = None  # last day
    importance: int = 0

    def on(self, day: date) -> bool:
        """Is the rule in force on that day? Both dates are inclusive."""
        return (self.start is None or self.start <= day) and (self.end is None or day <= self.end)


@dataclass(frozen=True)
class Rules:
    """A checked rules file: its rules by name.

    `fingerprint` is the sha256 of the canonical content, 16 hex digits; "" where there is no rule.
    """

    rules: tuple[Rule, ...] = ()
    fingerprint: str = ""

    def __bool__(self) -> bool:
        return bool(self.rules)

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> Rules:
        """These rules, in canonical order."""
        ordered = tuple(sorted(rules, key=lambda r: r.name))
        return cls(ordered, fingerprint(ordered)) if ordered else EMPTY

    def by_rank(self) -> tuple[Rule, ...]:
        """Rules in the order in which they win a conflict: the highest importance first, then by name."""
        return tuple(sorted(self.rules, key=lambda r: (-r.importance, r.name)))

    def to_json(self) -> str:
        """The canonical file: `parse_rules` reads the same rules from it."""
        return json.dumps({"rules": [canonical(r) for r in self.rules]}, indent=1, ensure_ascii=False) + "\n"


EMPTY = Rules()


def canonical(rule: Rule, *, dates: bool = True) -> dict[str, Any]:
    """A rule as the file has it, in one way of writing it; without `dates` what it does while it is in force."""
    out: dict[str, Any] = {"name": rule.name, "verb": rule.verb}
    for side in ("source", "target"):
        if condition := _canonical_keys(getattr(rule, side)):
            out[side] = condition
    if rule.items:
        out["items"] = list(rule.items)
    if rule.verb == "pin":
        out["position"] = rule.position
    if rule.verb in ("boost", "bury"):
        out["amount"] = rule.amount / MICRO
    if rule.fill:
        out["fill"] = True
    out |= _canonical_keys(rule.filters)
    if dates:
        out |= {k: d.isoformat() for k in ("start", "end") if (d := getattr(rule, k)) is not None}
    if rule.importance:
        out["importance"] = rule.importance
    return out


def _canonical_keys(of: Condition | Filters) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for f in fields(of):
        value = getattr(of, f.name)
        if isinstance(value, Range):
            out[f.name] = {k: v for k in ("min", "max") if (v := getattr(value, k)) is not None}
        elif isinstance(value, Band):
            out[f.name] = value.text
        elif isinstance(value, tuple) and value:
            out[f.name] = list(value)
        elif isinstance(value, str):
            out[f.name] = value
    return out


def fingerprint(rules: Iterable[Rule], *, dates: bool = True) -> str:
    """16 hex digits of the rules' canonical content, whatever order they come in."""
    content = [canonical(r, dates=dates) for r in sorted(rules, key=lambda r: r.name)]
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


# --- reading ---------------------------------------------------------------------------------------------------


def read_rules(path: Path) -> Rules:
    """Read and check a rules file. Raises RulesError naming file, rule and key."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as e:
        raise RulesError(f"{path}: cannot be read: {e.strerror or e}") from e
    except UnicodeDecodeError as e:
        raise RulesError(f"{path}: is not UTF-8 ({e.reason} at byte {e.start}); save it as UTF-8") from e
    return parse_rules(text, str(path))


def parse_rules(text: str, where: str) -> Rules:
    """Rules from the text of a file (YAML, so JSON too). Raises RulesError naming `where`, rule and key."""
    raw = _load(text, where)
    if not isinstance(raw, dict):
        raise RulesError(f"{where}: must be a mapping with the key rules; see docs/rules.md")
    _check_schema(raw, where)
    rules: list[Rule] = []
    seen: dict[str, str] = {}
    for spec in raw["rules"]:
        rule = _rule(spec, where)
        if (first := seen.setdefault(fold(rule.name), rule.name)) is not rule.name:
            raise _bad(where, rule.name, "name", f"there is another rule '{first}'; a name stands once, in any case")
        rules.append(rule)
    return Rules.of(rules)


def _bad(where: str, name: str, key: str, why: str) -> RulesError:
    return RulesError(f"{where}: rule '{name}', key {key}: {why}")


def _rule(spec: Mapping[str, Any], where: str) -> Rule:
    name: str = spec["name"].strip()

    def day(key: str) -> date | None:
        try:
            return date.fromisoformat(spec[key]) if key in spec else None
        except ValueError:
            raise _bad(where, name, key, f"'{spec[key]}' is no date; write it as YYYY-MM-DD") from None

    def price(raw: Any, key: str) -> Range | Band:
        if isinstance(raw, str):
            m = _BAND.match(raw)
            assert m is not None, "the schema has the same pattern"
            band = Band(float(m[1]) / 100, float(m[2]) / 100)
            if band.low < -1 or band.low > band.high:
                raise _bad(where, name, key, f"'{raw}' is no band; write the lower end first, -100% at least")
            return band
        if raw.get("min", 0) > raw.get("max", math.inf):
            raise _bad(where, name, key, f"min {raw['min']:g} is above max {raw['max']:g}; turn them round")
        return Range(raw.get("min"), raw.get("max"))

    def condition(side: str) -> Condition:
        raw = spec.get(side, {})
        values = {k: _folded(v) for k, v in raw.items() if k != "price"}
        range_ = price(raw["price"], f"{side}.price") if "price" in raw else None
        assert not isinstance(range_, Band), "the schema has ranges alone here"
        return Condition(**values, price=range_)

    def same_or(key: str) -> Any:
        raw = spec.get(key)
        return None if raw is None else SAME if isinstance(raw, str) and fold(raw) == SAME else _folded(raw)

    items = tuple(i.strip() for i in _listed(spec.get("items", [])))
    if twice := sorted({i for i in items if items.count(i) > 1}):
        raise _bad(where, name, "items", f"'{twice[0]}' stands twice; take one out")
    filters = Filters()
    if spec["verb"] == "filter":
        band = price(spec["price"], "price") if "price" in spec else None
        market = _folded(spec["market"]) if "market" in spec else None
        filters = Filters(band, same_or("brand"), same_or("department"), same_or("season"), market)
    rule = Rule(
        name, spec["verb"], condition("source"), condition("target"), items, int(spec.get("position", 1)),
        round(spec.get("amount", 0) * MICRO), filters, spec.get("fill", False), day("start"), day("end"),
        int(spec.get("importance", 0)),
    )  # fmt: skip
    if rule.start and rule.end and rule.end < rule.start:
        raise _bad(where, name, "end", f"{rule.end} is before start {rule.start}; both days are part of it")
    if isinstance(filters.price, Band) and rule.target != Condition(category=rule.target.category):
        raise _bad(
            where, name, "target", "a price band in % is for whole slots; name categories alone, or use min, max"
        )
    return rule


def _listed(raw: str | list[str]) -> list[str]:
    return [raw] if isinstance(raw, str) else raw


def _folded(raw: str | list[str]) -> tuple[str, ...]:
    return tuple(sorted({fold(v) for v in _listed(raw)}))


# --- YAML: texts stay texts ------------------------------------------------------------------------------------

_NUMBERS = ("position", "amount", "importance", "min", "max")
_NUMBER = re.compile(r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$")
_DEEPEST = 8  # a rules file needs five


def _load(text: str, where: str) -> Any:
    """The file's content. Values are texts as written (a brand ON is no boolean, 0123 no octal number), but for the
    keys that are numbers and booleans."""
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as e:
        line = f" near line {e.problem_mark.line + 1}" if e.problem_mark else ""
        raise RulesError(f"{where}: is no YAML{line}: {e.problem or e.context}") from e
    except (yaml.YAMLError, RecursionError) as e:
        raise RulesError(f"{where}: is no YAML: {' '.join(str(e).split())}") from e
    return None if node is None else _value(node, "", where, 0)


def _value(node: yaml.Node, key: str, where: str, depth: int) -> Any:
    line = node.start_mark.line + 1
    if depth > _DEEPEST:
        raise RulesError(f"{where}: line {line} is nested too deeply for a rules file; see docs/rules.md")
    if isinstance(node, yaml.SequenceNode):
        return [_value(n, key, where, depth + 1) for n in node.value]
    if isinstance(node, yaml.MappingNode):
        out: dict[str, Any] = {}
        for k, v in node.value:
            name = str(k.value)
            if name in out:
                raise RulesError(
                    f"{where}: line {k.start_mark.line + 1}: key {name} stands twice in a mapping; join the two"
                )
            out[name] = _value(v, name, where, depth + 1)
        return out
    assert isinstance(node, yaml.ScalarNode)
    said: str = node.value
    if node.style is not None:  # quoted: a text, whatever it looks like
        return said
    if said in ("", "~", "null"):
        return None
    if key in _NUMBERS and _NUMBER.match(said):
        return float(said) if any(c in said for c in ".eE") else int(said)
    if key == "fill" and said.lower() in ("true", "false", "yes", "no"):
        return said.lower() in ("true", "yes")
    return said


# --- what the schema says, as one line -------------------------------------------------------------------------


def _check_schema(raw: Mapping[str, Any], where: str) -> None:
    import jsonschema  # type: ignore[import-untyped]  # here: workers read no files and may go without it

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(raw))
    if not errors:
        return
    # The first rule of the file that is wrong; in it a misspelt key first, as it explains what is missing.
    error = min(errors, key=lambda e: (_place(e), e.validator != "additionalProperties", len(e.absolute_path)))
    path = [str(p) if isinstance(p, int) else p for p in error.absolute_path]
    n = _place(error)
    if n < 0:
        key = ".".join(path) or "rules"
        raise RulesError(f"{where}: key {_named(error, key)}: {_told(error)}; see docs/rules.md")
    spec = raw["rules"][n]
    given = spec.get("name") if isinstance(spec, dict) else None
    name = f"'{given}'" if isinstance(given, str) and given.strip() else f"number {n + 1}"
    keys = ".".join(p for p in path[2:] if not p.isdigit())
    if not keys and error.validator not in ("additionalProperties", "required") and not _foreign(error):
        raise RulesError(f"{where}: rule {name}: {_told(error)}; see docs/rules.md")
    raise RulesError(f"{where}: rule {name}, key {_named(error, keys)}: {_told(error)}; see docs/rules.md")


def _foreign(error: Any) -> bool:
    """Is the error that a key belongs to other verbs?"""
    return "propertyNames" in error.absolute_schema_path


def _place(error: Any) -> int:
    path = list(error.absolute_path)
    return path[1] if len(path) > 1 else -1


def _named(error: Any, key: str) -> str:
    """The key an error is about: the missing or unknown one below where the error stands."""
    below = str(error.instance) if _foreign(error) else ""
    if error.validator == "additionalProperties":
        below = next(k for k in error.instance if k not in error.schema["properties"])
    elif error.validator == "required":
        below = next(k for k in error.validator_value if k not in error.instance)
    return below if key in ("", "rules") and below else f"{key}.{below}" if below else key


def _told(error: Any) -> str:
    value, validator = error.instance, error.validator
    said = f"'{value}'" if isinstance(value, str | int | float) else "this"
    if _foreign(error):
        return f"does not belong to this verb; known are {', '.join(error.validator_value)}"
    if validator == "additionalProperties":
        return f"is unknown; known are {', '.join(error.schema['properties'])}"
    if validator == "required":
        return "is missing"
    if value is None or value in ("", [], {}):
        return "is empty; give a value, or take the key out"
    if validator == "enum":
        return f"{said} is none of {', '.join(map(str, error.validator_value))}"
    if validator == "pattern" and error.validator_value.startswith("^[0-9]{4}"):
        return f"{said} is no date; write it as YYYY-MM-DD"
    if validator == "anyOf":
        options = error.validator_value
        if "required" in options[0]:
            return f"a filter needs one of {', '.join(o['required'][0] for o in options)}"
        if options[-1].get("$ref", "").endswith("range"):
            return f"{said} is no price band; write -20%/+50%, or {{min: 10, max: 50}}"
        return f"{said} is neither a text nor a list of texts"
    if validator == "type":
        kind = {"object": "a mapping", "array": "a list", "integer": "a whole number", "string": "a text"}
        kind |= {"number": "a number", "boolean": "true or false"}
        return f"{said} is not {kind[error.validator_value]}"
    if validator == "pattern":
        return "is empty; give a value, or take the key out"
    if validator in ("minimum", "maximum"):
        bound = "at least" if validator == "minimum" else "at most"
        return f"{said} is out of range; {bound} {f'{error.validator_value:.6f}'.rstrip('0').rstrip('.')}"
    return str(error.message)
