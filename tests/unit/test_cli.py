"""The command line itself: what a typing mistake gives."""

from __future__ import annotations

import pytest

from jobs.cli import run


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["rollback", "--nope", "1"], "No such option: --nope"),
        (["rollback"], "Missing option '--to'"),
        (["rollback", "--to", "first"], "Invalid value for '--to'"),
        (["rollbak", "--to", "1"], "No such command 'rollbak'"),
        (["publish", "2026-01-01-all-g1"], "Missing option '--run-id'"),
    ],
)
def test_a_mistake_in_the_arguments_is_one_clear_line(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(argv) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
