"""Each planted fault is blocked by the check that is about it, and failed is told apart from crashed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import clean_night as f
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from jobs.quality.aggregates import Frame, catalog_accounts, catalog_products, vector_rows, vector_spread
from jobs.quality.gate import FrameSource, run_gate
from jobs.quality.lists import list_frames
from jobs.quality.recall import exact_frame
from jobs.quality.suites import Check, gate_values, load_suites
from jobs.quality.verdict import Verdict
from jobs.settings import Settings

Rows = list[dict[str, Any]]
CLEAN = f.products()
CLEAN_LISTS = f.lists(CLEAN)
VALUES = gate_values(Settings(), f.TAXONOMY)


def frames_of(products: Rows, lists: Rows, **counts: int) -> dict[str, FrameSource]:
    active = f.active(products)
    both = cache(
        lambda: list_frames(
            active, lambda c: f.lists_table(lists, c),
            categories=f.CATEGORIES, taxonomy=f.TAXONOMY, weights=f.weights, k=f.K,
        )
    )  # fmt: skip
    said = {"rows": len(CLEAN) + 2, "rejected": 2, "eligible": len(CLEAN)} | counts
    return {
        "products": lambda: catalog_products(active),
        "accounts": lambda: catalog_accounts(active, said, 2),
        "vectors": lambda: vector_rows(active),
        "spread": lambda: vector_spread(active),
        "lists": lambda: both()[0],
        "categories": lambda: both()[1],
        "recall": exact_frame,
    }


def gate(
    products: Rows = CLEAN,
    lists: Rows = CLEAN_LISTS,
    checks: tuple[Check, ...] | None = None,
    docs: Path | None = None,
    **counts: int,
) -> Verdict:
    return run_gate(checks or load_suites(), frames_of(products, lists, **counts), VALUES, docs)


def names(results: Any) -> set[str]:
    return {r.name for r in results}


def test_a_clean_night_passes_every_check_and_leaves_data_docs(tmp_path: Path) -> None:
    verdict = gate(docs=tmp_path / "docs")
    assert [r for r in verdict.results if r.outcome != "passed"] == []
    assert not verdict.blocked
    assert verdict.docs == str(tmp_path / "docs" / "index.html")
    assert (tmp_path / "docs" / "index.html").is_file()
    assert len(list((tmp_path / "docs" / "validations").rglob("*.html"))) == 7  # a page a suite and frame


@pytest.mark.parametrize(
    ("share", "places", "new", "faults"),
    [
        (0.34, (1,), True, {}),  # K = 3: one place, now and then two
        (0.34, (1, 2), True, {}),
        (0.34, (0, 1, 2), True, {"over_explored": 1}),
        (0.34, (1,), False, {"explored_not_new": 1}),
        (0.01, (1, 2), True, {"over_explored": 1}),
        (0.0, (1,), True, {"over_explored": 1}),
    ],
)
def test_explored_entries_are_counted(share: float, places: tuple[int, ...], new: bool, faults: dict[str, int]) -> None:
    lists = copy.deepcopy(CLEAN_LISTS)
    assert f.K == 3
    for place in places:
        full(lists)["items"][place]["reason"] = "explore"
    active = f.active(CLEAN)
    active = active.append_column("new", pa.array([new] * len(active)))
    frame, _ = list_frames(
        active, lambda c: f.lists_table(lists, c), categories=f.CATEGORIES, taxonomy=f.TAXONOMY, weights=f.weights,
        k=f.K, explore=share,
    )  # fmt: skip
    found = {n: int(frame.data[n].iloc[0]) for n in ("over_explored", "explored_not_new", "unknown_reasons")}
    assert {n: v for n, v in found.items() if v} == faults


# --- planted faults ---------------------------------------------------------------------------------------------


def full(lists: Rows, category: str = "tops") -> dict[str, Any]:
    """The first full list from an adults' page of a category."""
    women = {p["item_id"] for p in CLEAN if p["department"] == "women"}
    return next(r for r in lists if r["source_category"] == category and r["size"] == f.K and r["item_id"] in women)


