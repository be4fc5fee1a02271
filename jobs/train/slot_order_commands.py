"""`medal slot-order`: which categories are worn together, learnt once, for the order of a page's slots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.train.shared import OutfitsDir, Taxonomy, Variant, faults, read, say, writable


def register(app: typer.Typer) -> None:
    """Add the command to the CLI."""

    @app.command("slot-order")
    def slot_order(
        outfits: OutfitsDir,
        out: Annotated[Path, typer.Option(help="JSON file the order is written to; read it, then name it in lists.")],
        split: Variant = "nondisjoint",
        prior: Annotated[float, typer.Option(min=0, help="Outfits' worth of the overall order in each share.")] = 10.0,
        categories_from: Taxonomy = None,
    ) -> None:
        """Learn from outfits in which order a page shows its slots, for the setting lists.slot_order."""
        with faults():
            from jobs.train.slot_order import kinds_of, learn, to_json
            from medal_model.outfits import blamed
            from schemas.slot_order import parse_slot_order
            from schemas.taxonomy import load_taxonomy

            writable("--out", out, "file")
            taxonomy = load_taxonomy(categories_from)
            found = read(outfits, split, taxonomy.category)
            with blamed(found, "train.json"):
                learnt = learn(kinds_of(found, "train"), taxonomy, prior)
            text = to_json(learnt, taxonomy, f"{split}/train", (f"{split}/valid", kinds_of(found, "valid")))
            order = parse_slot_order(text, str(out))
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(text, encoding="utf-8")
        moved = order.applied(taxonomy)
        for source in taxonomy.categories:
            if moved.targets[source] != taxonomy.targets[source]:
                say(f"{source}: {', '.join(moved.targets[source])}")
        import json

        held = json.loads(text)["learnt"].get("held_out")
        told = (
            f"; on {held['outfits']:,} held-out outfits what was worn stands at place {held['mean_place_learnt']:.2f} "
            f"on average, in the taxonomy's order at {held['mean_place_taxonomy']:.2f}" if held else ""
        )  # fmt: skip
        typer.echo(f"order of {len(order.order)} categories from {learnt.outfits:,} outfits written to {out}{told}")
