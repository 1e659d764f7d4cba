"""How good an agent is: the scores of whole episodes, as the game counts them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from rlgames.agents.base import Agent, load
from rlgames.agents.player import Player, vectorised
from rlgames.envs.task import Task

MOST_PLAYERS = 32  # that evaluate at once


@dataclass(frozen=True)
class Evaluation:
    scores: list[float]  # one an episode, in order of the players and, for each, of time
    lengths: list[int]  # agent steps of each
    capped: int = 0  # episodes cut short by `max_steps`; their scores are those so far

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

    Raises ValueError when there is nothing to play, or for episodes < 1.
    """
    if episodes < 1:
        raise ValueError(f"expected episodes >= 1, got {episodes}")
    agent = agent if isinstance(agent, Agent) else load(agent)
    own = env is None or isinstance(env, str)
    envs = environments(agent, env, min(episodes, MOST_PLAYERS))
    try:
        return play(agent, Player(envs, seed), episodes, deterministic, max_steps)
    finally:
        if own:
            envs.close()


def environments(agent: Agent, env: str | gym.Env | VectorEnv | None, players: int) -> VectorEnv:
    if env is None and agent.task is None:
        raise ValueError("this agent was not made from a game's name: say what to play, evaluate(agent, env)")
    if env is None:
        return agent.task.make_vec(players)
    return Task.parse(env).make_vec(players) if isinstance(env, str) else vectorised(env)


def play(agent: Agent, player: Player, episodes: int, deterministic: bool, max_steps: int | None) -> Evaluation:
    quota = np.full(player.n, episodes // player.n) + (np.arange(player.n) < episodes % player.n)
    scores: list[list[float]] = [[] for _ in range(player.n)]
    lengths: list[list[int]] = [[] for _ in range(player.n)]
    age, capped = np.zeros(player.n, np.int64), 0
    state, start = None, np.ones(player.n, np.bool_)
    while any(len(own) < most for own, most in zip(scores, quota, strict=True)):
        action, state = agent.predict(player.obs, state, start, deterministic)
        step = player.step(action - agent.action_space.start)
        age += step.real
        ended = dict(player.finished)
        if max_steps is not None:
            late = [i for i in np.flatnonzero(age >= max_steps) if i not in ended and len(scores[i]) < quota[i]]
            ended |= {int(i): player.running(int(i)) for i in late}
            capped += len(late)
            quota[late] = [len(scores[i]) + 1 for i in late]  # a player that was cut short is not restarted
        for i, score in ended.items():
            if len(scores[i]) < quota[i]:
                scores[i].append(score)
                lengths[i].append(int(age[i]))
            age[i] = 0
        start = step.done
    return Evaluation([s for own in scores for s in own], [n for own in lengths for n in own], capped)
