"""`RayVectorEnv` compared with the local engine: the same arrays, information, snapshots; and its faults."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import Any

import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, ClosedEnvironmentError, ResetNeeded
from gymnasium.vector import AutoresetMode
from helpers.vector_envs import assert_equal

import rlgames
from rlgames.engine.ray_vector_env import merge_infos
from rlgames.envs.task import Task
from rlgames.experience.env_runner import EnvRunner

N = 5
GAMES = {"CatchBall": {"max_episode_steps": 9}, "Pong": {"max_episode_steps": 9}}  # compiled, and ale-py's


def test_information_of_batches_is_merged_as_that_of_one() -> None:
    """Keys that a batch lacks are zero, False or None there, nested ones too."""
    ended = {"final_obs": np.ones((1, 2)), "_final_obs": np.array([True]), "final_info": {"score": np.array([3.0])}}
    objects = {"name": np.array(["a", "b"], object)}
    merged = merge_infos([objects, {}, ended], [2, 1, 1])
    assert merged["name"].tolist() == ["a", "b", None, None]
    assert merged["final_obs"].tolist() == [[0, 0], [0, 0], [0, 0], [1, 1]]
    assert merged["_final_obs"].tolist() == [False, False, False, True]
    assert merged["final_info"]["score"].tolist() == [0, 0, 0, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"actors": 9}, "expected at most as many actors as environments, 4, got 9"),
        ({"actors": 0}, "expected actors >= 1, got 0"),
        ({"address": "nowhere"}, "expected the address of a Ray cluster, .* got 'nowhere'"),
        ({"address": 7}, "expected the address of a Ray cluster, .* got 7"),
        ({"snapshot_every": 0}, "expected snapshot_every >= 1 or None, got 0"),
        ({"autoreset_mode": "x"}, "expected autoreset_mode to be"),
    ],
)
def test_bad_arguments_are_refused_before_ray_is_needed(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rlgames.make_vec("Cave", 4, engine="ray", **arguments)


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(
        ModuleNotFoundError, match=r'^a cluster needs Ray, which is not installed: pip install "rlgames'
    ):
        rlgames.make_vec("Cave:engine=ray", 4)


def test_one_environment_is_local_and_a_file_names_no_cluster() -> None:
    task = Task.parse("Cave:engine=ray,actors=2,frame_skip=3")
    env = task.make()
    env.reset(seed=0)
    env.close()
    assert task.compiled
    assert str(task.local) == "Cave:frame_skip=3"
    assert Task.from_json(task.to_json()) == task.local
    assert Task.parse("Mario:engine=nes-py").local.options == {"engine": "nes-py"}


# ---- with a local cluster ----


def make(game: str, mode: AutoresetMode = AutoresetMode.SAME_STEP, **settings: Any) -> Any:
    return rlgames.make_vec(game, N, autoreset_mode=mode, **GAMES[game], **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("game", "mode", "actors"),
    [
        ("CatchBall", AutoresetMode.SAME_STEP, (1, 2, 3)),
        ("CatchBall", AutoresetMode.NEXT_STEP, (2,)),
        ("CatchBall", AutoresetMode.DISABLED, (3,)),
        ("Pong", AutoresetMode.SAME_STEP, (3,)),
        ("Pong", AutoresetMode.DISABLED, (2,)),
    ],
)
def test_equals_the_local_engine_with_any_number_of_actors(
    ray: Any, game: str, mode: AutoresetMode, actors: tuple[int, ...]
) -> None:
    """Observations, rewards, ends, information, resets by mask; sent one half at a time."""
    local, rng, ended = make(game, mode), np.random.default_rng(0), 0
    others = [make(game, mode, engine="ray", actors=k) for k in actors]
    expected = local.reset(seed=3)
    for envs in others:
        assert (envs.single_observation_space, envs.action_space) == (
            local.single_observation_space,
            local.action_space,
        )
        assert {key: envs.metadata[key] for key in ("autoreset_mode", "best_score")} == {
            key: local.metadata[key] for key in ("autoreset_mode", "best_score")
        }
        assert_equal(envs.reset(seed=3), expected)
    for _ in range(25):
        actions = rng.integers(3, size=N)
        expected = local.step(actions)
        for envs in others:
            envs.send(actions)
        for envs in others:
            assert_equal(envs.recv(), expected)
        done = expected[2] | expected[3]
        ended += int(done.sum())
        if mode is AutoresetMode.DISABLED and done.any():
            expected = local.reset(options={"reset_mask": done.copy()})
            for envs in others:
                assert_equal(envs.reset(options={"reset_mask": done.copy()}), expected)
    assert ended >= N
    assert all(envs.restarts == 0 for envs in others)
    for envs in (local, *others):
        envs.close()


@pytest.mark.slow
@pytest.mark.parametrize("game", GAMES)
def test_a_snapshot_continues_bit_for_bit(ray: Any, game: str) -> None:
    envs, rng = make(game, engine="ray", actors=2), np.random.default_rng(1)
    actions = rng.integers(3, size=(20, N))
    envs.reset(seed=1)
    for row in actions[:5]:
        envs.step(row)
    state = envs.snapshot()
    expected = [envs.step(row) for row in actions]
    envs.restore(state)
    new = make(game, engine="ray", actors=2)
    new.restore(state)
    for row, result in zip(actions, expected, strict=True):
        assert_equal(envs.step(row), result)
        assert_equal(new.step(row), result)
    with pytest.raises(ValueError, match="this snapshot is of 5 environments in 4 actors, expected 5 in 2"):
        new.restore(state | {"actors": 2 * state["actors"]})
    for each in (envs, new):
        each.close()
        with pytest.raises(ClosedEnvironmentError, match="is closed: make another"):
            each.step(actions[0])


@pytest.mark.slow
def test_misuse_raises(ray: Any) -> None:
    envs = make("CatchBall", engine="ray", actors=2)
    with pytest.raises(ResetNeeded, match="before the first reset"):
        envs.step(np.zeros(N, np.int64))
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="invalid action 9"):
        envs.step(np.full(N, 9))
    envs.send(np.zeros(N, np.int64))
    for call in (envs.snapshot, envs.reset, partial(envs.send, np.zeros(N, np.int64))):
        with pytest.raises(AlreadyPendingCallError, match="call recv"):
            call()
    envs.close()
    with pytest.raises(TypeError, match="unknown option 'sice' for CatchBall"):
        rlgames.make_vec("CatchBall", 2, engine="ray", sice=3)


def kill(ray: Any, envs: Any, i: int) -> None:
    """Kill the process of an actor, and wait until Ray knows."""
    actor = envs._actors[i]
    os.kill(ray.get(actor.pid.remote()), signal.SIGKILL)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(actor.pid.remote())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("game", "mode"),
    [
        ("Pong", AutoresetMode.SAME_STEP),
        ("CatchBall", AutoresetMode.SAME_STEP),
        ("CatchBall", AutoresetMode.NEXT_STEP),
    ],
)
def test_a_killed_actor_continues_from_the_snapshot(ray: Any, game: str, mode: AutoresetMode) -> None:
    """Its environments repeat the steps after the snapshot, the others go on: as two local halves show."""
    envs, halves = make(game, mode, engine="ray", actors=2, snapshot_every=4), make(game, mode)
    rng = np.random.default_rng(0)
    first, second = slice(0, 2), slice(2, N)  # of the actors
    envs.reset(seed=3)
    halves.reset(seed=3)
    actions = rng.integers(3, size=(7, N))
    shown = actions
    for row in actions[:4]:
        assert_equal(envs.step(row), expected := halves.step(row))
        shown = expected[0]
    state = halves.snapshot()
    for row in actions[4:6]:
        assert_equal(envs.step(row), halves.step(row))
    kill(ray, envs, 0)
    obs, reward, terminated, truncated, info = envs.step(actions[6])
    expected = halves.step(actions[6])
    assert np.array_equal(obs[second], expected[0][second])
    assert np.array_equal(obs[first], shown[first])
    assert envs.restarts == 1
    assert info["_replaced"].tolist() == [True, True, False, False, False]
    assert info["replaced"]["length"].tolist() == [4, 4, 0, 0, 0]
    assert not np.concatenate([reward[first], terminated[first], truncated[first]]).any()
    halves.restore(state)
    for _ in range(4):
        row = rng.integers(3, size=N)
        found, expected = envs.step(row), halves.step(row)
        assert "_replaced" not in found[4]
        for one, other in zip(found[:4], expected[:4], strict=True):
            assert np.array_equal(one[first], other[first])
    for each in (envs, halves):
        each.close()


@pytest.mark.slow
def test_without_a_snapshot_new_episodes_begin_and_none_is_counted(ray: Any) -> None:
    """The runner of agents leaves the step out, and the lengths of episodes are those that were played."""
    envs: Any = rlgames.make_vec("CatchBall", 4, engine="ray", actors=2, max_episode_steps=6, snapshot_every=None)
    runner = EnvRunner(envs, seed=0)
    zeros = np.zeros(4, np.int64)
    for _ in range(3):
        assert runner.step(zeros).valid.all()
    kill(ray, envs, 1)
    step = runner.step(zeros)
    assert step.valid.tolist() == [True, True, False, False]
    assert step.done.tolist() == [False, False, True, True]
    assert not runner.finished
    assert runner.restarts == 1
    assert [runner.running_episode(i).length for i in range(4)] == [4, 4, 0, 0]
    lengths = {}
    for _ in range(6):
        runner.step(zeros)
        lengths |= {i: episode.length for i, episode in runner.finished}
    assert lengths == dict.fromkeys(range(4), 6)
    kill(ray, envs, 0)
    envs.reset(seed=5)  # which replaces it, and starts the episodes of the seed
    other = rlgames.make_vec("CatchBall", 4, max_episode_steps=6)
    other.reset(seed=5)
    assert np.array_equal(envs.step(zeros)[0], other.step(zeros)[0])
    assert envs.restarts == 2
    kill(ray, envs, 0)
    envs.snapshot()
    assert envs.restarts == 3
    envs.close()
