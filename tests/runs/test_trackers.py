"""Trackers of a run: a stand-in takes the place of Weights & Biases and Trackio, which are heavy."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from gymnasium.error import DependencyNotInstalled

from rlgames.agents.metrics import MetricsLog
from rlgames.agents.ppo import PPOConfig
from rlgames.cli import main as cli
from rlgames.runs.directory import read_rows
from rlgames.runs.training import Training, train

SHORT = Training(
    "ppo",
    "CatchBall",
    PPOConfig(n_steps=8, num_minibatches=1, n_epochs=1, net_arch=(8,)),
    steps=96,
    envs=2,
    device="cpu",
    log_every=16,
    evaluate_every=48,
    evaluate_episodes=1,
    evaluate_max_steps=10,
    save_every=32,
    threads=1,
)


class Server:
    """Stands in for a tracker: its package and its runs, by the id or the name that continues them."""

    def __init__(self, name: Any) -> None:
        self.name = name
        self.started: list[dict[str, Any]] = []
        self.rows: dict[str, list[tuple[int, dict[str, float]]]] = {}
        self.failing = ""  # method
        self.module = ModuleType(name)
        self.module.__spec__ = ModuleSpec(name, None)
        self.module.init = self.init  # pyright: ignore[reportAttributeAccessIssue]  modules take any attribute
        self.module.Settings = SimpleNamespace  # pyright: ignore[reportAttributeAccessIssue]  the same

    def init(self, **arguments: Any) -> Any:
        self.fail("init")
        assert arguments["resume"] == "allow"
        self.started.append(arguments)
        rows = self.rows.setdefault(arguments["id" if self.name == "wandb" else "name"], [])

        def log(row: dict[str, float], step: int) -> None:
            self.fail("log")
            rows.append((step, row))

        return SimpleNamespace(log=log, finish=lambda: self.fail("finish"))

    def fail(self, method: str) -> None:
        if method == self.failing:
            raise ConnectionError(f"{method}: no\nnetwork")


@pytest.fixture(params=["wandb", "trackio"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(request.param)
    monkeypatch.setitem(sys.modules, request.param, server.module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return server


def numbers(run: Path) -> list[tuple[int, dict[str, float]]]:
    """Return the steps and metrics of a run's rows as a tracker has them, without steps a second."""
    rows = read_rows(run / "metrics.jsonl")
    return [(row["step"], {key: x for key, x in row.items() if isinstance(x, float)}) for row in rows]


def tracked(server: Server) -> list[tuple[int, dict[str, float]]]:
    [rows] = server.rows.values()  # of one run, however often it was started
    return [(step, {key: x for key, x in row.items() if key != "time/fps"}) for step, row in rows]


def train_until(step: int, training: Training, run: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """Train, and interrupt the run at a step, without a checkpoint there."""
    add = MetricsLog.add

    def add_and_stop(log: MetricsLog, update: Any) -> None:
        add(log, update)
        if update.step == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "add", add_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train(training, run, quiet=True, **options)


def test_tracker_gets_the_rows_of_a_run(server: Server, tmp_path: Path) -> None:
    training = replace(SHORT, track=server.name)
    train(training, tmp_path / "run", quiet=True)
    assert tracked(server) == numbers(tmp_path / "run") != []
    assert all("time/fps" in row for rows in server.rows.values() for _, row in rows)
    [arguments] = server.started
    assert (arguments["project"], arguments["group"]) == ("rlgames", "ppo-CatchBall")
    assert arguments["name"].startswith("run")
    assert arguments["config"]["config"]["n_steps"] == 8


def test_resumed_run_continues_its_tracker_and_repeats_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows after the checkpoint were tracked before the run was stopped. --track need not be given again."""
    training = replace(SHORT, track=server.name)
    train_until(64, training, tmp_path / "run", monkeypatch)
    steps = [step for step, _ in tracked(server)]
    assert max(steps) == 48 > 32  # of the newest checkpoint
    train(SHORT, tmp_path / "run", resume=True, quiet=True)
    assert len(server.started) == 2
    assert tracked(server) == numbers(tmp_path / "run")
    train(training, tmp_path / "run", overwrite=True, quiet=True)
    assert len(server.rows) == 2


def test_tracker_catches_up_on_what_it_has_missed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    untracked, training = (replace(SHORT, track=name) for name in ("none", server.name))
    train_until(48, untracked, tmp_path / "run", monkeypatch)
    train_until(80, training, tmp_path / "run", monkeypatch, resume=True)
    assert tracked(server) == numbers(tmp_path / "run")
    train(untracked, tmp_path / "run", resume=True, quiet=True)
    assert len(server.started) == 1
    train(training, tmp_path / "run", resume=True, quiet=True)
    assert tracked(server) == numbers(tmp_path / "run")
    assert numbers(tmp_path / "run")[-1][0] == 96


@pytest.mark.parametrize("method", ["init", "log", "finish"])
def test_failing_tracker_is_named_in_one_line_and_the_run_goes_on(
    method: str, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.failing = method
    train(replace(SHORT, track=server.name), tmp_path / "run", quiet=True)
    assert capsys.readouterr().err == (
        f"rlgames: {server.name} failed, the run goes on without it (ConnectionError: {method}: no network);"
        " metrics.jsonl has everything, and --resume tries again\n"
    )
    assert (tmp_path / "run" / "checkpoints" / "final.ckpt").exists()
    server.failing = ""
    train(SHORT, tmp_path / "run", resume=True, quiet=True)
    assert tracked(server) == numbers(tmp_path / "run")


@pytest.mark.parametrize("damage", ["{", "[]", '{"wandb": 3, "trackio": 3}'])
def test_damaged_file_of_a_tracker_does_not_stop_a_run(
    damage: str, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(SHORT, tmp_path / "run", quiet=True)
    (tmp_path / "run" / "tracker.json").write_text(damage)
    train(replace(SHORT, track=server.name), tmp_path / "run", resume=True, quiet=True)
    assert f"rlgames: {server.name} failed, the run goes on without it (" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_missing_package_names_the_extra(
    name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rlgames.runs.trackers.find_spec", lambda _: None)
    train(SHORT, tmp_path / "run", quiet=True)  # TensorBoard is optional
    capsys.readouterr()
    with pytest.raises(DependencyNotInstalled):
        train(replace(SHORT, track=name), tmp_path / "other", quiet=True)
    assert cli.main(["train", "ppo", "CatchBall", "--track", name, "--out", str(tmp_path / "other")]) == 2
    assert capsys.readouterr().err == (
        f'rlgames: --track {name} needs the extra {name}: pip install "rlgames[{name}]"\n'
    )
    assert not (tmp_path / "other").exists()


def test_unknown_tracker_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = "expected track to be 'tensorboard', 'wandb', 'trackio' or 'none' or None, got 'mlflow'"
    with pytest.raises(ValueError, match=message):
        train(replace(SHORT, track=cast(Any, "mlflow")), tmp_path / "run")
    assert cli.main(["train", "ppo", "CatchBall", "--track", "mlflow"]) == 2
    assert "invalid choice 'mlflow' for argument '--track'" in capsys.readouterr().err
    train(SHORT, tmp_path / "run", quiet=True)
    config = tmp_path / "run" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"track": "mlflow"}))
    with pytest.raises(ValueError, match=message):
        train(SHORT, tmp_path / "run", resume=True)
