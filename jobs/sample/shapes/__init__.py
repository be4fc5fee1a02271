"""The silhouettes, a file for each kind of product.

A silhouette decides a product's category, style and season. Nothing here draws chance: what varies from
design to design comes from the `random.Random` that is handed in.
"""

from jobs.sample.shapes import (
    accessories,
    bags,
    beach,
    boots,
    bottoms,
    dresses,
    eyewear,
    hats,
    jewellery,
    outerwear,
    scarves,
    shoes,
    tops,
)
from jobs.sample.shapes.base import Shape

SHAPES: tuple[Shape, ...] = (
    *tops.SHAPES,
    *bottoms.SHAPES,
    *dresses.SHAPES,
    *outerwear.SHAPES,
    *shoes.SHAPES,
    *boots.SHAPES,
    *bags.SHAPES,
    *hats.SHAPES,
    *eyewear.SHAPES,
    *accessories.SHAPES,
    *jewellery.SHAPES,
    *scarves.SHAPES,
    *beach.SHAPES,
)
BY_TYPE: dict[str, Shape] = {s.product_type: s for s in SHAPES}

__all__ = ["BY_TYPE", "SHAPES", "Shape"]
