"""`rlgames.read_metrics`: the metrics of a run as columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from gymnasium.error import DependencyNotInstalled

from rlgames.errors import NoRunError
from rlgames.runs.directory import RunDirectory, read_rows

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingImports]  optional


@overload
def read_metrics(run: str | Path, *, as_frame: Literal[False] = False) -> dict[str, np.ndarray]: ...
@overload
def read_metrics(run: str | Path, *, as_frame: Literal[True]) -> DataFrame: ...
def read_metrics(run: str | Path, *, as_frame: bool = False) -> Any:
    """Return the metrics of a run's directory as columns, (n,) each: a row for each step that something was logged at.

    "step" is int64, all others are float64, NaN where a metric was not logged at a step: "rollout/score_mean",
    "train/loss", "eval/score_mean", ..., and "seconds" of training and "time/fps". Finished runs and running ones can
    be read. `as_frame` returns a pandas DataFrame with these columns instead of a dictionary.

    Raises FileNotFoundError for a directory without a run, DependencyNotInstalled for `as_frame` without pandas.
    """
    directory = RunDirectory(run)
    if not directory.config.exists():
        raise NoRunError(f"{run} holds no run: expected the directory that rlgames train --out was given")
    by_step: dict[int, dict[str, Any]] = {}
    for row in (*read_rows(directory.metrics), *read_rows(directory.times)):
        by_step.setdefault(row["step"], {}).update(row)
    rows = [by_step[step] for step in sorted(by_step)]
    names = dict.fromkeys(["step", *(name for row in rows for name, x in row.items() if not isinstance(x, list))])
    columns = {
        name: np.array([row.get(name, np.nan) for row in rows], np.int64 if name == "step" else np.float64)
        for name in names
    }
    if not as_frame:
        return columns
    try:
        from pandas import DataFrame  # noqa: PLC0415  # pyright: ignore[reportMissingImports]  optional
    except ImportError as error:
        raise DependencyNotInstalled("as_frame=True needs pandas: pip install pandas") from error
    return DataFrame(columns)
