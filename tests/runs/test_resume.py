"""A run that is stopped, killed or damaged, and then resumed, ends like an uninterrupted one, byte for byte."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlgames.agents.a3c import A3CConfig
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.agents.registry import load
from rlgames.agents.reinforce import REINFORCEConfig
from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import weights_sha256
from rlgames.runs import directory as directory_module
from rlgames.runs import trackers
from rlgames.runs import training as training_module
from rlgames.runs.directory import RunDirectory, read_rows
from rlgames.runs.training import Session, Training, TrainingResult, open_session, train

PPO_CONFIG = PPOConfig(n_steps=8, n_epochs=1, num_minibatches=1, net_arch=(16,), encoder="vector")
DQN_CONFIG = DQNConfig(
    buffer_size=40,  # the ring wraps
    learning_starts=8,
    batch_size=4,
    train_freq=8,
    target_update_interval=3,
    n_steps=2,
    net_arch=(16,),
)
PRIORITIZED = dataclasses.replace(DQN_CONFIG, prioritized=True)
SHORT = Training(  # 20 updates of 16 steps
    "ppo",
    "CatchBall",
    PPO_CONFIG,
    steps=320,
    envs=2,
    seed=3,
    device="cpu",
    log_every=32,
    evaluate_every=96,
    evaluate_episodes=2,
    evaluate_max_steps=30,
    save_every=48,
)
SHORTEST = {  # a few updates, for the tests that interrupt a run many times
    "ppo": dataclasses.replace(SHORT, steps=64, log_every=16, evaluate_every=32, save_every=16),
    "dqn": Training("dqn", "CatchBall", DQN_CONFIG, 80, 2, 3, "cpu", 16, 40, 1, 10, 16),
    "prioritized": Training("dqn", "CatchBall", PRIORITIZED, 80, 2, 3, "cpu", 16, 40, 1, 10, 16),
}
MANY = 10_000  # file operations, more than any of these runs takes


def files_of(out: Path) -> dict[str, bytes]:
    """Return the content of a run's files, without times.jsonl, which differs from run to run."""
    paths = [path for path in out.rglob("*") if path.is_file() and path.name != "times.jsonl"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def assert_same_files(out: Path, expected: dict[str, bytes], names: Iterable[str] | None = None) -> None:
    """Check the files of a run, or those of `names` only; a run that was stopped has other step checkpoints."""
    found = files_of(out)
    if names is None:
        assert set(found) == set(expected)
    assert [name for name in names or found if found[name] != expected[name]] == []


RESULTS = (
    *("metrics.jsonl", "episodes.jsonl", "config.json", "curve.png"),
    *("checkpoints/final.ckpt", "checkpoints/best.ckpt"),
)


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Training], dict[str, bytes]]:
    """Return the files that an uninterrupted run of a training leaves."""
    known: dict[str, dict[str, bytes]] = {}

    def files(training: Training) -> dict[str, bytes]:
        if repr(training) not in known:
            out = tmp_path_factory.mktemp("uninterrupted")
            train(training, out, quiet=True)
            known[repr(training)] = files_of(out)
        return known[repr(training)]

    return files


def train_until(training: Training, out: Path, step: int, resume: bool = False) -> TrainingResult:
    """Train a run, or resume it, and stop it by SIGTERM at the first update at or after `step`."""
    add, sent = training_module.MetricsLog.add, False

    def add_and_signal(log: Any, update: Any) -> None:
        nonlocal sent
        add(log, update)
        if update.step >= step and not sent:
            sent = True
            signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module.MetricsLog, "add", add_and_signal)
        result = train(training, out, resume=resume, quiet=True)
    assert result.stopped == "SIGTERM"
    return result


# ---- stopped between two updates ----


