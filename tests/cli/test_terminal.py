"""Output of commands for people: lines of the terminal's width, and what is being done."""

from __future__ import annotations

import io
import sys

import pytest

from rlgames.cli.terminal import print_columns, print_entries, status, wrap

Capture = pytest.CaptureFixture[str]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_status_is_a_line_of_a_terminal_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed meanwhile overwrites it."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with status("loading"):
        assert terminal.getvalue() == "loading ...\r"
    assert terminal.getvalue() == "loading ...\r" + " " * len("loading ...") + "\r"
    with status("loading", quiet=True):
        pass
    with pytest.raises(ZeroDivisionError), status("x"):
        _ = 1 / 0
    assert terminal.getvalue().endswith("\rx ...\r     \r")


def test_status_is_silent_elsewhere(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    with status("loading"):
        pass
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys, "stderr", None)  # as in a process without one
    with status("loading"):
        pass


def test_lines_fit_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Up to a width that reads well; paths and commands stay whole."""
    text = "a description of many words " * 8 + "/a/path/of-a-file/that-is-not-broken"
    for columns, used in ((40, 40), (80, 80), (500, 100)):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = wrap(text, "    ").splitlines()
        assert used - 30 < max(map(len, lines)) <= used
        assert all(line.startswith("    ") for line in lines[1:])
        assert lines[-1].endswith(" /a/path/of-a-file/that-is-not-broken")
    monkeypatch.setenv("COLUMNS", "50")
    print_entries("Title", [("one", "first", "", "second"), ("longer name", "word " * 12)])
    assert capsys.readouterr().out == (
        "Title\n"
        "  one          first\n"
        "               second\n"
        "  longer name  word word word word word word word\n"
        "               word word word word word\n"
        "\n"
    )


def test_columns_are_as_wide_as_their_cells(capsys: Capture) -> None:
    print_columns(("name", "n"), [("one", "1"), ("eleven", "11")])
    assert capsys.readouterr().out == "  name    n\n  one     1\n  eleven  11\n"
