"""From figures to the evaluation's Markdown, HTML and JSON. Pure: results in, text out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

from medal_model.intervals import Interval

Kind = Literal["medal", "baseline", "ablation"]
_WORDS = {"fitb": "FITB", "auc": "AUC", "micro": "over queries", "macro": "over categories"}


@dataclass(frozen=True)
class Line:
    """One scorer. `figures` by `<variant>_<figure>`; `lead` is MEDAL's figure minus this one's, paired on the same
    questions; `seconds` of training, mean over seeds and variants."""

    name: str
    kind: Kind
    figures: Mapping[str, Interval]
    seeds: tuple[int, ...]
    lead: Mapping[str, Interval] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class PoolFacts:
    """What a retrieval figure rests on; `smallest`, `median` and `largest` pool sizes."""

    rule: str
    queries: int
    categories: int
    seed: int
    smallest: int
    median: int
    largest: int


@dataclass(frozen=True)
class Evaluation:
    """All results. The first line is MEDAL's; `chance` is a constant score's figure; `pools` by `<variant>_<pool>`."""

    part: str
    lines: tuple[Line, ...]
    chance: Mapping[str, float]
    pools: Mapping[str, PoolFacts]
    commands: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Figures of the table: FITB and AUC by variant, then retrieval."""
        return tuple(self.lines[0].figures)


def verdict(evaluation: Evaluation) -> tuple[str, ...]:
    """Plain sentences: what MEDAL is not above, and where its lead is within the noise."""
    medal = evaluation.lines[0]
    keys = [k for k in evaluation.keys if k.endswith(("_fitb", "_auc"))]
    said = []
    for kind, word in (("baseline", "baseline"), ("ablation", "ablation")):
        lines = [x for x in evaluation.lines if x.kind == kind]
        if not lines:
            continue
        beaten = [
            f"{x.name} in {_title(k)} ({medal.figures[k].value:.3f} against {x.figures[k].value:.3f})"
            for x in lines for k in keys if k in x.figures and medal.figures[k].value <= x.figures[k].value
        ]  # fmt: skip
        close = [
            f"{x.name} in {_title(k)} ({x.lead[k].value:+.3f}, {x.lead[k].low:+.3f} to {x.lead[k].high:+.3f})"
            for x in lines for k in keys if k in x.lead and x.lead[k].value > 0 and x.lead[k].low <= 0
        ]  # fmt: skip
        if beaten:
            said.append(f"MEDAL is not above the {word}{'s' if len(beaten) > 1 else ''} " + "; ".join(beaten) + ".")
        else:
            said.append(f"MEDAL is above every {word} in FITB and AUC.")
        if close:
            said.append(f"Above, but with 0 inside the interval of the paired difference: {'; '.join(close)}.")
    return tuple(said)


