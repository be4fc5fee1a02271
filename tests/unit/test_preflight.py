"""Catalogues that are valid and yet cannot be meant stop before anything is embedded; a flag lets a person go on."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.cli import run
from jobs.errors import SettingsError
from jobs.lake import Lake
from jobs.preflight import CHECKS, accepted

Row = dict[str, str]
N = 100


def shop() -> list[Row]:
    return [
        {"item_id": f"i{n:03d}", "category": "tops", "image": f"{n:03d}.jpg", "price": f"{20 + n}.00",
         "currency": "EUR", "availability": "in_stock" if n % 5 else "out_of_stock"}
        for n in range(N)
    ]  # fmt: skip


def changed(share: float, **values: str | Callable[[Row], str]) -> Callable[[list[Row]], list[Row]]:
    """The first `share` of the rows with other values."""

    def change(rows: list[Row]) -> list[Row]:
        few = round(share * N)
        return [
            {**r, **{k: v(r) if callable(v) else v for k, v in values.items()}} if n < few else r
            for n, r in enumerate(rows)
        ]

    return change


def times(factor: float) -> Callable[[Row], str]:
    return lambda r: f"{float(r['price']) * factor:.2f}"


def moved(r: Row) -> str:
    return f"new-{r['image']}"


# what happened → the catalogue of the second night, the checks that stop it
NIGHTS: dict[str, tuple[Callable[[list[Row]], list[Row]], set[str]]] = {
    "nothing": (lambda rows: rows, set()),
    "feed cut off": (lambda rows: rows[:40], {"departed"}),
    "a season ends": (lambda rows: rows[30:], set()),
    "one more than may": (lambda rows: rows[31:], {"departed"}),
    "all others": (changed(1.0, item_id=lambda r: "x" + r["item_id"]), {"departed"}),
    "stock did not arrive": (changed(1.0, availability="out_of_stock"), {"sold_out"}),
    "half sold out": (changed(0.5, availability="out_of_stock"), set()),
    "prices in cents": (changed(1.0, price=times(100)), {"prices"}),
    "prices divided": (changed(0.2, price=times(0.01)), {"prices"}),
    "a sale": (changed(1.0, price=times(0.3)), set()),
    "another currency": (changed(1.0, price=times(11), currency="SEK"), set()),
    "no prices": (changed(1.0, price=""), set()),
    "images moved": (changed(1.0, image=moved), {"images"}),
    "images gone": (changed(1.0, image="none.jpg"), {"images"}),
    "half reshot": (changed(0.5, image=moved), set()),
    "all at once": (
        lambda rows: changed(1.0, price=times(100), availability="out_of_stock", image=moved)(rows[:40]), set(CHECKS)
    ),
}  # fmt: skip


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for n in range(N):  # no image is read by a plan
        for name in (f"{n:03d}.jpg", f"new-{n:03d}.jpg"):
            (tmp_path / name).write_bytes(b"x" * (1 + name.startswith("new")))
    return tmp_path


def plan(house: Path, teacher: Path, rows: list[Row], day: int, *more: str) -> int:
    path = house / f"{day}.csv"
    with path.open("w", newline="") as f:
        writer = csv.DictWriter(f, fieldnames=list(shop()[0]))
        writer.writeheader()
        writer.writerows(rows)
    return run(["plan", "--catalog", str(path), "--teacher", str(teacher), "--run-date", f"2026-01-{day:02d}", *more])


@pytest.mark.parametrize("night", NIGHTS)
def test_nights(house: Path, teacher_dir: Path, night: str, capsys: pytest.CaptureFixture[str]) -> None:
    change, checks = NIGHTS[night]
    assert plan(house, teacher_dir, shop(), 1) == 0
    capsys.readouterr()
    rows = change(shop())
    code = plan(house, teacher_dir, rows, 2)
    told = capsys.readouterr().err.splitlines()[-1]
    runs = [str(r) for r in Lake("var/lake").runs()]
    if not checks:
        assert code == 0 and runs == ["2026-01-01-all-g1", "2026-01-02-all-g1"]
        return
    assert code == 4 and runs == ["2026-01-01-all-g1"], "nothing was planned"
    flag = ",".join(c for c in CHECKS if c in checks)
    assert "unlike the catalogue of 2026-01-01" in told and f"--accept {flag} if it is meant" in told
    assert plan(house, teacher_dir, rows, 2, "--dry-run") == 4
    if len(checks) > 1:
        assert plan(house, teacher_dir, rows, 2, "--accept", next(iter(checks))) == 4, "one of several is not all"
    capsys.readouterr()
    assert plan(house, teacher_dir, rows, 2, "--accept", flag) == 0
    assert capsys.readouterr().err.count("unlike the catalogue of 2026-01-01, accepted:") == len(checks)
    assert plan(house, teacher_dir, rows, 2) == 0, "the plan is there: nothing new to judge"
    assert plan(house, teacher_dir, rows, 3) == 0, "the next night is judged by what was accepted"


def test_a_small_or_first_catalogue_is_not_judged(house: Path, teacher_dir: Path) -> None:
    assert plan(house, teacher_dir, shop()[:49], 5) == 0
    assert plan(house, teacher_dir, shop()[:3], 6) == 0
    assert plan(house, teacher_dir, shop(), 1) == 0, "no earlier date"


@pytest.mark.parametrize(
    ("text", "names"),
    [(None, set()), ("", set()), ("prices", {"prices"}), (" sold-out , images", {"sold_out", "images"}),
     ("all", set(CHECKS)), ("prices,all", set(CHECKS))],
)  # fmt: skip
def test_what_may_be_accepted(text: str | None, names: set[str]) -> None:
    assert accepted(text) == names


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SettingsError, match="--accept price: choose from departed, sold_out, prices, images, or all"):
        accepted("price")
