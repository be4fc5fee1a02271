"""What a study trains on: an outfits folder's items, and the other inputs that its ablations take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medal_model.features import Extractor
from medal_model.image_source import open_images
from medal_model.merge import merge_gallery, merge_train
from medal_model.outfits import Outfits, OutfitsError
from medal_model.recipe import read_gallery
from medal_model.study import Ablation, Variant
from medal_model.teacher import load_teacher
from medal_model.text import read_texts

TEXT, HARVEST = "text", "harvest"


@dataclass(frozen=True)
class More:
    """Inputs beside an outfits folder's own: a table of text vectors, harvested outfits with their photos (`all`
    parts are trained on: nothing is asked about them), folders of teachers whose backbone was trained."""

    texts: Path | None = None
    harvested: Outfits | None = None
    harvest_images: Path | None = None
    teachers: Sequence[Path] = ()

    def ablations(self) -> dict[str, Ablation]:
        """MEDAL with each of them added."""
        added = {"+ text": TEXT} if self.texts is not None else {}
        if self.harvested is not None:
            added["+ harvest"] = HARVEST
        names = Counter(folder.name for folder in self.teachers)
        for folder in self.teachers:
            added[f"on features of {folder.name if names[folder.name] == 1 else folder}"] = str(folder)
        return {name: Ablation(on=what) for name, what in added.items()}


def read_variant(
    outfits: Outfits, images: Path, extractor: Extractor, cache: Path, more: More, say: Callable[[str], None]
) -> Variant:
    """Features of all items, and a `Variant.others` for each of `more`.

    Raises OutfitsError, TextError, TeacherError; OutfitsError also where a teacher reads other photos than the
    extractor.
    """
    source = open_images(images)
    outfits, gallery, _, _ = read_gallery(outfits, source, extractor, cache, say, False)
    others: dict[str, Variant] = {}
    if more.texts is not None:
        others[TEXT] = Variant(outfits, gallery, read_texts(more.texts, gallery))
    if more.harvested is not None and more.harvest_images is not None:
        harvested, added, _, _ = read_gallery(more.harvested, more.harvest_images, extractor, cache, say, False)
        merged = merge_train(outfits, harvested, parts=("train", "valid", "test"))
        others[HARVEST] = Variant(merged, merge_gallery(gallery, added, merged))
    for folder in more.teachers:
        _, seen, _, _ = read_gallery(
            outfits, source, load_teacher(folder, extractor.device).extractor, cache, say, False
        )
        if seen.ids != gallery.ids:
            raise OutfitsError(f"{folder}: reads {len(seen.ids):,} of the photos, the study {len(gallery.ids):,}")
        others[str(folder)] = Variant(outfits, seen)
    return Variant(outfits, gallery, others=others)
