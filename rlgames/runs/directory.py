"""The directory of a run: what one training leaves behind, and what resuming it needs.

config.json            all settings of the run, and the machines that trained it
metrics.jsonl          a row each `log_every` steps, and one for each evaluation; identical when the run is repeated
episodes.jsonl         at those steps the score of each episode, "scores" of training and "eval_scores" of evaluations
times.jsonl            seconds of training and steps a second at those steps, which are never identical
curve.png              scores and evaluations over the steps
tensorboard/           the same as events, with the extra `tensorboard`
tracker.json, wandb/   the run of another tracker that has the metrics too (`trackers`)
checkpoints/           step-*.ckpt, the last three; best.ckpt by evaluation; final.ckpt
                       replay-*.part: slots of the replay buffer of the step-*.ckpt, each once (`replay_files`)
lock                   while a process trains in the directory: no other does (`lock`)

A run resumes from step-*.ckpt, which hold the whole state. best.ckpt and final.ckpt are the agents to keep and to
share: one file each, without the replay buffer, which is filled again first if they learn on.

A checkpoint says of which run it is, and a run goes on from none of another's, however it came into its directory.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import PARTS, CheckpointError
from rlgames.errors import (
    InvalidValueError,
    NoRunError,
    NotWritableError,
    RunExistsError,
    UsageError,
    WriteError,
    brief,
)
from rlgames.experience.replay import ReplayBuffer
from rlgames.runs.lock import FolderLock
from rlgames.runs.replay_files import ReplayFiles

OWN = ("step-*.ckpt", "best.ckpt", "final.ckpt", "replay-*.part", ".*.partial")  # files in checkpoints/
EXTENDED_FROM = "extended_from"  # key in config.json: the numbers of steps that the run was started with before
MACHINES = "machines"  # key in config.json: those on which the run was trained, in order
COUNTS = ("steps", "log_every", "evaluate_every", "save_every", "threads")  # of config.json, for a resumed run too
KEEP_LAST = 3  # step-*.ckpt
SCORES = ("scores", "eval_scores")  # of the episodes in a row of metrics
EXPORTED = "agent.ckpt"  # the checkpoint in a folder of an exported agent


def run_name(agent: str, game: str, seed: int) -> str:
    """Return the name of a run's directory, by default."""
    return re.sub(r"[^\w.=,-]+", "-", f"{agent}-{game}-seed{seed}")


