"""Settings that work: for each agent and game the config, the number of players, and the length of a whole training.

The presets of a game are in the module of its name; here is what they are looked up by.
"""

from __future__ import annotations

from rlgames.agents.a3c import A3CConfig
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.agents.random import RandomConfig
from rlgames.agents.registry import AGENTS, find
from rlgames.agents.reinforce import REINFORCEConfig
from rlgames.envs.task import Task
from rlgames.presets import cart_pole, catch_ball, cave, dino, mario, pong
from rlgames.presets.pong import BALL_AND_BATS
from rlgames.presets.preset import Preset

__all__ = ["BALL_AND_BATS", "BY_GAME", "DEFAULTS", "PRESETS", "Preset", "Task", "preset", "settle"]

BY_GAME: dict[str, dict[str, Preset]] = {
    "CartPole": cart_pole.PRESETS,
    "CatchBall": catch_ball.SMALL,
    "CatchBall:size=16": catch_ball.LARGE,
    "Cave": cave.PRESETS,
    "Mario": mario.PRESETS,
    "Mario:world=1,stage=2": mario.DEAD_ENDS,
    "Dino": dino.PICTURES,
    "Dino:obs=state": dino.STATE,
    "Pong": pong.PRESETS,
}
PRESETS: dict[tuple[str, str], Preset] = {
    (agent, game): presets[agent] for agent in AGENTS for game, presets in BY_GAME.items() if agent in presets
}
DEFAULTS: dict[str, Preset] = {
    "dqn": Preset(DQNConfig(), steps=1_000_000, envs=8),
    "ddqn": Preset(DQNConfig(), steps=1_000_000, envs=8),
    "reinforce": Preset(REINFORCEConfig(baseline=True), steps=1_000_000, envs=16),
    "a3c": Preset(A3CConfig(), steps=1_000_000, envs=16),
    "ppo": Preset(PPOConfig(), steps=1_000_000, envs=16),
    "random": Preset(RandomConfig(), steps=100_000, envs=16),
}


def preset(agent: str, task: Task) -> Preset:
    """The one that shares most of the task's options and asks for no others, else the agent's defaults."""
    kind, known = find(agent), {game: Task.parse(game) for name, game in PRESETS if name == agent}
    fitting = [g for g, t in known.items() if t.game == task.game and t.options.items() <= task.options.items()]
    if fitting:
        return PRESETS[agent, max(fitting, key=lambda game: len(known[game].options))]
    return DEFAULTS.get(agent) or Preset(kind.Config(), steps=1_000_000, envs=16)  # else an agent from elsewhere


def settle(agent: str, game: str, own: Task | None = None) -> tuple[Preset, Task]:
    """What `Agent(game)` means: the settings, and the game as the agent meets it.

    `own` is the task of an agent that has learnt already; see `Task.as_learnt`.
    """
    task = Task.parse(game)
    chosen = preset(agent, task)
    return chosen, Task(task.game, task.options, chosen.pixels, chosen.rewards).as_learnt(own)
