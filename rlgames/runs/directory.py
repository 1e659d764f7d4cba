"""A run directory: what one training leaves behind, and where a later one goes on.

config.json            all that the run depends on
metrics.jsonl          a line each `log_every` steps, and one for each evaluation; the same whenever the run is repeated
times.jsonl            seconds of training at those steps, which never are the same
curve.png              scores and evaluations over the steps
tensorboard/           the same as events, with the extra `tensorboard`
checkpoints/           step-*.ckpt, the last three; best.ckpt by evaluation; final.ckpt
                       replay-*.part: what the replay of the step-*.ckpt holds, each slot once (`segments`)

A run goes on from step-*.ckpt, which hold all that is alive. best.ckpt and final.ckpt are the agents to keep and to
hand on: each a file of its own, without the replay. One of them that learns on fills its replay anew first.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import CheckpointError
from rlgames.experience.replay import Replay
from rlgames.runs.replay_files import PARTS, Segments

KEEP = 3  # checkpoints of the last steps
EXPORTED = "agent.ckpt"  # the weights in a folder that was made to hand an agent on


class RunDirectory:
    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config, self.metrics, self.times = (self.path / n for n in ("config.json", "metrics.jsonl", "times.jsonl"))
        self.curve, self.checkpoints = self.path / "curve.png", self.path / "checkpoints"
        self.best, self.final = self.checkpoints / "best.ckpt", self.checkpoints / "final.ckpt"
        self.segments = Segments(self.checkpoints)

    def clear(self) -> None:
        """Delete the run that lies here, and nothing that no run leaves."""
        for path in (self.checkpoints, self.path / "tensorboard"):
            shutil.rmtree(path, ignore_errors=True)
        for path in (self.metrics, self.times, self.curve, self.config):  # last what says that a run lies here
            path.unlink(missing_ok=True)

    def begin(self, config: dict[str, Any]) -> None:
        """Take the directory for a new run. Raises FileExistsError when a run lies there already."""
        if self.config.exists():
            raise FileExistsError(f"{self.path} holds a run already: go on with --resume, or choose another --out")
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write(self.config, json.dumps(config, indent=2) + "\n")

    def resume(self, config: dict[str, Any]) -> tuple[Path, dict, dict] | None:
        """The newest checkpoint that can be read, as (path, header, state); None when there is none yet.

        Raises FileNotFoundError when no run lies here, ValueError when it is a run of other settings.
        """
        if not self.config.exists():
            raise FileNotFoundError(f"{self.path} holds no run to resume: start it without --resume")
        differs = difference(json.loads(self.config.read_text()), config)
        if differs:
            raise ValueError(
                f"{self.path} was started with other settings: {differs}; resume with the same, or change --out"
            )
        self.checkpoints.mkdir(exist_ok=True)
        paths = [*sorted(self.checkpoints.glob("step-*.ckpt")), *([self.final] if self.final.exists() else [])]
        while paths:
            path = paths.pop()
            try:
                header, state = checkpoint.load(path)
            except CheckpointError as error:
                onward = "the checkpoint before it" if paths else "the beginning"
                print(f"{error}; going on from {onward}", file=sys.stderr)
            else:
                self.segments.resume(state)
                return path, header, state
        return None

    def forget_after(self, step: int) -> None:
        """Drop what a resumed run writes again, checkpoints and lines after `step`, and what a kill cut off."""
        for path in [*self.checkpoints.glob("step-*.ckpt"), *self.checkpoints.glob(".*.partial")]:
            if path.suffix == ".partial" or path.name > self.at(step).name:
                path.unlink()
        self.keep_last()
        for path in (self.metrics, self.times):
            write(path, "".join(json.dumps(row) + "\n" for row in rows(path) if row["step"] <= step))

    def log(self, row: dict[str, Any], seconds: float) -> None:
        append(self.metrics, row)
        append(self.times, {"step": row["step"], "seconds": round(seconds, 3)})

    def at(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:012d}.ckpt"

    def save(self, step: int, header: dict[str, Any], state: dict[str, Any], replay: Replay | None = None) -> None:
        """Keep this step's checkpoint and those of the two before it; of `replay`, the agent's, only what is new."""
        if replay is not None:
            state = state | {"replay": state["replay"] | {"pieces": self.segments.add(step, replay)}}
        if names := self.segments.names():
            header = header | {PARTS: names}
        checkpoint.save(self.at(step), header, state)
        self.keep_last()

    def save_apart(self, path: Path, header: dict[str, Any], state: dict[str, Any]) -> None:
        """A checkpoint in one file, without the replay."""
        checkpoint.save(path, header, state | dict.fromkeys(state.keys() & {"replay"}))

    def keep_last(self) -> None:
        paths = sorted(self.checkpoints.glob("step-*.ckpt"))
        for old in paths[:-KEEP]:
            old.unlink()
        self.segments.forget(paths[-KEEP:])


def checkpoint_at(path: Path) -> Path:
    """A checkpoint file itself; of a run's directory the best, else the final, else the newest; an exported agent.

    Raises FileNotFoundError for a directory that holds none.
    """
    if not path.is_dir():
        return path
    run = RunDirectory(path)
    for found in (path / EXPORTED, run.best, run.final, *sorted(run.checkpoints.glob("step-*.ckpt"), reverse=True)):
        if found.exists():
            return found
    raise FileNotFoundError(f"{path} holds no checkpoint: give a checkpoint file, or the directory of a run")


def difference(was: dict[str, Any], now: dict[str, Any], at: str = "") -> str:
    """The first setting that differs, as "config.learning_rate was 0.001, is 0.01"; empty when none does."""
    for key in [*was, *(new for new in now if new not in was)]:  # as they stand in the file: what matters comes first
        before, after = was.get(key), now.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            if inner := difference(before, after, f"{at}{key}."):
                return inner
        elif before != after:
            return f"{at}{key} was {before}, is {after}"
    return ""


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)


def append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a .jsonl file; a last line that was cut off is left out."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
