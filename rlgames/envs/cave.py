"""Cave: fly through a cave that narrows and is full of blocks.

Observation space: (48, 48) uint8: background 0, walls 102, blocks 127, the player's last 15 heights 204, the player
255, always at row 24 and column 15. Heights are real numbers of rows, and this picture rounds them to rows. With
`antialias` a cell of which a wall, a block or the tail covers a fraction has this fraction of the level, so one
observation holds all heights to about a hundredth of a row.
Action space: 0 fall, 1 rise. An action accelerates; there is no drag and no top speed.
Rewards: -1 for the crash, otherwise 0. The score is the number of frames survived.
Termination: the player touches a wall or a block.
Truncation: 10,000 frames.

A frame: the player moves, one column scrolls in from the right, and every 21st frame a block enters. Agents act on
every second frame by default, at which nearly every cave can be survived; "Cave:frame_skip=4" is the setting of the
tutorials. Rows are counted downwards.
"""

from math import ceil, floor

import numpy as np
from gymnasium.spaces import Box
from numba.extending import register_jitable

from rlgames.engine.game import CLOCK, Game
from rlgames.engine.rng import uniform
from rlgames.engine.shapes import (
    BLUE,
    INK,
    PAPER,
    RED,
    YELLOW,
    Picture,
    bar,
    disc,
    fill,
    line,
    point,
    polygon,
)
from rlgames.errors import InvalidValueError, brief
from rlgames.wrappers.pixels import Pixels

SIZE = 48  # rows and columns of the board
PLAYER_COLUMN, PLAYER_ROW = 15, 24  # of the board; the camera follows the player
BLOCK_WIDTH, BLOCK_HEIGHT = 2, 6  # columns, rows
BLOCKS = 3  # most on the board: a block crosses it in 49 frames, and one enters every 21
GONE = -BLOCK_WIDTH  # column of a block that is not on the board
TAIL = 15  # last heights of the player
WALL, BLOCK, TRAIL, DOT = 102, 127, 204, 255  # levels of the observation; the dot is the player
THRUST = 0.08  # rows per frame^2
WIDEST, NARROWEST, SHRINKAGE = 0.55, 0.3, 0.01  # height of the opening, and what it loses, as fractions of SIZE
SHRINK_EVERY = 51  # columns; the 51st new one is the first that is narrower
DRIFT = 0.1  # movement of the center for each unit by which the random number exceeds its threshold
BLOCK_EVERY, FIRST_BLOCK = 20, 50  # frames: a block enters once its timer and the episode exceed these
FALL, RISE = range(2)

RECORD = np.dtype(
    [
        *CLOCK,
        ("y", "f8"),  # height of the player, in rows from the top of the board at the start
        ("speed", "f8"),  # rows per frame, downwards
        ("opening", "f8"),  # height of the newest column's opening, a fraction of SIZE
        ("center", "f8"),  # height of its center, a fraction of SIZE
        ("slope", "i4"),  # direction in which the center moved last: -1, 0 or 1
        ("left", "i4"),  # index of the board's leftmost column in the two ring buffers that follow
        ("ceiling", "f8", (SIZE,)),
        ("floor", "f8", (SIZE,)),
        ("tail", "f8", (TAIL,)),  # heights in the last frames, newest last
        ("block_timer", "i4"),  # frames since a block entered
        ("block_column", "i4", (BLOCKS,)),  # leftmost column, or GONE
        ("block_top", "i4", (BLOCKS,)),
    ]
)


# ---- rules ----


@register_jitable
def reset(s):
    s.y, s.speed = float(PLAYER_ROW), 0.0
    s.opening, s.center, s.slope = WIDEST, 0.5, 0
    s.left, s.block_timer = 0, 0
    for _ in range(SIZE):
        add_column(s)
    for i in range(TAIL):
        s.tail[i] = s.y
    for i in range(BLOCKS):
        s.block_column[i], s.block_top[i] = GONE, 0


@register_jitable
def step(s, action):
    for i in range(TAIL - 1):
        s.tail[i] = s.tail[i + 1]
    s.tail[TAIL - 1] = s.y
    s.speed += -THRUST if action == RISE else THRUST
    s.y += s.speed
    scroll(s)
    move_blocks(s)
    if crashed(s):
        return -1.0, True
    return 0.0, False


