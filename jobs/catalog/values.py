"""Other people's spelling of prices, availability and gender, in the contract's."""

from __future__ import annotations

import re

_CODE = r"[A-Za-z]{3}"
_PRICE = re.compile(rf"^(?:({_CODE})\s*)?([€£]?)\s*([+-]?\d[\d.,'’ \u00a0\u202f]*?)\s*([€£]?)\s*(?:({_CODE}))?$")
_SIGNS = {"€": "EUR", "£": "GBP"}  # of $, kr and ¥ there are several
_MEN, _WOMEN = {"male", "men", "man"}, {"female", "women", "woman"}
_AVAILABILITY = {
    "in_stock": "in_stock", "instock": "in_stock", "available": "in_stock", "available_for_order": "in_stock",
    "limited_availability": "in_stock", "limitedavailability": "in_stock", "onlineonly": "in_stock",
    "instoreonly": "in_stock", "madetoorder": "in_stock",
    "out_of_stock": "out_of_stock", "outofstock": "out_of_stock", "sold_out": "out_of_stock", "soldout": "out_of_stock",
    "discontinued": "out_of_stock", "reserved": "out_of_stock", "unavailable": "out_of_stock",
    "preorder": "preorder", "pre_order": "preorder", "presale": "preorder",
    "backorder": "backorder", "back_order": "backorder", "backordered": "backorder",
}  # fmt: skip


def price(text: str) -> tuple[str, str | None]:
    """(number as 19.99, currency) of "999.00 USD", "USD 999.00", "1.299,00 EUR" or "€ 19,99".

    The text as it is, and no currency, where it is no price: the check of the row then says so.
    """
    m = _PRICE.match(text.strip())
    if m is None or (m[1] and m[5]) or (m[2] and m[4]):
        return text, None
    number = number_of(m[3])
    if number is None:
        return text, None
    code = m[1] or m[5]
    return number, code.upper() if code else _SIGNS.get(m[2] or m[4])


def number_of(text: str) -> str | None:
    """A number with a point, from one with either mark; None where it cannot be told.

    Of two marks the last is the decimal one. A single comma before two digits at the end is decimal, before three it
    stands between thousands; a single point is always decimal, as Google's specification has it.
    """
    digits = re.sub(r"['’ \u00a0\u202f]", "", text)
    point, comma = digits.rfind("."), digits.rfind(",")
    if point >= 0 and comma >= 0:
        decimal, other = (".", ",") if point > comma else (",", ".")
        digits = digits.replace(other, "").replace(decimal, ".")
    elif comma >= 0:
        many = digits.count(",") > 1 or len(digits) - comma == 4
        digits = digits.replace(",", "" if many else ".")
    elif digits.count(".") > 1:
        digits = digits.replace(".", "")
    return digits if re.fullmatch(r"[+-]?\d+(\.\d*)?", digits) else None


def availability(text: str) -> str:
    """The contract's word for an availability, old, new or schema.org's; an unknown one as it is."""
    name = re.sub(r"^(?:https?://)?(?:www\.)?schema\.org/|^schema:", "", text.strip(), flags=re.IGNORECASE)
    return _AVAILABILITY.get(re.sub(r"[\s_-]+", "_", name.casefold()), text)


def gender(text: str) -> str:
    """One gender as it is given, without schema.org's address; both at once are unisex."""
    name = re.sub(r"^(?:https?://)?(?:www\.)?schema\.org/", "", text.strip(), flags=re.IGNORECASE)
    parts = {p.strip() for p in re.split(r"[,;/|&]|\band\b", name.casefold()) if p.strip()}
    if len(parts) == 2 and parts & _MEN and parts & _WOMEN:
        return "unisex"
    return name
