"""Agents come back from checkpoints as they were, go on bit for bit, and refuse in one line what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from helpers.toys import Dice, mind, quick, several
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rlgames
from rlgames.agents.base import networks
from rlgames.agents.registry import AGENTS, find, load
from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import CheckpointError, weights_sha256
from rlgames.envs.registry import GAMES
from rlgames.wrappers import Rewards

agents = pytest.mark.parametrize("name", AGENTS)
STEPS = 160


def batch(mode: AutoresetMode, **options: Any) -> Callable[[], Any]:
    return lambda: rlgames.make_vec("CatchBall", 2, autoreset_mode=mode, **options)


PLACES: dict[str, Callable[[], Any]] = {  # environments that can be snapshotted
    **{game: lambda game=game: game for game in GAMES if game not in ("Mario", "ChromeDino")},
    "NEXT_STEP": batch(AutoresetMode.NEXT_STEP),
    "DISABLED": batch(AutoresetMode.DISABLED, rewards=Rewards(scale=0.5, survival=0.1)),
}


def made(name: str, place: str, **changes: Any) -> Any:
    env = PLACES[place]()
    return find(name)(env, quick(name, **changes), seed=3, num_envs=2 if isinstance(env, str) else None)


def interrupted(name: str, place: str, after: int, path: Path) -> Any:
    """Stopped after so many updates, saved, loaded as somebody else would."""
    agent = made(name, place)
    for _, _ in zip(range(after), agent.train(STEPS), strict=False):
        pass
    agent.save(path)
    env = PLACES[place]()
    return load(path, **({} if isinstance(env, str) else {"env": env}))


@agents
@pytest.mark.parametrize("place", PLACES)
def test_learning_goes_on_bit_for_bit(name: str, place: str, tmp_path: Path):
    whole = made(name, place)
    expected = [(update.step, update.scores, dict(update.scalars)) for update in whole.train(STEPS)]
    for after in (0, 1, len(expected) // 2, len(expected)):
        agent = interrupted(name, place, after, tmp_path / "agent")
        assert agent.step == (expected[after - 1][0] if after else 0)
        found = [(update.step, update.scores, dict(update.scalars)) for update in agent.train(STEPS)]
        assert found == expected[after:]  # numbers equal to the last bit
        assert weights_sha256(agent.net.state_dict()) == weights_sha256(whole.net.state_dict())
        assert mind(agent, tmp_path) == mind(whole, tmp_path)


@agents
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_interrupted_again_and_again(name: str, stops: list[int], tmp_path: Path):
    agent, whole = made(name, "Cave"), made(name, "Cave")
    for _ in whole.train(STEPS):
        pass
    for updates in stops:
        for _, _ in zip(range(updates), agent.train(STEPS), strict=False):
            pass
        agent.save(tmp_path / "agent")
        agent = load(tmp_path / "agent")
    for _ in agent.train(STEPS):
        pass
    assert mind(agent, tmp_path) == mind(whole, tmp_path)


@agents
def test_a_loaded_agent_is_the_saved_one(name: str, tmp_path: Path):
    agent = made(name, "CatchBall").learn(STEPS)
    agent.predict(np.zeros((30, 8, 8), np.uint8), deterministic=False)  # so that its dice are no new ones
    agent.save(tmp_path / "agent")
    obs = np.random.default_rng(0).integers(0, 256, size=(50, 8, 8)).astype(np.uint8)
    expected = [agent.predict(obs, deterministic=deterministic)[0].tolist() for deterministic in (True, False)]
    for opened in (
        find(name).load(tmp_path / "agent"),
        rlgames.load(tmp_path / "agent"),
        load(str(tmp_path / "agent")),
    ):
        assert type(opened) is type(agent)
        assert [opened.predict(obs, deterministic=kind)[0].tolist() for kind in (True, False)] == expected
        assert (opened.config, opened.seed, opened.step, opened.task) == (agent.config, 3, agent.step, agent.task)
        assert opened.header() == agent.header()


@agents
def test_saved_before_it_has_played(name: str, tmp_path: Path):
    """The number of players is not lost with the player that there is not yet."""
    find(name)("CatchBall", quick(name), num_envs=5).save(tmp_path / "agent")
    opened = load(tmp_path / "agent")
    assert (opened.envs, opened.num_envs) == (None, 5)  # which it makes when it learns
    assert opened.learn(8).playing().n == 5


@agents
def test_weights_only(name: str, tmp_path: Path):
    """A smaller file that plays alike and learns on, from the loaded weights and with everything else new."""
    agent = made(name, "CatchBall").learn(STEPS)
    agent.save(tmp_path / "all")
    agent.save(tmp_path / "weights", weights_only=True)
    assert (tmp_path / "weights").stat().st_size < (tmp_path / "all").stat().st_size
    opened, obs = load(tmp_path / "weights"), np.random.default_rng(0).integers(0, 256, (50, 8, 8)).astype(np.uint8)
    assert opened.header() == agent.header()
    assert opened.predict(obs)[0].tolist() == agent.predict(obs)[0].tolist()
    before = {key: value.clone() for key, value in opened.net.state_dict().items()}
    opened.learn(STEPS)
    assert opened.step > agent.step
    for key, value in opened.net.state_dict().items():
        assert (value - before[key]).abs().mean() < 0.05  # another network's weights would be farther away


@agents
def test_an_agent_starts_from_the_networks_of_another(name: str, tmp_path: Path):
    """Also where the game is another one of the same spaces; all else is what it would have been."""
    trained = made(name, "CatchBall").learn(STEPS)
    trained.save(tmp_path / "trained", weights_only=True)
    env = rlgames.make_vec("CatchBall", 2, rewards=Rewards(scale=2.0))
    agent, untouched = (find(name)(env, quick(name), seed=4) for _ in range(2))
    agent.start_from(tmp_path / "trained")
    weights = trained.net.state_dict()
    for key, value in agent.net.state_dict().items():
        assert torch.equal(value, weights[key])
    learnt = set(networks(agent)) | {"shared", "record"}  # A3C keeps copies of the weights in these
    state, other = agent.state_dict(), untouched.state_dict()
    for key in state.keys() - learnt:
        assert str(state[key]) == str(other[key]), key
    agent.learn(STEPS)
    assert agent.step < 2 * STEPS
    for key, value in agent.net.state_dict().items():
        assert (value - weights[key]).abs().mean() < 0.05  # another network's weights would be farther away


@agents
def test_what_it_cannot_start_from_is_refused_in_one_line(name: str, tmp_path: Path):
    agent, other = made(name, "CatchBall"), next(kind for kind in AGENTS if kind != name)
    made(other, "CatchBall").save(tmp_path / "other")
    find(name)("CatchBall:size=16", quick(name), num_envs=2).save(tmp_path / "larger")
    before = weights_sha256(agent.net.state_dict())
    for file, message in (
        ("other", f"holds an agent of kind '{other}', not '{name}': networks are taken from an agent of the same kind"),
        ("larger", r"was saved with shape \[16, 16\], the environment has \[8, 8\]"),
        ("nothing", "there is no such file"),
    ):
        with pytest.raises(CheckpointError, match=message) as refusal:
            agent.start_from(tmp_path / file)
        assert "\n" not in str(refusal.value)
    assert weights_sha256(agent.net.state_dict()) == before


@agents
def test_saving_changes_nothing_and_loading_keeps_everything(name: str, tmp_path: Path):
    agent = made(name, "CatchBall")
    for k, _ in enumerate(agent.train(STEPS)):
        agent.save(tmp_path / f"{k % 2}")
        before = mind(agent, tmp_path)
        load(tmp_path / f"{k % 2}").save(tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == (tmp_path / f"{k % 2}").read_bytes()
        assert mind(agent, tmp_path) == before
    assert mind(agent, tmp_path) == mind(made(name, "CatchBall").learn(STEPS), tmp_path)


@agents
def test_without_an_environment_it_acts_but_does_not_learn(name: str, tmp_path: Path):
    agent = find(name)(several(Dice, 2), quick(name)).learn(64)
    agent.save(tmp_path / "agent")
    opened, obs = load(tmp_path / "agent"), np.random.default_rng(0).normal(size=(20, 3))
    assert opened.predict(obs)[0].tolist() == agent.predict(obs)[0].tolist()
    with pytest.raises(ValueError, match=r"load\(path, env=\.\.\.\)"):
        opened.learn(8)
    opened.save(tmp_path / "again")  # nothing is lost on the way
    assert load(tmp_path / "again", several(Dice, 2)).learn(8).step > agent.step


@agents
def test_it_goes_on_in_other_environments_of_the_same_spaces(name: str, tmp_path: Path):
    """Where they have no snapshot, from fresh episodes; the networks are those that were saved."""
    agent = find(name)("CartPole", quick(name), num_envs=2).learn(64)
    agent.save(tmp_path / "agent")
    for env in ("CartPole-v1", gym.make("CartPole-v1"), several(lambda: gym.make("CartPole-v1"), 2)):
        opened = load(tmp_path / "agent", env)
        assert weights_sha256(opened.net.state_dict()) == weights_sha256(agent.net.state_dict())
        if opened.num_envs == 2:
            assert opened.learn(8).step > agent.step
            assert not opened.playing().exact


@agents
def test_what_does_not_fit_is_refused_in_one_line(name: str, tmp_path: Path):
    path = tmp_path / "agent"
    agent = find(name)("CatchBall", quick(name), num_envs=2).learn(64)
    agent.save(path)
    other = next(kind for kind in AGENTS if kind != name)
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: find(other).load(path), f"holds an agent of kind '{name}', not '{other}'"),
        (lambda: load(path, "CartPole"), r"was saved with shape \[8, 8\], the environment has \[4\]"),
        (lambda: load(path, "CatchBall:size=16"), r"was saved with shape \[8, 8\], the environment has \[16, 16\]"),
        (lambda: load(path, several(TwoActions, 2)), "was saved with actions 3, the environment has 2"),
        (lambda: load(path, several(FromOne, 2)), "was saved with first 0, the environment has 1"),
        (lambda: load(path, several(Floats, 2)), "was saved with dtype uint8, the environment has float32"),
        (lambda: load(tmp_path / "nothing"), "there is no such file"),
    ]
    header, state = checkpoint.load(path)
    for change, message in (
        ({"agent": "sarsa"}, "holds an agent of kind 'sarsa', this rlgames knows"),
        ({"agent": None}, "holds an agent of kind None"),
        ({"config": {**header["config"], "colour": 3}}, "has 'colour', which this rlgames does not know"),
    ):
        new = tmp_path / f"changed {len(cases)}"
        checkpoint.save(new, {**header, **change}, state)
        cases.append((lambda new=new: load(new), message))
    for damaged, message in ((path.read_bytes()[:-30], "damaged"), (b"", "is empty"), (b"hello", "does not begin as")):
        new = tmp_path / f"damaged {len(cases)}"
        new.write_bytes(damaged)
        cases.append((lambda new=new: load(new), message))
    for attempt, message in cases:
        with pytest.raises(CheckpointError, match=message) as refusal:
            attempt()
        assert "\n" not in str(refusal.value)
        assert str(tmp_path) in str(refusal.value)


@agents
def test_a_network_of_another_size_is_refused_in_one_line(name: str, tmp_path: Path):
    agent: Any = find(name)("CartPole", quick(name), num_envs=2)
    if not hasattr(agent.config, "hidden"):
        pytest.skip(f"{name} has no network")
    header, state = agent.header(), agent.state_dict()
    checkpoint.save(tmp_path / "agent", {**header, "config": {**header["config"], "hidden": [5]}}, state)
    with pytest.raises(CheckpointError, match="does not fit: .*size mismatch") as refusal:
        load(tmp_path / "agent")
    assert "\n" not in str(refusal.value)


@agents
def test_another_number_of_players_may_act_but_not_go_on(name: str, tmp_path: Path):
    find(name)("CatchBall", quick(name), num_envs=2).learn(64).save(tmp_path / "agent")
    opened = load(tmp_path / "agent", rlgames.make_vec("CatchBall", 3))
    assert opened.predict(np.zeros((8, 8), np.uint8))[0].shape == ()
    with pytest.raises(ValueError, match="saved with 2 environments of .8, 8., got 3"):
        opened.learn(8)


@agents
def test_saved_on_one_device_loaded_on_another(name: str, tmp_path: Path):
    agent = find(name)("CatchBall", quick(name), num_envs=2, device="cpu").learn(64)
    agent.save(tmp_path / "agent")
    opened = load(tmp_path / "agent", device="cpu")
    assert opened.device == torch.device("cpu")
    if torch.cuda.is_available():
        there = load(tmp_path / "agent", device="cuda")
        assert weights_sha256(there.net.state_dict()) == weights_sha256(agent.net.state_dict())
        assert there.learn(8).step > agent.step


class TwoActions(gym.Env):
    observation_space, action_space = gym.spaces.Box(0, 255, (8, 8), np.uint8), gym.spaces.Discrete(2)


class FromOne(gym.Env):
    observation_space, action_space = gym.spaces.Box(0, 255, (8, 8), np.uint8), gym.spaces.Discrete(3, start=1)


class Floats(gym.Env):
    observation_space, action_space = gym.spaces.Box(0, 255, (8, 8), np.float32), gym.spaces.Discrete(3)
