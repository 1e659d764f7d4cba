"""How far a training is: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

PLAIN_EVERY = 10.0  # seconds between two plain lines


class Progress:
    """Context manager; `update` after each update, `note` for a line that stays."""

    def __init__(self, name: str, steps: int, start: int, quiet: bool):
        self.name, self.steps, self.start, self.quiet = name, steps, start, quiet
        self.console, self.began, self.said = Console(highlight=False), time.perf_counter(), 0.0
        self.bar: Bar | None = None
        if self.console.is_terminal and not quiet:
            self.bar = Bar(
                *(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    TextColumn("{task.fields[text]}"),
                    TimeRemainingColumn(),
                ),
                console=self.console,
                transient=True,
            )
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
        rate = (step - self.start) / max(now - self.began, 1e-9)
        shown = "no episode yet" if score is None else f"score {score:,.1f}"
        text = f"{step:,} of {self.steps:,} steps  {rate:,.0f} steps/s  {shown}"
        if self.bar:
            self.bar.update(self.task, completed=step, text=text)
        elif not self.quiet and now - self.said >= PLAIN_EVERY:
            left = max(self.steps - step, 0) / max(rate, 1e-9)
            self.say(f"{self.name}  {text}  {left // 60:.0f}:{left % 60:02.0f} left")

    def note(self, text: str) -> None:
        if self.bar:
            self.bar.console.print(text)
        elif not self.quiet and time.perf_counter() - self.said >= PLAIN_EVERY:
            self.say(f"{self.name}  {text}")

    def say(self, text: str) -> None:
        self.said = time.perf_counter()
        print(text, flush=True)
