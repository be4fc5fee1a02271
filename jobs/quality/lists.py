"""Aggregates of the complement lists: every rule a list must keep, counted once over all lists of a run.

Pure: products and lists come as Arrow tables, masks by a function. Works through one source category at a time,
so memory follows the largest category.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.embed.newcomers import NEW
from jobs.quality.aggregates import EXAMPLES, Frame, matrix
from jobs.quality.concentration import Concentration, Targets
from schemas.tables import EMBEDDING_DIM, REASONS, UNSCORED, VISUAL_DIM
from schemas.taxonomy import Taxonomy

MICRO = 1_000_000
# |Σ w x y| ≤ max(w)·|x|·|y|, and norms may be off by 1e-3 each (schemas/suites/embeddings.yaml).
_BOUND_SLACK = 1.0021
_RESCORED = 500  # entries a source category whose score is computed again
_SCALE = 2.0**20  # the exact rule, design section 5

Weights = Callable[[str, str], npt.NDArray[np.float32]]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

# What is counted over rows (a product × target category) and over entries (a product in a list).
ROW_FAULTS = (
    "duplicate_rows", "missing_rows", "unplanned_rows", "wrong_slot", "size_off", "over_k", "unexplained_empty",
    "without_hash", "feasible_off", "over_explored",
)  # fmt: skip
ENTRY_FAULTS = (
    "unknown_ids", "self_in_list", "sold_out", "without_vector", "wrong_category", "department_broken",
    "ages_mixed", "never_pairs", "own_group", "duplicates", "repeated_groups", "without_score", "out_of_order",
    "over_bound", "parts_off", "rescored_off", "unknown_reasons", "explored_not_new",
)  # fmt: skip


@dataclass(frozen=True)
class Products:
    """The products of a run as arrays, aligned; -1 stands for an unknown name."""

    ids: pd.Index
    category: Ints  # in taxonomy order
    department: Ints
    group: Ints
    in_stock: Bools
    has_vector: Bools
    vectors: npt.NDArray[np.float32]  # sound ones only
    vector_row: Ints  # -1 where a product has no sound vector
    new: Bools  # may be explored


@dataclass
class Faults:
    """Counts by fault and a few examples of each."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROW_FAULTS + ENTRY_FAULTS, 0))
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, mask: Bools, describe: Callable[[int], str]) -> None:
        where = np.flatnonzero(mask)
        self.counts[name] += len(where)
        shown = self.examples.setdefault(name, [])
        shown.extend(describe(int(i)) for i in where[: max(0, EXAMPLES - len(shown))])


def products_of(active: pa.Table, taxonomy: Taxonomy) -> Products:
    """The arrays the rules are checked on, from `active_products`; of an id that stands twice, the first."""
    active = active.filter(pa.array(~active["item_id"].to_pandas().duplicated().to_numpy()))
    has = active["vector"].is_valid().to_numpy().astype(bool)
    z, sound = matrix(active)
    row = np.full(active.num_rows, -1, dtype=np.int64)
    row[np.flatnonzero(has)[sound]] = np.arange(len(z))
    return Products(
        ids=pd.Index(active["item_id"].to_pandas()),
        category=pd.Index(taxonomy.categories).get_indexer(active["category"].to_pandas()).astype(np.int64),
        department=pd.Index(list(taxonomy.departments)).get_indexer(active["department"].to_pandas()).astype(np.int64),
        group=pd.factorize(active["group_id"].to_pandas())[0].astype(np.int64),
        in_stock=active["in_stock"].to_numpy().astype(bool),
        has_vector=has,
        vectors=z,
        vector_row=row,
        new=active[NEW].to_numpy().astype(bool) if NEW in active.column_names else np.zeros(active.num_rows, bool),
    )


