"""What `medal bench lists` measures: the lists job against a floor written by hand, its nights, and its peers.

One drawn shop (`jobs.sample.vectors`) in a lake of its own; everything in one run, on the same vectors, at the same
depth. Where several processes or threads worked at a step, its seconds are theirs added up and divided by the cores.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.bench.lists_floor import Order, Seconds, products_of
from jobs.bench.lists_oracle import Answer, Oracle, Shop, differences
from jobs.bench.memory import Peak, watched
from jobs.complements.generations import read_live
from jobs.complements.score import Float32
from jobs.errors import DataError, SettingsError
from jobs.lake import Lake
from jobs.lease import held
from jobs.nightly import job_of
from jobs.plan import PlanRequest, plan_run
from jobs.runs import Manifest, StageResult
from jobs.sample.vector_lake import teacher_of, write_vectors
from jobs.sample.vectors import Night, VectorShop
from jobs.settings import Settings
from jobs.stage import open_lake, run_stage, taxonomy_of
from medal_model.export import read_header
from schemas.tables import EMBEDDING_DIM

if TYPE_CHECKING:
    from schemas.taxonomy import Taxonomy

PEERS = ("spark", "hnswlib", "autofaiss")
SALE = Night(new=0, gone=0, back=0, repriced=0.3, sold_out=0.05, restocked=0, reshot=0)
_WARM_ITEMS = 400  # a shop that compiles every loop and fills the page cache before anything is timed
MARKER = "bench-lists.json"
_STEPS = ("read_s", "search_s", "rescore_s", "finish_s", "write_s")


@dataclass(frozen=True)
class Request:
    """What to measure."""

    items: int
    seed: int
    teacher: Path
    work: Path  # emptied first; the lake, catalogues and inputs of the peers
    shares: tuple[float, ...]  # of new products, a night each, one after the other
    sale: bool
    peers: tuple[str, ...]
    peer_python: Path
    oracle: int  # lists checked by brute force
    rounds: int  # turns of floor and job
    nights: int = 0  # usual nights in a row at the end, each from the one before; the last is made in full as well


Say = Callable[[str], None]


def measure(request: Request, settings: Settings, say: Say) -> dict[str, Any]:
    """All figures as plain JSON values. Raises DataError where lists are not those of the oracle or of a full run."""
    bench = _Bench(request, settings, say)
    bench.warm_up()
    return bench.run()


def night_of(share: float) -> Night:
    """A night with this share of new products; half as many leave, a tenth as many get another photo. Stock stays."""
    return Night(new=share, gone=share / 2, back=0, repriced=0, sold_out=0, restocked=0, reshot=share / 10)


class _Bench:
    def __init__(self, request: Request, settings: Settings, say: Say) -> None:
        self.request, self.say = request, say
        self.header, rho = teacher_of(request.teacher)
        self.shop = VectorShop(request.items, request.seed, rho)
        # The shop's own caps and rules would only be measured with it: k and depth alone.
        lists = settings.lists.model_copy(update={"per_brand": 0, "per_look": 0})
        changed = {"lake": str(request.work / "lake"), "lists": lists, "s3_endpoint_url": None, "fault": None}
        self.settings = settings.model_copy(update=changed)
        self.lake: Lake = open_lake(self.settings)
        self.taxonomy: Taxonomy = taxonomy_of(self.settings)
        self.cores = len(os.sched_getaffinity(0))
        self.warm: tuple[str, str] | None = None
        _emptied(request.work)

    def warm_up(self) -> None:
        """A small shop through a full and an incremental night, and the floor, in a lake of its own."""
        self.say("warming up")
        warm = _Bench.__new__(_Bench)
        warm.__dict__ |= self.__dict__ | {"say": lambda line: None}
        warm.settings = self.settings.model_copy(update={"lake": str(self.request.work / "warm")})
        warm.lake = open_lake(warm.settings)
        warm.shop = replace(self.shop, items=_WARM_ITEMS)
        for shop in (warm.shop, replace(warm.shop, nights=(night_of(0.02),))):
            run_id = warm.planned(shop)
            warm.lists_of(run_id)
        self.warm = (warm.lake.root, run_id)

    def run(self) -> dict[str, Any]:
        floors, jobs, peak = [], [], Peak()
        run_id = self.planned(self.shop)
        for turn in range(self.request.rounds):
            if turn:
                run_id = self.planned(self.shop, recompute=True)
            floors.append(self.floor(run_id, bare=not turn))
            jobs.append(self.lists_of(run_id, peak))
            self.say(f"floor {floors[-1]['whole_s']:.1f} s, job {jobs[-1]['s']:.1f} s")
        floor, job = _middle(floors, "whole_s"), _middle(jobs, "s")
        _same_work(floor, job, run_id)
        sample = self.sampled(run_id)
        wrong = self.checked(run_id, sample)
        peers = {name: self.peer(name, run_id, sample) for name in self.request.peers}
        incremental = self.nights()
        bare = floor["bare_search_s"] or floor["search_s"]
        return {
            "items": self.request.items, "pairs": floor["pairs"], "k": self.settings.lists.k,
            "depth": self.settings.lists.depth, "seed": self.request.seed, "cores": self.cores,
            "model_version": self.header.model_version, "rounds": self.request.rounds,
            "floor_s": floor["whole_s"], "job_s": job["s"], "ratio_to_floor": round(job["s"] / floor["whole_s"], 4),
            "search_ratio": round(job["search_s"] / min(bare, floor["search_s"]), 4),
            "floor": floor, "job": job, "oracle": {"lists": len(sample), "wrong": wrong},
            "incremental": incremental, "peers": peers,
            "peak_rss_mib": {"floor": round(floor["peak_rss_mib"]), "job": round(peak.together),
                             "job_worker": round(peak.worker), "job_jvm": round(peak.other)},
        }  # fmt: skip

    # --- nights -------------------------------------------------------------------------------------------------

    def planned(self, shop: VectorShop, *, recompute: bool = False) -> str:
        """The run of the shop's last night, planned and embedded."""
        out = self.request.work / f"{Path(self.lake.root).name}-{len(shop.nights)}.csv"
        with held(self.lake, "medal bench lists", self.settings.lease.ttl_s) as lease:
            got = write_vectors(shop, self.header, self.lake, lease, out, self.say)
            request = PlanRequest(got.run_date, out, self.request.teacher, recompute=recompute, publish=False)
            run_id = plan_run(request, self.settings, lease=lease).plan.run_id
            run_stage("embed", job_of("embed"), self.settings, run_id, lease)
        return run_id

    def lists_of(self, run_id: str, peak: Peak | None = None) -> dict[str, Any]:
        """The job: seconds apart by step, the session's start left out of `s`."""
        with watched() as seen:
            result = run_stage("complements", job_of("complements"), self.settings, run_id)
        if peak is not None:
            peak.together, peak.worker = max(peak.together, seen.together), max(peak.worker, seen.worker)
            peak.other = max(peak.other, seen.other)
        return self.figures(result)

    def figures(self, result: StageResult) -> dict[str, Any]:
        counts = result.counts
        steps = {name: round(counts[name] / self.cores, 3) for name in _STEPS}
        whole = {name: counts[name] for name in ("session_s", "lists_s", "commit_s", "pairs", "planned", "entries")}
        more = {n: counts[n] for n in ("full", "fresh", "inserted", "refilled", "searched_exactly",
                                       "candidates_written", "complements_written") if n in counts}  # fmt: skip
        mode = "incremental" if counts.get("incremental") else "full"
        return {"s": round(result.seconds - counts["session_s"], 3), "mode": mode, **steps, **whole, **more}

    def nights(self) -> dict[str, Any]:
        """Each share's night after the one before it: incremental, then all over again, compared."""
        out, shop = {}, self.shop
        named = [(f"{share:g}", night_of(share)) for share in self.request.shares]
        for name, night in [*named, *([("usual", Night()), ("sale", SALE)] if self.request.sale else [])]:
            shop = replace(shop, nights=(*shop.nights, night))
            run_id = self.planned(shop)
            new = self.lists_of(run_id)
            again = self.planned(shop, recompute=True)
            full = self.lists_of(again)
            same = self.identical(run_id, again)
            out[name] = {
                "s": new["s"], "ratio_to_full": round(new["s"] / full["s"], 4), "identical": same, "mode": new["mode"],
                "search_ratio": round(new["search_s"] / full["search_s"], 4),
                "pairs_ratio": round(new["pairs"] / full["pairs"], 5), "incremental": new, "full": full,
            }  # fmt: skip
            self.say(f"{name}: {new['mode']} {new['s']:.1f} s, full {full['s']:.1f} s, identical: {same}")
        if self.request.nights:
            out["in_a_row"] = self.in_a_row(shop)
        return out

    def in_a_row(self, shop: VectorShop) -> dict[str, Any]:
        """Usual nights brought up to date one from the other, none made in full but the last, which is compared."""
        took, whole = [], 0
        for n in range(self.request.nights):
            shop = replace(shop, nights=(*shop.nights, Night()))
            run_id = self.planned(shop)
            took.append(self.lists_of(run_id))
            rows = self.lake.read("complements", self.lake.manifest(run_id).version("complements"), columns=["written"])
            whole += int(not pc.any(pc.not_equal(rows["written"], 0)).as_py())
            self.say(f"night {n + 1} of {self.request.nights}: {took[-1]['mode']} {took[-1]['s']:.1f} s")
        again = self.planned(shop, recompute=True)
        full = self.lists_of(again)
        return {
            "nights": len(took), "incremental": sum(t["mode"] == "incremental" for t in took), "written_whole": whole,
            "s": [t["s"] for t in took], "full_s": full["s"], "identical": self.identical(run_id, again),
        }  # fmt: skip

    def identical(self, one: str, other: str) -> bool:
        """Whether two runs' `complements` hold the same rows, all columns but the generation they were written in."""
        versions = [self.lake.manifest(r).version("complements") for r in (one, other)]
        for category in self.taxonomy.categories:
            slice_ = [("model_version", "=", self.header.model_version), ("source_category", "=", category)]
            a, b = (_ordered(read_live(self.lake, "complements", v, filters=slice_)) for v in versions)
            if not a.equals(b):
                return False
        return True

    # --- floor, oracle, peers -----------------------------------------------------------------------------------

    def floor(self, run_id: str, *, bare: bool) -> dict[str, Any]:
        work, lists = self.request.work, self.settings.lists
        order = Order(self.lake.root, run_id, str(work / "floor.parquet"), lists.k, lists.depth, bare, self.warm)
        (work / "floor.json").write_text(json.dumps(asdict(order)), encoding="utf-8")
        got = Seconds(**_last_line([sys.executable, "-m", "jobs.bench.lists_floor", str(work / "floor.json")]))
        Path(order.out).unlink()
        return {n: round(v, 3) if isinstance(v, float) else v for n, v in asdict(got).items()}

    def sampled(self, run_id: str) -> list[tuple[int, str]]:
        """(row of the products by item_id, target) of some lists, all equally likely."""
        manifest = self.lake.manifest(run_id)
        products = _products(self.lake, manifest)
        slots = [len(self.taxonomy.targets[c]) for c in products["category"].to_pylist()]
        ends = np.cumsum(slots)
        rng = np.random.default_rng([self.request.seed, 1000])
        chosen = np.sort(rng.choice(int(ends[-1]), min(self.request.oracle, int(ends[-1])), replace=False))
        rows = np.searchsorted(ends, chosen, side="right")
        categories = products["category"].take(pa.array(rows)).to_pylist()
        places = chosen - (ends[rows] - np.array(slots)[rows])
        return [
            (int(r), self.taxonomy.targets[c][p]) for r, c, p in zip(rows, categories, places.tolist(), strict=True)
        ]

    def checked(self, run_id: str, sample: Sequence[tuple[int, str]]) -> int:
        """Sampled lists that differ from the oracle's. Raises DataError for any, naming the first."""
        if not sample:
            return 0
        t0 = time.monotonic()
        manifest = self.lake.manifest(run_id)
        products = _products(self.lake, manifest)
        lists = self.settings.lists
        oracle, where = _oracle(products, self.taxonomy, lists.depth, lists.k), _places(products)
        found = self.rows_of(manifest, products, sample)
        weights = read_header(self.request.teacher).weights
        wrong = []
        for row, target in sample:
            category, at = where[row]
            answer: Answer = oracle.answer(category, at, target, weights(category, target))
            item = products["item_id"][row].as_py()
            if told := differences(answer, *found[item, target]):
                wrong.append(f"{item} × {target}: {', '.join(told)}")
        self.say(f"oracle: {len(sample)} lists, {len(wrong)} wrong, {time.monotonic() - t0:.0f} s")
        if wrong:
            raise DataError(f"{run_id}: {len(wrong)} of {len(sample)} lists differ from brute force; first {wrong[0]}")
        return len(wrong)

    def rows_of(
        self, manifest: Manifest, products: pa.Table, sample: Sequence[tuple[int, str]]
    ) -> dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]]:
        """Rows of both tables by (item_id, target)."""
        ids = sorted({products["item_id"][row].as_py() for row, _ in sample})
        of_model: list[tuple[str, str, Any]] = [
            ("model_version", "=", self.header.model_version),
            ("item_id", "in", ids),
        ]
        both = []
        for table in ("candidates", "complements"):
            rows = read_live(self.lake, table, manifest.version(table), filters=of_model).to_pylist()
            both.append({(r["item_id"], r["target_category"]): r for r in rows})
        return {key: (both[0][key], both[1][key]) for key in both[1]}

    def peer(self, name: str, run_id: str, sample: Sequence[tuple[int, str]]) -> dict[str, Any]:
        folder = self.request.work / "peers"
        if not (folder / "sample.npz").exists():
            self.peer_inputs(folder, run_id, sample)
        self.say(f"peer {name}")
        if name == "spark":
            return self.spark_peer(folder)
        python = self.request.peer_python
        if not python.exists():
            return {"skipped": f"{python} is not there; `make peers` installs {name}"}
        script = Path(__file__).with_name("lists_peer.py")
        try:
            return _last_line([str(python), str(script), name, str(folder)])
        except DataError as e:
            return {"skipped": str(e)}

    def spark_peer(self, folder: Path) -> dict[str, Any]:
        from jobs.bench.lists_spark import cross_join, plain_session
        from jobs.spark import stop

        spark = plain_session(self.settings)
        try:
            return cross_join(spark, folder)
        finally:
            stop(spark)

    def peer_inputs(self, folder: Path, run_id: str, sample: Sequence[tuple[int, str]]) -> None:
        folder.mkdir()
        manifest = self.lake.manifest(run_id)
        products = _products(self.lake, manifest)
        categories, departments = list(self.taxonomy.categories), list(self.taxonomy.departments)
        vectors = _matrix(products)
        kind, department = (
            pc.index_in(products[c], value_set=pa.array(names)).to_numpy()
            for c, names in (("category", categories), ("department", departments))
        )
        np.savez(folder / "products.npz", vectors=vectors, category=kind, department=department)
        flags = np.array([[t in self.taxonomy.targets[s] for t in categories] for s in categories])
        weights = np.zeros((*flags.shape, vectors.shape[1]), dtype=np.float32)
        masks = read_header(self.request.teacher)
        for s, t in zip(*np.nonzero(flags), strict=True):
            weights[s, t] = masks.weights(categories[s], categories[t])
        may = np.array([[b in self.taxonomy.matrix[a] for b in departments] for a in departments])
        np.savez(folder / "shop.npz", weights=weights, targets=flags, allowed=may)
        found = self.rows_of(manifest, products, sample)
        where = {i: n for n, i in enumerate(products["item_id"].to_pylist())}
        exact = np.full((len(sample), self.settings.lists.depth), -1, dtype=np.int64)
        for n, (row, target) in enumerate(sample):
            near = found[products["item_id"][row].as_py(), target][0]["neighbour_ids"]
            exact[n, : len(near)] = [where[i] for i in near]
        page, target_ = np.array([r for r, _ in sample]), np.array([categories.index(t) for _, t in sample])
        np.savez(folder / "sample.npz", page=page, target=target_, neighbours=exact)


