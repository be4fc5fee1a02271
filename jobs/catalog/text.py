"""Files of text: their encoding, their lines, and rows between delimiters. Constant memory, whatever the size."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from jobs.catalog.rows import BAD_CELLS, FAULT, MAX_CELL, Notes, RawRow, Source, fault
from jobs.errors import DataError

_BLOCK = 1 << 20
_BOMS = (  # the longer first: the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH = re.compile(rb"[\x80-\xff]")
_UNDEFINED_1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_TITLES = 3  # lines above a header, such as the name of a sheet
_TSV_LINES = 200  # a tab-separated row with quoted line breaks is no longer than this
DELIMITERS = {",": "CSV", "\t": "TSV", ";": "CSV with semicolons", "|": "CSV with bars"}

csv.field_size_limit(MAX_CELL)


def open_text(path: Path, notes: Notes) -> io.TextIOWrapper:
    """A file of text, decoded as what it is. Raises DataError where that cannot be told.

    By its byte-order mark; else UTF-8 where it is that throughout; else, where no other text of several bytes a
    character is in it, Windows-1252. A few broken bytes in a UTF-8 file become U+FFFD and are counted.
    """
    encoding, errors = _encoding(path, notes)
    notes.encoding = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8 with BOM", "utf-16": "UTF-16", "cp1252": "Windows-1252"}[
        encoding
    ]
    return path.open(encoding=encoding, errors=errors, newline="")


def _encoding(path: Path, notes: Notes) -> tuple[str, str]:
    with path.open("rb") as f:
        head = f.read(4096)
        for mark, name in _BOMS:
            if head.startswith(mark):
                if name == "utf-32":
                    raise DataError(f"{path}: is UTF-32; save it as UTF-8")
                return name, "replace"
        if head.count(0) > len(head) // 4:
            raise DataError(f"{path}: looks like UTF-16 without a byte-order mark; save it as UTF-8")
        f.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        valid, good, high, undefined = True, 0, 0, False
        line, first_line = 1, 0
        while block := f.read(_BLOCK):
            if valid:
                try:
                    decoder.decode(block)
                except UnicodeDecodeError as e:
                    valid = False
                    first_line = line + block[: e.start].count(b"\n")
            line += block.count(b"\n")
            if not block.isascii():
                good += sum(map(len, _MULTIBYTE.findall(block)))
                high += len(_HIGH.findall(block))
                undefined = undefined or _UNDEFINED_1252.search(block) is not None
    if valid:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise DataError(f"{path}: ends in the middle of a character: the file is cut off; fetch it again") from None
        return "utf-8", "strict"
    if good > high - good:
        notes.said.append(
            f"{max(1, high - good):,} bytes are not UTF-8 and read as U+FFFD, the first in line {first_line:,}"
        )
        return "utf-8", "replace"
    if undefined:
        raise DataError(f"{path}: neither UTF-8 nor Windows-1252 (line {first_line:,}); save it as UTF-8")
    notes.said.append("not UTF-8, so read as Windows-1252; where letters look wrong, save it as UTF-8")
    return "cp1252", "strict"


def delimited(path: Path, notes: Notes) -> Source:
    """A CSV or TSV: delimiter by its header. Raises DataError (row) where quoting breaks the file.

    A row whose own quoting is odd costs at most itself.
    """
    lines = _lines(path, notes)
    try:
        first = next(lines, "")
        if re.fullmatch(r"sep=.\r?\n?", first):  # Excel's hint
            first = next(lines, "")
        above = 0
        while above < _TITLES and first and max(len(_header(first, d)) for d in DELIMITERS) < 2:
            first, above = next(lines, ""), above + 1  # a title above the header
        mark = max(DELIMITERS, key=lambda d: len(_header(first, d)))
    except csv.Error as e:
        raise DataError(f"{path}: broken header: {e}; check the quoting there") from e
    if above:
        notes.said.append(f"lines above the header, passed over: {above}")
    notes.kind = DELIMITERS[mark]
    names = tuple(_header(first, mark))
    cells = _tab_rows(lines) if mark == "\t" else _csv_rows(path, lines, mark, notes)
    return Source(names, _records(names, cells, notes))


def _header(line: str, mark: str) -> list[str]:
    """The header's names; a delimiter at its end makes none."""
    names = [h.strip() for h in next(csv.reader([line], delimiter=mark), [])]
    while names and not names[-1]:
        names.pop()
    return names


