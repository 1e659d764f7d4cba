"""A run that is stopped, killed or damaged at any moment, and resumed, ends as an unbroken one, byte for byte."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
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
from rlgames.runs import directory as runs
from rlgames.runs import training as training_module
from rlgames.runs.directory import RunDirectory, rows
from rlgames.runs.training import Result, Session, Training, train

CONFIG = PPOConfig(n_steps=8, n_epochs=1, num_minibatches=1, hidden=(16,), encoder="vector")
TINY = Training("ppo", "CatchBall", CONFIG, 64, 2, 3, "cpu", 16, 32, 2, 30, 16)  # 4 updates
SMALL = Training("ppo", "CatchBall", CONFIG, 320, 2, 3, "cpu", 32, 96, 2, 30, 48)  # 20 updates
REMEMBERS = DQNConfig(
    buffer_size=40, learning_starts=8, batch=4, train_freq=8, target_update_interval=3, n_steps=2, hidden=(16,)
)
PRIORITIES = dataclasses.replace(REMEMBERS, prioritized=True)
TINIES = {  # the replays go round
    "ppo": TINY,
    "dqn": Training("dqn", "CatchBall", REMEMBERS, 80, 2, 3, "cpu", 16, 40, 1, 10, 16),
    "prioritized": Training("dqn", "CatchBall", PRIORITIES, 80, 2, 3, "cpu", 16, 40, 1, 10, 16),
}


@pytest.fixture(autouse=True)
def without_events(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.name != "test_events_are_no_more_and_no_fewer":
        monkeypatch.setattr(training_module, "tensorboard", lambda path, step: None)


def left(out: Path) -> dict[str, bytes]:
    """All files of a run but for the seconds, which never are the same."""
    paths = [path for path in out.rglob("*") if path.is_file() and path.name != "times.jsonl"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def assert_same(out: Path, expected: dict[str, bytes]) -> None:
    found = left(out)
    assert set(found) == set(expected)
    assert [name for name in found if found[name] != expected[name]] == []


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Training], dict[str, bytes]]:
    """What a training leaves that nobody interrupts."""
    known: dict[str, dict[str, bytes]] = {}

    def of(training: Training) -> dict[str, bytes]:
        if repr(training) not in known:
            out = tmp_path_factory.mktemp("unbroken")
            train(training, out, quiet=True)
            known[repr(training)] = left(out)
        return known[repr(training)]

    return of


def stopped(training: Training, out: Path, step: int, resume: bool = False) -> Result:
    """A part of a run, that SIGTERM ends at `step`."""
    add = training_module.MetricsLog.add

    def noticed(journal: Any, update: Any) -> None:
        add(journal, update)
        if update.step == step:
            signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module.MetricsLog, "add", noticed)
        result = train(training, out, resume=resume, quiet=True)
    assert (result.stopped, result.agent.step) == ("SIGTERM", step)
    return result


# ---- stopped between two updates ----


@pytest.mark.parametrize("step", [16, 32, 160, 288, 304])
def test_stopped_by_a_signal(step: int, tmp_path: Path, unbroken: Any):
    """At steps where a checkpoint is due, and at others: the checkpoint that a stop adds is forgotten in time."""
    stopped(SMALL, tmp_path / "run", step)
    assert (tmp_path / "run" / "checkpoints" / f"step-{step:012d}.ckpt").exists()
    assert not (tmp_path / "run" / "checkpoints" / "final.ckpt").exists()
    result = train(SMALL, tmp_path / "run", resume=True, quiet=True)
    assert result.stopped is None
    expected = unbroken(SMALL)
    found = left(tmp_path / "run")
    for name in ("metrics.jsonl", "config.json", "curve.png", "checkpoints/final.ckpt", "checkpoints/best.ckpt"):
        assert found[name] == expected[name], name
    seconds = [row["seconds"] for row in rows(tmp_path / "run" / "times.jsonl")]
    assert seconds == sorted(seconds)


def test_stopped_after_every_update(tmp_path: Path, unbroken: Any):
    for step in range(16, 320, 16):
        stopped(SMALL, tmp_path / "run", step, resume=step > 16)
    train(SMALL, tmp_path / "run", resume=True, quiet=True)
    expected, found = unbroken(SMALL), left(tmp_path / "run")
    for name in ("metrics.jsonl", "checkpoints/final.ckpt", "checkpoints/best.ckpt"):
        assert found[name] == expected[name], name


@pytest.mark.parametrize("config", [REMEMBERS, PRIORITIES])
def test_a_replay_goes_on(config: DQNConfig, tmp_path: Path, unbroken: Any):
    """Stopped where a checkpoint is due and where none is, twice before anything is learned; parts that no checkpoint
    names are gone."""
    training, out = Training("dqn", "Cave", config, 320, 2, 0, "cpu", 32, 160, 1, 30, 48), tmp_path / "run"
    stops = (8, 16, 48, 88, 200)
    for step in stops:
        stopped(training, out, step, resume=step != stops[0])
    train(training, out, resume=True, quiet=True)
    expected, found = unbroken(training), left(out)
    for name in ("metrics.jsonl", "checkpoints/final.ckpt", "checkpoints/best.ckpt"):
        assert found[name] == expected[name], name
    named = {part for path in out.rglob("step-*.ckpt") for part in checkpoint.read_header(path)["parts"]}
    assert {path.name for path in out.rglob("*.part")} == named


@pytest.mark.parametrize("game", ["CartPole", "Cave", "Pong"])
def test_other_games(game: str, tmp_path: Path, unbroken: Any):
    """With time limits, shaped rewards, stacks of frames, engines whose games are played again."""
    config = PPOConfig(n_steps=8, n_epochs=1, num_minibatches=1)
    training = Training("ppo", game, config, 320, 2, 0, "cpu", 32, 160, 2, 30, 48)
    stopped(training, tmp_path / "run", 176)
    train(training, tmp_path / "run", resume=True, quiet=True)
    expected, found = unbroken(training), left(tmp_path / "run")
    for name in ("metrics.jsonl", "checkpoints/final.ckpt", "checkpoints/best.ckpt"):
        assert found[name] == expected[name], name


# ---- dead in the middle of anything ----


class Dead(BaseException):
    """What a killed process is to the code that it ran: nothing below this point is carried out any more."""


class Mortal:
    """Lets `life` operations on files happen, and none after: as kill -9 would, at a moment that can be chosen."""

    def __init__(self, life: float, patch: pytest.MonkeyPatch) -> None:
        self.life = life
        for owner, name in (
            *((os, name) for name in ("replace", "fsync")),
            *((Path, name) for name in ("unlink", "mkdir")),
        ):
            patch.setattr(owner, name, self.counted(getattr(owner, name)))
        patch.setattr(Path, "write_text", self.counted(Path.write_text, half_a_file))
        patch.setattr(runs, "append", self.counted(runs.append, half_a_line))

    def counted(self, act: Callable[..., Any], dying: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.life -= 1
            if self.life == -1 and dying:
                dying(*args)
            if self.life < 0:
                raise Dead
            return act(*args, **kwargs)

        return call


def half_a_file(path: Path, text: str) -> None:
    with open(path, "w") as file:
        file.write(text[: len(text) // 2])


def half_a_line(path: Path, row: dict[str, Any]) -> None:
    with open(path, "a") as file:
        file.write(json.dumps(row)[:-9])


def lives(training: Training, out: Path, life: float) -> float:
    """Start the run, or go on with it, for so many operations on files; returns how many were not needed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module, "draw_curve", lambda *_: None)
        mortal = Mortal(life, patch)
        train(training, out, resume=(out / "config.json").exists(), quiet=True)
    return mortal.life


