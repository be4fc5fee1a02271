"""How a figure is told: with its name, its unit and no more digits than a person reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def number(value: float) -> str:
    """12,345 or 0.987."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}".rstrip("0").rstrip(".")


def rate(value: float) -> str:
    """1,234, 52 or 4.6."""
    return f"{value:,.0f}" if round(value, 1) >= 10 else f"{value:.1f}"


def percent(share: float) -> str:
    """One decimal, and never 100 % for what is not all."""
    if share < 1 and round(share * 100, 1) >= 100:
        return "99.9 %"
    return f"{share * 100:.1f} %".replace(".0 %", " %")


def whole_percent(share: float) -> str:
    """For shares that were measured: 92 %, and never 0 or 100 % for what is not none or all."""
    if 0 < share < 0.01:
        return "under 1 %"
    return "over 99 %" if 0.99 < share < 1 else f"{share * 100:.0f} %"


def duration(seconds: float) -> str:
    """1.5 ms, 480 ms, 4.6 s, 12 min 04 s, 3 h 20 min."""
    if 0 < seconds < 1:
        ms = seconds * 1000
        return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = max(60, int(seconds))
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


def size(count: float) -> str:
    """Bytes as 950 bytes, 47.6 kB, 12.8 MB or 1.2 GB; powers of ten."""
    if count < 1000:
        return f"{count:.0f} bytes"
    for power, unit in ((1e3, "kB"), (1e6, "MB")):
        if round(count / power, 1) < 1000:
            return f"{count / power:.1f} {unit}"
    return f"{count / 1e9:,.1f} GB"


def _release(value: float) -> str:
    return f"release {value:.0f}"


# Of each stage, in the order of what a person asks first; run_metrics has the rest.
_TOLD: Mapping[str, Mapping[str, tuple[str, Callable[[float], str]]]] = {
    "embed": {
        "embedded": ("embedded", number),
        "reused": ("reused", number),
        "unchanged": ("unchanged", number),
        "stale_vector": ("with a stale vector", number),
        "waiting": ("waiting", number),
        "quarantined": ("quarantined", number),
    },
    "complements": {
        "products": ("products", number),
        "planned": ("lists planned", number),
        "filled": ("lists filled", number),
        "complements_written": ("lists written", number),
        "entries": ("places filled", number),
        "coverage": ("of the feasible places", percent),
        "empty_no_vector": ("lists empty without a vector", number),
        "empty_no_target": ("lists empty without a target", number),
        "explored": ("places by lot", number),
        "pins_dropped": ("pins dropped", number),
    },
    "check": {
        "checks": ("checks", number),
        "passed": ("passed", number),
        "critical_failed": ("critical ones failed", number),
        "crashed": ("crashed", number),
        "warnings": ("warnings", number),
        "shown_share": ("of possible targets are shown", percent),
    },
    "publish": {
        "release": ("", _release),
        "lists": ("lists", number),
        "items": ("products with lists", number),
        "empty_slots": ("empty lists", number),
        "products_written": ("products written", number),
        "products_unchanged": ("products unchanged", number),
        "products_removed": ("products removed", number),
    },
}


def of_stage(stage: str, counts: Mapping[str, float]) -> tuple[tuple[str, str], ...]:
    """A stage's (name, figure), without those that are zero."""
    return tuple((name, told(counts[k])) for k, (name, told) in _TOLD.get(stage, {}).items() if counts.get(k))
