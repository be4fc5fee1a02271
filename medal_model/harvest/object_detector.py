"""A transformers object detector (DETR, YOLOS and their kin). transformers is imported when one is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch

from medal_model.harvest.detections import Box, Detection, DetectorError, Photo
from medal_model.harvest.labels import fold

# YOLOS-small on Fashionpedia: 46 classes, garments and their parts, no person.
DEFAULT_DETECTOR = "valentinafeve/yolos-fashionpedia"


class ObjectDetector:
    """Looks at pixels; `floor` is the score below which nothing is reported."""

    def __init__(
        self, source: str = DEFAULT_DETECTOR, person_labels: Collection[str] = ("person",), floor: float = 0.1
    ) -> None:
        """`source`: a folder made by save_pretrained, or a name on the hub. Raises DetectorError saying what to do."""
        self._model, self._processor = _load(source)
        self._people = {fold(p) for p in person_labels}
        self._labels = {int(k): fold(v) for k, v in self._model.config.id2label.items()}
        self._floor = floor
        self.name = f"{Path(source).name if Path(source).is_dir() else source}@{self._fingerprint()}"
        self.persons = bool(self._people & set(self._labels.values()))
        self.held: Mapping[str, int] = {}

    @torch.inference_mode()
    def detect(self, photo: Photo) -> tuple[Detection, ...]:
        """Best first; boxes in the photo's pixels, clipped to it."""
        inputs = self._processor(images=photo.pixels, return_tensors="pt", input_data_format="channels_last")
        output = self._model(**{k: v for k, v in inputs.items() if k in ("pixel_values", "pixel_mask")})
        size = [(photo.height, photo.width)]
        result = self._processor.post_process_object_detection(output, threshold=self._floor, target_sizes=size)[0]
        found = []
        rows = zip(result["scores"].tolist(), result["labels"].tolist(), result["boxes"].tolist(), strict=True)
        for score, label, (left, top, right, bottom) in rows:
            name = self._labels.get(int(label), f"class {label}")
            box = Box(left, top, right - left, bottom - top).clipped(photo.width, photo.height)
            found.append(Detection(name, score, box, None, name in self._people))
        return tuple(sorted(found, key=lambda d: (-d.score, d.label, d.box.x, d.box.y)))

    def _fingerprint(self) -> str:
        """12 hex digits over the weights: a hub name alone says nothing about its version."""
        digest = hashlib.sha256()
        for key, tensor in sorted(self._model.state_dict().items()):
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:12]


def _load(source: str) -> tuple[Any, Any]:
    try:
        import transformers
    except ImportError as e:
        raise DetectorError("detector: transformers is not installed; pip install 'medal-nightly[text]'") from e
    try:
        if not (local := Path(source).is_dir() or _in_cache(source)):
            _reach(source)
        image_processor: Any = transformers.AutoImageProcessor
        processor = image_processor.from_pretrained(source, local_files_only=local)
        model = transformers.AutoModelForObjectDetection.from_pretrained(source, local_files_only=local)
    except Exception as e:  # hub, network, file and configuration faults come as many classes
        first = next((line.strip() for line in str(e).splitlines() if line.strip()), type(e).__name__)
        raise DetectorError(
            f"detector {source}: cannot be loaded ({first}); where the hub can be reached, "
            f"`hf download {source} --local-dir DIR`, then --detector DIR; or give recorded --detections"
        ) from e
    return model.eval(), processor


def _in_cache(source: str) -> bool:
    """Was it downloaded before?"""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(source, "config.json"), str)


def _reach(source: str) -> None:
    """Raises OSError at once where the hub cannot be reached: its own client tries for minutes."""
    from huggingface_hub import hf_hub_url

    try:
        urlopen(Request(hf_hub_url(source, "config.json"), method="HEAD"), timeout=10).close()
    except HTTPError:
        pass  # reached: what it says is for the client to tell
