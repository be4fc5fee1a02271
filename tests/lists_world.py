"""A drawn world of products for the tests of lists, and the oracle they are measured by.

The oracle shares no code with `jobs.complements`: plain loops over products, sums of Python integers.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.lake import NO_TABLE, Lake
from jobs.lease import Lease
from jobs.runs import Inputs, Manifest, RunId, RunPlan
from jobs.settings import ListSettings, Settings, SparkSettings
from jobs.stage import StageContext
from schemas.slot_order import SlotOrder
from schemas.taxonomy import Taxonomy, load_taxonomy

ROOT = Path(__file__).resolve().parent.parent
MODEL = "drawn-0123456789ab"
Vectors = npt.NDArray[np.float32]
PRODUCTS = pa.schema(
    [
        ("item_id", pa.string()),
        ("category", pa.string()),
        ("department", pa.string()),
        ("group_id", pa.string()),
        ("in_stock", pa.bool_()),
        ("vector", pa.list_(pa.float32())),
    ]
)


def unit(a: npt.NDArray[Any]) -> Vectors:
    return np.ascontiguousarray(a / np.linalg.norm(a, axis=-1, keepdims=True), dtype=np.float32)


def draw_weights(seed: int = 0) -> Callable[[str, str], Vectors]:
    """Masks as a teacher has them: unordered pairs, positive, mean 1."""

    def weights(source: str, target: str) -> Vectors:
        name = "\n".join(sorted((source, target))).encode()
        rng = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name).digest()[:4], "big")])
        w = np.log1p(np.exp(rng.normal(0.5, 1.0, 128)))
        return np.asarray(w / w.mean(), dtype=np.float32)

    return weights


def draw_products(n: int, seed: int = 0, *, taxonomy: Taxonomy | None = None, ties: float = 0.1) -> pa.Table:
    """Products over all categories and departments: groups that cross categories, sold out, without a vector.

    A share `ties` of the vectors is a copy of another one, or a copy with one value moved by the smallest step.
    """
    t = taxonomy or load_taxonomy()
    rng = np.random.default_rng(seed)
    # A few styles, so that neighbours are near, as in a real embedding.
    z = unit(rng.normal(size=(8, 128))[rng.integers(0, 8, n)] + 0.9 * rng.normal(size=(n, 128)))
    for i in np.flatnonzero(rng.random(n) < ties):
        z[i] = z[rng.integers(0, n)]
        if rng.random() < 0.5:
            d = rng.integers(0, 128)
            z[i, d] = np.nextafter(z[i, d], np.float32(1))
    ids = [f"p{rng.integers(0, 10**9):09d}-{i}" for i in range(n)]
    categories = rng.choice(list(t.categories), n)
    departments = rng.choice(["women", "men", "unisex", "girls", "boys", "kids"], n, p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.05])
    groups = [f"g{rng.integers(0, max(1, n // 2))}" if rng.random() < 0.6 else i for i in ids]
    stock = rng.random(n) < 0.8
    has = rng.random(n) < 0.97
    return table(ids, categories, departments, groups, stock, [v if h else None for v, h in zip(z, has, strict=True)])


def table(ids: Any, categories: Any, departments: Any, groups: Any, stock: Any, vectors: Any) -> pa.Table:
    columns = [list(ids), list(categories), list(departments), list(groups), [bool(s) for s in stock], list(vectors)]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, PRODUCTS, strict=True)], schema=PRODUCTS)


# --- the oracle -----------------------------------------------------------------------------------------------


def half_even(x: Fraction) -> int:
    return round(x)  # Python rounds fractions half to even


def exact_score(w: Vectors, x: Vectors, y: Vectors) -> tuple[int, int]:
    """Score and visual part in micro-units, by the words of design section 5, in Python integers."""
    q = [half_even(Fraction(float(a)) * Fraction(float(b)) * 2**20) for a, b in zip(w, x, strict=True)]
    v = [half_even(Fraction(float(b)) * 2**20) for b in y]
    total = sum(a * b for a, b in zip(q, v, strict=True))
    visual = sum(a * b for a, b in zip(q[:96], v[:96], strict=True))
    return half_even(Fraction(total * 10**6, 2**40)), half_even(Fraction(visual * 10**6, 2**40))


def exact_scores(w: Vectors, x: Vectors, ys: Vectors) -> tuple[list[int], list[int]]:
    """`exact_score` of x with many y: int64 sums, and Python integers for the last rounding."""
    # Python's floats hold the product of two float32 exactly, and its round() goes half to even.
    q = np.array([round(float(a) * float(b) * 2**20) for a, b in zip(w, x, strict=True)])
    v = np.rint(ys.astype(np.float64) * 2**20).astype(np.int64)
    terms = q.astype(np.int64) * v

    def micro(sums: npt.NDArray[np.int64]) -> list[int]:
        out = []
        for s in sums.tolist():
            whole, rest = divmod(s * 15625, 2**34)
            out.append(whole + (rest > 2**33 or (rest == 2**33 and whole % 2 == 1)))
        return out

    return micro(terms.sum(axis=1)), micro(terms[:, :96].sum(axis=1))


@dataclass(frozen=True)
class Expected:
    """What the tables must hold for one product × target category."""

    slot: int
    neighbours: list[tuple[str, int, int]] | None  # id, score, visual; None without a vector
    horizon: int | None
    items: list[tuple[str, int, int]]
    feasible: int
    empty_reason: str | None
    level: str | None  # whose vector asked


def oracle(
    products: pa.Table,
    weights: Callable[[str, str], Vectors],
    taxonomy: Taxonomy,
    categories: Any,
    *,
    k: int,
    depth: int,
) -> dict[tuple[str, str], Expected]:
    """Lists by brute force: (item_id, target) → what must be there."""
    rows = products.to_pylist()
    by_category: dict[str, list[dict[str, Any]]] = {}
    for r in rows:
        if r["vector"] is not None:
            by_category.setdefault(r["category"], []).append(r)
    for own in by_category.values():
        own.sort(key=lambda r: r["item_id"].encode())
    vectors = {c: np.array([r["vector"] for r in rs], dtype=np.float32) for c, rs in by_category.items()}
    out = {}
    for x in rows:
        if x["category"] not in categories:
            continue
        for slot, target in enumerate(taxonomy.targets[x["category"]]):
            possible = [
                (i, y)
                for i, y in enumerate(by_category.get(target, []))
                if y["department"] in taxonomy.matrix[x["department"]] and y["group_id"] != x["group_id"]
            ]
            able = {y["group_id"] for _, y in possible if y["in_stock"]}
            feasible = min(k, len(able))
            level, asks = asking(x, by_category.get(x["category"], []))
            if asks is None:
                out[x["item_id"], target] = Expected(slot, None, None, [], feasible, "no_vector", None)
                continue
            ranked: list[tuple[int, str, int, dict[str, Any]]] = []
            if possible:
                w, q = weights(x["category"], target), asks
                scores, visuals = exact_scores(w, q, vectors[target][[i for i, _ in possible]])
                ranked = sorted(
                    ((-s, y["item_id"], v, y) for s, v, (_, y) in zip(scores, visuals, possible, strict=True)),
                    key=lambda r: r[:2],
                )
            seen: set[str] = set()
            items = []
            for minus, item, visual, y in ranked:
                if y["in_stock"] and y["group_id"] not in seen and len(items) < k:
                    seen.add(y["group_id"])
                    items.append((item, -minus, visual))
            out[x["item_id"], target] = Expected(
                slot,
                [(i, -s, v) for s, i, v, _ in ranked[:depth]],
                -ranked[depth][0] if len(ranked) > depth else -(2**31),
                items,
                feasible,
                None if items else "no_target",
                level,
            )
    return out


def asking(x: dict[str, Any], own: list[dict[str, Any]]) -> tuple[str | None, Vectors | None]:
    """Whose vector asks for a page's lists, and the vector: its own, a variant's, or a mean's direction."""
    if x["vector"] is not None:
        return "product", np.array(x["vector"], dtype=np.float32)
    for y in own:
        if y["group_id"] == x["group_id"]:
            return "group", np.array(y["vector"], dtype=np.float32)
    kind = x.get("product_type")
    for level, members in (
        ("product_type", [y for y in own if kind and (y.get("product_type") or "").lower() == kind.lower()]),
        ("category", own),
    ):
        if members:
            total = np.zeros(128)
            for y in members:
                total = total + np.array(y["vector"], dtype=np.float32).astype(np.float64)
            return level, (total / float(np.sqrt((total * total).sum()))).astype(np.float32)
    return None, None