@register_jitable
def scroll(s):
    if s.age % SHRINK_EVERY == 0:
        s.opening = max(s.opening - SHRINKAGE, NARROWEST)
    u = uniform(s)
    if u > (0.2 if s.slope == 1 else 0.6):  # the center is likely to keep its direction
        s.center += DRIFT * (u - 0.6)
        s.slope = 1
    elif u < (0.8 if s.slope == -1 else 0.4):
        s.center -= DRIFT * (0.4 - u)
        s.slope = -1
    else:
        s.slope = 0
    add_column(s)


@register_jitable
def add_column(s):
    """Overwrite the leftmost column with a new rightmost one."""
    s.ceiling[s.left] = (s.center - s.opening / 2) * SIZE
    s.floor[s.left] = (s.center + s.opening / 2) * SIZE
    s.left = (s.left + 1) % SIZE


@register_jitable
def move_blocks(s):
    free = -1
    for i in range(BLOCKS):
        if s.block_column[i] != GONE:
            s.block_column[i] -= 1
        if s.block_column[i] == GONE:
            free = i
    s.block_timer += 1
    if s.block_timer > BLOCK_EVERY and s.age > FIRST_BLOCK:
        s.block_timer = 0
        newest = (s.left + SIZE - 1) % SIZE
        first, last = ceil(s.ceiling[newest]), floor(s.floor[newest]) - BLOCK_HEIGHT
        s.block_column[free], s.block_top[free] = SIZE - 1, first + floor(uniform(s) * (last - first + 1))


@register_jitable
def crashed(s) -> bool:
    """Return True if the player touches a wall or a block; the sums are those of `observe`, so both round alike."""
    column, offset = (s.left + PLAYER_COLUMN) % SIZE, PLAYER_ROW - s.y
    if s.ceiling[column] + offset >= PLAYER_ROW or s.floor[column] + offset <= PLAYER_ROW:
        return True
    for i in range(BLOCKS):
        top = s.block_top[i] + offset
        in_column = 0 <= PLAYER_COLUMN - s.block_column[i] < BLOCK_WIDTH
        if in_column and top <= PLAYER_ROW <= top + BLOCK_HEIGHT:
            return True
    return False


@register_jitable
def score(s, reward):
    return float(s.age)


# ---- pictures ----


@register_jitable
def observe(s, obs):
    draw_cave(s, obs)
    offset = PLAYER_ROW - s.y  # from heights to rows of the board
    for i in range(TAIL):
        row = floor(s.tail[i] + offset + 0.5)
        if 0 <= row < SIZE:
            obs[row, PLAYER_COLUMN - TAIL + i] = TRAIL
    obs[PLAYER_ROW, PLAYER_COLUMN] = DOT


@register_jitable
def observe_antialiased(s, obs):
    draw_cave(s, obs)
    offset = PLAYER_ROW - s.y
    for c in range(SIZE):
        i = (s.left + c) % SIZE
        top, bottom = s.ceiling[i] + offset, s.floor[i] + offset
        shade(obs, floor(top) + 1, c, WALL, top - floor(top))
        shade(obs, ceil(bottom) - 1, c, WALL, ceil(bottom) - bottom)
    for i in range(BLOCKS):
        top = s.block_top[i] + offset
        for c in range(s.block_column[i], s.block_column[i] + BLOCK_WIDTH):
            shade(obs, ceil(top) - 1, c, BLOCK, ceil(top) - top)
            shade(obs, floor(top + BLOCK_HEIGHT) + 1, c, BLOCK, top - floor(top))
    for i in range(TAIL):
        row = s.tail[i] + offset
        shade(obs, floor(row), PLAYER_COLUMN - TAIL + i, TRAIL, floor(row) + 1 - row)
        shade(obs, floor(row) + 1, PLAYER_COLUMN - TAIL + i, TRAIL, row - floor(row))
    obs[PLAYER_ROW, PLAYER_COLUMN] = DOT


@register_jitable
def shade(obs, row, column, level, coverage):
    """Draw a cell of which something of this `level` covers a fraction, unless the cell is brighter already."""
    if 0 <= row < SIZE and 0 <= column < SIZE:
        obs[row, column] = max(obs[row, column], np.uint8(level * coverage + 0.5))


