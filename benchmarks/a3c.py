"""Speedup of A3C by a second worker: environment steps a second with one and with two worker processes.

    .venv/bin/python benchmarks/a3c.py [--markdown] [--rounds 5] [--seconds 4]     (make bench; about five minutes)

Each worker steps as many environments as a row says, and learns; the steps of whole updates are counted. One worker is
measured twice: in a process of its own, as several workers are, and in this process, as `A3CConfig(workers=1)` runs.
Each has one torch thread. The three take turns; a turn is a new training, whose clock starts when every worker has made
its first update, so that the start of the processes is not counted. A rate is the median over the rounds; a ratio is
taken within a round, and its median, smallest and largest are shown.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
import tyro
from side_by_side import format_rate, format_ratios, progress
from tables import Table

from rlgames.agents.a3c import A3C, A3CConfig
from rlgames.agents.base import Update

TOTAL_TIMESTEPS = sys.maxsize  # of a training that is stopped by the clock


@dataclass(frozen=True)
class Row:
    game: str
    num_envs: int  # of each worker


ROWS = (Row("CartPole", 1), Row("CartPole", 8), Row("Cave", 1), Row("Cave", 8))


def in_process(row: Row, seconds: float) -> float:
    agent = A3C(row.game, A3CConfig(workers=1), num_envs=row.num_envs)
    return measure_rate(agent, agent.train_alone(TOTAL_TIMESTEPS), row, seconds)


def in_processes(row: Row, seconds: float, workers: int) -> float:
    agent = A3C(row.game, A3CConfig(workers=workers), num_envs=row.num_envs * workers)
    return measure_rate(agent, agent.train_with_workers(TOTAL_TIMESTEPS), row, seconds)


def measure_rate(agent: A3C, updates: Iterator[Update], row: Row, seconds: float) -> float:
    """Train for `seconds` after the first update of every worker; return environment steps a second."""
    start, first, now, last = 0.0, 0, 0.0, 0  # times, and the number of updates at these times
    with agent, closing(updates):  # pyright: ignore[reportArgumentType]  a generator
        for _ in updates:
            now, last = perf_counter(), agent.shared.num_updates()
            if not start and (agent.shared.started > 1).all():
                start, first = now, last
            elif start and now - start >= seconds:
                break
    return (last - first) * row.num_envs * agent.config.n_steps / (now - start)


def measure(row: Row, rounds: int, seconds: float) -> tuple[str, ...]:
    """Return the cells of one row."""
    rates = []
    for _ in range(rounds):
        rates.append((in_process(row, seconds), in_processes(row, seconds, 1), in_processes(row, seconds, 2)))
        cells = ", ".join(map(format_rate, rates[-1]))
        progress.print(f"{row.game}, {row.num_envs} envs a worker: {cells}", style="dim", highlight=False)
    return (
        *(row.game, str(row.num_envs)),
        *(format_rate(median(side)) for side in zip(*rates, strict=True)),
        format_ratios([two / one for _, one, two in rates], 2),
        format_ratios([two / inside for inside, _, two in rates], 2),
    )


def main(rounds: int = 5, seconds: float = 4.0, markdown: bool = False, json: Path | None = None) -> None:
    """Measure A3C with one worker and with two.

    Args:
        rounds: turns of each side; medians are over these.
        seconds: length of a turn, without the start of its processes.
        markdown: print the table as Markdown.
        json: write it into this file too, from which the documentation is made.
    """
    torch.set_num_threads(1)
    Table(
        "A3C: environment steps a second while learning, summed over the environments",
        {
            "game": "left",
            "envs a worker": "right",
            "one worker, in-process": "right",
            "1 process": "right",
            "2 processes": "right",
            "2 processes / 1": "right",
            "2 processes / in-process": "right",
        },
        [measure(row, rounds, seconds) for row in ROWS],
        (f"Medians of {rounds} turns of {seconds:g} s a side.",),
    ).show(markdown, json)


if __name__ == "__main__":
    tyro.cli(main)
