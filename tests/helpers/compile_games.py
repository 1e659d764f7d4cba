"""Compile every game once, into Numba's cache on disk, before test processes start that would all compile it.

Run: python tests/helpers/compile_games.py
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import rlgames

GAMES = (
    *("Dino", "Dino:obs=state"),  # the slowest to compile come first
    *("Cave", "Cave:antialias=true", "CatchBall", "CatchBall:size=16", "CartPole"),
)
MARIO = "Mario:world=1,stage=1"  # where its ROM is installed; it takes as long as all others together


def compile_game(name: str) -> None:
    """Compile the loops of a game, for one environment and for many."""
    env = rlgames.make(name)
    env.reset(seed=0)
    env.step(0)
    envs = rlgames.make_vec(name, 2)
    envs.reset(seed=0)
    envs.step(np.zeros(2, np.int64))


def compile_all() -> None:
    """Compile in two processes at once; quick if the cache is up to date."""
    halves = [GAMES[0], *GAMES[2:4]], [GAMES[1], *GAMES[4:]]
    if find_spec("gym_super_mario_bros"):
        halves = [MARIO], GAMES
    command = [sys.executable, str(Path(__file__).resolve())]
    processes = [subprocess.Popen([*command, *half], cwd=Path(rlgames.__file__).parents[1]) for half in halves]
    exit_codes = [process.wait() for process in processes]
    if any(exit_codes):
        raise RuntimeError("a game cannot be compiled: see the traceback above")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        for name in sys.argv[1:]:
            compile_game(name)
    else:
        compile_all()
