"""The replay buffer of a run on disk: each slot written once, unused files deleted, damage reported in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box

from rlgames.agents import dqn
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.registry import load
from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import CheckpointError, weights_sha256
from rlgames.experience import replay as replay_module
from rlgames.experience.env_runner import Step
from rlgames.experience.prioritized import PrioritizedReplayBuffer
from rlgames.experience.replay import RINGS, ReplayBuffer
from rlgames.runs.directory import RunDirectory
from rlgames.runs.training import Training, open_session, train

VECTOR, PICTURE = Box(0, 255, (3,), np.uint8), Box(0, 255, (20, 20), np.uint8)
buffer_classes = pytest.mark.parametrize("buffer_class", [ReplayBuffer, PrioritizedReplayBuffer])
both_replays = pytest.mark.parametrize("prioritized", [False, True])


def add_random_steps(replay: ReplayBuffer, steps: int, seed: int) -> None:
    """Add steps whose episodes end in both ways; some are invalid, so that the heads of the environments differ."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        obs, next_obs = rng.integers(256, size=(2, replay.num_envs, *replay.shape), dtype=np.uint8)
        terminated, truncated, valid = rng.random((3, replay.num_envs)) < np.array([[0.05], [0.05], [0.9]])
        action, reward = rng.integers(4, size=replay.num_envs), rng.random(replay.num_envs).astype(np.float32)
        done = terminated | truncated | ~valid
        replay.add(Step(obs, action, reward, next_obs, terminated | ~valid, done, valid))


def new_run(folder: Path) -> RunDirectory:
    run = RunDirectory(folder)
    run.create({})
    run.release()
    return run


def save(run: RunDirectory, step: int, replay: ReplayBuffer) -> None:
    run.save(step, {}, {"replay": replay.state_dict()}, replay)


def restored(run: RunDirectory, step: int, buffer_class: type[ReplayBuffer] = ReplayBuffer) -> ReplayBuffer:
    """Return a buffer for 100 vectors with the state of this step's checkpoint."""
    replay = buffer_class(100, 2, VECTOR)
    replay.load_state_dict(checkpoint.load(run.step_checkpoint(step))[1]["replay"])
    return replay


def part_names(run: RunDirectory) -> list[str]:
    return sorted(path.name for path in run.checkpoints.glob("replay-*.part"))


def assert_equal_buffers(one: ReplayBuffer, other: ReplayBuffer) -> None:
    for name in (*RINGS, "head", "episode_start", "num_steps"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    if isinstance(one, PrioritizedReplayBuffer) and isinstance(other, PrioritizedReplayBuffer):
        assert np.array_equal(one.tree, other.tree)
        assert one.max_priority == other.max_priority


# ---- content of the files ----


@buffer_classes
def test_checkpoint_writes_only_the_new_slots(buffer_class: type[ReplayBuffer], tmp_path: Path) -> None:
    """Of 6,000 slots of 400 bytes the second checkpoint writes the 100 new steps, and 10 kB at most besides."""
    replay, run = buffer_class(10_000, 2, PICTURE), new_run(tmp_path / "run")
    add_random_steps(replay, 3_000, 0)
    save(run, 1, replay)
    written = {path: path.stat() for path in run.checkpoints.iterdir()}
    first = sum(stat.st_size for stat in written.values())
    head = replay.head.copy()
    add_random_steps(replay, 100, 1)
    save(run, 2, replay)
    new = [path for path in run.checkpoints.iterdir() if path not in written]
    assert sorted(path.name for path in new) == ["replay-000000000002.part", "step-000000000002.ckpt"]
    for path, stat in written.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)
    priorities = 8 * 2 * replay.head.max() if buffer_class is PrioritizedReplayBuffer else 0
    content = (replay.head - head).sum() * (400 + replay_module.SLOT_BYTES)
    size = sum(path.stat().st_size for path in new)
    assert content < size < content + priorities + 10_000
    assert first > 25 * content


