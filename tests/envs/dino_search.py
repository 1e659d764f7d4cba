"""A player of Dino who tries out what comes: keys that survive as long as wanted, by search with backtracking."""

import numpy as np
from numba import njit

from rlgames.envs.dino import ACCELERATION, DUCK, JUMP, NOOP, frame

HOLD = 3  # frames that a key is held


@njit
def search(places: np.ndarray, wishes: np.ndarray, tried: np.ndarray, acceleration: float) -> int:
    """Fills `places` from the first on; `wishes` (time, 3) are the keys to try, in order. How many places were seen."""
    t, seen = 0, 0
    while t < len(wishes):
        if tried[t] == 3:  # no way on from here: another one to here
            tried[t] = 0
            t -= 1
            continue
        places[t + 1] = places[t]
        action = wishes[t, tried[t]]
        tried[t] += 1
        hit, held = False, 0
        while held < HOLD and not hit:
            hit = frame(places[t + 1], action, acceleration)
            held += 1
        seen += 1
        if not hit:
            t += 1
    return seen


def plan(record: np.ndarray, frames: int, seed: int, acceleration: float = ACCELERATION) -> np.ndarray:
    """Actions (frames,) that survive from `record`, one row of the game's; jumps and ducks at random where it can."""
    dice, blocks = np.random.default_rng(seed), -(-frames // HOLD)
    first = dice.choice([NOOP, JUMP, DUCK], p=[0.8, 0.12, 0.08], size=blocks)
    wishes = np.stack([first, (first + 1) % 3, (first + 2) % 3], 1)
    places, tried = np.zeros(blocks + 1, record.dtype), np.zeros(blocks + 1, np.int64)
    places[0] = record[0]
    search(places, wishes, tried, acceleration)
    chosen = wishes[np.arange(blocks), tried[:blocks] - 1]
    return np.repeat(chosen, HOLD)[:frames]