@pytest.mark.parametrize("step", [32, 160, 304])
def test_run_stopped_by_a_signal_resumes_exactly(step: int, tmp_path: Path, uninterrupted: Any) -> None:
    """At steps where a checkpoint is due, and at others: the extra checkpoint of a stop is deleted in time."""
    assert train_until(SHORT, tmp_path / "run", step).agent.step == step
    assert (tmp_path / "run" / "checkpoints" / f"step-{step:012d}.ckpt").exists()
    assert not (tmp_path / "run" / "checkpoints" / "final.ckpt").exists()
    result = train(SHORT, tmp_path / "run", resume=True, quiet=True)
    assert result.stopped is None
    assert_same_files(tmp_path / "run", uninterrupted(SHORT), RESULTS)
    seconds = [row["seconds"] for row in read_rows(tmp_path / "run" / "times.jsonl")]
    assert seconds == sorted(seconds)


@pytest.mark.usefixtures("matplotlib_curves")
def test_resumed_run_draws_the_same_curve(tmp_path: Path) -> None:
    training = SHORTEST["ppo"]
    train(training, tmp_path / "uninterrupted", quiet=True)
    train_until(training, tmp_path / "run", 32)
    train(training, tmp_path / "run", resume=True, quiet=True)
    assert (tmp_path / "run" / "curve.png").read_bytes() == (tmp_path / "uninterrupted" / "curve.png").read_bytes()


def test_run_stopped_after_every_update_resumes_exactly(tmp_path: Path, uninterrupted: Any) -> None:
    training = SHORTEST["ppo"]
    for step in range(16, 64, 16):
        train_until(training, tmp_path / "run", step, resume=step > 16)
    train(training, tmp_path / "run", resume=True, quiet=True)
    assert_same_files(tmp_path / "run", uninterrupted(training), RESULTS)


@pytest.mark.parametrize("config", [DQN_CONFIG, PRIORITIZED], ids=["dqn", "prioritized"])
def test_replay_buffer_resumes_exactly(config: DQNConfig, tmp_path: Path, uninterrupted: Any) -> None:
    """Stopped at checkpoints and between them, twice before the first gradient step; unused parts are deleted."""
    training, out = Training("dqn", "Cave", config, 240, 2, 0, "cpu", 32, 120, 1, 30, 48), tmp_path / "run"
    stops = (8, 16, 48, 88, 200)
    for step in stops:
        assert train_until(training, out, step, resume=step != stops[0]).agent.step == step
    train(training, out, resume=True, quiet=True)
    assert_same_files(out, uninterrupted(training), RESULTS)
    named = {part for path in out.rglob("step-*.ckpt") for part in checkpoint.read_header(path)["parts"]}
    assert {path.name for path in out.rglob("*.part")} == named


REINFORCE_CONFIG = REINFORCEConfig(n_episodes=2, net_arch=(16,))
A3C_CONFIG = A3CConfig(workers=1, n_steps=8, net_arch=(16,))


@pytest.mark.parametrize(
    ("agent", "config", "game"),
    [
        pytest.param(
            *("ppo", dataclasses.replace(PPO_CONFIG, encoder="auto"), "Pong:max_episode_steps=60"),  # stacked frames
            marks=pytest.mark.slow,
        ),
        ("ppo", dataclasses.replace(PPO_CONFIG, encoder="auto"), "Cave"),  # shaped rewards
        ("ppo", dataclasses.replace(PPO_CONFIG, encoder="auto"), "Mario:stages=1-1+4-2"),  # a console in each episode
        ("reinforce", REINFORCE_CONFIG, "CartPole"),  # time limits
        ("a3c", A3C_CONFIG, "CatchBall:size=16"),
    ],
)
def test_other_agents_and_games_resume_exactly(agent: str, config: Any, game: str, tmp_path: Path) -> None:
    if game.startswith("Mario") and not find_spec("gym_super_mario_bros"):
        pytest.skip("needs the ROM")
    if game.startswith("Pong"):
        pytest.importorskip("ale_py")
    training = Training(agent, game, config, 112, 2, 0, "cpu", 32, 112, 1, 30, 48)
    train(training, tmp_path / "uninterrupted", quiet=True)
    train_until(training, tmp_path / "run", 80)
    train(training, tmp_path / "run", resume=True, quiet=True)
    assert_same_files(tmp_path / "run", files_of(tmp_path / "uninterrupted"), RESULTS)


