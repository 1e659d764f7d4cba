"""Every preset can be made, said as JSON, and trained."""

from __future__ import annotations

import json
from dataclasses import replace

import gymnasium as gym
import pytest

from rlgames.agents.ppo import PPOConfig
from rlgames.agents.registry import AGENTS, find
from rlgames.checkpoint.file import plain, weights_sha256
from rlgames.envs.registry import GAMES
from rlgames.envs.task import Task
from rlgames.presets import lookup as presets
from rlgames.presets.lookup import BY_GAME, DEFAULTS, PRESETS
from rlgames.runs.training import Training
from rlgames.wrappers import Pixels, Rewards

SOONER = {
    "dqn": {"learning_starts": 64},
    "ddqn": {"learning_starts": 64},
    "reinforce": {"episodes": 1},
    "ppo": {"n_steps": 64},
}
CASES = [*PRESETS, *((agent, "Acrobot-v1") for agent in AGENTS)]


@pytest.mark.parametrize(("agent", "game"), CASES)
def test_a_preset_plays_and_learns(agent: str, game: str):
    """Constructed with the preset's own settings, as `PPO("Cave")` does, and trained for one update."""
    preset = PRESETS.get((agent, game), DEFAULTS[agent])
    made = find(agent)(game)
    assert made.envs is not None
    assert (made.config, made.envs.num_envs) == (preset.config, preset.envs)
    assert made.task == replace(Task.parse(game), pixels=preset.pixels, rewards=preset.rewards)
    assert Task.from_json(json.loads(json.dumps(made.task.to_json()))) == made.task
    json.dumps(plain(made.config), allow_nan=False)
    if game.startswith("Mario"):  # whose emulator makes a few hundred frames a second
        made.envs.close()
        impatient = f"{game}{',' if ':' in game else ':'}patience=9"
        made = find(agent)(impatient, replace(preset.config, **SOONER.get(agent, {})), num_envs=1)
    before = weights_sha256(made.net.state_dict())
    update = next(made.train(preset.steps))
    assert 0 < update.step <= preset.steps
    assert all(value.isfinite() for value in update.scalars.values())
    assert (weights_sha256(made.net.state_dict()) != before) == any(True for _ in made.net.parameters())


@pytest.mark.parametrize(("agent", "game"), CASES)
def test_a_preset_fills_a_training(agent: str, game: str):
    preset, training = PRESETS.get((agent, game), DEFAULTS[agent]), Training(agent, game).filled()
    assert (training.config, training.steps, training.envs) == (preset.config, preset.steps, preset.envs)
    assert isinstance(preset.config, find(agent).Config)
    assert training.filled() == training


def test_presets_are_of_agents_and_games_that_there_are():
    assert set(DEFAULTS) == set(AGENTS)
    for game, found in BY_GAME.items():
        assert set(found) <= set(AGENTS)
        assert str(Task.parse(game)) == game
        assert Task.parse(game).game in GAMES


def test_the_nearest_preset_is_taken():
    assert presets.preset("ppo", Task.parse("CatchBall")) is PRESETS["ppo", "CatchBall"]
    assert presets.preset("ppo", Task.parse("rlgames/CatchBall-v0")) is PRESETS["ppo", "CatchBall"]
    assert presets.preset("ppo", Task.parse("CatchBall:size=16")) is PRESETS["ppo", "CatchBall:size=16"]
    assert presets.preset("ppo", Task.parse("CatchBall:size=8")) is PRESETS["ppo", "CatchBall"]
    assert presets.preset("ppo", Task.parse("CatchBall:size=16,frame_skip=2")) is PRESETS["ppo", "CatchBall:size=16"]
    level = PRESETS["ppo", "Mario:world=1,stage=2"]
    assert presets.preset("ppo", Task.parse("Mario:engine=retro,stage=2,world=1,patience=40")) is level
    assert presets.preset("ppo", Task.parse("Mario:stage=1,world=1")) is PRESETS["ppo", "Mario"]
    assert presets.preset("dqn", Task.parse("Mario:world=1,stage=2")) is PRESETS["dqn", "Mario"]
    assert presets.preset("ppo", Task.parse("CartPole-v1")) is DEFAULTS["ppo"]  # Gymnasium's, not ours
    with pytest.raises(ValueError, match="no agent is called 'sarsa'"):
        presets.preset("sarsa", Task.parse("Cave"))


def test_settings_may_be_given_over_the_presets():
    agent = find("ppo")("Cave", PPOConfig(n_steps=8), num_envs=3)
    assert agent.task is not None
    assert (agent.num_envs, agent.config.n_steps) == (3, 8)
    assert agent.task.rewards == PRESETS["ppo", "Cave"].rewards


TASKS = [
    *map(Task.parse, [*GAMES, "CatchBall:size=16", "rlgames/Cave-v0", "Acrobot-v1"]),
    Task("Cave", {}, Pixels(crop=(0, 40, 4, 44), size=(20, 20), skip=3, stack=2, scale=True), Rewards(2.0, 0.5)),
]


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_tasks_round_trip(task: Task):
    """Through JSON, and for those of no other pixels and rewards through their name."""
    again = Task.from_json(json.loads(json.dumps(task.to_json())))
    assert again == task
    if task.pixels is None:
        assert Task.parse(str(task)) == task
    one, several = task.make(), again.make_vec(2)
    assert one.observation_space == several.single_observation_space
    assert one.action_space == several.single_action_space
    assert several.num_envs == 2
    one.close(), several.close()


def test_foreign_games_are_taken_from_gymnasium():
    assert Task.parse("CartPole-v1").make().spec == gym.make("CartPole-v1").spec
    with pytest.raises(ValueError, match="no game is called 'CartPole-v9'"):
        Task.parse("CartPole-v9")