@buffer_classes
@pytest.mark.parametrize("interval", [5, 31, 200])
def test_parts_hold_the_whole_buffer(buffer_class: type[ReplayBuffer], interval: int, tmp_path: Path) -> None:
    """While it fills, when the ring has wrapped, and when more slots are new than the ring holds."""
    replay, run = buffer_class(100, 2, VECTOR), new_run(tmp_path / "run")
    step = 0
    for step in range(interval, max(150, 3 * interval), interval):
        add_random_steps(replay, interval, step)
        save(run, step, replay)
        assert_equal_buffers(replay, restored(run, step, buffer_class))
    for path in run.checkpoints.glob("step-*.ckpt"):  # the earlier ones are complete, too
        checkpoint.load(path)
    oldest = int(part_names(run)[0][len("replay-") : -len(".part")])
    # no unused part is left: the ring holds 52 slots, and the third last checkpoint still needs one of its oldest part
    assert oldest >= step - 3 * interval - 54 / 0.8
    assert checkpoint.read_header(run.step_checkpoint(step))["parts"][-1] == part_names(run)[-1]


@buffer_classes
def test_parts_include_slots_changed_by_restart_episodes(buffer_class: type[ReplayBuffer], tmp_path: Path) -> None:
    """A run that continues without a snapshot changes slots that its last checkpoint wrote."""
    replay, run = buffer_class(100, 2, VECTOR), new_run(tmp_path / "run")
    for step in range(1, 30):
        add_random_steps(replay, 3, step)
        save(run, step, replay)
        replay.restart_episodes()
        if step % 2:
            save(run, step, replay)  # stopped again at once: nothing new
    add_random_steps(replay, 1, 0)
    save(run, 30, replay)
    assert_equal_buffers(replay, restored(run, 30, buffer_class))


def test_checkpoint_without_new_slots_writes_no_part(tmp_path: Path) -> None:
    """As when a signal ends a run right after a checkpoint was due."""
    replay, run = ReplayBuffer(100, 2, VECTOR), new_run(tmp_path / "run")
    add_random_steps(replay, 10, 0)
    for step in (1, 1, 2):
        save(run, step, replay)
        assert part_names(run) == ["replay-000000000001.part"]
        assert_equal_buffers(replay, restored(run, step))
    add_random_steps(replay, 10, 0)
    save(run, 3, replay)
    assert_equal_buffers(replay, restored(run, 3))


@buffer_classes
def test_resolved_parts_are_saved_in_one_file(buffer_class: type[ReplayBuffer], tmp_path: Path) -> None:
    """The file restores the same buffer once the run is deleted."""
    replay, run = buffer_class(100, 2, VECTOR), new_run(tmp_path / "run")
    for step in range(5):
        add_random_steps(replay, 20, step)
        save(run, step, replay)
    checkpoint.save(tmp_path / "one", {}, checkpoint.resolve_parts(checkpoint.load(run.step_checkpoint(4))[1]))
    shutil.rmtree(run.path)
    other = buffer_class(100, 2, VECTOR)
    other.load_state_dict(checkpoint.load(tmp_path / "one")[1]["replay"])
    assert_equal_buffers(replay, other)


def test_part_of_another_folder_raises(tmp_path: Path) -> None:
    replay, run = ReplayBuffer(100, 2, VECTOR), new_run(tmp_path / "run")
    add_random_steps(replay, 20, 0)
    save(run, 1, replay)
    _, state = checkpoint.load(run.step_checkpoint(1))
    message = r"^state\['replay'\]\['chunks'\]\[0\]\['slots'\]: .*use resolve_parts\(state\)"
    with pytest.raises(TypeError, match=message):
        checkpoint.save(tmp_path / "elsewhere", {}, state)