@dataclass(repr=False)
class Life:
    training: Training
    count: int  # of the operations that the unbroken run takes
    left: dict[str, bytes]


@pytest.fixture(scope="module", params=TINIES)
def whole_life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Life:
    training, out = TINIES[request.param], tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module, "tensorboard", lambda path, step: None)
        count = 10_000 - int(lives(training, out, 10_000))
    return Life(training, count, left(out))


def test_dead_at_every_operation_on_files(tmp_path: Path, whole_life: Life):
    assert whole_life.count > 40
    for life in range(whole_life.count):
        out = tmp_path / f"{life}"
        with pytest.raises(Dead):
            lives(whole_life.training, out, life)
        lives(whole_life.training, out, 10_000)
        assert_same(out, whole_life.left)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 40), min_size=2, max_size=6))
def test_dead_again_and_again(whole_life: Life, tmp_path_factory: pytest.TempPathFactory, spans: list[int]):
    out = tmp_path_factory.mktemp("again") / "run"
    for life in spans:
        try:
            lives(whole_life.training, out, life)
        except Dead:
            continue
    lives(whole_life.training, out, 10_000)
    assert_same(out, whole_life.left)


# ---- real processes, real signals ----

PROGRAM = """
import sys, time
import torch
torch.set_num_threads(1)
from pathlib import Path
from rlgames import train as module
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.checkpoint import weights_sha256
add = module.MetricsLog.add
module.MetricsLog.add = lambda journal, update: (add(journal, update), time.sleep(0.002))  # for signals to find it at work
module.tensorboard = lambda path, step: None
ppo = PPOConfig(n_steps=8, n_epochs=1, num_minibatches=1, hidden=(16,), encoder="vector")
dqn = DQNConfig(buffer_size=500, learning_starts=16, batch=4, train_freq=16, hidden=(16,), encoder="vector", prioritized=True)
out, agent = Path(sys.argv[1]), sys.argv[2]
config, steps = dict(ppo=(ppo, 16 * 200), dqn=(dqn, 16 * 120))[agent]
training = module.Training(agent, "CatchBall", config, steps, 2, 3, "cpu", 16, 320, 2, 30, 16)
result = module.train(training, out, resume=(out / "config.json").exists(), quiet=True)
print(result.stopped, weights_sha256(result.agent.net.state_dict()))
"""


