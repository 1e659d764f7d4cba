"""A3C compared with PPO, both ours: the score after the same number of environment steps, and the seconds it took.

    .venv/bin/python benchmarks/a3c_and_ppo.py [--markdown] [--seeds 3] [--games CartPole CatchBall Cave]

PPO has its preset, A3C two worker processes and the settings below, found by a few trials. Both learn from the same
rewards. Seconds are those of the whole training, the start of A3C's processes included. A score is the greedy policy's
mean over 20 episodes. Both agents take turns, seed by seed. Cave takes about ten minutes a seed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import tyro
from side_by_side import progress
from tables import Table

import rlgames
from rlgames.agents.a3c import A3C, A3CConfig
from rlgames.agents.base import Agent
from rlgames.presets.lookup import find_preset

EPISODES = 20  # of an evaluation


class Settings(NamedTuple):
    total_timesteps: int
    num_envs: int  # A3C's
    config: A3CConfig


GAMES = {
    "CartPole": Settings(100_000, 8, A3CConfig(learning_rate=3e-3, gamma=0.98, gae_lambda=0.9, ent_coef=0.0)),
    "CatchBall": Settings(300_000, 16, A3CConfig(learning_rate=2e-3, encoder="vector")),
    "Cave": Settings(1_000_000, 16, A3CConfig(learning_rate=7e-4, ent_coef=0.003)),
}


def make_ppo(game: str, seed: int) -> Agent:
    return rlgames.PPO(game, seed=seed, device="cpu")


def make_a3c(game: str, seed: int) -> A3C:
    agent = A3C(game, GAMES[game].config, seed=seed, num_envs=GAMES[game].num_envs)
    assert agent.task is not None  # made from a game's name
    rewards = find_preset("ppo", agent.task).rewards
    agent.task = dataclasses.replace(agent.task, rewards=rewards)  # the workers make their environments from it
    return agent


def train(make_agent: Callable[[str, int], Agent], game: str, seed: int, steps: int) -> tuple[float, float]:
    """Return the mean score after training, and the seconds of training."""
    with make_agent(game, seed) as agent:
        start = perf_counter()
        agent.learn(steps)
        seconds = perf_counter() - start
        score = rlgames.evaluate(agent, episodes=EPISODES, seed=1_000_000).mean
    progress.print(f"{agent.name} on {game}, seed {seed}: {score:,.1f} after {seconds:.1f} s", highlight=False)
    return score, seconds


def measure(game: str, seeds: int, steps: int | None) -> tuple[str, ...]:
    """Return the cells of one row."""
    steps = GAMES[game].total_timesteps if steps is None else steps
    runs = [(train(make_a3c, game, seed, steps), train(make_ppo, game, seed, steps)) for seed in range(seeds)]
    (a3c_scores, a3c_seconds), (ppo_scores, ppo_seconds) = (zip(*side, strict=True) for side in zip(*runs, strict=True))
    columns = a3c_scores, ppo_scores, a3c_seconds, ppo_seconds
    return (
        *(game, f"{steps:,}"),
        *(f"{median(column):,.1f} ({min(column):,.1f}–{max(column):,.1f})" for column in columns),
    )


def main(
    seeds: int = 3,
    games: tuple[str, ...] = tuple(GAMES),
    steps: int | None = None,
    markdown: bool = False,
    json: Path | None = None,
) -> None:
    """Train both agents on each game.

    Args:
        seeds: number of trainings of each, with the seeds 0, 1, ...
        games: some of CartPole, CatchBall, Cave.
        steps: environment steps of each training; None: the game's own number.
        markdown: print the table as Markdown.
        json: write it into this file too, from which the documentation is made.
    """
    heads = [f"{quantity}, {agent}" for quantity in ("score", "seconds") for agent in ("A3C", "PPO")]
    Table(
        "A3C with two workers, and PPO",
        {"game": "left", **dict.fromkeys(("steps", *heads), "right")},
        [measure(game, seeds, steps) for game in games],
        (f"Medians of {seeds} seeds, in brackets smallest and largest.",),
        seeds=range(seeds),
        episodes=EPISODES,
    ).show(markdown, json)


if __name__ == "__main__":
    tyro.cli(main)
