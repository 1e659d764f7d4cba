"""Presets: each makes a config, is JSON, and trains; `find_preset` takes the nearest one."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.error import DependencyNotInstalled

import rlgames
from rlgames.agents import AGENTS
from rlgames.agents.config import make_config
from rlgames.agents.ppo import PPO, PPOConfig
from rlgames.agents.registry import find
from rlgames.checkpoint.file import config_to_json, weights_sha256
from rlgames.envs.registry import GAMES
from rlgames.envs.task import Task
from rlgames.errors import InvalidValueError
from rlgames.presets import lookup
from rlgames.presets.lookup import BY_GAME, DEFAULTS, PRESETS, find_preset, resolve
from rlgames.presets.preset import Preset
from rlgames.runs.training import Training
from rlgames.wrappers import Pixels, Rewards, TrainingEpisodes

PAIRS = [*PRESETS, *((agent, "Acrobot-v1") for agent in AGENTS)]  # Gymnasium's game takes the defaults


def preset_of(agent: str, game: str) -> Preset:
    return PRESETS.get((agent, game), DEFAULTS[agent])


@pytest.mark.parametrize(("agent", "game"), PAIRS)
def test_preset_makes_a_config_and_a_training(agent: str, game: str) -> None:
    """The training has the preset's values, and resolving it again changes nothing."""
    preset, config_class = preset_of(agent, game), find(agent).Config
    config = make_config(config_class, preset.config)
    assert make_config(config_class, json.loads(json.dumps(preset.config))) == config
    json.dumps(config_to_json(config), allow_nan=False)
    training = Training(agent, game).resolve()
    assert (training.config, training.steps, training.envs) == (config, preset.steps, preset.envs)
    assert training.resolve() == training
    task = resolve(agent, game)[1]
    declared = {name: getattr(preset, name) for name in ("pixels", "rewards", "episodes")}
    assert task == dataclasses.replace(Task.parse(game), **declared)
    assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task


QUICK_UPDATES = {  # fields that bring the first update forward
    "dqn": {"learning_starts": 64},
    "ddqn": {"learning_starts": 64},
    "reinforce": {"n_episodes": 1},
    "ppo": {"n_steps": 16},
    "a3c": {"workers": 1},
}
QUICK_PAIRS = [  # each agent once, each game once
    *(("dqn", "CartPole"), ("ddqn", "CatchBall"), ("reinforce", "CatchBall:size=16"), ("a3c", "Cave")),
    *(("ppo", "Dino:obs=state"), ("random", "Acrobot-v1"), ("dqn", "Pong"), ("ppo", "Mario")),
]


@pytest.mark.parametrize(("agent", "game"), QUICK_PAIRS)
def test_preset_trains(agent: str, game: str) -> None:
    """For one update, which comes early, in few environments."""
    check_first_update(agent, game, QUICK_UPDATES.get(agent, {}), num_envs=2)


@pytest.mark.slow
@pytest.mark.parametrize(("agent", "game"), PAIRS)
def test_preset_trains_as_it_is(agent: str, game: str) -> None:
    """With the preset's config and environments."""
    check_first_update(agent, game, {}, num_envs=None)


def check_first_update(agent: str, game: str, changes: dict[str, Any], num_envs: int | None) -> None:
    """Make the agent as `PPO("Cave")` does, check its settings, train until the first update, and check that."""
    if game == "Pong":
        pytest.importorskip("ale_py")
    if game.startswith("Mario"):
        pytest.importorskip("gym_super_mario_bros")
    preset = preset_of(agent, game)
    config = None if not changes else make_config(find(agent).Config, preset.config | changes)
    played = f"{game}{',' if ':' in game else ':'}patience=9" if game.startswith("Mario") else game
    with find(agent)(played, config, num_envs=num_envs) as learner:
        if learner.envs is not None:  # several workers have environments of their own
            assert learner.envs.num_envs == (num_envs or preset.envs)
        assert learner.config == make_config(find(agent).Config, preset.config | changes)
        assert learner.task is not None
        assert (learner.task.pixels, learner.task.rewards) == (preset.pixels, preset.rewards)
        before = weights_sha256(learner.net.state_dict())
        update = next(update for update in learner.train(preset.steps) if update.scalars or agent == "random")
        assert 0 < update.step <= preset.steps
        assert all(value.isfinite() for value in update.scalars.values())
        has_weights = any(True for _ in learner.net.parameters())
        assert (weights_sha256(learner.net.state_dict()) != before) == has_weights


