"""One contract for every `PdpStore`: SQLite, and DynamoDB against a real dynalite."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from require import require
from servers import dynalite

from jobs.errors import DataError, MedalError, SettingsError, TransientError
from jobs.publish.dynamo_store import DynamoStore
from jobs.publish.sqlite_store import SqliteStore
from jobs.publish.store import ListedItem, ListRow, PdpStore, PointerMoved, ProductRow, SlotList, UnknownRelease


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    require("dynalite")
    with dynalite() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("dynamodb", marks=pytest.mark.dynamodb)])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PdpStore:
    made: PdpStore
    if request.param == "sqlite":
        made = SqliteStore(tmp_path / "store" / "pdp.sqlite")
    else:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        url = request.getfixturevalue("endpoint")
        made = DynamoStore(f"t{uuid.uuid4().hex[:10]}", region="eu-central-1", endpoint_url=url)
    assert made.init(), "the first init creates something"
    return made


def listed(item: str, score: int) -> ListedItem:
    return ListedItem(item, score, 300_000, score - 300_000)


def row(item: str, score: int = 500_000, *, slots: int = 2, places: int = 3) -> ListRow:
    return ListRow(
        item,
        tuple(
            SlotList(f"c{s}", tuple(listed(f"{item}-{s}-{p}", score - p) for p in range(places))) for s in range(slots)
        ),
    )


def product(item: str, **changes: object) -> ProductRow:
    base = ProductRow(
        item,
        f"Title {item}",
        "shoes",
        "women",
        "Sandals",
        "Brand",
        item,
        19.9,
        "EUR",
        "in_stock",
        True,
        f"/i/{item}.jpg",
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]  # fmt: skip


def publish(store: PdpStore, day: int, rows: list[ListRow], *, announce: bool = True) -> int:
    release = store.begin_release(f"2026-03-{day:02}-all-g1", f"2026-03-{day:02}", "m-1", f"hash-{day}")
    store.put_lists(release.number, rows)
    store.complete_release(release.number, lists=sum(len(r.slots) for r in rows), items=len(rows))
    if announce:
        now = store.pointer()
        store.move_pointer(release.number, now.revision if now else 0)
    return release.number


def test_init_again_creates_nothing_and_loses_nothing(store: PdpStore) -> None:
    publish(store, 1, [row("a")])
    assert store.init() == []
    assert store.get_lists("a", 1) == row("a").slots


def test_an_empty_store_announces_nothing(store: PdpStore) -> None:
    assert store.pointer() is None
    assert store.releases() == []
    assert store.release(1) is None
    assert store.get_lists("a", 1) == ()
    assert store.get_products(["a"]) == {}


def test_what_was_written_is_read(store: PdpStore) -> None:
    pinned = ListRow(
        "p", (SlotList("bags", (ListedItem("b1", None, None, None, "pinned"), ListedItem("b2", -7, 3, -10))),)
    )
    publish(store, 1, [row("a"), pinned])
    assert store.get_lists("a", 1) == row("a").slots
    assert store.get_lists("p", 1) == pinned.slots
    (release,) = store.releases()
    assert (release.number, release.state, release.lists, release.items) == (1, "complete", 3, 2)
    assert (release.run_id, release.run_date, release.model_version) == ("2026-03-01-all-g1", "2026-03-01", "m-1")
    assert release == store.release(1)


def test_putting_lists_again_changes_nothing(store: PdpStore) -> None:
    release = store.begin_release("2026-03-01-all-g1", "2026-03-01", "m-1", "h")
    rows = [row(f"i{n}") for n in range(60)]
    assert store.put_lists(release.number, rows) == 60
    assert store.put_lists(release.number, iter(rows)) == 60
    assert all(store.get_lists(r.item_id, release.number) == r.slots for r in rows)


def test_one_key_twice_in_a_batch_the_last_wins(store: PdpStore) -> None:
    release = store.begin_release("2026-03-01-all-g1", "2026-03-01", "m-1", "h")
    store.put_lists(release.number, [row("a", 1), row("b"), row("a", 2)])
    assert store.get_lists("a", release.number) == row("a", 2).slots


def test_a_release_in_writing_is_resumed_by_its_run(store: PdpStore) -> None:
    first = store.begin_release("2026-03-01-all-g1", "2026-03-01", "m-1", "h")
    store.put_lists(first.number, [row("a")])
    again = store.begin_release("2026-03-01-all-g1", "2026-03-01", "m-1", "h")
    assert again == first
    assert again.state == "writing"
    other = store.begin_release("2026-03-02-all-g1", "2026-03-02", "m-1", "h")
    assert other.number > first.number
    done = store.complete_release(first.number, lists=2, items=1)
    assert store.begin_release("2026-03-01-all-g1", "2026-03-01", "m-1", "h") == done
    assert store.complete_release(first.number, lists=2, items=1) == done


def test_a_run_cannot_have_two_contents(store: PdpStore) -> None:
    store.begin_release("2026-03-01-all-g1", "2026-03-01", "m-1", "h")
    with pytest.raises(DataError, match="--recompute"):
        store.begin_release("2026-03-01-all-g1", "2026-03-01", "m-1", "other")


def test_a_complete_release_takes_no_lists(store: PdpStore) -> None:
    number = publish(store, 1, [row("a")])
    with pytest.raises(UnknownRelease, match="complete"):
        store.put_lists(number, [row("a", 9)])
    with pytest.raises(UnknownRelease, match="unknown"):
        store.put_lists(number + 7, [row("a", 9)])
    assert store.get_lists("a", number) == row("a").slots


def test_readers_keep_the_old_release_until_the_pointer_moves(store: PdpStore) -> None:
    old = publish(store, 1, [row("a", 1000)])
    new = publish(store, 2, [row("a", 2000)], announce=False)
    pointer = store.pointer()
    assert pointer is not None
    assert pointer.release == old
    assert store.get_lists("a", pointer.release) == row("a", 1000).slots
    store.move_pointer(new, pointer.revision)
    moved = store.pointer()
    assert moved is not None
    assert (moved.release, moved.revision, moved.history) == (new, pointer.revision + 1, (old, new))
    assert store.get_lists("a", moved.release) == row("a", 2000).slots


def test_only_a_complete_release_is_announced(store: PdpStore) -> None:
    writing = store.begin_release("2026-03-01-all-g1", "2026-03-01", "m-1", "h").number
    with pytest.raises(UnknownRelease, match="incomplete"):
        store.move_pointer(writing, 0)
    with pytest.raises(UnknownRelease, match="there is none"):
        store.move_pointer(99, 0)
    with pytest.raises(UnknownRelease, match="there is none"):
        store.complete_release(99, lists=0, items=0)
    assert store.pointer() is None


def test_of_many_writers_with_one_revision_one_moves_the_pointer(store: PdpStore) -> None:
    numbers = [publish(store, day, [row("a", day)], announce=False) for day in range(1, 9)]
    barrier, won, lost = threading.Barrier(len(numbers)), [], []

    def move(number: int) -> None:
        barrier.wait()
        try:
            won.append(store.move_pointer(number, 0))
        except MedalError as e:
            lost.append(e)

    threads = [threading.Thread(target=move, args=(n,)) for n in numbers]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(won) == 1
    assert len(lost) == len(numbers) - 1
    assert all(isinstance(e, PointerMoved) and e.exit_code == 5 for e in lost)
    assert store.pointer() == won[0]
    assert won[0].revision == 1


def test_a_pointer_read_too_early_moves_nothing(store: PdpStore) -> None:
    first, second = publish(store, 1, [row("a")]), publish(store, 2, [row("a")], announce=False)
    third = publish(store, 3, [row("a")], announce=False)
    stale = store.pointer()
    assert stale is not None
    store.move_pointer(second, stale.revision)
    with pytest.raises(PointerMoved, match="somebody else"):
        store.move_pointer(third, stale.revision)
    with pytest.raises(PointerMoved):
        store.move_pointer(first, 0)
    now = store.pointer()
    assert now is not None
    assert now.release == second


def test_rollback_and_forward_again(store: PdpStore) -> None:
    old, new = publish(store, 1, [row("a", 1000)]), publish(store, 2, [row("a", 2000)])
    store.move_pointer(old, 2)
    pointer = store.pointer()
    assert pointer is not None
    assert (pointer.release, pointer.revision, pointer.history) == (old, 3, (old, new, old))
    assert store.get_lists("a", pointer.release) == row("a", 1000).slots
    assert store.move_pointer(new, 3).release == new


@pytest.mark.parametrize("item", ["a/b c", "мантия-№7", "靴#1", "🧥", "x" * 200, "a'b\"c;--", "?q=1&r=%2F", ".."])
def test_any_id_comes_back_as_it_went_in(store: PdpStore, item: str) -> None:
    publish(store, 1, [row(item), row("other")])
    store.put_products([product(item, title=f"⟨{item}⟩"), product("other")])
    assert store.get_lists(item, 1) == row(item).slots
    assert store.get_products([item])[item] == product(item, title=f"⟨{item}⟩")
    assert item in {p.item_id for p in store.browse(category="shoes", after=None, limit=10)}


def test_a_full_page_of_lists_fits(store: PdpStore) -> None:
    rows = [row(f"item-{n:05}", slots=10, places=24) for n in range(40)]
    publish(store, 1, rows)
    assert store.get_lists("item-00039", 1) == rows[39].slots


def test_the_overlay_is_a_full_sync_and_touches_no_list(store: PdpStore) -> None:
    number = publish(store, 1, [row("a")])
    assert store.put_products(product(i) for i in "abc") == sync(3, 0, 0)
    assert store.put_products(product(i) for i in "abc") == sync(0, 3, 0)
    new = product("b", price=9.5, in_stock=False, availability="out_of_stock", title=None, brand=None)
    assert store.put_products([product("a"), new, product("d")]) == sync(2, 1, 1)
    assert store.get_products(["a", "b", "c", "d", "b"]) == {"a": product("a"), "b": new, "d": product("d")}
    assert store.get_lists("a", number) == row("a").slots
    assert store.releases()[0].state == "complete"


def sync(written: int, unchanged: int, removed: int) -> object:
    from jobs.publish.store import ProductSync

    return ProductSync(written, unchanged, removed)


def test_an_empty_overlay_is_refused(store: PdpStore) -> None:
    store.put_products([product("a")])
    with pytest.raises(DataError, match="empty every page"):
        store.put_products([])
    assert set(store.get_products(["a"])) == {"a"}


def test_browsing_gives_every_product_once(store: PdpStore) -> None:
    made = [product(f"i{n:03}", category="shoes" if n % 3 else "bags") for n in range(70)]
    store.put_products(made)
    for category in (None, "shoes", "bags", "hats"):
        found: list[ProductRow] = []
        while page := store.browse(category=category, after=found[-1].item_id if found else None, limit=16):
            found += page
        want = [p for p in made if category in (None, p.category)]
        assert sorted(found, key=lambda p: p.item_id) == want


def test_many_products_are_read_at_once(store: PdpStore) -> None:
    made = [product(f"i{n:04}") for n in range(230)]
    store.put_products(made)
    ids = [p.item_id for p in made] + ["gone"]
    assert store.get_products(ids) == {p.item_id: p for p in made}


def test_pruning_keeps_the_announced_one_and_the_window(store: PdpStore) -> None:
    numbers = [publish(store, day, [row("a", day), row("b", day)]) for day in range(1, 9)]
    assert store.prune(keep=9) == []
    pointer = store.pointer()
    assert pointer is not None
    store.move_pointer(numbers[3], pointer.revision)  # a rollback four days back
    assert store.prune(keep=2) == numbers[:3]
    states = {r.number: r.state for r in store.releases()}
    assert [states[n] for n in numbers] == ["pruned"] * 3 + ["complete"] * 5
    assert store.get_lists("a", numbers[0]) == ()
    assert store.get_lists("b", numbers[3]) == row("b", 4).slots
    with pytest.raises(UnknownRelease, match="pruned"):
        store.move_pointer(numbers[0], pointer.revision + 1)
    assert store.prune(keep=2) == []


def test_a_pruned_release_is_written_again_by_its_run(store: PdpStore) -> None:
    numbers = [publish(store, day, [row("a", day)]) for day in range(1, 5)]
    assert store.prune(keep=1) == numbers[:2]
    again = store.begin_release("2026-03-01-all-g1", "2026-03-01", "m-1", "hash-1")
    assert (again.number, again.state) == (numbers[0], "writing")
    store.put_lists(again.number, [row("a", 1)])
    assert store.complete_release(again.number, lists=2, items=1).state == "complete"


def test_a_store_that_is_not_set_up_says_what_to_do(
    tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    for store in (
        SqliteStore(tmp_path / "none.sqlite"),
        DynamoStore("none", region="eu-central-1", endpoint_url=endpoint),
    ):
        with pytest.raises(SettingsError, match="medal store init"):
            store.pointer()
        with pytest.raises(SettingsError, match="medal store init"):
            store.put_products([product("a")])


def test_a_server_that_is_away_is_a_passing_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    away = DynamoStore("t", region="eu-central-1", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9.*store\.endpoint_url"):
        away.pointer()
