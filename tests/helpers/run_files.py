"""Directories of runs as a training writes them, without the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlgames.runs.directory import RunDirectory


def write_run(
    path: Path,
    metrics: Mapping[str, Sequence[float]],
    *,
    agent: str = "ppo",
    game: str = "Cave",
    interval: int = 10,
    eval_scores: Sequence[float] = (),
    **config: Any,
) -> Path:
    """Write a run of 100 steps that logged these values each `interval` steps and seconds, and return its directory.

    Its last evaluation, if any, is of `eval_scores`.
    """
    directory = RunDirectory(path)
    settings = {"agent": agent, "game": game, "steps": 100, "seed": 0, "log_every": interval, "config": config}
    directory.create(settings)
    directory.release()
    for i in range(max(map(len, metrics.values()), default=0)):
        row = {name: values[i] for name, values in metrics.items() if i < len(values)}
        step = (i + 1) * interval
        directory.log({"step": step, **row, "scores": []}, seconds=float(step), fps=1.0)
    if eval_scores:
        mean = sum(eval_scores) / len(eval_scores)
        row = {"step": 100, "eval/score_mean": mean, "eval_scores": [*eval_scores]}
        directory.log(row, seconds=100.0, fps=1.0)
    return path