# ---- killed between two file operations ----


class Killed(BaseException):
    """Ends a run as kill -9 does: nothing that changes files happens after it."""


class LimitedFileOperations:
    """Allows `remaining` operations on files and then raises Killed: kill -9 at a moment that a test can choose."""

    def __init__(self, remaining: float, patch: pytest.MonkeyPatch) -> None:
        self.remaining = remaining
        for owner, name in ((os, "replace"), (os, "fsync"), (Path, "unlink"), (Path, "mkdir")):
            patch.setattr(owner, name, self.limit(getattr(owner, name)))
        patch.setattr(Path, "write_text", self.limit(Path.write_text, write_half_a_file))
        patch.setattr(directory_module, "append_row", self.limit(directory_module.append_row, append_half_a_row))

    def limit(self, operation: Callable[..., Any], incomplete: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def limited(*args: Any, **kwargs: Any) -> Any:
            self.remaining -= 1
            if self.remaining == -1 and incomplete:
                incomplete(*args)
            if self.remaining < 0:
                raise Killed
            return operation(*args, **kwargs)

        return limited


def write_half_a_file(path: Path, text: str) -> None:
    with open(path, "w") as file:
        file.write(text[: len(text) // 2])


def append_half_a_row(path: Path, row: dict[str, Any]) -> None:
    with open(path, "a") as file:
        file.write(json.dumps(row)[:-9])


def train_with_file_operations(training: Training, out: Path, operations: float) -> float:
    """Train a run, or resume it, for that many operations on files; return how many are left at its end."""
    with pytest.MonkeyPatch.context() as patch:
        limited = LimitedFileOperations(operations, patch)
        train(training, out, resume=(out / "config.json").exists(), quiet=True)
    return limited.remaining


def check_kills(training: Training, folder: Path, points: Callable[[int], Iterable[int]]) -> None:
    """Kill a run after each number of file operations in `points(operations of an uninterrupted run)`; resume it."""
    operations = MANY - int(train_with_file_operations(training, folder / "uninterrupted", MANY))
    assert operations > 40
    expected = files_of(folder / "uninterrupted")
    for point in points(operations):
        out = folder / f"{point}"
        with pytest.raises(Killed):
            train_with_file_operations(training, out, point)
        train_with_file_operations(training, out, MANY)
        assert_same_files(out, expected)


def test_run_killed_at_some_file_operations_resumes_exactly(tmp_path: Path) -> None:
    """At the first six, when the directory is made, the last two, and four between."""
    check_kills(
        SHORTEST["prioritized"],
        tmp_path,
        lambda n: [*range(6), *random.Random(0).sample(range(6, n - 2), 4), n - 2, n - 1],
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORTEST)
def test_run_killed_at_any_file_operation_resumes_exactly(name: str, tmp_path: Path) -> None:
    check_kills(SHORTEST[name], tmp_path, range)


def check_repeated_kills(training: Training, folder: Path, expected: dict[str, bytes], spans: list[int]) -> None:
    """Kill a run after each number of file operations in turn, resume it to the end, and check its files."""
    for operations in spans:
        try:
            train_with_file_operations(training, folder / "run", operations)
        except Killed:
            continue
    train_with_file_operations(training, folder / "run", MANY)
    assert_same_files(folder / "run", expected)


@pytest.mark.parametrize("spans", [[30, 3, 17, 9], [12, 12, 40]])
def test_run_killed_repeatedly_resumes_exactly(spans: list[int], tmp_path: Path, uninterrupted: Any) -> None:
    check_repeated_kills(SHORTEST["dqn"], tmp_path, uninterrupted(SHORTEST["dqn"]), spans)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORTEST)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spans=st.lists(st.integers(0, 40), min_size=2, max_size=6))
def test_run_killed_at_random_resumes_exactly(
    name: str, tmp_path_factory: pytest.TempPathFactory, uninterrupted: Any, spans: list[int]
) -> None:
    training = SHORTEST[name]
    check_repeated_kills(training, tmp_path_factory.mktemp("killed"), uninterrupted(training), spans)


# ---- processes and their signals ----

PROGRAM = """
import json, os, signal, sys, threading, time
import torch
torch.set_num_threads(1)
from pathlib import Path
from rlgames.agents.config import make_config
from rlgames.agents.registry import find
from rlgames.checkpoint import weights_sha256
from rlgames.runs import trackers
from rlgames.runs import training as module
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where the tests run in the background
settings, out = json.loads(sys.argv[1]), Path(sys.argv[2])
number, remaining, delay = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
add = module.MetricsLog.add
def add_and_signal(log, update):
    global remaining
    add(log, update)
    remaining -= 1
    if number and remaining == 0:
        threading.Timer(delay, os.kill, (os.getpid(), number)).start()
    time.sleep(0.002)  # in which other threads run
module.MetricsLog.add = add_and_signal
trackers.summary_writer = lambda folder, step: None
module.draw_curve = lambda rows, picture, title: picture.write_bytes(json.dumps([title, *rows]).encode())
settings["config"] = make_config(find(settings["agent"]).Config, settings["config"])
result = module.train(module.Training(**settings), out, resume=(out / "config.json").exists(), quiet=True)
print(result.stopped, weights_sha256(result.agent.net.state_dict()))
"""


def run_process(
    training: Training, out: Path, temporary: Path, number: int = 0, updates: int = 0, delay: float = 0.0
) -> tuple[int, list[str]]:
    """Train a run, or resume it, in a process that is signalled `delay` seconds after so many updates.

    Return its exit status and printed words. It must print no warning and leave no process.
    """
    settings = json.dumps(checkpoint.config_to_json(training))
    torch_cache = str(temporary.parent / "torch")  # torch makes it when it is imported
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, settings, *map(str, (out, number, updates, delay))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(temporary), "TORCHINDUCTOR_CACHE_DIR": torch_cache, "OMP_NUM_THREADS": "1"},
    )
    try:
        stdout, stderr = process.communicate(timeout=240)
        assert stderr == ""
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return process.returncode, stdout.split()


