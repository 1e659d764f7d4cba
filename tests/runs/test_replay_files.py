"""The replay of a run on the disk: written once, needed parts kept, others gone, damage told in one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box

from rlgames.agents.dqn import DQNConfig
from rlgames.agents.registry import load
from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import CheckpointError, weights_sha256
from rlgames.experience.env_runner import Step
from rlgames.experience.prioritized import PrioritizedReplayBuffer
from rlgames.experience.replay import ReplayBuffer
from rlgames.runs import training as training_module
from rlgames.runs.directory import RunDirectory
from rlgames.runs.training import Training, train

kinds = pytest.mark.parametrize("kind", [ReplayBuffer, PrioritizedReplayBuffer])
both = pytest.mark.parametrize("prioritised", [False, True])


@pytest.fixture(autouse=True)
def without_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_module, "tensorboard", lambda path, step: None)


def play(replay: ReplayBuffer, steps: int, seed: int) -> None:
    """Players that rest now and then, so that their heads drift apart, and episodes that end in both ways."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        obs, after = rng.integers(256, size=(2, replay.n, *replay.shape), dtype=np.uint8)
        terminated, out_of_time, real = rng.random((3, replay.n)) < np.array([[0.05], [0.05], [0.9]])
        action, reward = rng.integers(4, size=replay.n), rng.random(replay.n).astype(np.float32)
        replay.add(Step(obs, action, reward, after, terminated | ~real, terminated | out_of_time | ~real, real))


def run_in(folder: Path) -> RunDirectory:
    run = RunDirectory(folder)
    run.begin({})
    return run


def save(run: RunDirectory, step: int, replay: ReplayBuffer) -> None:
    run.save(step, {}, {"replay": replay.state_dict()}, replay)


def parts(run: RunDirectory) -> list[str]:
    return sorted(path.name for path in run.checkpoints.glob("replay-*.part"))


