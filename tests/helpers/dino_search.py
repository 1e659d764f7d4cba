"""Planner for Dino: actions that survive as long as wanted, found by a depth-first search with backtracking."""

import numpy as np

from helpers.games import game_of
from rlgames.envs.dino.rules import DUCK, JUMP, NOOP

HOLD = 3  # frames for which an action is held


def plan(start: np.ndarray, frames: int, seed: int, game: str = "Dino:obs=state") -> np.ndarray:
    """Return actions (frames,) that survive from the one record `start` on; jumps and ducks are tried at random."""
    rules, rng, decisions = game_of(game), np.random.default_rng(seed), -(-frames // HOLD)
    obs = np.empty(rules.observation.shape, rules.observation.dtype)
    first = rng.choice([NOOP, JUMP, DUCK], p=[0.8, 0.12, 0.08], size=decisions)
    candidates = np.stack([first, (first + 1) % 3, (first + 2) % 3], 1).tolist()  # in the order they are tried
    records = np.zeros(decisions + 1, rules.record)
    records[0] = start[0]
    tried, t = [0] * decisions, 0
    while t < decisions:
        if tried[t] == 3:  # every action crashes: go back by one decision
            tried[t] = 0
            t -= 1
            continue
        records[t + 1] = records[t]
        tried[t] += 1
        action = candidates[t][tried[t] - 1]
        over = rules.loops.step_single(records[t + 1 : t + 2], action, HOLD, False, rules.max_frames, obs)[2]
        t += not over
    return np.repeat([candidates[t][tried[t] - 1] for t in range(decisions)], HOLD)[:frames]
