"""One suite over all agents: every kind of environment, the same seed twice, nothing of anybody else's disturbed."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from helpers.toys import Dice, mind, quick, several

import rlgames
from rlgames.agents.base import Agent, Update
from rlgames.agents.registry import AGENTS, find
from rlgames.checkpoint.file import weights_sha256
from rlgames.envs.registry import GAMES

agents = pytest.mark.parametrize("name", AGENTS)


def native(mode: AutoresetMode) -> Callable[[], Any]:
    return lambda: rlgames.make_vec("CatchBall", 2, autoreset_mode=mode)


def sync(mode: AutoresetMode) -> Callable[[], Any]:
    return lambda: several(lambda: gym.make("CartPole-v1"), 2, mode)


SHORT = {"Mario": "Mario:world=1,stage=1,max_episode_steps=40"}  # a whole game takes minutes
NAMES = [
    *(SHORT.get(game, game) for game in GAMES),
    "rlgames/CartPole-v0",
    "CatchBall:size=16",
    "CartPole-v1",
    "Acrobot-v1",
]
OBJECTS: dict[str, Callable[[], Any]] = {
    "one of Gymnasium's": lambda: gym.make("CartPole-v1"),
    "one of ours": lambda: gym.make("rlgames/CatchBall-v0"),
    "Gymnasium's native batch": lambda: gym.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point"),
    **{f"Gymnasium's loop, {mode.name}": sync(mode) for mode in AutoresetMode},
    **{f"our batch, {mode.name}": native(mode) for mode in AutoresetMode},
    "actions from 5 on": lambda: several(Dice, 2),
}


def one_update(agent: Agent) -> Update:
    before = weights_sha256(agent.net.state_dict())
    update = next(agent.train(1_000_000))
    assert update.step == agent.step > 0
    assert update.step % agent.playing().n == 0
    assert all(isinstance(value, torch.Tensor) and value.isfinite() for value in update.scalars.values())
    assert all(isinstance(score, float) for score in update.scores)
    assert (weights_sha256(agent.net.state_dict()) != before) == any(True for _ in agent.net.parameters())
    action, _ = agent.predict(agent.playing().obs)
    assert all(agent.action_space.contains(one) for one in action)
    return update


@agents
@pytest.mark.parametrize("game", NAMES)
def test_games_by_name(name: str, game: str):
    agent = find(name)(game, quick(name), num_envs=2)
    assert agent.envs is not None
    assert (agent.envs.num_envs, str(agent.task)) == (2, game.removeprefix("rlgames/").removesuffix("-v0"))
    one_update(agent)


@agents
@pytest.mark.parametrize("kind", OBJECTS)
def test_environments_made_already(name: str, kind: str):
    env = OBJECTS[kind]()
    agent = find(name)(env, quick(name))
    assert agent.task is None
    one_update(agent)
    env.close()


@agents
def test_the_same_as_ever_from_the_face_of_the_package(name: str):
    assert getattr(rlgames, AGENTS[name]) is find(name) is find(name.upper())
    assert AGENTS[name] in rlgames.__all__


@agents
def test_training_takes_up_where_it_stopped(name: str, tmp_path: Path):
    """The generator may be left after any update, and `learn` counts on from the steps already taken."""
    whole, parts = (find(name)("CatchBall", quick(name), num_envs=2) for _ in range(2))
    updates = list(whole.train(200))
    found: list[Update] = []
    while parts.step < 200:
        found.append(next(parts.train(200)))
    assert [(update.step, update.scores) for update in found] == [(update.step, update.scores) for update in updates]
    assert mind(parts, tmp_path) == mind(whole, tmp_path)
    assert list(whole.train(200)) == []
    step = whole.step
    assert whole.learn(1) is whole
    assert whole.step > step


@agents
@pytest.mark.parametrize("total", [201, 205, 240])
def test_the_last_update_is_the_end(name: str, total: int):
    """Whoever drives the training evaluates and saves at updates: nothing may be played after the last one."""
    agent = find(name)(several(Dice, 3), quick(name))
    *_, last = agent.train(total)
    assert last.step == agent.step >= total
    assert agent.playing().scores() == []


@agents
def test_scores_are_told_once_and_all(name: str):
    """Whatever the agent does with them, the episodes of its updates are those that its player finished."""
    agent = find(name)(several(Dice, 3), quick(name))
    player, ended = agent.playing(), []
    step = player.step

    def watched(action: np.ndarray) -> Any:
        result = step(action)
        ended.extend(score for _, score in player.finished)
        return result

    player.step = watched  # type: ignore[method-assign]  # looks on
    scores = [score for update in agent.train(300) for score in update.scores]
    assert scores == ended
    assert len(scores) > 20


@agents
def test_the_same_seed_gives_the_same_agent(name: str, tmp_path: Path):
    begun: list[list] = []

    def trained(seed: int) -> Agent:
        agent = find(name)("CartPole", quick(name), num_envs=2, seed=seed)
        begun.append([agent.playing().obs.tolist(), agent.rng.bit_generator.state])
        return agent.learn(160)

    one, other, third = trained(3), trained(3), trained(4)
    assert mind(one, tmp_path) == mind(other, tmp_path)
    assert weights_sha256(one.net.state_dict()) == weights_sha256(other.net.state_dict())
    obs = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    drawn = [agent.predict(obs, deterministic=False)[0].tolist() for agent in (one, other, third)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(first == same != third for first, same, third in zip(*begun, strict=True))
    if any(True for _ in one.net.parameters()):
        assert weights_sha256(one.net.state_dict()) != weights_sha256(third.net.state_dict())


@agents
def test_a_fresh_process_gives_the_same_agent(name: str, tmp_path: Path):
    """With another seed for Python's hashes, and another history of what was imported and drawn."""
    agent = find(name)("CartPole", quick(name), num_envs=2, seed=3).learn(160)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "import torch; torch.set_num_threads(1)\n"
        "from toys import mind, quick\n"
        "from rlgames.agents import find\n"
        f"agent = find({name!r})('CartPole', quick({name!r}), num_envs=2, seed=3).learn(160)\n"
        "print(mind(agent, Path(sys.argv[2])))\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(Path(__file__).parent), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [mind(agent, tmp_path)]
    assert result.stderr == ""


