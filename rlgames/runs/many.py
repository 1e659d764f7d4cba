"""Several trainings side by side, each a run in a directory and a process of its own, here or in a cluster of Ray.

As many run at once as there are cores, each with one of torch's threads, so a run ends with the same bits as when it is
trained alone with `threads=1`. A run that fails does not stop the others. A set that was interrupted, however it was,
is resumed as a whole: finished runs are left alone, others continue from their checkpoints, the rest begins.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from rlgames.engine.vector_env import CORES
from rlgames.errors import FailedError, InvalidTypeError, InvalidValueError, brief
from rlgames.runs.directory import RunDirectory, run_name
from rlgames.runs.on_ray import RayTasks
from rlgames.runs.processes import Outcome, Processes
from rlgames.runs.training import Training, stop_signals
from rlgames.values import Count, check_value

INTERVAL = 0.5  # seconds between two looks at the processes and their metrics


@dataclass(frozen=True)
class RunSummary:
    """End of a run."""

    training: Training
    path: Path
    best: float | None = None  # mean score of the best evaluation, since the run was last started
    seconds: float | None = None  # of training in this process, without evaluations
    stopped: str | None = None  # the signal that ended it early
    error: str | None = None  # the last line of what it failed with; None: it did not fail
    restarts: int = 0  # times that its process or machine died, and it went on from its checkpoint (Ray)


@dataclass
class Job:
    """A run that is being trained."""

    index: int
    handle: Any  # of the launcher
    task: Any  # its line of the progress


class Launcher(Protocol):
    """Place where runs are trained; a handle is one run's."""

    def start(self, training: Training, path: Path, resume: bool, overwrite: bool) -> Any:
        """Begin a run and return its handle."""

    def wait(self, handles: Sequence[Any], timeout: float) -> list[tuple[Any, Outcome]]:
        """Return those that have ended, once there is one or after `timeout` seconds."""
        ...

    def stop(self, handles: Sequence[Any]) -> None:
        """Have runs end after their current updates; they are waited for as before."""

    def kill(self, handles: Sequence[Any]) -> None:
        """End runs at once."""

    def close(self) -> None:
        """Give up what was taken."""


