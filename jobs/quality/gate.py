"""Running suites through Great Expectations Checkpoints, and reading what they say.

Two facts about Great Expectations decide how results are read (design section 7): `success` is false for any
failed check whatever its severity, and a crashed check carries its own severity. So each result is looked at by
itself, and any exception blocks.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.errors import MedalError
from jobs.quality.aggregates import EXAMPLES, Frame
from jobs.quality.suites import Check, Misspelt, build, filled
from jobs.quality.verdict import CheckResult, Verdict

if TYPE_CHECKING:
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
    from great_expectations.expectations.expectation import Expectation

FrameSource = Callable[[], Frame]
# The walkthrough's pictures, 3.4 of a site's 4 MB; it is switched off below.
_UNUSED = ("glossary_scroller.gif", "validation_failed_unexpected_values.gif", "iterative-dev-loop.png")


def run_gate(
    checks: Sequence[Check], frames: Mapping[str, FrameSource], values: Mapping[str, Any], docs: Path | None = None
) -> Verdict:
    """Run all checks and give the verdict. Writes Data Docs into the folder `docs` where one is given.

    frames: by name, what computes each; one that raises crashes its checks (MedalErrors go on: they are about
    reading, not about the data). values: what `$name` in a suite stands for.
    """
    results: dict[tuple[str, str], CheckResult] = {}
    ready: dict[tuple[str, str], list[tuple[Check, Expectation]]] = {}
    made: dict[str, Frame | str] = {}
    with _quiet():
        for check in checks:
            if check.frame not in made:
                made[check.frame] = _make(check.frame, frames)
            frame = made[check.frame]
            if isinstance(frame, str):
                results[check.suite, check.name] = _crashed(check, values, frame)
                continue
            try:
                ready.setdefault((check.suite, check.frame), []).append((check, build(check, values, frame)))
            except Misspelt as e:
                results[check.suite, check.name] = _crashed(check, values, f"misspelt check: {e}")
        context = _context(docs)
        for (suite, name), pairs in ready.items():
            frame = made[name]
            assert isinstance(frame, Frame)
            for found in _checkpoint(context, f"{suite}-{name}", pairs, frame, values, docs is not None):
                results[found.suite, found.check] = found
    if docs is not None:
        for unused in _UNUSED:
            (docs / "static" / "images" / unused).unlink(missing_ok=True)
    return Verdict(tuple(results[c.suite, c.name] for c in checks), str(docs / "index.html") if docs else "")


def _make(name: str, frames: Mapping[str, FrameSource]) -> Frame | str:
    """A frame, or why there is none."""
    if name not in frames:
        return f"misspelt check: no frame '{name}'; there are {sorted(frames)}"
    try:
        return frames[name]()
    except MedalError:
        raise
    except Exception as e:
        return f"its figures could not be computed: {type(e).__name__}: {e}"


def _context(docs: Path | None) -> EphemeralDataContext:
    """A context in memory: no analytics, no progress bars, its only Data Docs site in `docs`."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    sites: dict[str, Any] = {}
    if docs is not None:
        shutil.rmtree(docs, ignore_errors=True)
        sites["medal"] = {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())},
        }
    defaults = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    config = DataContextConfig(
        store_backend_defaults=defaults,
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
    )
    config.data_docs_sites = sites
    return gx.get_context(mode="ephemeral", project_config=config)