def list_frames(
    active: pa.Table,
    lists: Callable[[str], pa.Table],
    *,
    categories: Sequence[str],
    taxonomy: Taxonomy,
    weights: Weights,
    k: int,
    explore: float = 0.0,
) -> tuple[Frame, Frame]:
    """The frames `lists` (one row: faults over all lists) and `categories` (one row a source category).

    lists: the rows of `complements` for a source category. categories: the source categories of the run.
    Coverage is filled ÷ feasible, 1 where nothing is feasible; `concentration.FIGURES` stand in the first frame too.
    explore: share of the places that is for new products.
    """
    p = products_of(active, taxonomy)
    rules = _Rules(p, taxonomy, weights, k, explore)
    faults = Faults()
    rows = []
    for category in categories:
        of_category = p.category == taxonomy.categories.index(category)
        if not taxonomy.targets[category] or not of_category.any():
            continue
        table = lists(category).combine_chunks()
        entries = rules.check(category, np.flatnonzero(of_category), table, faults)
        filled, feasible = (int(pc.sum(table[c]).as_py() or 0) for c in ("size", "feasible"))
        rows.append(
            {
                "category": category,
                "products": int(of_category.sum()),
                "planned": int(of_category.sum()) * len(taxonomy.targets[category]),
                "rows": table.num_rows,
                "entries": entries,
                "filled": filled,
                "feasible": feasible,
                "coverage": filled / feasible if feasible else 1.0,
                "missing": int(table.num_rows == 0),
            }
        )
    columns = ["category", "products", "planned", "rows", "entries", "filled", "feasible", "coverage", "missing"]
    by = pd.DataFrame(rows, columns=columns)
    filled, feasible = int(by["filled"].sum()), int(by["feasible"].sum())
    total = {
        "rows": int(by["rows"].sum()),
        "entries": int(by["entries"].sum()),
        "filled": filled,
        "feasible": feasible,
        "coverage": filled / feasible if feasible else 1.0,
        **rules.shown.figures(),
        **faults.counts,
    }
    lowest = by.sort_values("coverage").head(3)
    shown = {
        "missing": list(by.loc[by["missing"] > 0, "category"]),
        "coverage": [f"{c} {v:.3f}" for c, v in zip(lowest["category"], lowest["coverage"], strict=True)],
    }
    return Frame(pd.DataFrame([total]), {**faults.examples, "coverage": shown["coverage"]}), Frame(by, shown)