# ---- damage ----


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "flipped bit": (flip_bit, "is damaged or cut short"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-40]), "is damaged or cut short"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "deleted": (lambda path: path.unlink(), "no such file"),
    "replaced": (
        lambda path: checkpoint.save(path, {}, {"frames": np.zeros(3)}),
        "it is not the file that was saved",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_part_is_reported_in_one_line(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By `load`; a run resumes from the newest checkpoint that does not need the part."""
    replay, run = ReplayBuffer(100, 2, PICTURE), new_run(tmp_path / "run")
    for step in (1, 2, 3):
        add_random_steps(replay, 10, step)
        save(run, step, replay)
    do_damage, message = DAMAGE[damage]
    part = run.checkpoints / "replay-000000000003.part"
    do_damage(part)
    with pytest.raises(CheckpointError, match=message) as raised:
        checkpoint.load(run.step_checkpoint(3))
    assert str(raised.value).startswith(f"{run.step_checkpoint(3)}: its part {part}: ")
    assert "\n" not in str(raised.value)
    found = RunDirectory(run.path).resume(steps=9)
    assert found is not None
    assert found[0] == run.step_checkpoint(2)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_no_part_is_deleted_while_a_checkpoint_cannot_be_read(tmp_path: Path) -> None:
    replay, run = ReplayBuffer(20, 2, VECTOR), new_run(tmp_path / "run")
    for step in range(1, 4):
        add_random_steps(replay, 30, step)
        save(run, step, replay)
    assert len(part_names(run)) == 3
    run.step_checkpoint(3).write_bytes(run.step_checkpoint(3).read_bytes()[:100])
    add_random_steps(replay, 30, 4)
    save(run, 4, replay)
    assert len(part_names(run)) == 4


# ---- agents with a replay buffer ----


def short_training(prioritized: bool, **changes: Any) -> Training:
    config = DQNConfig(
        buffer_size=60,
        learning_starts=32,
        batch_size=8,
        train_freq=8,
        target_update_interval=3,
        n_steps=2,
        net_arch=(16,),
        prioritized=prioritized,
    )
    settings: dict[str, Any] = {"config": config, "steps": 320, "envs": 2, "seed": 3, "device": "cpu", "log_every": 64}
    settings |= {"evaluate_every": 160, "evaluate_episodes": 1, "evaluate_max_steps": 20, "save_every": 64}
    return Training("dqn", "CatchBall", **settings | changes)


@both_replays
def test_best_and_final_checkpoints_need_no_other_file(prioritized: bool, tmp_path: Path) -> None:
    result = train(short_training(prioritized), tmp_path / "run", quiet=True)
    for name in ("best.ckpt", "final.ckpt"):
        shutil.move(result.directory.checkpoints / name, tmp_path / name)
    shutil.rmtree(tmp_path / "run")
    agent: Any = load(tmp_path / "final.ckpt")
    assert weights_sha256(agent.net.state_dict()) == weights_sha256(result.agent.net.state_dict())
    before = agent.num_updates
    agent.learn(24)  # fewer than learning_starts: the replay buffer is empty
    assert agent.num_updates == before
    agent.learn(24)
    assert agent.num_updates == before + 3
    assert load(tmp_path / "best.ckpt").step in (160, 320)


@both_replays
def test_agent_of_a_step_checkpoint_continues_as_the_run_does(prioritized: bool, tmp_path: Path) -> None:
    """Loaded from the run, and saved again in one file; it needs the run's folder only while it is loaded."""
    with closing(open_session(short_training(prioritized), tmp_path / "run", quiet=True)) as session:
        session.run()
        loaded = load(tmp_path / "run" / "checkpoints" / "step-000000000320.ckpt")
        loaded.save(tmp_path / "one file")
        shutil.rmtree(tmp_path / "run")
        agents = [session.agent, loaded, load(tmp_path / "one file")]
        one, *others = (weights_sha256(agent.learn(64).net.state_dict()) for agent in agents)
        assert others == [one, one]


# ---- memory ----


def test_training_prints_the_replay_memory_or_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A large buffer is announced before it is allocated; one that does not fit leaves no directory."""
    printed: list[str] = []

    class RecordingBuffer(ReplayBuffer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            printed.append(capsys.readouterr().out)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(dqn, "ReplayBuffer", RecordingBuffer)
    large = DQNConfig(buffer_size=2_000_000, learning_starts=1_000, net_arch=(16,))
    short = short_training(False, config=large, steps=16, save_every=16)
    train(short, tmp_path / "large")
    assert printed == ["replay: 2,000,000 transitions, 0.2 GB\n"]
    capsys.readouterr()
    train(short_training(False, steps=16), tmp_path / "small")
    assert printed[1:] == [""]

    monkeypatch.setattr(replay_module, "free_memory", lambda: 100_000_000)
    with pytest.raises(MemoryError, match=r"2,000,000 transitions takes 0\.2 GB, 0\.1 GB are free: try buffer_size="):
        train(short, tmp_path / "too large")
    assert not (tmp_path / "too large").exists()