@agents
def test_nobody_elses_dice_are_touched(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Neither Python's, NumPy's and torch's random state nor the number of threads changes, and none matters."""
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)

    def states() -> list[Any]:
        numpy = np.random.get_state()  # noqa: NPY002  # the global generator is what must stay as it is
        return [random.getstate(), str(numpy), torch.get_rng_state().tolist(), torch.get_num_threads()]

    minds = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        before = states()
        agent = find(name)("CatchBall", quick(name), num_envs=2).learn(64)
        agent.predict(agent.playing().obs, deterministic=False)
        assert states() == before
        minds.append(mind(agent, tmp_path))
    assert minds[0] == minds[1]
    assert seeded == []


@agents
def test_predicting_does_not_disturb_training(name: str):
    quiet, asked = (find(name)("CatchBall", quick(name), num_envs=2) for _ in range(2))
    obs = np.zeros((3, 8, 8), np.uint8)
    for _ in quiet.train(200):
        pass
    for _ in asked.train(200):
        for deterministic in (True, False):
            asked.predict(obs, deterministic=deterministic)
            asked.predict(obs[0], deterministic=deterministic)
    assert weights_sha256(quiet.net.state_dict()) == weights_sha256(asked.net.state_dict())
    assert quiet.rng.bit_generator.state == asked.rng.bit_generator.state
    np.testing.assert_array_equal(quiet.playing().obs, asked.playing().obs)


@agents
def test_a_progress_bar_changes_nothing(name: str, tmp_path: Path, capsys: pytest.CaptureFixture):
    plain, shown = (find(name)("CatchBall", quick(name), num_envs=2) for _ in range(2))
    assert mind(plain.learn(64), tmp_path) == mind(shown.learn(64, progress_bar=True), tmp_path)


@agents
def test_wrong_arguments_are_refused(name: str):
    cls = find(name)
    with pytest.raises(TypeError, match=f"{name} takes a {cls.Config.__name__}, got 3"):
        cls("CatchBall", 3)
    with pytest.raises(ValueError, match="no game is called 'Chess'"):
        cls("Chess")
    with pytest.raises(TypeError, match="got 5"):
        cls(5)  # type: ignore[arg-type]  # that is the test
    with pytest.raises(ValueError, match="num_envs=3 goes with the name of a game"):
        cls(several(Dice, 2), quick(name), num_envs=3)
    with pytest.raises(ValueError, match="expected num_envs >= 1, got 0"):
        cls("CatchBall", quick(name), num_envs=0)
    with pytest.raises(ValueError, match="total_timesteps >= 1, got 0"):
        cls("CatchBall", quick(name), num_envs=2).learn(0)


class Scalar(gym.Env):
    """Shows one number, shape ()."""

    observation_space, action_space = Box(-1, 1, (), np.float32), Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        return np.float32(self.np_random.random()), {}

    def step(self, action: int):
        return np.float32(self.np_random.random()), 1.0, bool(self.np_random.random() < 0.2), False, {}


@agents
def test_observations_of_one_number(name: str):
    agent = find(name)(several(Scalar, 2), quick(name))
    one_update(agent)
    assert agent.predict(np.float32(0.5))[0].shape == ()


def test_an_unknown_agent_is_named():
    with pytest.raises(ValueError, match=f"no agent is called 'sarsa': the agents are {', '.join(AGENTS)}"):
        find("sarsa")


@agents
def test_a_setting_that_no_checkpoint_could_say_is_refused_at_once(name: str):
    config = quick(name)
    numbers = [field.name for field in dataclasses.fields(config) if isinstance(getattr(config, field.name), float)]
    for field in numbers:
        object.__setattr__(config, field, float("inf"))
        with pytest.raises(ValueError, match=f"expected {field} finite.*, got inf"):
            find(name)("CatchBall", config, num_envs=1)
        object.__setattr__(config, field, getattr(quick(name), field))
