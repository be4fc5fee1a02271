"""Suite files are refused with the file, the check and the key, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import SettingsError
from jobs.quality.suites import SUITES, Misspelt, filled, load_suite, load_suites

CHECK = """
  - name: rows
    about: There are rows.
    frame: products
    expectation: expect_table_row_count_to_be_between
    kwargs: {min_value: 1}
    severity: critical
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "catalog.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_suites_load_and_every_check_says_what_it_is_about() -> None:
    checks = load_suites()
    assert {c.suite for c in checks} == set(SUITES)
    assert all(c.about.endswith(".") for c in checks)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("suite: [", "cannot be read as a suite"),
        ("suite: catalog\n", "exactly the keys"),
        ("suite: catalogue\nchecks: []\n", "suite: catalog"),
        ("suite: catalog\nchecks: []\n", "passes everything"),
        ("suite: catalog\nchecks: [odd]\n", "check 1: must be a mapping"),
        (
            "suite: catalog\nchecks:" + CHECK.replace("severity:", "severty:"),
            r"check 1 (rows): unknown key ['severty']",
        ),
        ("suite: catalog\nchecks:" + CHECK.replace("    about: There are rows.\n", ""), "missing key ['about']"),
        ("suite: catalog\nchecks:" + CHECK.replace("critical", "fatal"), "'fatal' is neither critical nor warning"),
        ("suite: catalog\nchecks:" + CHECK.replace("{min_value: 1}", "[1]"), "kwargs: must be a mapping"),
        ("suite: catalog\nchecks:" + CHECK + CHECK, "['rows'] stand twice"),
        ("suite: catalog\nchecks:" + CHECK.replace("critical", "warning"), "no critical row-count check"),
    ],
)
def test_a_file_that_is_no_suite_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as e:
        load_suite(written(tmp_path, text), "catalog")
    assert said in str(e.value)
    assert "catalog.yaml" in str(e.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"catalog\.yaml"):
        load_suites(tmp_path)


def test_thresholds_are_filled_in_by_name(tmp_path: Path) -> None:
    text = "suite: catalog\nchecks:" + CHECK.replace("min_value: 1", "min_value: $least")
    (check,) = load_suite(written(tmp_path, text), "catalog")
    assert filled(check, {"least": 7}) == {"min_value": 7}
    with pytest.raises(Misspelt, match=r"meant \$least_rows"):
        filled(check, {"least_rows": 7})
