"""How good an agent is: the scores of whole episodes, as the game counts them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from rlgames.agents.base import Agent
from rlgames.agents.registry import load
from rlgames.envs.task import Task
from rlgames.experience.env_runner import Player, vectorised

MOST_PLAYERS = 32  # that evaluate at once


class Episode(NamedTuple):
    score: float
    length: int  # in agent steps
    won: bool | None  # whether it ended at the goal; None: it was cut short, or the game has none


@dataclass(frozen=True)
class Evaluation:
    scores: list[float]  # one an episode, in order of the players and, for each, of time
    lengths: list[int]  # agent steps of each
    capped: int = 0  # episodes cut short by `max_steps`; their scores are those so far
    wins: int | None = None  # episodes that ended at the goal, Mario's flag; None: the game has none

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))

    @property
    def std(self) -> float:
        return float(np.std(self.scores))

    def __str__(self) -> str:
        return (
            f"mean {self.mean:,.1f} +- {self.std:,.1f} over {len(self.scores)} episodes "
            f"(lowest {min(self.scores):,.1f}, highest {max(self.scores):,.1f})"
            + (f", {self.wins} at the goal" if self.wins is not None else "")
        )


def evaluate(
    agent: Agent | str | Path,
    env: str | gym.Env | VectorEnv | None = None,
    *,
    episodes: int = 20,
    seed: int = 0,
    deterministic: bool = True,
    max_steps: int | None = None,
) -> Evaluation:
    """Play `episodes` whole episodes and return their scores.

    `agent` is an agent or a checkpoint's path; `env` a game's name or environments, by default the game that the agent
    was made for. Each player plays the same number of episodes, give or take one, so that short episodes count no more
    than long ones. `max_steps` ends each episode after so many agent steps (None: as the game does).

    Raises ValueError when there is nothing to play, or for episodes < 1 or max_steps < 1.
    """
    for name, value in (("episodes", episodes), ("max_steps", max_steps)):
        if value is not None and value < 1:
            raise ValueError(f"expected {name} >= 1, got {value}")
    agent = agent if isinstance(agent, Agent) else load(agent)
    task, given = task_of(agent, env)
    envs = vectorised(given) if task is None else task.make_vec(min(episodes, MOST_PLAYERS))
    try:
        return play(agent, Player(envs, seed), episodes, deterministic, max_steps)
    finally:
        if task:
            envs.close()


def task_of(agent: Agent, env: Any) -> tuple[Task | None, Any]:
    """What to play: a task, or environments. Raises ValueError when there is nothing."""
    if isinstance(env, str):
        return Task.parse(env).as_learnt(agent.task), None
    if env is None and agent.task is None:
        raise ValueError("this agent was not made from a game's name: say what to play, as the argument env")
    return agent.task if env is None else None, env


def play(agent: Agent, player: Player, episodes: int, deterministic: bool, max_steps: int | None) -> Evaluation:
    """A share of the episodes for each player; those that were cut short go on with the next once nobody else plays."""
    quota = np.full(player.n, episodes // player.n) + (np.arange(player.n) < episodes % player.n)
    played: list[list[Episode]] = [[] for _ in range(player.n)]  # by each player
    capped = 0
    while True:
        more, late = stretch(agent, player, quota - [len(own) for own in played], deterministic, max_steps)
        played, capped = [own + new for own, new in zip(played, more, strict=True)], capped + late
        if sum(map(len, played)) == episodes:
            break
        player.restart()
    every = [episode for own in played for episode in own]
    wins = None if all(one.won is None for one in every) else sum(bool(one.won) for one in every)
    return Evaluation([one.score for one in every], [one.length for one in every], capped, wins)


def stretch(
    agent: Agent, player: Player, left: np.ndarray, deterministic: bool, max_steps: int | None
) -> tuple[list[list[Episode]], int]:
    """Play until each player has ended `left` (n,) episodes or was cut short once, for none can be restarted alone.

    Returns each player's episodes, and how many were cut short.
    """
    episodes: list[list[Episode]] = [[] for _ in left]
    playing, age, capped = left > 0, np.zeros(player.n, np.int64), 0
    state, start = None, np.ones(player.n, np.bool_)
    while playing.any():
        action, state = agent.predict(player.obs, state, start, deterministic)
        step = player.step(action - agent.action_space.start)
        age += step.real
        ended = dict(player.finished)
        late = playing & (age >= max_steps) & ~step.done if max_steps else np.zeros_like(playing)
        for i in np.flatnonzero(late | (step.done & step.real)).tolist():
            if playing[i]:
                won = None if late[i] or player.won is None else bool(player.won[i])
                episodes[i].append(Episode(player.running(i) if late[i] else ended[i], int(age[i]), won))
                playing[i] = not late[i] and len(episodes[i]) < left[i]
            age[i] = 0
        capped += int(late.sum())
        start = step.done
    return episodes, capped