def vectors(change: Callable[[int, np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> Callable[[Rows, Rows], None]:
    def plant(products: Rows, lists: Rows) -> None:
        for n, p in enumerate(products):
            if p["vector"] is not None:
                p["vector"] = change(n, p["vector"])

    return plant


def entry(place: int, **changes: Any) -> Callable[[Rows, Rows], None]:
    def plant(products: Rows, lists: Rows) -> None:
        row = full(lists)
        row["items"][place] |= {k: v(row, products) if callable(v) else v for k, v in changes.items()}

    return plant


def other(**wanted: Any) -> Callable[[dict[str, Any], Rows], str]:
    """The id of some product of the list's target category with these properties, not in the list yet."""

    def find(row: dict[str, Any], products: Rows) -> str:
        listed = {e["item_id"] for e in row["items"]}
        properties = {"category": row["target_category"]} | wanted
        return next(
            str(p["item_id"])
            for p in products
            if p["item_id"] not in listed and all(p[k] == v for k, v in properties.items())
        )

    return find


def drop_lists(products: Rows, lists: Rows) -> None:
    lists[:] = [r for r in lists if r["source_category"] != "shoes"]


def drop_row(products: Rows, lists: Rows) -> None:
    lists.remove(full(lists))


def double_row(products: Rows, lists: Rows) -> None:
    lists.append(copy.deepcopy(full(lists)))


def no_lists(products: Rows, lists: Rows) -> None:
    lists.clear()


def row(**changes: Any) -> Callable[[Rows, Rows], None]:
    return lambda products, lists: full(lists).update(changes)


def rising(products: Rows, lists: Rows) -> None:
    full(lists)["items"].reverse()


def too_long(products: Rows, lists: Rows) -> None:
    r = full(lists)
    r["items"].append(r["items"][-1] | {"item_id": other(in_stock=True, department="women")(r, products)})
    r["size"] = len(r["items"])


def never(products: Rows, lists: Rows) -> None:
    r = full(lists)
    r["items"][0]["item_id"] = next(p["item_id"] for p in products if p["category"] == "underwear")


def half_empty(products: Rows, lists: Rows) -> None:
    for r in lists:
        if r["source_category"] == "shoes" and r["size"]:
            r["items"] = r["items"][:1]
            r["size"] = 1


def variant(r: dict[str, Any], products: Rows) -> str:
    """The other variant of the group of the list's first product."""
    first = next(p for p in products if p["item_id"] == r["items"][0]["item_id"])
    return next(
        p["item_id"] for p in products if p["group_id"] == first["group_id"] and p["item_id"] != first["item_id"]
    )


def twin(products: Rows, lists: Rows) -> None:
    products.append(copy.deepcopy(products[0]))


FAULTS: dict[str, tuple[Callable[[Rows, Rows], None], str]] = {
    "one vector for all": (vectors(lambda n, z: CLEAN[0]["vector"]), "embeddings.not_collapsed_distinct"),
    "vectors on a point, but for noise": (
        vectors(lambda n, z: _unit(CLEAN[0]["vector"] + 1e-3 * z)), "embeddings.not_collapsed_visual"),
    "two vectors for all": (vectors(lambda n, z: CLEAN[n % 2]["vector"]), "embeddings.not_collapsed_rank"),
    "wrong dimension": (vectors(lambda n, z: z[:64] if n == 3 else z), "embeddings.dimension"),
    "NaN": (vectors(lambda n, z: np.where(np.arange(128) == n, np.nan, z)), "embeddings.finite"),
    "infinity": (vectors(lambda n, z: np.where(np.arange(128) == n, np.inf, z)), "embeddings.finite"),
    "norm": (vectors(lambda n, z: z * (1.002 if n == 5 else 1)), "embeddings.unit_norm"),
    "vectors lost": (
        vectors(lambda n, z: None if n % 2 else z),  # type: ignore[arg-type,return-value]
        "embeddings.vector_share"),
    "a product twice": (twin, "catalog.item_id_unique"),
    "a category of no taxonomy": (lambda p, _: p[0].update(category="capes"), "catalog.categories_known"),
    "a product without state": (lambda p, _: p[0].update(state=None), "catalog.every_product_has_a_state"),
    "no products at all": (lambda p, _: p.clear(), "catalog.products_exist"),
    "self in a list": (entry(0, item_id=lambda r, _: r["item_id"]), "complements.no_self"),
    "unknown id": (entry(1, item_id="nobody-000"), "complements.ids_eligible"),
    "sold-out target": (entry(2, item_id=other(in_stock=False, department="women")), "complements.targets_in_stock"),
    "target without vector": (
        entry(0, item_id=lambda r, ps: next(p["item_id"] for p in ps if p["vector"] is None)),
        "complements.targets_have_vectors"),
    "child with adult": (
        entry(0, item_id=other(in_stock=True, department="girls")), "complements.children_apart_from_adults"),
    "department": (entry(0, item_id=other(in_stock=True, department="girls")), "complements.departments_kept"),
    "never pair": (never, "complements.never_pairs_at_zero"),
    "other category in a list": (
        entry(0, item_id=lambda r, ps: next(
            p["item_id"] for p in ps if p["category"] not in (r["target_category"], r["source_category"]))),
        "complements.target_category_kept"),
    "missing category": (drop_lists, "complements.no_category_missing"),
    "low coverage in one category": (half_empty, "complements.category_coverage"),
    "no lists": (no_lists, "complements.lists_exist"),
    "missing row": (drop_row, "complements.every_slot_has_a_row"),
    "row twice": (double_row, "complements.key_unique"),
    "row of a slot that is not planned": (row(target_category="underwear"), "complements.only_planned_rows"),
    "slot": (row(slot=7), "complements.slots_in_order"),
    "size": (row(size=2), "complements.size_is_length"),
    "longer than k": (too_long, "complements.at_most_k"),
    "empty without reason": (row(items=[], size=0), "complements.empty_has_reason"),
    "feasible made smaller": (row(feasible=0), "complements.feasible_recounted"),
    "no hash": (row(list_hash=""), "complements.hash_present"),
    "duplicate": (entry(1, item_id=lambda r, _: r["items"][0]["item_id"]), "complements.no_duplicates"),
    "two of a group": (entry(1, item_id=variant), "complements.one_a_group"),
    "rising scores": (rising, "complements.scores_in_order"),
    "score over its bound": (entry(0, score=3_000_000, visual=3_000_000, colour=0), "complements.scores_bounded"),
    "score of other vectors": (
        entry(0, score=lambda r, _: r["items"][0]["score"] + 9, colour=lambda r, _: r["items"][0]["colour"] + 9),
        "complements.scores_recomputed"),
    "parts": (entry(0, visual=lambda r, _: r["items"][0]["visual"] + 1), "complements.parts_add_up"),
    "no score": (entry(0, score=None), "complements.scores_present"),
    "no score, though not by the model alone": (entry(0, score=None, reason="boost"), "complements.scores_present"),
    "a reason nobody knows": (entry(0, reason="pinned"), "complements.reasons_known"),
    "explored, but not new": (entry(0, reason="explore"), "complements.explored_are_new"),
    "explored, but exploration is off": (entry(0, reason="explore"), "complements.explored_within_share"),
}  # fmt: skip


def _unit(z: Any) -> Any:
    return (z / np.linalg.norm(z)).astype(np.float32)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_blocked_by_its_check(fault: str) -> None:
    plant, check = FAULTS[fault]
    products, lists = copy.deepcopy(CLEAN), copy.deepcopy(CLEAN_LISTS)
    plant(products, lists)
    of_suite = tuple(c for c in load_suites() if c.suite == check.split(".")[0])  # a third of the time of all
    verdict = gate(products, lists, of_suite)
    assert verdict.blocked
    assert check in names(verdict.failed)
    assert verdict.crashed == ()
    assert "crashed" not in verdict.line()


def test_rows_that_went_missing_block() -> None:
    assert "catalog.rows_accounted" in names(gate(rows=len(CLEAN) + 3).failed)
    assert "catalog.snapshot_complete" in names(gate(rows=len(CLEAN) + 3, eligible=len(CLEAN) + 1).failed)


def test_the_message_names_offenders_and_the_line_says_what_failed() -> None:
    products, lists = copy.deepcopy(CLEAN), copy.deepcopy(CLEAN_LISTS)
    drop_lists(products, lists)
    verdict = gate(products, lists)
    missing = next(r for r in verdict.failed if r.check == "no_category_missing")
    assert "shoes" in missing.message
    assert "complements.no_category_missing" in verdict.line()
    assert "nothing was published" in verdict.line()


# --- checks that give no answer ---------------------------------------------------------------------------------

GOOD = Check("catalog", "products_exist", "", "products", "expect_table_row_count_to_be_between", "critical",
             {"min_value": 1})  # fmt: skip
MAX = "expect_column_max_to_be_between"
MISSPELT = {
    "expectation": (("products", "expect_column_values_to_be_uniqe", {"column": "item_id"}),
                    "meant expect_column_values_to_be_unique?"),
    "absent column": (("lists", MAX, {"column": "self_in_lst", "max_value": 0}), "meant self_in_list?"),
    "argument": (("lists", MAX, {"column": "self_in_list", "max_value": 0, "mximum": 0}), "mximum"),
    "no bound at all": (("lists", MAX, {"column": "self_in_list"}), "min_value"),
    "threshold": (("lists", "expect_column_min_to_be_between", {"column": "coverage", "min_value": "$min_cov"}),
                  "no threshold '$min_cov'"),
    "frame": (("list", MAX, {"column": "self_in_list", "max_value": 0}), "no frame 'list'"),
    "a column with nulls": (("nulls", MAX, {"column": "a", "max_value": 0}), "nulls"),
}  # fmt: skip


def verdict_with(check: Check, **frames: FrameSource) -> Verdict:
    return run_gate((GOOD, check), frames_of(CLEAN, CLEAN_LISTS) | frames, VALUES)


@pytest.mark.parametrize("severity", ["critical", "warning"])
@pytest.mark.parametrize("case", MISSPELT)
def test_a_misspelt_check_counts_as_crashed_and_blocks(case: str, severity: Any) -> None:
    (frame, expectation, kwargs), said = MISSPELT[case]
    check = Check("complements", "odd", "", frame, expectation, severity, kwargs)
    verdict = verdict_with(check, nulls=lambda: Frame(pd.DataFrame({"a": [0.0, None]})))
    assert names(verdict.crashed) == {"complements.odd"}
    assert verdict.blocked
    assert verdict.failed == ()
    assert said in verdict.crashed[0].message
    assert "crashed" in verdict.line()
    assert "failed" not in verdict.line()


def test_a_check_that_crashes_inside_great_expectations_blocks_whatever_its_severity() -> None:
    check = Check("catalog", "odd", "", "products", MAX, "warning", {"column": "item_id", "max_value": 3})
    verdict = verdict_with(check)
    assert names(verdict.crashed) == {"catalog.odd"}
    assert verdict.blocked
    assert verdict.results[0].outcome == "passed"


def test_figures_that_cannot_be_computed_crash_their_checks() -> None:
    def broken() -> Frame:
        raise ZeroDivisionError("no products")

    check = Check("complements", "odd", "", "lists", MAX, "warning", {"column": "self_in_list", "max_value": 0})
    verdict = verdict_with(check, lists=broken)
    assert names(verdict.crashed) == {"complements.odd"}
    assert "ZeroDivisionError: no products" in verdict.crashed[0].message


def test_a_failed_warning_does_not_block() -> None:
    check = Check("catalog", "in_stock", "Stock.", "accounts", "expect_column_min_to_be_between", "warning",
                  {"column": "in_stock_share", "min_value": 1})  # fmt: skip
    verdict = verdict_with(check)
    assert names(verdict.warnings) == {"catalog.in_stock"}
    assert not verdict.blocked
    assert "1 warning (catalog.in_stock)" in verdict.line()


def test_an_empty_frame_blocks_although_most_checks_pass_on_it() -> None:
    verdict = gate([], [], rows=2, eligible=0)
    assert {"catalog.products_exist", "embeddings.vectors_exist", "complements.lists_exist"} <= names(verdict.failed)
    assert next(r for r in verdict.results if r.name == "embeddings.unit_norm").outcome == "passed"


def test_a_gate_without_results_blocks() -> None:
    assert Verdict(()).blocked


def test_a_verdict_survives_its_file() -> None:
    verdict = verdict_with(Check("catalog", "odd", "", "nowhere", MAX, "warning", {}))
    assert Verdict.from_json(verdict.to_json()) == verdict
