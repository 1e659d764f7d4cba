"""Trackers of a run's metrics beside its own files: TensorBoard, Weights & Biases, Trackio.

A tracker never ends a training. Whatever it raises, when it starts or later, is printed in one line on stderr, and the
run goes on without it: metrics.jsonl has everything, and a run that resumes passes on what a tracker has missed. A
package that is missing is an error before the training begins.

A resumed run continues the same run of its tracker: TensorBoard drops the events after the checkpoint; the others get
each row of metrics.jsonl once, as tracker.json in the run's directory counts.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol

from gymnasium.error import DependencyNotInstalled

from rlgames.agents.metrics import summary_writer, write_scalars
from rlgames.runs.directory import RunDirectory, read_rows, write_atomically

TrackerName = Literal["tensorboard", "wandb", "trackio", "none"]
PROJECT = "rlgames"  # of Weights & Biases, where WANDB_PROJECT names no other, and of Trackio


class Tracker(Protocol):
    def write(self, row: dict[str, Any]) -> None:
        """Take the numbers of a row of metrics that was written to metrics.jsonl."""

    def flush(self) -> None:
        """Keep what was written, although the process may be killed: a run that resumes does not write it again."""

    def close(self) -> None:
        """End the run of the tracker."""


def check_tracker(name: TrackerName | None) -> None:
    """Raise DependencyNotInstalled, naming the extra, if the package of a tracker is missing."""
    if name not in (None, "none") and find_spec(name) is None:
        raise DependencyNotInstalled(f'--track {name} needs the extra {name}: pip install "rlgames[{name}]"')


@contextmanager
def tracked(
    name: TrackerName | None, directory: RunDirectory, settings: dict[str, Any], step: int
) -> Iterator[Tracking]:
    """Track a run that begins or resumes at `step`; its tracker is closed in the end.

    None: TensorBoard, if it is installed.
    """
    tracking = Tracking(name or "tensorboard", lambda: open_tracker(name, directory, settings, step))
    try:
        yield tracking
    finally:
        tracking.close()


def open_tracker(
    name: TrackerName | None, directory: RunDirectory, settings: dict[str, Any], step: int
) -> Tracker | None:
    if name in (None, "tensorboard"):
        writer = summary_writer(directory.path / "tensorboard", step)
        return None if writer is None else TensorBoard(writer)
    return None if name == "none" else RemoteRun(name, directory, settings)


class Tracking:
    """A tracker, until it fails; then nothing."""

    def __init__(self, name: str, start: Callable[[], Tracker | None]):
        self.name = name
        self.tracker: Tracker | None = None
        with self.surviving():
            self.tracker = start()

    def write(self, row: dict[str, Any]) -> None:
        if self.tracker:
            with self.surviving():
                self.tracker.write(row)

    def flush(self) -> None:
        if self.tracker:
            with self.surviving():
                self.tracker.flush()

    def close(self) -> None:
        if self.tracker:
            with self.surviving():
                self.tracker.close()

    @contextmanager
    def surviving(self) -> Iterator[None]:
        """Print what a tracker raises in one line, and do without it from then on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  of a package from outside, which must not end a training
            self.tracker = None
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(
                f"rlgames: {self.name} failed, the run goes on without it ({reason[:200]}); metrics.jsonl has"
                " everything, and --resume tries again",
                file=sys.stderr,
            )


class TensorBoard:
    def __init__(self, writer: Any):
        self.writer = writer

    def write(self, row: dict[str, Any]) -> None:
        write_scalars(self.writer, row)

    def flush(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class RemoteRun:
    """A run of Weights & Biases or Trackio that gets each row of metrics.jsonl once.

    It catches up at the start: on rows of a time when nothing tracked the run, or when a tracker failed.
    """

    def __init__(self, name: Literal["wandb", "trackio"], directory: RunDirectory, settings: dict[str, Any]):
        self.name, self.file = name, directory.tracker
        self.state = json.loads(self.file.read_text()) if self.file.exists() else {}
        own = self.state.setdefault(name, {"id": uuid.uuid4().hex[:8], "rows": 0})
        self.save()
        self.run = STARTERS[name](directory, own["id"], settings)
        self.count = 0  # rows of metrics.jsonl up to here
        for row in read_rows(directory.metrics):
            self.write(row)

    def write(self, row: dict[str, Any]) -> None:
        self.count += 1
        if self.count <= self.state[self.name]["rows"]:
            return  # logged before the run was killed and resumed from an earlier step
        self.run.log({key: x for key, x in row.items() if isinstance(x, float)}, step=row["step"])
        self.state[self.name]["rows"] = self.count
        self.save()

    def save(self) -> None:
        write_atomically(self.file, json.dumps(self.state) + "\n")

    def flush(self) -> None:
        """Do nothing: both pass on at once what they get, to a process of theirs or to a file."""

    def close(self) -> None:
        self.run.finish()


def start_wandb(directory: RunDirectory, run_id: str, settings: dict[str, Any]) -> Any:
    """Start or continue a run; WANDB_MODE=offline, WANDB_PROJECT and the like hold as everywhere."""
    wandb = import_module("wandb")
    return wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        id=run_id,
        name=directory.path.resolve().name,
        group=f"{settings['agent']}-{settings['game']}",
        dir=directory.path,
        config=settings,
        resume="allow",
        settings=wandb.Settings(console="off"),  # it would capture what a progress bar prints
    )


def start_trackio(directory: RunDirectory, run_id: str, settings: dict[str, Any]) -> Any:
    """Start or continue a run, which has its name as its id; TRACKIO_DIR says where it is kept."""
    return import_module("trackio").init(
        project=PROJECT,
        name=f"{directory.path.resolve().name}-{run_id}",
        group=f"{settings['agent']}-{settings['game']}",
        config=settings,
        resume="allow",
    )


STARTERS = {"wandb": start_wandb, "trackio": start_trackio}
