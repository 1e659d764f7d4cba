"""What a second worker is worth to A3C: environment steps a second with one and with two worker processes.

    .venv/bin/python benchmarks/a3c.py [--markdown] [--rounds 5] [--seconds 4]     (make bench; about five minutes)

Each worker plays as many players as a row says, and learns: what is counted are the steps of whole updates. One worker
is measured twice, in a process of its own, as A3C's workers are, and in this one, as `A3CConfig(workers=1)` runs. Each
has one torch thread. The three take turns; a turn is a new training, whose clock starts when every worker has made its
first update, so that the start of processes is no part of a rate. A rate is the median over the rounds; a ratio is
taken within a round, and its median, least and greatest are shown.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
import tyro
from side_by_side import machine, progress, rate, report, spread

from rlgames.agents.a3c import A3C, A3CConfig
from rlgames.agents.base import Update

END = sys.maxsize  # steps, of a training that is broken off


@dataclass(frozen=True)
class Row:
    game: str
    players: int  # of each worker


ROWS = (Row("CartPole", 1), Row("CartPole", 8), Row("Cave", 1), Row("Cave", 8))


def here(row: Row, seconds: float) -> float:
    agent = A3C(row.game, A3CConfig(workers=1), num_envs=row.players)
    return steps_a_second(agent, agent.alone(END), row, seconds)


def processes(row: Row, seconds: float, workers: int) -> float:
    agent = A3C(row.game, A3CConfig(workers=workers), num_envs=row.players * workers)
    return steps_a_second(agent, agent.together(END), row, seconds)


def steps_a_second(agent: A3C, updates: Generator[Update, None, None], row: Row, seconds: float) -> float:
    began, before, now, after = 0.0, 0, 0.0, 0
    with closing(updates):
        for _ in updates:
            now, after = perf_counter(), agent.shared.updates()
            if not began and (agent.shared.begun > 1).all():
                began, before = now, after
            elif began and now - began >= seconds:
                break
    if agent.envs:
        agent.envs.close()
    return (after - before) * row.players * agent.config.n_steps / (now - began)


def measure(row: Row, rounds: int, seconds: float) -> tuple[str, ...]:
    """The cells of one row."""
    turns = []
    for _ in range(rounds):
        turn = here(row, seconds), processes(row, seconds, 1), processes(row, seconds, 2)
        progress.print(f"{row.game}, {row.players}: {', '.join(map(rate, turn))}", style="dim", highlight=False)
        turns.append(turn)
    return (
        *(row.game, str(row.players)),
        *(rate(median(side)) for side in zip(*turns, strict=True)),
        ratio([two / one for _, one, two in turns]),
        ratio([two / inside for inside, _, two in turns]),
    )


def ratio(ratios: Sequence[float]) -> str:
    return spread(ratios, 2)


def main(rounds: int = 5, seconds: float = 4.0, markdown: bool = False) -> None:
    """Measure A3C with one worker and with two.

    Args:
        rounds: turns of each side; medians are over these.
        seconds: length of a turn, without the start of its processes.
        markdown: print a table for a README.
    """
    torch.set_num_threads(1)
    report(
        "A3C: environment steps a second, played and learnt from, all players counted",
        {
            "game": "left",
            "players a worker": "right",
            "one worker, in-process": "right",
            "1 process": "right",
            "2 processes": "right",
            "2 processes / 1": "right",
            "2 processes / in-process": "right",
        },
        [measure(row, rounds, seconds) for row in ROWS],
        (f"Medians of {rounds} turns of {seconds:g} s a side.", machine("gymnasium", "numpy", "numba", "torch")),
        markdown,
    )


if __name__ == "__main__":
    tyro.cli(main)
