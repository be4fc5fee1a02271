"""The lots by which new products (jobs/embed/newcomers.py) come into lists; `finish` draws them.

They are hashes: h(page, product) = mix(page's word ^ product's word), both words with the seed, the page's with run
date and target category too. A product's lot does not hang on which others are new, and every night draws anew.
"""

from __future__ import annotations

import numpy as np

from jobs.complements.finish import Explore, Limits
from jobs.complements.gallery import Gallery
from jobs.complements.hashing import word
from jobs.complements.score import Int64
from jobs.complements.search import Base


def explore_of(
    limits: Limits, run_date: str, source: Gallery, pages: Int64, target: Gallery, category: str, base: Base
) -> Explore | None:
    """The lots of these pages (rows of the source gallery) for a target category; None where nothing is drawn."""
    rows = base.rows[target.new[base.rows]] if limits.explore else base.rows[:0]
    if not len(rows):
        return None
    seed = np.uint64(word(f"explore {limits.explore_seed}"))
    tonight = np.uint64(word(f"explore {limits.explore_seed} {run_date} {category}"))
    products, own = target.words[rows], source.words[pages]
    return Explore(
        limits.explore,
        rows,
        products[:, 0] ^ (products[:, 1] * np.uint64(3)) ^ seed,
        own[:, 0] ^ (own[:, 1] * np.uint64(5)) ^ tonight,
    )