def assert_same(one: ReplayBuffer, other: ReplayBuffer) -> None:
    for name in ("frame", "action", "reward", "fate", "age", "head", "fresh", "added"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    if isinstance(one, PrioritizedReplayBuffer) and isinstance(other, PrioritizedReplayBuffer):
        assert np.array_equal(one.tree, other.tree)
        assert one.largest == other.largest


# ---- what is written ----


@kinds
def test_a_checkpoint_writes_what_is_new_and_no_more(kind: type, tmp_path: Path):
    """The second checkpoint of 6,000 slots of 400 bytes: as many bytes as the 100 steps between, and small change."""
    replay, run = kind(10_000, 2, Box(0, 255, (20, 20), np.uint8)), run_in(tmp_path / "run")
    play(replay, 3_000, 0)
    save(run, 1, replay)
    written = {path: path.stat() for path in run.checkpoints.iterdir()}
    first = sum(about.st_size for about in written.values())
    head = replay.head.copy()
    play(replay, 100, 1)
    save(run, 2, replay)
    new = [path for path in run.checkpoints.iterdir() if path not in written]
    assert sorted(path.name for path in new) == ["replay-000000000002.part", "step-000000000002.ckpt"]
    for path, about in written.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (about.st_ino, about.st_mtime_ns)
    priorities = 8 * 2 * replay.head.max() if kind is PrioritizedReplayBuffer else 0
    content = (replay.head - head).sum() * (400 + 14)
    size = sum(path.stat().st_size for path in new)
    assert content < size < content + priorities + 10_000
    assert first > 25 * content


@kinds
@pytest.mark.parametrize("every", [5, 31, 200])
def test_parts_make_up_the_replay(kind: type, every: int, tmp_path: Path):
    """While it fills, when the ring has gone round, and when more is new than there is room for."""
    replay, run = kind(100, 2, Box(0, 255, (3,), np.uint8)), run_in(tmp_path / "run")
    step = 0
    for step in range(every, max(150, 3 * every), every):
        play(replay, every, step)
        save(run, step, replay)
        other = kind(100, 2, Box(0, 255, (3,), np.uint8))
        _, state = checkpoint.load(run.at(step))
        other.load_state_dict(state["replay"])
        assert_same(replay, other)
    for path in run.checkpoints.glob("step-*.ckpt"):  # those before are whole, too
        checkpoint.load(path)
    oldest = int(parts(run)[0][len("replay-") : -len(".part")])
    assert oldest >= step - 3 * every - 54 / 0.8  # what nobody needs is gone: 52 slots are held, the third last needs 1
    assert checkpoint.read_header(run.at(step))["parts"][-1] == parts(run)[-1]


@kinds
def test_parts_know_of_episodes_that_were_lost(kind: type, tmp_path: Path):
    """A run that goes on without a snapshot changes what its last checkpoint wrote down."""
    replay, run = kind(100, 2, Box(0, 255, (3,), np.uint8)), run_in(tmp_path / "run")
    for step in range(1, 30):
        play(replay, 3, step)
        save(run, step, replay)
        replay.restart()
        if step % 2:
            save(run, step, replay)  # stopped again at once: nothing new
    play(replay, 1, 0)
    save(run, 30, replay)
    other = kind(100, 2, Box(0, 255, (3,), np.uint8))
    other.load_state_dict(checkpoint.load(run.at(30))[1]["replay"])
    assert_same(replay, other)


def test_nothing_new_nothing_written(tmp_path: Path):
    """As when a signal ends a run right after a checkpoint was due."""
    replay, run = ReplayBuffer(100, 2, Box(0, 255, (3,), np.uint8)), run_in(tmp_path / "run")
    play(replay, 10, 0)
    for step in (1, 1, 2):
        save(run, step, replay)
        assert parts(run) == ["replay-000000000001.part"]
        assert_same(replay, restored(run, step))
    play(replay, 10, 0)
    save(run, 3, replay)
    assert_same(replay, restored(run, 3))


def restored(run: RunDirectory, step: int) -> ReplayBuffer:
    replay = ReplayBuffer(100, 2, Box(0, 255, (3,), np.uint8))
    replay.load_state_dict(checkpoint.load(run.at(step))[1]["replay"])
    return replay


@kinds
def test_one_file_is_the_same_wherever_it_was_cut(kind: type, tmp_path: Path):
    """A state read from parts and one taken at once are loaded to the same replay, and saved whole without the run."""
    replay, run = kind(100, 2, Box(0, 255, (3,), np.uint8)), run_in(tmp_path / "run")
    for step in range(5):
        play(replay, 20, step)
        save(run, step, replay)
    checkpoint.save(tmp_path / "whole", {}, checkpoint.whole(checkpoint.load(run.at(4))[1]))
    shutil.rmtree(run.path)
    other = kind(100, 2, Box(0, 255, (3,), np.uint8))
    other.load_state_dict(checkpoint.load(tmp_path / "whole")[1]["replay"])
    assert_same(replay, other)


def test_a_part_elsewhere_is_not_named_but_refused(tmp_path: Path):
    replay, run = ReplayBuffer(100, 2, Box(0, 255, (3,), np.uint8)), run_in(tmp_path / "run")
    play(replay, 20, 0)
    save(run, 1, replay)
    _, state = checkpoint.load(run.at(1))
    with pytest.raises(TypeError, match=r"^state\['replay'\]\['pieces'\]\[0\]\['rows'\]: .*checkpoint.whole"):
        checkpoint.save(tmp_path / "elsewhere", {}, state)


# ---- damage ----


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, tuple[Any, str]] = {
    "a byte": (flipped, "is damaged or cut short"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-40]), "is damaged or cut short"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "gone": (lambda path: path.unlink(), "there is no such file"),
    "another": (
        lambda path: checkpoint.save(path, {}, {"frame": np.zeros(3)}),
        "it is another file than the one that was saved",
    ),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_part_is_told_in_one_line(how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """By whoever opens the checkpoint; a resumed run goes on from the newest checkpoint that does without it."""
    replay, run = ReplayBuffer(100, 2, Box(0, 255, (20, 20), np.uint8)), run_in(tmp_path / "run")
    for step in (1, 2, 3):
        play(replay, 10, step)
        save(run, step, replay)
    damage, message = DAMAGE[how]
    broken = run.checkpoints / "replay-000000000003.part"
    damage(broken)
    with pytest.raises(CheckpointError, match=message) as refusal:
        checkpoint.load(run.at(3))
    assert str(refusal.value).startswith(f"{run.at(3)}: its part {broken}: ")
    assert "\n" not in str(refusal.value)
    found = RunDirectory(run.path).resume({})
    assert found is not None
    assert found[0] == run.at(2)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_while_a_checkpoint_cannot_be_read_no_part_is_deleted(tmp_path: Path):
    replay, run = ReplayBuffer(20, 2, Box(0, 255, (3,), np.uint8)), run_in(tmp_path / "run")
    for step in range(1, 4):
        play(replay, 30, step)
        save(run, step, replay)
    assert len(parts(run)) == 3
    run.at(3).write_bytes(run.at(3).read_bytes()[:100])
    play(replay, 30, 4)
    save(run, 4, replay)
    assert len(parts(run)) == 4


# ---- runs ----


def training(prioritised: bool, **changes: Any) -> Training:
    small: dict[str, Any] = {
        "buffer_size": 60,
        "learning_starts": 32,
        "batch": 8,
        "train_freq": 8,
        "target_update_interval": 3,
        "hidden": (16,),
    }
    settings: dict[str, Any] = {"config": DQNConfig(**small, n_steps=2, prioritized=prioritised)}
    settings |= {"steps": 320, "envs": 2, "seed": 3, "device": "cpu", "log_every": 64}
    settings |= {"evaluate_every": 160, "evaluate_episodes": 1, "evaluate_max_steps": 20, "save_every": 64}
    return Training("dqn", "CatchBall", **settings | changes)


@both
def test_the_best_and_the_final_agent_are_files_of_their_own(prioritised: bool, tmp_path: Path):
    result = train(training(prioritised), tmp_path / "run", quiet=True)
    for name in ("best.ckpt", "final.ckpt"):
        shutil.move(result.directory.checkpoints / name, tmp_path / name)
    shutil.rmtree(tmp_path / "run")
    agent: Any = load(tmp_path / "final.ckpt")
    assert weights_sha256(agent.net.state_dict()) == weights_sha256(result.agent.net.state_dict())
    before = agent.updates
    agent.learn(24)  # less than the warm-up
    assert agent.updates == before
    agent.learn(24)
    assert agent.updates == before + 3
    assert load(tmp_path / "best.ckpt").step in (160, 320)


@both
def test_the_last_checkpoint_of_a_run_goes_on_as_the_agent_does(prioritised: bool, tmp_path: Path):
    """Opened by itself, and saved again in one file."""
    agent: Any = train(training(prioritised), tmp_path / "run", quiet=True).agent
    opened: Any = load(tmp_path / "run" / "checkpoints" / "step-000000000320.ckpt")
    opened.save(tmp_path / "one file")
    shutil.rmtree(tmp_path / "run")
    again = load(tmp_path / "one file")
    assert weights_sha256(agent.learn(64).net.state_dict()) == weights_sha256(again.learn(64).net.state_dict())
    with pytest.raises(CheckpointError, match="there is no such file"):
        opened.learn(64)  # its replay lay in the run


# ---- the memory ----


def test_what_a_replay_takes_is_said_first_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from rlgames.agents import dqn
    from rlgames.experience import replay as room

    said: list[str] = []

    class Watched(ReplayBuffer):
        def __init__(self, *args: Any, **more: Any) -> None:
            said.append(capsys.readouterr().out)
            super().__init__(*args, **more)

    monkeypatch.setattr(dqn, "ReplayBuffer", Watched)
    large = DQNConfig(buffer_size=2_000_000, learning_starts=1_000, hidden=(16,))
    short = training(False, config=large, steps=16, save_every=16)
    train(short, tmp_path / "large")
    assert said == ["replay: 2,000,000 transitions, 0.2 GB\n"]
    capsys.readouterr()
    train(training(False, steps=16), tmp_path / "small")
    assert said[1:] == [""]

    monkeypatch.setattr(room, "available", lambda: 100_000_000)
    with pytest.raises(MemoryError, match=r"2,000,000 transitions takes 0\.2 GB, 0\.1 GB are free: try buffer_size="):
        train(short, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
