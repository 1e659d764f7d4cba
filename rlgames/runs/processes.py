"""Runs as processes of this machine, and what a process that trains one run does, wherever it is."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from time import perf_counter
from typing import Any

from gymnasium.error import DependencyNotInstalled

from rlgames.engine.parent import end_with_parent
from rlgames.errors import UsageError, missing_package
from rlgames.runs.training import Training, train


@dataclass(frozen=True)
class Outcome:
    """End of a run, as the process that trained it reports it; see `RunSummary`."""

    best: float | None = None
    seconds: float | None = None
    stopped: str | None = None
    error: str | None = None
    lost: bool = False  # its process ended without a word
    restarts: int = 0


def train_run(training: Training, path: Path, resume: bool, overwrite: bool) -> Outcome:
    """Train, and return how it ended; what the run failed with is in error.txt in its directory too."""
    started = perf_counter()
    try:
        result = train(training, path, resume=resume, overwrite=overwrite, quiet=True)
        return Outcome(result.best, result.seconds, result.stopped)
    except Exception as error:  # noqa: BLE001  of a user's game too: it must not stop the other runs
        path.mkdir(parents=True, exist_ok=True)
        (path / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        text = f"{last_line(error)} (all of it in {path / 'error.txt'})"
        return Outcome(seconds=perf_counter() - started, error=text)


def last_line(error: Exception) -> str:
    """Return what is worth showing of an error, in one line."""
    if isinstance(error, ModuleNotFoundError):
        error = missing_package(error) or error
    is_clear = isinstance(error, UsageError | DependencyNotInstalled)
    return " ".join((str(error) if is_clear else traceback.format_exception_only(error)[-1]).split())


@dataclass(eq=False)
class RunProcess:
    process: Any
    connection: Connection  # on which the process sends one `Outcome`


class Processes:
    """A process for each run: see `rlgames.runs.many.Launcher`."""

    def start(self, training: Training, path: Path, resume: bool, overwrite: bool) -> RunProcess:
        context = get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        arguments = training, path, resume, overwrite, theirs
        process = context.Process(target=train_in_process, args=arguments, name=str(path))
        process.start()
        theirs.close()
        return RunProcess(process, ours)

    def wait(self, handles: Sequence[RunProcess], timeout: float) -> list[tuple[RunProcess, Outcome]]:
        ready = wait([each.connection for each in handles], timeout)
        return [(each, self.outcome(each)) for each in handles if each.connection in ready]

    def outcome(self, run: RunProcess) -> Outcome:
        """Return what the process has said, unless it was killed."""
        try:
            outcome = run.connection.recv()
        except EOFError:
            run.process.join()
            outcome = Outcome(error=f"its process ended with exit status {run.process.exitcode}", lost=True)
        run.connection.close()
        run.process.join()
        return outcome

    def stop(self, handles: Sequence[RunProcess]) -> None:
        for each in handles:
            each.process.terminate()

    def kill(self, handles: Sequence[RunProcess]) -> None:
        for each in handles:
            each.process.kill()
            each.process.join()

    def close(self) -> None:
        """Do nothing: each process was waited for."""


def train_in_process(training: Training, path: Path, resume: bool, overwrite: bool, connection: Connection) -> None:
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C goes to the parent alone, which passes it on
    end_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    connection.send(train_run(training, path, resume, overwrite))
    connection.close()