@register_jitable
def draw_cave(s, obs):
    """Draw walls and blocks."""
    first, end = obs[0], obs[SIZE - 1]  # these rows first hold each column's open rows [first, end)
    offset = PLAYER_ROW - s.y
    for i in range(s.left, SIZE):
        write_opening(first, end, i - s.left, s.ceiling[i] + offset, s.floor[i] + offset)
    for i in range(s.left):
        write_opening(first, end, i - s.left + SIZE, s.ceiling[i] + offset, s.floor[i] + offset)
    for r in range(1, SIZE - 1):
        row = np.uint8(r)  # bytes throughout, so that a row is a few wide instructions
        for c in range(SIZE):
            obs[r, c] = np.uint8(WALL) if (row < first[c]) | (row >= end[c]) else np.uint8(0)
    for c in range(SIZE):
        wall_on_top = (first[c] > 0) | (end[c] == 0)
        wall_at_bottom = (first[c] == SIZE) | (end[c] < SIZE)
        first[c] = np.uint8(WALL) if wall_on_top else np.uint8(0)
        end[c] = np.uint8(WALL) if wall_at_bottom else np.uint8(0)
    for i in range(BLOCKS):
        top = s.block_top[i] + offset
        for r in range(max(ceil(top), 0), min(floor(top + BLOCK_HEIGHT) + 1, SIZE)):
            for c in range(max(s.block_column[i], 0), min(s.block_column[i] + BLOCK_WIDTH, SIZE)):
                obs[r, c] = BLOCK


@register_jitable
def write_opening(first, end, c, ceiling, bottom):
    first[c] = np.uint8(min(max(floor(ceiling) + 1.0, 0.0), SIZE))
    end[c] = np.uint8(min(max(ceil(bottom), 0.0), SIZE))


@register_jitable
def draw(s, shapes):
    fill(shapes, INK)
    offset = PLAYER_ROW - s.y + 0.5  # from heights to the middle of a row
    polygon(shapes, PAPER)
    last = (s.left + SIZE - 1) % SIZE
    point(shapes, -0.5, s.ceiling[s.left] + offset)
    for c in range(SIZE):
        point(shapes, c + 0.5, s.ceiling[(s.left + c) % SIZE] + offset)
    point(shapes, SIZE + 0.5, s.ceiling[last] + offset)
    point(shapes, SIZE + 0.5, s.floor[last] + offset)
    for c in range(SIZE - 1, -1, -1):
        point(shapes, c + 0.5, s.floor[(s.left + c) % SIZE] + offset)
    point(shapes, -0.5, s.floor[s.left] + offset)
    for i in range(BLOCKS):
        if s.block_column[i] != GONE:
            left, top = s.block_column[i], s.block_top[i] + offset
            bar(shapes, RED, left, top, left + BLOCK_WIDTH, top + BLOCK_HEIGHT, 0.3)
    line(shapes, YELLOW, 0.35)
    for i in range(TAIL):
        point(shapes, i + 0.5, s.tail[i] + offset)
    point(shapes, TAIL + 0.5, s.y + offset)
    disc(shapes, BLUE, PLAYER_COLUMN + 0.5, PLAYER_ROW + 0.5, 0.6)


# ---- the game ----


def default_pixels(antialias: bool = False) -> Pixels:
    """Return the default preprocessing: agents act on every second frame, antialiased or not."""
    return Pixels(skip=2)


def game(antialias: bool = False) -> Game:
    """Return Cave; see the module on `antialias`. Raises ValueError unless it is True or False."""
    if not isinstance(antialias, bool):
        raise InvalidValueError(f"expected Cave's antialias to be True or False, got {brief(antialias)}")
    return Game(
        name="Cave:antialias=true" if antialias else "Cave",
        record=RECORD,
        observation=Box(0, 255, (SIZE, SIZE), np.uint8),
        actions=("fall", "rise"),
        max_frames=10_000,
        best_score=10_000.0,
        reset=reset,
        step=step,
        observe=observe_antialiased if antialias else observe,
        score=score,
        render=Picture(draw, 480, 480, 480 / SIZE),
        fps=30,
        keys={" ": RISE, "w": RISE},
        envs_per_thread=256,
    )
