"""Progress of a training, on a terminal and elsewhere."""

from __future__ import annotations

import re

import pytest

from rlgames.runs import progress as progress_module
from rlgames.runs.progress import Progress

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def test_lines_are_printed_at_intervals(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """By a clock that advances 4 seconds with each update: one line in three updates."""
    now = 100.0
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: now)
    with Progress("ppo on Cave", 1_000, 0, quiet=False) as progress:
        for step in range(100, 700, 100):
            now += 4.0
            progress.update(step, None if step == 100 else 2_500.0)
    assert capsys.readouterr().out.splitlines() == [
        "ppo on Cave  100 of 1,000 steps  25 steps/s  no episode yet  0:36 left",
        "ppo on Cave  400 of 1,000 steps  25 steps/s  score 2,500.0  0:24 left",
    ]


def test_notes_are_lines_too(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: 100.0)
    for quiet in (True, False):
        with Progress("ppo on Cave", 1_000, 0, quiet) as progress:
            progress.note("evaluated")
            progress.note("again, too soon for another line")
    assert capsys.readouterr().out == "ppo on Cave  evaluated\n"


def test_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with Progress("ppo on Cave", 1_000, 200, quiet=False) as progress:
        progress.update(500, 3.0)
        progress.note("evaluated")
    text = re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out)
    assert re.search(r"ppo on Cave .*500 of 1,000 steps .*score 3\.0", text)
    assert "evaluated\n" in text
