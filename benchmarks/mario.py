"""Mario: frames a second, beside the bare emulator and beside Gymnasium's vector environments.

    .venv/bin/python benchmarks/mario.py [--markdown] [--rounds 7] [--seconds 3] [--players 16]

The bare emulator is nes-py's library alone: a thread a core, each with consoles of its own, no picture read, no reward.
Ours and Gymnasium's do all that an agent needs: four frames a step, rewards, information, the score board cropped,
84 x 84 grey, four pictures stacked. engine=retro is another emulator, seen in the same way. In all Mario stands at the
beginning of 1-1, so that all compute the same frames; the sides take turns, and a ratio is taken within a round.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from statistics import median
from time import perf_counter

import gymnasium as gym
import numpy as np
import tyro
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from side_by_side import Turn, in_turn, machine, rate, report, spread

import rlgames
from rlgames.engine.vector_env import CORES
from rlgames.envs.mario.memory_map import Mario
from rlgames.envs.mario.nes_py import Nes
from rlgames.envs.registry import load_game

GAME, SKIP = "Mario:world=1,stage=1", 4


def bare(players: int) -> Turn:
    rom = load_game("Mario", world=1, stage=1).rom_path()
    consoles = [Mario(Nes(rom), (1, 1)) for _ in range(players)]

    def thread(mine: list[Mario], seconds: float) -> int:
        frames, start = 0, perf_counter()
        while perf_counter() - start < seconds:
            for mario in mine:
                for _ in range(SKIP):
                    mario.nes.frame(0)
            frames += SKIP * len(mine)
        return frames

    pool = ThreadPoolExecutor(CORES)

    def turn(seconds: float) -> float:
        for mario in consoles:
            mario.begin()
        start = perf_counter()
        work = [pool.submit(thread, consoles[i::CORES], seconds) for i in range(CORES)]
        return sum(future.result() for future in work) / (perf_counter() - start)

    return turn


def played(envs: VectorEnv) -> Turn:
    actions = np.zeros(envs.num_envs, np.int64)

    def turn(seconds: float) -> float:
        envs.reset(seed=0)
        steps, start = 0, perf_counter()
        while perf_counter() - start < seconds:
            _ = envs.step(actions)
            steps += 1
        return steps * SKIP * envs.num_envs / (perf_counter() - start)

    return turn


def make() -> gym.Env:
    return rlgames.make(GAME)


def main(rounds: int = 7, seconds: float = 3.0, players: int = 16, markdown: bool = False) -> None:
    """Measure Mario.

    Args:
        rounds: turns of each side.
        seconds: of each turn.
        players: games at once, on each side.
        markdown: print a table for a README.
    """
    sides: dict[str, Turn] = {
        "rlgames.make_vec, threads": played(rlgames.make_vec(GAME, players)),
        "the bare emulator, threads": bare(players),
        "AsyncVectorEnv, processes": played(AsyncVectorEnv([make] * players)),
        "SyncVectorEnv, one thread": played(SyncVectorEnv([make] * players)),
    }
    if find_spec("stable_retro"):
        sides["rlgames.make_vec, engine=retro, processes"] = played(rlgames.make_vec(f"{GAME},engine=retro", players))
    rates = in_turn(sides.values(), rounds, seconds)
    rows = []
    for i, name in enumerate(sides):
        ratios = [row[0] / row[i] for row in rates]
        ratio = spread(ratios, 2) if i else ""
        rows.append((name, rate(median(row[i] for row in rates)), ratio))
    report(
        f"Mario, {players} players: frames a second",
        {"who": "left", "frames/s": "right", "ours / theirs": "right"},
        rows,
        (machine("nes-py", "stable-retro", "gymnasium", "numpy", "opencv-python-headless"),),
        markdown,
    )


if __name__ == "__main__":
    tyro.cli(main)
