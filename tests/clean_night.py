"""A small clean night as Arrow tables, for the gate's and the report's tests: three categories, adults and children.

Lists are made here by the plain rule (score all, sort, one a group), independently of `jobs.complements`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from deltalake import write_deltalake

from jobs.embed.states import ProductState, save_states
from jobs.lake import Lake
from jobs.runs import Inputs, Manifest, RunPlan, StageResult
from jobs.settings import ListSettings, Settings, StoreSettings
from schemas.tables import CATALOG, COMPLEMENTS, EMBEDDING_DIM, EMBEDDINGS, QUARANTINE, REJECTED_ROWS, VISUAL_DIM
from schemas.taxonomy import Taxonomy, load_taxonomy

K = 3
RUN_ID = "2026-11-25-all-g1"
CATEGORIES = ("tops", "bottoms", "shoes")
ACTIVE_SCHEMA = pa.schema([*CATALOG.schema, pa.field("state", pa.string()), pa.field("vector", pa.list_(pa.float32()))])
TAXONOMY: Taxonomy = load_taxonomy()


def weights(source: str, target: str) -> npt.NDArray[np.float32]:
    """Symmetric masks that average 1 and differ from pair to pair."""
    rng = np.random.default_rng(sum(map(ord, source)) + sum(map(ord, target)))
    w = rng.uniform(0.5, 1.5, EMBEDDING_DIM)
    return (w / w.mean()).astype(np.float32)


def product(n: int, category: str, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    visual, colour = rng.normal(size=VISUAL_DIM), rng.normal(size=EMBEDDING_DIM - VISUAL_DIM)
    z = np.concatenate([0.75**0.5 * visual / np.linalg.norm(visual), 0.5 * colour / np.linalg.norm(colour)])
    item = f"{category}-{n:03d}"
    return {
        "snapshot": "2026-11-25", "item_id": item, "category": category, "image": f"{item}.jpg",
        "image_uri": f"/nowhere/{item}.jpg", "source_fingerprint": item, "title": f"{category} number {n}",
        "product_type": None, "department": "girls" if n % 5 == 0 else "women", "brand": None,
        "group_id": f"{category}-g{n // 2}", "price": 10.0 + n, "currency": "EUR", "availability": "in_stock",
        "in_stock": n % 7 != 3, "updated_at": None, "state": "embedded", "vector": z.astype(np.float32),
    } | changes  # fmt: skip


def products() -> list[dict[str, Any]]:
    found = [product(100 * c + n, name) for c, name in enumerate(CATEGORIES) for n in range(20)]
    found.append(product(990, "underwear"))
    found.append(product(991, "tops", state="quarantined", vector=None))
    return sorted(found, key=lambda p: str(p["item_id"]))


def active(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(
        [r | {"vector": None if r["vector"] is None else list(map(float, r["vector"]))} for r in rows], ACTIVE_SCHEMA
    )


def lists(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Finished lists of all source categories."""
    made = []
    for x in rows:
        for slot, target in enumerate(TAXONOMY.targets[x["category"]]):
            pool = [y for y in rows if y["category"] == target and _possible(x, y)]
            scored = sorted((_scored(x, y) for y in pool), key=lambda e: (-e["score"], e["item_id"]))
            groups = {y["item_id"]: y["group_id"] for y in pool}
            seen: set[str] = set()
            items = [e for e in scored if not (groups[e["item_id"]] in seen or seen.add(groups[e["item_id"]]))]  # type: ignore[func-returns-value]
            items = items[:K] if x["vector"] is not None else []
            reason = None if items else ("no_target" if x["vector"] is not None else "no_vector")
            made.append(
                {
                    "item_id": x["item_id"], "source_category": x["category"], "target_category": target,
                    "model_version": "m-1", "slot": slot, "items": items, "size": len(items),
                    "feasible": min(K, len(set(groups.values()) - {x["group_id"]})),
                    "empty_reason": reason, "list_hash": "0" * 16, "level": "product", "written": 0, "removed": False,
                }
            )  # fmt: skip
    return made


def lists_table(rows: list[dict[str, Any]], category: str) -> pa.Table:
    return pa.Table.from_pylist([r for r in rows if r["source_category"] == category], COMPLEMENTS.schema)


