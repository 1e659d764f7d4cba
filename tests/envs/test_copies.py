"""Pickled and copied environments: they continue exactly where there is a snapshot, and are new elsewhere."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import product
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import vector as gymnasium_wrappers
from helpers.games import single, vector
from helpers.vector_envs import assert_equal, make_cart_pole

import rlgames
from rlgames.engine import ProcessVectorEnv, ThreadedVectorEnv
from rlgames.envs.registry import GAMES, load_game
from rlgames.wrappers import Pixels, Rewards

EVERYTHING = Pixels(crop=(0, 6, 1, 8), size=(5, 4), erase=(0,), skip=2, stack=2, scale=True)
CASES: dict[str, tuple[str, dict[str, Any]]] = {  # of `make` and `make_vec`
    **{game: (game, {}) for game in GAMES if game not in ("Mario", "ChromeDino")},
    "raw Pong": ("Pong", {"pixels": Pixels()}),
    "colored Pong": ("Pong", {"pixels": Pixels(grey=True, crop=(34, 194, 0, 160), size=(20, 20), difference=True)}),
    "one color of Pong": ("Pong", {"pixels": Pixels(channel=1, every=4)}),
    "all of Pixels": ("CatchBall", {"pixels": EVERYTHING}),
    "skipped frames": ("CatchBall", {"pixels": Pixels(skip=2, stack_skipped=True), "max_episode_steps": 9}),
    "rewards": ("Cave", {"rewards": Rewards(survival=0.5), "max_episode_steps": 9}),
    "Dino's state": ("Dino:obs=state", {"frame_skip": 3}),
    "Mario": ("Mario:world=1,stage=1", {}),
}
FRESH = {
    "nes-py": "Mario:world=1,stage=1,engine=nes-py",
    "many of nes-py": "Mario:engine=nes-py",
    "sticky": "Pong:repeat_action_probability=0.25",
}
WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda env: pickle.loads(pickle.dumps(env)),
    "cloudpickle": lambda env: cloudpickle.loads(cloudpickle.dumps(env)),
    "deepcopy": copy.deepcopy,
}
all_ways = pytest.mark.parametrize("way", WAYS)


def skip_if_missing(game: str) -> None:
    if game.startswith("Pong"):
        pytest.importorskip("ale_py")
    if game.startswith("Mario"):
        pytest.importorskip("gym_super_mario_bros")
    if "nes-py" in game and find_spec("nes_py") is None:
        pytest.skip("needs nes-py")


def actions_of(env: Any, steps: int, seed: int) -> Iterator[Any]:
    space = env.action_space
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        yield (
            rng.integers(env.single_action_space.n, size=env.num_envs)
            if hasattr(env, "num_envs")
            else int(rng.integers(space.n))
        )


def play(env: Any, steps: int, seed: int = 0) -> list[Any]:
    """Return all that the steps return, and the resets of episodes that ended."""
    trace: list[Any] = []
    disabled = env.metadata.get("autoreset_mode") is AutoresetMode.DISABLED
    for action in actions_of(env, steps, seed):
        trace.append(env.step(action))
        done = np.asarray(trace[-1][2] | trace[-1][3])
        if disabled and done.any():
            trace.append(env.reset(options={"reset_mask": done}))
        elif done.ndim == 0 and done:
            trace.append(env.reset())
    return trace


def assert_copies_continue(env: Any) -> None:
    """After some steps the copies continue as the original does; none changes another."""
    env.reset(seed=3)
    play(env, 12, seed=1)
    copies = [copy_env(env) for copy_env in WAYS.values()]
    traces = []
    for each in (*copies, env):
        assert str(each) == str(env)
        assert each.unwrapped.spec == env.unwrapped.spec
        traces.append([*play(each, 25), each.reset()[0]])  # without a seed
        each.close()
    for trace in traces[:-1]:
        assert_equal(trace, traces[-1])
    assert all(each.np_random is not env.np_random for each in copies)


@pytest.mark.parametrize("name", CASES)
def test_copies_of_an_environment_continue(name: str) -> None:
    game, options = CASES[name]
    skip_if_missing(game)
    assert_copies_continue(rlgames.make(game, **options))


SLOW = {  # each Pong starts emulators
    *(("Pong", AutoresetMode.NEXT_STEP), ("Pong", AutoresetMode.DISABLED)),
    *product(("raw Pong", "colored Pong"), AutoresetMode),
    *(("one color of Pong", AutoresetMode.NEXT_STEP), ("one color of Pong", AutoresetMode.DISABLED)),
}


@pytest.mark.parametrize(
    ("name", "mode"),
    [pytest.param(*case, marks=pytest.mark.slow if case in SLOW else ()) for case in product(CASES, AutoresetMode)],
    ids=lambda value: getattr(value, "name", value),
)
def test_copies_of_a_vector_environment_continue(name: str, mode: AutoresetMode) -> None:
    game, options = CASES[name]
    skip_if_missing(game)
    envs = rlgames.make_vec(game, 2, autoreset_mode=mode, **options)
    assert isinstance(envs, ThreadedVectorEnv) == (name == "skipped frames")
    assert_copies_continue(envs)


def test_copy_of_threaded_environments_has_threads_of_its_own() -> None:
    envs = ThreadedVectorEnv(make_cart_pole, 2, threads=2)
    envs.reset(seed=0)
    play(envs, 2)
    copied = copy.deepcopy(envs)
    envs.close()
    play(copied, 2)
    copied.close()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "many of nes-py" else ()) for name in FRESH]
)
def test_copies_without_a_snapshot_are_new(name: str) -> None:
    skip_if_missing(FRESH[name])
    env: Any = rlgames.make(FRESH[name]) if name == "nes-py" else rlgames.make_vec(FRESH[name], 2)
    env.reset(seed=1)
    play(env, 3)
    traces = []
    for each in (*(copy_env(env) for copy_env in WAYS.values()), env):
        if each is not env:
            with pytest.raises(ResetNeeded):
                play(each, 1)
        traces.append([each.reset(seed=4), *play(each, 3)])
        each.close()
    for trace in traces[:-1]:
        assert_equal(trace, traces[-1])


@all_ways
@pytest.mark.parametrize("game", ["CartPole", "CatchBall:size=16", "Dino"])
@pytest.mark.parametrize("vectorized", [False, True], ids=["single", "vector"])
def test_copy_before_the_first_reset(game: str, vectorized: bool, way: str) -> None:
    """Also the random seeds are the same, which the first reset without a seed draws."""
    env: Any = vector(game, 2) if vectorized else single(game)
    copied = WAYS[way](env)
    assert_equal(copied.reset()[0], env.reset()[0])


@all_ways
def test_copy_of_a_seed_and_of_render_settings(way: str) -> None:
    env = gym.make("rlgames/CartPole-v0", render_mode="rgb_array")
    env.reset(seed=5)
    copied = WAYS[way](env)
    assert copied.unwrapped.np_random_seed == 5
    np.testing.assert_array_equal(copied.render(), env.render())


@pytest.mark.parametrize(
    ("vectorized", "way"),
    [
        *((False, "pickle"), (False, "cloudpickle"), (True, "deepcopy")),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((False, "deepcopy"), (True, "pickle"))),
        pytest.param(True, "cloudpickle", marks=pytest.mark.slow),
    ],
)
def test_copy_of_closed_environments_is_closed(vectorized: bool, way: str) -> None:
    pytest.importorskip("ale_py")
    env: Any = rlgames.make_vec("Pong", 2) if vectorized else rlgames.make("Pong", pixels=Pixels())
    env.reset(seed=0)
    env.close()
    with pytest.raises(ClosedEnvironmentError):
        WAYS[way](env).reset()


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP], ids=lambda mode: mode.name)
def test_copy_of_processes(mode: AutoresetMode) -> None:
    """Gymnasium's environments have no snapshot: the copy is new."""
    envs = ProcessVectorEnv(make_cart_pole, 1, autoreset_mode=mode)
    copied = None
    try:
        envs.reset(seed=0)
        copied = pickle.loads(pickle.dumps(envs))
        assert copied.processes[0].pid != envs.processes[0].pid
        with pytest.raises(ResetNeeded):
            copied.step(np.zeros(1, np.int64))
        assert_equal(copied.reset(seed=2), envs.reset(seed=2))
    finally:
        for each in filter(None, (envs, copied)):
            each.close()


