"""Reader of the Polyvore Outfits layout (Vasileva et al., ECCV 2018), checked line by line.

    DIR/polyvore_item_metadata.json   {item_id: {category_id, semantic_category, title, url_name, ...}}
    DIR/categories.csv                no header: id, fine name, semantic category
    DIR/{disjoint,nondisjoint}/{train,valid,test}.json, fill_in_blank_*.json, compatibility_*.txt

Questions refer to items as `<set_id>_<index>`; indexes are names, with gaps, not positions. The right answer
of a question is the one whose set id is the question's (in the real files always the first).
docs/data.md tells the layout file by file.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# (semantic category, fine name) -> category; raises KeyError where refused or unknown.
CategoryMap = Callable[[str, str | None], str]
VARIANTS = ("nondisjoint", "disjoint")
SPLITS = ("train", "valid", "test")
METADATA, CATEGORIES = "polyvore_item_metadata.json", "categories.csv"
TEXT_FIELDS = ("title", "url_name", "description")  # an item's title is the first of these that is not empty


class OutfitsError(ValueError):
    """An outfits folder that breaks the layout; the message names file and line or key."""


@dataclass(frozen=True)
class Item:
    """An item of some outfit. `product_type` is its fine category's id."""

    item_id: str
    category: str
    product_type: str


@dataclass(frozen=True)
class Question:
    """Fill in the blank: which of `answers` (item ids) completes `outfit`; `right` is its position."""

    outfit: tuple[str, ...]
    answers: tuple[str, ...]
    right: int


@dataclass(frozen=True)
class Judged:
    """An outfit with its label: was it made by a person (True) or drawn at random."""

    outfit: tuple[str, ...]
    compatible: bool


@dataclass(frozen=True)
class Outfits:
    """One variant (of `VARIANTS`) of an outfits folder, dropped items already taken out.

    `dropped` counts items by reason; `left_out` counts questions by reason ("fitb_valid: ..."). `semantic` are the
    semantic categories of all items, dropped ones too, as the files name them.
    """

    root: Path
    variant: str
    items: Mapping[str, Item]
    sets: Mapping[str, tuple[tuple[str, ...], ...]]  # split -> outfits of two or more item ids
    questions: Mapping[str, tuple[Question, ...]]  # valid, test
    judged: Mapping[str, tuple[Judged, ...]]  # valid, test
    dropped: Mapping[str, int]
    left_out: Mapping[str, int]
    semantic: frozenset[str] = frozenset()

    @property
    def categories(self) -> tuple[str, ...]:
        """Those that occur, sorted."""
        return tuple(sorted({i.category for i in self.items.values()}))


def read_outfits(root: Path, variant: str, category: CategoryMap, suffix: str = "") -> Outfits:
    """Read and check one variant. `suffix` picks other question files, such as `_uniform`.

    Raises OutfitsError naming file and line or key: unknown variant, missing file, damaged JSON, unknown item or
    category id, reference to no item, question with no or more than one right answer, label other than 0 and 1.
    """
    folder = root / variant
    if variant not in VARIANTS:
        raise OutfitsError(f"{root}: variant '{variant}' is unknown; those of the layout are {' and '.join(VARIANTS)}")
    if not folder.is_dir():
        raise OutfitsError(f"{folder}: no such folder; the layout has one for each variant read")
    items, dropped, semantic = _items(root, category)
    left_out: Counter[str] = Counter()
    sets: dict[str, tuple[tuple[str, ...], ...]] = {}
    refs: dict[str, str] = {}
    for split in SPLITS:
        own, refs_of = _sets(folder / f"{split}.json", items.keys() | dropped.keys())
        for ref, item_id in refs_of.items():
            if refs.setdefault(ref, item_id) != item_id:
                raise OutfitsError(f"{folder / (split + '.json')}: reference {ref} already names another item")
        kept = [tuple(i for i in outfit if i in items) for outfit in own]
        left_out[f"{split}: outfits with fewer than two kept items"] += sum(len(k) < 2 for k in kept)
        sets[split] = tuple(k for k in kept if len(k) >= 2)
    questions, judged = {}, {}
    for split in SPLITS[1:]:
        path = folder / f"fill_in_blank_{split}{suffix}.json"
        questions[split] = _questions(path, refs, items, left_out, f"fitb_{split}")
        path = folder / f"compatibility_{split}{suffix}.txt"
        judged[split] = _judged(path, refs, items, left_out, f"auc_{split}")
    return Outfits(
        root=root,
        variant=variant,
        items=_used(items, sets, questions, judged),
        sets=sets,
        questions=questions,
        judged=judged,
        dropped=dict(Counter(dropped.values())),
        left_out={k: n for k, n in left_out.items() if n},
        semantic=semantic,
    )