class RunDirectory:
    """Paths and files of a run; see the module's docstring."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config, self.metrics, self.times = (self.path / n for n in ("config.json", "metrics.jsonl", "times.jsonl"))
        self.episodes = self.path / "episodes.jsonl"
        self.tracker = self.path / "tracker.json"
        self.curve, self.checkpoints = self.path / "curve.png", self.path / "checkpoints"
        self.best, self.final = self.checkpoints / "best.ckpt", self.checkpoints / "final.ckpt"
        self.replay_files = ReplayFiles(self.checkpoints)
        self.lock: FolderLock | None = None

    def acquire(self) -> None:
        """Take the directory for this process, if it exists. Raises FileExistsError if another process trains in it."""
        if self.lock is None and self.path.is_dir():
            try:
                self.lock = FolderLock(self.path)
            except RunExistsError:
                raise
            except OSError as error:
                raise NotWritableError(f"{self.path} cannot be written: {error}") from error

    def release(self) -> None:
        """Let other processes train in the directory; the end of this process does so too."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None

    def clear(self) -> None:
        """Delete this run's files and nothing else. Raises PermissionError for what cannot be deleted."""
        self.check_folder()
        try:
            for path in (path for pattern in OWN for path in self.checkpoints.glob(pattern)):
                path.unlink()
            if not self.config.exists():
                return  # the other names may be another program's
            for folder in (self.path / "tensorboard", self.path / "wandb"):
                if folder.exists():
                    shutil.rmtree(folder)
            for path in (self.metrics, self.episodes, self.times, self.curve, self.tracker, self.config):
                path.unlink(missing_ok=True)  # last what marks a run
        except OSError as error:
            raise NotWritableError(
                f"{error.filename or self.path} cannot be deleted ({error.strerror or error}): delete it yourself, or"
                " choose another --out"
            ) from error

    def check_folder(self) -> None:
        """Raise FileExistsError if the checkpoints are in another folder, which may be another run's."""
        if self.checkpoints.is_symlink():
            raise RunExistsError(
                f"{self.checkpoints} is a symbolic link: a run keeps its checkpoints in its own directory; delete the"
                " link, or choose another --out"
            )

    def check_unused(self) -> None:
        """Raise RunExistsError if the directory holds a run."""
        if self.config.exists():
            raise RunExistsError(
                f"{self.path} holds a run already: continue it with --resume, delete it with --overwrite, or choose"
                " another --out"
            )

    def create(self, config: dict[str, Any]) -> None:
        """Create the directory of a new run, and take it. Raises FileExistsError if there is a run already."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.acquire()
            self.check_unused()
            self.check_folder()
            if left := next((path for pattern in OWN[:3] for path in self.checkpoints.glob(pattern)), None):
                raise RunExistsError(f"{left} is of another run: delete it with --overwrite, or choose another --out")
            self.checkpoints.mkdir(exist_ok=True)
            write_atomically(self.config, json.dumps(config, indent=2) + "\n")
        except UsageError:
            raise
        except OSError as error:
            raise NotWritableError(f"{self.path} cannot be written: {error}") from error

    def check_exists(self) -> None:
        """Raise FileNotFoundError if there is no run."""
        if not self.config.exists():
            raise NoRunError(f"{self.path} holds no run to resume: start it without --resume")

    def read_config(self) -> dict[str, Any]:
        """Return the settings in config.json. Raises ValueError, naming the line, if it is damaged."""
        with checkpoint.open_regular(self.config) as file:
            config = parse_json(self.config, 1, file.read())
        if not isinstance(config, dict):
            raise InvalidValueError(f"{self.config}, line 1: expected settings, got {brief(config)}: restore the file")
        for name in COUNTS:
            if name in config and (type(config[name]) is not int or config[name] < 1):
                raise InvalidValueError(
                    f"{self.config}: expected {name} >= 1, got {brief(config[name])}: restore the file"
                )
        return config

    def note_machine(self, machine: dict[str, str]) -> None:
        """Add a machine to those that trained the run."""
        config = self.read_config()
        before = config.get(MACHINES)
        before = before if isinstance(before, list) else []  # of an older version
        if machine not in before:
            with self.writing():
                write_atomically(self.config, json.dumps(config | {MACHINES: [*before, machine]}, indent=2) + "\n")

    def extend(self, config: dict[str, Any], steps: int) -> None:
        """Let the run of these settings end after another number of steps."""
        before = config.get(EXTENDED_FROM, [])
        config = config | {"steps": steps, EXTENDED_FROM: [*before, config["steps"]]}
        with self.writing():
            write_atomically(self.config, json.dumps(config, indent=2) + "\n")

    def check_checkpoints(self, difference_from_run: Callable[[Path, dict[str, Any]], str]) -> None:
        """Raise ValueError, naming the file, if a checkpoint is another run's; a damaged one is not looked at."""
        self.check_folder()
        for path in sorted(self.checkpoints.glob("*.ckpt")):
            try:
                differs = difference_from_run(path, checkpoint.read_header(path))
            except CheckpointError:
                continue
            if differs:
                raise InvalidValueError(
                    f"{path} is of another run, whose {differs}: delete it, or choose another --out"
                )

    def resume(self, steps: int) -> tuple[Path, dict, Any] | None:
        """Return the newest checkpoint that can be read, as (path, header, state); None if there is none yet.

        final.ckpt is one only if the run ends there, after `steps`, as it has no replay buffer.
        """
        with self.writing():
            self.checkpoints.mkdir(exist_ok=True)
        paths = [*sorted(self.checkpoints.glob("step-*.ckpt")), *([self.final] if self.is_final(steps) else [])]
        while paths:
            path = paths.pop()
            try:
                header, state = checkpoint.load(path)
            except CheckpointError as error:
                fallback = "the checkpoint before it" if paths else "the beginning"
                print(f"{error}; resuming from {fallback}", file=sys.stderr)
            else:
                self.replay_files.resume(state)
                return path, header, state
        return None

    def is_final(self, steps: int) -> bool:
        """Return whether there is a final checkpoint after `steps`, or a damaged one."""
        try:
            return self.final.exists() and checkpoint.read_header(self.final).get("step", 0) >= steps
        except CheckpointError:
            return True

    def truncate_after(self, step: int, steps: int) -> None:
        """Delete what a run of `steps` that resumes at `step` writes again: checkpoints, rows, and incomplete files."""
        with self.writing():
            for path in [*self.checkpoints.glob("step-*.ckpt"), *self.checkpoints.glob(".*.partial")]:
                if path.suffix == ".partial" or path.name > self.step_checkpoint(step).name:
                    path.unlink()
            if self.final.exists() and not self.is_final(steps):
                self.final.unlink()
            self.delete_old()
            for path in (self.metrics, self.episodes, self.times):
                rows = read_rows(path)
                write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows if row["step"] <= step))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Raise in one line what the system answers when a file of the run cannot be written."""
        try:
            yield
        except UsageError:
            raise
        except OSError as error:
            raise WriteError(
                f"{error.filename or self.path} cannot be written: {error.strerror or error}; once it can be, continue"
                " with --resume"
            ) from error

    def log(self, row: dict[str, Any], seconds: float, fps: float) -> None:
        """Append a row of metrics, the scores in it apart, and its seconds of training and steps a second."""
        scores = {key: row[key] for key in SCORES if row.get(key)}
        with self.writing():
            append_row(self.metrics, {key: value for key, value in row.items() if key not in SCORES})
            if scores:
                append_row(self.episodes, {"step": row["step"], **scores})
            append_row(self.times, {"step": row["step"], "seconds": round(seconds, 3), "time/fps": round(fps, 1)})

    def step_checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:012d}.ckpt"

    def save(
        self, step: int, header: dict[str, Any], state: dict[str, Any], replay: ReplayBuffer | None = None
    ) -> None:
        """Write this step's checkpoint, of the agent's `replay` only what is new, and keep the last two before it."""
        with self.writing():
            if replay is not None:
                state = state | {"replay": state["replay"] | {"chunks": self.replay_files.add(step, replay)}}
            if names := self.replay_files.names():
                header = header | {PARTS: names}
            checkpoint.save(self.step_checkpoint(step), header, state)
            self.delete_old()

    def save_without_replay(self, path: Path, header: dict[str, Any], state: dict[str, Any]) -> None:
        """Write a checkpoint of one file, without the replay buffer."""
        with self.writing():
            checkpoint.save(path, header, state | dict.fromkeys(state.keys() & {"replay"}))

    def delete_old(self) -> None:
        paths = sorted(self.checkpoints.glob("step-*.ckpt"))
        for old in paths[:-KEEP_LAST]:
            old.unlink()
        self.replay_files.delete_unused(paths[-KEEP_LAST:])


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint of a path: a file itself, an exported agent, or the best, final or newest one of a run.

    Raises FileNotFoundError for a directory without any.
    """
    if not path.is_dir():
        return path
    run = RunDirectory(path)
    for candidate in (path / EXPORTED, run.best, run.final, *sorted(run.checkpoints.glob("step-*.ckpt"), reverse=True)):
        if candidate.exists():
            return candidate
    raise NoRunError(f"{path} holds no checkpoint: give a checkpoint file, or the directory of a run")


