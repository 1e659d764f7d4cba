"""How far one can fly in Cave with what is on the screen, by a planner instead of an agent.

    .venv/bin/python benchmarks/cave_planner.py [--markdown] [--caves 60]

The planner knows the rules, its height and its speed. At each decision it searches all ways through the columns on the
screen and takes the one that keeps the greatest distance from walls and blocks, up to `CARE`; what comes behind the
screen it does not guess. The heights of walls and blocks it knows exactly or, as someone who looks at the picture does,
to a whole row: a picture rounds. Frames in a row round differently, so several tell more than one; that is what the
lines between stand for. About ten minutes.
"""

from __future__ import annotations

import numpy as np
import tyro
from numba import njit
from side_by_side import machine, progress, report

from rlgames.envs.cave import BLOCK_HEIGHT, BLOCK_WIDTH, BLOCKS, FALL, GONE, PLAYER_COLUMN, RISE, SIZE, THRUST
from rlgames.envs.registry import load_game

AHEAD = SIZE - 1 - PLAYER_COLUMN  # columns
CARE = 0.6  # of a grain: a distance that is as good as any greater one
LEAST = 0.03  # rows, where heights are exact
GRAINS = {"whole rows, as one picture": 1.0, "half rows": 0.5, "quarter rows": 0.25, "exactly": 0.0}


@njit
def seen(height, grain):
    """A height, in rows from the player's, as far as it can be told."""
    return (np.floor(height / grain) + 0.5) * grain if grain else height


@njit
def look(s, grain, ceiling, floor, block):
    """The columns from the player's on; `block` is a block's top, NaN where there is none."""
    for c in range(AHEAD + 1):
        at = (s.left + PLAYER_COLUMN + c) % SIZE
        ceiling[c], floor[c] = seen(s.ceiling[at] - s.y, grain), seen(s.floor[at] - s.y, grain)
        block[c] = np.nan
        for i in range(BLOCKS):
            if s.block_column[i] != GONE and 0 <= PLAYER_COLUMN + c - s.block_column[i] < BLOCK_WIDTH:
                block[c] = seen(s.block_top[i] - s.y, grain)


@njit
def room(y, c, ceiling, floor, block):
    """How far y is from the nearest wall or block in column c; negative inside."""
    free = min(y - ceiling[c], floor[c] - y)
    if not np.isnan(block[c]):
        free = min(free, max(block[c] - y, y - block[c] - BLOCK_HEIGHT))
    return free


@njit
def held(action, y, speed, c, skip, ceiling, floor, block, free):
    """(height, speed, least room so far) after an action that is held for `skip` steps from column c on."""
    for i in range(1, skip + 1):
        speed += -THRUST if action == RISE else THRUST
        y += speed
        free = min(free, room(y, c + i, ceiling, floor, block))
    return y, speed, free


@njit
def search(y, speed, c, skip, ceiling, floor, block, free):
    """(the least room of the best way through the rest of the screen, how many ways there are)"""
    if c + skip > AHEAD:
        return free, 1
    best, ways = -1.0, 0
    for action in (FALL, RISE):
        after, faster, left = held(action, y, speed, c, skip, ceiling, floor, block, free)
        if left > 0:
            found, count = search(after, faster, c + skip, skip, ceiling, floor, block, left)
            best, ways = max(best, found), ways + count
    return best, ways


@njit
def decide(s, skip, grain):
    ceiling, floor, block = np.empty(AHEAD + 1), np.empty(AHEAD + 1), np.empty(AHEAD + 1)
    look(s, grain, ceiling, floor, block)
    values = np.empty(2)
    for action in (FALL, RISE):
        y, speed, free = held(action, 0.0, s.speed, 0, skip, ceiling, floor, block, max(CARE * grain, LEAST))
        best, ways = search(y, speed, skip, skip, ceiling, floor, block, free) if free > 0 else (free, 0)
        values[action] = best + 1e-6 * ways  # where two are alike, more ways are left
    return values.argmax()


def fly(skip: int, grain: float, seed: int) -> float:
    """The score of one episode."""
    env = load_game("Cave").solo(frame_skip=skip)
    env.reset(seed=seed)
    player, over, info = env._players.records, False, {}
    while not over:
        _, _, terminated, truncated, info = env.step(decide(player[0], skip, grain))
        over = terminated or truncated
    return info["score"]


def main(caves: int = 60, skips: tuple[int, ...] = (2, 4), markdown: bool = False) -> None:
    """Fly.

    Args:
        caves: episodes each, the seeds 0, 1, ...
        skips: steps that a decision lasts.
        markdown: print a table for a README.
    """
    rows = []
    for skip in skips:
        for name, grain in GRAINS.items():
            scores = [fly(skip, grain, seed) for seed in range(caves)]
            error = np.std(scores, ddof=1) / np.sqrt(caves)
            rows.append((f"{skip}", name, f"{np.mean(scores):,.0f} ± {error:,.0f}"))
            progress.print(" ".join(rows[-1]), highlight=False)
    report(
        "A planner in Cave",
        {"steps a decision": "right", "it knows the heights to": "left", "steps survived": "right"},
        rows,
        (f"Means of {caves} caves and their standard errors.", machine("gymnasium", "numpy", "numba")),
        markdown,
    )


if __name__ == "__main__":
    tyro.cli(main)
