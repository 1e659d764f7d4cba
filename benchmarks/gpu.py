"""PPO on Pong on a GPU: seconds from the start of the process to a mean of 18, and steps a second.

    python benchmarks/gpu.py [--seeds 3] [--envs 32] [--steps 1_500_000] [--device cuda] [--json FILE]

Each seed trains in a process of its own, with the preset. The clock starts before the process does, so that imports,
the start of the GPU and compilation count. It stops at the first of the policies kept every `--keep` steps whose greedy
mean over 100 games is 18 or more; the games are played after the training and do not count.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from time import monotonic
from typing import Any

import tyro
from side_by_side import format_rate, progress
from tables import Table

import rlgames

SOLVED, GAMES, SEED = 18, 100, 1_000_000
HOPEFUL = 14  # mean of the last 30 games of training, played by chance, from which policies are tried


@dataclass(frozen=True)
class Options:
    seeds: int = 3
    envs: int = 32
    steps: int = 1_500_000
    keep: int = 100_000  # steps between two policies that are tried
    device: str = "cuda"
    json: Path | None = None  # the table is written into this file too
    markdown: bool = False


def train(seed: int, options: Options, started: float, folder: str) -> dict[str, Any]:
    """Train to the end; return steps and seconds of the first policy with a mean of 18, and rates."""
    agent = rlgames.PPO("Pong", seed=seed, device=options.device, num_envs=options.envs)
    kept: list[tuple[int, float, float, Path]] = []  # step, seconds, mean of training, file
    scores: list[float] = []
    first: float | None = None
    for update in agent.train(options.steps):
        first = first or monotonic()
        scores += update.scores
        if update.step >= (len(kept) + 1) * options.keep or update.step >= options.steps:
            path = Path(folder) / f"{seed}-{update.step}"
            agent.save(path)
            kept.append((update.step, monotonic() - started, fmean(scores[-30:] or [-21.0]), path))
    seconds = monotonic() - started
    result: dict[str, Any] = {
        "seed": seed,
        "seconds": seconds,
        "first_update": (first or monotonic()) - started,
        "steps_per_second": options.steps / (monotonic() - (first or 0.0)),
        "training": [(step, round(at, 1), round(mean, 2)) for step, at, mean, _ in kept],
        "solved": None,
    }
    for step, at, mean, path in kept:
        if mean < HOPEFUL and step < options.steps:
            continue
        played = rlgames.evaluate(rlgames.load(path, weights_only=True), episodes=GAMES, seed=SEED)
        result["last"] = {"step": step, "mean": played.mean}
        if played.mean >= SOLVED:
            result["solved"] = {"step": step, "seconds": at, "mean": played.mean}
            break
    return result


def main(options: Options) -> None:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            with get_context("spawn").Pool(1) as pool:
                results.append(pool.apply(train, (seed, options, monotonic(), folder)))
            progress.print(json.dumps(results[-1]))
    rows = [
        [
            str(r["seed"]),
            f"{r['solved']['step']:,}" if r["solved"] else "not solved",
            f"{r['solved']['seconds']:.0f}" if r["solved"] else "",
            f"{(r['solved'] or r['last'])['mean']:.1f}",
            format_rate(r["steps_per_second"]),
        ]
        for r in results
    ]
    heads = ("seed", "steps to 18", "seconds to 18", "mean of 100 games", "steps/s")
    Table(
        "PPO on Pong, from the start of the process",
        dict.fromkeys(heads, "right"),
        rows,
        (f"{options.envs} environments, {options.steps:,} steps.",),
        ("ale-py",),
        seeds=range(options.seeds),
        episodes=GAMES,
        values=results,
    ).show(options.markdown, options.json)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
