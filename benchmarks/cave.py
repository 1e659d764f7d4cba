"""Compare observations of Cave: one frame, four, eight, or one and an LSTM; and frame skips.

    .venv/bin/python benchmarks/cave.py [--markdown] [--steps 8_000_000] [--seeds 1] [--variants frame stack4 ...]

PPO with its preset learns from the same number of steps of each variant. A score is the greedy policy's mean over 60
episodes, in frames survived; at frame skip 4 a step is twice as long as at 2. Seconds are those of the whole training.
With the LSTM, importance sampling chooses environments with all their steps instead of single steps. About twenty
minutes on two cores.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import tyro
from side_by_side import progress
from tables import Table

import rlgames
from rlgames.agents.config import make_config
from rlgames.agents.ppo import PPOConfig
from rlgames.envs.task import Task
from rlgames.presets.lookup import find_preset

EPISODES = 60  # of an evaluation


class Variant(NamedTuple):
    title: str
    game: str
    recurrent: bool = False


VARIANTS = {
    "frame": Variant("one frame", "Cave"),
    "stack4": Variant("four frames", "Cave:stack=4"),
    "stack8": Variant("eight frames", "Cave:stack=8"),
    "lstm": Variant("one frame and an LSTM", "Cave", recurrent=True),
    "skip4": Variant("one frame, skip 4", "Cave:frame_skip=4"),
    "skip4-stack4": Variant("four frames, skip 4", "Cave:frame_skip=4,stack=4"),
    "skip4-antialias": Variant("one frame, antialiased, skip 4", "Cave:frame_skip=4,antialias=true"),
}


def train(variant: Variant, steps: int, seed: int) -> tuple[float, float]:
    """Return the mean score after training, and the seconds of training."""
    preset = find_preset("ppo", Task.parse(variant.game))
    config = make_config(PPOConfig, preset.config | {"recurrent": variant.recurrent})
    with rlgames.PPO(variant.game, config, seed=seed, device="cpu") as agent:
        start = perf_counter()
        for update in agent.train(steps):
            progress.print(f"{update.step:,} of {steps:,}", end="\r", highlight=False)
        seconds = perf_counter() - start
        score = rlgames.evaluate(agent, episodes=EPISODES, seed=1_000_000).mean
    progress.print(f"{variant.title}, seed {seed}: {score:,.0f} after {seconds:,.0f} s", highlight=False)
    return score, seconds


def measure(variant: Variant, steps: int, seeds: int) -> tuple[str, ...]:
    """Return the cells of one row."""
    scores, seconds = zip(*(train(variant, steps, seed) for seed in range(seeds)), strict=True)
    extremes = f" ({min(scores):,.0f}–{max(scores):,.0f})" if seeds > 1 else ""
    return variant.title, f"{median(scores):,.0f}{extremes}", f"{median(seconds):,.0f}"


def main(
    steps: int = 8_000_000,
    seeds: int = 1,
    variants: tuple[str, ...] = tuple(VARIANTS),
    markdown: bool = False,
    json: Path | None = None,
) -> None:
    """Train PPO on each variant of Cave.

    Args:
        steps: environment steps, summed over the environments.
        seeds: number of trainings of each, with the seeds 0, 1, ...
        variants: some of frame, stack4, stack8, lstm, skip4, skip4-stack4, skip4-antialias.
        markdown: print the table as Markdown.
        json: write it into this file too, from which the documentation is made.
    """
    Table(
        f"PPO on Cave after {steps:,} steps",
        {"observation": "left", "score": "right", "seconds": "right"},
        [measure(VARIANTS[name], steps, seeds) for name in variants],
        (f"Medians of {seeds} seeds." if seeds > 1 else "One seed.",),
        seeds=range(seeds),
        episodes=EPISODES,
    ).show(markdown, json)


if __name__ == "__main__":
    tyro.cli(main)
