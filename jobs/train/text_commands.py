"""`medal text-table`: titles to frozen vectors, once, for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.errors import SettingsError
from jobs.train.shared import faults, progress, say, writable


def register(app: typer.Typer) -> None:
    """Add the command to the CLI."""

    @app.command("text-table")
    def text_table(
        titles: Annotated[
            Path, typer.Option(help="CSV with item_id and title, such as a catalogue, or an outfits folder.")
        ],
        out: Annotated[Path, typer.Option(help="File the table is written to.")],
        encoder: Annotated[str, typer.Option(help="auto, clip, or minilm (a stand-in for CLIP).")] = "auto",
    ) -> None:
        """Turn titles into a table of frozen text vectors, for `medal train --texts`."""
        if encoder not in ("auto", "clip", "minilm"):
            raise SettingsError(f"--encoder {encoder}: must be auto, clip or minilm")
        with faults():
            from medal_model.text import read_titles, write_table
            from medal_model.text_encoders import encode, open_encoder

            writable("--out", out, "file")
            found, without = read_titles(titles)
            chosen = open_encoder(encoder)
            note = " (a stand-in for CLIP)" if chosen.stand_in else ""
            say(f"encoder: {chosen.name}{note}")
            write_table(out, encode(chosen, found, progress("titles")), chosen.name)
        typer.echo(f"{len(found):,} vectors by {chosen.name}{note} written to {out}; {without:,} items have no title")
