"""Items of an XML feed (RSS 2.0, Atom, or a plain list of products), one at a time.

Straight from expat: a document type may stand there, an entity of the feed's own may not (it could unfold to
gigabytes, or name a file), and nothing outside is ever loaded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from jobs.catalog.rows import FAULT, MAX_CELL, Notes, RawRow, Source, fault
from jobs.errors import DataError

_BLOCK = 1 << 16
_ITEMS = {"item", "entry", "product", "offer", "shopitem"}
_FIELDS = 500  # children of an item that are read
_ROOTS = {"rss": "RSS", "feed": "Atom", "rdf:rdf": "RSS 1.0"}


def xml_feed(path: Path, notes: Notes) -> Source:
    """Direct children of each item, by their names without prefix; a prefixed name (g:id) wins over a plain one."""
    return Source((), _items(path, notes))


def _items(path: Path, notes: Notes) -> Iterator[tuple[int, RawRow]]:
    collector = _Collector(notes)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = collector.start
    parser.EndElementHandler = collector.end
    parser.CharacterDataHandler = collector.text
    parser.EntityDeclHandler = _no_entities
    try:
        with path.open("rb") as f:
            while block := f.read(_BLOCK):
                parser.Parse(block, False)
                yield from collector.take()
            parser.Parse(b"", True)
            yield from collector.take()
    except expat.ExpatError as e:
        yield from collector.take()
        hint = {
            "undefined entity": "write the character itself; only &amp; &lt; &gt; &quot; &apos; have names in XML",
            "no element found": "the file is cut off; fetch it again",
        }.get(expat.ErrorString(e.code), "mend the feed there")
        raise DataError(f"{path}: broken XML in line {e.lineno:,}: {expat.ErrorString(e.code)}; {hint}") from e
    except _EntityError as e:
        raise DataError(
            f"{path}: declares the entity '{e}'; a feed may not have its own, take the declaration out"
        ) from None
    except (ValueError, LookupError) as e:  # of an encoding that its first line names and nobody knows
        raise DataError(f"{path}: cannot be decoded: {e}; save it as UTF-8") from e
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e.strerror or e}") from e
    if not notes.records:
        raise DataError(f"{path}: XML, but no feed: <{collector.root}> holds no <item>, <entry> or <product>")


class _EntityError(Exception):
    pass


def _no_entities(name: str, *_: Any) -> None:
    raise _EntityError(name)


class _Collector:
    """The state between expat's calls: how deep, in which item, in which of its fields."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.root = ""
        self.depth = 0
        self.item_depth = 0  # 0: outside of an item
        self.name = ""
        self.fields: dict[str, str] = {}
        self.prefixed: set[str] = set()
        self.parts: list[str] = []
        self.length = 0
        self.long: str | None = None
        self.done: deque[RawRow] = deque()

    def take(self) -> Iterator[tuple[int, RawRow]]:
        while self.done:
            self.notes.records += 1
            yield self.notes.records, self.done.popleft()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth == 1:
            self.root = tag
            version = attributes.get("version", "")
            known = _ROOTS.get(tag.lower())
            self.notes.kind = f"{known} {version}".strip() if known else f"XML <{tag}>"
            self.notes.encoding = "XML"
        if not self.item_depth:
            if self.depth > 1 and _local(tag) in _ITEMS:
                self.item_depth = self.depth
                self.fields, self.prefixed, self.long = {}, set(), None
        elif self.depth == self.item_depth + 1:
            self.name = tag
            self.parts, self.length = [], 0
            if _local(tag) == "link" and "href" in attributes:  # Atom's
                self.text(attributes["href"])

    def text(self, text: str) -> None:
        if not self.item_depth or self.depth != self.item_depth + 1:
            return  # between fields, or inside one that has parts of its own, as g:shipping has a price
        self.length += len(text)
        if self.length > MAX_CELL:
            self.long = self.name
            return
        self.parts.append(text)

    def end(self, tag: str) -> None:
        if self.item_depth and self.depth == self.item_depth + 1:
            self._field(tag, "".join(self.parts).strip())
        elif self.depth == self.item_depth:
            row = dict(self.fields)
            if self.long:
                row[FAULT] = fault(_local(self.long), None, f"is longer than {MAX_CELL:,} characters")
            self.done.append(row)
            self.item_depth = 0
        self.depth -= 1

    def _field(self, tag: str, value: str) -> None:
        name = _local(tag)
        if not value or len(self.fields) >= _FIELDS:
            return
        prefixed = ":" in tag
        if name in self.fields and not (prefixed and name not in self.prefixed):
            return  # the first of several holds
        self.fields[name] = value
        if prefixed:
            self.prefixed.add(name)


def _local(tag: str) -> str:
    return tag.rsplit(":", 1)[-1].lower()
