"""Score in Cave of a planner that knows what the screen shows.

    .venv/bin/python benchmarks/cave_planner.py [--markdown] [--caves 60]

The planner knows the rules, and the player's height and speed. At each agent step it searches all action sequences
through the columns on the screen, and takes the one that keeps the greatest distance from walls and blocks, up to
`ENOUGH`; it makes no assumption on the columns behind the screen. It knows the heights of walls and blocks exactly, or
to a whole row, as a picture shows them. Consecutive frames are rounded differently, so that several of them tell more
than one; the resolutions in between stand for that. About ten minutes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro
from numba import njit
from side_by_side import progress
from tables import Table

from rlgames.engine.single_env import make_env
from rlgames.envs.cave import BLOCK_HEIGHT, BLOCK_WIDTH, BLOCKS, FALL, GONE, PLAYER_COLUMN, RISE, SIZE, THRUST
from rlgames.envs.registry import load_game

AHEAD = SIZE - 1 - PLAYER_COLUMN  # columns
ENOUGH = 0.6  # of the resolution: larger distances are worth no more
ENOUGH_EXACT = 0.03  # rows, where heights are exact
RESOLUTIONS = {"whole rows, as one picture": 1.0, "half rows": 0.5, "quarter rows": 0.25, "exactly": 0.0}  # rows


@njit
def rounded(height, resolution):
    """Return a height, in rows below the player, to the resolution; 0: exactly."""
    return (np.floor(height / resolution) + 0.5) * resolution if resolution else height


@njit
def read_screen(s, resolution, ceiling, floor, block):
    """Write the heights of the columns from the player's on; `block` is a block's top, NaN where there is none."""
    for c in range(AHEAD + 1):
        at = (s.left + PLAYER_COLUMN + c) % SIZE
        ceiling[c], floor[c] = rounded(s.ceiling[at] - s.y, resolution), rounded(s.floor[at] - s.y, resolution)
        block[c] = np.nan
        for i in range(BLOCKS):
            if s.block_column[i] != GONE and 0 <= PLAYER_COLUMN + c - s.block_column[i] < BLOCK_WIDTH:
                block[c] = rounded(s.block_top[i] - s.y, resolution)


@njit
def distance(y, c, ceiling, floor, block):
    """Return the distance of y from the nearest wall or block in column c; negative inside."""
    nearest = min(y - ceiling[c], floor[c] - y)
    if not np.isnan(block[c]):
        nearest = min(nearest, max(block[c] - y, y - block[c] - BLOCK_HEIGHT))
    return nearest


@njit
def advance(action, y, speed, c, frame_skip, ceiling, floor, block, nearest):
    """Return (height, speed, smallest distance so far) after an agent step from column c."""
    for i in range(1, frame_skip + 1):
        speed += -THRUST if action == RISE else THRUST
        y += speed
        nearest = min(nearest, distance(y, c + i, ceiling, floor, block))
    return y, speed, nearest


@njit
def search(y, speed, c, frame_skip, ceiling, floor, block, nearest):
    """Return the smallest distance of the best sequence through the rest of the screen, and the number of sequences."""
    if c + frame_skip > AHEAD:
        return nearest, 1
    best, count = -1.0, 0
    for action in (FALL, RISE):
        next_y, next_speed, next_nearest = advance(action, y, speed, c, frame_skip, ceiling, floor, block, nearest)
        if next_nearest > 0:
            value, sequences = search(
                next_y, next_speed, c + frame_skip, frame_skip, ceiling, floor, block, next_nearest
            )
            best, count = max(best, value), count + sequences
    return best, count


@njit
def plan(s, frame_skip, resolution):
    """Return the best action."""
    ceiling, floor, block = np.empty(AHEAD + 1), np.empty(AHEAD + 1), np.empty(AHEAD + 1)
    read_screen(s, resolution, ceiling, floor, block)
    enough = max(ENOUGH * resolution, ENOUGH_EXACT)
    values = np.empty(2)
    for action in (FALL, RISE):
        y, speed, nearest = advance(action, 0.0, s.speed, 0, frame_skip, ceiling, floor, block, enough)
        best, count = nearest, 0
        if nearest > 0:
            best, count = search(y, speed, frame_skip, frame_skip, ceiling, floor, block, nearest)
        values[action] = best + 1e-6 * count  # of two equal ones, the one that leaves more sequences
    return values.argmax()


def play_episode(frame_skip: int, resolution: float, seed: int, max_episode_steps: int | None) -> float:
    """Return the score of one episode."""
    env = make_env(load_game("Cave"), frame_skip=frame_skip, max_episode_steps=max_episode_steps)
    env.reset(seed=seed)
    records, done, score = env._state.records, False, 0.0
    while not done:
        _, _, terminated, truncated, info = env.step(int(plan(records[0], frame_skip, resolution)))
        done, score = terminated or truncated, info["score"]
    return score


def main(
    caves: int = 60,
    skips: tuple[int, ...] = (2, 4),
    max_episode_steps: int | None = None,
    markdown: bool = False,
    json: Path | None = None,
) -> None:
    """Play with each frame skip and resolution.

    Args:
        caves: episodes each, with the seeds 0, 1, ...
        skips: frame skips.
        max_episode_steps: agent steps after which an episode is truncated; None: the game's own limit.
        markdown: print the table as Markdown.
        json: write it into this file too, from which the documentation is made.
    """
    rows = []
    for skip in skips:
        for name, resolution in RESOLUTIONS.items():
            scores = [play_episode(skip, resolution, seed, max_episode_steps) for seed in range(caves)]
            error = np.std(scores, ddof=1) / np.sqrt(caves)
            rows.append((f"{skip}", name, f"{np.mean(scores):,.0f} ± {error:,.0f}"))
            progress.print(" ".join(rows[-1]), highlight=False)
    Table(
        "A planner in Cave",
        {"frame skip": "right", "resolution of heights": "left", "frames survived": "right"},
        rows,
        ("Means and their standard errors.",),
        seeds=range(caves),
    ).show(markdown, json)


if __name__ == "__main__":
    tyro.cli(main)