class Run:
    """One process of a run, in a session of its own, with a folder of its own for temporary files."""

    def __init__(self, agent: str, out: Path, temporary: Path) -> None:
        command = [sys.executable, "-W", "error", "-c", PROGRAM, str(out), agent]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(temporary)},
        )

    def ended(self) -> tuple[int, list[str]]:
        """The exit status and the words that it printed; nothing is left behind, and nothing was complained about."""
        said, complaints = self.process.communicate(timeout=60)
        assert complaints == ""
        with pytest.raises(ProcessLookupError):
            os.killpg(self.process.pid, 0)
        return self.process.returncode, said.split()


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize("agent", ["ppo", "dqn"])
def test_killed_and_stopped_until_it_is_done(agent: str, tmp_path: Path):
    """The same run twice, in processes of their own: once unbroken, once hit by four signals at moments drawn."""
    temporary, out = tmp_path / "temporary", tmp_path / "run"
    temporary.mkdir()
    unbroken = Run(agent, tmp_path / "unbroken", temporary)
    code, (stopped_by, weights) = unbroken.ended()
    assert (code, stopped_by) == (0, "None")

    dice = random.Random(0)
    kinds = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGKILL]
    dice.shuffle(kinds)
    for kind in kinds:
        run, goal = Run(agent, out, temporary), lines_in(out / "metrics.jsonl") + dice.randint(3, 15)
        while lines_in(out / "metrics.jsonl") < goal and run.process.poll() is None:
            time.sleep(0.001)
        time.sleep(dice.random() * 0.01)
        run.process.send_signal(kind)
        code, said = run.ended()
        assert (code, said[:1]) == ((-kind, []) if kind == signal.SIGKILL else (0, [kind.name]))
        if kind != signal.SIGKILL:
            newest = max((out / "checkpoints").glob("step-*.ckpt"))
            assert weights_sha256(load(newest).net.state_dict()) == said[1]

    assert Run(agent, out, temporary).ended() == (0, ["None", weights])
    assert_same(out, left(tmp_path / "unbroken"))
    assert list(temporary.iterdir()) == []


# ---- damage ----


