"""Progress of a training, on a terminal and elsewhere."""

from __future__ import annotations

import re
import sys

import pytest

from rlgames.agents import progress as progress_module
from rlgames.agents.progress import Progress, clock

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
        "ppo on Cave  100/1,000  25 steps/s  no episode yet  0:36 left",
        "ppo on Cave  400/1,000  25 steps/s  score 2,500.0  0:24 left",
    ]


def test_notes_are_lines_too(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: 100.0)
    for quiet in (True, False):
        with Progress("ppo on Cave", 1_000, 0, quiet) as progress:
            progress.note("evaluated")
            progress.note("again, too soon for another line")
    assert capsys.readouterr().out == "ppo on Cave  evaluated\n"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")


def text_of(capsys: Capture) -> str:
    """Return what was printed, without the sequences that move the cursor and set colors."""
    return re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out)


@pytest.mark.usefixtures("terminal")
def test_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with Progress("ppo on Cave", 1_000, 200) as progress:
        progress.update(500, 3.0)
        progress.note("evaluated")
    text = text_of(capsys)
    assert re.search(r"━+ +500/1,000  [\d,]+ steps/s  score 3\.0 ", text)
    assert "evaluated\n" in text


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("columns", [80, 120])
def test_bar_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """With the longest numbers, in one line that is not cut."""
    monkeypatch.setenv("COLUMNS", str(columns))
    now = 100.0
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: now)
    with Progress("ppo on Mario:world=1,stage=2,engine=nes-py,patience=40", 110_000_000, keep=True) as progress:
        now = 200.0
        progress.update(109_999_999, 123_456.7)
    lines = [line for line in re.split("[\r\n]", text_of(capsys)) if line]
    assert max(map(len, lines)) <= columns
    text = "109,999,999/110,000,000  1,100,000 steps/s  score 123,456.7"
    assert re.fullmatch(rf"━+[╸━ ]* {text} [\d:-]+ *", lines[-1]), lines


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.usefixtures("terminal")
def test_bar_stays_if_asked_to(keep: bool, capsys: Capture) -> None:
    with Progress("ppo on Cave", 1_000, keep=keep) as progress:
        progress.update(1_000, 3.0)
    assert capsys.readouterr().out.endswith("\x1b[2K") is not keep


class Output:
    """Stands in for the output of a notebook's cell."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, data: dict[str, str], raw: bool) -> None:
        assert raw
        self.shown.append(data["text/plain"])

    def display(self, data: dict[str, str], raw: bool, display_id: bool) -> Output:
        assert display_id
        self.update(data, raw)
        return self


def test_notebook_keeps_the_last_state(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """By a clock on which an update takes 0.3 s: every second one is shown, and the last."""
    output, now = Output(), 100.0
    monkeypatch.setitem(sys.modules, "IPython.display", output)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: now)
    with Progress("ppo on Cave", 1_000) as progress:
        for step in range(250, 1_001, 250):
            now += 0.3
            progress.update(step, 2.0)
        progress.note("evaluated")
    assert output.shown[0] == "ppo on Cave  starting"
    assert [text[13:34] for text in output.shown[1:]] == [
        *("█████░░░░░░░░░░░░░░░ ", "███████████████░░░░░ ", "████████████████████ ")
    ]
    assert output.shown[-1] == f"ppo on Cave  {'█' * 20}  1,000/1,000  833 steps/s  score 2.0  0:00 left"
    assert capsys.readouterr().out == "evaluated\n"
    with Progress("ppo on Cave", 1_000, quiet=True) as progress:
        progress.update(10, None)
    assert len(output.shown) == 4


def test_clock_shows_hours_where_there_are_any() -> None:
    assert [clock(each) for each in (0, 59.9, 83, 3_600, 36_061)] == ["0:00", "0:59", "1:23", "1:00:00", "10:01:01"]
