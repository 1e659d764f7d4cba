"""A page on a running training: its curves, and its newest agent, which plays for the viewers.

A process of its own serves the page and plays, with the lowest priority once it has loaded what it needs, which takes
some seconds of one core. It reads the run's metrics from their files.
While somebody watches it asks for the newest weights, and the training, which looks for that between two updates at
most once in CHECK_INTERVAL, writes them to a file. So the training waits for nobody, and reads nothing but its weights:
it makes the same numbers with and without the page.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socket
from typing import Any, ClassVar, NamedTuple

import torch

from rlgames.agents.registry import load
from rlgames.agents.workers import SIGNALS, blocked_signals
from rlgames.engine.parent import end_with_parent
from rlgames.runs.training import Session
from rlgames.web.live import LivePlayer
from rlgames.web.server import LiveServer, page_address

CHECK_INTERVAL = 1.0  # seconds between two looks for a viewer
SHARE = 0.01  # of the training's time, at most, in which it writes weights
GRACE_PERIOD = 0.5  # seconds in which the process must end when asked to; then it is killed
READ_INTERVAL = 1.0  # seconds between two looks into the metrics
POLL_INTERVAL = 0.25  # seconds between two looks for a viewer, in the process that serves
CURVES = ("rollout/", "eval/score", "train/", "time/fps")  # what begins so is shown
POINTS = 200  # of a curve are sent


class TrainingPage:
    """Serves a page on a run from now until `close`; call `update` after each update.

    `listener` is a socket of `rlgames.web.server.listen`, which this closes.
    """

    niceness: ClassVar[int] = 19  # of the process that serves: the lowest priority

    def __init__(self, session: Session, listener: socket):
        self.session, self.next_check = session, 0.0
        token = secrets.token_urlsafe(16)
        self.address = page_address(listener, token)
        self.folder = Path(tempfile.mkdtemp(prefix="rlgames-live-"))
        self.weights = self.folder / "agent.ckpt"
        run = Run(session.directory.metrics, session.directory.times, session.training.steps, self.niceness)
        try:
            session.agent.save(self.weights, weights_only=True)
            with listener:
                self.pipe, self.process = start(serve, run, self.weights, listener, token)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def update(self) -> None:
        """Write the newest weights if a viewer waits for them and it is time; never wait."""
        now = time.monotonic()
        if now < self.next_check or self.pipe.closed:
            return
        self.next_check = now + CHECK_INTERVAL
        try:
            if not self.pipe.poll():
                return
            self.pipe.recv()  # a request; there is no other before the answer, so that neither side can block
        except (EOFError, OSError):
            self.pipe.close()
            print("the live page has failed; the training goes on without it", file=sys.stderr)
            return
        agent = self.session.agent
        with suppress(OSError):  # such as a full disk: the page has the weights before
            agent.save(self.weights, weights_only=True)
        with suppress(OSError):  # the process has just ended
            self.pipe.send((agent.step, self.session.seconds()))
        end = time.monotonic()
        self.next_check = end + max(CHECK_INTERVAL, (end - now) / SHARE)

    def close(self) -> None:
        """End the process; closing twice is fine."""
        self.pipe.close()
        self.process.join(GRACE_PERIOD)
        self.process.kill()
        self.process.join()
        shutil.rmtree(self.folder, ignore_errors=True)


def start(function: Any, *arguments: Any) -> tuple[Connection, Any]:
    """Start a process that calls `function(*arguments, pipe)`; return our end of the pipe, and the process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=function, name="live page", args=(*arguments, theirs))
    with blocked_signals():  # see `serve`
        try:
            process.start()
        finally:
            theirs.close()  # the process holds the only one, so that its death ends the pipe
    return ours, process


# ---- in the process that serves ----


class Run(NamedTuple):
    """Files and settings of a run that the page needs."""

    metrics: Path
    times: Path
    steps: int  # of the whole training
    niceness: int  # of the process that serves it


def serve(run: Run, weights: Path, listener: socket, token: str, pipe: Connection) -> None:
    """Serve until the other end of `pipe` is closed. Ctrl-C is handled by the training."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    end_with_parent()
    try:
        serve_and_play(run, weights, listener, token, pipe)
    except (EOFError, ConnectionError):  # the training has ended
        pass
    finally:
        shutil.rmtree(weights.parent, ignore_errors=True)  # the training does so too, unless it was killed


def serve_and_play(run: Run, weights: Path, listener: socket, token: str, pipe: Connection) -> None:
    torch.set_num_threads(1)  # for one observation at a time
    player, curves = LivePlayer(load(weights, device="cpu", weights_only=True)), Curves(run)
    if sys.platform != "win32":
        os.nice(run.niceness)  # once all is loaded, which on busy cores would take minutes; before the server's thread
    server = LiveServer(player.describe() | {"training": True}, listener, token)
    player.server, waiting, read_at = server, False, 0.0
    try:
        while True:
            if server.viewers and not waiting:
                pipe.send(None)
                waiting = True
            if server.viewers and time.monotonic() >= read_at:
                server.training, read_at = curves.read(), time.monotonic() + READ_INTERVAL
            if pipe.poll(player.advance() if server.viewers else POLL_INTERVAL):
                curves.advance(*pipe.recv())
                waiting = False
                player.agent = load(weights, device="cpu", weights_only=True)
    finally:
        server.close()
        player.close()


class Curves:
    """Metrics of a run by their names, which are read as they are written."""

    def __init__(self, run: Run):
        self.metrics, self.times, self.total = NewRows(run.metrics), NewRows(run.times), run.steps
        self.points: dict[str, list[tuple[int, float]]] = {}
        self.step, self.seconds = 0, 0.0
        self.fps: float | None = None

    def advance(self, step: int, seconds: float) -> None:
        """Note the steps and the seconds of training so far, more often than the files do."""
        if self.step and seconds > self.seconds:
            self.fps = (step - self.step) / (seconds - self.seconds)
        self.step, self.seconds = step, seconds

    def read(self) -> dict[str, Any]:
        """Return what the page shows, plain JSON: the run's progress, and {name: (steps, values)}."""
        for row in (*self.metrics.read(), *self.times.read()):
            for name, value in row.items():
                if name.startswith(CURVES):
                    self.points.setdefault(name, []).append((row["step"], value))
        curves = {}
        for name, points in self.points.items():
            stride = -(-len(points) // POINTS)
            curves[name] = list(zip(*points[::-stride][::-1], strict=True))  # the newest is always there
        step = max([self.step, *(points[-1][0] for points in self.points.values())])
        fps = self.fps or (self.points["time/fps"][-1][1] if "time/fps" in self.points else None)
        return {"step": step, "steps": self.total, "fps": fps, "curves": curves}


class NewRows:
    """A .jsonl file that grows."""

    def __init__(self, path: Path):
        self.path, self.place = path, 0

    def read(self) -> list[dict[str, Any]]:
        """Return the rows that were written since the last call."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.place)
            *lines, _ = file.read().split(b"\n")  # the last is not complete yet
        self.place += sum(len(line) + 1 for line in lines)
        return [json.loads(line) for line in lines]
