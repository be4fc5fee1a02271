"""The taxonomy: categories, slots, never-pairs and departments, read from `taxonomy.yaml`.

Pure data. Lookups are by the catalogue's own spelling, whatever its case.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

DEFAULT_PATH = Path(__file__).with_name("taxonomy.yaml")
_KEYS = {
    "version", "categories", "aliases", "product_type_aliases", "refused", "never",
    "departments", "department_aliases", "default_department", "department_matrix",
}  # fmt: skip
_CHILD_AGES = {"kids", "kid", "child", "children", "toddler", "infant", "newborn", "baby", "girls", "boys"}
_ADULT_AGES = {"adult", "adults", ""}


class TaxonomyError(ValueError):
    """The taxonomy file is wrong; the message names the file and the key."""


def fold(name: str) -> str:
    """The form under which names are compared: trimmed, inner white space single, lower case."""
    return " ".join(name.split()).casefold()


@dataclass(frozen=True)
class Taxonomy:
    """A checked taxonomy.

    `targets[c]` are the slots of category c's pages, in display order, never-pairs already removed.
    `matrix[d]` are the departments whose products may stand on department d's pages.
    """

    titles: Mapping[str, str]
    targets: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, str]
    product_type_aliases: Mapping[str, str]
    refused: frozenset[str]
    never: frozenset[tuple[str, str]]  # (source, target), '*' expanded
    departments: Mapping[str, tuple[str, str]]  # department -> (gender, age)
    department_aliases: Mapping[str, str]
    default_department: str
    matrix: Mapping[str, frozenset[str]]
    fingerprint: str  # sha256 of the canonical content, 16 hex digits
    slot_order: str = ""  # digest of an order of the targets other than the file's (schemas/slot_order.py)

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(self.titles)

    def category(self, name: str, product_type: str | None = None) -> str:
        """Category for a catalogue's category name; a product type may decide where it is known.

        Raises KeyError with the reason where the name is refused or unknown.
        """
        folded = fold(name)
        if folded in self.refused:
            raise KeyError(f"category '{name}' is refused by the taxonomy")
        if product_type and (hit := self.product_type_aliases.get(fold(product_type))):
            return hit
        hit = folded if folded in self.titles else self.aliases.get(folded, "")
        if not hit:
            raise KeyError(f"category '{name}' is neither a category nor an alias of the taxonomy")
        return hit

    def department(self, department: str | None, age_group: str | None = None) -> str:
        """Department for a catalogue's department (or gender) and age group; missing means the default.

        Raises KeyError with the reason where a name is unknown or the two contradict each other.
        """
        name = fold(department or "")
        found = self.default_department if not name else self.department_aliases.get(name, name)
        if found not in self.departments:
            raise KeyError(f"department '{department}' is not known to the taxonomy")
        age = fold(age_group or "")
        if age in _CHILD_AGES:
            gender = self.departments[found][0]
            return self._by_kind[(gender, "child")]
        if age not in _ADULT_AGES:
            raise KeyError(f"age group '{age_group}' is not known to the taxonomy")
        if age and self.departments[found][1] == "child":
            raise KeyError(f"age group '{age_group}' contradicts department '{department}'")
        return found

    @cached_property
    def _by_kind(self) -> dict[tuple[str, str], str]:
        return {kind: name for name, kind in self.departments.items()}

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All (source, target) category pairs that get lists, in taxonomy order."""
        return tuple((s, t) for s in self.titles for t in self.targets[s])


def load_taxonomy(path: Path | None = None) -> Taxonomy:
    """Read and check a taxonomy file. Raises TaxonomyError naming file and key."""
    path = path or DEFAULT_PATH
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as e:
        raise TaxonomyError(f"{path}: cannot be read as YAML: {e}") from e
    if not isinstance(raw, dict):
        raise TaxonomyError(f"{path}: must be a mapping with the keys {sorted(_KEYS)}")
    return _checked(raw, path)


def _checked(raw: dict[str, Any], path: Path) -> Taxonomy:
    def bad(key: str, why: str) -> TaxonomyError:
        return TaxonomyError(f"{path}: {key}: {why}")

    if unknown := set(raw) - _KEYS:
        raise bad(", ".join(sorted(unknown)), f"unknown key; known are {sorted(_KEYS)}")
    if missing := _KEYS - set(raw):
        raise bad(", ".join(sorted(missing)), "missing")
    cats: dict[str, dict[str, Any]] = raw["categories"]
    for c, spec in cats.items():
        if c != fold(c):
            raise bad(f"categories.{c}", "write category names in lower case")
        if set(spec) != {"title", "targets"}:
            raise bad(f"categories.{c}", "needs exactly `title` and `targets`")
        for t in spec["targets"]:
            if t not in cats:
                raise bad(f"categories.{c}.targets", f"'{t}' is no category")
        if len(set(spec["targets"])) != len(spec["targets"]):
            raise bad(f"categories.{c}.targets", "a target stands twice")
    for section in ("aliases", "product_type_aliases"):
        for name, c in raw[section].items():
            if c not in cats:
                raise bad(f"{section}.{name}", f"'{c}' is no category")
    never: set[tuple[str, str]] = set()
    for i, rule in enumerate(raw["never"]):
        for side in (rule.get("source"), rule.get("target")):
            if side != "*" and side not in cats:
                raise bad(f"never[{i}]", f"'{side}' is no category")
        sources = list(cats) if rule["source"] == "*" else [rule["source"]]
        targets = list(cats) if rule["target"] == "*" else [rule["target"]]
        never |= {(s, t) for s in sources for t in targets if s != t or "*" not in rule.values()}
    departments = {d: (k["gender"], k["age"]) for d, k in raw["departments"].items()}
    for name, d in raw["department_aliases"].items():
        if d not in departments:
            raise bad(f"department_aliases.{name}", f"'{d}' is no department")
    if raw["default_department"] not in departments:
        raise bad("default_department", f"'{raw['default_department']}' is no department")
    matrix = {d: frozenset(v) for d, v in raw["department_matrix"].items()}
    if set(matrix) != set(departments):
        raise bad("department_matrix", "must have exactly one row for each department")
    for d, shown in matrix.items():
        for other in shown:
            if other not in departments:
                raise bad(f"department_matrix.{d}", f"'{other}' is no department")
            if departments[other][1] != departments[d][1]:
                raise bad(f"department_matrix.{d}", f"'{other}' mixes adults with children")
    canonical = json.dumps(raw, sort_keys=True, ensure_ascii=False)
    return Taxonomy(
        titles={c: spec["title"] for c, spec in cats.items()},
        targets={c: tuple(t for t in spec["targets"] if (c, t) not in never) for c, spec in cats.items()},
        aliases={fold(n): c for n, c in raw["aliases"].items()},
        product_type_aliases={fold(n): c for n, c in raw["product_type_aliases"].items()},
        refused=frozenset(fold(n) for n in raw["refused"]),
        never=frozenset(never),
        departments=departments,
        department_aliases={fold(n): d for n, d in raw["department_aliases"].items()},
        default_department=raw["default_department"],
        matrix=matrix,
        fingerprint=hashlib.sha256(canonical.encode()).hexdigest()[:16],
    )
