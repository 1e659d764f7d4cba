"""Agents are restored from checkpoints as they were, continue bit for bit, and name in one line what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from helpers.toys import RandomLengthEnv, quick_config, state_sha256, sync_vector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rlgames
from rlgames.agents.registry import AGENTS, find, load
from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import CheckpointError, weights_sha256
from rlgames.wrappers import Pixels, Rewards

agents = pytest.mark.parametrize("name", AGENTS)
STEPS = 160
SMALL_PONG = Pixels(size=(24, 24), grey=True, stack=2)


def catch_ball(mode: AutoresetMode, **settings: Any) -> Any:
    return rlgames.make_vec("CatchBall", 2, autoreset_mode=mode, **settings)


ENVS: dict[str, Callable[[], Any]] = {  # those with snapshots: a name, or environments to hand in
    **{game: lambda game=game: game for game in ("CatchBall", "CartPole", "Cave", "Dino:obs=state")},
    "Pong": lambda: rlgames.make_vec("Pong", 2, pixels=SMALL_PONG, max_episode_steps=60),
    "NEXT_STEP": lambda: catch_ball(AutoresetMode.NEXT_STEP),
    "DISABLED": lambda: catch_ball(AutoresetMode.DISABLED, rewards=Rewards(scale=0.5, survival=0.1)),
}
PAIRS = [  # each agent with each autoreset mode, each other game with one agent
    *((name, kind) for name in AGENTS for kind in ("CatchBall", "NEXT_STEP", "DISABLED")),
    ("a3c", "CartPole"),
    ("reinforce", "Cave"),
    ("ppo", "Dino:obs=state"),
    ("ddqn", "Pong"),
]


def make_agent(name: str, kind: str, **changes: Any) -> Any:
    env = ENVS[kind]()
    return find(name)(env, quick_config(name, **changes), seed=3, num_envs=2 if isinstance(env, str) else None)


def train(agent: Any, updates: int) -> None:
    for _, _ in zip(range(updates), agent.train(STEPS), strict=False):
        pass


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_a_loaded_agent_continues_bit_for_bit(name: str, kind: str, tmp_path: Path):
    whole = make_agent(name, kind)
    expected = [(update.step, update.episodes, dict(update.scalars)) for update in whole.train(STEPS)]
    for stop in (0, len(expected) // 2, len(expected)):
        agent = make_agent(name, kind)
        train(agent, stop)
        agent.save(tmp_path / "agent")
        env = ENVS[kind]()
        agent = load(tmp_path / "agent", **({} if isinstance(env, str) else {"env": env}))
        assert agent.step == (expected[stop - 1][0] if stop else 0)
        found = [(update.step, update.episodes, dict(update.scalars)) for update in agent.train(STEPS)]
        assert found == expected[stop:]  # numbers are equal to the last bit
        assert weights_sha256(agent.net.state_dict()) == weights_sha256(whole.net.state_dict())
        assert state_sha256(agent, tmp_path) == state_sha256(whole, tmp_path)


@agents
@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_any_number_of_interruptions_changes_nothing(name: str, stops: list[int], tmp_path: Path):
    agent, whole = make_agent(name, "CatchBall"), make_agent(name, "CatchBall")
    train(whole, STEPS)
    for updates in stops:
        train(agent, updates)
        agent.save(tmp_path / "agent")
        agent = load(tmp_path / "agent")
    train(agent, STEPS)
    assert state_sha256(agent, tmp_path) == state_sha256(whole, tmp_path)


@agents
def test_saving_changes_nothing_and_loading_keeps_everything(name: str, tmp_path: Path):
    agent = make_agent(name, "CatchBall")
    for k, _ in enumerate(agent.train(STEPS)):
        agent.save(tmp_path / f"{k % 2}")
        state = state_sha256(agent, tmp_path)
        load(tmp_path / f"{k % 2}").save(tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == (tmp_path / f"{k % 2}").read_bytes()
        assert state_sha256(agent, tmp_path) == state
    assert state_sha256(agent, tmp_path) == state_sha256(make_agent(name, "CatchBall").learn(STEPS), tmp_path)


@agents
def test_a_loaded_agent_predicts_as_the_saved_one(name: str, tmp_path: Path):
    agent = make_agent(name, "CatchBall").learn(STEPS)
    agent.predict(np.zeros((30, 8, 8), np.uint8), deterministic=False)  # predict's RNG is not a new one
    agent.save(tmp_path / "agent")
    obs = np.random.default_rng(0).integers(0, 256, size=(50, 8, 8)).astype(np.uint8)
    expected = [agent.predict(obs, deterministic=deterministic)[0].tolist() for deterministic in (True, False)]
    for loaded in (
        find(name).load(tmp_path / "agent"),
        rlgames.load(tmp_path / "agent"),
        load(str(tmp_path / "agent")),
        load(tmp_path / "agent", weights_only=True),
    ):
        assert type(loaded) is type(agent)
        assert [loaded.predict(obs, deterministic=kind)[0].tolist() for kind in (True, False)] == expected
        assert (loaded.config, loaded.seed, loaded.step, loaded.task) == (agent.config, 3, agent.step, agent.task)
        assert loaded.header() == agent.header()


@agents
def test_an_untrained_agent_keeps_its_number_of_environments(name: str, tmp_path: Path):
    find(name)("CatchBall", quick_config(name), num_envs=5).save(tmp_path / "agent")
    loaded = load(tmp_path / "agent")
    assert (loaded.envs, loaded.num_envs) == (None, 5)  # they are made when it learns
    assert loaded.learn(8).start_training().num_envs == 5


@agents
def test_save_with_weights_only(name: str, tmp_path: Path):
    """The file is smaller; the loaded agent predicts alike and learns on with a new optimizer and new episodes."""
    agent = make_agent(name, "CatchBall").learn(STEPS)
    agent.save(tmp_path / "all")
    agent.save(tmp_path / "weights", weights_only=True)
    assert (tmp_path / "weights").stat().st_size < (tmp_path / "all").stat().st_size
    loaded, obs = load(tmp_path / "weights"), np.random.default_rng(0).integers(0, 256, (50, 8, 8)).astype(np.uint8)
    assert loaded.runner is None
    assert loaded.header() == agent.header()
    assert loaded.predict(obs)[0].tolist() == agent.predict(obs)[0].tolist()
    weights = {key: value.clone() for key, value in loaded.net.state_dict().items()}
    loaded.learn(STEPS)
    assert loaded.step > agent.step
    for key, value in loaded.net.state_dict().items():
        assert (value - weights[key]).abs().mean() < 0.05  # other initial weights would be farther away


@agents
def test_start_from_takes_the_networks_alone(name: str, tmp_path: Path):
    """Also from another game of the same spaces; everything else stays as it was."""
    trained = make_agent(name, "CatchBall").learn(STEPS)
    trained.save(tmp_path / "trained", weights_only=True)
    env = rlgames.make_vec("CatchBall", 2, rewards=Rewards(scale=2.0))
    agent, other = (find(name)(env, quick_config(name), seed=4) for _ in range(2))
    agent.start_from(tmp_path / "trained")
    weights = trained.net.state_dict()
    for key, value in agent.net.state_dict().items():
        assert torch.equal(value, weights[key])
    with_weights = {*agent.networks(), "shared", "best_weights"}  # A3C has copies of the weights in these
    state, other_state = agent.state_dict(), other.state_dict()
    for key in state.keys() - with_weights:
        assert str(state[key]) == str(other_state[key]), key
    agent.learn(STEPS)
    assert agent.step < 2 * STEPS
    for key, value in agent.net.state_dict().items():
        assert (value - weights[key]).abs().mean() < 0.05  # other initial weights would be farther away


@agents
def test_start_from_rejects_other_agents_and_spaces(name: str, tmp_path: Path):
    agent, other = make_agent(name, "CatchBall"), next(kind for kind in AGENTS if kind != name)
    make_agent(other, "CatchBall").save(tmp_path / "other")
    find(name)("CatchBall:size=16", quick_config(name), num_envs=2).save(tmp_path / "larger")
    weights = weights_sha256(agent.net.state_dict())
    for file, message in (
        ("other", f"holds the agent '{other}', expected '{name}': networks are taken from an agent of the same kind"),
        ("larger", r"was saved with shape \[16, 16\], the environment has \[8, 8\]"),
        ("nothing", "no such file"),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            agent.start_from(tmp_path / file)
        assert "\n" not in str(caught.value)
    assert weights_sha256(agent.net.state_dict()) == weights


@agents
def test_load_in_other_environments_of_the_same_spaces(name: str, tmp_path: Path):
    """The networks are those that were saved; without snapshots learning continues with new episodes."""
    agent = find(name)("CartPole", quick_config(name), num_envs=2).learn(64)
    agent.save(tmp_path / "agent")
    for env in ("CartPole-v1", sync_vector(lambda: gym.make("CartPole-v1"), 2)):
        loaded = load(tmp_path / "agent", env)
        assert weights_sha256(loaded.net.state_dict()) == weights_sha256(agent.net.state_dict())
        assert loaded.learn(8).step > agent.step
        assert not loaded.start_training().exact


def test_networks_of_another_size_are_rejected_in_one_line(tmp_path: Path):
    for name in ("ppo", "ddqn"):
        agent: Any = find(name)("CartPole", quick_config(name), num_envs=2)
        header, state = agent.header(), agent.state_dict()
        checkpoint.save(tmp_path / "agent", {**header, "config": {**header["config"], "net_arch": [5]}}, state)
        with pytest.raises(CheckpointError, match="does not fit: .*size mismatch") as caught:
            load(tmp_path / "agent")
        assert "\n" not in str(caught.value)


class TwoActionsEnv(gym.Env):
    observation_space, action_space = Box(0, 255, (8, 8), np.uint8), Discrete(2)


class ActionsFromOneEnv(gym.Env):
    observation_space, action_space = Box(0, 255, (8, 8), np.uint8), Discrete(3, start=1)


class FloatEnv(gym.Env):
    observation_space, action_space = Box(0, 255, (8, 8), np.float32), Discrete(3)


@agents
def test_load_rejects_in_one_line_what_does_not_fit(name: str, tmp_path: Path):
    path = tmp_path / "agent"
    agent = find(name)("CatchBall", quick_config(name), num_envs=2).learn(64)
    agent.save(path)
    other = next(kind for kind in AGENTS if kind != name)
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: find(other).load(path), f"holds the agent '{name}', expected '{other}'"),
        (lambda: load(path, "CartPole"), r"was saved with shape \[8, 8\], the environment has \[4\]"),
        (lambda: load(path, "CatchBall:size=16"), r"was saved with shape \[8, 8\], the environment has \[16, 16\]"),
        (lambda: load(path, sync_vector(TwoActionsEnv, 2)), "was saved with actions 3, the environment has 2"),
        (lambda: load(path, sync_vector(ActionsFromOneEnv, 2)), "was saved with first 0, the environment has 1"),
        (lambda: load(path, sync_vector(FloatEnv, 2)), "was saved with dtype uint8, the environment has float32"),
        (lambda: load(tmp_path / "nothing"), "no such file"),
    ]
    header, state = checkpoint.load(path)
    for change, message in (
        ({"agent": "sarsa"}, "holds the unknown agent 'sarsa': known are dqn, "),
        ({"agent": None}, "holds the unknown agent None"),
        ({"config": {**header["config"], "color": 3}}, f"unknown field 'color' of {find(name).Config.__name__}"),
    ):
        new = tmp_path / f"changed {len(cases)}"
        checkpoint.save(new, {**header, **change}, state)
        cases.append((lambda new=new: load(new), message))
    for damaged, message in (
        (path.read_bytes()[:-30], "damaged"),
        (b"", "is empty"),
        (b"hello", "is not a checkpoint"),
    ):
        new = tmp_path / f"damaged {len(cases)}"
        new.write_bytes(damaged)
        cases.append((lambda new=new: load(new), message))
    for attempt, message in cases:
        with pytest.raises(CheckpointError, match=message) as caught:
            attempt()
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)


@agents
def test_load_rejects_another_number_of_environments(name: str, tmp_path: Path):
    """With and without snapshots; the networks alone fit any number."""
    with_snapshots = find(name)("CatchBall", quick_config(name), num_envs=2).learn(64)
    without = find(name)(sync_vector(RandomLengthEnv, 2), quick_config(name)).learn(64)
    for agent, env in ((with_snapshots, rlgames.make_vec("CatchBall", 3)), (without, RandomLengthEnv())):
        agent.save(tmp_path / "agent")
        with pytest.raises(CheckpointError, match=r"saved with 2 environments .*got \d .*weights_only=True") as caught:
            load(tmp_path / "agent", env)
        assert "\n" not in str(caught.value)
        loaded = load(tmp_path / "agent", env, weights_only=True)
        assert loaded.learn(8).step > agent.step


@agents
def test_load_on_another_device(name: str, tmp_path: Path):
    agent = find(name)("CatchBall", quick_config(name), num_envs=2, device="cpu").learn(64)
    agent.save(tmp_path / "agent")
    assert load(tmp_path / "agent", device="cpu").device == torch.device("cpu")
    if torch.cuda.is_available():
        loaded = load(tmp_path / "agent", device="cuda")
        assert weights_sha256(loaded.net.state_dict()) == weights_sha256(agent.net.state_dict())
        assert loaded.learn(8).step > agent.step