def to_json(evaluation: Evaluation) -> str:
    """The evaluation as JSON: `medal`, `baselines` and `ablations` hold the estimates of FITB and AUC by variant;
    everything else (intervals, retrieval, pools, chance, seeds, commands) stands beside them."""
    lines = evaluation.lines

    def plain(line: Line, retrieval: bool) -> dict[str, float]:
        return {k: round(i.value, 4) for k, i in line.figures.items() if _is_retrieval(k) is retrieval}

    def by_name(kind: Kind, retrieval: bool = False) -> dict[str, dict[str, float]]:
        return {x.name: plain(x, retrieval) for x in lines if x.kind == kind}

    def ends(figures: Mapping[str, Interval]) -> dict[str, list[float]]:
        return {k: [round(i.low, 4), round(i.high, 4)] for k, i in figures.items()}

    content: dict[str, Any] = {
        "medal": plain(lines[0], False),
        "baselines": by_name("baseline"),
        "ablations": by_name("ablation"),
        "part": evaluation.part,
        "intervals_95": {x.name: ends(x.figures) for x in lines},
        "medal_minus": {
            x.name: {k: [round(v, 4) for v in (i.value, i.low, i.high)] for k, i in x.lead.items()}
            for x in lines
            if x.lead
        },
        "retrieval": {x.name: plain(x, True) for x in lines if plain(x, True)},
        "pools": {k: vars(p) for k, p in evaluation.pools.items()},
        "chance": {k: round(v, 4) for k, v in evaluation.chance.items()},
        "units": {k: i.units for k, i in lines[0].figures.items()},
        "seeds": {x.name: list(x.seeds) for x in lines},
        "train_seconds": {x.name: round(x.seconds, 1) for x in lines},
        "verdict": list(verdict(evaluation)),
        "notes": list(evaluation.notes),
        "commands": list(evaluation.commands),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def to_markdown(evaluation: Evaluation) -> str:
    """The page `docs/evaluation.md`."""
    out = [f"# Evaluation on {evaluation.part}", "", *_paragraphs(evaluation), ""]
    for title, head, body in _tables(evaluation):
        out += [f"## {title}", "", _pipe(head), _pipe(["---"] + ["---:"] * (len(head) - 1))]
        out += [_pipe([f"**{c}**" if bold else c for c, bold in row]) for row in body] + [""]
        if title == _FIRST:
            out += [*(f"- {x}" for x in verdict(evaluation)), ""]
    out += ["## How it was measured", "", *(f"- {x}" for x in _method(evaluation)), ""]
    if evaluation.commands:
        out += ["## Commands", "", *(f"    {c}" for c in evaluation.commands), ""]
    return "\n".join(out)


def to_html(evaluation: Evaluation) -> str:
    """The same page, self-contained."""
    parts = [f"<h1>Evaluation on {escape(evaluation.part)}</h1>"]
    parts += [f"<p>{escape(p)}</p>" for p in _paragraphs(evaluation) if p]
    for title, head, body in _tables(evaluation):
        rows = [
            f"<tr{' class=medal' if n == 0 else ''}>"
            + "".join(f"<td>{f'<b>{escape(c)}</b>' if bold else escape(c)}</td>" for c, bold in row) + "</tr>"
            for n, row in enumerate(body)
        ]  # fmt: skip
        heads = "".join(f"<th>{escape(h)}</th>" for h in head)
        parts.append(
            f"<h2>{escape(title)}</h2><div class=wide><table><thead><tr>{heads}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table></div>"
        )
        if title == _FIRST:
            parts.append("<ul>" + "".join(f"<li>{escape(x)}</li>" for x in verdict(evaluation)) + "</ul>")
    parts.append("<h2>How it was measured</h2><ul>" + "".join(f"<li>{escape(x)}</li>" for x in _method(evaluation)))
    parts.append("</ul>")
    if evaluation.commands:
        parts.append("<h2>Commands</h2><pre>" + escape("\n".join(evaluation.commands)) + "</pre>")
    return _PAGE.replace("@BODY@", "\n".join(parts))


_Cells = list[tuple[str, bool]]
_FIRST = "Compatibility"


def _tables(evaluation: Evaluation) -> list[tuple[str, list[str], list[_Cells]]]:
    """Title, head and rows (text, bold) of each table."""
    found = []
    main = [k for k in evaluation.keys if not _is_retrieval(k)]
    found.append((_FIRST, main))
    for name in evaluation.pools:
        variant, pool = name.split("_")
        kind = "product type" if pool == "fine" else "category"
        found.append(
            (f"Retrieval, {variant}, pools by {kind}", [k for k in evaluation.keys if k.startswith(f"{name}_")])
        )
    tables = []
    for title, keys in found:
        best = {k: max(round(x.figures[k].value, 3) for x in evaluation.lines if k in x.figures) for k in keys}
        body = [_row(x, keys, best) for x in evaluation.lines]
        if any(k in evaluation.chance for k in keys):
            body.append([("a constant score", False)] + [(_number(evaluation.chance.get(k)), False) for k in keys])
        head = ["scorer", *(_title(k) if not _is_retrieval(k) else _short(k) for k in keys)]
        tables.append((title, head, body))
    return tables


def _row(line: Line, keys: Sequence[str], best: Mapping[str, float]) -> _Cells:
    marked = {"medal": f"▸ {line.name}", "baseline": line.name, "ablation": f"MEDAL {line.name}"}[line.kind]
    cells: _Cells = [(marked, line.kind == "medal")]
    for k in keys:
        i = line.figures.get(k)
        cells.append(("", False) if i is None else (str(i), round(i.value, 3) >= best[k]))
    return cells


def _paragraphs(evaluation: Evaluation) -> list[str]:
    return [
        "Estimate and 95 % interval; the best of a column is bold, MEDAL's row is marked ▸.",
        *(x for note in evaluation.notes for x in ("", note)),
    ]


def _method(evaluation: Evaluation) -> list[str]:
    medal = evaluation.lines[0]
    seeds: dict[tuple[int, ...], list[str]] = {}
    for x in evaluation.lines:
        if x.seeds:
            seeds.setdefault(x.seeds, []).append(x.name)
    out = [
        "FITB: the answer with the highest mean score against the question's items; k tied at the top count 1/k. AUC:"
        " an outfit's score is the mean over its item pairs; ties count a half.",
        "Intervals: bootstrap of questions, outfits or queries (2,000 draws); with several seeds also of seeds, see"
        " `medal_model/intervals.py`. Differences are paired: both scorers on the same resample.",
    ]
    if seeds:
        out.append(
            "Training seeds: " + "; ".join(f"{_list(s)} for {_names(names)}" for s, names in seeds.items()) + "."
        )
    units = {k: i.units for k, i in medal.figures.items() if not _is_retrieval(k)}
    out.append("Units: " + ", ".join(f"{n:,} in {_title(k)}" for k, n in units.items()) + ".")
    for name, p in evaluation.pools.items():
        variant, pool = name.split("_")
        out.append(
            f"Retrieval, {variant}, {pool}: {p.rule}; {p.queries:,} queries, {p.categories} categories, pools of"
            f" {p.smallest:,} to {p.largest:,} items (median {p.median:,}), seed {p.seed}. A small pool is easy: see"
            " the row of a constant score."
        )
    times = [f"{x.name} {x.seconds:.0f} s" for x in evaluation.lines if x.seconds >= 0.5]
    if times:
        out.append("Training on one thread, a seed: " + ", ".join(times) + ".")
    return out


def _is_retrieval(key: str) -> bool:
    return not key.endswith(("_fitb", "_auc"))


def column_title(key: str) -> str:
    """A figure's name for people."""
    if not _is_retrieval(key):
        return _title(key)
    variant, pool, *_ = key.split("_")
    return f"{variant} {pool} {_short(key)}"


def _title(key: str) -> str:
    variant, figure = key.split("_", 1)
    return f"{variant} {_WORDS[figure]}"


def _short(key: str) -> str:
    _, _, k, mean = key.split("_")
    return f"R@{k[1:]} {_WORDS[mean]}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _list(seeds: Sequence[int]) -> str:
    return _names([str(s) for s in seeds])


def _pipe(cells: Sequence[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evaluation</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .35rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #8884; }
th { font-weight: 600; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: Canvas; }
tr.medal td { background: color-mix(in srgb, Highlight 14%, Canvas); }
pre { overflow-x: auto; padding: .8rem; background: #8881; }
</style>
<body>
@BODY@
</body></html>
"""