def damaged(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "a byte":
        data[len(data) // 2] ^= 1
    path.write_bytes(data if how == "a byte" else data[: len(data) // 2] if how == "half" else b"")


@pytest.mark.parametrize("how", ["a byte", "half", "all"])
def test_a_damaged_checkpoint_is_passed_over(
    how: str, tmp_path: Path, unbroken: Any, capsys: pytest.CaptureFixture[str]
):
    stopped(SMALL, tmp_path / "run", 208)
    *_, before, newest = sorted((tmp_path / "run" / "checkpoints").glob("step-*.ckpt"))
    damaged(newest, how)
    assert runs.RunDirectory(tmp_path / "run").resume(checkpoint.plain(SMALL.filled()))[0] == before  # type: ignore[index]
    capsys.readouterr()
    train(SMALL, tmp_path / "run", resume=True, quiet=True)
    said = capsys.readouterr()
    [line] = said.err.splitlines()
    assert line.startswith(f"{newest}: ")
    assert line.endswith("; going on from the checkpoint before it")
    assert said.out == ""
    assert_same(tmp_path / "run", unbroken(SMALL))


def test_a_damaged_end(tmp_path: Path, unbroken: Any, capsys: pytest.CaptureFixture[str]):
    train(SMALL, tmp_path / "run", quiet=True)
    damaged(tmp_path / "run" / "checkpoints" / "final.ckpt", "half")
    train(SMALL, tmp_path / "run", resume=True, quiet=True)
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert_same(tmp_path / "run", unbroken(SMALL))


def test_with_all_damaged_it_starts_from_the_beginning(
    tmp_path: Path, unbroken: Any, capsys: pytest.CaptureFixture[str]
):
    """And can be stopped again before it comes to where it was: checkpoints of later steps do not crowd out the new."""
    stopped(SMALL, tmp_path / "run", 256)
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        damaged(path, "half")
    capsys.readouterr()
    stopped(SMALL, tmp_path / "run", 64, resume=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    onward = [line.rpartition("; going on from ")[2] for line in lines]
    assert onward == ["the checkpoint before it"] * 2 + ["the beginning"]
    result = stopped(SMALL, tmp_path / "run", 80, resume=True)
    assert capsys.readouterr().err == ""
    assert [update["step"] for update in rows(result.directory.metrics)] == [32, 64]
    train(SMALL, tmp_path / "run", resume=True, quiet=True)
    expected, found = unbroken(SMALL), left(tmp_path / "run")
    for name in ("metrics.jsonl", "checkpoints/final.ckpt", "checkpoints/best.ckpt"):
        assert found[name] == expected[name], name


def test_stopped_before_the_first_checkpoint(tmp_path: Path, unbroken: Any):
    """All that there is yet is config.json."""
    RunDirectory(tmp_path / "run").begin(checkpoint.plain(SMALL.filled()))
    train(SMALL, tmp_path / "run", resume=True, quiet=True)
    assert_same(tmp_path / "run", unbroken(SMALL))


def test_what_a_kill_left_half_written_goes(tmp_path: Path, unbroken: Any):
    out = tmp_path / "run"
    stopped(SMALL, out, 96)
    for name in ("metrics.jsonl", "times.jsonl"):
        with open(out / name, "a") as file:
            file.write('{"step": 112, "sco')
    (out / ".metrics.jsonl.partial").write_text("half")
    for name in ("step-000000000112.ckpt", "final.ckpt"):
        (out / "checkpoints" / f".{name}.0123456789abcdef.partial").write_bytes(b"half")
    train(SMALL, out, resume=True, quiet=True)
    assert_same(out, unbroken(SMALL))


# ---- environments that cannot say their state ----


SHORT = REINFORCEConfig(episodes=2, hidden=(16,))
MEMORY = dataclasses.replace(CONFIG, recurrent=True, memory=8)
SEQUENCES = dataclasses.replace(REMEMBERS, buffer_size=80, recurrent=True, memory=8, sequence=6, burn_in=2)
STICKY = "Pong:repeat_action_probability=0.25"


@pytest.mark.parametrize(
    ("agent", "config", "game"),
    [
        ("ppo", CONFIG, "CartPole-v1"),
        ("ppo", MEMORY, "CartPole-v1"),
        ("a3c", A3CConfig(workers=1, n_steps=8, hidden=(16,)), "CartPole-v1"),
        ("reinforce", SHORT, "CartPole-v1"),
        ("dqn", REMEMBERS, "CartPole-v1"),
        ("dqn", PRIORITIES, "CartPole-v1"),
        ("dqn", SEQUENCES, "CartPole-v1"),
        ("ppo", CONFIG, STICKY),
        ("dqn", REMEMBERS, STICKY),
        ("ppo", CONFIG, "Mario:world=1,stage=1"),
        ("ppo", CONFIG, "ChromeDino:obs=state"),
    ],
)
def test_environments_without_a_snapshot_begin_anew_at_every_checkpoint(
    agent: str, config: Any, game: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Stopped before the first checkpoint, where one is due, and between two, the run ends as if nothing had been."""
    if game == STICKY:
        pytest.importorskip("ale_py")
    if game.startswith("Mario") and not find_spec("gym_super_mario_bros"):
        pytest.skip("needs the extra mario")
    training, out = Training(agent, game, config, 320, 2, 0, "cpu", 32, 160, 1, 30, 48), tmp_path / "run"
    places = run_until(training, tmp_path / "all", [])
    stops = [places[0], *(min(step for step in places if step >= least) for least in (48, 90, 200))]
    run_until(training, out, stops)
    expected, found = left(tmp_path / "all"), left(out)
    assert set(found) == set(expected)
    for name in (name for name in found if not name.endswith(".part")):
        assert found[name] == expected[name], name
    assert "not bit for bit" not in capsys.readouterr().out


def run_until(training: Training, out: Path, stops: list[int]) -> list[int]:
    """Stop a run at the first update at or behind each of `stops`, go on to its end; the steps of its updates."""
    updates: list[int] = []
    add = training_module.MetricsLog.add

    def noticed(journal: Any, update: Any) -> None:
        add(journal, update)
        updates.append(update.step)
        if left_over and update.step >= left_over[0]:
            left_over.clear()
            signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module.MetricsLog, "add", noticed)
        for i, stop in enumerate([*stops, None]):
            left_over = [] if stop is None else [stop]
            result = train(training, out, resume=i > 0, quiet=True)
            assert (result.stopped is None) == (stop is None)
    return updates


def test_several_workers_say_that_they_are_not_exact(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = A3CConfig(workers=2, n_steps=8, hidden=(16,), encoder="vector")
    training, out = Training("a3c", "CatchBall", config, 320, 2, 0, "cpu", 32, 160, 1, 30, 48), tmp_path / "run"
    train(training, out, quiet=True)
    (out / "checkpoints" / "final.ckpt").unlink()
    capsys.readouterr()
    train(training, out, resume=True, quiet=True)
    assert "fresh episodes, not bit for bit" in capsys.readouterr().out


def test_events_are_no_more_and_no_fewer(tmp_path: Path):
    """Those of steps that are played again are replaced, also after a kill that the writer did not see coming."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    stopped(SMALL, out, 160)
    time.sleep(1.1)  # files of events are read in the order of the second in their names; processes are further apart
    with pytest.MonkeyPatch.context() as patch:
        write = Session.write

        def dies(session: Session, row: dict[str, Any], writer: Any) -> None:
            write(session, row, writer)
            if row["step"] == 256:
                raise Dead

        patch.setattr(Session, "write", dies)
        with pytest.raises(Dead):
            train(SMALL, out, resume=True, quiet=True)
    time.sleep(1.1)
    train(SMALL, out, resume=True, quiet=True)
    events = EventAccumulator(str(out / "tensorboard"), purge_orphaned_data=True)
    events.Reload()
    for key in ("score", "policy_loss", "evaluation"):
        told = [line for line in rows(out / "metrics.jsonl") if line.get(key) is not None]
        assert [event.step for event in events.Scalars(key)] == [line["step"] for line in told]
        assert [event.value for event in events.Scalars(key)] == pytest.approx([line[key] for line in told])
    assert np.all(np.diff([event.step for event in events.Scalars("score")]) > 0)


class Written:
    """Stands in for tensorboard's writer, of which a kill takes what it has not flushed."""

    def __init__(self, disk: list[tuple[str, int]]) -> None:
        self.disk, self.held = disk, list[tuple[str, int]]()

    def add_scalar(self, key: str, value: float, step: int) -> None:
        self.held.append((key, step))

    def flush(self) -> None:
        self.disk += self.held
        self.held = []

    close = flush


def test_events_before_a_checkpoint_survive_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    disk: list[tuple[str, int]] = []
    monkeypatch.setattr(training_module, "tensorboard", lambda path, step: Written(disk))
    save = Session.save

    def dies(session: Session, path: Path | None = None) -> None:
        save(session, path)
        if path is None and session.agent.step >= 200:
            raise Dead

    with monkeypatch.context() as patch:
        patch.setattr(Session, "save", dies)
        with pytest.raises(Dead):
            train(SMALL, tmp_path / "run", quiet=True)
    lines = rows(tmp_path / "run" / "metrics.jsonl")
    assert [step for key, step in disk if key == "score"] == [line["step"] for line in lines if "score" in line] != []
    train(SMALL, tmp_path / "run", resume=True, quiet=True)
    lines = rows(tmp_path / "run" / "metrics.jsonl")
    assert [step for key, step in disk if key == "score"] == [line["step"] for line in lines if "score" in line]
