"""Photos by item id: from a folder of `<item_id>.jpg`, or from parquet files as on the Hugging Face hub."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

_BATCH = 64  # rows held at a time: under a megabyte of photos of the Polyvore download
_BUFFER = 1 << 20  # bytes read at a time; without it pyarrow takes a row group's column whole
_NEEDS = "needs item_id (string) and image (struct with bytes)"


class ImageSourceError(ValueError):
    """Photos whose layout is broken; the message names file, row group, row and key."""


class NoImage(OSError):
    """An item has no photo in its source; the message says what is wrong there."""


class ImageSource(Protocol):
    """Where photos come from. Reading in the order that `order` gives reads every file once."""

    @property
    def root(self) -> Path:
        """The folder or file it was opened from."""

    def read(self, item_id: str) -> bytes:
        """The encoded photo. Raises OSError where the item has none, ImageSourceError for a damaged file."""

    def missing(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Those of the ids that have no photo here."""

    def ids(self) -> tuple[str, ...]:
        """All items with a photo here, sorted."""

    def order(self, ids: Iterable[str]) -> list[str]:
        """The same ids in the order that is cheapest to read."""

    def where(self, item_id: str) -> str:
        """The place of an item's photo, for messages."""


def open_images(path: Path | ImageSource) -> ImageSource:
    """A folder of `<item_id>.jpg`, a parquet file, or a folder of `*.parquet`. What is open already is given back.

    Raises ImageSourceError: nothing there, both kinds in one folder, a broken parquet file (see ParquetImages).
    """
    if not isinstance(path, Path):
        return path
    if path.is_file() and path.suffix == ".parquet":
        return ParquetImages(path, [path])
    if not path.is_dir():
        found = "is no parquet file" if path.exists() else "no such file or folder"
        raise ImageSourceError(
            f"{path}: {found}; photos are a folder of <item_id>.jpg or of *.parquet, or one of these"
        )
    files = sorted(path.glob("*.parquet"))
    if files and (photo := next(path.glob("*.jpg"), None)):
        raise ImageSourceError(f"{path}: holds {files[0].name} and {photo.name}; which are the photos? Name one kind")
    return ParquetImages(path, files) if files else FolderImages(path)