def train_many(
    trainings: Sequence[Training],
    out: str | Path | Sequence[str | Path] | None = None,
    *,
    jobs: int | None = None,
    on: str = "local",
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> list[RunSummary]:
    """Train each in a run directory; return how each ended, in their order.

    `out` is a folder, in which a directory is named after agent, game and seed, by default "runs"; or one directory for
    each. `jobs` train at once (None: one a core, with Ray of the cluster). With `resume` those that began go on, and
    those that were finished are left alone. SIGTERM and Ctrl-C end all cleanly after their current updates, and a
    second Ctrl-C at once; what has not begun then stays so.

    `on` is "local" for processes of this machine; "ray" for a cluster of Ray, that of RAY_ADDRESS or else a new one on
    this machine; or the address of a cluster, "ray://host:10001" or "host:6379". All of its machines must have the
    folder `out` at the same path, as on a network file system, and the package. A run whose process or machine dies
    goes on elsewhere from its last checkpoint, up to three times.

    A script that calls this needs the main guard, `if __name__ == "__main__":`, as each run starts a new process.

    Raises ValueError for settings that are not allowed, for two runs in one directory, and as `train` does for a
    directory that holds a run already; nothing has been started then. So it is without Ray (MissingPackageError), and
    if no cluster answers within ten seconds (ConnectionError).
    """
    trainings = check_trainings(trainings)
    if resume and overwrite:
        raise InvalidValueError("expected resume, which continues runs, or overwrite, which deletes them, got both")
    if not isinstance(on, str) or (on not in ("local", "ray") and ":" not in on):
        raise InvalidValueError(f"expected on='local', 'ray', 'ray://host:10001' or 'host:6379', got {brief(on)}")
    jobs = check_value("jobs", jobs, Count | None)
    paths = run_paths(trainings, out)
    trainings = [replace(each.with_preset(), threads=each.threads or 1) for each in trainings]
    for training, path in zip(trainings, paths, strict=True):
        training.resolve()
        if not (resume or overwrite):
            RunDirectory(path).check_unused()
    launcher = Processes() if on == "local" else RayTasks(None if on == "ray" else on)
    most = len(trainings) if jobs is None and on != "local" else jobs or CORES
    with closing(launcher):
        return Runs(launcher, trainings, paths, resume, overwrite, quiet).train(most)


def check_trainings(trainings: Any) -> list[Training]:
    if isinstance(trainings, Training):
        raise InvalidTypeError("expected several trainings, got one: train_many([training])")
    trainings = list(trainings)
    if not trainings:
        raise InvalidValueError("expected at least one training, got none")
    for each in trainings:
        if not isinstance(each, Training):
            raise InvalidTypeError(
                f"expected trainings, such as Training('ppo', 'CatchBall', seed=1), got {brief(each)}"
            )
    return trainings


def run_paths(trainings: Sequence[Training], out: Any) -> list[Path]:
    """Return the directory of each run. Raises ValueError if two would have the same one."""
    if out is None or isinstance(out, str | Path):
        paths = [Path(out or "runs") / run_name(each.agent, each.game, each.seed) for each in trainings]
    else:
        paths = [Path(each) for each in out]
        if len(paths) != len(trainings):
            raise InvalidValueError(f"expected a directory for each of {len(trainings)} trainings, got {len(paths)}")
    seen: set[Path] = set()
    for path in paths:
        if path.absolute() in seen:
            raise InvalidValueError(f"two trainings would be in {path}: name a directory for each by out=[...]")
        seen.add(path.absolute())
    return paths


class Runs:
    """Starts the runs, shows their progress and collects how they ended."""

    def __init__(
        self,
        launcher: Launcher,
        trainings: Sequence[Training],
        paths: Sequence[Path],
        resume: bool,
        overwrite: bool,
        quiet: bool,
    ):
        self.launcher, self.trainings, self.paths = launcher, trainings, paths
        self.resume, self.overwrite, self.quiet = resume, overwrite, quiet
        self.summaries: list[RunSummary | None] = [None] * len(trainings)
        self.running: list[Job] = []
        self.stopped: str | None = None  # the signal that ends all
        self.console = Console(highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(None), TextColumn("{task.fields[text]}"))
        self.bars = Progress(
            *(*columns, TimeRemainingColumn()),
            console=self.console,
            expand=True,
            disable=quiet or not self.console.is_terminal,
        )

    def train(self, jobs: int) -> list[RunSummary]:
        waiting = list(range(len(self.trainings)))[::-1]
        with self.bars, stop_signals(self.quiet) as stop:
            try:
                while self.running or (waiting and not stop):
                    while waiting and len(self.running) < jobs and not stop:
                        self.start(waiting.pop())
                    if stop and self.stopped is None:
                        self.stopped = stop[0]
                        self.launcher.stop([job.handle for job in self.running])
                    by_handle = {id(job.handle): job for job in self.running}
                    for handle, outcome in self.launcher.wait([job.handle for job in self.running], INTERVAL):
                        self.finish(by_handle[id(handle)], outcome)
                    self.show()
            finally:  # of the second Ctrl-C, or an error here
                self.launcher.kill([job.handle for job in self.running])
        for index in waiting:
            self.summaries[index] = RunSummary(self.trainings[index], self.paths[index], stopped=self.stopped)
        return [summary for summary in self.summaries if summary is not None]

    def start(self, index: int) -> None:
        training, path = self.trainings[index], self.paths[index]
        resume = self.resume and RunDirectory(path).config.exists()
        handle = self.launcher.start(training, path, resume, self.overwrite)
        task = self.bars.add_task(path.name, total=training.resolve().steps, text="starting")
        self.running.append(Job(index, handle, task))

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Note how a run ended; one that was stopped may not have been able to say so."""
        training, path = self.trainings[job.index], self.paths[job.index]
        if outcome.lost and self.stopped:
            outcome = replace(outcome, error=None, stopped=self.stopped)
        summary = RunSummary(
            training, path, outcome.best, outcome.seconds, outcome.stopped, outcome.error, outcome.restarts
        )
        self.running.remove(job)
        self.summaries[job.index] = summary
        self.bars.remove_task(job.task)
        if not self.quiet:
            self.console.print(describe_end(summary), markup=False, soft_wrap=True)

    def show(self) -> None:
        """Read the steps and scores of the running ones from the last rows of their metrics."""
        if self.bars.disable:
            return
        for job in self.running:
            row = last_row(RunDirectory(self.paths[job.index]).metrics)
            if row:
                score = row.get("rollout/score_mean", row.get("eval/score_mean"))
                text = f"{row['step']:,} steps" + ("" if score is None else f"  score {score:,.1f}")
                self.bars.update(job.task, completed=row["step"], text=text)


def describe_end(summary: RunSummary) -> str:
    """Return a line that says how a run ended."""
    times = {0: "", 1: " (started again once)"}.get(summary.restarts, f" (started again {summary.restarts} times)")
    if summary.error:
        return f"{summary.path}: failed{times}: {summary.error}"
    if summary.stopped:
        return f"{summary.path}: stopped by {summary.stopped}{times}"
    best = "no evaluation" if summary.best is None else f"best evaluation {summary.best:,.1f}"
    return f"{summary.path}: {best}, {summary.seconds or 0:,.1f} s{times}"


def last_row(metrics: Path) -> dict[str, Any] | None:
    """Return the last whole row of a file of metrics that may be growing; None if there is none yet."""
    with suppress(OSError, ValueError), metrics.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 8192))
        lines = file.read().split(b"\n")[:-1]
        return json.loads(lines[-1]) if lines else None
    return None


def check_all_finished(summaries: Sequence[RunSummary]) -> None:
    """Raise FailedError if a run failed."""
    failed = [summary for summary in summaries if summary.error]
    if failed:
        raise FailedError(f"{len(failed)} of {len(summaries)} runs failed, first {describe_end(failed[0])}")
