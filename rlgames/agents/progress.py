"""Progress of a training: a bar on a terminal, an output that is updated in a notebook, elsewhere a line at times."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINE_INTERVAL = 10.0  # seconds between two plain lines
NOTEBOOK_INTERVAL = 0.5  # seconds between two updates of a notebook's output
NOTEBOOK_BAR = 20  # characters


class Progress:
    """Context manager; call `update` after each update, and `note` for a line that stays.

    The last state stays too if `keep`, in a notebook in any case: a cell keeps its output.
    """

    def __init__(self, name: str, steps: int, start: int = 0, quiet: bool = False, keep: bool = False):
        self.name, self.steps, self.start, self.quiet = name, steps, start, quiet
        self.console, self.started, self.last_line = Console(highlight=False), time.perf_counter(), 0.0
        self.bar: Bar | None = None
        self.output: Any = None  # of a notebook's cell
        self.line = f"{name}  starting"
        if self.console.is_terminal and not quiet:
            columns = (BarColumn(None), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
            self.bar = Bar(*columns, console=self.console, transient=not keep, expand=True)
            self.task = self.bar.add_task(name, total=steps, completed=start, text="starting")

    def __enter__(self) -> Progress:
        if self.bar:
            self.bar.start()
        elif self.console.is_jupyter and not self.quiet:
            from IPython.display import display  # noqa: PLC0415  # pyright: ignore[reportMissingImports]  only there

            self.output = display(plain(self.line), raw=True, display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()
        elif self.output:
            self.output.update(plain(self.line), raw=True)

    def restart(self, step: int) -> None:
        """Count steps a second from now on: what came before was preparation."""
        self.start, self.started = step, time.perf_counter()

    def update(self, step: int, score: float | None) -> None:
        now = time.perf_counter()
        rate = (step - self.start) / max(now - self.started, 1e-9)
        score_text = "no episode yet" if score is None else f"score {score:,.1f}"
        text = f"{step:,}/{self.steps:,}  {rate:,.0f} steps/s  {score_text}"
        left = max(self.steps - step, 0) / max(rate, 1e-9)
        if self.bar:
            self.bar.update(self.task, completed=step, text=text)
        elif self.output:
            filled = min(NOTEBOOK_BAR, NOTEBOOK_BAR * step // self.steps)
            self.line = f"{self.name}  {'█' * filled}{'░' * (NOTEBOOK_BAR - filled)}  {text}  {clock(left)} left"
            if now - self.last_line >= NOTEBOOK_INTERVAL:
                self.last_line = now
                self.output.update(plain(self.line), raw=True)
        elif not self.quiet and now - self.last_line >= LINE_INTERVAL:
            self.print_line(f"{self.name}  {text}  {clock(left)} left")

    def note(self, text: str) -> None:
        if self.bar:
            self.bar.console.print(text)
        elif self.output:
            print(text, flush=True)
        elif not self.quiet and time.perf_counter() - self.last_line >= LINE_INTERVAL:
            self.print_line(f"{self.name}  {text}")

    def print_line(self, text: str) -> None:
        self.last_line = time.perf_counter()
        print(text, flush=True)


def plain(text: str) -> dict[str, str]:
    """Return text as a notebook's output, which stays in the saved notebook."""
    return {"text/plain": text}


def clock(seconds: float) -> str:
    """Return a time as minutes and seconds, with hours where there are any."""
    minutes, whole_seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole_seconds:02}" if hours else f"{minutes}:{whole_seconds:02}"
