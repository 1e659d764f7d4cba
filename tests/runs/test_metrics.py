"""`read_metrics` compared with the rows of the files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

import rlgames
from rlgames.runs.directory import RunDirectory
from rlgames.runs.metrics import read_metrics


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the directory of a run that logged at steps 10, 20 and 30, and evaluated at 20 and 25."""
    directory = RunDirectory(tmp_path / "run")
    directory.create({})
    directory.release()
    for i, row in enumerate(
        [
            {"step": 10, "episodes": 0, "train/loss": 0.5, "scores": []},
            {"step": 20, "episodes": 2, "rollout/score_mean": 4.0, "train/loss": 0.25, "scores": [3.0, 5.0]},
            {"step": 20, "eval/score_mean": 6.0, "eval_scores": [5.0, 7.0]},
            {"step": 25, "eval/score_mean": 8.0, "eval_scores": [8.0]},
            {"step": 30, "episodes": 3, "rollout/score_mean": 5.0, "train/loss": None, "scores": [7.0]},
        ]
    ):
        directory.log(row, 0.5 * i, 40.0)
    with directory.metrics.open("a") as file:
        file.write('{"step": 40, "tra')  # a running one
    return directory.path


NAN = np.nan
COLUMNS = {
    "step": [10, 20, 25, 30],
    "episodes": [0, 2, NAN, 3],
    "train/loss": [0.5, 0.25, NAN, NAN],
    "rollout/score_mean": [NAN, 4, NAN, 5],
    "eval/score_mean": [NAN, 6, 8, NAN],
    "seconds": [0, 1, 1.5, 2],
    "time/fps": [40, 40, 40, 40],
}


def test_metrics_are_columns_with_a_row_for_each_step(run: Path) -> None:
    columns = rlgames.read_metrics(str(run))
    assert set(columns) == set(COLUMNS)
    assert next(iter(columns)) == "step"
    for name, values in COLUMNS.items():
        np.testing.assert_array_equal(columns[name], values, strict=False)
        assert columns[name].dtype == (np.int64 if name == "step" else np.float64)


def test_scores_have_a_file_of_their_own(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "episodes.jsonl").read_text().splitlines()]
    assert rows == [
        {"step": 20, "scores": [3.0, 5.0]},
        {"step": 20, "eval_scores": [5.0, 7.0]},
        {"step": 25, "eval_scores": [8.0]},
        {"step": 30, "scores": [7.0]},
    ]
    assert "scores" not in (run / "metrics.jsonl").read_text()


def test_a_run_that_has_logged_nothing_has_no_rows(tmp_path: Path) -> None:
    (directory := RunDirectory(tmp_path)).create({})
    directory.release()
    columns = read_metrics(tmp_path)
    assert {name: x.tolist() for name, x in columns.items()} == {"step": []}


def test_as_frame_returns_a_frame_of_pandas(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pandas is stood in for: its frame takes the dictionary."""
    pandas = ModuleType("pandas")
    pandas.DataFrame = lambda columns: ("frame", columns)  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    made: Any = read_metrics(run, as_frame=True)
    assert made[0] == "frame"
    np.testing.assert_array_equal(made[1]["step"], COLUMNS["step"])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DependencyNotInstalled, match="as_frame=True needs pandas: pip install pandas"):
        read_metrics(run, as_frame=True)


def test_a_directory_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} holds no run: expected the directory that"):
        read_metrics(tmp_path)
