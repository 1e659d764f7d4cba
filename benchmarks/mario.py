"""Frame rates of Mario, compared with the bare emulator and with Gymnasium's vector environments.

    .venv/bin/python benchmarks/mario.py [--markdown] [--rounds 7] [--seconds 3] [--num-envs 16]

The bare emulator is nes-py's library alone: one thread a core, each with consoles of its own, no rendering, no reward.
Ours and Gymnasium's do all that an agent needs: four frames a step, rewards, information, the score board cropped, 84 x
84 grey, four frames stacked. engine=retro is another emulator with the same preprocessing. Mario stands still at the
start of 1-1 in all of them, so that all compute the same frames; the sides take turns, and a ratio is taken within a
round.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from statistics import median

import gymnasium as gym
import numpy as np
import tyro
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from side_by_side import (
    Benchmark,
    describe_machine,
    format_rate,
    format_ratios,
    measure_in_turns,
    print_table,
    steps_per_second,
)

import rlgames
from rlgames.engine.vector_env import CORES
from rlgames.envs.mario.memory_map import Mario
from rlgames.envs.mario.nes_py import Nes
from rlgames.envs.registry import load_game

GAME, FRAME_SKIP = "Mario:world=1,stage=1", 4
NOTHING = 0  # as buttons and as an action


def benchmark_emulator(num_envs: int) -> Benchmark:
    rom = load_game("Mario", world=1, stage=1).rom_path()
    consoles = [Mario(Nes(rom), (1, 1)) for _ in range(num_envs)]
    pool = ThreadPoolExecutor(CORES)

    def step(own: list[Mario]) -> int:
        for mario in own:
            for _ in range(FRAME_SKIP):
                mario.nes.step(NOTHING)
        return FRAME_SKIP * len(own)

    def run(seconds: float) -> float:
        for mario in consoles:
            mario.reset()
        slices = [consoles[i::CORES] for i in range(min(CORES, num_envs))]
        return sum(pool.map(lambda own: steps_per_second(lambda: step(own), seconds), slices))

    return run


def benchmark_envs(envs: VectorEnv) -> Benchmark:
    actions = np.full(envs.num_envs, NOTHING)

    def step() -> int:
        _ = envs.step(actions)
        return FRAME_SKIP * envs.num_envs

    def run(seconds: float) -> float:
        envs.reset(seed=0)
        return steps_per_second(step, seconds)

    return run


def make_single() -> gym.Env:
    return rlgames.make(GAME)


def main(rounds: int = 7, seconds: float = 3.0, num_envs: int = 16, markdown: bool = False) -> None:
    """Measure Mario.

    Args:
        rounds: turns of each side.
        seconds: length of a turn.
        num_envs: environments on each side.
        markdown: print the table as Markdown.
    """
    benchmarks = {
        "rlgames.make_vec, threads": benchmark_envs(rlgames.make_vec(GAME, num_envs)),
        "the bare emulator, threads": benchmark_emulator(num_envs),
        "Gymnasium's AsyncVectorEnv, processes": benchmark_envs(AsyncVectorEnv([make_single] * num_envs)),
        "Gymnasium's SyncVectorEnv, one thread": benchmark_envs(SyncVectorEnv([make_single] * num_envs)),
    }
    if find_spec("stable_retro"):
        retro = rlgames.make_vec(f"{GAME},engine=retro", num_envs)
        benchmarks["rlgames.make_vec, engine=retro, processes"] = benchmark_envs(retro)
    rates = measure_in_turns(benchmarks.values(), rounds, seconds)
    rows = []
    for i, name in enumerate(benchmarks):
        ratios = format_ratios([row[0] / row[i] for row in rates], 2) if i else ""
        rows.append((name, format_rate(median(row[i] for row in rates)), ratios))
    print_table(
        f"Mario, {num_envs} environments: frames a second",
        {"method": "left", "frames/s": "right", "ours / theirs": "right"},
        rows,
        (describe_machine("nes-py", "stable-retro", "gymnasium", "numpy", "opencv-python-headless"),),
        markdown,
    )


if __name__ == "__main__":
    tyro.cli(main)
