"""What the sample shop sells: designs, their colourways, prices and stock. No pixel is drawn here."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from jobs.sample.palette import CLOTH, METAL, RANGES, Colour, harmonise, luma
from jobs.sample.patterns import PRINTS
from jobs.sample.shapes import SHAPES, Shape

Fault = Literal["", "other_category", "missing_image", "truncated_image"]
FAULTS: tuple[Fault, ...] = ("missing_image", "truncated_image", "other_category")  # one product each
FAULTS_FROM = 40  # smaller samples have none
SMALL = 200  # below it two departments and two styles only, so that outfits are still possible

BRANDS = ("Alder & Finch", "Nordhaven", "Luma Studio", "Casa Mirto", "Paloma Rey", "Kestrel Works", "Otter & Oak")
CURRENCY = "EUR"
LAST_UPDATE = date(2026, 11, 20)  # the sample's own time: nothing in it comes from the clock

_CATEGORY_WEIGHT = {
    "tops": 1.4, "bottoms": 1.2, "shoes": 1.2, "outerwear": 1.05, "bags": 1.0, "all-body": 0.75, "accessories": 1.0,
    "jewellery": 0.85, "hats": 0.85, "scarves": 0.8, "sunglasses": 0.8, "swimwear": 0.12, "underwear": 0.09,
}  # fmt: skip
_DEPARTMENT_WEIGHT = {"women": 0.46, "men": 0.24, "unisex": 0.12, "girls": 0.07, "boys": 0.06, "kids": 0.05}
_ADJECTIVE = {"stripes": "striped", "checks": "checked", "dots": "polka-dot", "floral": "floral", "twotone": "two-tone"}
_WIDTHS = ((300, 8), (360, 14), (420, 20), (480, 22), (560, 16), (640, 10), (720, 5), (800, 3), (900, 1), (1000, 1))
_CHILDREN = ("girls", "boys", "kids")


@dataclass(frozen=True)
class Product:
    """One product: a colourway of a design. `design` seeds what its drawing leaves open."""

    item_id: str
    group_id: str
    shape: Shape
    department: str
    colour: Colour
    second: Colour
    pattern: str
    material: str
    design: int
    brand: str
    price: float
    availability: str
    updated_at: str
    width: int
    height: int
    fault: Fault = ""

    @property
    def category(self) -> str:
        return self.shape.category

    @property
    def patterned(self) -> bool:
        """Whether the outfit rule counts it as patterned; weaves and two tones are plain."""
        return self.pattern in PRINTS

    @property
    def title(self) -> str:
        words = [self.colour.name, _ADJECTIVE.get(self.pattern, ""), self.material, self.shape.product_type]
        return " ".join(w for w in words if w)

    @property
    def age_group(self) -> str:
        return "kids" if self.department in _CHILDREN else "adult"

    @property
    def image(self) -> str:
        return f"images/{self.item_id}.jpg"

    @property
    def description(self) -> str:
        """One plain sentence, for models that read text."""
        season = {"all": "all year", "summer": "summer", "winter": "winter"}[self.shape.season]
        tone = f" with {self.second.name.lower()}" if self.pattern in (*PRINTS, "twotone") else ""
        return f"{self.title}{tone}, {self.shape.style} style, for {self.department}, {season}"

    def row(self) -> dict[str, str]:
        """The product as a row of the catalogue."""
        other = self.fault == "other_category"
        return {
            "item_id": self.item_id,
            "title": "Gift card in an envelope" if other else self.title,
            "category": "other" if other else self.category,
            "product_type": "gift card" if other else self.shape.product_type,
            "department": self.department,
            "age_group": self.age_group,
            "brand": self.brand,
            "group_id": self.group_id,
            "price": f"{self.price:.2f}",
            "currency": CURRENCY,
            "availability": self.availability,
            "updated_at": self.updated_at,
            "image": self.image,
        }


def plan_products(items: int, seed: int, *, first: int = 1, faults: bool = True) -> list[Product]:
    """`items` products, numbered from `first`. The same arguments give the same products, always.

    Raises ValueError for fewer than one. From 40 on every category is represented, and three products are
    faulty on purpose unless `faults` is off.
    """
    if items < 1:
        raise ValueError(f"a sample needs at least 1 product, not {items}")
    rng = random.Random(f"medal-sample/{seed}/{items}/{first}")
    designs = [d for cell, n in _quotas(items).items() for d in _designs(cell, n, rng)]
    rng.shuffle(designs)  # so that the first rows of the catalogue already show a bit of everything
    ways = [(group, draft) for group, design in enumerate(designs, start=first) for draft in design]
    products = [_finish(draft, number, group, rng) for number, (group, draft) in enumerate(ways, start=first)]
    if faults and items >= FAULTS_FROM:
        products = _spoil(products)
    return products


def _spoil(products: list[Product]) -> list[Product]:
    """Give the last plain products of large categories a fault each."""
    out, todo = list(products), list(FAULTS)
    for i in range(len(out) - 1, -1, -1):
        p = out[i]
        if todo and p.category in ("tops", "shoes", "bags") and sum(q.category == p.category for q in out) > 1:
            values = {**p.__dict__, "fault": todo.pop(0), "availability": "in_stock"}
            out[i] = Product(**values)
    return out


Cell = tuple[str, str, str]  # category, department, style


def _quotas(items: int) -> dict[Cell, int]:
    """How many products each cell gets: by weight, largest remainders, every category at least once from 40 on."""
    small = items < SMALL
    weight: dict[Cell, float] = {}
    for category, cw in _CATEGORY_WEIGHT.items():
        for department, dw in _DEPARTMENT_WEIGHT.items():
            if small and department not in ("women", "men"):
                continue
            styles = sorted({s.style for s in SHAPES if s.category == category and department in s.departments})
            styles = [s for s in styles if not small or s in ("casual", "smart")]
            for style in styles:
                weight[(category, department, style)] = cw * dw / len(styles)
    total = sum(weight.values())
    exact = {cell: items * w / total for cell, w in weight.items()}
    quota = {cell: int(x) for cell, x in exact.items()}
    short = sorted(exact, key=lambda c: (quota[c] - exact[c], c))
    if items >= FAULTS_FROM:  # a category without any product comes first
        empty = {c for c in _CATEGORY_WEIGHT if not any(quota[k] for k in quota if k[0] == c)}
        firsts = [max((k for k in exact if k[0] == c), key=lambda k: (exact[k], k)) for c in sorted(empty)]
        short = firsts + [c for c in short if c not in firsts]
    for cell in short[: items - sum(quota.values())]:
        quota[cell] += 1
    return {cell: n for cell, n in quota.items() if n}


@dataclass(frozen=True)
class _Draft:
    shape: Shape
    department: str
    colour: Colour
    second: Colour
    pattern: str
    material: str
    design: int
    brand: str
    price: float
    width: int
    height: int


def _designs(cell: Cell, n: int, rng: random.Random) -> Iterator[list[_Draft]]:
    """Designs for a cell, together n colourways."""
    category, department, style = cell
    shapes = [s for s in SHAPES if s.category == category and s.style == style and department in s.departments]
    rng.shuffle(shapes)
    turn = rng.randrange(2)
    used: set[tuple[str, str]] = set()
    i = 0
    while n > 0:
        shape = shapes[i % len(shapes)]
        i += 1
        ways = min(n, rng.choices((1, 2, 3, 4), (3, 4, 3, 1))[0])
        n -= ways
        pattern, material, design = rng.choice(shape.patterns), rng.choice(shape.materials), rng.randrange(1 << 30)
        brand, price = rng.choice(BRANDS), _price(shape, rng)
        width = rng.choices([w for w, _ in _WIDTHS], [k for _, k in _WIDTHS])[0]
        height = width if rng.random() < 0.55 else round(width * 1.2)
        drafts: list[_Draft] = []
        for _ in range(ways):
            taken = {d.colour.name for d in drafts}
            colour = _colour(shape, ("warm", "cool")[turn], taken, used, rng)
            turn = 1 - turn  # every cell has both undertones
            used.add((shape.product_type, colour.name))
            second = _second(shape, colour, pattern, rng)
            drafts.append(
                _Draft(shape, department, colour, second, pattern, material, design, brand, price, width, height)
            )
        yield drafts


def _colour(shape: Shape, undertone: str, taken: set[str], used: set[tuple[str, str]], rng: random.Random) -> Colour:
    """A colour of the undertone, half of them neutrals, first one that this cell does not have yet."""
    pool = [c for c in RANGES[shape.colours] if c.undertone == undertone and c.name not in taken]
    pool = pool or [c for c in RANGES[shape.colours] if c.name not in taken]
    fresh = [c for c in pool if (shape.product_type, c.name) not in used] or pool
    neutral = [c for c in fresh if c.neutral]
    vivid = [c for c in fresh if not c.neutral]
    if neutral and vivid:
        return rng.choice(neutral if rng.random() < 0.5 else vivid)
    return rng.choice(fresh)


def _second(shape: Shape, colour: Colour, pattern: str, rng: random.Random) -> Colour:
    """The second colour: a metal for buckles and cases, otherwise one that harmonises and stands out."""
    if shape.colours == "leather" and shape.category == "accessories":
        return rng.choice([m for m in METAL if m.undertone == colour.undertone])
    fits = [c for c in CLOTH if harmonise(c, colour) and c.name != colour.name]
    gap = 75 if pattern in (*PRINTS, "twotone") else 35
    clear = [c for c in fits if abs(luma(c.rgb) - luma(colour.rgb)) >= gap]
    return rng.choice(clear or fits)


def _price(shape: Shape, rng: random.Random) -> float:
    low, high = shape.price
    return rng.randint(low, high) - rng.choice((0.0, 0.05, 0.1, 0.5))


def _finish(d: _Draft, number: int, group: int, rng: random.Random) -> Product:
    roll = rng.random()
    stock = "out_of_stock" if roll < 0.08 else "preorder" if roll < 0.11 else "in_stock"
    day = LAST_UPDATE - timedelta(days=rng.randrange(110))
    return Product(
        item_id=f"mn{number:04d}",
        group_id=f"design-{group:04d}",
        shape=d.shape,
        department=d.department,
        colour=d.colour,
        second=d.second,
        pattern=d.pattern,
        material=d.material,
        design=d.design,
        brand=d.brand,
        price=d.price,
        availability=stock,
        updated_at=f"{day.isoformat()}T06:00:00Z",
        width=d.width,
        height=d.height,
    )
