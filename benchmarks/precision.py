"""Throughput of the networks in bfloat16 and in float32 on this processor.

    .venv/bin/python benchmarks/precision.py [--markdown] [--rounds 9] [--seconds 0.3] [--threads 1]

A pass is one batch of observations: the policy's logits (forward), or the gradients of a loss (training). The two
precisions take turns; the first turn of each does not count. A ratio is taken within a round. About two minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
import tyro
from gymnasium.spaces import Box
from side_by_side import Benchmark, format_rate, format_ratios, measure_in_turns, progress, steps_per_second
from tables import Table

from rlgames.networks.models import ActorCritic
from rlgames.networks.precision import choose_precision

ACTIONS = 6
NETWORKS = {  # encoder: shape of its observations
    "grid": (16, 16),
    "cave": (48, 48),
    "nips": (2, 80, 80),
    "mario": (4, 84, 84),
    "nature": (4, 84, 84),
}
PASSES = ("forward", "training")
BATCH_SIZES = (32, 512)
PRECISIONS = ("bfloat16", "float32")


def make_passes(encoder: str, batch_size: int, precision: str) -> dict[str, Callable[[], int]]:
    """Return functions that compute one pass and return the number of observations."""
    space = Box(0, 255, NETWORKS[encoder], np.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = ActorCritic(space, ACTIONS, encoder, ())
    obs = torch.from_numpy(np.random.default_rng(0).integers(256, size=(batch_size, *space.shape), dtype=np.uint8))
    autocast = choose_precision(precision, encoder, space, torch.device("cpu")).autocast

    def forward() -> int:
        with torch.no_grad(), autocast():
            net.logits(obs)
        return batch_size

    def training() -> int:
        with autocast():
            logits, values = net(obs)
        torch.autograd.grad(logits.logsumexp(1).mean() + values.square().mean(), list(net.parameters()))
        return batch_size

    return {"forward": forward, "training": training}


def make_benchmark(compute: Callable[[], int]) -> Benchmark:
    return lambda seconds: steps_per_second(compute, seconds)


def measure(encoder: str, batch_size: int, name: str, rounds: int, seconds: float) -> tuple[str, ...]:
    """Return the cells of one row."""
    progress.print(f"{encoder}, {name}, {batch_size}", highlight=False)
    benchmarks = [make_benchmark(make_passes(encoder, batch_size, precision)[name]) for precision in PRECISIONS]
    rates = measure_in_turns(benchmarks, rounds, seconds)
    medians = (format_rate(median(side)) for side in zip(*rates, strict=True))
    return encoder, name, f"{batch_size}", *medians, format_ratios([half / single for half, single in rates], 2)


def main(
    rounds: int = 9, seconds: float = 0.3, threads: int = 1, markdown: bool = False, json: Path | None = None
) -> None:
    """Measure both precisions.

    Args:
        rounds: turns of each.
        seconds: length of a turn.
        threads: of torch.
        markdown: print the table as Markdown.
        json: write it into this file too, from which the documentation is made.
    """
    torch.set_num_threads(threads)
    Table(
        "Networks: observations a second",
        {
            "encoder": "left",
            "pass": "left",
            "batch": "right",
            "bfloat16": "right",
            "float32": "right",
            "bfloat16 / float32": "right",
        },
        [
            measure(encoder, batch_size, name, rounds, seconds)
            for encoder in NETWORKS
            for name in PASSES
            for batch_size in BATCH_SIZES
        ],
        (f"Medians of {rounds} turns of {seconds:g} s a side. Threads of torch: {threads}.",),
    ).show(markdown, json)


if __name__ == "__main__":
    tyro.cli(main)
