"""Games, agents and wrappers of a user's own: once registered, they work by name wherever those of rlgames do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import VectorActionWrapper, VectorEnv, VectorRewardWrapper, VectorWrapper
from helpers.toys import quick_config

import rlgames
from rlgames.agents import AGENTS
from rlgames.agents.ppo import PPO
from rlgames.agents.random import Random
from rlgames.agents.registry import find
from rlgames.checkpoint.file import CheckpointError
from rlgames.cli.main import main as command_line
from rlgames.engine.threaded import ThreadedVectorEnv
from rlgames.envs.registry import GAMES, WRAPPERS
from rlgames.envs.task import Task
from rlgames.errors import UsageError
from rlgames.experience.env_runner import EnvRunner, stacked_frames
from rlgames.presets.lookup import find_preset
from rlgames.wrappers import Pixels, Rewards

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def registrations_are_undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(EXAMPLES)
    with patch.dict(GAMES), patch.dict(AGENTS), patch.dict(WRAPPERS), patch.dict(gym.registry):
        yield
    for path in EXAMPLES.glob("*.py"):
        sys.modules.pop(path.stem, None)


# ---- games ----


def test_own_game_works_by_name(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    import_module("own_game")
    env, envs = gym.make("rlgames/Slalom-v0"), rlgames.make_vec("Slalom", 3)
    assert env.reset(seed=5)[0].tolist() == envs.reset(seed=5)[0][0].tolist()
    agent = PPO("Slalom", quick_config("ppo"), num_envs=2).learn(64)
    agent.save(tmp_path / "slalom.ckpt")
    expected = rlgames.evaluate(agent, episodes=3).scores
    assert rlgames.evaluate(tmp_path / "slalom.ckpt", episodes=3).scores == expected
    run = tmp_path / "run"
    assert command_line(["train", "dqn", "Slalom", "--steps", "64", "--evaluate-episodes", "1", "--out", str(run)]) == 0
    assert command_line(["watch", str(run), "--seconds", "1"]) == 0
    assert command_line(["list"]) == 0
    assert "pass every gate" in capsys.readouterr().out


def test_rules_of_slalom() -> None:
    import_module("own_game")
    envs = rlgames.make_vec("Slalom", 64)
    obs, _ = envs.reset(seed=0)
    for t in range(1, 7 * 30 + 1):
        obs, reward, terminated, truncated, info = envs.step(1 + np.sign(obs[:, 1] - obs[:, 0]).astype(int))
        assert not terminated.any()  # steering for the gate never misses it
        assert (reward == (t % 7 == 0)).all()
        assert truncated.all() == (t == 7 * 30)
        assert t < 7 * 30 or (info["final_info"]["score"] == 30).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CatchBall", "the name 'CatchBall' is taken by rlgames.envs.catch_ball: choose another"),
        ("Snow:size=3", "expected a game's name of letters, digits and underscores, got 'Snow:size=3'"),
        ("", "expected a game's name"),
    ],
)
def test_register_game_rejects_names(name: str, message: str) -> None:
    games = dict(GAMES)
    with pytest.raises(ValueError, match=message):
        rlgames.register_game(name, "snow", "a game")
    assert games == GAMES


# ---- agents ----


def test_own_agent_works_by_name(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    agent_class = import_module("own_agent").CrossEntropy
    agent = agent_class("CartPole", num_envs=8)
    for _, update in zip(range(2), agent.train(20_000), strict=False):
        assert update.scores
    agent.save(tmp_path / "agent.ckpt")
    loaded = rlgames.load(tmp_path / "agent.ckpt")
    for each in (agent, loaded):  # the loaded one continues exactly
        next(each.train(20_000))
    assert isinstance(loaded, agent_class)
    assert loaded.step == agent.step
    assert loaded.net["mean"].equal(agent.net["mean"])
    command = ["train", "cross-entropy", "CartPole", "--steps", "500", "--config.elite-fraction", "0.5", "--out"]
    assert command_line([*command, str(tmp_path / "run")]) == 0
    assert command_line(["list"]) == 0
    assert "Cross-entropy method" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ppo", "the name 'ppo' is taken by rlgames.agents.ppo: choose another"),
        ("My Agent", "expected an agent's name of small letters, digits and hyphens, got 'My Agent'"),
    ],
)
def test_register_agent_rejects_names(name: str, message: str) -> None:
    agents = dict(AGENTS)
    with pytest.raises(ValueError, match=message):
        rlgames.register_agent(type("Other", (Random,), {"name": name}))
    assert agents == AGENTS


def test_module_that_is_reloaded_registers_again() -> None:
    for _ in range(2):
        agent_class = rlgames.register_agent(type("Other", (Random,), {"name": "other", "__module__": "here"}))
        assert find("other") is agent_class
        rlgames.register_game("Snow", "snow", "a game")
        rlgames.register_wrapper("flakes", lambda env: env)
    with pytest.raises(ValueError, match="the name 'other' is taken by here"):
        rlgames.register_agent(type("Other", (Random,), {"name": "other", "__module__": "elsewhere"}))
    with pytest.raises(ValueError, match="the name 'Snow' is taken by snow"):
        rlgames.register_game("Snow", "rain", "a game")
    with pytest.raises(ValueError, match=f"the agents are {', '.join(AGENTS)}"):
        find("another")


# ---- wrappers ----


class VectorReward(VectorRewardWrapper):
    """Rewards without state; snapshots are those of the wrapped environments."""

    env: Any

    def __init__(self, env: VectorEnv, function: Callable[[Any], Any]) -> None:
        super().__init__(env)
        self.function = function

    def rewards(self, reward: np.ndarray) -> np.ndarray:
        return self.function(reward)

    def snapshot(self) -> dict[str, Any]:
        return self.env.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        self.env.restore(state)


class VectorRewardWithoutSnapshot(VectorRewardWrapper):
    def rewards(self, reward: np.ndarray) -> np.ndarray:
        return reward


def register_reward(name: str, function: Callable[[Any], Any], *, single: bool = True, vector: bool = True) -> None:
    rlgames.register_wrapper(
        name,
        (lambda env: gym.wrappers.TransformReward(env, function)) if single else None,
        (lambda envs: VectorReward(envs, function)) if vector else None,
    )


def register_rewards() -> None:
    register_reward("plus", lambda reward: reward + 1)
    register_reward("double", lambda reward: reward * 2)
    register_reward("single", lambda reward: reward + 1, vector=False)
    register_reward("vector", lambda reward: reward + 1, single=False)


def rewards_of(game: str, steps: int = 9, **options: Any) -> list[float]:
    """Return the rewards of the first environment of a batch."""
    envs = rlgames.make_vec(game, 2, **options)
    envs.reset(seed=0)
    rewards = [float(envs.step(np.zeros(2, np.int64))[1][0]) for _ in range(steps)]
    envs.close()
    return rewards


def single_rewards_of(game: str, steps: int = 9, **options: Any) -> list[float]:
    env = rlgames.make(game, **options)
    env.reset(seed=0)
    rewards = []
    for _ in range(steps):
        _, reward, terminated, truncated, _ = env.step(0)
        rewards.append(float(reward))
        if terminated or truncated:
            env.reset()
    return rewards


@pytest.mark.parametrize("function", [rewards_of, single_rewards_of])
@pytest.mark.parametrize(
    ("wrappers", "expected"),
    [
        ("plus", lambda reward: reward + 1),
        ("plus+double", lambda reward: (reward + 1) * 2),
        ("double+plus", lambda reward: reward * 2 + 1),
        ("plus+plus", lambda reward: reward + 2),
        ("null", lambda reward: reward),
        ("plus+single", lambda reward: reward + 2),
    ],
)
def test_wrappers_are_applied_in_order(function: Callable[..., list[float]], wrappers: str, expected: Any) -> None:
    register_rewards()
    rewards = function("CatchBall")
    assert set(rewards) > {0.0}
    assert function(f"CatchBall:wrappers={wrappers}") == [expected(reward) for reward in rewards]
    assert function("CatchBall", wrappers=None if wrappers == "null" else wrappers) == [*map(expected, rewards)]


def test_wrappers_are_applied_to_preprocessed_observations_and_shaped_rewards() -> None:
    register_rewards()
    options = {"pixels": Pixels(stack=3, scale=True), "rewards": Rewards(survival=10), "wrappers": "plus"}
    env, envs = rlgames.make("Cave", **options), rlgames.make_vec("Cave", 2, **options)
    assert env.observation_space == envs.single_observation_space
    assert isinstance(env, gym.wrappers.TransformReward)
    assert isinstance(envs, VectorReward)
    env.reset(seed=0)
    envs.reset(seed=0)
    assert env.step(0)[1] == envs.step(np.zeros(2, np.int64))[1][0] == 11
    assert env.step(0)[4]["score"] == 2  # the game's own


def test_wrapper_without_vector_form_is_applied_to_each_env() -> None:
    register_rewards()
    envs = rlgames.make_vec("CatchBall", 3, threads=2, max_episode_steps=4, wrappers="plus+single")
    assert isinstance(envs, ThreadedVectorEnv)
    assert all(isinstance(env, gym.wrappers.TransformReward) for env in envs.envs)
    runner = EnvRunner(envs, seed=0)
    for _ in range(4):
        runner.step(np.zeros(3, np.int64))
    assert [episode.length for episode in runner.take_episodes()] == [4] * 3
    assert runner.snapshot() is None
    envs.close()


def test_wrapper_without_single_form_cannot_wrap_single_envs(tmp_path: Path) -> None:
    register_rewards()
    assert rewards_of("CatchBall:wrappers=plus+vector") == [reward + 2 for reward in rewards_of("CatchBall")]
    agent = Random("CatchBall:wrappers=vector", num_envs=1)
    assert rlgames.evaluate(agent, episodes=1).rewards != rlgames.evaluate(agent, "CatchBall", episodes=1).scores
    for fails in (
        lambda: rlgames.make("CatchBall:wrappers=plus+vector"),
        lambda: rlgames.make_vec("CatchBall:wrappers=single+vector", 2),
        lambda: rlgames.make_vec("CatchBall:wrappers=vector", 2, pixels=Pixels(skip=2, stack_skipped=True)),
        lambda: rlgames.record(agent, tmp_path / "episode.gif"),
    ):
        with pytest.raises(UsageError, match="the wrapper 'vector' has only a `wrap_vec`: single environments need"):
            fails()


def test_unknown_wrapper_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown wrapper 'plus': no wrapper is registered; run the script or import"):
        rlgames.make("CatchBall:wrappers=plus")
    register_rewards()
    for make in (rlgames.make, rlgames.make_vec):
        with pytest.raises(ValueError, match="unknown wrapper 'add': the wrappers are plus, double, single, vector;"):
            make("CatchBall:wrappers=plus+add")
        with pytest.raises(TypeError, match=r"expected wrappers to be names as in 'a\+b', or None, got \['plus'\]"):
            make("CatchBall", wrappers=["plus"])


@pytest.mark.parametrize("name", ["", "a+b", "a=b", "a,b", "1a", "a b", "null"])
def test_register_wrapper_rejects_names(name: str) -> None:
    with pytest.raises(ValueError, match="expected a wrapper's name of letters, digits, underscores and hyphens, got"):
        rlgames.register_wrapper(name, lambda env: env)


def test_register_wrapper_needs_one_of_both_forms() -> None:
    with pytest.raises(ValueError, match="expected `wrap`, `wrap_vec` or both for the wrapper 'empty', got neither"):
        rlgames.register_wrapper("empty")


@pytest.mark.parametrize(
    ("game", "plain"),
    [("CatchBall:wrappers=plus", "CatchBall"), ("CatchBall:size=16,wrappers=a+b", "CatchBall:size=16")],
)
def test_preset_of_a_wrapped_game_is_that_of_the_game(game: str, plain: str) -> None:
    assert find_preset("ppo", Task.parse(game)) is find_preset("ppo", Task.parse(plain))
    assert str(Task.parse(game)) == game


def test_registered_games_own_wrapper_is_applied_first() -> None:
    own_game = import_module("own_game")
    register_rewards()
    plain = rewards_of("Slalom", 14)
    rlgames.register_game(
        "Slalom",
        own_game.__name__,
        "with a wrapper",
        wrap=lambda env: gym.wrappers.TransformReward(env, lambda reward: float(reward) * 3),
        wrap_vec=lambda envs: VectorReward(envs, lambda reward: reward * 3),
    )
    assert rewards_of("Slalom", 14) == [reward * 3 for reward in plain]
    assert single_rewards_of("Slalom", 14) == [reward * 3 for reward in plain]
    assert rewards_of("Slalom:wrappers=plus", 14) == [reward * 3 + 1 for reward in plain]
    envs = gym.make_vec("rlgames/Slalom-v0", 2)  # Gymnasium makes the game as it is
    envs.reset(seed=0)
    assert [float(envs.step(np.zeros(2, np.int64))[1][0]) for _ in range(7)] == plain[:7]


def test_registered_game_with_wrap_vec_alone_cannot_be_made_singly() -> None:
    own_game = import_module("own_game")
    rlgames.register_game("Slalom", own_game.__name__, "", wrap_vec=lambda envs: VectorReward(envs, np.negative))
    assert rlgames.make_vec("Slalom", 2)
    with pytest.raises(ValueError, match="the wrapper 'Slalom' has only a `wrap_vec`"):
        rlgames.make("Slalom")


# ---- wrappers in runs and checkpoints ----


def test_checkpoint_names_its_wrappers(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    register_rewards()
    run = tmp_path / "run"
    options = ["--steps", "64", "--envs", "2", "--config.n-steps", "8", "--evaluate-episodes", "1", "--out", str(run)]
    assert command_line(["train", "ppo", "CatchBall:wrappers=plus+double", *options]) == 0
    checkpoint = run / "checkpoints" / "final.ckpt"

    for env, reward_of in {
        None: lambda score, length: (score + length) * 2,
        "CatchBall": lambda score, length: (score + length) * 2,  # the wrappers of the training
        "CatchBall:wrappers=plus": lambda score, length: score + length,
        "CatchBall:wrappers=null": lambda score, length: score,
    }.items():
        result = rlgames.evaluate(checkpoint, env, episodes=2)
        assert result.rewards == [*map(reward_of, result.scores, result.lengths)]
    assert command_line(["evaluate", str(run), "--episodes", "1"]) == 0
    assert command_line(["watch", str(run), "--seconds", "1"]) == 0
    capsys.readouterr()

    with patch.dict(WRAPPERS, clear=True):  # as in a process that has not registered them
        message = "unknown wrapper 'plus': no wrapper is registered; run the script or import the module that calls"
        with pytest.raises(CheckpointError, match=message):
            rlgames.load(checkpoint)
        with pytest.raises(ValueError, match=message):
            rlgames.evaluate(checkpoint)
        assert rlgames.evaluate(checkpoint, "CatchBall:wrappers=null", episodes=1).lengths
        assert command_line(["evaluate", str(run)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1


@pytest.mark.slow  # in the quick set: that processes import the script (tests/agents/test_workers.py)
def test_workers_of_a_script_know_its_wrappers(tmp_path: Path) -> None:
    """They import the script that started them."""
    command = ["own_wrapper.py", "train", "a3c", "CatchBall:wrappers=sticky", "--steps", "64", "--config.workers", "2"]
    options = ["--envs", "2", "--config.n-steps", "8", "--evaluate-episodes", "1", "--quiet", "--out", str(tmp_path)]
    root = str(Path(rlgames.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, *command, *options],
        cwd=EXAMPLES,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "a3c on CatchBall:wrappers=sticky: 64 steps" in done.stdout
    checkpoint = tmp_path / "checkpoints" / "final.ckpt"
    with pytest.raises(CheckpointError, match="unknown wrapper 'sticky'"):
        rlgames.load(checkpoint)
    import_module("own_wrapper")
    assert rlgames.load(checkpoint).step >= 64


@pytest.mark.parametrize("wrappers", ["sticky", "sticky+plus", "plus+sticky"])
def test_agent_resumes_bit_for_bit_if_vector_wrappers_have_snapshots(tmp_path: Path, wrappers: str) -> None:
    import_module("own_wrapper")
    register_rewards()
    agent = PPO(f"Cave:wrappers={wrappers}", quick_config("ppo"), num_envs=2).learn(64)
    assert not agent.restart_episodes()
    agent.save(tmp_path / "agent.ckpt")
    loaded = rlgames.load(tmp_path / "agent.ckpt")
    for each in (agent, loaded):
        each.learn(64)
        each.save(tmp_path / f"{each is agent}.ckpt")
    assert (tmp_path / "True.ckpt").read_bytes() == (tmp_path / "False.ckpt").read_bytes()


@pytest.mark.parametrize("wrappers", ["bare", "bare+plus", "plus+bare"])
def test_episodes_restart_at_checkpoints_if_a_vector_wrapper_has_no_snapshot(tmp_path: Path, wrappers: str) -> None:
    """Inside or outside of one that has: its state would be missing in a snapshot."""
    register_rewards()
    rlgames.register_wrapper("bare", wrap_vec=VectorRewardWithoutSnapshot)
    agent = PPO(f"CatchBall:wrappers={wrappers}", quick_config("ppo"), num_envs=2).learn(64)
    assert agent.start_training().snapshot() is None
    assert agent.restart_episodes()
    agent.save(tmp_path / "agent.ckpt")
    loaded = rlgames.load(tmp_path / "agent.ckpt")
    for each in (agent, loaded):
        each.learn(64)
        each.save(tmp_path / f"{each is agent}.ckpt")
    assert (tmp_path / "True.ckpt").read_bytes() == (tmp_path / "False.ckpt").read_bytes()


class VectorObservation(VectorWrapper):
    """May change observations."""


class VectorAction(VectorActionWrapper):
    def actions(self, actions: np.ndarray) -> np.ndarray:
        return actions


@pytest.mark.parametrize(
    ("wrap_vec", "expected"), [(VectorRewardWithoutSnapshot, 3), (VectorAction, 3), (VectorObservation, 1)]
)
def test_wrappers_of_rewards_and_actions_keep_frame_stack(wrap_vec: Callable, expected: int) -> None:
    """Others may change observations, so that a replay buffer cannot take them apart into frames."""
    rlgames.register_wrapper("own", wrap_vec=wrap_vec)
    assert stacked_frames(rlgames.make_vec("Cave:stack=3,wrappers=own", 2)) == expected


# ---- examples/own_wrapper.py ----


def test_sticky_action_repeats_a_quarter_of_the_actions() -> None:
    sticky = import_module("own_wrapper")
    for env in (rlgames.make("CatchBall:wrappers=sticky"), rlgames.make_vec("CatchBall:wrappers=sticky", 1)):
        assert isinstance(env, gym.wrappers.StickyAction | sticky.VectorStickyAction)
    envs: Any = rlgames.make_vec("CartPole:wrappers=sticky", 1000)
    assert isinstance(envs, sticky.VectorStickyAction)
    envs.reset(seed=1)
    rng = np.random.default_rng(0)
    repeated, steps = np.zeros(1000), np.zeros(1000)
    for _ in range(20):
        previous, actions = envs.previous.copy(), rng.integers(2, size=1000)
        _, _, terminated, truncated, _ = envs.step(actions)
        different = (previous != sticky.NONE) & (previous != actions) & ~(terminated | truncated)
        repeated += different & (envs.previous == previous)
        steps += different
        assert (envs.previous[terminated | truncated] == sticky.NONE).all()
        assert (envs.previous == actions)[previous == sticky.NONE].all()
    assert abs(repeated.sum() / steps.sum() - sticky.PROBABILITY) < 0.02


def test_main_of_own_wrapper(capsys: pytest.CaptureFixture) -> None:
    assert import_module("own_wrapper").main(512) < 99
    assert "without: mean" in capsys.readouterr().out
