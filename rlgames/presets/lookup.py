"""Find the preset of an agent on a game."""

from __future__ import annotations

from dataclasses import replace

from rlgames.envs.task import Task
from rlgames.presets import cart_pole, catch_ball, cave, dino, mario, pong
from rlgames.presets.preset import Preset

BY_GAME: dict[str, dict[str, Preset]] = {
    "CartPole": cart_pole.PRESETS,
    "CatchBall": catch_ball.SMALL,
    "CatchBall:size=16": catch_ball.LARGE,
    "Cave": cave.PRESETS,
    "Mario": mario.PRESETS,
    "Mario:world=1,stage=2": mario.DEAD_ENDS,
    "Mario:obs=ram": mario.for_memory(mario.PRESETS),
    "Mario:obs=tiles": mario.for_memory(mario.PRESETS),
    "Mario:world=1,stage=2,obs=ram": mario.for_memory(mario.DEAD_ENDS),
    "Mario:world=1,stage=2,obs=tiles": mario.for_memory(mario.DEAD_ENDS),
    "Dino": dino.PICTURES,
    "Dino:obs=state": dino.STATE,
    "Pong": pong.PRESETS,
}
DEFAULTS: dict[str, Preset] = {  # on other games, by agent
    "dqn": Preset({}, steps=1_000_000, envs=8),
    "ddqn": Preset({}, steps=1_000_000, envs=8),
    "reinforce": Preset({"baseline": True}, steps=1_000_000, envs=16),
    "a3c": Preset({}, steps=1_000_000, envs=16),
    "ppo": Preset({}, steps=1_000_000, envs=16),
    "random": Preset({}, steps=100_000, envs=16),
}
PRESETS: dict[tuple[str, str], Preset] = {
    (agent, game): presets[agent] for agent in DEFAULTS for game, presets in BY_GAME.items() if agent in presets
}


def find_preset(agent: str, task: Task) -> Preset:
    """Return the preset that shares most of the task's options and needs no others, else the agent's default."""
    tasks = {game: Task.parse(game) for name, game in PRESETS if name == agent}
    fitting = [g for g, t in tasks.items() if t.game == task.game and t.options.items() <= task.options.items()]
    if fitting:
        return PRESETS[agent, max(fitting, key=lambda game: len(tasks[game].options))]
    return DEFAULTS.get(agent) or Preset({}, steps=1_000_000, envs=16)  # of a registered agent


def resolve(agent: str, game: str, trained: Task | None = None, preset: Preset | None = None) -> tuple[Preset, Task]:
    """Return the preset of an agent on the game of this name, and the task with the preset's preprocessing.

    `trained` is the task of an agent that was trained already; see `Task.as_trained_on`. `preset` takes the place of
    that of the game.
    """
    task = Task.parse(game)
    preset = preset or find_preset(agent, task)
    return preset, replace(task, pixels=preset.pixels, rewards=preset.rewards, episodes=preset.episodes).as_trained_on(
        trained
    )
