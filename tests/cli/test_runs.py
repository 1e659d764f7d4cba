"""`rlgames plot` and `rlgames compare`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.run_files import write_run

from rlgames.cli import main as cli

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return a folder of two runs of each of two agents, and one that has logged nothing."""
    for agent, value in (("dqn", 10.0), ("ppo", 1234.5)):
        for seed in range(2):
            metrics = {"rollout/score_mean": [value, value + seed]}
            write_run(tmp_path / f"{agent}-{seed}", metrics, agent=agent, eval_scores=[value, value + seed])
    write_run(tmp_path / "new", {})
    (tmp_path / "new" / "metrics.jsonl").touch()
    return tmp_path


def test_plot_writes_a_picture(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(runs)
    assert cli.main(["plot", "dqn-*", "ppo-0", "new", "--y", "eval,score", "--x", "time"]) == 0
    assert capsys.readouterr().out == "curves.png: eval, score of 3 runs; 1 that has not logged it yet left out\n"
    assert (runs / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_compare_prints_a_table(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(runs)
    assert cli.main(["compare", "dqn-*", "ppo-*"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "eval/score_mean on Cave, the last of each run",
        "",
        "  A  dqn in dqn-*",
        "  B  ppo in ppo-*",
        "",
        "     runs  step  interquartile mean  95% interval",
        "  A  2     100   10.2                [10.0, 10.5]",
        "  B  2     100   1,234.8             [1,234.5, 1,235.0]",
        "",
        "  Probability that a run of B is higher than one of A: 1.00 [1.00, 1.00]",
    ]
    assert cli.main(["compare", "dqn-0", "ppo-*"]) == 0
    out = capsys.readouterr().out
    assert "  B  2     100   4         1,234.5             [1,234.5, 1,2" in out
    assert "they say nothing" in " ".join(out.split())
    assert cli.main(["compare", "dqn-1", "ppo-1", "--metric", "score"]) == 0
    assert "  A  1     20    11.0                of a single run: none" in capsys.readouterr().out


def test_compare_prints_json(runs: Path, capsys: Capture) -> None:
    assert cli.main(["compare", f"{runs}/dqn-*", str(runs / "ppo-1"), "--metric", "score", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["game"], printed["metric"], printed["unit"]) == ("Cave", "rollout/score_mean", "run")
    assert printed["a"]["values"] == [10, 11]
    assert printed["b"]["runs"] == [str(runs / "ppo-1")]
    assert (printed["improvement"], printed["improvement_interval"]) == (1, None)