def strict_disjoint(outfits: Outfits) -> Outfits:
    """Without the valid and test outfits and questions of which an item, a wrong answer included, is in train.

    What is taken out is counted in `left_out`. Train stays as it is; valid and test may still share items with each
    other. On the nondisjoint variant next to nothing is left.
    """
    seen = {i for outfit in outfits.sets["train"] for i in outfit}
    left_out = Counter(outfits.left_out)

    def apart(kept: Sequence[Any], of: Callable[[Any], Sequence[str]], what: str) -> tuple[Any, ...]:
        found = tuple(k for k in kept if seen.isdisjoint(of(k)))
        left_out[f"{what} that share an item with train"] += len(kept) - len(found)
        return found

    sets, questions, judged = dict(outfits.sets), dict(outfits.questions), dict(outfits.judged)
    for s in SPLITS[1:]:
        sets[s] = apart(sets[s], lambda outfit: outfit, f"{s}: outfits")
        questions[s] = apart(questions[s], lambda q: (*q.outfit, *q.answers), f"fitb_{s}: questions")
        judged[s] = apart(judged[s], lambda j: j.outfit, f"auc_{s}: outfits")
    return replace(
        outfits,
        items=_used(outfits.items, sets, questions, judged),
        sets=sets,
        questions=questions,
        judged=judged,
        left_out={k: n for k, n in left_out.items() if n},
    )


def without(outfits: Outfits, unread: set[str]) -> Outfits:
    """Without the items whose photos cannot be read, by the reader's rules for dropped ones.

    A question keeps what is left of the items it shows and goes where nothing is left or an answer is gone; an outfit
    goes where fewer than two items are left. What is taken out is counted in `left_out`.
    """
    left_out = Counter(outfits.left_out)

    def keep(ids: Sequence[str]) -> tuple[str, ...]:
        return tuple(i for i in ids if i not in unread)

    def counted(kept: tuple[Any, ...], before: Sequence[Any], why: str) -> tuple[Any, ...]:
        left_out[why] += len(before) - len(kept)
        return kept

    few = "outfits with fewer than two photos that can be read"
    sets, questions, judged = dict(outfits.sets), dict(outfits.questions), dict(outfits.judged)
    for s, own in outfits.sets.items():
        sets[s] = counted(tuple(k for o in own if len(k := keep(o)) >= 2), own, f"{s}: {few}")
    for s, asked in outfits.questions.items():
        kept = (replace(q, outfit=k) for q in asked if (k := keep(q.outfit)) and unread.isdisjoint(q.answers))
        questions[s] = counted(tuple(kept), asked, f"fitb_{s}: a photo cannot be read")
    for s, told in outfits.judged.items():
        left = (replace(j, outfit=k) for j in told if len(k := keep(j.outfit)) >= 2)
        judged[s] = counted(tuple(left), told, f"auc_{s}: {few}")
    return replace(
        outfits,
        items={k: v for k, v in outfits.items.items() if k not in unread},
        sets=sets,
        questions=questions,
        judged=judged,
        dropped={**outfits.dropped, "image cannot be read": len(unread)},
        left_out={k: n for k, n in left_out.items() if n},
    )


def check_askable(outfits: Outfits, parts: Iterable[str]) -> None:
    """Raises OutfitsError naming file and part where one asks nothing: no question, or not both labels among the
    judged outfits."""
    folder = outfits.root / outfits.variant
    for part in parts:
        if not outfits.questions[part]:
            raise OutfitsError(
                f"{folder}/fill_in_blank_{part}.json: {part} has no question to ask{_lost(outfits, f'fitb_{part}')}"
            )
        labels = {j.compatible for j in outfits.judged[part]}
        if missing := [label for label in (True, False) if label not in labels]:
            what = "judged outfit" if len(missing) == 2 else f"outfit of label {int(missing[0])}"
            raise OutfitsError(
                f"{folder}/compatibility_{part}.txt: {part} has no {what}, and AUC needs both labels"
                f"{_lost(outfits, f'auc_{part}')}"
            )


