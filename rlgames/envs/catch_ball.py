"""CatchBall: slide a bar of three cells under balls that fall, one every fifth step; +1 caught, -1 missed, and over.

Within a step the bar moves first, then the balls fall, then a new one may appear, then the lowest is judged. A ball on
the bottom row is still seen in that frame and leaves the board on the next step. New columns keep a distance from the
newest ball that the bar can cover in time, so that a perfect player catches every ball of the 500 steps: 99 on the
8 x 8 board, 98 on the 16 x 16 board.

All balls fall together, and one appears at every fifth step of the episode: the i-th newest is on row `age % 5 + 5 i`.
"""

import numpy as np
from gymnasium.spaces import Box
from numba.extending import register_jitable

from rlgames.engine.game import CLOCK, Game
from rlgames.engine.rendering import BLUE, FAINT, GREEN, INK, RED, Canvas
from rlgames.engine.rng import below
from rlgames.errors import InvalidValueError

WIDTH = 3  # cells of the bar
EVERY = 5  # steps between two new balls
NEAREST = 3  # columns between a new ball and the one before it, at least
FARTHEST = {8: 7, 16: EVERY + WIDTH - 2}  # and at most: what the bar can cover in time; 7 on 8 columns is no limit
BALL, BAR = 127, 255  # levels of the picture: 0.5 and 1.0 of 255
BALLS = 4  # that 16 rows hold at most
MOVE = (0, -1, 1)  # what stay, left and right add to the bar's column

RECORD = np.dtype([*CLOCK, ("bar", "i4"), ("column", "i4", (BALLS,))])  # columns of the balls, newest first


def game(size: int = 8) -> Game:
    """The board is `size` x `size`, 8 or 16. Observation: (size, size) uint8, background 0, balls 127, bar 255."""
    if not isinstance(size, int) or size not in FARTHEST:
        raise InvalidValueError(f"expected a CatchBall board of size 8 or 16, got {size!r}")
    farthest, bottom = FARTHEST[size], size - 1

    @register_jitable
    def reset(s):
        s.bar = below(s, size - WIDTH)  # its leftmost column; the last one that fits is never drawn
        s.column[0] = below(s, size)

    @register_jitable
    def new_ball(s):
        for i in range(BALLS - 1, 0, -1):
            s.column[i] = s.column[i - 1]
        s.column[0] = below(s, size)
        while not NEAREST <= abs(s.column[0] - s.column[1]) <= farthest:
            s.column[0] = below(s, size)

    @register_jitable
    def step(s, action):
        s.bar = min(max(s.bar + MOVE[action], 0), size - WIDTH)
        newest = s.age % EVERY  # its row
        if newest == 0:
            new_ball(s)
        if newest != bottom % EVERY or s.age < bottom:
            return 0.0, False  # no ball arrives
        if s.bar <= s.column[bottom // EVERY] < s.bar + WIDTH:
            return 1.0, False
        return -1.0, True

    @register_jitable
    def observe(s, obs):
        for row in range(size):
            for column in range(size):
                obs[row, column] = 0
        for i in range(WIDTH):
            obs[bottom, s.bar + i] = BAR
        for row in range(s.age % EVERY, min(s.age, bottom) + 1, EVERY):
            obs[row, s.column[row // EVERY]] = BALL

    return Game(
        name="CatchBall" if size == 8 else f"CatchBall:size={size}",
        record=RECORD,
        observation=Box(0, 255, (size, size), np.uint8),
        actions=("stay", "left", "right"),
        max_frames=500,
        reset=reset,
        step=step,
        observe=observe,
        render=lambda s: render(s, size),
        fps=5,
        keys={"a": 1, "d": 2},
        envs_per_thread=8192,
    )


def render(s: np.void, size: int) -> np.ndarray:
    canvas = Canvas(480, 480, 480 / size)
    for line in range(1, size):
        canvas.line((line, 0, line, size), FAINT, 0.02)
        canvas.line((0, line, size, line), FAINT, 0.02)
    canvas.bar(s["bar"] + 0.05, size - 0.75, s["bar"] + WIDTH - 0.05, size - 0.15, INK, 0.25)
    for row in range(s["age"] % EVERY, min(s["age"], size - 1) + 1, EVERY):
        column = s["column"][row // EVERY]
        judged = GREEN if s["bar"] <= column < s["bar"] + WIDTH else RED
        canvas.disc(column + 0.5, row + 0.5, 0.36, judged if row == size - 1 else BLUE)
    return canvas.pixels()
