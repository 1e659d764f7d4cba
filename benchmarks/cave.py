"""What an agent of Cave should see: one frame, four, eight, or one and a memory; and how often it should decide.

    .venv/bin/python benchmarks/cave.py [--markdown] [--steps 8_000_000] [--seeds 1] [--looks frame stack4 ...]

PPO with its preset learns from the same number of steps, each with its own look at the game. A score is the mean of the
greedy policy's over 60 episodes, in columns survived; a step is one decision, so that a step at skip 4 is twice as long
as one at skip 2. Seconds are those of the whole training. With the memory, a row that a pass takes by importance is all
that one player did. About twenty minutes on two cores.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from time import perf_counter

import tyro
from side_by_side import machine, progress, report

import rlgames
from rlgames.envs.task import Task
from rlgames.presets.lookup import preset

LOOKS: dict[str, tuple[str, str, bool]] = {  # what it is called, the game, with a memory
    "frame": ("one frame", "Cave", False),
    "stack4": ("four frames", "Cave:stack=4", False),
    "stack8": ("eight frames", "Cave:stack=8", False),
    "memory": ("one frame and an LSTM", "Cave", True),
    "skip4": ("one frame, skip 4", "Cave:frame_skip=4", False),
    "skip4-stack4": ("four frames, skip 4", "Cave:frame_skip=4,stack=4", False),
    "skip4-antialias": ("one frame, antialiased, skip 4", "Cave:frame_skip=4,antialias=true", False),
}


def train(game: str, memory: bool, steps: int, seed: int) -> tuple[float, float]:
    """Mean score, and seconds of training."""
    config = replace(preset("ppo", Task.parse(game)).config, recurrent=memory)
    agent = rlgames.PPO(game, config, seed=seed, device="cpu")
    start = perf_counter()
    for update in agent.train(steps):
        progress.print(f"{update.step:,} of {steps:,}", end="\r", highlight=False)
    seconds = perf_counter() - start
    score = rlgames.evaluate(agent, episodes=60, seed=1_000_000).mean
    if agent.envs:
        agent.envs.close()
    progress.print(
        f"{game}{' with a memory' * memory}, seed {seed}: {score:,.0f} after {seconds:,.0f} s", highlight=False
    )
    return score, seconds


def row(look: str, steps: int, seeds: int) -> tuple[str, ...]:
    title, game, memory = LOOKS[look]
    scores, seconds = zip(*(train(game, memory, steps, seed) for seed in range(seeds)), strict=True)
    every = f" ({min(scores):,.0f}–{max(scores):,.0f})" if seeds > 1 else ""
    return title, f"{median(scores):,.0f}{every}", f"{median(seconds):,.0f}"


def main(steps: int = 8_000_000, seeds: int = 1, looks: tuple[str, ...] = tuple(LOOKS), markdown: bool = False) -> None:
    """Train PPO on Cave once for each look.

    Args:
        steps: decisions, all players counted.
        seeds: how many trainings of each, with the seeds 0, 1, ...
        looks: of frame, stack4, stack8, memory, skip4, skip4-stack4, skip4-antialias.
        markdown: print a table for a README.
    """
    report(
        f"PPO on Cave after {steps:,} steps",
        {"what it sees": "left", "score": "right", "seconds": "right"},
        [row(look, steps, seeds) for look in looks],
        (
            f"Medians of {seeds} seed{'s' * (seeds > 1)}, 60 episodes each.",
            machine("gymnasium", "numpy", "numba", "torch"),
        ),
        markdown,
    )


if __name__ == "__main__":
    tyro.cli(main)