@contextmanager
def blamed(outfits: Outfits, what: str = "") -> Iterator[None]:
    """A plain ValueError within is a fault of these outfits: OutfitsError naming folder and `what`. Faults that have
    a class of their own, such as one of the settings, pass."""
    try:
        yield
    except ValueError as e:
        if type(e) is not ValueError:
            raise
        raise OutfitsError(": ".join(filter(None, (str(outfits.root / outfits.variant), what, str(e))))) from e


def titles(root: Path) -> dict[str, str]:
    """Title by item id, "" where there is none: `title`, else `url_name`, else `description`; white space squeezed.

    Raises OutfitsError naming file, item and field.
    """
    path, found = root / METADATA, {}
    for item_id, meta in _json(path, dict).items():
        if not isinstance(meta, dict):
            raise OutfitsError(f"{path}: {item_id}: must be an object")
        for field in TEXT_FIELDS:
            if not isinstance(meta.get(field) or "", str):
                raise OutfitsError(f"{path}: {item_id}: {field} must be text, is {type(meta[field]).__name__}")
        texts = (" ".join((meta.get(field) or "").split()) for field in TEXT_FIELDS)
        found[item_id] = next((t for t in texts if t), "")
    return found


def _lost(outfits: Outfits, name: str) -> str:
    """How many of a kind were left out, and why."""
    found = ((k.removeprefix(f"{name}: "), n) for k, n in outfits.left_out.items() if k.startswith(f"{name}: "))
    return "".join(f"; {n:,} left out: {why}" for why, n in found)


def _used(
    items: Mapping[str, Item],
    sets: Mapping[str, Sequence[Sequence[str]]],
    questions: Mapping[str, Sequence[Question]],
    judged: Mapping[str, Sequence[Judged]],
) -> dict[str, Item]:
    used = {i for split in sets.values() for outfit in split for i in outfit}
    used |= {i for qs in questions.values() for q in qs for i in (*q.outfit, *q.answers)}
    used |= {i for js in judged.values() for j in js for i in j.outfit}
    return {k: v for k, v in items.items() if k in used}


def _json(path: Path, kind: type) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise OutfitsError(f"{path}: no such file") from e
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as e:
        raise OutfitsError(f"{path}: cannot be read as JSON: {e}") from e
    if not isinstance(value, kind):
        raise OutfitsError(f"{path}: must be a JSON {'object' if kind is dict else 'array'}")
    return value


def _items(root: Path, category: CategoryMap) -> tuple[dict[str, Item], dict[str, str], frozenset[str]]:
    """Kept items, reason by id of those whose category is refused, unknown or not told, and all semantic categories."""
    items: dict[str, Item] = {}
    dropped: dict[str, str] = {}
    named: set[str] = set()
    for item_id, semantic, name, number in _metadata(root):
        if not semantic:
            dropped[item_id] = "no semantic category"
            continue
        named.add(semantic)
        try:
            items[item_id] = Item(item_id, category(semantic, name), number)
        except KeyError as e:
            dropped[item_id] = str(e.args[0])
    return items, dropped, frozenset(named)


def _metadata(root: Path) -> Iterator[tuple[str, str, str, str]]:
    """Item id, semantic category, fine name and fine id. The item's own semantic category goes before the table's:
    in the real files the table puts sunglasses among accessories, the items have a category of their own."""
    path, fine = root / METADATA, _fine_categories(root / CATEGORIES)
    for item_id, meta in _json(path, dict).items():
        if not isinstance(meta, dict) or "category_id" not in meta:
            raise OutfitsError(f"{path}: {item_id}: has no category_id")
        number = str(meta["category_id"])
        if number not in fine:
            raise OutfitsError(f"{path}: {item_id}: category_id '{number}' is not in {root / CATEGORIES}")
        name, semantic = fine[number]
        own = meta.get("semantic_category") or ""
        if not isinstance(own, str):
            raise OutfitsError(f"{path}: {item_id}: semantic_category must be text, is {type(own).__name__}")
        yield item_id, own.strip() or semantic, name, number