def test_gymnasium_wrappers_around_copies() -> None:
    env = gym.wrappers.RecordEpisodeStatistics(rlgames.make("CatchBall", max_episode_steps=7))
    envs = gymnasium_wrappers.RecordEpisodeStatistics(rlgames.make_vec("CatchBall", 2))
    for each in (env, envs):
        each.reset(seed=0)
        play(each, 5)
        copied = pickle.loads(pickle.dumps(each))
        found, expected = play(copied, 25), play(each, 25)
        assert_equal([result[0] for result in found], [result[0] for result in expected])
        assert list(copied.return_queue) == list(each.return_queue)


def test_browser_games_are_new_and_start_no_browser() -> None:
    try:
        env: Any = rlgames.make("ChromeDino")
    except gym.error.DependencyNotInstalled as error:
        pytest.skip(str(error))
    for made in (env, rlgames.make_vec("ChromeDino", 2)):
        copied = pickle.loads(pickle.dumps(made))
        assert copied.observation_space == made.observation_space
        for each in (made, copied):
            each.close()


def test_copied_games_share_their_compiled_loops() -> None:
    game = load_game("CatchBall", size=16)
    assert copy.deepcopy(game) is pickle.loads(pickle.dumps(game)) is game


def test_another_process_continues_a_pickled_environment() -> None:
    env = rlgames.make("CatchBall:size=16")
    env.reset(seed=0)
    play(env, 5)
    program = (
        "import pickle, sys\n"
        "env = pickle.loads(sys.stdin.buffer.read())\n"
        "sys.stdout.buffer.write(pickle.dumps([env.step(0) for _ in range(5)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(env), stdout=subprocess.PIPE, check=True, timeout=120
    )
    assert_equal(pickle.loads(done.stdout), [env.step(0) for _ in range(5)])
