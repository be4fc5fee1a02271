"""Data files of lists: what a task leaves behind, and digests that say what rows hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lists_world import MODEL, draw_products, table, unit

from jobs.complements import emit, write
from jobs.complements.emit import Near, Rows, Slot
from jobs.complements.finish import Lists
from jobs.complements.gallery import Gallery, galleries
from jobs.complements.hashing import Digest, as_text, lanes_of
from jobs.complements.write import Writer, read_reports, report
from jobs.errors import TransientError
from jobs.lake import Lake
from schemas.tables import TABLES
from schemas.taxonomy import load_taxonomy

SLOT = Slot("tops", "bags", 1, MODEL, 0)
K, DEPTH = 2, 3


@pytest.fixture(scope="module")
def world() -> dict[str, Gallery]:
    return galleries(draw_products(200, 5), load_taxonomy())


def near_of(n: int) -> Near:
    rows = np.tile(np.array([[2, 0, -1]]), (n, 1))
    score = np.tile(np.array([[900, 800, 0]], np.int32), (n, 1))
    return Near(rows, score, score // 2, np.full(n, 800, np.int32))


def lists_of(n: int) -> Lists:
    rows, score = np.tile(np.array([[2, 0]]), (n, 1)), np.tile(np.array([[900, 800]], np.int32), (n, 1))
    full, yes = np.full(n, 2, np.int32), np.ones(n, np.bool_)
    return Lists(rows, score, score // 2, np.zeros((n, K), np.int8), full, full, yes, ~yes)


def both(world: dict[str, Gallery], pages: Any, slot: Slot = SLOT, near: Near | None = None,
         lists: Lists | None = None) -> tuple[Rows, Rows]:  # fmt: skip
    source, target, n = world["tops"], world["bags"], len(pages)
    lists = lists or lists_of(n)
    return (
        emit.candidates(slot, source, target, pages, near or near_of(n)),
        emit.complements(slot, source, target, pages, lists, emit.lanes(lists, target)),
    )


def test_files_read_back_are_the_rows(world: dict[str, Gallery], tmp_path: Path) -> None:
    lake, pages = Lake(str(tmp_path)), np.arange(8)
    writer = Writer(lake, "model/with: odd#name")
    for rows in both(world, pages):
        writer.add(rows)
    writer.add(emit.removed("complements", SLOT, pa.array(["gone"])))
    files = writer.close()
    assert sorted(f.table for f in files) == ["candidates", "complements"]
    for file in files:
        path = Path(lake.uri(file.table)) / file.path
        assert path.parent.parent.name == "model_version=model_with__odd_name", "nothing in a path needs escaping"
        assert file.size == path.stat().st_size
        got = pq.read_table(pa.memory_map(str(path)))
        stored = [f for f in TABLES[file.table].schema if f.name not in TABLES[file.table].partition_by]
        assert got.schema.names == [f.name for f in stored]
        assert got.cast(pa.schema(stored)).num_rows == file.rows == got.num_rows
        ids = got["item_id"].to_pylist()
        assert (file.least, file.greatest) == (min(ids), max(ids))
    near, made = (pq.read_table(pa.memory_map(str(Path(lake.uri(f.table)) / f.path))).to_pylist() for f in files)
    bags = world["bags"].ids.to_pylist()
    assert near[0]["neighbour_ids"] == [bags[2], bags[0]]
    assert (near[0]["scores"], near[0]["visuals"], near[0]["horizon"]) == ([900, 800], [450, 400], 800)
    assert [(i["item_id"], i["score"], i["visual"], i["colour"], i["reason"]) for i in made[0]["items"]] == [
        (bags[2], 900, 450, 450, "model"), (bags[0], 800, 400, 400, "model"),
    ]  # fmt: skip
    assert (made[-1]["item_id"], made[-1]["removed"], made[-1]["items"]) == ("gone", True, [])
    assert not list(tmp_path.rglob("*.parquet.*")), "nothing half written is left"


def test_a_file_that_has_grown_is_followed_by_another(
    world: dict[str, Gallery], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "FILE_BYTES", 10)
    monkeypatch.setattr(write, "ROW_GROUP", 4)
    writer, pages = Writer(Lake(str(tmp_path)), MODEL), np.arange(4)
    for _ in range(3):
        writer.add(both(world, pages)[0])
    files = writer.close()
    assert [f.rows for f in files] == [4, 4, 4]
    assert len({f.path for f in files}) == 3


def test_what_a_failed_task_began_is_gone(world: dict[str, Gallery], tmp_path: Path) -> None:
    writer = Writer(Lake(str(tmp_path)), MODEL)
    writer.add(both(world, np.arange(4))[0])
    writer.abandon()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_no_room_is_a_passing_fault(world: dict[str, Gallery], tmp_path: Path) -> None:
    (tmp_path / "tables").write_text("not a folder")
    with pytest.raises(TransientError, match=r"table candidates: a file could not be written under .*; make room"):
        Writer(Lake(str(tmp_path)), MODEL).add(both(world, np.arange(4))[0])


def test_reports_come_back_as_they_went(world: dict[str, Gallery], tmp_path: Path) -> None:
    writer = Writer(Lake(str(tmp_path)), MODEL)
    for rows in both(world, np.arange(4)):
        writer.add(rows)
    files = writer.close()
    did = emit.Figures(planned=4, search_s=0.5)
    got, together = read_reports([report(files, did), report([], did)])
    assert got == files
    assert (together.planned, together.search_s) == (8, 1.0)


def _with(change: Callable[[Near, Lists], None]) -> tuple[Near, Lists]:
    near, lists = near_of(4), lists_of(4)
    change(near, lists)
    return near, lists


def _set(of: str, name: str, at: Any, value: int) -> Callable[[Near, Lists], None]:
    def change(near: Near, lists: Lists) -> None:
        getattr(near if of == "near" else lists, name)[at] = value

    return change


CHANGES = {  # what differs, and in which tables
    "a neighbour": (_set("near", "rows", (1, 0), 1), "candidates"),
    "a neighbour less": (_set("near", "rows", (1, 1), -1), "candidates"),
    "a score": (_set("near", "score", (3, 1), 799), "candidates"),
    "a visual part": (_set("near", "visual", (3, 1), 399), "candidates"),
    "a horizon": (_set("near", "horizon", 2, 799), "candidates"),
    "an entry": (_set("lists", "rows", (1, 0), 1), "complements"),
    "an entry's score": (_set("lists", "score", (0, 1), 801), "complements"),
    "an entry's reason": (_set("lists", "reason", (0, 1), 3), "complements"),
    "feasible": (_set("lists", "feasible", 0, 1), "complements"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_digest_tells_every_column_apart(what: str, world: dict[str, Gallery]) -> None:
    change, which = CHANGES[what]
    pages = np.arange(4)
    before, after = both(world, pages), both(world, pages, near=_with(change)[0], lists=_with(change)[1])
    differ = [a.table for a, b in zip(before, after, strict=True) if a.content != b.content]
    assert differ == [which]


@pytest.mark.parametrize("slot", [replace(SLOT, written=1), replace(SLOT, slot=2), replace(SLOT, target="belts")])
def test_a_digest_covers_what_rows_share(slot: Slot, world: dict[str, Gallery]) -> None:
    pages = np.arange(4)
    before, after = both(world, pages), both(world, pages, slot)
    assert before[1].content != after[1].content
    assert (before[0].content != after[0].content) == (slot.slot == SLOT.slot), "candidates have no place on a page"


def test_a_digest_is_of_rows_whatever_their_order_and_cut(world: dict[str, Gallery]) -> None:
    whole = both(world, np.arange(8))
    for table_, rows in enumerate(whole):
        parts = [both(world, np.array(p))[table_].content for p in ([7, 1], [0, 2, 3], [6, 5, 4])]
        assert sum(parts, Digest()) == rows.content
        assert sum([*parts, parts[0]], Digest()) != rows.content, "a row twice is not a row once"
    other = emit.removed("complements", SLOT, world["tops"].ids.slice(0, 8))
    assert other.content != whole[1].content


def test_hashes_as_text_and_back() -> None:
    lanes = np.random.default_rng(0).integers(0, 2**64, (50, 2), dtype=np.uint64)
    text = as_text(lanes)
    assert text[0].as_py() == f"{int(lanes[0, 0]):016x}{int(lanes[0, 1]):016x}"
    assert np.array_equal(lanes_of(text), lanes)
    assert np.array_equal(lanes_of(text.slice(7, 5)), lanes[7:12])
    assert lanes_of(pa.array([], pa.string())).shape == (0, 2)
    with pytest.raises(ValueError, match="32 digits"):
        lanes_of(pa.array(["ab"]))


def test_names_are_ordered_by_bytes_in_the_files_ends(tmp_path: Path) -> None:
    ids = ["é", "z", "Z"]
    products = table(ids, ["tops"] * 3, ["women"] * 3, ids, [1] * 3, [unit(np.ones((1, 128)))[0]] * 3)
    source = galleries(products, load_taxonomy())
    writer = Writer(Lake(str(tmp_path)), MODEL)
    nothing = Near(np.full((3, 1), -1), *(np.zeros((3, 1), np.int32) for _ in range(2)), np.zeros(3, np.int32))
    writer.add(emit.candidates(SLOT, source["tops"], source["bags"], np.arange(3), nothing))
    (file,) = writer.close()
    assert (file.least, file.greatest) == ("Z", "é")
