"""Many runs side by side: the same bits as alone, resumed as a whole, and none stopped by another."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import TIMEOUT

import rlgames
from rlgames.checkpoint.file import weights_sha256
from rlgames.cli.main import main
from rlgames.cli.main import run as run_command
from rlgames.cli.run import parse_seeds
from rlgames.errors import InvalidTypeError, InvalidValueError, RunExistsError, UsageError
from rlgames.runs.directory import RunDirectory
from rlgames.runs.many import train_many
from rlgames.runs.training import Training, train

STEPS = 2_048


def training(**changes: Any) -> Training:
    settings: dict[str, Any] = dict(agent="ppo", game="CartPole", steps=STEPS, evaluate_episodes=2)
    return Training(**settings | changes)


def weights(run: Path) -> str:
    return weights_sha256(rlgames.load(run / "checkpoints" / "final.ckpt").net.state_dict())


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """Return the weights of runs that were trained alone, by seed."""
    folder = tmp_path_factory.mktemp("alone")
    for seed in (0, 1):
        train(training(seed=seed, threads=1), folder / str(seed), quiet=True)
    return {seed: weights(folder / str(seed)) for seed in (0, 1)}


def test_runs_have_the_bits_of_runs_alone_whatever_becomes_of_others(alone: dict[int, str], tmp_path: Path) -> None:
    trainings = [training(seed=0), training(seed=2, start=str(tmp_path / "broken.ckpt"))]
    summaries = train_many(trainings, tmp_path / "runs", jobs=2, quiet=True)
    assert [summary.path.name for summary in summaries] == ["ppo-CartPole-seed0", "ppo-CartPole-seed2"]
    assert summaries[0].error is None
    assert weights(summaries[0].path) == alone[0]
    assert "broken.ckpt: no such file" in (summaries[1].error or "")
    with pytest.raises(RunExistsError, match="ppo-CartPole-seed0 holds a run already"):
        train_many([training(seed=5), *trainings], tmp_path / "runs", quiet=True)
    assert not (tmp_path / "runs" / "ppo-CartPole-seed5").exists()


@pytest.mark.slow
def test_seeds_on_the_command_line(alone: dict[int, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Resumed as a whole: the first run is finished, and stays as it is, the second was not begun."""
    command = ["train", "ppo", "CartPole", "--steps", str(STEPS), "--evaluate-episodes", "2"]
    command += ["--out", str(tmp_path / "runs")]
    assert main([*command, "--seeds", "0"]) == 0
    metrics = tmp_path / "runs" / "seed0" / "metrics.jsonl"
    before = metrics.read_bytes()
    assert main([*command, "--seeds", "0,1"]) == 2
    assert "seed0 holds a run already" in capsys.readouterr().err
    assert main([*command, "--seeds", "0,1", "--resume"]) == 0
    printed = capsys.readouterr().out
    assert "2 runs, seeds 0,1" in printed
    assert f"plot {tmp_path / 'runs'}" in printed
    assert metrics.read_bytes() == before
    assert [weights(tmp_path / "runs" / f"seed{seed}") for seed in (0, 1)] == [alone[0], alone[1]]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_set_resumes(number: signal.Signals, tmp_path: Path) -> None:
    """SIGTERM ends all runs saved; after kill -9 their processes end too, and they go on from their checkpoints."""
    alone = tmp_path / "alone"
    settings: dict[str, Any] = dict(steps=200_000, save_every=2_048, evaluate_every=100_000, log_every=1_000)
    train(training(seed=1, threads=1, **settings), alone, quiet=True)
    command = [sys.executable, "-m", "rlgames", "train", "ppo", "CartPole", "--seeds", "0-1", "--jobs", "2"]
    command += ["--quiet", "--evaluate-episodes", "2", "--out", str(tmp_path)]
    command += [part for key, value in settings.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    runs = [tmp_path / "seed0", tmp_path / "seed1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until(lambda: all(list(run.glob("checkpoints/step-*")) for run in runs))
    process.send_signal(number)
    printed = process.communicate(timeout=TIMEOUT)[0]
    if number == signal.SIGTERM:
        assert process.returncode == 128 + signal.SIGTERM
        assert "stopped by SIGTERM; continue with:" in printed
    wait_until(lambda: not any(map(is_locked, runs)))
    assert main([*command[3:], "--resume"]) == 0
    assert weights(runs[1]) == weights(alone)
    assert (runs[1] / "metrics.jsonl").read_bytes() == (alone / "metrics.jsonl").read_bytes()


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_locked(run: Path) -> bool:
    directory = RunDirectory(run)
    try:
        directory.acquire()
    except RunExistsError:
        return True
    directory.release()
    return False


@pytest.mark.parametrize(("text", "seeds"), [("0-4", [0, 1, 2, 3, 4]), ("3", [3]), ("0,7-8", [0, 7, 8])])
def test_seeds_are_read(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "4-0", "0-", "-1", "1,1", "0-9999", "1.5", "0--2", "0-3,2"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected (--seeds|each seed)"):
        parse_seeds(text)


def test_bad_arguments_start_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidValueError, match="at least one training"):
        train_many([])
    with pytest.raises(InvalidTypeError, match="got one"):
        train_many(training())  # pyright: ignore[reportArgumentType]  on purpose
    with pytest.raises(InvalidTypeError, match="expected trainings"):
        train_many(["ppo"])  # pyright: ignore[reportArgumentType]  on purpose
    with pytest.raises(InvalidValueError, match="two trainings would be in"):
        train_many([training(), training()], tmp_path)
    with pytest.raises(InvalidValueError, match="got both"):
        train_many([training()], tmp_path, resume=True, overwrite=True)
    with pytest.raises(InvalidValueError, match="jobs"):
        train_many([training()], tmp_path, jobs=0)
    with pytest.raises(InvalidValueError, match=r"expected on='local', 'ray', .* got 'rya'"):
        train_many([training()], tmp_path, on="rya")
    with pytest.raises(UsageError, match=r"--on ray trains several runs: name them, as in --seeds 0-4"):
        run_command(["train", "ppo", "CartPole", "--on", "ray"])
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r'pip install "rlgames\[ray\]"'):
        train_many([training()], tmp_path, on="ray")
    with pytest.raises(InvalidValueError, match="directory for each of 1"):
        train_many([training()], [tmp_path / "a", tmp_path / "b"])
    with pytest.raises(UsageError, match="Nonsense"):
        train_many([training(), training(game="Nonsense")], tmp_path)
    assert list(tmp_path.iterdir()) == []
