"""A part of the embed stage, on a machine of its own, beside other parts.

Products are dealt by a hash of their id. A shard holds the lake's lease only while it commits, so shards commit one
after another; what they cannot embed they leave in `runs/<run_id>/shards/`. `medal embed` without `--shard` then finds
nearly all done, tries what is left, and ends the stage: states, quarantine, manifest.
"""

from __future__ import annotations

import hashlib
import re
import time

from jobs.embed.job import Embed
from jobs.embed.states import report_shard
from jobs.errors import DataError, SettingsError
from jobs.lease import Lease, held
from jobs.settings import Settings
from jobs.stage import StageContext, log, open_lake, planned_taxonomy

_WAIT_S = 600.0  # for the lease of other shards, each of which holds it for seconds


def parse_shard(text: str) -> tuple[int, int]:
    """`i/n` with 1 <= i <= n. Raises SettingsError."""
    m = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
    if not m or not 1 <= int(m[1]) <= int(m[2]):
        raise SettingsError(f"--shard {text}: write it as i/n, from 1/n to n/n")
    return int(m[1]), int(m[2])


def shard_of(item_id: str, n: int) -> int:
    """1..n, the same everywhere and for ever."""
    return int.from_bytes(hashlib.blake2b(item_id.encode(), digest_size=8).digest(), "big") % n + 1


def run_shard(settings: Settings, run_id: str, shard: str) -> str:
    """Embed one shard of a planned run; a line that says what it did.

    Raises as the stage does; DataError where the stage was ended meanwhile by another.
    """
    i, n = parse_shard(shard)
    lake = open_lake(settings)
    manifest = lake.manifest(run_id)
    if manifest.done("embed"):
        return f"embed {shard}: nothing to do, {run_id} has ended the stage"
    begun = time.monotonic()
    nobody = Lease(lake, f"medal embed {shard} of {run_id}", settings.lease.ttl_s)  # taken for each commit anew
    part = _Shard(StageContext(settings, lake, manifest, planned_taxonomy(settings, manifest.plan), nobody), shard)
    mine = [p for p in part.products() if shard_of(p[0], n) == i]
    to_read, device, figures, stopped = part.embed(mine)
    failed = [f for f in part.failed.values() if f.run_id == run_id]
    report_shard(lake, run_id, shard, failed)
    if stopped is not None:
        raise stopped
    took = time.monotonic() - begun
    left = len(to_read) - int(figures.get("images_read", 0))
    told = (
        f"embed {shard}: {len(mine):,} products, {len(to_read):,} images to read, {part.committed:,} vectors written, "
        f"{len(failed):,} failed{f', {left:,} left by the time box' if left else ''}, {took:.1f} s on {device}"
    )
    log(told)
    return told


class _Shard(Embed):
    def __init__(self, ctx: StageContext, shard: str) -> None:
        super().__init__(ctx)
        self.shard = shard
        self.loaded, self.commits = self.version, 0
        self.committed = 0  # vectors

    def _append(self) -> None:
        owner = f"medal embed {self.shard} of {self.run_id}"
        lake = self.ctx.lake
        with held(lake, owner, self.ctx.settings.lease.ttl_s, _WAIT_S) as lease:
            if lake.manifest(self.run_id).done("embed"):
                raise DataError(
                    f"{self.run_id}: the embed stage was ended while shard {self.shard} was at work; its last "
                    f"{len(self.rows):,} vectors were not written, plan the date again with --recompute for them"
                )
            newest = lake.version("embeddings")
            if newest != self.loaded + self.commits:  # others have written since the keys were read
                self._drop_known(newest)
            if self.rows:
                self.part = max((c.part for c in lake.commits("embeddings", run_id=self.run_id)), default=0)
                self._commit_under(lease)

    def _commit_under(self, lease: Lease) -> None:
        self.ctx = StageContext(self.ctx.settings, self.ctx.lake, self.ctx.manifest, self.ctx.taxonomy, lease)
        super()._append()
        self.commits += 1
        self.committed += len(self.rows)

    def _drop_known(self, newest: int) -> None:
        """Rows that are there by now: the same shard was started twice, or a run of another date had the same image."""
        keys = self.ctx.lake.read(
            "embeddings", newest, columns=["item_id", "image_fingerprint"],
            filters=[("model_version", "=", self.model), ("item_id", "in", [r["item_id"] for r in self.rows])],
        )  # fmt: skip
        there = set(zip(keys["item_id"].to_pylist(), keys["image_fingerprint"].to_pylist(), strict=True))
        self.rows = [r for r in self.rows if (r["item_id"], r["image_fingerprint"]) not in there]
        self.version = newest