def _fine_categories(path: Path) -> dict[str, tuple[str, str]]:
    """Fine name and semantic category by id. Of a repeated id the first name stands."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except FileNotFoundError as e:
        raise OutfitsError(f"{path}: no such file") from e
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise OutfitsError(f"{path}: cannot be read as CSV: {e}") from e
    found: dict[str, tuple[str, str]] = {}
    for line, row in enumerate(rows, 1):
        if not row:
            continue
        if len(row) != 3:
            raise OutfitsError(f"{path}:{line}: needs id, fine name and semantic category, got {len(row)} fields")
        number, name, semantic = (field.strip() for field in row)
        _, first = found.setdefault(number, (name, semantic))
        if first != semantic:
            raise OutfitsError(f"{path}:{line}: category id '{number}' is '{semantic}' here and '{first}' before")
    return found


def _sets(path: Path, known: Sequence[str] | set[str]) -> tuple[list[tuple[str, ...]], dict[str, str]]:
    """Item ids of each outfit, and item id by reference."""
    outfits: list[tuple[str, ...]] = []
    refs: dict[str, str] = {}
    for n, entry in enumerate(_json(path, list)):
        try:
            set_id, members = str(entry["set_id"]), [(str(i["item_id"]), int(i["index"])) for i in entry["items"]]
        except (TypeError, KeyError, ValueError) as e:
            raise OutfitsError(f"{path}: [{n}]: needs set_id and items of item_id and index ({e!r})") from e
        for item_id, index in members:
            if item_id not in known:
                raise OutfitsError(f"{path}: set {set_id}: item '{item_id}' is not in polyvore_item_metadata.json")
            if refs.setdefault(f"{set_id}_{index}", item_id) != item_id:
                raise OutfitsError(f"{path}: set {set_id}: index {index} stands twice")
        outfits.append(tuple(dict.fromkeys(i for i, _ in members)))
    return outfits, refs


def _resolve(refs: Mapping[str, str], ref: Any, where: str) -> str:
    if (item := refs.get(str(ref))) is None:
        raise OutfitsError(f"{where}: '{ref}' refers to no item of this variant's sets")
    return item


def _questions(
    path: Path, refs: Mapping[str, str], items: Mapping[str, Item], left_out: Counter[str], name: str
) -> tuple[Question, ...]:
    found: list[Question] = []
    for n, entry in enumerate(_json(path, list)):
        where = f"{path}: [{n}]"
        try:
            question, answers = [str(r) for r in entry["question"]], [str(r) for r in entry["answers"]]
        except (TypeError, KeyError) as e:
            raise OutfitsError(f"{where}: needs question and answers ({e!r})") from e
        set_ids = {r.rsplit("_", 1)[0] for r in question}
        if len(set_ids) != 1:
            raise OutfitsError(f"{where}: question must hold items of one set, has {sorted(set_ids)}")
        # An item that the question shows is a wrong answer: so in two of the 3,076 Maryland questions.
        right = [i for i, r in enumerate(answers) if r.rsplit("_", 1)[0] in set_ids and r not in question]
        if len(right) != 1:
            raise OutfitsError(f"{where}: {len(right)} answers come from the question's set; exactly one must")
        outfit = tuple(i for i in (_resolve(refs, r, where) for r in question) if i in items)
        options = [_resolve(refs, r, where) for r in answers]
        if not outfit:
            left_out[f"{name}: no kept item in the question"] += 1
        elif not all(i in items for i in options):
            left_out[f"{name}: an answer's category is dropped"] += 1
        else:
            found.append(Question(outfit, tuple(options), right[0]))
    return tuple(found)


def _judged(
    path: Path, refs: Mapping[str, str], items: Mapping[str, Item], left_out: Counter[str], name: str
) -> tuple[Judged, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as e:
        raise OutfitsError(f"{path}: no such file") from e
    except (OSError, UnicodeDecodeError) as e:
        raise OutfitsError(f"{path}: cannot be read as text: {e}") from e
    found: list[Judged] = []
    for n, line in enumerate(lines, 1):
        if not (fields := line.split()):
            continue
        if fields[0] not in ("0", "1"):
            raise OutfitsError(f"{path}:{n}: label must be 0 or 1, is '{fields[0]}'")
        outfit = tuple(i for i in (_resolve(refs, r, f"{path}:{n}") for r in fields[1:]) if i in items)
        if len(outfit) < 2:
            left_out[f"{name}: outfits with fewer than two kept items"] += 1
        else:
            found.append(Judged(outfit, fields[0] == "1"))
    return tuple(found)
