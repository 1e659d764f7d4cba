"""Evaluate an agent: the scores of whole episodes, as the game counts them.

The interval of a mean is the percentile bootstrap's (Efron 1979, "Bootstrap methods: another look at the jackknife"):
episodes are drawn with replacement from those that were played, by a generator of fixed seed.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from rlgames.agents.base import Agent
from rlgames.agents.registry import load
from rlgames.envs.task import Task
from rlgames.errors import InvalidTypeError, InvalidValueError, brief
from rlgames.experience.env_runner import EnvRunner, Episode, as_vector_env
from rlgames.networks.threads import torch_threads
from rlgames.values import Count, check_seed, check_value

MAX_ENVS = 32  # stepped at once
EPISODES, FEW_EPISODES = 100, 20  # by default: of a game that Numba compiles, of any other
UNSEEN_SEED = 2_000_000_000  # of the environments by default: neither a training nor its evaluations play from it
RESAMPLES, CONFIDENCE = 10_000, 0.95  # of the bootstrap


class Model(Protocol):
    """An agent, or anything else with its `predict`, such as a model of Stable-Baselines3."""

    def predict(
        self, observation: Any, state: Any = ..., episode_start: Any = ..., deterministic: bool = ...
    ) -> tuple[Any, Any]:
        """Return actions (n,) for observations (n, *shape), and the state for the next call."""
        ...


class Evaluated(NamedTuple):
    episode: Episode
    truncated: bool  # by `max_episode_steps`
    success: bool | None  # whether it ended at the goal; None: it was truncated, or the game has no goal


@dataclass(frozen=True)
class Evaluation:
    """Results of an evaluation, one entry an episode, by environment and then by time."""

    scores: list[float]  # as the game counts
    rewards: list[float]  # sums of the rewards, as the agent gets them
    lengths: list[int]  # agent steps
    capped: int = 0  # episodes truncated by `max_episode_steps`; their scores are those so far
    wins: int | None = None
    """Episodes that ended at the goal: Mario's flag or axe, or the best possible score; None: the game knows none."""

    @property
    def mean(self) -> float:
        """Mean score."""
        return float(np.mean(self.scores))

    @property
    def std(self) -> float:
        """Standard deviation of the scores."""
        return float(np.std(self.scores))

    @cached_property
    def interval(self) -> tuple[float, float]:
        """Ends of the mean's 95% interval, by the bootstrap; the same for the same scores."""
        scores, rng = np.array(self.scores), np.random.default_rng(0)
        means = [scores[rng.integers(len(scores), size=len(scores))].mean() for _ in range(RESAMPLES)]
        low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return float(low), float(high)

    @property
    def median(self) -> float:
        """Median score."""
        return float(np.median(self.scores))

    @property
    def worst_tenth(self) -> float:
        """Mean of the lowest tenth of the scores, rounded up to whole episodes."""
        return float(np.mean(sorted(self.scores)[: math.ceil(len(self.scores) / 10)]))

    @property
    def goal_share(self) -> float | None:
        """Share of the episodes that ended at the goal, None if the game knows none."""
        return None if self.wins is None else self.wins / len(self.scores)

    @property
    def limit_share(self) -> float:
        """Share of the episodes that `max_episode_steps` truncated."""
        return self.capped / len(self.scores)

    def __repr__(self) -> str:
        """Return what a person wants to know; the lists are attributes."""
        return f"<Evaluation: {self}>"

    def __str__(self) -> str:
        low, high = self.interval
        goal = "" if self.wins is None else f", {self.wins} at the goal"
        limit = f", {self.capped} at the step limit" if self.capped else ""
        return (
            f"mean {self.mean:,.1f} (95% {low:,.1f} to {high:,.1f}), median {self.median:,.1f}, "
            f"worst tenth {self.worst_tenth:,.1f}; {len(self.scores)} episodes{goal}{limit}"
        )


