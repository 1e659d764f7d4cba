"""What the page of `rlgames train --live` costs: steps a second with a page and without one, in one run.

    .venv/bin/python benchmarks/live.py [--agent ppo] [--game CatchBall] [--rounds 40] [--seconds 1]    (five minutes)

One training runs all the time; turns with the page alternate with turns in which the process that serves is stopped.
First nobody looks; then a viewer of another machine, for which a process of the lowest priority stands that reads all
frames; then the page is open in a browser of this machine, headless and without a GPU. A rate is counted from the first
update that ends in a turn to the last; a ratio is taken of two turns in succession, and the median of all and its
quartiles are shown. Steps for each second of the training's processor time show what it does for the page itself, on a
busy machine too; the rates show in addition what the others take from it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import NamedTuple

import tyro
from side_by_side import format_rate, progress
from tables import Table
from websockets.sync.client import connect

from rlgames.envs.chrome_dino.browser import Browser
from rlgames.runs.training import Session, Training, open_session
from rlgames.web.server import listen
from rlgames.web.training import TrainingPage

SETTLING = 0.2  # seconds after a change of the state that do not count
START_TIMEOUT = 120.0  # seconds
VIEWER = """
import os, sys
from websockets.sync.client import connect
with connect(sys.argv[1], open_timeout=120, max_size=None) as connection:
    os.nice(19)
    print("connected", flush=True)
    while connection.recv():
        pass
"""


class Moment(NamedTuple):
    """The state after an update."""

    step: int
    seconds: float
    processor_seconds: float  # of the training's process


class Measured:
    """A training in a thread, whose page is in one of several states."""

    def __init__(self, session: Session):
        self.session, self.page = session, TrainingPage(session, listen())
        self.moments: list[Moment] = []
        self.asked, self.ended = True, False  # whether the training looks for viewers; whether it shall end
        self.thread = threading.Thread(target=self.train)
        self.thread.start()
        with connect(self.frames, open_timeout=START_TIMEOUT):  # it serves from now on
            pass

    @property
    def frames(self) -> str:
        """The address of the frames."""
        return self.page.address.replace("http", "ws").replace("/?", "/frames?")

    def train(self) -> None:
        with suppress(KeyboardInterrupt):
            self.session.run(self.after_update)

    def after_update(self) -> None:
        if self.asked:
            self.page.update()
        self.moments.append(Moment(self.session.agent.step, time.perf_counter(), time.process_time()))
        if self.ended:
            raise KeyboardInterrupt

    def rates(self, seconds: float) -> tuple[float, float]:
        """Return steps for each second, and for each second of processor time, over `seconds`."""
        time.sleep(SETTLING)
        start = len(self.moments)
        time.sleep(seconds)
        first, last = self.moments[start], self.moments[-1]
        steps = last.step - first.step
        return steps / (last.seconds - first.seconds), steps / (last.processor_seconds - first.processor_seconds)

    @contextmanager
    def stopped(self, *others: int) -> Iterator[None]:
        """Stop the process that serves, and others."""
        processes = [self.page.process.pid, *others]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        self.asked = False
        try:
            yield
        finally:
            self.asked = True
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def close(self) -> None:
        self.ended = True
        self.thread.join()
        self.page.close()
        self.session.close()


@contextmanager
def remote_viewer(address: str) -> Iterator[int]:
    """Read all frames in a process of the lowest priority; yield its number."""
    with subprocess.Popen([sys.executable, "-c", VIEWER, address], stdout=subprocess.PIPE) as viewer:
        assert viewer.stdout is not None
        viewer.stdout.readline()
        try:
            yield viewer.pid
        finally:
            viewer.kill()


def compare(name: str, measured: Measured, rounds: int, seconds: float, *others: int) -> list[str]:
    """Return a row of the table: turns with the page, and turns without it."""
    progress.print(name)
    pairs = []
    for _ in range(rounds):
        with measured.stopped(*others):
            alone = measured.rates(seconds)
        pairs.append((measured.rates(seconds), alone))
    row = [name]
    for i in range(2):
        row.append(format_rate(median(page[i] for page, _ in pairs)))
        low, middle, high = quantiles([page[i] / alone[i] for page, alone in pairs], n=4)
        row.append(f"{middle:.3f} ({low:.3f}–{high:.3f})")
    return row


def main(
    agent: str = "ppo",
    game: str = "CatchBall",
    rounds: int = 40,
    seconds: float = 1.0,
    markdown: bool = False,
    json: Path | None = None,
) -> None:
    training = Training(agent, game, steps=10**12, log_every=100_000, evaluate_every=10**12, save_every=10**12)
    with TemporaryDirectory() as folder:
        measured = Measured(open_session(training, Path(folder, "run"), quiet=True))
        try:
            rows = [compare("nobody looks", measured, rounds, seconds)]
            with remote_viewer(measured.frames) as viewer:
                rows.append(compare("a viewer elsewhere", measured, rounds, seconds, viewer))
            browser = Browser("")
            try:
                browser.page.load(measured.page.address)
                rows.append(compare("in a browser here", measured, rounds, seconds))
            finally:
                browser.close()
        finally:
            measured.close()
    columns = ("the page", "steps/s", "relative to none", "steps/s of processor time", "relative to none")
    Table(
        f"{agent} on {game} with a page",
        {f"{name}{' ' * i}": "right" if i else "left" for i, name in enumerate(columns)},
        rows,
        (f"Medians of {rounds} pairs of turns of {seconds:g} s; in brackets quartiles.",),
    ).show(markdown, json)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
