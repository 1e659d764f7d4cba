"""A player of Dino who tries out what comes: keys that survive as long as wanted, by search with backtracking."""

import numpy as np

from helpers.games import game_of
from rlgames.envs.dino.rules import DUCK, JUMP, NOOP

HOLD = 3  # frames that a key is held


def plan(start: np.ndarray, frames: int, seed: int, game: str = "Dino:obs=state") -> np.ndarray:
    """Actions (frames,) that survive from the one record `start` on; jumps and ducks at random where it can."""
    rules, dice, turns = game_of(game), np.random.default_rng(seed), -(-frames // HOLD)
    play, obs = rules.loops[2], np.empty(rules.observation.shape, rules.observation.dtype)
    first = dice.choice([NOOP, JUMP, DUCK], p=[0.8, 0.12, 0.08], size=turns)
    wishes = np.stack([first, (first + 1) % 3, (first + 2) % 3], 1).tolist()  # to be tried in this order
    places = np.zeros(turns + 1, rules.record)
    places[0] = start[0]
    tried, t = [0] * turns, 0
    while t < turns:
        if tried[t] == 3:  # no way on from here: another one to here
            tried[t] = 0
            t -= 1
            continue
        places[t + 1] = places[t]
        tried[t] += 1
        over = play(places[t + 1 : t + 2], wishes[t][tried[t] - 1], HOLD, False, rules.max_steps, obs)[2]
        t += not over
    return np.repeat([wishes[i][tried[i] - 1] for i in range(turns)], HOLD)[:frames]
