"""A shop for load: products and vectors as functions of their number, so that any slice can be made by itself.

Nothing is kept between slices or nights: a draw is a hash of seed, product, night and purpose. Product n of night k is
the same whatever was made before, and a million products take the memory of one slice.

What it is like: categories as unequal as a shop's; clusters in each, drawn from styles that all categories share (so
that shoes of a style lie near bags of it); designs in a cluster; colour variants of a design with nearly the same
visual part, some of them sold under two numbers with the same photo. A night brings new products (some of them
variants of old designs), departures, returns, other prices, stock changes and new photos.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]

VISUAL, COLOUR = 96, 32
# Shares of the catalogue; the largest category is fifteen times the smallest, as in ../shared/data/fashion.
CATEGORIES = {
    "tops": 0.22, "bottoms": 0.14, "all-body": 0.12, "outerwear": 0.09, "shoes": 0.16, "bags": 0.08,
    "accessories": 0.07, "jewellery": 0.05, "hats": 0.03, "scarves": 0.015, "sunglasses": 0.025,
}  # fmt: skip
DEPARTMENTS = {"women": 0.46, "men": 0.26, "unisex": 0.11, "girls": 0.07, "boys": 0.06, "kids": 0.04}
_PRICES = (29, 45, 69, 99, 79, 59, 25, 35, 19, 22, 89)  # usual in euro, by category
_BRANDS, _STYLES, _CLUSTERS, _COLOURS = 60, 24, 40, 36  # clusters are each category's
_FAMILY = 8  # numbers that may belong to one design; slices are cut at multiples of it
_LEADS = 0.55  # of numbers start a design of their own: 1.7 variants a design
_TWINS = 0.04  # of variants have their design's very photo, as another size or seller's offer
_JOINS = 0.25  # of new products are variants of a design that was there
_SOLD_OUT, _PREORDER = 0.05, 0.01


@dataclass(frozen=True)
class Night:
    """Shares of the products that change overnight; `new` of the first night's number, the rest of those there."""

    new: float = 0.01
    gone: float = 0.005
    back: float = 0.1  # of those gone
    repriced: float = 0.05
    sold_out: float = 0.01
    restocked: float = 0.19  # of those sold out: as many come back as go
    reshot: float = 0.002


@dataclass(frozen=True)
class Slice:
    """Products of a night, by number. `photo` is the night of their photo, 0 the first; `vector` [N, 128]."""

    number: Ints
    group: Ints
    category: Ints
    department: Ints
    kind: Ints  # product type within the category
    colour: Ints
    brand: Ints
    price: Float64
    availability: Ints  # 0 in stock, 1 sold out, 2 preorder
    updated: Ints  # night of the last change
    photo: Ints
    vector: Float32

    def __len__(self) -> int:
        return len(self.number)


