"""What the page of `rlgames train --live` costs: steps a second with a page and without one, in one run.

    .venv/bin/python benchmarks/live.py [--agent ppo] [--game CatchBall] [--rounds 9] [--seconds 4]    (three minutes)

One training runs all the time. Four states take turns: the process that serves is stopped; it serves nobody; a viewer
of another machine looks on, for which a process of the lowest priority stands that reads all frames; the page is open
in a browser of this machine, headless and without a GPU. A rate is counted from the first update that ends in a turn to
the last; a ratio is taken within a round, and its median, smallest and largest are shown. The first turn of each state
does not count. Steps for each second of the training's processor time show what it does for the page itself, on a busy
machine too; the rates show in addition what the others take from it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import tyro
from side_by_side import describe_machine, format_rate, format_ratios, measure_in_turns, print_table, progress
from websockets.sync.client import connect

from rlgames.envs.chrome_dino.browser import Browser
from rlgames.runs.training import Session, Training, open_session
from rlgames.web.server import listen
from rlgames.web.training import TrainingPage

SETTLING = 1.0  # seconds after a change of the state that do not count
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
    def stopped(self) -> Iterator[None]:
        server = self.page.process.pid
        os.kill(server, signal.SIGSTOP)
        self.asked = False
        try:
            yield
        finally:
            self.asked = True
            os.kill(server, signal.SIGCONT)

    def close(self) -> None:
        self.ended = True
        self.thread.join()
        self.page.close()
        self.session.close()


@contextmanager
def remote_viewer(address: str) -> Iterator[None]:
    """Read all frames in a process of the lowest priority."""
    with subprocess.Popen([sys.executable, "-c", VIEWER, address], stdout=subprocess.PIPE) as viewer:
        assert viewer.stdout is not None
        viewer.stdout.readline()
        try:
            yield
        finally:
            viewer.kill()


@contextmanager
def open_page(browser: Browser, address: str) -> Iterator[None]:
    browser.page.load(address)
    try:
        yield
    finally:
        browser.page.load("about:blank")


def main(
    agent: str = "ppo",
    game: str = "CatchBall",
    rounds: int = 9,
    seconds: float = 4.0,
    markdown: bool = False,
    json: Path | None = None,
) -> None:
    training = Training(agent, game, steps=10**12, log_every=100_000, evaluate_every=10**12, save_every=10**12)
    with TemporaryDirectory() as folder:
        measured = Measured(open_session(training, Path(folder, "run"), quiet=True))
        browser = Browser("")
        try:
            states = {
                "without a page": measured.stopped,
                "page, nobody looks": nullcontext,
                "page, a viewer elsewhere": lambda: remote_viewer(measured.frames),
                "page, in a browser here": lambda: open_page(browser, measured.page.address),
            }
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in states}

            def turn(name: str, seconds: float) -> float:
                progress.print(name)
                with states[name]():
                    found[name].append(measured.rates(seconds))
                return found[name][-1][0]

            measure_in_turns([lambda seconds, name=name: turn(name, seconds) for name in states], rounds, seconds)
        finally:
            browser.close()
            measured.close()
    (_, *base), *_ = found.values()
    rows = []
    for name, (_, *turns) in found.items():
        pairs = list(zip(turns, base, strict=True))
        rates = [format_rate(median(rate)) for rate in zip(*turns, strict=True)]
        ratios = [format_ratios([one[i] / other[i] for one, other in pairs], 3) for i in range(2)]
        rows.append([name, rates[0], ratios[0], rates[1], ratios[1]])
    print_table(
        f"{agent} on {game}, steps a second",
        {
            "state": "left",
            "steps/s": "right",
            "ratio": "right",
            "steps/s of processor time": "right",
            "ratio of these": "right",
        },
        rows,
        [describe_machine("torch", "numba")],
        markdown,
        json,
    )


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
