"""How fast the replay is, beside Stable-Baselines3's in one run: transitions a second, sampled and added.

    .venv/bin/python benchmarks/replay.py [--markdown] [--rounds 9] [--seconds 0.3]     (make bench; about a minute)

Observations are four stacked frames of 84 x 84 bytes; eight players have filled a replay of 100,000 transitions. SB3's
keeps whole observations, and what followed them either beside them or, with optimize_memory_usage, in the next row;
ours keeps single frames and stacks them when sampling. Both hand out torch tensors on the CPU, and both get the same
steps to keep, in which an episode ends every 500 steps of a player. The sides take turns, ours, peer, ours, peer; the
first turn of each does not count. A rate is the median over the rounds; a ratio is taken within a round, and its
median, least and greatest are shown. While one peer is measured the other takes no memory; 7 GB must be free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from statistics import median
from time import perf_counter

import numpy as np
import torch
import tyro
from gymnasium.spaces import Box, Discrete
from side_by_side import machine, progress, rate, report, spread
from stable_baselines3.common.buffers import ReplayBuffer

from rlgames.experience.env_runner import Step
from rlgames.experience.replay import ReplayBuffer

SPACE, ACTIONS = Box(0, 255, (4, 84, 84), np.uint8), Discrete(6)
PLAYERS, CAPACITY = 8, 100_000
PASS = 32  # calls between two looks at the clock
EPISODE = 500  # steps of a player

Turn = Callable[[], int]  # does a little work, and returns its transitions


def steps() -> Iterator[Step]:
    """What the players see and do, again and again from 128 frames: longer than any cache, and made beforehand."""
    rng, length = np.random.default_rng(0), 128
    frames = rng.integers(256, size=(length, PLAYERS, 84, 84), dtype=np.uint8)
    stacks = [np.stack([frames[t - k] for k in (3, 2, 1, 0)], axis=1) for t in range(length)]
    action, reward = rng.integers(6, size=(length, PLAYERS)), rng.random((length, PLAYERS), dtype=np.float32)
    real = np.ones(PLAYERS, np.bool_)
    for count, t in enumerate(cycle(range(length))):
        over = (count + np.arange(PLAYERS)) % EPISODE == EPISODE - 1
        yield Step(stacks[t], action[t], reward[t], stacks[(t + 1) % length], over, over, real)


class Ours:
    def __init__(self) -> None:
        self.replay, self.steps, self.rng = ReplayBuffer(CAPACITY, PLAYERS, SPACE, stack=4), steps(), np.random.default_rng(1)
        self.bytes = self.replay.bytes

    def add(self) -> int:
        self.replay.add(next(self.steps))
        return PLAYERS

    def sample(self, rows: int) -> int:
        _ = [torch.from_numpy(field) for field in self.replay.sample(self.rng, rows)]
        return rows


class Theirs:
    def __init__(self, optimize_memory_usage: bool) -> None:
        self.replay = ReplayBuffer(
            *(CAPACITY, SPACE, ACTIONS, "cpu", PLAYERS),
            optimize_memory_usage=optimize_memory_usage,
            handle_timeout_termination=not optimize_memory_usage,  # it does not do both
        )
        self.steps, self.infos = steps(), [{} for _ in range(PLAYERS)]
        self.bytes = self.replay.observations.nbytes * (1 if optimize_memory_usage else 2)

    def add(self) -> int:
        step = next(self.steps)
        self.replay.add(step.obs, step.after, step.action, step.reward, step.done, self.infos)
        return PLAYERS

    def sample(self, rows: int) -> int:
        _ = self.replay.sample(rows)
        return rows


PEERS = {
    "SB3": lambda: Theirs(optimize_memory_usage=False),
    "SB3, optimize_memory_usage": lambda: Theirs(optimize_memory_usage=True),
}
WORK: dict[str, Callable[[Ours | Theirs], Turn]] = {
    "sample 32": lambda side: lambda: side.sample(32),
    "sample 256": lambda side: lambda: side.sample(256),
    "add": lambda side: side.add,
}


def measured(turn: Turn, seconds: float) -> float:
    """Transitions a second, over passes of `PASS` calls that take at least `seconds`."""
    done, start = 0, perf_counter()
    while not done or perf_counter() - start < seconds:
        done += sum(turn() for _ in range(PASS))
    return done / (perf_counter() - start)


def beside(what: str, ours: Ours, name: str, peer: Theirs, rounds: int, seconds: float) -> tuple[str, ...]:
    """The cells of one row."""
    progress.print(f"{what}, beside {name}", style="dim", highlight=False)
    turns = [WORK[what](side) for side in (ours, peer)]
    for turn in turns:
        measured(turn, seconds)
    rates = [[measured(turn, seconds) for turn in turns] for _ in range(rounds)]
    ratios = [mine / theirs for mine, theirs in rates]
    ratio = spread(ratios, 1)
    return what, rate(median(turn[0] for turn in rates)), name, rate(median(turn[1] for turn in rates)), ratio


def main(rounds: int = 9, seconds: float = 0.3, markdown: bool = False) -> None:
    """Measure the replay beside its peers.

    Args:
        rounds: turns of each side; medians are over these.
        seconds: length of a turn.
        markdown: print a table for a README.
    """
    rows, sizes, ours = [], [], Ours()
    for name, make in PEERS.items():
        sides = ours, peer = ours, make()
        progress.print(f"filling {CAPACITY:,} transitions, beside {name}", style="dim", highlight=False)
        for side in sides:
            for _ in range(CAPACITY // PLAYERS):
                side.add()
        rows += [beside(what, ours, name, peer, rounds, seconds) for what in WORK]
        sizes += [f"{name} {peer.bytes / 1e9:.1f} GB"]
    report(
        "ReplayBuffer: transitions a second, observations of 4 x 84 x 84 bytes",
        {"what": "left", "ours": "right", "peer": "left", "peer's": "right", "ours / peer's": "right"},
        rows,
        (
            f"Memory for {CAPACITY:,} transitions: ours {ours.bytes / 1e9:.1f} GB, {', '.join(sizes)}.",
            f"Medians of {rounds} turns of {seconds:g} s a side.",
            machine("numpy", "numba", "torch", "stable-baselines3"),
        ),
        markdown,
    )


if __name__ == "__main__":
    tyro.cli(main)
