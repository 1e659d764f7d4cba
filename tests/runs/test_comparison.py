"""`rlgames.compare`: which values of runs are compared, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.run_files import write_run

import rlgames
from rlgames.errors import UsageError
from rlgames.runs.statistics import interquartile_interval


def test_last_values_of_runs_are_compared(tmp_path: Path) -> None:
    for i, value in enumerate((1.0, 2.0, 3.0, 10.0)):
        write_run(tmp_path / f"a-{i}", {"eval/score_mean": [7.0, value]}, eval_scores=())
    for i, value in enumerate((2.0, 4.0)):
        write_run(tmp_path / f"b-{i}", {"eval/score_mean": [0.0, 1.0, value]}, agent="dqn")
    result = rlgames.compare(tmp_path / "a-*", [tmp_path / "b-0", str(tmp_path / "b-1")])
    assert (result.game, result.metric, result.unit) == ("Cave", "eval/score_mean", "run")
    assert (result.a.values, result.b.values) == ([1, 2, 3, 10], [2, 4])
    assert (result.a.iqm, result.b.iqm) == (2.5, 3)
    assert (result.a.steps, result.b.steps) == ((20, 20), (30, 30))
    low, high = interquartile_interval(np.array([[1.0, 2.0, 3.0, 10.0]]))
    assert result.a.interval == (low[0], high[0])
    assert result.improvement == (1.5 + 3) / 8
    assert result.improvement_interval is not None
    assert f"ppo in {tmp_path}/a-* 2.5 [" in str(result)


def test_single_run_is_compared_by_the_episodes_of_its_last_evaluation(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {}, eval_scores=[1, 2, 3, 4])
    write_run(tmp_path / "b" / "0", {"eval/score_mean": [50.0]}, eval_scores=[2, 5])
    write_run(tmp_path / "b" / "1", {}, eval_scores=[6, 7], game="Cave:stack=4")
    result = rlgames.compare(tmp_path / "a", tmp_path / "b")
    assert (result.unit, result.a.values, result.b.values) == ("episode", [1, 2, 3, 4], [2, 5, 6, 7])
    assert result.improvement == (1.5 + 4 + 4 + 4) / 16


def test_other_metrics_of_single_runs_have_no_interval(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"train/loss": [1.0, 2.0]})
    write_run(tmp_path / "b", {"train/loss": [3.0, 0.5], "rollout/score_mean": [1.0]})
    result = rlgames.compare(tmp_path / "a", tmp_path / "b", metric="train/loss")
    assert (result.unit, result.a.values, result.a.interval) == ("run", [2.0], None)
    assert (result.improvement, result.improvement_interval) == (0, None)


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"b": "{folder}/none"}, "/none holds no run"),
    ({"b": "{folder}/catch"}, "/run plays Cave, {folder}/catch plays CatchBall: compare runs of one game"),
    ({"b": ["{folder}/run", "{folder}/dqn"]}, "/run is of ppo, {folder}/dqn of dqn, on one side: compare the runs of"),
    ({"b": "{folder}/empty"}, "/empty has logged nothing yet"),
    ({"metric": "loss"}, "no metric 'loss' is logged: the metrics are eval, eval/score_mean,"),
    ({"b": "{folder}/dqn"}, "no metric 'eval/score_mean' is logged: "),
    ({"b": "{folder}/lost"}, "/lost has no episodes of an evaluation in episodes.jsonl: compare another --metric"),
]


@pytest.mark.parametrize(("arguments", "message"), INVALID, ids=[str(arguments) for arguments, _ in INVALID])
def test_invalid_arguments_are_errors_of_one_line(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_run(tmp_path / "run", {}, eval_scores=[1.0])
    write_run(tmp_path / "catch", {}, eval_scores=[1.0], game="CatchBall")
    write_run(tmp_path / "dqn", {"rollout/score_mean": [1.0]}, agent="dqn")
    write_run(tmp_path / "lost", {"eval/score_mean": [1.0]})
    write_run(tmp_path / "empty", {})

    def in_folder(value: Any) -> Any:
        return value.format(folder=tmp_path) if isinstance(value, str) else [*map(in_folder, value)]

    given = {name: in_folder(value) for name, value in ({"a": "{folder}/run", "b": "{folder}/run"} | arguments).items()}
    with pytest.raises(UsageError, match=re.escape(message.format(folder=tmp_path))) as raised:
        rlgames.compare(**given)
    assert "\n" not in str(raised.value)