class FolderImages:
    """`<root>/<item_id>.jpg`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, item_id: str) -> bytes:
        return self._path(item_id).read_bytes()

    def missing(self, ids: Iterable[str]) -> tuple[str, ...]:
        there = {p.name for p in self.root.iterdir()} if self.root.is_dir() else set()
        return tuple(i for i in ids if f"{i}.jpg" not in there)

    def ids(self) -> tuple[str, ...]:
        return tuple(sorted(p.stem for p in self.root.glob("*.jpg")))

    def order(self, ids: Iterable[str]) -> list[str]:
        return list(ids)

    def where(self, item_id: str) -> str:
        return str(self.root / f"{item_id}.jpg")

    def _path(self, item_id: str) -> Path:
        if "/" in item_id or "\0" in item_id:
            raise NoImage(f"{item_id!r} is no file name")
        return self.root / f"{item_id}.jpg"


class ParquetImages:
    """Columns `item_id` and `image: struct{bytes, path}` over one or more files; a few rows are in memory at a time.

    An item may stand in several files (one a split, on the hub) with the same bytes; then the first file's row counts.
    Raises ImageSourceError: not parquet, a column or field that is missing or of another type, an empty item_id, an
    item twice in one file, or in two files with other bytes.
    """

    def __init__(self, root: Path, files: Sequence[Path]) -> None:
        self.root = root
        self._files: list[tuple[Path, pq.ParquetFile]] = [(f, _open(f)) for f in files]
        self._groups: list[tuple[int, int]] = []  # file and row group of each block of rows
        self._starts: list[int] = []  # its first row, counted over all files
        self._rows: dict[str, int] = {}
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._block = -1
        self._held: tuple[int, Sequence[pa.Scalar]] = (0, ())  # first row and photos
        self._check_repeats(self._index())

    def read(self, item_id: str) -> bytes:
        if (row := self._rows.get(item_id)) is None:
            raise NoImage(f"no row has item_id {item_id}")
        if (data := self._at(row)) is None:
            raise NoImage("image.bytes is null; the photo itself must be in the file")
        return data

    def missing(self, ids: Iterable[str]) -> tuple[str, ...]:
        return tuple(i for i in ids if i not in self._rows)

    def ids(self) -> tuple[str, ...]:
        return tuple(sorted(self._rows))

    def order(self, ids: Iterable[str]) -> list[str]:
        return sorted(ids, key=lambda i: self._rows.get(i, -1))

    def where(self, item_id: str) -> str:
        row = self._rows.get(item_id)
        return f"{self.root}: {item_id}" if row is None else f"{self._place(row)}: {item_id}"

    def _index(self) -> dict[str, list[int]]:
        """Row by item id, from that column alone; gives the rows of items that stand in several files."""
        repeats: dict[str, list[int]] = {}
        total = 0
        for n, (path, file) in enumerate(self._files):
            in_file = total
            for group in range(file.num_row_groups):
                self._groups.append((n, group))
                self._starts.append(total)
                for row, item_id in enumerate(_ids(path, file, group), total):
                    if not item_id:
                        raise ImageSourceError(
                            f"{self._place(row)}: item_id is {'null' if item_id is None else 'empty'}"
                        )
                    first = self._rows.setdefault(item_id, row)
                    if first == row:
                        continue
                    last = repeats.setdefault(item_id, [first])[-1]
                    if last >= in_file:
                        raise ImageSourceError(
                            f"{self._place(row)}: item_id {item_id} stands twice, first in {self._place(last)}"
                        )
                    repeats[item_id].append(row)
                total += file.metadata.row_group(group).num_rows
        return repeats

    def _check_repeats(self, repeats: dict[str, list[int]]) -> None:
        seen: dict[str, bytes] = {}
        for row, item_id in sorted((row, i) for i, rows in repeats.items() for row in rows):
            digest = hashlib.sha256(self._at(row) or b"").digest()
            if seen.setdefault(item_id, digest) != digest:
                first = self._place(self._rows[item_id])
                raise ImageSourceError(f"{self._place(row)}: item_id {item_id} has another photo than in {first}")

    def _at(self, row: int) -> bytes | None:
        """Read on within the row group, or begin the one that holds the row."""
        block = bisect_right(self._starts, row) - 1
        n, group = self._groups[block]
        path, file = self._files[n]
        if block != self._block or row < self._held[0]:
            self._block, self._held = block, (self._starts[block], ())
            self._batches = file.iter_batches(_BATCH, row_groups=[group], columns=["image.bytes"], use_threads=False)
        try:
            while row >= self._held[0] + len(self._held[1]):
                start = self._held[0] + len(self._held[1])
                self._held = (start, next(self._batches).column(0).field("bytes"))
            data: bytes | None = self._held[1][row - self._held[0]].as_py()
        except (pa.ArrowException, OSError, StopIteration) as e:
            self._block = -1
            raise ImageSourceError(f"{path}: row group {group}: photos cannot be read: {_line(e)}") from e
        return data

    def _place(self, row: int) -> str:
        block = bisect_right(self._starts, row) - 1
        n, group = self._groups[block]
        return f"{self._files[n][0]}: row group {group}, row {row - self._starts[block]}"


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
    except (pa.ArrowException, OSError) as e:
        raise ImageSourceError(f"{path}: cannot be read as parquet: {_line(e)}") from e
    schema = file.schema_arrow
    for name in ("item_id", "image"):
        if schema.names.count(name) != 1:
            raise ImageSourceError(f"{path}: has no column {name}; {_NEEDS}, has {', '.join(schema.names)}")
    item_id, image = schema.field("item_id").type, schema.field("image").type
    if not (pa.types.is_string(item_id) or pa.types.is_large_string(item_id)):
        raise ImageSourceError(f"{path}: item_id is {item_id}; {_NEEDS}")
    data = image.field("bytes").type if pa.types.is_struct(image) and image.get_field_index("bytes") >= 0 else None
    if data is None or not (pa.types.is_binary(data) or pa.types.is_large_binary(data)):
        raise ImageSourceError(f"{path}: image is {image}; {_NEEDS}")
    return file


def _ids(path: Path, file: pq.ParquetFile, group: int) -> list[str | None]:
    try:
        ids: list[str | None] = file.read_row_group(group, columns=["item_id"], use_threads=False).column(0).to_pylist()
    except (pa.ArrowException, OSError) as e:
        raise ImageSourceError(f"{path}: row group {group}: item_id cannot be read: {_line(e)}") from e
    return ids


def _line(e: BaseException) -> str:
    return " ".join(str(e).split()) or type(e).__name__
