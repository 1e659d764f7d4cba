"""Cave's pictures: (48, 48) uint8 for agents, to whole rows or antialiased, and one to look at.

The camera follows the player, who is always at row 24: free 0, wall 102, block 127, tail 204, player 255. Row r shows
the height y + r - 24, so the player's row lies in a wall or a block exactly when the player has crashed.
"""

from math import ceil, floor

import numpy as np
from numba.extending import register_jitable

from rlgames.envs.screen import BLUE, INK, PAPER, RED, YELLOW, Canvas

SIZE = 48  # rows and columns
PLAYER = 15  # the player's column
EYE = 24  # the row at which the camera holds the player
BLOCK_WIDTH, BLOCK_HEIGHT = 2, 6  # columns, rows
BLOCKS = 3  # on the board at most: it takes 49 steps to leave, and one enters every 21
GONE = -BLOCK_WIDTH  # the column of a block that is not on the board
TAIL = 15  # last heights of the player
WALL, BLOCK, TRAIL, SELF = 102, 127, 204, 255  # levels of the picture: 0.4, 0.5, 0.8 and 1.0 of 255


@register_jitable
def edges(free, past, c, ceiling, bottom):
    free[c] = np.uint8(min(max(floor(ceiling) + 1.0, 0.0), SIZE))
    past[c] = np.uint8(min(max(ceil(bottom), 0.0), SIZE))


@register_jitable
def draw_cave(s, obs):
    """Walls and blocks."""
    free, past = obs[0], obs[SIZE - 1]  # these rows first hold each column's first free row and first row past the free
    up = EYE - s.y  # from heights to rows
    for at in range(s.left, SIZE):
        edges(free, past, at - s.left, s.ceiling[at] + up, s.floor[at] + up)
    for at in range(s.left):
        edges(free, past, at - s.left + SIZE, s.ceiling[at] + up, s.floor[at] + up)
    for r in range(1, SIZE - 1):
        row = np.uint8(r)  # bytes throughout, so that a row is a few wide instructions
        for c in range(SIZE):
            obs[r, c] = np.uint8(WALL) if (row < free[c]) | (row >= past[c]) else np.uint8(0)
    for c in range(SIZE):
        first = (free[c] > 0) | (past[c] == 0)
        last = (free[c] == SIZE) | (past[c] < SIZE)
        free[c] = np.uint8(WALL) if first else np.uint8(0)
        past[c] = np.uint8(WALL) if last else np.uint8(0)
    for i in range(BLOCKS):
        top = s.block_top[i] + up
        for r in range(max(ceil(top), 0), min(floor(top + BLOCK_HEIGHT) + 1, SIZE)):
            for c in range(max(s.block_column[i], 0), min(s.block_column[i] + BLOCK_WIDTH, SIZE)):
                obs[r, c] = BLOCK


@register_jitable
def draw_tail(s, obs):
    up = EYE - s.y
    for i in range(TAIL):
        r = floor(s.tail[i] + up + 0.5)
        if 0 <= r < SIZE:
            obs[r, PLAYER - TAIL + i] = TRAIL
    obs[EYE, PLAYER] = SELF


@register_jitable
def draw(s, obs):
    draw_cave(s, obs)
    draw_tail(s, obs)


@register_jitable
def shade(obs, row, column, level, share):
    """A cell of which something covers a `share`, unless there is something brighter already."""
    if 0 <= row < SIZE and 0 <= column < SIZE:
        obs[row, column] = max(obs[row, column], np.uint8(level * share + 0.5))


@register_jitable
def draw_antialiased(s, obs):
    """What covers only a share of a cell, of the height of one row, is drawn at that share of its level."""
    draw_cave(s, obs)
    up = EYE - s.y
    for c in range(SIZE):
        at = (s.left + c) % SIZE
        ceiling, bottom = s.ceiling[at] + up, s.floor[at] + up
        shade(obs, floor(ceiling) + 1, c, WALL, ceiling - floor(ceiling))
        shade(obs, ceil(bottom) - 1, c, WALL, ceil(bottom) - bottom)
    for i in range(BLOCKS):
        top = s.block_top[i] + up
        for c in range(s.block_column[i], s.block_column[i] + BLOCK_WIDTH):
            shade(obs, ceil(top) - 1, c, BLOCK, ceil(top) - top)
            shade(obs, floor(top + BLOCK_HEIGHT) + 1, c, BLOCK, top - floor(top))
    for i in range(TAIL):
        row = s.tail[i] + up
        shade(obs, floor(row), PLAYER - TAIL + i, TRAIL, floor(row) + 1 - row)
        shade(obs, floor(row) + 1, PLAYER - TAIL + i, TRAIL, row - floor(row))
    obs[EYE, PLAYER] = SELF


def paint(s: np.void) -> np.ndarray:
    canvas = Canvas(480, 480, 480 / SIZE, INK)
    up = EYE - s["y"]  # from heights to rows on the screen; a column's and a row's middle are at + 0.5
    order = (s["left"] + np.arange(SIZE)) % SIZE
    x = np.concatenate([[-0.5], np.arange(SIZE) + 0.5, [SIZE + 0.5]])
    ceiling, bottom = (np.pad(s[side][order] + up + 0.5, 1, "edge") for side in ("ceiling", "floor"))
    canvas.shape([v for point in zip(x, ceiling, strict=True) for v in point] + _back(x, bottom), PAPER)
    for column, top in zip(s["block_column"], s["block_top"], strict=True):
        if column != GONE:
            canvas.bar(column, top + up + 0.5, column + BLOCK_WIDTH, top + up + 0.5 + BLOCK_HEIGHT, RED, 0.3)
    trail = np.append(s["tail"], s["y"]) + up + 0.5
    canvas.line([v for point in zip(np.arange(TAIL + 1) + 0.5, trail, strict=True) for v in point], YELLOW, 0.35)
    canvas.disc(PLAYER + 0.5, EYE + 0.5, 0.6, BLUE)
    return canvas.pixels()


def _back(x: np.ndarray, y: np.ndarray) -> list[float]:
    return [v for point in zip(x[::-1], y[::-1], strict=True) for v in point]