def _checkpoint(
    context: EphemeralDataContext,
    name: str,
    pairs: Sequence[tuple[Check, Expectation]],
    frame: Frame,
    values: Mapping[str, Any],
    docs: bool,
) -> Iterator[CheckResult]:
    """One Checkpoint: a suite's checks on one frame."""
    import great_expectations as gx
    from great_expectations.checkpoint.actions import UpdateDataDocsAction, ValidationAction

    data = context.data_sources.add_pandas(name).add_dataframe_asset(name)
    batch = data.add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=[e for _, e in pairs]))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    actions: list[ValidationAction] = [UpdateDataDocsAction(name="docs")] if docs else []
    checkpoint = context.checkpoints.add(gx.Checkpoint(name=name, validation_definitions=[definition], actions=actions))
    by_name = {check.name: check for check, _ in pairs}
    try:
        run = checkpoint.run(batch_parameters={"dataframe": frame.data})
    except Exception as e:  # the engine itself broke: none of its checks has an answer
        yield from (_crashed(c, values, f"the Checkpoint broke: {type(e).__name__}: {e}") for c in by_name.values())
        return
    for validation in run.run_results.values():
        for got in validation.results:
            meta = got.expectation_config.meta if got.expectation_config else None
            check = by_name.pop(str((meta or {})["check"]))
            yield _read(check, values, got.success, got.result, got.exception_info, frame)
    yield from (_crashed(c, values, "it gave no result") for c in by_name.values())


def _read(
    check: Check, values: Mapping[str, Any], success: bool | None, result: Any, exception: Any, frame: Frame
) -> CheckResult:
    raised = _exception(exception)
    if raised is not None:
        return _crashed(check, values, raised)
    observed = _observed(result or {})
    if success:
        return CheckResult(check.suite, check.name, check.severity, "passed", observed, expected(check, values))
    column = str(check.kwargs.get("column", ""))
    shown = ", ".join(map(str, list(frame.examples.get(column, ()))[:EXAMPLES]))
    message = check.about + (f" Found: {shown}." if shown else "")
    return CheckResult(check.suite, check.name, check.severity, "failed", observed, expected(check, values), message)


def _exception(info: Any) -> str | None:
    """The first exception's message in either of the two layouts of `exception_info`."""
    if not info:
        return None
    entries = [info] if "raised_exception" in info else list(info.values())
    for entry in entries:
        if entry.get("raised_exception"):
            return " ".join(str(entry.get("exception_message")).split())
    return None


def _observed(result: Mapping[str, Any]) -> str:
    if "unexpected_count" in result:
        unexpected = result["unexpected_count"]
        if not unexpected:
            return f"{result['element_count']:,} rows, all right"
        shown = ", ".join(dict.fromkeys(_number(v) for v in result.get("partial_unexpected_list", [])))
        return f"{unexpected:,} of {result['element_count']:,} rows" + (f": {shown}" if shown else "")
    return _number(result.get("observed_value"))


def expected(check: Check, values: Mapping[str, Any]) -> str:
    """What a check asks for, as a person writes it: `coverage ≥ 0.9`."""
    try:
        kwargs = filled(check, values)
    except Misspelt:
        kwargs = dict(check.kwargs)
    what = str(kwargs.pop("column", "rows"))
    low, high = kwargs.pop("min_value", None), kwargs.pop("max_value", None)
    if check.expectation.endswith("_to_be_between") and not kwargs:
        if low is not None and low == high:
            return f"{what} = {_number(low)}"
        if low is not None and high is not None:
            return f"{_number(low)} ≤ {what} ≤ {_number(high)}"
        return f"{what} ≥ {_number(low)}" if low is not None else f"{what} ≤ {_number(high)}"
    if "value_set" in kwargs:
        return f"{what} is one of {len(kwargs['value_set'])} names"
    rule = check.expectation.removeprefix("expect_column_values_to_").removeprefix("expect_").replace("_", " ")
    return f"{what} {re.sub('^(not )?be', lambda m: 'is not' if m[1] else 'is', rule)}"


def _crashed(check: Check, values: Mapping[str, Any], why: str) -> CheckResult:
    return CheckResult(check.suite, check.name, check.severity, "crashed", "", expected(check, values), why)


def _number(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return f"{number:,.0f}" if number.is_integer() else f"{number:.6g}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Great Expectations logs every crash with its traceback; the verdict says it in one line."""
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
