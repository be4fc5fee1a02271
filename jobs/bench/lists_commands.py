"""`medal bench lists` and `lists-memory`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.errors import SettingsError


def add(bench: typer.Typer) -> None:
    """Add the commands to the group `bench`."""

    @bench.command()
    def lists(
        items: Annotated[int, typer.Option(min=100, help="Products of the drawn shop.")] = 20_000,
        shares: Annotated[str, typer.Option(help="Shares of new products, a night each, with commas; or none.")] = (
            "0.001,0.01,0.1"
        ),
        peers: Annotated[str, typer.Option(help="spark, hnswlib, autofaiss, with commas; or none.")] = (
            "spark,hnswlib,autofaiss"
        ),
        sale: Annotated[bool, typer.Option(help="Also a night of prices and stock alone.")] = True,
        nights: Annotated[int, typer.Option(min=0, help="Usual nights in a row, the last compared with a full.")] = 0,
        oracle: Annotated[int, typer.Option(min=0, help="Lists checked by brute force.")] = 1000,
        rounds: Annotated[int, typer.Option(min=1, help="Turns of floor and job; the median is reported.")] = 1,
        seed: Annotated[int, typer.Option(help="Of the shop and of what is sampled.")] = 7,
        teacher: Annotated[Path, typer.Option(help="Exported teacher whose masks are used.")] = (
            Path("jobs/sample/teacher")
        ),
        work: Annotated[Path, typer.Option(help="Folder for lake and files; emptied first.")] = Path("var/bench/lists"),
        peer_python: Annotated[Path, typer.Option(help="Python with the peers (`make peers`).")] = (
            Path("var/peers/bin/python")
        ),
        out: Annotated[Path | None, typer.Option(help="File for the same JSON.")] = None,
    ) -> None:
        """The lists job against a floor written by hand, its incremental nights, and peers, on one drawn shop."""
        from jobs.bench.lists import PEERS, Request, measure
        from jobs.settings import load_settings
        from jobs.stage import log

        chosen = _names(peers)
        if unknown := [p for p in chosen if p not in PEERS]:
            raise SettingsError(f"--peers: {', '.join(unknown)} unknown; there are {', '.join(PEERS)}")
        try:
            drawn = tuple(float(s) for s in _names(shares))
        except ValueError:
            raise SettingsError(f"--shares {shares}: must be numbers with commas, such as 0.001,0.01") from None
        if not all(0 < s <= 1 for s in drawn):
            raise SettingsError(f"--shares {shares}: must be above 0 and at most 1")
        request = Request(
            items, seed, teacher, work.resolve(), drawn, sale, chosen, peer_python, oracle, rounds, nights
        )
        line = json.dumps(measure(request, load_settings(), log))
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(line + "\n", encoding="utf-8")
        typer.echo(line)

    @bench.command("lists-memory")
    def lists_memory(
        pages: Annotated[int, typer.Option(min=1, help="Products of the source category.")] = 1_000_000,
        targets: Annotated[int, typer.Option(min=1, help="Products of the target category.")] = 100_000,
        seed: Annotated[int, typer.Option(help="Of the products.")] = 7,
        teacher: Annotated[Path, typer.Option(help="Exported teacher whose mask is used.")] = (
            Path("jobs/sample/teacher")
        ),
        work: Annotated[Path, typer.Option(help="Folder for the galleries; emptied first.")] = (
            Path("var/bench/lists-memory")
        ),
    ) -> None:
        """Peak memory of a worker of the lists job with one very large source category; its rows go nowhere."""
        from jobs.bench.lists_memory import Order, measure
        from jobs.settings import load_settings
        from jobs.stage import log

        s = load_settings().lists
        order = Order(str(work.resolve()), pages, targets, str(teacher), s.k, s.depth, s.query_block, s.base_block)
        typer.echo(json.dumps(measure(order, seed, log)))


def _names(text: str) -> tuple[str, ...]:
    return () if text.strip() in ("", "none") else tuple(t.strip() for t in text.split(","))
