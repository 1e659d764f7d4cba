"""The directory of a run: what one training leaves behind, and what resuming it needs.

config.json            all settings of the run
metrics.jsonl          a row each `log_every` steps, and one for each evaluation; identical when the run is repeated
episodes.jsonl         at those steps the score of each episode, "scores" of training and "eval_scores" of evaluations
times.jsonl            seconds of training and steps a second at those steps, which are never identical
curve.png              scores and evaluations over the steps
tensorboard/           the same as events, with the extra `tensorboard`
checkpoints/           step-*.ckpt, the last three; best.ckpt by evaluation; final.ckpt
                       replay-*.part: slots of the replay buffer of the step-*.ckpt, each once (`replay_files`)

A run resumes from step-*.ckpt, which hold the whole state. best.ckpt and final.ckpt are the agents to keep and to
share: one file each, without the replay buffer, which is filled again first if they learn on.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import PARTS, CheckpointError
from rlgames.errors import InvalidValueError, NoRunError, NotWritableError, RunExistsError
from rlgames.experience.replay import ReplayBuffer
from rlgames.runs.replay_files import ReplayFiles

KEEP_LAST = 3  # step-*.ckpt
SCORES = ("scores", "eval_scores")  # of the episodes in a row of metrics
EXPORTED = "agent.ckpt"  # the checkpoint in a folder of an exported agent


class RunDirectory:
    """Paths and files of a run; see the module's docstring."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config, self.metrics, self.times = (self.path / n for n in ("config.json", "metrics.jsonl", "times.jsonl"))
        self.episodes = self.path / "episodes.jsonl"
        self.curve, self.checkpoints = self.path / "curve.png", self.path / "checkpoints"
        self.best, self.final = self.checkpoints / "best.ckpt", self.checkpoints / "final.ckpt"
        self.replay_files = ReplayFiles(self.checkpoints)

    def clear(self) -> None:
        """Delete this run's files and nothing else."""
        for path in (self.checkpoints, self.path / "tensorboard"):
            shutil.rmtree(path, ignore_errors=True)
        for path in (
            self.metrics,
            self.episodes,
            self.times,
            self.curve,
            self.config,
        ):  # last what marks a run
            path.unlink(missing_ok=True)

    def create(self, config: dict[str, Any]) -> None:
        """Create the directory of a new run. Raises FileExistsError if there is a run already."""
        if self.config.exists():
            raise RunExistsError(f"{self.path} holds a run already: continue it with --resume, or choose another --out")
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            write_atomically(self.config, json.dumps(config, indent=2) + "\n")
        except OSError as error:
            raise NotWritableError(f"{self.path} cannot be written: {error}") from error

    def resume(self, config: dict[str, Any]) -> tuple[Path, dict, dict] | None:
        """Return the newest checkpoint that can be read, as (path, header, state); None if there is none yet.

        Raises FileNotFoundError if there is no run, ValueError if it has other settings.
        """
        if not self.config.exists():
            raise NoRunError(f"{self.path} holds no run to resume: start it without --resume")
        differs = difference(json.loads(self.config.read_text()), config)
        if differs:
            raise InvalidValueError(
                f"{self.path} was started with other settings: {differs}; resume with the same, or change --out"
            )
        self.checkpoints.mkdir(exist_ok=True)
        paths = [*sorted(self.checkpoints.glob("step-*.ckpt")), *([self.final] if self.final.exists() else [])]
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

    def truncate_after(self, step: int) -> None:
        """Delete what a resumed run writes again, checkpoints and rows after `step`, and incomplete files."""
        for path in [*self.checkpoints.glob("step-*.ckpt"), *self.checkpoints.glob(".*.partial")]:
            if path.suffix == ".partial" or path.name > self.step_checkpoint(step).name:
                path.unlink()
        self.delete_old()
        for path in (self.metrics, self.episodes, self.times):
            write_atomically(path, "".join(json.dumps(row) + "\n" for row in read_rows(path) if row["step"] <= step))

    def log(self, row: dict[str, Any], seconds: float, fps: float) -> None:
        """Append a row of metrics, the scores in it apart, and its seconds of training and steps a second."""
        scores = {key: row[key] for key in SCORES if row.get(key)}
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
        if replay is not None:
            state = state | {"replay": state["replay"] | {"chunks": self.replay_files.add(step, replay)}}
        if names := self.replay_files.names():
            header = header | {PARTS: names}
        checkpoint.save(self.step_checkpoint(step), header, state)
        self.delete_old()

    def save_without_replay(self, path: Path, header: dict[str, Any], state: dict[str, Any]) -> None:
        """Write a checkpoint of one file, without the replay buffer."""
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


def difference(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> str:
    """Return the first setting that differs, as "config.learning_rate was 0.001, is 0.01"; empty when none does."""
    for key in [*before, *(new for new in after if new not in before)]:
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            if inner := difference(old, new, f"{prefix}{key}."):
                return inner
        elif old != new:
            return f"{prefix}{key} was {old}, is {new}"
    return ""


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)


def append_row(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a .jsonl file; an incomplete last line is left out."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
