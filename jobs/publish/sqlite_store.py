"""The PDP store in one SQLite file: the embedded default.

WAL, so that readers never wait for the publisher; one connection a call, so that any thread may read; every
operation is one transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, fields, replace
from itertools import islice
from pathlib import Path

from jobs.errors import DataError, SettingsError, TransientError
from jobs.publish.store import (
    HISTORY,
    KEEP_RELEASES,
    ListRow,
    Pointer,
    PointerMoved,
    ProductRow,
    ProductSync,
    ReleaseInfo,
    SlotList,
    UnknownRelease,
    check_announceable,
    prunable,
    slots_from_json,
    slots_to_json,
)

_COLUMNS = tuple(f.name for f in fields(ProductRow))
_SCHEMA = """
create table if not exists releases (
  number integer primary key, run_id text not null unique, run_date text not null, model_version text not null,
  content_hash text not null, state text not null check (state in ('writing', 'complete', 'pruned')),
  lists integer not null default 0, items integer not null default 0);
create table if not exists lists (
  release integer not null, item_id text not null, slots text not null,
  primary key (release, item_id)) without rowid;
create table if not exists products (
  item_id text primary key, title text, category text not null, department text not null, product_type text,
  brand text, group_id text not null, price real, currency text, availability text not null,
  in_stock integer not null, image_uri text not null) without rowid;
create index if not exists products_by_category on products (category, item_id);
create table if not exists pointer (
  id integer primary key check (id = 1), release integer not null, revision integer not null, history text not null);