def test_presets_name_known_agents_and_games() -> None:
    assert set(DEFAULTS) == set(AGENTS)
    for game, presets in BY_GAME.items():
        assert set(presets) <= set(AGENTS)
        assert str(Task.parse(game)) == game
        assert Task.parse(game).game in GAMES


@pytest.mark.parametrize(
    ("agent", "game", "expected"),
    [
        ("ppo", "CatchBall", PRESETS["ppo", "CatchBall"]),
        ("ppo", "rlgames/CatchBall-v0", PRESETS["ppo", "CatchBall"]),
        ("ppo", "CatchBall:size=16", PRESETS["ppo", "CatchBall:size=16"]),
        ("ppo", "CatchBall:size=8", PRESETS["ppo", "CatchBall"]),
        ("ppo", "CatchBall:size=16,frame_skip=2", PRESETS["ppo", "CatchBall:size=16"]),
        ("ppo", "Mario:engine=nes-py,stage=2,world=1,patience=40", PRESETS["ppo", "Mario:world=1,stage=2"]),
        ("ppo", "Mario:stage=1,world=1", PRESETS["ppo", "Mario"]),
        ("dqn", "Mario:world=1,stage=2", PRESETS["dqn", "Mario"]),
        ("ppo", "CartPole-v1", DEFAULTS["ppo"]),  # Gymnasium's, not that of rlgames
        ("registered", "Cave", Preset({}, steps=1_000_000, envs=16)),  # an agent that rlgames does not know
    ],
)
def test_find_preset_takes_the_nearest(agent: str, game: str, expected: Preset) -> None:
    found = find_preset(agent, Task.parse(game))
    assert found == expected
    assert found is expected or agent not in DEFAULTS


def test_given_settings_replace_those_of_the_preset() -> None:
    with PPO("Cave", PPOConfig(n_steps=8), num_envs=3) as agent:
        assert agent.task is not None
        assert (agent.num_envs, agent.config.n_steps) == (3, 8)
        assert agent.task.rewards == PRESETS["ppo", "Cave"].rewards


def test_resolve_keeps_the_preprocessing_of_a_trained_agent() -> None:
    trained = Task("Cave", {}, Pixels(skip=2), Rewards(scale=2.0))
    preset, task = lookup.resolve("ppo", "Cave", trained)
    assert preset is PRESETS["ppo", "Cave"]
    assert task == trained


@pytest.mark.parametrize(("agent", "game"), PAIRS)
def test_preset_is_printed_as_it_is_written(agent: str, game: str) -> None:
    found = rlgames.preset(agent.upper(), game)
    assert found == preset_of(agent, game)
    text = repr(found)
    assert eval(text, {kind.__name__: kind for kind in (Preset, Pixels, Rewards, TrainingEpisodes)}) == found
    for name, value in found.config.items():
        assert f"        {name}={value!r}," in text.splitlines()


def test_preset_of_an_unknown_name_raises() -> None:
    with pytest.raises(InvalidValueError, match="unknown agent 'ppa': did you mean 'ppo'"):
        rlgames.preset("ppa", "CartPole")
    with pytest.raises(InvalidValueError, match="unknown game 'CatPole': did you mean 'CartPole'"):
        rlgames.preset("ppo", "CatPole")


TASKS = [
    *map(Task.parse, [*GAMES, "CatchBall:size=16", "rlgames/Cave-v0", "Acrobot-v1"]),
    Task("Cave", {}, Pixels(crop=(0, 40, 4, 44), size=(20, 20), skip=3, stack=2, scale=True), Rewards(2.0, 0.5)),
]


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_task_round_trips(task: Task) -> None:
    """Through JSON, and without preprocessing of its own through its name."""
    again = Task.from_json(json.loads(json.dumps(task.to_json())))
    assert again == task
    if task.pixels is None:
        assert Task.parse(str(task)) == task


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_task_makes_equal_environments(task: Task) -> None:
    try:
        one, many = task.make(), task.make_vec(2)
    except DependencyNotInstalled as error:
        pytest.skip(str(error))
    try:
        assert one.observation_space == many.single_observation_space
        assert one.action_space == many.single_action_space
        assert many.num_envs == 2
    finally:
        one.close()
        many.close()


def test_task_takes_other_games_from_gymnasium() -> None:
    assert Task.parse("CartPole-v1").make().spec == gym.make("CartPole-v1").spec
    with pytest.raises(ValueError, match="unknown game 'CartPole-v9'"):
        Task.parse("CartPole-v9")
