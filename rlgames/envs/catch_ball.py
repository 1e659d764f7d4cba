"""CatchBall: slide a bar of three cells under falling balls.

Observation space: (size, size) uint8 with `size` 8 or 16: background 0, balls 127, bar 255, in the bottom row.
Action space: 0 stay, 1 left, 2 right, by one cell.
Rewards: +1 for a ball caught, -1 for a ball missed, otherwise 0. An episode's best score is 99, or 98 on 16 x 16.
Termination: a ball is missed.
Truncation: 500 frames.

A frame: the bar moves, the balls fall by one row, every fifth frame a new ball appears in the top row, and a ball that
has reached the bottom row is caught or missed. It is still drawn in that frame. A new ball's column is drawn uniformly
among those that are at least 3 columns from the ball before and that the bar can reach in time, so every ball can be
caught.

All balls fall together, and one appears every fifth frame of the episode, so the i-th newest is on row
`age % 5 + 5 i`.
"""

import numpy as np
from gymnasium.spaces import Box
from numba.extending import register_jitable

from rlgames.engine.game import CLOCK, Game
from rlgames.engine.rng import below
from rlgames.engine.shapes import BLUE, FAINT, GREEN, INK, PAPER, RED, Picture, bar, disc, fill, segment
from rlgames.errors import InvalidValueError, brief

WIDTH = 3  # cells of the bar
INTERVAL = 5  # frames between two new balls
MIN_DISTANCE = 3  # columns between a new ball and the one before
MAX_DISTANCE = {8: 7, 16: INTERVAL + WIDTH - 2}  # by board size: what the bar can cover; no limit on 8 columns
BALL, BAR = 127, 255  # levels of the observation
MAX_FRAMES = 500
MAX_BALLS = 4  # that fit into 16 rows
MOVES = (0, -1, 1)  # columns that the bar moves, by action

RECORD = np.dtype([*CLOCK, ("bar", "i4"), ("column", "i4", (MAX_BALLS,))])  # leftmost cell; of the balls, newest first


def game(size: int = 8) -> Game:
    """Return CatchBall on a board of `size` x `size`. Raises ValueError for a size other than 8 and 16."""
    if not isinstance(size, int) or size not in MAX_DISTANCE:
        raise InvalidValueError(f"expected a CatchBall board of size 8 or 16, got {brief(size)}")
    max_distance, bottom = MAX_DISTANCE[size], size - 1

    @register_jitable
    def reset(s):
        s.bar = below(s, size - WIDTH)  # never the last column that fits
        s.column[0] = below(s, size)

    @register_jitable
    def add_ball(s):
        for i in range(MAX_BALLS - 1, 0, -1):
            s.column[i] = s.column[i - 1]
        s.column[0] = below(s, size)
        while not MIN_DISTANCE <= abs(s.column[0] - s.column[1]) <= max_distance:
            s.column[0] = below(s, size)

    @register_jitable
    def step(s, action):
        s.bar = min(max(s.bar + MOVES[action], 0), size - WIDTH)
        newest_row = s.age % INTERVAL
        if newest_row == 0:
            add_ball(s)
        if newest_row != bottom % INTERVAL or s.age < bottom:
            return 0.0, False  # no ball in the bottom row
        if s.bar <= s.column[bottom // INTERVAL] < s.bar + WIDTH:
            return 1.0, False
        return -1.0, True

    @register_jitable
    def observe(s, obs):
        for row in range(size):
            for column in range(size):
                obs[row, column] = 0
        for i in range(WIDTH):
            obs[bottom, s.bar + i] = BAR
        for row in range(s.age % INTERVAL, min(s.age, bottom) + 1, INTERVAL):
            obs[row, s.column[row // INTERVAL]] = BALL

    @register_jitable
    def draw(s, shapes):
        fill(shapes, PAPER)
        for i in range(1, size):
            segment(shapes, FAINT, 0.02, i, 0, i, size)
            segment(shapes, FAINT, 0.02, 0, i, size, i)
        bar(shapes, INK, s.bar + 0.05, size - 0.75, s.bar + WIDTH - 0.05, size - 0.15, 0.25)
        for row in range(s.age % INTERVAL, min(s.age, bottom) + 1, INTERVAL):
            column = s.column[row // INTERVAL]
            caught = s.bar <= column < s.bar + WIDTH
            color = BLUE if row < bottom else GREEN if caught else RED
            disc(shapes, color, column + 0.5, row + 0.5, 0.36)

    return Game(
        name="CatchBall" if size == 8 else f"CatchBall:size={size}",
        record=RECORD,
        observation=Box(0, 255, (size, size), np.uint8),
        actions=("stay", "left", "right"),
        max_frames=MAX_FRAMES,
        best_score=(MAX_FRAMES - bottom) // INTERVAL + 1.0,
        reset=reset,
        step=step,
        observe=observe,
        render=Picture(draw, 480, 480, 480 / size),
        fps=5,
        keys={"a": 1, "d": 2},
        envs_per_thread=8192,
    )
