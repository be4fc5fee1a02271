"""A small shop with photos, planned and embedded night by night."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from jobs.embed.active import active_products
from jobs.embed.job import run as embed
from jobs.plan import PlanRequest, plan_run
from jobs.runs import StageResult
from jobs.settings import EmbedSettings, Settings
from jobs.stage import StageContext, open_lake, run_stage, taxonomy_of


def picture(colour: tuple[int, int, int] = (180, 40, 40), size: tuple[int, int] = (120, 160)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    image.paste(colour, (30, 30, size[0] - 30, size[1] - 30))
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


class Shop:
    """A catalogue folder and a lake; `night()` plans and embeds."""

    def __init__(self, root: Path, teacher: Path) -> None:
        self.root, self.teacher = root / "shop", teacher
        (self.root / "images").mkdir(parents=True)
        self.items: dict[str, str] = {}
        self.sold_out: set[str] = set()
        self.settings = Settings(lake=str(root / "lake"), embed=EmbedSettings(batch_size=4, slice_size=3))

    def put(self, item: str, data: bytes | None, mtime: int = 1) -> None:
        path = self.root / "images" / f"{item}.jpg"
        self.items[item] = f"images/{item}.jpg"
        if data is not None:
            path.write_bytes(data)
            os.utime(path, ns=(mtime, mtime))

    def night(self, date: str) -> tuple[StageResult, dict[str, str]]:
        with (self.root / "catalog.csv").open("w", newline="") as f:
            writer = csv.writer(f)
            writer.writerow(["item_id", "category", "image", "availability"])
            stock = {i: "out_of_stock" if i in self.sold_out else "in_stock" for i in self.items}
            writer.writerows([i, "tops", path, stock[i]] for i, path in self.items.items())
        plan = plan_run(PlanRequest(date, self.root / "catalog.csv", self.teacher), self.settings).plan
        return self.embed(plan.run_id)

    def embed(self, run_id: str) -> tuple[StageResult, dict[str, str]]:
        result = run_stage("embed", embed, self.settings, run_id)
        rows = active_products(self.context(run_id))
        self.rows = {r["item_id"]: r for r in rows.to_pylist()}
        return result, {i: r["state"] for i, r in self.rows.items()}

    def context(self, run_id: str) -> StageContext:
        lake = open_lake(self.settings)
        return StageContext(self.settings, lake, lake.manifest(run_id), taxonomy_of(self.settings), None)  # type: ignore[arg-type]

    def vector(self, item: str) -> np.ndarray:
        return np.array(self.rows[item]["vector"], dtype=np.float32)

    def quarantine(self) -> dict[str, dict[str, object]]:
        lake = open_lake(self.settings)
        return {r["item_id"]: r for r in lake.read("quarantine", lake.version("quarantine")).to_pylist()}
