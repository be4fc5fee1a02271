"""Detectors' labels to categories: the built-in table, and its use.

Names are those of Clothing Co-Parsing (Yang et al., CVPR 2014) and of Fashionpedia (Jia et al., ECCV 2020, the 46
classes of `valentinafeve/yolos-fashionpedia`). None means refused: a part of a garment, a part of the body, or a kind
for which there is no category. A label that is not in the table is unknown: counted by its name, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping

_NAMES: Mapping[str | None, str] = {
    "tops": "blouse|bodysuit|cardigan|hoodie|jumper|shirt|sweater|sweatshirt|t-shirt|top|shirt, blouse"
    "|top, t-shirt, sweatshirt",
    "bottoms": "jeans|leggings|pants|shorts|skirt",
    "all-body": "dress|jumpsuit|romper",
    # In Clothing Co-Parsing a `suit` is the suit's jacket; its trousers are `pants`.
    "outerwear": "blazer|cape|coat|jacket|suit|vest",
    "shoes": "boots|clogs|flats|heels|loafers|pumps|sandals|shoe|shoes|sneakers|wedges",
    "bags": "bag|bag, wallet|purse",
    "accessories": "belt|glove|gloves|tie|wallet|watch",
    "jewellery": "bracelet|earrings|necklace|ring",
    "hats": "hat|headband, head covering, hair accessory",
    "scarves": "scarf",
    "sunglasses": "glasses|sunglasses",
    "underwear": "bra|intimate|panties",
    "swimwear": "swimwear",
    # `accessories` names no kind of thing; legwear has no category.
    None: "accessories|hair|null|skin|leg warmer|sock|socks|stockings|tights|tights, stockings|umbrella|applique|bead"
    "|bow|buckle|collar|epaulette|flower|fringe|hood|lapel|neckline|pocket|ribbon|rivet|ruffle|sequin|sleeve|tassel"
    "|zipper",
}  # fmt: skip
LABELS: Mapping[str, str | None] = {label: c for c, names in _NAMES.items() for label in names.split("|")}


def fold(label: str) -> str:
    """The form under which labels are compared: trimmed, inner white space single, lower case."""
    return " ".join(label.split()).casefold()