"""
_RELEASE = "select number, run_id, run_date, model_version, content_hash, state, lists, items from releases"
_BUSY_S = 15.0  # a publisher's longest transaction is its overlay sync: seconds
_CHUNK = 500  # below SQLite's oldest limit of 999 bound parameters


class SqliteStore:
    """`PdpStore` in a file. See jobs.publish.store for what the operations promise."""

    embedded = True

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def where(self) -> str:
        return f"SQLite {self.path}"

    @contextmanager
    def _open(self, *, write: bool = False, create: bool = False) -> Iterator[sqlite3.Connection]:
        if not create and not self.path.exists():
            raise SettingsError(f"store {self.path}: not there yet; run `medal store init` or `medal publish`")
        try:
            db = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
        except sqlite3.OperationalError as e:
            raise SettingsError(f"store {self.path}: cannot be opened: {e}; check store.path and its rights") from e
        try:
            db.execute("begin immediate" if write else "begin")
            yield db
            db.execute("commit")
        except sqlite3.OperationalError as e:
            if "no such table" in str(e):
                raise SettingsError(f"store {self.path}: {e}; run `medal store init`") from e
            raise TransientError(f"store {self.path}: {e}; is another writer at work? run the command again") from e
        except sqlite3.DatabaseError as e:
            raise DataError(f"store {self.path}: {e}; is this file an SQLite store of ours?") from e
        finally:
            db.close()  # rolls back what was not committed

    def init(self) -> list[str]:
        new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open(create=True) as db:
            db.execute("commit")
            db.execute("pragma journal_mode=wal")
            db.execute("begin immediate")
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
        return [str(self.path)] if new else []

    # --- releases ---------------------------------------------------------------------------------------------

    def begin_release(self, run_id: str, run_date: str, model_version: str, content_hash: str) -> ReleaseInfo:
        with self._open(write=True) as db:
            row = db.execute(f"{_RELEASE} where run_id = ?", (run_id,)).fetchone()
            if row:
                found = ReleaseInfo(*row)
                if (found.content_hash, found.model_version) != (content_hash, model_version):
                    raise DataError(
                        f"{run_id}: release {found.number} of this run has other lists; plan the date with --recompute"
                    )
                if found.state == "pruned":
                    db.execute("update releases set state = 'writing' where number = ?", (found.number,))
                    return replace(found, state="writing")
                return found
            (number,) = db.execute("select coalesce(max(number), 0) + 1 from releases").fetchone()
            new = ReleaseInfo(number, run_id, run_date, model_version, content_hash, "writing")
            db.execute("insert into releases values (?, ?, ?, ?, ?, ?, ?, ?)", astuple(new))
            return new

    def put_lists(self, release: int, rows: Iterable[ListRow]) -> int:
        written = 0
        source = iter(rows)
        while chunk := list(islice(source, 2000)):  # a transaction each: a reader's checkpoint need not wait for all
            with self._open(write=True) as db:
                self._must_be_writing(db, release)
                db.executemany(
                    "insert or replace into lists values (?, ?, ?)",
                    ((release, r.item_id, slots_to_json(r.slots)) for r in chunk),
                )
            written += len(chunk)
        return written

    @staticmethod
    def _must_be_writing(db: sqlite3.Connection, release: int) -> None:
        row = db.execute("select state from releases where number = ?", (release,)).fetchone()
        if row is None or row[0] != "writing":
            raise UnknownRelease(f"release {release}: {row[0] if row else 'unknown'}, so it takes no lists")

    def complete_release(self, release: int, *, lists: int, items: int) -> ReleaseInfo:
        with self._open(write=True) as db:
            row = db.execute(f"{_RELEASE} where number = ?", (release,)).fetchone()
            found = ReleaseInfo(*row) if row else None
            if found is not None and found.state == "writing":
                db.execute(
                    "update releases set state = 'complete', lists = ?, items = ? where number = ?",
                    (lists, items, release),
                )
                found = ReleaseInfo(*db.execute(f"{_RELEASE} where number = ?", (release,)).fetchone())
            return check_announceable(release, found)

    def release(self, number: int) -> ReleaseInfo | None:
        with self._open() as db:
            row = db.execute(f"{_RELEASE} where number = ?", (number,)).fetchone()
            return ReleaseInfo(*row) if row else None

    def releases(self) -> list[ReleaseInfo]:
        with self._open() as db:
            return [ReleaseInfo(*row) for row in db.execute(f"{_RELEASE} order by number")]

    # --- pointer ----------------------------------------------------------------------------------------------

    @staticmethod
    def _pointer(db: sqlite3.Connection) -> Pointer | None:
        row = db.execute("select release, revision, history from pointer where id = 1").fetchone()
        return Pointer(row[0], row[1], tuple(json.loads(row[2]))) if row else None

    def pointer(self) -> Pointer | None:
        with self._open() as db:
            return self._pointer(db)

    def move_pointer(self, to_release: int, expected_revision: int) -> Pointer:
        with self._open(write=True) as db:
            row = db.execute(f"{_RELEASE} where number = ?", (to_release,)).fetchone()
            check_announceable(to_release, ReleaseInfo(*row) if row else None)
            now = self._pointer(db)
            revision = now.revision if now else 0
            if revision != expected_revision:
                raise PointerMoved(
                    f"store {self.path}: the pointer is at revision {revision}, not {expected_revision}: somebody else "
                    "announced a release meanwhile; look at `medal releases`, then run the command again"
                )
            moved = Pointer(to_release, revision + 1, ((now.history if now else ()) + (to_release,))[-HISTORY:])
            db.execute(
                "insert or replace into pointer values (1, ?, ?, ?)",
                (moved.release, moved.revision, json.dumps(moved.history)),
            )
            return moved

    def prune(self, keep: int = KEEP_RELEASES) -> list[int]:
        with self._open(write=True) as db:
            gone = prunable([ReleaseInfo(*r) for r in db.execute(_RELEASE)], self._pointer(db), keep)
            for number in gone:
                db.execute("update releases set state = 'pruned' where number = ?", (number,))
                db.execute("delete from lists where release = ?", (number,))
            return gone

    # --- lists and products -----------------------------------------------------------------------------------

    def get_lists(self, item_id: str, release: int) -> tuple[SlotList, ...]:
        with self._open() as db:
            row = db.execute("select slots from lists where release = ? and item_id = ?", (release, item_id)).fetchone()
            return slots_from_json(row[0]) if row else ()

    def put_products(self, rows: Iterable[ProductRow]) -> ProductSync:
        marks = ", ".join("?" * len(_COLUMNS))
        with self._open(write=True) as db:
            (before,) = db.execute("select count(*) from products").fetchone()
            db.execute("create temp table tonight as select * from products where 0")
            db.execute("create unique index temp.tonight_id on tonight (item_id)")
            db.executemany(f"insert or replace into tonight values ({marks})", map(astuple, rows))
            (after,) = db.execute("select count(*) from tonight").fetchone()
            if not after:
                raise DataError("products: none to write; an empty overlay would empty every page")
            (same,) = db.execute(
                "select count(*) from (select * from products intersect select * from tonight)"
            ).fetchone()
            (stay,) = db.execute(
                "select count(*) from products where item_id in (select item_id from tonight)"
            ).fetchone()
            db.execute("insert or replace into products select * from tonight except select * from products")
            db.execute("delete from products where item_id not in (select item_id from tonight)")
            return ProductSync(written=after - same, unchanged=same, removed=before - stay)

    def get_products(self, item_ids: Sequence[str]) -> dict[str, ProductRow]:
        found: dict[str, ProductRow] = {}
        with self._open() as db:
            for start in range(0, len(item_ids), _CHUNK):
                ids = item_ids[start : start + _CHUNK]
                query = f"select {', '.join(_COLUMNS)} from products where item_id in ({', '.join('?' * len(ids))})"
                found |= {row[0]: _product(row) for row in db.execute(query, list(ids))}
        return found

    def browse(self, *, category: str | None, after: str | None, limit: int) -> list[ProductRow]:
        query = f"select {', '.join(_COLUMNS)} from products where item_id > ?"
        values: list[str | int] = [after or ""]
        if category is not None:
            query += " and category = ?"
            values.append(category)
        with self._open() as db:
            return [_product(row) for row in db.execute(f"{query} order by item_id limit ?", [*values, limit])]


def _product(row: tuple[object, ...]) -> ProductRow:
    values = dict(zip(_COLUMNS, row, strict=True))
    return ProductRow(**{**values, "in_stock": bool(values["in_stock"])})  # type: ignore[arg-type]
