"""An order of target categories other than the taxonomy's: a small JSON file, learnt from outfits, read by people.

Pure data, checked against `slot_order.schema.json`. `jobs/train/slot_order.py` learns one. It moves slots and does
nothing else: which targets a category has, and what stands in each list, stay the taxonomy's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from schemas.taxonomy import Taxonomy

SCHEMA = Path(__file__).with_name("slot_order.schema.json")


class SlotOrderError(ValueError):
    """The file is wrong; the message names the file and the key."""


@dataclass(frozen=True)
class SlotOrder:
    """Targets of some source categories, first to last."""

    order: Mapping[str, tuple[str, ...]]

    def applied(self, taxonomy: Taxonomy) -> Taxonomy:
        """The taxonomy with its slots in this order.

        Targets that the order does not name come behind those it does, as the taxonomy has them; a source that it does
        not name keeps the taxonomy's order; what the taxonomy does not have (an unknown category, a never-pair) is
        passed over.
        """
        targets = {c: self._of(c, own) for c, own in taxonomy.targets.items()}
        moved = {c: list(t) for c, t in targets.items() if t != taxonomy.targets[c]}
        digest = hashlib.sha256(json.dumps(moved, sort_keys=True).encode()).hexdigest()[:16] if moved else ""
        return replace(taxonomy, targets=targets, slot_order=digest)

    def _of(self, source: str, targets: Sequence[str]) -> tuple[str, ...]:
        named = [t for t in self.order.get(source, ()) if t in targets]
        return (*named, *(t for t in targets if t not in named))

    def unknown(self, taxonomy: Taxonomy) -> tuple[str, ...]:
        """Categories that the taxonomy does not have."""
        names = {*self.order, *(t for own in self.order.values() for t in own)}
        return tuple(sorted(names - set(taxonomy.categories)))


NO_ORDER = SlotOrder({})


def read_slot_order(path: Path) -> SlotOrder:
    """Read and check a file. Raises SlotOrderError naming file and key."""
    try:
        return parse_slot_order(path.read_text(encoding="utf-8"), str(path))
    except OSError as e:
        raise SlotOrderError(f"{path}: cannot be read: {e.strerror or e}") from e
    except UnicodeDecodeError as e:
        raise SlotOrderError(f"{path}: is not UTF-8 ({e.reason} at byte {e.start}); save it as UTF-8") from e


def parse_slot_order(text: str, where: str) -> SlotOrder:
    """The order in the text of a file. Raises SlotOrderError naming `where` and the key."""
    try:
        raw = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as e:
        raise SlotOrderError(f"{where}: cannot be read as JSON: {e}") from e
    _check(raw, where)
    order = {source: tuple(t["target"] for t in targets) for source, targets in raw["order"].items()}
    for source, targets in order.items():
        if twice := sorted({t for t in targets if targets.count(t) > 1}):
            raise SlotOrderError(f"{where}: order.{source}: target '{twice[0]}' stands twice; take one out")
    return SlotOrder(order)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        names = [k for k, _ in pairs]
        raise ValueError(f"key '{next(k for k in names if names.count(k) > 1)}' stands twice")
    return out


def _check(raw: Any, where: str) -> None:
    import jsonschema  # type: ignore[import-untyped]  # here: workers read no files and may go without it

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for error in sorted(jsonschema.Draft202012Validator(schema).iter_errors(raw), key=lambda e: list(map(str, e.path))):
        key = ".".join(map(str, error.absolute_path)) or "the file"
        raise SlotOrderError(f"{where}: {key}: {error.message}; `medal slot-order` writes such files (docs/lists.md)")