_MASK = 2**64 - 1


def _mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def published_hash(items: list[tuple[str, int | None, int | None, str]]) -> str:
    """The words of jobs/complements/hashing.py, in Python integers. Entries: id, score, visual, reason."""
    a, b = 1, 2
    for item, score, visual, reason in items:
        digest = hashlib.sha256(item.encode()).digest()
        value = _MASK
        if score is not None and visual is not None:
            value = ((score & 0xFFFFFFFF) << 32) | (visual & 0xFFFFFFFF)
        number = ["model", "pin", "list", "boost", "bury", "explore"].index(reason)
        for word in (int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little"), value, number):
            a, b = _mix(a ^ word), _mix((b + word) & _MASK)
    return f"{a:016x}{b:016x}"


def assert_equal(candidates: pa.Table, complements: pa.Table, expected: dict[tuple[str, str], Expected]) -> None:
    """Both tables hold exactly what the oracle says: every id, score, part, horizon, reason and hash."""
    found = {(r["item_id"], r["target_category"]): r for r in candidates.to_pylist()}
    assert len(found) == candidates.num_rows, "a key stands twice in candidates"
    assert set(found) == {key for key, e in expected.items() if e.neighbours is not None}
    for key, r in found.items():
        got = list(zip(r["neighbour_ids"], r["scores"], r["visuals"], strict=True))
        assert got == expected[key].neighbours, key
        assert r["horizon"] == expected[key].horizon, key
    lists = {(r["item_id"], r["target_category"]): r for r in complements.to_pylist()}
    assert len(lists) == complements.num_rows, "a key stands twice in complements"
    assert set(lists) == set(expected)
    for key, r in lists.items():
        e = expected[key]
        assert [(i["item_id"], i["score"], i["visual"]) for i in r["items"]] == e.items, key
        assert all(i["colour"] == i["score"] - i["visual"] and i["reason"] == "model" for i in r["items"]), key
        assert (r["slot"], r["size"], r["feasible"]) == (e.slot, len(e.items), e.feasible), key
        assert r["empty_reason"] == e.empty_reason, key
        assert r["level"] == e.level, key
        assert r["list_hash"] == published_hash([(*i, "model") for i in e.items]), key


def shelf_of(base: Any) -> Any:
    """A target category that holds the base's rows alone, without brands or prices."""
    from jobs.complements.finish import Shelf

    n = int(base.rows.max(initial=-1)) + 1
    group, stock = np.full(n, -1), np.zeros(n, dtype=np.bool_)
    group[base.rows], stock[base.rows] = base.group, base.in_stock
    return Shelf.of(base, group, stock, np.full(n, -1, np.int32), np.full(n, np.nan))


# --- a run in a lake of its own -------------------------------------------------------------------------------


class FreeLease(Lease):
    """A lease nobody else wants; counts how often it was checked."""

    def __init__(self) -> None:
        self.checks = 0

    def check(self) -> None:
        self.checks += 1


def context(
    root: Path | str,
    *,
    s3_endpoint_url: str | None = None,
    run_id: str = "2026-03-02-all-g1",
    categories: tuple[str, ...] | None = None,
    k: int = 6,
    depth: int = 16,
    query_block: int = 4096,
    base_block: int = 65536,
    partitions: int | None = None,
    fault: str | None = None,
    recompute: bool = False,
    model_version: str = MODEL,
    compact_nights: int = 6,
    order: dict[str, tuple[str, ...]] | None = None,
    explore: float = 0.0,
    explore_seed: int = 0,
) -> StageContext:
    """A planned run on the lake at `root`, as `jobs.plan` would leave it for the stage."""
    taxonomy = SlotOrder(order or {}).applied(load_taxonomy())
    run = RunId.parse(run_id)
    settings = Settings(
        lake=str(root),
        s3_endpoint_url=s3_endpoint_url,
        fault=fault,
        lists=ListSettings(
            k=k,
            depth=depth,
            query_block=query_block,
            base_block=base_block,
            compact_nights=compact_nights,
            explore=explore,
            explore_seed=explore_seed,
        ),
        spark=SparkSettings(master="local[2]", jars_dir=ROOT / ".jars", partitions=partitions),
    )
    lake = Lake(str(root), s3_endpoint_url=s3_endpoint_url)
    scope = categories or taxonomy.categories
    plan = RunPlan(
        run_id=run_id, run_date=run.run_date, scope=run.scope, generation=run.generation,
        inputs=Inputs("catalogue", model_version, taxonomy.fingerprint, settings.fingerprint(), categories),
        categories=scope, catalog_path="", image_root="", teacher_dir="", taxonomy_path=None, publish=False,
        versions={t: v for t in ("candidates", "complements") if (v := lake.version(t)) != NO_TABLE},
        counts={}, recompute=recompute,
    )  # fmt: skip
    manifest = Manifest(plan)
    lake.save_manifest(manifest)
    return StageContext(settings, lake, manifest, taxonomy, FreeLease())


def tables_of(ctx: StageContext, writes: Any) -> tuple[pa.Table, pa.Table]:
    from jobs.complements.generations import read_live

    one, other = (read_live(ctx.lake, t, writes[t]) for t in ("candidates", "complements"))
    return one, other


def in_process(
    ctx: StageContext,
    products: pa.Table,
    weights: Callable[[str, str], Vectors],
    *,
    threads: int = 1,
    rules: Any = None,
) -> Made:
    """All searches of a run one after the other in this process, without Spark."""
    from jobs.complements import gallery
    from jobs.complements.tasks import plan_tasks

    plan, lists = ctx.manifest.plan, ctx.settings.lists
    all_ = gallery.galleries(products, ctx.taxonomy)
    tasks = plan_tasks(all_, ctx.taxonomy, plan.categories, lists.query_block, lists.base_block)
    return run_tasks(ctx, products, all_, tasks, weights, threads=threads, rules=rules)


def run_tasks(
    ctx: StageContext, products: pa.Table, all_: Any, tasks: Any, weights: Callable[[str, str], Vectors], *,
    threads: int = 1, rules: Any = None, written: int = 0, whole: bool = True,
) -> Made:  # fmt: skip
    """Tasks as the Spark workers run them: what they wrote."""
    import faiss

    from jobs.complements import gallery, write
    from jobs.complements.job import limits_of
    from jobs.complements.tasks import allowed, deal
    from jobs.complements.worker import Spec, run_share
    from jobs.complements.write import read_reports
    from schemas.rules import EMPTY

    plan, lists = ctx.manifest.plan, ctx.settings.lists
    gallery.stage(ctx.lake, plan.run_id, all_)
    gallery.stage_products(ctx.lake, plan.run_id, products)
    masks = {(s, t): weights(s, t) for s in plan.categories for t in ctx.taxonomy.targets[s]}
    spec = Spec(
        ctx.lake.root, None, plan.run_id, uuid.uuid4().hex, plan.inputs.model_version, ctx.taxonomy,
        allowed(ctx.taxonomy), masks, lists.depth, limits_of(ctx), lists.base_block, lists.engine, written, whole,
        rules or EMPTY, plan.run_date,
    )  # fmt: skip
    before, rows = faiss.omp_get_max_threads(), write.ROW_GROUP
    faiss.omp_set_num_threads(threads)
    write.ROW_GROUP = 50  # small row groups, so that a key's rows lie apart
    shares = deal(tasks, ctx.settings.spark.partitions or 1)
    try:
        reports = [run_share(spec, share) for share in shares]
    finally:
        faiss.omp_set_num_threads(before)
        write.ROW_GROUP = rows
        gallery.drop(ctx.lake, plan.run_id)
    return Made(ctx, *read_reports(reports))


@dataclass(frozen=True)
class Made:
    """Data files that no table has yet."""

    ctx: StageContext
    files: Any
    figures: Any

    def paths(self, name: str, category: str) -> list[str]:
        own = [f for f in self.files if (f.table, f.category) == (name, category)]
        return [f"{self.ctx.lake.uri(name)}/{f.path}" for f in own]

    @property
    def tables(self) -> tuple[pa.Table, pa.Table]:
        """candidates, complements"""
        return self.table("candidates"), self.table("complements")

    def rows(self, name: str) -> int:
        return sum(f.rows for f in self.files if f.table == name)

    def table(self, name: str) -> pa.Table:
        """All rows in the table's own schema."""
        import pyarrow.parquet as pq

        from schemas.tables import TABLES

        schema = TABLES[name].schema
        parts = [schema.empty_table()]
        for file in self.files:
            if file.table == name:
                rows = pq.read_table(pa.memory_map(f"{self.ctx.lake.uri(name)}/{file.path}"))
                for column, value in (("source_category", file.category), ("model_version", MODEL)):
                    rows = rows.append_column(column, pa.array([value] * len(rows)))
                parts.append(rows.select(schema.names).cast(schema))
        return pa.concat_tables(parts)


class Nights:
    """One night after the other without Spark and Delta: each in full and brought up to date, tables as Parquet."""

    def __init__(self, root: Path, weights: Callable[[str, str], Vectors], **settings: Any) -> None:
        self.root, self.weights, self.settings = root, weights, settings
        self.files: dict[str, tuple[list[str], list[str]]] = {}
        self.before: pa.Table | None = None
        self.written = 0
        self.figures: dict[str, Any] = {}

    def night(self, products: pa.Table, rules: Any = None) -> tuple[pa.Table, pa.Table]:
        """`complements` of the night: made in full, and as the incremental night leaves them."""
        from jobs.complements import changes, gallery
        from jobs.complements.tasks import plan_tasks, plan_updates

        ctx = context(self.root, **self.settings)
        plan, lists = ctx.manifest.plan, ctx.settings.lists
        full = in_process(ctx, products, self.weights, rules=rules)
        all_ = gallery.galleries(products, ctx.taxonomy)
        groups = zip(products["item_id"].to_pylist(), products["group_id"].to_pylist(), strict=True)
        now = changes.pages_of(all_, dict(groups))
        if self.before is None:
            made = full
        else:
            all_ = changes.compare(all_, now, self.before).galleries
            empty: tuple[list[str], list[str]] = ([], [])
            files = {c: self.files.get(c, empty) for c in plan.categories}
            tasks = [*plan_updates(files, all_, ctx.taxonomy, plan.categories),
                     *plan_tasks(all_, ctx.taxonomy, plan.categories, lists.query_block, lists.base_block)]  # fmt: skip
            self.written += 1
            made = run_tasks(ctx, products, all_, tasks, self.weights, rules=rules, written=self.written, whole=False)
        self.before = now
        self.figures = asdict(made.figures)
        self.changed = {t: made.rows(t) for t in ("candidates", "complements")}
        for category in plan.categories:
            for place, name in enumerate(("candidates", "complements")):
                self.files.setdefault(category, ([], []))[place].extend(made.paths(name, category))
        return ordered(full.table("complements").drop_columns(["written", "removed"])), self.published()

    def published(self) -> pa.Table:
        import pyarrow.parquet as pq

        from jobs.complements.generations import live

        parts = []
        for category, (_, lists) in sorted(self.files.items()):
            if not lists:
                continue
            rows = pa.concat_tables([pq.read_table(f) for f in lists])
            rows = rows.filter(pa.array(live(rows)))
            rows = rows.append_column("source_category", pa.repeat(pa.scalar(category), len(rows)))
            parts.append(rows.append_column("model_version", pa.repeat(pa.scalar(MODEL), len(rows))))
        from schemas.tables import COMPLEMENTS

        published = pa.schema([f for f in COMPLEMENTS.schema if f.name not in ("written", "removed")])
        return ordered(pa.concat_tables(parts).select(published.names).cast(published))


def ordered(rows: pa.Table) -> pa.Table:
    return rows.sort_by([("item_id", "ascending"), ("target_category", "ascending")]).combine_chunks()
