"""clip-retrieval's inference loop on a folder of photos, in an environment of its own (`make peers`).

    python -m jobs.bench.embed_peer_loop PHOTOS OUT TEACHER BATCH WORKERS THREADS

Its own reader of files with its DataLoader, runner, writer of npy and Parquet, and logger with its process. The mapper
is the teacher's backbone and heads, in place of CLIP; photos are prepared as OpenCLIP does. Figures: OUT/loop.json.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
import time
import types
from pathlib import Path
from typing import Any


def _packages() -> None:
    """clip-retrieval's packages by their folders alone: their own start imports indices, a web server and CLIP.

    At the top of this module, as the logger's process imports it before the logger.
    """
    found = importlib.util.find_spec("clip_retrieval")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("clip_retrieval is not installed; `make peers` installs it")
    root = found.submodule_search_locations[0]
    for name, folder in (("clip_retrieval", root), ("clip_retrieval.clip_inference", f"{root}/clip_inference")):
        module = types.ModuleType(name)
        module.__path__ = [folder]
        sys.modules[name] = module


_packages()


class TeacherMapper:
    """What stands in the place of CLIP: float16 vectors of a batch, no histogram counted."""

    def __init__(self, teacher: Any, batch: int) -> None:
        import torch

        from medal_model.colour import HISTOGRAM_SIZE

        self.teacher = teacher
        self.histogram = torch.full((batch, HISTOGRAM_SIZE), 1 / HISTOGRAM_SIZE)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        import torch

        with torch.inference_mode():
            x = item["image_tensor"].contiguous(memory_format=torch.channels_last)
            z = self.teacher.heads(self.teacher.extractor._backbone(x), self.histogram[: len(x)])
        names = item["image_filename"]
        vectors = z.to(torch.float16).numpy()
        return {"image_embs": vectors, "text_embs": None, "image_filename": names, "text": None, "metadata": None}


def run(photos: str, out: str, teacher_dir: str, batch: int, workers: int, threads: int) -> dict[str, Any]:
    """Figures of one run of the loop: its seconds, from making the reader to the last file written, and its parts."""
    import torch
    from clip_retrieval.clip_inference.logger import LoggerWriter
    from clip_retrieval.clip_inference.reader import FilesReader
    from clip_retrieval.clip_inference.runner import Runner
    from clip_retrieval.clip_inference.writer import NumpyWriter

    from jobs.bench.embed_decode import peer_transform
    from medal_model.teacher import load_teacher

    torch.set_num_threads(threads)

    def reader(sampler: Any) -> Any:
        prepare = peer_transform(teacher.input_size, teacher.extractor.spec.mean, teacher.extractor.spec.std)
        return FilesReader(sampler, prepare, None, photos, batch, workers, enable_text=False, enable_image=True)

    begun = time.perf_counter()
    teacher = load_teacher(Path(teacher_dir))
    Runner(
        reader_builder=reader,
        mapper_builder=lambda: TeacherMapper(teacher, batch),
        writer_builder=lambda i: NumpyWriter(i, out, False, True, False, 1),
        logger_builder=lambda i: LoggerWriter(i, f"{out}/stats"),
        output_partition_count=1,
    )(0)
    took = time.perf_counter() - begun
    parts = json.loads(Path(out, "stats", "0.json").read_text())
    return {
        "s": round(took, 3),
        "rows": int(parts["sample_count"]),
        "workers": workers,
        "threads": threads,
        **{f"{k}_s": round(parts[f"{k}_duration"], 3) for k in ("read", "inference", "write")},
        "version": importlib.metadata.version("clip-retrieval"),
    }


if __name__ == "__main__":
    _photos, _out, _teacher, *_numbers = sys.argv[1:]
    Path(_out, "loop.json").write_text(json.dumps(run(_photos, _out, _teacher, *map(int, _numbers))))
