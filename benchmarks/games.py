"""How fast the games are, beside EnvPool and Gymnasium in one run: environment steps a second, all players counted.

    .venv/bin/python benchmarks/games.py [--markdown] [--rounds 7] [--seconds 0.4]     (make bench; about a minute)

Both sides of a row are made by `gym.make`, `gym.make_vec` or `envpool.make`, as a user makes them, restart in the same
mode (NEXT_STEP) and play the same random actions, drawn beforehand. They take turns, ours, peer, ours, peer. A turn is
`--seconds` of nothing but `step` (one player: and `reset` when an episode is over); the first turn of each side, in
which code is compiled and caches are filled, does not count. A rate is the median over the rounds; a ratio is taken
within a round, and its median, least and greatest are shown. A step in which a player restarts counts on both sides;
one of a row with a frame_skip is all of its frames.

Threads: EnvPool has one for each core, or `--envpool-threads`. Ours takes as many as it chooses, which is one for 1,024
players of a small game, except where a row says otherwise. EnvPool's Catch-v0 is not our CatchBall: one ball on a board
of 10 x 5 in float32, where ours has up to two on 8 x 8 in uint8.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import tyro
from gymnasium.vector import AutoresetMode
from side_by_side import machine, progress, rate, report, spread

from rlgames.engine.vector_env import CORES  # importing anything of rlgames registers its games
from rlgames.envs.registry import parse

NONE = "—"
MISSING = "pip install envpool"  # the remedy, in the place of its rate


@dataclass(frozen=True)
class Row:
    """One line of the table: our game with its options, and the peer's `rival`, if there is one to compare with."""

    game: str
    players: int
    library: Literal["EnvPool", "Gymnasium"] | None = None
    rival: str = ""
    note: str = ""
    threads: int | None = None  # of ours; None: its own choice

    @property
    def what(self) -> str:
        return f"{self.game}, {self.note}" if self.note else self.game

    @property
    def peer(self) -> str:
        return f"{self.library} {self.rival}" if self.library else NONE


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


def ours(row: Row) -> Any:
    """Our side of a row, reset."""
    name, options = parse(row.game)
    if row.players == 1:
        env = gym.make(f"rlgames/{name}-v0", **options)
    else:
        options |= {"autoreset_mode": AutoresetMode.NEXT_STEP, "threads": row.threads}
        env = gym.make_vec(f"rlgames/{name}-v0", row.players, **options)
    env.reset(seed=0)
    return env


def gymnasium(row: Row) -> Any:
    """Gymnasium's side of a row, reset: its own vector environment, or its single one."""
    if row.players == 1:
        env = gym.make(row.rival)
    else:
        env = gym.make_vec(row.rival, row.players, vectorization_mode="vector_entry_point")
    env.reset(seed=0)
    return env


def envpool(row: Row, threads: int) -> Any:
    """EnvPool's side of a row, reset. Raises ImportError where EnvPool is not installed."""
    import envpool

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Gymnasium's, on the precision of bounds that EnvPool declares
        envs = envpool.make(row.rival, env_type="gymnasium", num_envs=row.players, num_threads=threads, seed=0)
        envs.reset()
    return envs


def play_batch(envs: Any, actions: Sequence[np.ndarray], seconds: float) -> float:
    """Steps a second, all players counted, over whole passes through `actions` that take at least `seconds`."""
    passes, start = 0, perf_counter()
    while not passes or perf_counter() - start < seconds:
        for action in actions:
            _ = envs.step(action)  # held until the next step, as by anybody who looks at it
        passes += 1
    return passes * len(actions) * len(actions[0]) / (perf_counter() - start)


def play_one(env: gym.Env, actions: Sequence[np.integer], seconds: float) -> float:
    """As `play_batch`; resets when an episode is over."""
    passes, start = 0, perf_counter()
    while not passes or perf_counter() - start < seconds:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        passes += 1
    return passes * len(actions) / (perf_counter() - start)


def random_actions(row: Row, count: int) -> list:
    """One pass, a small part of a turn: an array for each step, or for one player a number."""
    length = min(2048, max(16, 2**17 // row.players))
    shape = (length, row.players) if row.players > 1 else length
    dtype = np.int32 if row.library == "EnvPool" else np.int64  # what EnvPool, and what Gymnasium's spaces, ask for
    return list(np.random.default_rng(0).integers(count, size=shape, dtype=dtype))


def measure(row: Row, rounds: int, seconds: float, envpool_threads: int) -> tuple[str, ...]:
    """The cells of one row."""
    sides, peer_rate = [ours(row)], NONE
    try:
        if row.library:
            sides.append(envpool(row, envpool_threads) if row.library == "EnvPool" else gymnasium(row))
    except ImportError:
        peer_rate = MISSING
    one = row.players == 1
    play, space = (play_one, sides[0].action_space) if one else (play_batch, sides[0].single_action_space)
    actions = random_actions(row, int(space.n))
    for env in sides:
        play(env, actions, seconds)
    rates = [[play(env, actions, seconds) for env in sides] for _ in range(rounds)]
    for env in sides:
        env.close()
    our_rate = rate(median(turn[0] for turn in rates))
    if len(sides) == 1:
        return row.what, f"{row.players:,}", our_rate, row.peer, peer_rate, NONE
    ratios = [mine / theirs for mine, theirs in rates]
    ratio = spread(ratios, 1)
    return row.what, f"{row.players:,}", our_rate, row.peer, rate(median(turn[1] for turn in rates)), ratio


def main(rounds: int = 7, seconds: float = 0.4, envpool_threads: int = CORES, markdown: bool = False) -> None:
    """Measure the games beside their peers.

    Args:
        rounds: turns of each side; medians are over these.
        seconds: length of a turn.
        envpool_threads: threads of EnvPool.
        markdown: print a table for a README.
    """
    rows = []
    for row in ROWS:
        progress.print(f"{row.what}: {row.players:,} at once, beside {row.peer}", style="dim", highlight=False)
        rows.append(measure(row, rounds, seconds, envpool_threads))
    report(
        "Games: environment steps a second, all players counted",
        {
            "what": "left",
            "players": "right",
            "ours": "right",
            "peer": "left",
            "peer's": "right",
            "ours / peer's": "right",
        },
        rows,
        (
            f"Medians of {rounds} turns of {seconds:g} s a side. Threads of EnvPool: {envpool_threads}.",
            machine("gymnasium", "numpy", "numba", "envpool"),
        ),
        markdown,
    )


if __name__ == "__main__":
    tyro.cli(main)
