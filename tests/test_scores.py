"""`benchmarks/scores.py` trains agents with several seeds and writes a row for each agent and game."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlgames.evaluation import Evaluation

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield import_module("scores")
    sys.modules.pop("scores")


def test_row_has_the_statistics_of_all_seeds(scores: Any) -> None:
    low, high = (
        Evaluation([value] * 10, [value] * 10, [5] * 10, capped=1, wins=wins) for value, wins in ((10, 0), (30, 5))
    )
    results = [scores.Result(0, 1_000, 20.0, low), scores.Result(1, 1_000, 40.0, high)]
    options = scores.Options(("Cave",), options="--envs 4", max_steps=5)
    row = dict(zip(scores.COLUMNS, scores.cells("ppo", "Cave", results, options), strict=True))
    assert (row["agent"], row["game"], row["steps"], row["time"]) == ("PPO, `--envs 4`", "`Cave`", "1,000", "30 s")
    assert (row["mean of each seed"], row["mean"], row["median"], row["worst 10%"]) == (
        "10.0, 30.0",
        "20.0",
        "20.0",
        "10.0",
    )
    assert (row["95% interval"], row["goal"], row["limit"]) == ("10.0 to 30.0", "25%", "10%")  # of two seeds: both


def test_interval_of_one_seed_is_that_of_its_evaluation(scores: Any) -> None:
    played = np.random.default_rng(0).normal(size=100)
    expected = Evaluation(list(played), list(played), [1] * 100).interval
    assert scores.interval(played[None]) == pytest.approx(expected, abs=0.02)


@pytest.mark.slow
def test_agent_is_trained_and_added_to_the_file(scores: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scores.json"
    path.write_text('{"ppo on Cave": {"rows": []}}')
    options = scores.Options(
        ("CatchBall",), ("random",), seeds="0,3", episodes=8, options="--steps 512", json=path, markdown=True
    )
    scores.main(options)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert list(found) == ["ppo on Cave", "random on CatchBall --steps 512"]
    entry = found["random on CatchBall --steps 512"]
    assert (entry["seeds"], entry["episodes"]) == ([0, 3], 8)
    assert [value["seed"] for value in entry["values"]] == [0, 3]
    assert all(value["steps"] >= 512 for value in entry["values"])  # whole updates
    assert "| RANDOM, `--steps 512` |" in capfd.readouterr().out
