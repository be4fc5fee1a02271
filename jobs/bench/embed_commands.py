"""`medal bench embed`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.errors import SettingsError


def add(bench: typer.Typer) -> None:
    """Add the command to the group `bench`."""

    @bench.command()
    def embed(
        photos: Annotated[int, typer.Option(min=1, help="Photos that are decoded.")] = 40,
        pixels: Annotated[int, typer.Option(min=16, help="Side of a photo.")] = 1000,
        size: Annotated[int, typer.Option(min=16, help="Side of the network's input.")] = 224,
        rounds: Annotated[int, typer.Option(min=1, help="Turns of each side; medians are reported.")] = 5,
        seed: Annotated[int, typer.Option(help="Of the drawn photos.")] = 7,
        images: Annotated[Path | None, typer.Option(help="Photos of this folder, scaled, instead of drawn ones.")] = (
            None
        ),
        items: Annotated[int, typer.Option(min=0, help="Images the whole stage embeds; 0: decoding alone.")] = 1000,
        memory: Annotated[str, typer.Option(help="Images at which the stage's memory is taken, with commas.")] = "",
        teacher: Annotated[Path, typer.Option(help="Exported teacher that embeds.")] = Path("jobs/sample/teacher"),
        peer: Annotated[bool, typer.Option(help="Also clip-retrieval's loop on the stage's images.")] = True,
        peer_python: Annotated[Path, typer.Option(help="Python with clip-retrieval (`make peers`).")] = (
            Path("var/peers-embed/bin/python")
        ),
        rows: Annotated[int, typer.Option(min=0, help="Vectors written to the lake; 0: none.")] = 100_000,
        out: Annotated[Path | None, typer.Option(help="File for the same JSON.")] = None,
    ) -> None:
        """Decoding on one core against the pipeline that peers use; the stage against the bare network and a peer."""
        from jobs.bench.embed_decode import Order, drawn, measure, read
        from jobs.bench.embed_job import JobOrder
        from jobs.bench.embed_job import measure as measure_stage
        from jobs.bench.embed_rows import RowsOrder
        from jobs.bench.embed_rows import measure as measure_rows
        from jobs.settings import load_settings
        from jobs.stage import log

        if images is not None and not images.is_dir():
            raise SettingsError(f"--images {images}: no such folder")
        try:
            sizes = tuple(int(n) for n in memory.split(",") if n.strip())
            if any(n < 1 for n in sizes):
                raise ValueError(f"--memory {memory}: give numbers from 1 on, such as 1000,7000")
            order = Order(photos, pixels, size, rounds, seed, images)
            result = measure(order, log)
            if items or sizes:
                python = peer_python if peer else None
                files = drawn(order) if images is None else read(order)
                result |= measure_stage(JobOrder(teacher, files, items, 1, sizes, peer_python=python), log)
            if rows:
                result |= measure_rows(RowsOrder(rows, load_settings().embed.slice_size, seed), log)
            result |= _gpu(log)
        except ValueError as e:
            raise SettingsError(str(e)) from e
        line = json.dumps(result)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(line + "\n", encoding="utf-8")
        typer.echo(line)


def _gpu(log: Callable[[str], None]) -> dict[str, Any]:
    """Nothing where there is no GPU."""
    import torch

    if not torch.cuda.is_available():
        return {}
    from jobs.bench.embed_gpu import GpuOrder, measure

    return {"gpu": measure(GpuOrder(), torch.device("cuda"), log)}
