"""Step rates of the games, compared with EnvPool and Gymnasium in one run: steps a second, summed over the envs.

    .venv/bin/python benchmarks/games.py [--markdown] [--rounds 7] [--seconds 0.4]     (make bench; about a minute)

Both sides of a row are made by `gym.make`, `gym.make_vec` or `envpool.make`, as a user makes them, reset in the same
autoreset mode (NEXT_STEP) and take the same random actions, drawn beforehand. They take turns of `--seconds` of nothing
but `step` (a single environment: and `reset` at the end of an episode); the first turn of each does not count. A rate
is the median over the rounds; a ratio is taken within a round, and its median, smallest and largest are shown. A step
that resets an environment counts on both sides; a step with a frame skip is all of its frames.

Threads: EnvPool has one for each core, or `--envpool-threads`. Ours has as many as it chooses, which is one for 1,024
environments of a small game, unless a row says otherwise. EnvPool's Catch-v0 is not our CatchBall: one ball on a board
of 10 x 5 in float32, where ours has up to two on 8 x 8 in uint8.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import tyro
from gymnasium.vector import AutoresetMode
from side_by_side import Benchmark, format_rate, format_ratios, measure_in_turns, progress, steps_per_second
from tables import NONE, Table

from rlgames.engine.vector_env import CORES  # importing anything of rlgames registers its games
from rlgames.envs.registry import parse

MISSING = "pip install envpool"  # the remedy, in place of its rate


@dataclass(frozen=True)
class Row:
    """One row of the table: our game with its options, and the `peer_id` of the library to compare with, if any."""

    game: str
    num_envs: int
    library: Literal["EnvPool", "Gymnasium"] | None = None
    peer_id: str = ""
    note: str = ""
    threads: int | None = None  # of ours; None: its own choice

    @property
    def title(self) -> str:
        return f"{self.game}, {self.note}" if self.note else self.game

    @property
    def peer(self) -> str:
        return f"{self.library} {self.peer_id}" if self.library else NONE


ROWS = (
    Row("CatchBall", 1024, "EnvPool", "Catch-v0"),
    Row("CartPole", 1024, "EnvPool", "CartPole-v1"),
    Row("CartPole", 1024, "Gymnasium", "CartPole-v1", note="vector"),
    Row("CartPole", 1, "Gymnasium", "CartPole-v1", note="single"),
    Row("Cave", 1024, note="pictures, one core", threads=1),
    Row("Cave", 1024, note="pictures, all cores", threads=CORES),
    Row("Dino:obs=state,frame_skip=4", 1024, note="all cores", threads=CORES),
    Row("Dino:frame_skip=4", 1024, note="pictures, all cores", threads=CORES),
    Row("CatchBall", 65536, note="all cores", threads=CORES),
    Row("CartPole", 65536, note="all cores", threads=CORES),
)


def make_ours(row: Row) -> Any:
    name, options = parse(row.game)
    if row.num_envs == 1:
        return gym.make(f"rlgames/{name}-v0", **options)
    options |= {"autoreset_mode": AutoresetMode.NEXT_STEP, "threads": row.threads}
    return gym.make_vec(f"rlgames/{name}-v0", row.num_envs, **options)


def make_gymnasium(row: Row) -> Any:
    """Return Gymnasium's own vector environment, or its single one."""
    if row.num_envs == 1:
        return gym.make(row.peer_id)
    return gym.make_vec(row.peer_id, row.num_envs, vectorization_mode="vector_entry_point")


def make_envpool(row: Row, threads: int) -> Any:
    """Return EnvPool's environment, reset. Raises ImportError where EnvPool is not installed."""
    import envpool  # noqa: PLC0415  optional

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Gymnasium's, on the precision of bounds that EnvPool declares
        envs = envpool.make(row.peer_id, env_type="gymnasium", num_envs=row.num_envs, num_threads=threads, seed=0)
        envs.reset()
    return envs


def random_actions(row: Row, num_actions: int) -> list:
    """Return actions for one pass, a small part of a turn: arrays (num_envs,), or numbers for a single environment."""
    length = min(2048, max(16, 2**17 // row.num_envs))
    shape = (length, row.num_envs) if row.num_envs > 1 else length
    dtype = np.int32 if row.library == "EnvPool" else np.int64  # of EnvPool's and of Gymnasium's action spaces
    return list(np.random.default_rng(0).integers(num_actions, size=shape, dtype=dtype))


def benchmark_vector(envs: Any, actions: Sequence[np.ndarray]) -> Benchmark:
    def step_through() -> int:
        for action in actions:
            _ = envs.step(action)  # kept until the next step, as an agent keeps its observations
        return len(actions) * len(actions[0])

    return lambda seconds: steps_per_second(step_through, seconds)


def benchmark_single(env: gym.Env, actions: Sequence[np.integer]) -> Benchmark:
    def step_through() -> int:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return len(actions)

    return lambda seconds: steps_per_second(step_through, seconds)


def measure(row: Row, rounds: int, seconds: float, envpool_threads: int) -> tuple[str, ...]:
    """Return the cells of one row."""
    envs, peer_rate = [make_ours(row)], NONE
    envs[0].reset(seed=0)
    if row.library == "Gymnasium":
        envs.append(make_gymnasium(row))
        envs[1].reset(seed=0)
    elif row.library == "EnvPool":
        try:
            envs.append(make_envpool(row, envpool_threads))
        except ImportError:
            peer_rate = MISSING
    single = row.num_envs == 1
    space = envs[0].action_space if single else envs[0].single_action_space
    actions = random_actions(row, int(space.n))
    benchmark = benchmark_single if single else benchmark_vector
    rates = measure_in_turns([benchmark(each, actions) for each in envs], rounds, seconds)
    for each in envs:
        each.close()
    our_rate, ratios = format_rate(median(ours for ours, *_ in rates)), NONE
    if len(envs) > 1:
        peer_rate = format_rate(median(peer for _, peer in rates))
        ratios = format_ratios([ours / peer for ours, peer in rates], 1)
    return row.title, f"{row.num_envs:,}", our_rate, row.peer, peer_rate, ratios


def main(
    rounds: int = 7,
    seconds: float = 0.4,
    envpool_threads: int = CORES,
    markdown: bool = False,
    json: Path | None = None,
) -> None:
    """Measure the games and their peers.

    Args:
        rounds: turns of each side; medians are over these.
        seconds: length of a turn.
        envpool_threads: threads of EnvPool.
        markdown: print the table as Markdown.
        json: write it into this file too, from which the documentation is made.
    """
    rows = []
    for row in ROWS:
        progress.print(f"{row.title}, {row.num_envs:,} envs; peer: {row.peer}", style="dim", highlight=False)
        rows.append(measure(row, rounds, seconds, envpool_threads))
    Table(
        "Games: environment steps a second, summed over the environments",
        {
            "what": "left",
            "envs": "right",
            "ours": "right",
            "peer": "left",
            "peer's": "right",
            "ours / peer's": "right",
        },
        rows,
        (f"Medians of {rounds} turns of {seconds:g} s a side. Threads of EnvPool: {envpool_threads}.",),
        ("envpool",),
    ).show(markdown, json)


if __name__ == "__main__":
    tyro.cli(main)
