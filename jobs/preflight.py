"""Before anything is embedded: does tonight's catalogue look like yesterday's at all?

A feed that was cut off, a stock system that answered "none", a price in cents: each is a valid catalogue, and each
would reach the shop's pages. A run whose catalogue differs from the last one's by more than a shop changes overnight
stops here, until a person says that it is meant (`--accept`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.errors import DataError, SettingsError
from jobs.lake import Lake
from jobs.runs import RunId
from jobs.settings import PreflightSettings

CHECKS = ("departed", "sold_out", "prices", "images")
_COLUMNS = ("item_id", "in_stock", "price", "currency", "source_fingerprint")


@dataclass(frozen=True)
class Finding:
    """A change too large. `share` is of the products that could have made it."""

    check: str
    count: int
    of: int
    told: str

    @property
    def share(self) -> float:
        return self.count / self.of

    def line(self) -> str:
        return f"{self.check}: {self.count:,} of {self.of:,} products ({self.share:.0%}) {self.told}"


def accepted(text: str | None) -> frozenset[str]:
    """Checks named by `--accept`, comma-separated, or `all`. Raises SettingsError for another name."""
    names = {n.strip().replace("-", "_") for n in (text or "").split(",") if n.strip()}
    if "all" in names:
        return frozenset(CHECKS)
    if odd := sorted(names - set(CHECKS)):
        raise SettingsError(f"--accept {odd[0]}: choose from {', '.join(CHECKS)}, or all")
    return frozenset(names)


def last_snapshot(lake: Lake, run_date: str) -> tuple[str, pa.Table] | None:
    """The newest run planned for an earlier date, and its catalogue; None where there is none."""
    earlier = [r for r in lake.runs() if r.run_date < run_date]
    if not earlier:
        return None
    run: RunId = max(earlier, key=lambda r: (r.run_date, r.generation))
    version = lake.manifest(str(run)).plan.versions["catalog"]
    return run.run_date, lake.read("catalog", version, columns=_COLUMNS, filters=[("snapshot", "=", run.run_date)])


def findings(before: pa.Table, now: pa.Table, limits: PreflightSettings) -> list[Finding]:
    """What changed by more than its limit; nothing for a catalogue of fewer than `limits.products` before. Pure."""
    if before.num_rows < limits.products:
        return []
    at = pc.index_in(before["item_id"], value_set=now["item_id"].combine_chunks())
    stays = pc.is_valid(at)
    gone = before.num_rows - pc.sum(stays).as_py()
    old, new = before.filter(stays), now.take(at.drop_null())
    had = old["in_stock"].to_numpy()
    sold = int((had & ~new["in_stock"].to_numpy()).sum())
    moved, priced = _prices(old, new, limits.price_factor)
    there = pc.is_valid(old["source_fingerprint"])
    other = pc.fill_null(pc.not_equal(old["source_fingerprint"], new["source_fingerprint"]), True)
    reshot = pc.sum(pc.and_(there, other)).as_py() or 0
    all_ = [
        ("departed", gone, before.num_rows, limits.departed, "are gone; is the feed cut off?"),
        ("sold_out", sold, int(had.sum()), limits.sold_out, "of those in stock are sold out; did stock arrive?"),
        ("prices", moved, priced, limits.prices,
         f"have a price {limits.price_factor:g} times higher or lower; in cents, or another currency?"),
        ("images", reshot, pc.sum(there).as_py() or 0, limits.images,
         "have another image, or none; did images move? All would be read anew"),
    ]  # fmt: skip
    return [Finding(name, n, of, told) for name, n, of, most, told in all_ if of and n > most * of]


def _prices(old: pa.Table, new: pa.Table, factor: float) -> tuple[int, int]:
    """(products whose price moved by the factor, products with a price in one currency or none both times)."""
    a, b = (t["price"].to_numpy().astype(np.float64) for t in (old, new))
    one = pc.fill_null(pc.equal(pc.fill_null(old["currency"], ""), pc.fill_null(new["currency"], "")), False)
    with np.errstate(invalid="ignore"):
        both = one.to_numpy() & (a > 0) & (b > 0)
        ratio = np.where(both, b, 1.0) / np.where(both, a, 1.0)
        return int(((ratio >= factor) | (ratio <= 1 / factor)).sum()), int(both.sum())


def check(found: Collection[Finding], catalog: str, since: str, accept: Collection[str]) -> list[str]:
    """A line for each finding a person has accepted. Raises DataError for the others."""
    if open_ := [f for f in found if f.check not in accept]:
        raise DataError(
            f"{catalog}: unlike the catalogue of {since}: {'; '.join(f.line() for f in open_)}. Nothing was planned. "
            f"Mend the catalogue, or plan it with --accept {','.join(f.check for f in open_)} if it is meant"
        )
    return [f"unlike the catalogue of {since}, accepted: {f.line()}" for f in found]
