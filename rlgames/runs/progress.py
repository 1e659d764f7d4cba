"""Progress of a training: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINE_INTERVAL = 10.0  # seconds between two plain lines


class Progress:
    """Context manager; call `update` after each update, and `note` for a line that stays."""

    def __init__(self, name: str, steps: int, start: int, quiet: bool):
        self.name, self.steps, self.start, self.quiet = name, steps, start, quiet
        self.console, self.started, self.last_line = Console(highlight=False), time.perf_counter(), 0.0
        self.bar: Bar | None = None
        if self.console.is_terminal and not quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(),
            )
            self.bar = Bar(*columns, console=self.console, transient=True)
            self.task = self.bar.add_task(name, total=steps, completed=start, text="")

    def __enter__(self) -> Progress:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def update(self, step: int, score: float | None) -> None:
        now = time.perf_counter()
        rate = (step - self.start) / max(now - self.started, 1e-9)
        score_text = "no episode yet" if score is None else f"score {score:,.1f}"
        text = f"{step:,} of {self.steps:,} steps  {rate:,.0f} steps/s  {score_text}"
        if self.bar:
            self.bar.update(self.task, completed=step, text=text)
        elif not self.quiet and now - self.last_line >= LINE_INTERVAL:
            left = max(self.steps - step, 0) / max(rate, 1e-9)
            self.print_line(f"{self.name}  {text}  {left // 60:.0f}:{left % 60:02.0f} left")

    def note(self, text: str) -> None:
        if self.bar:
            self.bar.console.print(text)
        elif not self.quiet and time.perf_counter() - self.last_line >= LINE_INTERVAL:
            self.print_line(f"{self.name}  {text}")

    def print_line(self, text: str) -> None:
        self.last_line = time.perf_counter()
        print(text, flush=True)