def evaluate(
    agent: Model | str | Path,
    env: str | gym.Env | VectorEnv | None = None,
    *,
    episodes: int | None = None,
    seed: int = UNSEEN_SEED,
    deterministic: bool = True,
    max_episode_steps: int | None = None,
) -> Evaluation:
    """Play `episodes` whole episodes and return their scores; None: 100 of a game that Numba compiles, 20 of any other.

    `agent` is an agent, a model of Stable-Baselines3, or the path of a checkpoint; `env` a game's name or environments,
    by default the game that the agent was made for. Each environment plays the same number of episodes, give or take
    one, so that short episodes count no more than long ones. `max_episode_steps` truncates each episode after so many
    agent steps (None: as the game does).

    Environment i starts from `seed` + i. An agent of seed s learned from SEED_STRIDE * s on, in as many environments as
    it had, and `rlgames train` evaluates on others; no seed s below 89,000 gets to the default.

    Raises ValueError if there is nothing to play, or for episodes < 1 or max_episode_steps < 1.
    """
    episodes = check_value("episodes", episodes, Count | None)
    max_episode_steps = check_value("max_episode_steps", max_episode_steps, Count | None)
    seed = check_seed(seed, 2**63 - 1)
    model = as_model(agent)
    task = evaluation_task(model, env)
    if episodes is None:
        episodes = EPISODES if task and task.compiled else FEW_EPISODES
    envs = task.make_vec(min(episodes, MAX_ENVS)) if task else as_vector_env(env)  # pyright: ignore[reportArgumentType]  no name
    try:
        check_observed(model, envs.single_observation_space, env)
        with model_threads(model, envs.num_envs):
            runner = EnvRunner(envs, seed)
            results = play_episodes(model, runner, episodes, deterministic, max_episode_steps)
    finally:
        if task:
            envs.close()
    wins = None
    if runner.best_score is not None or any(result.success is not None for result in results):
        wins = sum(bool(result.success) for result in results)
    return Evaluation(
        [result.episode.score for result in results],
        [result.episode.reward for result in results],
        [result.episode.length for result in results],
        sum(result.truncated for result in results),
        wins,
    )


def as_model(agent: Model | str | Path) -> Model:
    """Return a model as it is, of a checkpoint's path the agent, networks alone. Raises TypeError for anything else."""
    if isinstance(agent, str | Path):
        return load(agent, weights_only=True)
    if isinstance(agent, type) or not callable(getattr(agent, "predict", None)):
        raise InvalidTypeError(
            f"expected an agent, a model with its predict, or the path of a checkpoint, got {brief(agent)}"
        )
    return agent


def model_threads(model: Model, batch: int) -> AbstractContextManager[None]:
    """Give torch the number of threads that suits an agent with `batch` observations at once; leave it to others."""
    return torch_threads(model.suitable_threads(batch) if isinstance(model, Agent) else None)


def check_observed(model: Model, space: gym.Space, env: Any) -> None:
    """Raise ValueError for an environment whose observations have another shape than those that an agent takes."""
    if isinstance(model, Agent) and space.shape != model.observation_space.shape:
        raise InvalidValueError(
            f"{model!r} takes observations of shape {model.observation_space.shape}, "
            f"{env if isinstance(env, str) else brief(env)} has {space.shape}: play the game that it was made for"
        )


def evaluation_task(model: Model, env: Any) -> Task | None:
    """Return the task to play, None if `env` is an environment. Raises ValueError if there is nothing to play."""
    task: Task | None = getattr(model, "task", None)
    if isinstance(env, str):
        return Task.parse(env).as_trained_on(task)
    if env is None and task is None:
        raise InvalidValueError(
            f"{brief(model)} was not made from a game's name: say what to play, as the argument env"
        )
    return task if env is None else None


def play_episodes(
    model: Model, runner: EnvRunner, episodes: int, deterministic: bool, max_episode_steps: int | None
) -> list[Evaluated]:
    """Play the same number of episodes in each environment, give or take one.

    Environments cannot be reset one by one: one whose episode was truncated waits until no other is playing.
    """
    n = runner.num_envs
    quota = np.full(n, episodes // n) + (np.arange(n) < episodes % n)
    results: list[list[Evaluated]] = [[] for _ in range(n)]  # by environment
    while True:
        missing = quota - [len(own) for own in results]
        for own, new in zip(
            results, play_until_truncated(model, runner, missing, deterministic, max_episode_steps), strict=True
        ):
            own += new
        if sum(map(len, results)) == episodes:
            return [result for own in results for result in own]
        runner.restart_episodes()


def play_until_truncated(
    model: Model, runner: EnvRunner, missing: np.ndarray, deterministic: bool, max_episode_steps: int | None
) -> list[list[Evaluated]]:
    """Play until each env has finished its `missing` (num_envs,) episodes or reached max_episode_steps once."""
    results: list[list[Evaluated]] = [[] for _ in missing]
    playing = missing > 0
    state, start = None, np.ones(runner.num_envs, np.bool_)
    while playing.any():
        action, state = model.predict(runner.obs, state, start, deterministic)
        step = runner.step(action - runner.first_action)
        for i, episode in runner.finished:
            if playing[i]:
                success = None if runner.success is None else bool(runner.success[i])
                results[i].append(Evaluated(episode, False, success))
                playing[i] = len(results[i]) < missing[i]
        if max_episode_steps:
            for i in np.flatnonzero(playing & ~step.done).tolist():
                if (episode := runner.running_episode(i)).length >= max_episode_steps:
                    results[i].append(Evaluated(episode, True, None))
                    playing[i] = False
        start = step.done
    return results