def _emptied(work: Path) -> None:
    """Empty the folder of an earlier bench, or make it. Raises SettingsError for any other that holds files."""
    if work.exists() and not (work / MARKER).exists() and (not work.is_dir() or any(work.iterdir())):
        raise SettingsError(f"--work {work}: is not empty and holds no earlier bench ({MARKER}); name another folder")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / MARKER).write_text("{}\n", encoding="utf-8")


def _products(lake: Lake, manifest: Manifest) -> pa.Table:
    return products_of(lake, manifest).combine_chunks()


def _matrix(products: pa.Table) -> Float32:
    flat = pc.list_flatten(products["vector"]).to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(len(products), EMBEDDING_DIM)


def _places(products: pa.Table) -> list[tuple[str, int]]:
    """Of each product its category and row among the category's, in item_id order."""
    seen: dict[str, int] = {}
    out = []
    for c in products["category"].to_pylist():
        out.append((c, seen.get(c, 0)))
        seen[c] = seen.get(c, 0) + 1
    return out


def _oracle(products: pa.Table, taxonomy: Taxonomy, depth: int, k: int) -> Oracle:
    by: dict[str, dict[str, Any]] = {f: {} for f in ("ids", "vectors", "department", "group", "in_stock")}
    for c in taxonomy.categories:
        own = products.filter(pc.equal(products["category"], c))
        by["ids"][c] = own["item_id"].to_pylist()
        by["vectors"][c] = _matrix(own)
        by["department"][c] = np.array(own["department"].to_pylist(), dtype=np.str_)
        by["group"][c] = np.array(own["group_id"].to_pylist(), dtype=np.str_)
        by["in_stock"][c] = own["in_stock"].to_numpy().astype(np.bool_)
    return Oracle(Shop(**by, matrix=taxonomy.matrix), depth, k)


