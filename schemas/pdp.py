"""The public answers of the PDP endpoint (docs/serving.md). Additive changes only: pages in shops read them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Product(_Answer):
    """A product as it is today."""

    item_id: str
    title: str = Field(description="The catalogue's title; the item id where it has none.")
    category: str
    category_title: str
    department: str
    brand: str | None
    price: float | None = Field(description="In units of `currency`; null where the catalogue has none.")
    currency: str | None = Field(description="ISO 4217 code, as the catalogue gives it.")
    in_stock: bool
    availability: str = Field(description="in_stock, preorder, backorder or out_of_stock.")
    image_url: str | None = Field(description="Address of the photo, relative to this host unless absolute.")
    product_url: str


class Complement(_Answer):
    """A product that looks right beside the one asked for."""

    item_id: str
    title: str
    brand: str | None
    price: float | None
    currency: str | None
    image_url: str | None
    product_url: str
    score: float | None = Field(description="How well it goes, about -1 to 1; visual + colour. null: set by hand.")
    visual: float | None = Field(description="The part of the score that shape, texture and style give.")
    colour: float | None = Field(description="The part of the score that colour gives.")
    reason: str = Field(description="Why it is listed: model, boost, bury; by hand: pin, list; new, by lot: explore.")


class Slot(_Answer):
    """One category beside the product, items in rank order; never empty."""

    category: str
    title: str
    items: list[Complement]


class LookItem(Complement):
    """A piece of the look: a complement, and the slot it is from."""

    category: str
    category_title: str


class Complements(_Answer):
    """Answer of `GET /v1/items/{item_id}/complements`."""

    item_id: str
    release: int = Field(description="Number of the announced release the lists are from.")
    run_date: str
    model_version: str
    product: Product
    slots: list[Slot] = Field(description="In display order; slots without a product that can be bought are left out.")
    complete_the_look: list[LookItem] = Field(
        description="The best of each slot in turn, then the second of each, …; one of each group, none of the page's."
    )


class Listing(_Answer):
    """Answer of `GET /v1/items`."""

    items: list[Product]
    next: str | None = Field(description="Give this as `after` for the next page; null on the last one.")


class Category(_Answer):
    category: str
    title: str


class Categories(_Answer):
    """Answer of `GET /v1/categories`: those that have products, in the taxonomy's order."""

    categories: list[Category]


class Problem(_Answer):
    """Every error (RFC 9457, application/problem+json)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