def _possible(x: dict[str, Any], y: dict[str, Any]) -> bool:
    return bool(y["in_stock"] and y["vector"] is not None and y["department"] in TAXONOMY.matrix[x["department"]])


def _scored(x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    if x["vector"] is None:
        return {"item_id": y["item_id"], "score": 0}
    w = weights(x["category"], y["category"]).astype(np.float64)
    q = np.rint(2.0**20 * (w * x["vector"].astype(np.float64)))
    terms = q * np.rint(2.0**20 * y["vector"].astype(np.float64))
    score, visual = (round(t.sum() / 2.0**40 * 1e6) for t in (terms, terms[:VISUAL_DIM]))
    return {"item_id": y["item_id"], "score": score, "visual": visual, "colour": score - visual, "reason": "model"}


def write_night(
    root: Path, made: list[dict[str, Any]], made_lists: list[dict[str, Any]], *, with_lists: bool = True
) -> tuple[Settings, Lake, Manifest]:
    """A lake as `plan`, `embed` and `complements` leave it, by plain writes; the manifest is saved."""
    settings = Settings(lake=str(root / "lake"), lists=ListSettings(k=K), store=StoreSettings(path=root / "pdp.sqlite"))
    lake = Lake(settings.lake)
    snapshot = pa.Table.from_pylist(made, CATALOG.schema)
    held = [p for p in made if p["vector"] is not None]
    vectors = [
        {"item_id": p["item_id"], "image_fingerprint": f"f-{p['item_id']}", "source_fingerprint": p["item_id"],
         "model_version": "m-1", "vector": list(map(float, p["vector"])), "run_id": RUN_ID}
        for p in held
    ]  # fmt: skip
    broken = [
        {"item_id": p["item_id"], "image_fingerprint": f"f-{p['item_id']}", "source_fingerprint": p["item_id"],
         "model_version": "m-1", "error_class": "truncated", "message": "ends after 99 bytes", "attempts": 1,
         "retry_from": "2026-11-26", "run_id": RUN_ID}
        for p in made if p["vector"] is None
    ]  # fmt: skip
    rejected = [
        {"run_id": RUN_ID, "row": n, "item_id": f"bad-{n}", "field": "category", "value": "capes", "reason": "unknown"}
        for n in (7, 9)
    ]
    for name, rows in (
        ("catalog", snapshot),
        ("embeddings", pa.Table.from_pylist(vectors, EMBEDDINGS.schema)),
        ("quarantine", pa.Table.from_pylist(broken, QUARANTINE.schema)),
        ("rejected_rows", pa.Table.from_pylist(rejected, REJECTED_ROWS.schema)),
        ("complements", pa.Table.from_pylist(made_lists, COMPLEMENTS.schema)),
    ):
        write_deltalake(lake.uri(name), rows)
    save_states(
        lake,
        RUN_ID,
        [
            ProductState(
                p["item_id"], p["state"], f"f-{p['item_id']}" if p["vector"] is not None else None, p["item_id"]
            )
            for p in made
        ],
    )
    plan = RunPlan(
        run_id=RUN_ID, run_date="2026-11-25", scope="all", generation=1,
        inputs=Inputs("c", "m-1", TAXONOMY.fingerprint, settings.fingerprint()), categories=CATEGORIES,
        catalog_path="/shop/catalog.csv", image_root="/shop", teacher_dir=str(root / "teacher"), taxonomy_path=None,
        publish=True, versions={"catalog": 0, "embeddings": -1, "quarantine": -1, "complements": -1},
        counts={"rows": len(made) + 2, "rejected": 2, "eligible": len(made)},
    )  # fmt: skip
    embed = StageResult(
        "embed", "done", writes={"embeddings": 0, "quarantine": 0}, counts={"embedded": len(held)}, seconds=3.5
    )
    manifest = Manifest(plan).with_stage(embed)
    if with_lists:
        made_by = StageResult("complements", "done", writes={"complements": 0}, counts={"filled": 3}, seconds=7.25)
        manifest = manifest.with_stage(made_by)
    lake.save_manifest(manifest)
    return settings, lake, manifest
