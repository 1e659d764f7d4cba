"""Runs as tasks of Ray, a core each, on the machines of a cluster.

The directories of runs must be on a file system that all machines have at the same paths. Beside each directory stands
a file while its run is wanted, .NAME.wanted: a machine that does not see it says so, a run that sees it go ends after
its current update. The task writes into it where it runs.

A task gets plain data alone, and imports the package when it runs, so that a machine without it is named.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from rlgames.agents.preset_files import preset_from_json
from rlgames.agents.registry import find
from rlgames.checkpoint.file import config_to_json
from rlgames.engine.ray_cluster import connect
from rlgames.errors import NotWritableError, RunExistsError
from rlgames.imports import IMPORTED_MODULES
from rlgames.runs.directory import RunDirectory
from rlgames.runs.processes import Outcome, train_run
from rlgames.runs.training import Training
from rlgames.schema import from_plain

MOST_RESTARTS = 3  # of a run whose process or machine dies
PATIENCE = 60.0  # seconds that a restarted run waits for its directory, which the one that died may still hold
INTERVAL = 0.5  # seconds between two looks at the file by which a run is wanted


@dataclass(eq=False)
class RayRun:
    """A run, and the task that trains it."""

    arguments: dict[str, Any]  # of `train_task`
    path: Path
    reference: Any = None  # Ray's, to what the task returns
    restarts: int = 0

    @property
    def wanted(self) -> Path:
        return wanted_file(self.path)


class RayTasks:
    """A task of Ray for each run: see `rlgames.runs.many.Launcher`."""

    def __init__(self, address: str | None):
        self.connection = connect(address)
        self.ray = self.connection.ray
        self.task = self.ray.remote(num_cpus=1, max_retries=0)(make_task())
        self.modules = os.environ.get(IMPORTED_MODULES, "")

    def start(self, training: Training, path: Path, resume: bool, overwrite: bool) -> RayRun:
        path = path.absolute()
        arguments = dict(data=config_to_json(training), path=str(path), resume=resume, overwrite=overwrite)
        run = RayRun(arguments | dict(modules=self.modules, folder=os.getcwd()), path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            run.wanted.write_text("")
        except OSError as error:
            raise NotWritableError(f"{run.wanted} cannot be written: {error.strerror or error}") from error
        run.reference = self.task.remote(**run.arguments, restarted=False)
        return run

    def wait(self, handles: Sequence[RayRun], timeout: float) -> list[tuple[RayRun, Outcome]]:
        self.connection.check()
        ready, _ = self.ray.wait([each.reference for each in handles], num_returns=1, timeout=timeout)
        ended = [(each, self.outcome(each)) for each in handles if each.reference in ready]
        return [(each, outcome) for each, outcome in ended if outcome is not None]

    def outcome(self, run: RayRun) -> Outcome | None:
        """Return how a run ended; None if its process or machine has died, and it was started again."""
        exceptions = self.ray.exceptions
        try:
            outcome = Outcome(**self.ray.get(run.reference), restarts=run.restarts)
        except exceptions.TaskCancelledError:
            outcome = Outcome(error="it was canceled", lost=True, restarts=run.restarts)
        except exceptions.RayTaskError as error:  # what a task raises, it should return
            outcome = Outcome(error=" ".join(str(error.cause).split()), restarts=run.restarts)
        except exceptions.RayError as error:
            reason = " ".join(str(error).split())[:200]
            if run.restarts < MOST_RESTARTS and run.wanted.exists():
                run.restarts += 1
                run.wanted.write_text("")
                run.reference = self.task.remote(**run.arguments, restarted=True)
                return None
            outcome = Outcome(error=f"its process or machine died ({reason})", lost=True, restarts=run.restarts)
        run.wanted.unlink(missing_ok=True)
        return outcome

    def stop(self, handles: Sequence[RayRun]) -> None:
        for each in handles:
            waiting = each.wanted.exists() and not each.wanted.read_text()
            each.wanted.unlink(missing_ok=True)
            if waiting:  # for a core; if it begins now, it sees that it is not wanted
                self.ray.cancel(each.reference)

    def kill(self, handles: Sequence[RayRun]) -> None:
        for each in handles:
            each.wanted.unlink(missing_ok=True)
            with suppress(Exception):  # the cluster may be gone
                self.ray.cancel(each.reference, force=True)

    def close(self) -> None:
        self.connection.close()


def wanted_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.wanted")


# ---- on a machine of the cluster ----


def make_task() -> Any:
    """Return the function that a task runs.

    It is made here so that Ray takes its code along: a function of a module would be imported, in vain where the
    package is missing.
    """

    def train_task(
        data: dict[str, Any],
        path: str,
        resume: bool,
        overwrite: bool,
        modules: str,
        folder: str,
        restarted: bool,
    ) -> dict[str, Any]:
        import os  # noqa: PLC0415  nothing of the module around it is there
        import socket  # noqa: PLC0415
        import sys  # noqa: PLC0415

        if os.path.isdir(folder):  # where the command was given: for paths and modules relative to it
            os.chdir(folder)
            sys.path.append(folder)
        os.environ["RLGAMES_IMPORT"] = modules
        try:
            from rlgames.imports import import_remembered  # noqa: PLC0415
            from rlgames.runs import on_ray  # noqa: PLC0415

            import_remembered()  # also where another task has imported rlgames before
        except ModuleNotFoundError as error:
            node = socket.gethostname()
            return {"error": f"on {node}: no module {error.name!r}: install there what is installed here"}
        return on_ray.train_here(data, path, resume, overwrite, restarted)

    return train_task


def train_here(data: dict[str, Any], path: str, resume: bool, overwrite: bool, restarted: bool) -> dict[str, Any]:
    """Train a run on this machine, and return its outcome as plain data."""
    run, node = Path(path), socket.gethostname()
    wanted = wanted_file(run)
    if not wanted.exists():
        error = (
            f"on {node}: {run.parent} is not the folder of that name on the machine that started the runs: choose one"
            " that all machines have, as on a network file system"
        )
        return plain(Outcome(error=error, lost=True))  # lost: it may also have been stopped just now
    wanted.write_text(f"{os.getpid()} {node}\n")
    if restarted:
        wait_for(run)
        resume, overwrite = RunDirectory(run).config.exists(), False
    with ending_unless(wanted):
        outcome = train_run(training_from_json(data), run, resume, overwrite)
    return plain(outcome if outcome.error is None else replace(outcome, error=f"on {node}: {outcome.error}"))


def plain(outcome: Outcome) -> dict[str, Any]:
    return {key: value for key, value in asdict(outcome).items() if key != "restarts"}


def training_from_json(data: dict[str, Any]) -> Training:
    """Return the training of `config_to_json`."""
    config = data["config"] and from_plain(find(data["agent"]).Config, data["config"])
    preset = data["preset"] and preset_from_json({"agent": data["agent"], **data["preset"]})
    kept = {field.name: data[field.name] for field in fields(Training)}
    return Training(**kept | {"config": config, "preset": preset})


def wait_for(run: Path) -> None:
    """Wait until no other process trains in the directory: one that was thought dead may just be ending."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        directory = RunDirectory(run)
        try:
            directory.acquire()
        except RunExistsError:
            time.sleep(INTERVAL)
        else:
            return directory.release()
    return None


@contextmanager
def ending_unless(wanted: Path) -> Iterator[None]:
    """Have the run that this process trains end after its current update once the file has gone."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(INTERVAL):
            if not wanted.exists():
                os.kill(os.getpid(), signal.SIGTERM)  # as from whoever stops a run
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
