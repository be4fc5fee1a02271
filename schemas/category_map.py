"""Other people's category names -> a taxonomy's categories: Google's product categories, and free product types.

The longest match that is known decides; what matches nothing, or two things, is told and never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from schemas.taxonomy import Taxonomy, fold

PATH = Path(__file__).with_name("category_map.yaml")
_NUMBERED = re.compile(
    r"^(\d+)\s*(?:[-–:]\s*(.*))?$", re.S
)  # "212", and "212 - Apparel & Accessories > …" as in Google's file
_LEVELS = re.compile(r"\s*(?:>|»|›|::|\||/(?![a-z]\b))\s*", re.IGNORECASE)
_PARTS = re.compile(r"\s*(?:,|;|&|\+|/|\band\b| [-–] )\s*")
_TAIL = re.compile(r"\s+(?:with|for|in|of|by|w/)\s.*$|[\(\[].*$")  # "Dress with belt" is a dress
_MOST = 400  # characters of a value that are looked at; no category name is longer


@dataclass(frozen=True)
class Found:
    """What a row's names say. `category` None: `field` and `value` are what says nothing, `reason` why."""

    category: str | None
    field: str = ""
    value: str | None = None
    reason: str = ""
    age_group: str | None = None
    refused: bool = False  # known, and no product to wear


@dataclass(frozen=True)
class CategoryMap:
    """The map for one taxonomy. A taxonomy's own names and aliases win over the file's."""

    taxonomy: Taxonomy
    paths: Mapping[tuple[str, ...], tuple[str | None, str | None]]  # levels -> category (None: too wide), age group
    ids: Mapping[str, tuple[str, ...]]  # Google's number -> levels
    refused: frozenset[tuple[str, ...]]
    refused_words: frozenset[tuple[str, ...]]
    words: Mapping[tuple[str, ...], str]  # words of a name, folded -> category
    department_words: Mapping[str, str]
    _seen: dict[tuple[str | None, str | None], Found] = field(default_factory=dict, compare=False, repr=False)

    def find(self, google: str | None, product_type: str | None) -> Found:
        """The category of a row by its Google category (name or number) and its free product type."""
        key = (google, product_type)
        if (known := self._seen.get(key)) is None:
            if len(self._seen) > 50_000:
                self._seen.clear()
            known = self._seen[key] = self._find(google, product_type)
        return known

    def _find(self, google: str | None, product_type: str | None) -> Found:
        told: Found | None = None
        age = None
        for name, value, known in (("category", google, True), ("product_type", product_type, False)):
            if not value:
                continue
            found = self._value(name, value[:_MOST], by_path=known)
            age = age or found.age_group
            if found.category or found.refused:
                return Found(found.category, name, value, found.reason, age, found.refused)
            # What a person can add to the taxonomy's aliases is the narrower of the two names.
            told = found
        return told or Found(None, "category", None, "is empty, and so is the product type")

    def _value(self, name: str, value: str, *, by_path: bool) -> Found:
        """`by_path`: the value may be one of Google's; other names are only looked through word by word."""
        folded = fold(value)
        if folded in self.taxonomy.refused:
            return self._refused(name, value)
        if hit := self._own(folded):
            return Found(hit)
        numbered = _NUMBERED.match(folded)
        if numbered and not numbered[2]:
            if numbered[1] not in self.ids:
                return Found(None, name, value, "is no number of Google's for apparel or luggage")
            levels: tuple[str, ...] = self.ids[numbered[1]]
        else:
            text = numbered[2] if numbered else folded
            levels = tuple(_level(p) for p in _LEVELS.split(text) if p.strip())
        if any(levels[:n] in self.refused for n in range(1, len(levels) + 1)):
            return self._refused(name, value)
        age: str | None = None
        rest = levels
        if by_path or levels[:1] in self.paths:
            for n in range(len(levels), 0, -1):
                if levels[:n] in self.paths:
                    category, age = self.paths[levels[:n]]
                    if category:
                        return self._checked(category, name, value, age)
                    rest = levels[n:]
                    break
        if any(_has(words, bad) for words in map(_words, levels) for bad in self.refused_words):
            return self._refused(name, value)
        for level in reversed(rest):
            hits = {c for part in _PARTS.split(level) if (c := self._tail(part))}
            if len(hits) > 1:
                return Found(None, name, value, f"names {' and '.join(sorted(hits))} at once", age)
            if hits:
                return self._checked(hits.pop(), name, value, age)
        why = "is too wide to tell" if len(rest) < len(levels) and not rest else "maps to no category"
        return Found(None, name, value, why, age)

    def department(self, *texts: str | None) -> str | None:
        """The department that a product type names in so many words; None where none does, or two that differ."""
        found = {
            self.department_words[w]
            for t in texts
            if t
            for w in _plain(t[:_MOST]).split()
            if w in self.department_words
        }
        if found <= {"women", "men"}:
            return "unisex" if len(found) == 2 else next(iter(found), None)
        children = found - {"women", "men"}  # "Men > Boys" and "Baby girls": a child's, whatever else is said
        narrow = children - {"kids"}
        return narrow.pop() if len(narrow) == 1 else "kids"

    def _own(self, folded: str) -> str | None:
        t = self.taxonomy
        return folded if folded in t.titles else t.aliases.get(folded) or t.product_type_aliases.get(folded)

    def _tail(self, text: str) -> str | None:
        """The category of a name's last words, the longest that are known: its head noun, in English."""
        words = _words(_TAIL.sub("", f" {text}"))
        for start in range(len(words)):
            if hit := self.words.get(words[start:]):
                return hit
        return None

    def _checked(self, category: str, name: str, value: str, age: str | None) -> Found:
        if category not in self.taxonomy.titles:
            return Found(None, name, value, f"means '{category}', which is no category of this taxonomy", age)
        return Found(category, age_group=age)

    def _refused(self, name: str, value: str) -> Found:
        return Found(None, name, value, "is no product to wear", refused=True)


