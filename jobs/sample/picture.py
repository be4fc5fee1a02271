"""One product's picture: from a product to the bytes of a JPEG."""

from __future__ import annotations

import io
import random

from jobs.sample.canvas import Sketch, path, rounded
from jobs.sample.patterns import Fabric
from jobs.sample.products import Product

_QUALITY = 90


def picture(product: Product) -> bytes:
    """The JPEG of a product; half of one where its fault says so. Same product and Pillow, same bytes."""
    rng = random.Random(product.design)
    fabric = Fabric(
        product.colour.rgb,
        product.second.rgb,
        product.pattern,
        rng.choice((0.75, 0.9, 1.0, 1.2)),
        product.design,
    )
    # Small pictures are oversampled more: a seam of a pixel's width needs it.
    sketch = Sketch(product.width, product.height, 3 if product.width <= 420 else 2)
    if product.fault == "other_category":
        _gift_card(sketch, fabric)
        image = sketch.finish()
    else:
        product.shape.draw(sketch, fabric, rng)
        image = sketch.finish(standing=product.shape.standing)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    data = out.getvalue()
    return data[: len(data) // 2] if product.fault == "truncated_image" else data


def _gift_card(s: Sketch, f: Fabric) -> None:
    s.part(rounded(12, 30, 88, 74, 3), (246, 243, 236), shade=0.2)
    s.part(rounded(16, 22, 84, 62, 4), f.colour, shade=0.3)
    s.line(path("M 30 22 L 30 62"), f.second, 2.4)
    s.line(path("M 16 42 L 84 42"), f.second, 2.4)
    s.disc(30, 42, 3.4, f.second)