def signal_processes(training: Training, folder: Path, numbers: list[signal.Signals]) -> Path:
    """Train a run in processes, one after the other, each hit by a signal at a random moment; return its directory."""
    temporary, out, rng = folder / "temporary", folder / "run", random.Random(0)
    temporary.mkdir()
    for number in numbers:
        moment = rng.randint(3, 15), rng.random() * 0.02
        exit_status, words = run_process(training, out, temporary, number, *moment)
        assert (exit_status, words[:1]) == ((-number, []) if number == signal.SIGKILL else (0, [number.name]))
        if number != signal.SIGKILL:
            newest = max((out / "checkpoints").glob("step-*.ckpt"))
            assert weights_sha256(load(newest, weights_only=True).net.state_dict()) == words[1]
    assert list(temporary.iterdir()) == []
    return out


LONG_PPO = Training("ppo", "CatchBall", PPO_CONFIG, 16 * 200, 2, 3, "cpu", 16, 320, 2, 30, 16)
LARGE_REPLAY = dataclasses.replace(PRIORITIZED, buffer_size=500, learning_starts=16, train_freq=16, n_steps=1)
LONG_DQN = dataclasses.replace(LONG_PPO, agent="dqn", config=LARGE_REPLAY, steps=16 * 120)


@pytest.mark.slow
def test_run_of_killed_and_interrupted_processes_resumes_exactly(tmp_path: Path, uninterrupted: Any) -> None:
    training = dataclasses.replace(LONG_DQN, steps=16 * 50)
    out = signal_processes(training, tmp_path, [signal.SIGKILL, signal.SIGINT])
    train(training, out, resume=True, quiet=True)
    assert_same_files(out, uninterrupted(training))