class _Rules:
    """The rules of lists, applied to one source category at a time."""

    def __init__(self, p: Products, taxonomy: Taxonomy, weights: Weights, k: int, explore: float) -> None:
        self.p, self.t, self.weights, self.k = p, taxonomy, weights, k
        self.explored = min(int(explore * k + 1), k - 1) if explore else 0  # in a list, at most
        departments, categories = list(taxonomy.departments), taxonomy.categories
        self.allowed = np.array([[b in taxonomy.matrix[a] for b in departments] for a in departments])
        self.ages = np.array([taxonomy.departments[d][1] == "child" for d in departments])
        self.never = np.array([[(a, b) in taxonomy.never for b in categories] for a in categories])
        able = p.in_stock & p.has_vector
        self.shown = Concentration(Targets(p.category, p.department, able, self.allowed), len(categories))

    def check(self, category: str, members: Ints, table: pa.Table, faults: Faults) -> int:
        """Count the faults of a source category's rows and of their entries. Returns the number of entries."""
        p, targets = self.p, self.t.targets[category]
        source = p.ids.get_indexer(table["item_id"].to_pandas()).astype(np.int64)
        target = pd.Index(self.t.categories).get_indexer(table["target_category"].to_pandas()).astype(np.int64)
        ids, names = table["item_id"], table["target_category"]

        def row(i: int) -> str:
            return f"{ids[i].as_py()} × {names[i].as_py()}"

        slots = pd.Index(targets).get_indexer(names.to_pandas())
        planned = np.isin(source, members) & (slots >= 0)
        key = source * len(self.t.categories) + target
        faults.add("unplanned_rows", ~planned, row)
        faults.add("duplicate_rows", _repeats(key), row)
        wanted = (members[:, None] * len(self.t.categories)
                  + np.array([self.t.categories.index(t) for t in targets])).ravel()  # fmt: skip
        absent = wanted[~np.isin(wanted, key)]
        n = len(self.t.categories)
        faults.add(
            "missing_rows",
            np.ones(len(absent), dtype=bool),
            lambda i: f"{p.ids[absent[i] // n]} × {self.t.categories[absent[i] % n]}",
        )
        lengths = pc.fill_null(pc.list_value_length(table["items"]), 0).to_numpy().astype(np.int64)
        size = table["size"].to_numpy()
        explained = table["empty_reason"].is_valid().to_numpy().astype(bool)
        faults.add("size_off", size != lengths, row)
        faults.add("over_k", lengths > self.k, row)
        faults.add("unexplained_empty", (lengths == 0) != explained, row)
        faults.add("wrong_slot", planned & (table["slot"].to_numpy() != slots), row)
        hashed = pc.fill_null(pc.greater(pc.utf8_length(table["list_hash"]), 0), False).to_numpy().astype(bool)
        faults.add("without_hash", ~hashed, row)
        faults.add("feasible_off", self._feasible_off(source, target, table["feasible"].to_numpy()), row)
        self._entries(category, source, target, np.repeat(np.arange(table.num_rows), lengths), table, faults)
        return int(lengths.sum())

    def _feasible_off(self, source: Ints, target: Ints, said: npt.NDArray[np.int32]) -> Bools:
        """Where `feasible` is not min(k, groups that could fill the list), counted again from the products.

        A group can: a member in stock, with a vector, of a department the page may show. The page's own cannot.
        """
        p = self.p
        off = np.zeros(len(source), dtype=bool)
        known = (source >= 0) & (target >= 0)
        for t in np.unique(target[known]):
            pool = p.in_stock & p.has_vector & (p.category == t)
            for d in np.unique(p.department[source[known]]):
                groups = np.unique(p.group[pool & self.allowed[d][p.department]])
                rows = known & (target == t) & (p.department[source] == d)
                right = np.minimum(self.k, len(groups) - np.isin(p.group[source], groups))
                off |= rows & (said != right)
        return off

    def _entries(
        self, category: str, source: Ints, target: Ints, parent: Ints, table: pa.Table, faults: Faults
    ) -> None:
        p = self.p
        fields = pc.list_flatten(table["items"]).combine_chunks()
        ids = pc.struct_field(fields, "item_id")
        x, y = source[parent], p.ids.get_indexer(ids.to_pandas()).astype(np.int64)
        known = y >= 0
        both = known & (x >= 0)
        page = np.where(source >= 0, p.department[source], -1)
        self.shown.add(page, target, np.bincount(parent, minlength=len(source)), y)
        owners, names = table["item_id"], table["target_category"]

        def entry(i: int) -> str:
            return f"{owners[int(parent[i])].as_py()} → {ids[i].as_py()} ({names[int(parent[i])].as_py()})"

        def add(name: str, mask: Bools) -> None:
            faults.add(name, mask, entry)

        add("unknown_ids", ~known)
        add("self_in_list", both & (x == y))
        add("sold_out", known & ~p.in_stock[y])
        add("wrong_category", known & (p.category[y] != target[parent]))
        add("department_broken", both & ~self.allowed[p.department[x], p.department[y]])
        add("ages_mixed", both & (self.ages[p.department[x]] != self.ages[p.department[y]]))
        shown = np.where(known, p.category[y], target[parent])
        c = self.t.categories.index(category)
        add("never_pairs", self.never[c, shown] | self.never[c, target[parent]])
        add("own_group", both & (x != y) & (p.group[x] == p.group[y]))
        add("duplicates", _repeats(parent * (len(p.ids) + 1) + y) & known)
        add("repeated_groups", _repeats(parent * (len(p.ids) + 1) + p.group[y]) & known)
        score, visual, colour = (
            pc.struct_field(fields, f).to_numpy(zero_copy_only=False).astype(np.float64)
            for f in ("score", "visual", "colour")
        )
        scored = np.isfinite(score) & np.isfinite(visual) & np.isfinite(colour)
        reason = pc.struct_field(fields, "reason")

        def is_in(*names: str) -> Bools:
            return pc.is_in(reason, value_set=pa.array(names)).to_numpy(zero_copy_only=False).astype(bool)

        by_model, explored = is_in("model"), is_in("explore")
        add("unknown_reasons", ~is_in(*REASONS))
        add("without_score", ~is_in(*UNSCORED) & ~scored)
        add("explored_not_new", known & explored & ~p.new[y])
        over = np.bincount(parent[explored], minlength=table.num_rows) > self.explored
        faults.add("over_explored", over, lambda i: f"{owners[i].as_py()} × {names[i].as_py()}")
        add("without_vector", known & ~p.has_vector[y] & scored)  # what a merchandiser put there needs none
        # Boosted and buried entries keep the model's score and stand elsewhere; what is left must be in order.
        at = np.flatnonzero(by_model)
        off = np.zeros(len(parent), dtype=bool)
        off[at] = _out_of_order(parent[at], score[at], ids.take(pa.array(at)))
        add("out_of_order", off)
        add("parts_off", scored & (visual + colour != score))
        largest = np.zeros(len(self.t.categories))
        for t in np.unique(target[parent]):
            largest[t] = float(np.max(self.weights(category, self.t.categories[t])))
        add("over_bound", scored & (np.abs(score) > largest[target[parent]] * MICRO * _BOUND_SLACK + 1))
        add("rescored_off", self._rescored_off(category, x, y, target[parent], score, visual, scored & both))

    def _rescored_off(
        self, category: str, x: Ints, y: Ints, target: Ints, score: npt.NDArray[np.float64],
        visual: npt.NDArray[np.float64], usable: Bools,
    ) -> Bools:  # fmt: skip
        """Where, in a regular sample, stored scores are not those of tonight's vectors and masks.

        By the exact rule of design section 5; one micro-unit is allowed for the last rounding.
        """
        p = self.p
        off = np.zeros(len(x), dtype=bool)
        usable = usable & (p.vector_row[x] >= 0) & (p.vector_row[y] >= 0)
        where = np.flatnonzero(usable)
        where = where[:: max(1, -(-len(where) // _RESCORED))]
        for t in np.unique(target[where]):
            at = where[target[where] == t]
            w = self.weights(category, self.t.categories[t]).astype(np.float64)
            assert w.shape == (EMBEDDING_DIM,)
            q = np.rint(_SCALE * (w * p.vectors[p.vector_row[x[at]]].astype(np.float64)))
            terms = q * np.rint(_SCALE * p.vectors[p.vector_row[y[at]]].astype(np.float64))
            for part, said in ((terms, score[at]), (terms[:, :VISUAL_DIM], visual[at])):
                exact = part.sum(axis=1) / _SCALE / _SCALE * MICRO
                off[at] |= np.abs(exact - said) > 1.5
        return off


def _repeats(keys: Ints) -> Bools:
    """True where a key stood earlier already."""
    return np.asarray(pd.Series(keys).duplicated().to_numpy(), dtype=bool)


def _out_of_order(parent: Ints, score: npt.NDArray[np.float64], ids: pa.Array) -> Bools:
    """Entries that should stand before the one above them: order is (-score, item_id); unscored ones are free."""
    off = np.zeros(len(parent), dtype=bool)
    if len(parent) < 2:
        return off
    same = parent[1:] == parent[:-1]
    off[1:] = same & (score[1:] > score[:-1])
    ties = np.flatnonzero(same & (score[1:] == score[:-1]))
    if len(ties):
        upper, lower = ids.take(pa.array(ties)), ids.take(pa.array(ties + 1))
        off[ties + 1] |= pc.greater(upper, lower).to_numpy(zero_copy_only=False).astype(bool)
    return off
