"""What bfloat16 gains over float32 on this processor, for each of the networks.

    .venv/bin/python benchmarks/precision.py [--markdown] [--rounds 9] [--seconds 0.3] [--threads 1]

A pass is what agents do with a batch: the policy of what players see (forward), or the gradients of a loss (training).
The two sides take turns; the first turn of each does not count. A ratio is taken within a round. About two minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import torch
import tyro
from gymnasium.spaces import Box
from side_by_side import machine, progress, rate, report, spread

from rlgames.networks.models import ActorCritic
from rlgames.networks.precision import arithmetic

ACTIONS = 6
NETWORKS = {  # encoder: the observations it is for
    "grid": (16, 16),
    "cave": (48, 48),
    "nips": (2, 80, 80),
    "mario": (4, 84, 84),
    "nature": (4, 84, 84),
}
PASSES = ("forward", "training")
BATCHES = (32, 512)


def passes(encoder: str, batch: int, precision: str) -> dict[str, Callable[[], object]]:
    """Functions that make one pass each."""
    space = Box(0, 255, NETWORKS[encoder], np.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = ActorCritic(space, ACTIONS, encoder, ())
    obs = torch.from_numpy(np.random.default_rng(0).integers(256, size=(batch, *space.shape), dtype=np.uint8))
    context = arithmetic(precision, encoder, space, torch.device("cpu"))

    def forward() -> None:
        with torch.no_grad(), context():
            net.logits(obs)

    def training() -> None:
        with context():
            logits, value = net(obs)
        torch.autograd.grad(logits.logsumexp(1).mean() + value.square().mean(), list(net.parameters()))

    return {"forward": forward, "training": training}


def turn(one: Callable[[], object], batch: int, seconds: float) -> float:
    """Samples a second."""
    count, start = 0, perf_counter()
    while (taken := perf_counter() - start) < seconds:
        one()
        count += 1
    return count * batch / taken


def row(encoder: str, batch: int, what: str, rounds: int, seconds: float) -> tuple[str, ...]:
    progress.print(f"{encoder}, {what}, {batch}", highlight=False)
    sides = [passes(encoder, batch, precision)[what] for precision in ("bfloat16", "float32")]
    rates = [[turn(side, batch, seconds) for side in sides] for _ in range(rounds + 1)][1:]
    half, single = (median(column) for column in zip(*rates, strict=True))
    return encoder, what, f"{batch}", rate(half), rate(single), spread([a / b for a, b in rates], 2)


def main(rounds: int = 9, seconds: float = 0.3, threads: int = 1, markdown: bool = False) -> None:
    """Measure both.

    Args:
        rounds: turns of each side.
        seconds: of each turn.
        threads: of torch.
        markdown: print a table for a README.
    """
    torch.set_num_threads(threads)
    report(
        "Samples a second through the networks",
        {
            "encoder": "left",
            "pass": "left",
            "batch": "right",
            "bfloat16": "right",
            "float32": "right",
            "bfloat16 / float32": "right",
        },
        [row(encoder, batch, what, rounds, seconds) for encoder in NETWORKS for what in PASSES for batch in BATCHES],
        (f"Torch's threads: {threads}.", machine("numpy", "torch")),
        markdown,
    )


if __name__ == "__main__":
    tyro.cli(main)
