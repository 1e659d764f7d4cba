"""Studies: the same seed gives the same trials, however often they are killed; the best settings are a preset file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gymnasium.error import DependencyNotInstalled
from helpers.processes import TIMEOUT

import rlgames
from rlgames.cli.main import main
from rlgames.errors import FailedError, InvalidTypeError, InvalidValueError, NoRunError, RunExistsError, UsageError
from rlgames.tuning.study import Tuning, TuningResult, tune

SETTINGS: dict[str, Any] = dict(
    trials=4, steps=1_024, envs=8, evaluations=4, evaluate_episodes=2, search=("learning_rate", "gamma", "n_steps")
)


def tuning(**changes: Any) -> Tuning:
    return Tuning("ppo", "CartPole", **SETTINGS | changes)


def played(result: TuningResult) -> list[tuple[Any, ...]]:
    return [(each.state, each.score, each.settings) for each in result.trials]


def test_without_optuna_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(DependencyNotInstalled, match=r'pip install "rlgames\[tune\]"'):
        tune(tuning(), tmp_path / "study")
    assert main(["tune", "ppo", "CartPole", "--out", str(tmp_path / "study")]) == 2
    assert capsys.readouterr().err == 'rlgames: rlgames tune needs the extra tune: pip install "rlgames[tune]"\n'
    assert list(tmp_path.iterdir()) == []


def test_settings_are_checked() -> None:
    with pytest.raises(InvalidValueError, match="expected trials to be an integer >= 1, got 0"):
        tuning(trials=0)
    with pytest.raises(InvalidValueError, match="sampler to be 'tpe', 'random'"):
        tuning(sampler="best")
    with pytest.raises(InvalidTypeError, match="expected fields to search"):
        tuning(search="gamma")
    with pytest.raises(InvalidTypeError, match="expected a tuning"):
        tune("ppo")  # pyright: ignore[reportArgumentType]  on purpose
    with pytest.raises(UsageError, match="--jobs >= 1, got 0"):
        main_of(["tune", "ppo", "CartPole", "--jobs", "0"])


def main_of(argv: list[str]) -> None:
    """Run a command whose errors are raised."""
    from rlgames.cli.main import run  # noqa: PLC0415  its name is common

    run(argv)


@pytest.mark.slow
def test_a_study_that_is_killed_goes_on_with_the_same_trials(tmp_path: Path) -> None:
    """With one job: its trials, in order, are those of an unbroken study; the best settings train."""
    pytest.importorskip("optuna")
    unbroken = tune(tuning(), tmp_path / "unbroken", quiet=True)
    assert len(unbroken.trials) == 4
    assert unbroken.trials[0].settings["learning_rate"] == rlgames.preset("ppo", "CartPole").config["learning_rate"]

    out = tmp_path / "killed"
    options = ["--trials", "4", "--steps", "1024", "--envs", "8", "--evaluations", "4", "--evaluate-episodes", "2"]
    options += ["--search", ",".join(SETTINGS["search"]), "--out", str(out), "--quiet"]
    command = [sys.executable, "-m", "rlgames", "tune", "ppo", "CartPole", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + TIMEOUT
    try:
        while not list(out.glob("trials/2/*/metrics.jsonl")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with pytest.raises(RunExistsError, match="holds a study already"):
        tune(tuning(), out)
    with pytest.raises(InvalidValueError, match=r"other settings: evaluations was 4, is 5"):
        tune(tuning(evaluations=5), out, resume=True)
    resumed = tune(tuning(), out, resume=True, quiet=True)
    assert played(resumed) == played(unbroken)
    assert resumed.best == unbroken.best

    best = max(each.score or 0.0 for each in resumed.trials if each.state == "complete")
    assert resumed.score == best
    file = out / "best.json"
    assert json.loads(file.read_text())["steps"] == 1_024
    assert main(["train", "ppo", "CartPole", "--preset", str(file), "--out", str(tmp_path / "run"), "--quiet"]) == 0


@pytest.mark.slow
def test_two_folders_share_a_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optuna = pytest.importorskip("optuna")
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    settings = tuning(trials=3, seeds=2, search=("learning_rate=1e-3:1",), sampler="random", steps=512)
    first = tune(settings, tmp_path / "a", jobs=2, storage=url, study="shared", quiet=True)
    assert len(first.trials) == 3
    second = tune(replace(settings, trials=4), tmp_path / "b", storage=url, study="shared", quiet=True)
    assert [each.number for each in second.trials] == [0, 1, 2, 3]
    assert [each.name for each in (tmp_path / "b" / "trials").iterdir()] == ["3"]
    storage = optuna.storages.RDBStorage(url)
    trials = optuna.load_study(study_name="shared", storage=storage).trials
    assert [each.user_attrs["seeds"] for each in trials] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    storage.remove_session()
    storage.engine.dispose()
    assert main(["tune", "ppo", "CartPole", "--resume", "--out", str(tmp_path / "a")]) == 2
    assert "give the --storage that the study was started with" in capsys.readouterr().err


@pytest.mark.slow
def test_bad_trials_end_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optuna = pytest.importorskip("optuna")
    monkeypatch.setattr("rlgames.tuning.study.make_pruner", lambda *_: optuna.pruners.ThresholdPruner(lower=1e9))
    result = tune(tuning(trials=1), tmp_path / "study", quiet=True)
    assert [each.state for each in result.trials] == ["pruned"]
    assert (result.best, result.score) == (None, None)
    assert not (tmp_path / "study" / "best.json").exists()
    steps = rlgames.read_metrics(tmp_path / "study" / "trials" / "0" / "seed0")["step"]
    assert steps[-1] < SETTINGS["steps"]


@pytest.mark.slow
def test_folders_storages_and_failures(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    with pytest.raises(NoRunError, match="no study to resume"):
        tune(tuning(), tmp_path / "none", resume=True)
    with pytest.raises(InvalidValueError, match="unknown field 'gama' to search"):
        tune(tuning(search=("gama",)), tmp_path / "bad")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InvalidValueError, match=r"no study in the storage nonsense://me:\*\*\*@host/a: "):
        tune(tuning(), tmp_path / "bad", storage="nonsense://me:secret@host/a")
    with pytest.raises(FailedError, match=r"all 1 trials failed, trial 0: no device 'nonsense' here"):
        tune(tuning(trials=1, device="nonsense"), tmp_path / "fails", quiet=True)
