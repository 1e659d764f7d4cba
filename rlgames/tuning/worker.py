"""A process that trains the trials of a study, one after the other, each with one of torch's threads.

It answers each evaluation's score only with whether to go on: what Optuna knows stays in the process that started it.
"""

from __future__ import annotations

import os
import shutil
import signal
import traceback
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rlgames.engine.parent import end_with_parent
from rlgames.errors import DivergedError, UsageError
from rlgames.runs.directory import RunDirectory
from rlgames.runs.training import Training, open_session


@dataclass(frozen=True)
class Evaluated:
    """Sent after each evaluation; True or False is sent back, whether to go on."""

    run: int  # of the trial's trainings
    step: int
    score: float


@dataclass(frozen=True)
class Ended:
    """Sent when a trial has ended."""

    error: str | None = None  # the last line of what it failed with
    diverged: bool = False  # its settings are bad, rather than anything being wrong


class Worker:
    """The process, and a connection to it."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: Any = context.Process(target=train_trials, args=(theirs,), name="trials")
        self.process.start()
        theirs.close()

    def train(self, runs: Sequence[tuple[Training, Path]]) -> None:
        """Begin a trial, a training in each of these directories."""
        self.connection.send(runs)

    def close(self) -> None:
        """End the process, in the middle of a training too."""
        self.connection.close()
        self.process.kill()
        self.process.join()
        self.process.close()


def train_trials(connection: Connection) -> None:
    """Train what comes through the connection until it is closed."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C goes to the parent alone
    end_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        try:
            connection.send(train_trial(connection, connection.recv()))
        except (EOFError, BrokenPipeError):
            return


def train_trial(connection: Connection, runs: Sequence[tuple[Training, Path]]) -> Ended:
    for i, (training, path) in enumerate(runs):

        def go_on(step: int, score: float, i: int = i) -> bool:
            connection.send(Evaluated(i, step, score))
            return connection.recv()

        try:
            with closing(open_session(training, path, overwrite=True, quiet=True)) as session:
                pruned = session.run(after_evaluation=go_on).stopped is not None
            shutil.rmtree(RunDirectory(path).checkpoints)  # a replay buffer may be in them; curve and metrics stay
        except DivergedError as error:
            return Ended(str(error), diverged=True)
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001  of a user's game too: it must not end the study
            path.mkdir(parents=True, exist_ok=True)
            (path / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            last = str(error) if isinstance(error, UsageError) else traceback.format_exception_only(error)[-1]
            return Ended(f"{' '.join(last.split())} (all of it in {path / 'error.txt'})")
        if pruned:
            break
    return Ended()
