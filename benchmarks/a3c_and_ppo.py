"""A3C beside PPO, both ours: what the same number of environment steps teaches, and how long that takes.

    .venv/bin/python benchmarks/a3c_and_ppo.py [--markdown] [--seeds 3] [--games CartPole CatchBall Cave]

PPO has its preset, A3C two worker processes and the settings below, found by a few tries. Both learn from the same
rewards. Seconds are those of the whole training, the start of A3C's processes included. A score is the mean of the
greedy policy's scores over 20 episodes. Seeds and both agents take turns. Cave takes about ten minutes a seed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from statistics import median
from time import perf_counter

import tyro
from side_by_side import machine, progress, report

import rlgames
from rlgames.agents.a3c import A3C, A3CConfig
from rlgames.agents.base import Agent
from rlgames.presets import lookup as presets

GAMES: dict[str, tuple[int, int, A3CConfig]] = {  # environment steps, A3C's players, its settings
    "CartPole": (100_000, 8, A3CConfig(learning_rate=3e-3, gamma=0.98, gae_lambda=0.9, entropy=0.0)),
    "CatchBall": (300_000, 16, A3CConfig(learning_rate=2e-3, encoder="vector")),
    "Cave": (1_000_000, 16, A3CConfig(learning_rate=7e-4, entropy=0.003)),
}


def ppo(game: str, seed: int) -> Agent:
    return rlgames.PPO(game, seed=seed, device="cpu")


def a3c(game: str, seed: int) -> A3C:
    _, players, config = GAMES[game]
    agent = A3C(game, config, seed=seed, num_envs=players)
    rewards = presets.preset("ppo", agent.task).rewards
    agent.task = dataclasses.replace(agent.task, rewards=rewards)  # of which the workers make their environments
    return agent


def run(build: Callable[[str, int], Agent], game: str, seed: int) -> tuple[float, float]:
    """Seconds of training, and the mean score after it."""
    agent = build(game, seed)
    start = perf_counter()
    agent.learn(GAMES[game][0])
    seconds = perf_counter() - start
    score = rlgames.evaluate(agent, episodes=20, seed=1_000_000).mean
    if agent.envs:
        agent.envs.close()
    progress.print(f"{agent.name} on {game}, seed {seed}: {score:,.1f} after {seconds:.1f} s", highlight=False)
    return seconds, score


def cells(game: str, seeds: int) -> tuple[str, ...]:
    runs = [(run(a3c, game, seed), run(ppo, game, seed)) for seed in range(seeds)]
    seconds, scores = (list(zip(*([own[i] for own in pair] for pair in runs), strict=True)) for i in (0, 1))
    return (
        *(game, f"{GAMES[game][0]:,}"),
        *(f"{median(side):,.1f} ({min(side):,.1f}–{max(side):,.1f})" for side in (*scores, *seconds)),
    )


def main(seeds: int = 3, games: tuple[str, ...] = tuple(GAMES), markdown: bool = False) -> None:
    """Train both agents on each game.

    Args:
        seeds: how many trainings of each, with the seeds 0, 1, ...
        games: of CartPole, CatchBall, Cave.
        markdown: print a table for a README.
    """
    heads = [f"{what}, {side}" for what in ("score", "seconds") for side in ("A3C", "PPO")]
    report(
        "A3C with two workers beside PPO",
        {"game": "left", **dict.fromkeys(("steps", *heads), "right")},
        [cells(game, seeds) for game in games],
        (f"Medians of {seeds} seeds, in brackets least and greatest.", machine("gymnasium", "numpy", "numba", "torch")),
        markdown,
    )


if __name__ == "__main__":
    tyro.cli(main)