@pytest.mark.slow
@pytest.mark.parametrize("training", [LONG_PPO, LONG_DQN], ids=["ppo", "dqn"])
def test_run_of_many_signalled_processes_resumes_exactly(training: Training, tmp_path: Path) -> None:
    """Also the first and the last part, and the uninterrupted run, are processes of their own."""
    temporary = tmp_path / "temporary of uninterrupted runs"
    temporary.mkdir()
    exit_status, (stopped_by, weights) = run_process(training, tmp_path / "uninterrupted", temporary)
    assert (exit_status, stopped_by) == (0, "None")
    numbers = [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGKILL]
    out = signal_processes(training, tmp_path, numbers)
    assert run_process(training, out, temporary) == (0, ["None", weights])
    assert_same_files(out, files_of(tmp_path / "uninterrupted"))


# ---- damage ----

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "flipped bit": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
    "half": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
}


def damage(path: Path, kind: str) -> None:
    path.write_bytes(DAMAGE[kind](path.read_bytes()))


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_checkpoint_is_skipped(
    kind: str, tmp_path: Path, uninterrupted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    train_until(SHORT, tmp_path / "run", 208)
    *_, previous, newest = sorted((tmp_path / "run" / "checkpoints").glob("step-*.ckpt"))
    damage(newest, kind)
    found = RunDirectory(tmp_path / "run").resume(SHORT.resolve().steps)
    assert found is not None
    assert found[0] == previous
    capsys.readouterr()
    train(SHORT, tmp_path / "run", resume=True, quiet=True)
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    assert line.startswith(f"{newest}: ")
    assert line.endswith("; resuming from the checkpoint before it")
    assert captured.out == ""
    assert_same_files(tmp_path / "run", uninterrupted(SHORT))


def test_damaged_final_checkpoint_is_written_again(
    tmp_path: Path, uninterrupted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    train(SHORT, tmp_path / "run", quiet=True)
    damage(tmp_path / "run" / "checkpoints" / "final.ckpt", "half")
    train(SHORT, tmp_path / "run", resume=True, quiet=True)
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert_same_files(tmp_path / "run", uninterrupted(SHORT))


def test_run_with_only_damaged_checkpoints_starts_over(
    tmp_path: Path, uninterrupted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped again before it reaches their steps, it keeps its new checkpoints and not those of later steps."""
    train_until(SHORT, tmp_path / "run", 256)
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        damage(path, "half")
    capsys.readouterr()
    train_until(SHORT, tmp_path / "run", 64, resume=True)
    lines = capsys.readouterr().err.splitlines()
    fallbacks = [line.rpartition("; resuming from ")[2] for line in lines]
    assert fallbacks == ["the checkpoint before it"] * 2 + ["the beginning"]
    result = train_until(SHORT, tmp_path / "run", 80, resume=True)
    assert capsys.readouterr().err == ""
    assert [row["step"] for row in read_rows(result.directory.metrics)] == [32, 64]
    train(SHORT, tmp_path / "run", resume=True, quiet=True)
    assert_same_files(tmp_path / "run", uninterrupted(SHORT), RESULTS)


def test_run_stopped_before_its_first_checkpoint_starts_over(tmp_path: Path, uninterrupted: Any) -> None:
    """Its directory holds config.json alone."""
    directory = RunDirectory(tmp_path / "run")
    directory.create(checkpoint.config_to_json(dataclasses.replace(SHORT, threads=1).resolve()))
    directory.release()
    train(SHORT, tmp_path / "run", resume=True, quiet=True)
    assert_same_files(tmp_path / "run", uninterrupted(SHORT))


def test_resuming_deletes_incomplete_files(tmp_path: Path, uninterrupted: Any) -> None:
    out = tmp_path / "run"
    train_until(SHORT, out, 96)
    for name in ("metrics.jsonl", "episodes.jsonl", "times.jsonl"):
        with open(out / name, "a") as file:
            file.write('{"step": 112, "sco')
    (out / ".metrics.jsonl.partial").write_text("half")
    for name in ("step-000000000112.ckpt", "final.ckpt"):
        (out / "checkpoints" / f".{name}.0123456789abcdef.partial").write_bytes(b"half")
    train(SHORT, out, resume=True, quiet=True)
    assert_same_files(out, uninterrupted(SHORT))


# ---- environments without a snapshot ----

RECURRENT_PPO = dataclasses.replace(PPO_CONFIG, recurrent=True, lstm_hidden_size=8)
RECURRENT_DQN = dataclasses.replace(
    DQN_CONFIG, buffer_size=80, recurrent=True, lstm_hidden_size=8, sequence_length=6, burn_in=2
)
STICKY_PONG = "Pong:repeat_action_probability=0.25,max_episode_steps=40"


@pytest.mark.parametrize(
    ("agent", "config", "game"),
    [
        ("ppo", PPO_CONFIG, "CartPole-v1"),
        ("dqn", DQN_CONFIG, "CartPole-v1"),
        ("dqn", RECURRENT_DQN, "CartPole-v1"),
        pytest.param("ppo", RECURRENT_PPO, "CartPole-v1", marks=pytest.mark.slow),
        pytest.param("a3c", A3C_CONFIG, "CartPole-v1", marks=pytest.mark.slow),
        pytest.param("reinforce", REINFORCE_CONFIG, "CartPole-v1", marks=pytest.mark.slow),
        pytest.param("dqn", PRIORITIZED, "CartPole-v1", marks=pytest.mark.slow),
        pytest.param("dqn", DQN_CONFIG, STICKY_PONG, marks=pytest.mark.slow),
        pytest.param("ppo", PPO_CONFIG, STICKY_PONG, marks=pytest.mark.slow),
        pytest.param("ppo", PPO_CONFIG, "Mario:world=1,stage=1,engine=nes-py", marks=pytest.mark.slow),
        pytest.param("ppo", PPO_CONFIG, "ChromeDino:obs=state", marks=pytest.mark.slow),
    ],
)
def test_run_without_snapshots_resumes_exactly_at_its_checkpoints(
    agent: str, config: Any, game: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every checkpoint starts new episodes, so that a run resumes there exactly wherever it was stopped."""
    if game == STICKY_PONG:
        pytest.importorskip("ale_py")
    if game.startswith("Mario") and not (find_spec("gym_super_mario_bros") and find_spec("nes_py")):
        pytest.skip("needs the ROM and nes-py")
    steps, stops = 240, [1, 48, 80]  # before the first checkpoint, where one is due, and between two
    if game == STICKY_PONG:  # whose emulators take long to start
        steps, stops = 64, [1, 48]
    training = Training(agent, game, config, steps, 2, 0, "cpu", 32, min(steps, 80), 1, 20, save_every=48)
    out = tmp_path / "run"
    train(training, tmp_path / "uninterrupted", quiet=True)
    for i, step in enumerate(stops):
        train_until(training, out, step, resume=i > 0)
    assert train(training, out, resume=True, quiet=True).stopped is None
    expected = files_of(tmp_path / "uninterrupted")
    assert set(files_of(out)) == set(expected)
    assert_same_files(out, expected, [name for name in expected if not name.endswith(".part")])
    assert "not bit-for-bit" not in capsys.readouterr().out


WORKERS = Training(
    *("a3c", "CatchBall", A3CConfig(workers=2, n_steps=8, net_arch=(16,), encoder="vector")),
    *(160, 2, 0, "cpu", 32, 160, 1, 30, 48),
)


@pytest.mark.slow
def test_resuming_with_several_workers_says_that_it_is_not_exact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(open_session(WORKERS, tmp_path / "run", quiet=True)) as session:
        session.save()
    assert capsys.readouterr().out == ""
    open_session(WORKERS, tmp_path / "run", resume=True, quiet=True).close()
    assert "resuming with new episodes" in capsys.readouterr().out


@pytest.mark.slow  # in the quick set: tests/agents/test_a3c.py, without the files of a run
def test_run_with_several_workers_resumes(tmp_path: Path) -> None:
    """A run that was killed before its final checkpoint ends with it."""
    train(WORKERS, tmp_path / "run", quiet=True)
    final = tmp_path / "run" / "checkpoints" / "final.ckpt"
    final.unlink()
    assert train(WORKERS, tmp_path / "run", resume=True, quiet=True).agent.step >= 160
    assert final.exists()


# ---- TensorBoard ----


def kill_at(step: int, patch: pytest.MonkeyPatch, method: str) -> None:
    """Let a session's `write` or `save` raise Killed at `step`, once its work is done."""
    original = getattr(Session, method)

    def killed(session: Session, *args: Any) -> None:
        original(session, *args)
        if session.agent.step == step and args != (session.directory.best,):
            raise Killed

    patch.setattr(Session, method, killed)


@pytest.mark.usefixtures("tensorboard")
def test_resuming_replaces_the_events_of_repeated_steps(tmp_path: Path) -> None:
    """Also after a kill."""
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415  optional
        EventAccumulator,
    )

    out = tmp_path / "run"
    train_until(SHORT, out, 160)
    time.sleep(1.1)  # event files are read in the order of the seconds in their names
    with pytest.MonkeyPatch.context() as patch:
        kill_at(256, patch, "write")
        with pytest.raises(Killed):
            train(SHORT, out, resume=True, quiet=True)
    time.sleep(1.1)
    train(SHORT, out, resume=True, quiet=True)
    events = EventAccumulator(str(out / "tensorboard"), purge_orphaned_data=True)
    events.Reload()
    for key in ("train/loss", "train/policy_gradient_loss", "eval/score_mean"):
        logged = [row for row in read_rows(out / "metrics.jsonl") if row.get(key) is not None]
        assert [event.step for event in events.Scalars(key)] == [row["step"] for row in logged]
        assert [event.value for event in events.Scalars(key)] == pytest.approx([row[key] for row in logged])
    assert np.all(np.diff([event.step for event in events.Scalars("train/loss")]) > 0)


class BufferedWriter:
    """Stands in for TensorBoard's writer: a kill loses what it has not flushed."""

    def __init__(self, disk: list[tuple[str, int]]) -> None:
        self.disk = disk
        self.buffer: list[tuple[str, int]] = []

    def add_scalar(self, key: str, value: float, step: int) -> None:
        self.buffer.append((key, step))

    def flush(self) -> None:
        self.disk += self.buffer
        self.buffer = []

    def close(self) -> None:
        """Lose the rest: the last checkpoint of a run that is not killed flushes everything."""


def test_events_before_a_checkpoint_survive_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk: list[tuple[str, int]] = []
    monkeypatch.setattr(trackers, "summary_writer", lambda folder, step: BufferedWriter(disk))
    with monkeypatch.context() as patch:
        kill_at(240, patch, "save")
        with pytest.raises(Killed):
            train(SHORT, tmp_path / "run", quiet=True)

    def logged_steps() -> list[int]:
        return [row["step"] for row in read_rows(tmp_path / "run" / "metrics.jsonl") if "train/loss" in row]

    assert [step for key, step in disk if key == "train/loss"] == logged_steps() != []
    train(SHORT, tmp_path / "run", resume=True, quiet=True)
    assert [step for key, step in disk if key == "train/loss"] == logged_steps()