@dataclass(frozen=True)
class VectorShop:
    """A shop of `items` products on its first night, and the nights after it. `rho` is the visual part's weight."""

    items: int
    seed: int
    rho: float
    nights: tuple[Night, ...] = ()

    @cached_property
    def born(self) -> tuple[int, ...]:
        """How many numbers there are after each night, the first one's at 0."""
        out = [self.items]
        for night in self.nights:
            out.append(out[-1] + round(night.new * self.items))
        return tuple(out)

    def slices(self, size: int = 8192) -> Iterator[Slice]:
        """The catalogue of the last night. The size decides memory, not content."""
        for number in self._numbers(0, self.born[-1], size):
            if (there := self._there(number)).any():
                yield self.made(number[there])

    def photographed(self, night: int, size: int = 8192) -> Iterator[Slice]:
        """Products that got a photo for this night: new ones, and those shot again (a few of them while away)."""
        until = VectorShop(self.items, self.seed, self.rho, self.nights[:night])
        again = night > 0 and self.nights[night - 1].reshot > 0
        for number in self._numbers(0 if again or not night else self.born[night - 1], self.born[night], size):
            if (fresh := until._photo(number) == night).any():
                yield until.made(number[fresh])

    def made(self, number: Ints) -> Slice:
        """Products by number as they are on the last night, whether or not they are still sold."""
        lead = self._lead(number)
        category = _choice(self._draw("category", lead), CATEGORIES.values())
        department = _choice(self._draw("department", lead), DEPARTMENTS.values())
        # No dresses and jewellery for men and boys: shown to women and girls, as a shop would.
        no_men = np.isin(category, [list(CATEGORIES).index(c) for c in ("all-body", "jewellery")])
        names = list(DEPARTMENTS)
        for his, hers in (("men", "women"), ("boys", "girls")):
            department = np.where(no_men & (department == names.index(his)), names.index(hers), department)
        cluster = _choice(self._draw("cluster", lead), 1 / np.arange(1, _CLUSTERS + 1) ** 0.7)
        colour = _choice(self._draw("colour", self._like(number, lead)), 1 / np.arange(1, _COLOURS + 1) ** 0.6)
        brand = _choice(self._draw("brand", lead), 1 / np.arange(1, _BRANDS + 1) ** 0.8)
        availability, restocked = self._availability(number)
        price, repriced = self._price(number, category, brand, lead)
        photo = self._photo(number)
        updated = np.maximum.reduce([photo, restocked, repriced])
        vector = self._vector(number, lead, category, cluster, colour, photo)
        return Slice(
            number, lead, category, department, cluster // 4, colour, brand, price, availability, updated, photo, vector
        )

    def image(self, number: Ints, photo: Ints) -> list[str]:
        """32 hex digits for each product's photo, as `image_fingerprint` has them."""
        like = np.where(photo == 0, self._like(number, self._lead(number)), number)
        a, b = (self._hash(f"image {half}", like, photo) for half in ("a", "b"))
        return [f"{x:016x}{y:016x}" for x, y in zip(a.tolist(), b.tolist(), strict=True)]

    # --- draws --------------------------------------------------------------------------------------------------

    def _numbers(self, start: int, stop: int, size: int) -> Iterator[Ints]:
        size = max(_FAMILY, size // _FAMILY * _FAMILY)
        for a in range(start, stop, size):
            yield np.arange(a, min(stop, a + size), dtype=np.int64)

    def _hash(self, purpose: str, number: Ints, salt: Ints | int = 0) -> Words:
        """64 random bits for each (purpose, number, salt)."""
        key = hashlib.blake2b(f"{self.seed} {purpose}".encode(), digest_size=8).digest()
        h = _mix(np.uint64(int.from_bytes(key, "little")) + _words(number) * np.uint64(0xD1342543DE82EF95))
        return _mix(h ^ (_words(salt) * np.uint64(0xDA942042E4DD58B5)))

    def _draw(self, purpose: str, number: Ints, salt: Ints | int = 0) -> Float64:
        """Uniform in [0, 1)."""
        out: Float64 = (self._hash(purpose, number, salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return out

    def _normal(self, purpose: str, number: Ints, dims: int, salt: Ints | int = 0) -> Float64:
        """Nearly normal [N, dims] of variance 1: four 16-bit uniforms of a hash added up (Irwin–Hall), no logarithm."""
        columns = np.arange(dims, dtype=np.int64)[None, :]
        h = self._hash(purpose, (number[:, None] << 8) | columns, np.reshape(salt, (-1, 1)))
        total = np.zeros(h.shape)
        for shift in (0, 16, 32, 48):
            total += ((h >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.float64)
        return (total / 65535 - 2.0) * np.sqrt(3.0)

    def _lead(self, number: Ints) -> Ints:
        """The first product of each one's design: itself, one of the few numbers before it, or an old design."""
        of_old = (number >= self.items) & (self._draw("joins", number) < _JOINS)
        old = (self._hash("joins which", number) % np.uint64(self.items)).astype(np.int64)
        number = np.where(of_old, old, number)
        lead, open_ = number.copy(), np.ones(len(number), dtype=np.bool_)
        for _ in range(_FAMILY):
            new = number >= self.items  # designs of new products are theirs alone: old ones join, new ones do not
            open_ &= ~((lead % _FAMILY == 0) | new | (self._draw("leads", lead) < _LEADS))
            lead = np.where(open_, lead - 1, lead)
        return lead

    def _like(self, number: Ints, lead: Ints) -> Ints:
        """The product whose photo each one shows: itself, or its design's first."""
        return np.where(self._draw("twin", number) < _TWINS, lead, number)

    def _first_night(self, number: Ints) -> Ints:
        return np.searchsorted(np.array(self.born), number, side="right").astype(np.int64)

    def _there(self, number: Ints) -> Bools:
        there = number < self.items
        born = self._first_night(number)
        for k, night in enumerate(self.nights, start=1):
            u = self._draw("gone", number, k)
            old = born < k
            there = np.where(old, np.where(there, u >= night.gone, u < night.back), born == k)
        return there

    def _photo(self, number: Ints) -> Ints:
        photo = self._first_night(number)
        for k, night in enumerate(self.nights, start=1):
            photo = np.where((photo < k) & (self._draw("photo", number, k) < night.reshot), k, photo)
        return photo

    def _availability(self, number: Ints) -> tuple[Ints, Ints]:
        born = self._first_night(number)
        u = self._draw("stock", number)
        state = np.where(u < _SOLD_OUT, 1, np.where(u < _SOLD_OUT + _PREORDER, 2, 0))
        changed = born.copy()
        for k, night in enumerate(self.nights, start=1):
            share = np.where(state == 1, night.restocked, night.sold_out)
            turn = (born < k) & (self._draw("stock", number, k) < share)
            state = np.where(turn, np.where(state == 1, 0, 1), state)
            changed = np.where(turn, k, changed)
        return state, changed

    def _price(self, number: Ints, category: Ints, brand: Ints, lead: Ints) -> tuple[Float64, Ints]:
        born = self._first_night(number)
        level = 0.6 + 1.8 * self._draw("brand price", brand)
        price = np.array(_PRICES)[category] * level * (0.5 + self._draw("price", lead) + self._draw("price b", lead))
        changed = born.copy()
        for k, night in enumerate(self.nights, start=1):
            turn = (born < k) & (self._draw("price", number, k) < night.repriced)
            factor = np.array([0.7, 0.8, 0.9, 1.1])[(self._hash("sale", number, k) % np.uint64(4)).astype(np.int64)]
            price = np.where(turn, price * factor, price)
            changed = np.where(turn, k, changed)
        return np.asarray(np.round(np.maximum(price, 1.0), 2), dtype=np.float64), changed

    # --- vectors ------------------------------------------------------------------------------------------------

    @cached_property
    def _tables(self) -> tuple[Float64, Float64, Float64]:
        """Centres of clusters [category, cluster, VISUAL] and colours [colour, COLOUR], and weights of dimensions.

        Their dimensions carry unequal weight (as 1/√d), so that the vectors spread over some twenty directions, not 96.
        """
        rng = np.random.default_rng([self.seed, 96])
        weight = 1 / np.sqrt(np.arange(1, VISUAL + 1))
        weight = rng.permutation(weight) / np.linalg.norm(weight)
        styles, categories = (rng.standard_normal((n, VISUAL)) * weight for n in (_STYLES, len(CATEGORIES)))
        own = rng.standard_normal((len(CATEGORIES), _CLUSTERS, VISUAL)) * weight
        style = rng.integers(0, _STYLES, (len(CATEGORIES), _CLUSTERS))
        clusters = 0.7 * styles[style] + 0.4 * categories[:, None, :] + 0.45 * own
        colours = np.abs(rng.standard_normal((_COLOURS, COLOUR))) ** 2  # few bins of a histogram hold most of it
        return clusters, colours / np.linalg.norm(colours, axis=1, keepdims=True), weight

    def _vector(self, number: Ints, lead: Ints, category: Ints, cluster: Ints, colour: Ints, photo: Ints) -> Float32:
        clusters, colours, weight = self._tables
        # A design's first photo is its own; a product shot again has a photo of its own from then on.
        like = np.where(photo == 0, self._like(number, lead), number)
        v = clusters[category, cluster] + 0.6 * weight * self._normal("design", lead, VISUAL)
        v += 0.04 * weight * self._normal("photo", like, VISUAL, photo)
        c = colours[colour] + 0.05 * np.abs(self._normal("hue", like, COLOUR, photo))
        v *= np.sqrt(self.rho) / np.linalg.norm(v, axis=1, keepdims=True)
        c *= np.sqrt(1 - self.rho) / np.linalg.norm(c, axis=1, keepdims=True)
        return np.hstack([v, c]).astype(np.float32)


def _words(a: npt.NDArray[np.integer] | int) -> Words:
    return np.atleast_1d(a).astype(np.uint64)


def _mix(z: Words) -> Words:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _choice(u: Float64, weights: Iterable[float]) -> Ints:
    """Index by weight for uniform numbers."""
    edges = np.cumsum(np.array(list(weights), dtype=np.float64))
    return np.minimum(np.searchsorted(edges / edges[-1], u, side="right"), len(edges) - 1).astype(np.int64)