def category_map(taxonomy: Taxonomy) -> CategoryMap:
    """The map of `category_map.yaml` for a taxonomy. Raises ValueError naming a key of the file that is wrong."""
    raw = _raw()
    if set(raw) != {"version", "google", "refused", "refused_words", "words", "department_words"}:
        raise ValueError(f"{PATH}: has the keys {', '.join(raw)}")
    paths: dict[tuple[str, ...], tuple[str | None, str | None]] = {}
    ids: dict[str, tuple[str, ...]] = {}
    for entry in (*raw["google"], *raw["refused"]):
        levels = _path(entry["path"])
        if levels in paths:
            raise ValueError(f"{PATH}: '{entry['path']}' stands twice")
        if "category" in entry:
            paths[levels] = (entry["category"], entry.get("age"))
        for number in map(str, entry["ids"]):
            if number in ids:
                raise ValueError(f"{PATH}: number {number} stands twice")
            ids[number] = levels
    words = {form: c for c, names in raw["words"].items() for n in names for form in _forms(n)}
    own = ((n, c) for d in (taxonomy.aliases, taxonomy.product_type_aliases) for n, c in d.items())
    words |= {form: c for n, c in (*((c, c) for c in taxonomy.titles), *own) for form in _forms(n)}
    return CategoryMap(
        taxonomy=taxonomy,
        paths=paths,
        ids=ids,
        refused=frozenset(_path(e["path"]) for e in raw["refused"]),
        refused_words=frozenset(form for n in raw["refused_words"] for form in _forms(n)),
        words=words,
        department_words={w: d for d, ws in raw["department_words"].items() if d in taxonomy.departments for w in ws},
    )


@lru_cache(maxsize=1)
def _raw() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return loaded


def _path(text: str) -> tuple[str, ...]:
    return tuple(_level(p) for p in text.split(">"))


def _level(text: str) -> str:
    """A level's spelling: Google writes `&`, some feeds `and`; some escape it twice."""
    return " ".join(fold(text).replace("&amp;", "&").replace(" and ", " & ").split())


def _plain(text: str) -> str:
    """Words alone: no apostrophes, everything else that is no letter or digit a blank."""
    return " ".join(re.sub(r"[^\w]+", " ", fold(text).replace("'", "").replace("’", "")).split())


def _words(text: str) -> tuple[str, ...]:
    return tuple(_plain(text).split())


def _has(words: tuple[str, ...], some: tuple[str, ...]) -> bool:
    return any(words[i : i + len(some)] == some for i in range(len(words) - len(some) + 1))


def _forms(name: str) -> Iterator[tuple[str, ...]]:
    """A name's words in the singular and the plural."""
    words = _words(name)
    for last in _plurals(words[-1]):
        yield (*words[:-1], last)


def _plurals(word: str) -> Iterable[str]:
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return (word, word[:-1] + "ies")
    if word.endswith(("s", "x", "ch", "sh")):
        return (word, word + "es")
    return (word, word + "s")