def find_runs(path: Path) -> list[Path]:
    """Return the directories of the runs of a path: a run itself, those anywhere in a folder, or those of a pattern.

    A pattern is as a shell's: "runs/ppo-*". Raises FileNotFoundError if there is no run.
    """
    if RunDirectory(path).config.exists():
        return [path]
    folders = [path] if path.is_dir() else [Path(each) for each in sorted(glob.glob(str(path)))]
    runs = [metrics.parent for folder in folders for metrics in sorted(folder.rglob("metrics.jsonl"))]
    found = [run for run in runs if RunDirectory(run).config.exists()]
    if not found:
        raise NoRunError(
            f"{path} holds no run: expected the directory that rlgames train --out was given, a folder of such"
            " directories, or a pattern in quotes, 'runs/ppo-*'"
        )
    return found


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)


def append_row(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a .jsonl file, each with a "step"; an incomplete last line is left out.

    Raises ValueError, in one line, for any other line that is damaged.
    """
    if not path.exists():
        return []
    with checkpoint.open_regular(path) as file:
        lines = file.read().split(b"\n")[:-1]
    rows = [parse_json(path, i, line) for i, line in enumerate(lines, 1)]
    for i, row in enumerate(rows, 1):
        if not isinstance(row, dict) or type(row.get("step")) is not int:
            raise InvalidValueError(f"{path}, line {i}: expected a row with a step, got {brief(row)}: delete the line")
        if not all(isinstance(value, int | float | list | None) for value in row.values()):
            raise InvalidValueError(f"{path}, line {i}: expected numbers, got {brief(row)}: delete the line")
    return rows


def parse_json(path: Path, line: int, text: bytes) -> Any:
    """Return the JSON that begins in this line of a file. Raises ValueError, naming the line, for anything else."""
    try:
        return json.loads(text.decode())
    except json.JSONDecodeError as error:
        line, problem = line + error.lineno - 1, error.msg
    except (UnicodeDecodeError, RecursionError) as error:
        problem = checkpoint.one_line(str(error))
    raise InvalidValueError(f"{path}, line {line}: is damaged ({problem}): restore it, or delete the line")