def _lines(path: Path, notes: Notes) -> Iterator[str]:
    """Lines of bounded length. NULs make the csv module give up on a file; as U+FFFD they cost only their own row."""
    try:
        with open_text(path, notes) as f:
            while line := f.readline(2 * MAX_CELL):
                yield line.replace("\0", "\ufffd")
    except UnicodeDecodeError as e:
        raise DataError(f"{path}: not {notes.encoding} ({e.reason}); save it as UTF-8") from e
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e.strerror or e}") from e


def _records(names: tuple[str, ...], rows: Iterator[list[str] | str], notes: Notes) -> Iterator[tuple[int, RawRow]]:
    width = len(names)
    for cells in rows:
        if not cells:
            continue
        notes.records += 1
        if isinstance(cells, str):
            yield notes.records, {FAULT: fault("row", None, cells)}
            continue
        out = {h: v for h, c in zip(names, cells, strict=False) if h and (v := c.strip())}
        if not out and not any(c.strip() for c in cells):
            notes.records -= 1
            notes.counts["rows that are blank, passed over"] += 1
            continue
        if len(cells) < width or any(c.strip() for c in cells[width:]):
            out[BAD_CELLS] = f"{len(cells)} cells where the header has {width}"
        yield notes.records, out


def _csv_rows(path: Path, lines: Iterator[str], mark: str, notes: Notes) -> Iterator[list[str] | str]:
    """Cells of each row, or why they cannot be told."""
    held: list[str] = []

    def told() -> Iterator[str]:
        for line in lines:
            held.append(line)
            yield line

    strict = csv.reader(told(), delimiter=mark, strict=True)
    row = 0
    while True:
        row += 1
        held.clear()
        try:
            yield next(strict)
        except StopIteration:
            return
        except csv.Error as e:
            if "unexpected end of data" in str(e) or "limit" in str(e):
                where = f"{path}: broken CSV near data row {row}"
                raise DataError(f"{where}: a quote is opened and never closed ({e}); check the quoting there") from e
            try:  # such as: "Best" shirt,… - a quote where none belongs
                again = list(csv.reader(held, delimiter=mark))
            except csv.Error:
                again = []
            if len(again) == 1:
                notes.counts["rows with quotes where none belong, read without them"] += 1
                yield again[0]
            else:
                yield f"its quoting is broken ({e})"


def _tab_rows(lines: Iterator[str]) -> Iterator[list[str] | str]:
    """Tab-separated rows: quotes are mostly meant as they stand (5" heel), some writers quote as in a CSV."""
    for line in lines:
        if '"' not in line:
            yield _split(line)
            continue
        held = [line]
        while (cells := _quoted(held)) is None and len(held) < _TSV_LINES and _opens(held):
            if (more := next(lines, None)) is None:
                break
            held.append(more)
        if cells is not None:
            yield cells
        else:  # no quoting after all: each line is a row, its quotes are text
            yield from map(_split, held)


def _split(line: str) -> list[str]:
    text = line.rstrip("\r\n")
    return text.split("\t") if text else []


def _quoted(lines: list[str]) -> list[str] | None:
    """Cells of one row quoted as in a CSV; None where it is not."""
    try:
        rows = list(csv.reader(lines, delimiter="\t", strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def _opens(lines: list[str]) -> bool:
    """Whether the last cell of the first line begins with a quote that is not closed in it, as with a line break."""
    cell = lines[0].rstrip("\r\n").rsplit("\t", 1)[-1]
    return cell.startswith('"') and cell.count('"') % 2 == 1
