"""Frame rates of Mario: our NES compared with other emulators, alone and as environments.

    .venv/bin/python benchmarks/mario.py [--markdown] [--rounds 7] [--seconds 2] [--num-envs 16]

Everywhere each action is held for four frames, the same actions at random, mostly to the right, and episodes start
anew in 1-1. "In color": the screen of every fourth frame. "As agents see it": with the score board cropped, grey,
84 x 84, four frames stacked, rewards and information. The emulators alone are nes-py's library, which always draws, and
stable-retro's (`pip install stable-retro`, if it is to be measured), which has no environment here. The sides take
turns, and a ratio is taken within a round. Rates of one thread are of the time in which it computes, so that they hold
on a busy machine; those of several threads or processes are of the time that passes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time
from typing import Any

import gymnasium as gym
import numpy as np
import tyro
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from side_by_side import Benchmark, format_rate, format_ratios, measure_in_turns, steps_per_second
from tables import Table

import rlgames
from rlgames.engine.vector_env import CORES
from rlgames.envs.mario.game import game
from rlgames.envs.mario.nes_py import Mario, Nes

GAME, FRAME_SKIP = "Mario:world=1,stage=1", 4
STEPS = 100  # after which the emulators alone start anew
ACTIONS = np.random.default_rng(0).choice(7, 1000, p=[0.05, 0.2, 0.2, 0.3, 0.2, 0.03, 0.02])


def benchmark_nes_py() -> Benchmark:
    variant = game(world=1, stage=1)
    mario = Mario(Nes(variant.rom_path()), (1, 1))
    steps = cycle(enumerate(ACTIONS[:STEPS]))

    def step() -> int:
        i, action = next(steps)
        if i == 0:
            mario.reset()
        for _ in range(FRAME_SKIP):
            mario.console.step(variant.codes[action])
        return FRAME_SKIP

    return lambda seconds: steps_per_second(step, seconds, thread_time)


def benchmark_stable_retro() -> Benchmark:
    import stable_retro  # noqa: PLC0415  optional

    emulator = stable_retro.RetroEmulator(str(game().rom_path()))
    names = stable_retro.get_system_info("Nes")["buttons"]
    masks = [np.array([name in action.upper().split() for name in names], np.uint8) for action in game().actions]
    start = np.array([name == "START" for name in names], np.uint8)
    for frame in range(300):  # past the title
        emulator.set_button_mask(start if frame % 60 == 59 else masks[0])
        emulator.step()
    state, steps = emulator.get_state(), cycle(enumerate(ACTIONS[:STEPS]))

    def step() -> int:
        i, action = next(steps)
        if i == 0:
            emulator.set_state(state)
        emulator.set_button_mask(masks[action])
        for _ in range(FRAME_SKIP):
            emulator.step()
        emulator.get_screen()
        return FRAME_SKIP

    return lambda seconds: steps_per_second(step, seconds, thread_time)


def benchmark_envs(envs: VectorEnv, clock: Callable[[], float] = perf_counter) -> Benchmark:
    actions = cycle(ACTIONS)

    def step() -> int:
        _ = envs.step(np.full(envs.num_envs, next(actions)))
        return FRAME_SKIP * envs.num_envs

    envs.reset(seed=0)
    return lambda seconds: steps_per_second(step, seconds, clock)


def make_reference() -> gym.Env:
    return rlgames.make(f"{GAME},engine=nes-py")


def main(
    rounds: int = 7, seconds: float = 2.0, num_envs: int = 16, markdown: bool = False, json: Path | None = None
) -> None:
    """Measure Mario.

    Args:
        rounds: turns of each side.
        seconds: length of a turn.
        num_envs: environments on each side.
        markdown: print the table as Markdown.
        json: write it into this file too, from which the documentation is made.
    """
    same_step: dict[str, Any] = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
    color = gym.make_vec("rlgames/Mario-v0", num_envs, world=1, stage=1, frame_skip=FRAME_SKIP, threads=1, **same_step)
    benchmarks = {
        "as agents see it, one thread": benchmark_envs(rlgames.make_vec(GAME, num_envs, threads=1), thread_time),
        f"as agents see it, {CORES} threads": benchmark_envs(rlgames.make_vec(GAME, num_envs)),
        "in color, one thread": benchmark_envs(color, thread_time),
        "nes-py's emulator alone, one thread": benchmark_nes_py(),
    }
    if find_spec("stable_retro"):
        benchmarks["stable-retro's emulator alone, one thread"] = benchmark_stable_retro()
    reference = rlgames.make_vec(f"{GAME},engine=nes-py", num_envs)
    benchmarks[f"engine=nes-py as agents see it, {CORES} threads"] = benchmark_envs(reference)
    processes = AsyncVectorEnv([make_reference] * num_envs, **same_step)
    benchmarks["the same, Gymnasium's AsyncVectorEnv, processes"] = benchmark_envs(processes)
    benchmarks["the same, Gymnasium's SyncVectorEnv"] = benchmark_envs(
        SyncVectorEnv([make_reference] * num_envs, **same_step)
    )
    rates = measure_in_turns(benchmarks.values(), rounds, seconds)
    processes.close()
    rows = []
    for i, name in enumerate(benchmarks):
        ratios = format_ratios([row[0] / row[i] for row in rates], 2) if i else ""
        rows.append((name, format_rate(median(row[i] for row in rates)), ratios))
    Table(
        f"Mario, {num_envs} environments: frames a second",
        {"method": "left", "frames/s": "right", "the first / this": "right"},
        rows,
        (f"Medians of {rounds} turns of {seconds:g} s a side.",),
        ("nes-py", "stable-retro"),
    ).show(markdown, json)


if __name__ == "__main__":
    tyro.cli(main)
