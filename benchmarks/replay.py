"""Throughput of the replay buffer, compared with Stable-Baselines3's in one run: transitions a second.

    .venv/bin/python benchmarks/replay.py [--markdown] [--rounds 9] [--seconds 0.3]     (make bench; about a minute)

Observations are four stacked frames of 84 x 84 bytes; eight environments have filled a buffer of 100,000 transitions.
SB3's buffer stores whole observations, and the next observations either in a second array or, with
optimize_memory_usage, in the next row; ours stores single frames and stacks them when sampling. Both return torch
tensors on the CPU, and both store the same steps, in which an environment's episode ends every 500 steps. The sides
take turns; the first turn of each does not count. A rate is the median over the rounds; a ratio is taken within a
round, and its median, smallest and largest are shown. While one peer is measured the other takes no memory; 7 GB must
be free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from statistics import median

import numpy as np
import stable_baselines3.common.buffers as sb3
import torch
import tyro
from gymnasium.spaces import Box, Discrete
from side_by_side import Benchmark, format_rate, format_ratios, measure_in_turns, progress, steps_per_second
from tables import Table

from rlgames.experience.env_runner import Step
from rlgames.experience.replay import ReplayBuffer

OBSERVATIONS, ACTIONS = Box(0, 255, (4, 84, 84), np.uint8), Discrete(6)
NUM_ENVS = 8
EPISODE_LENGTH = 500  # steps
FRAMES = 128  # different frames: more than any cache holds
CALLS = 32  # between two readings of the clock


def steps() -> Iterator[Step]:
    """Yield steps of all environments, from frames that were made beforehand, without end."""
    rng = np.random.default_rng(0)
    frames = rng.integers(256, size=(FRAMES, NUM_ENVS, 84, 84), dtype=np.uint8)
    obs = [np.stack([frames[t - k] for k in (3, 2, 1, 0)], axis=1) for t in range(FRAMES)]
    actions, rewards = rng.integers(6, size=(FRAMES, NUM_ENVS)), rng.random((FRAMES, NUM_ENVS), dtype=np.float32)
    valid = np.ones(NUM_ENVS, np.bool_)
    for count, t in enumerate(cycle(range(FRAMES))):
        done = (count + np.arange(NUM_ENVS)) % EPISODE_LENGTH == EPISODE_LENGTH - 1
        yield Step(obs[t], actions[t], rewards[t], obs[(t + 1) % FRAMES], done, done, valid)


class Ours:
    def __init__(self, buffer_size: int) -> None:
        self.buffer = ReplayBuffer(buffer_size, NUM_ENVS, OBSERVATIONS, stack=4)
        self.steps, self.rng = steps(), np.random.default_rng(1)
        self.nbytes = self.buffer.nbytes

    def add(self) -> int:
        self.buffer.add(next(self.steps))
        return NUM_ENVS

    def sample(self, batch_size: int) -> int:
        _ = [torch.from_numpy(field) for field in self.buffer.sample(self.rng, batch_size)]
        return batch_size


class Peer:
    def __init__(self, buffer_size: int, optimize_memory_usage: bool) -> None:
        self.buffer = sb3.ReplayBuffer(
            *(buffer_size, OBSERVATIONS, ACTIONS, "cpu", NUM_ENVS),
            optimize_memory_usage=optimize_memory_usage,
            handle_timeout_termination=not optimize_memory_usage,  # SB3 supports only one of the two
        )
        self.steps, self.infos = steps(), [{} for _ in range(NUM_ENVS)]
        self.nbytes = self.buffer.observations.nbytes * (1 if optimize_memory_usage else 2)

    def add(self) -> int:
        step = next(self.steps)
        self.buffer.add(step.obs, step.next_obs, step.action, step.reward, step.done, self.infos)
        return NUM_ENVS

    def sample(self, batch_size: int) -> int:
        _ = self.buffer.sample(batch_size)
        return batch_size


PEERS = {"SB3": False, "SB3, optimize_memory_usage": True}
OPERATIONS: dict[str, Callable[[Ours | Peer], int]] = {  # each returns its transitions
    "sample 32": lambda side: side.sample(32),
    "sample 256": lambda side: side.sample(256),
    "add": lambda side: side.add(),
}


def make_benchmark(operation: Callable[[Ours | Peer], int], side: Ours | Peer) -> Benchmark:
    return lambda seconds: steps_per_second(lambda: sum(operation(side) for _ in range(CALLS)), seconds)


def main(
    rounds: int = 9, seconds: float = 0.3, buffer_size: int = 100_000, markdown: bool = False, json: Path | None = None
) -> None:
    """Measure the replay buffer and its peers.

    Args:
        rounds: turns of each side; medians are over these.
        seconds: length of a turn.
        buffer_size: transitions.
        markdown: print the table as Markdown.
        json: write it into this file too, from which the documentation is made.
    """
    rows, sizes, ours = [], [], Ours(buffer_size)
    for name, optimize_memory_usage in PEERS.items():
        peer = Peer(buffer_size, optimize_memory_usage)
        progress.print(f"filling buffers of {buffer_size:,} transitions; peer: {name}", style="dim", highlight=False)
        for side in (ours, peer):
            for _ in range(buffer_size // NUM_ENVS):
                side.add()
        for title, operation in OPERATIONS.items():
            progress.print(f"{title}; peer: {name}", style="dim", highlight=False)
            rates = measure_in_turns([make_benchmark(operation, side) for side in (ours, peer)], rounds, seconds)
            our_rate, peer_rate = (format_rate(median(side)) for side in zip(*rates, strict=True))
            rows.append((title, our_rate, name, peer_rate, format_ratios([mine / other for mine, other in rates], 1)))
        sizes.append(f"{name} {peer.nbytes / 1e9:.1f} GB")
        del side, peer  # frees the memory before the next peer takes as much
    Table(
        "Replay buffer: transitions a second, observations of 4 x 84 x 84 bytes",
        {"what": "left", "ours": "right", "peer": "left", "peer's": "right", "ours / peer's": "right"},
        rows,
        (
            f"Memory for {buffer_size:,} transitions: ours {ours.nbytes / 1e9:.1f} GB, {', '.join(sizes)}.",
            f"Medians of {rounds} turns of {seconds:g} s a side.",
        ),
        ("stable-baselines3",),
    ).show(markdown, json)


if __name__ == "__main__":
    tyro.cli(main)