def _ordered(rows: pa.Table) -> pa.Table:
    rows = rows.drop_columns([c for c in ("written", "removed") if c in rows.column_names])
    return rows.sort_by([("item_id", "ascending"), ("target_category", "ascending")]).combine_chunks()


def _same_work(floor: dict[str, Any], job: dict[str, Any], run_id: str) -> None:
    for ours, theirs in (("planned", "lists"), ("entries", "entries"), ("pairs", "pairs")):
        if job[ours] != floor[theirs]:
            raise DataError(f"{run_id}: the job has {job[ours]:,.0f} {theirs}, the floor {floor[theirs]:,}")


def _middle(turns: list[dict[str, Any]], by: str) -> dict[str, Any]:
    """The turn whose seconds are the median (the lower one of an even number); with all turns' seconds."""
    at = sorted(range(len(turns)), key=lambda n: turns[n][by])[(len(turns) - 1) // 2]
    bare = next((t["bare_search_s"] for t in turns if t.get("bare_search_s")), None)
    more = {"bare_search_s": bare} if "bare_search_s" in turns[at] else {}
    assert turns[at][by] <= median(t[by] for t in turns)
    return {**turns[at], **more, "turns_s": [t[by] for t in turns]}


def _last_line(command: Sequence[str]) -> dict[str, Any]:
    """JSON on the last line of a command's output. Raises DataError with the last words of one that failed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout.strip().splitlines()
    if done.returncode or not said:
        why = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        raise DataError(f"{' '.join(map(str, command[:3]))}: {why}")
    found: dict[str, Any] = json.loads(said[-1])
    return found
