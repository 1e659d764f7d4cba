"""Cave: fly through a cave that narrows and is full of blocks; -1 at the crash, otherwise 0, 10,000 steps at most.

The player stays at column 15 and chooses to fall or to rise (acceleration only: there is no drag and no top speed)
while one column a step scrolls in from the right. Heights are real numbers of rows and grow downwards. The score is the
number of steps survived. A `frame_skip` of 4 is the tutorial's ("Cave:frame_skip=4"); at 2, the default of
`rlgames.make`, nearly every cave can be survived. One picture tells nearly all: the tail shows the speed.

Picture: 48 x 48 uint8, walls and blocks ahead and the player's tail behind, to whole rows. With `antialias` the row
next to a wall or a block is as bright as that is near, and so are the two rows that the tail is between: one
picture then tells all heights to about a hundredth of a row.
"""

from math import ceil, floor

import numpy as np
from gymnasium.spaces import Box
from numba.extending import register_jitable

from rlgames.engine.game import CLOCK, Game
from rlgames.engine.rendering import BLUE, INK, PAPER, RED, YELLOW, Canvas
from rlgames.engine.rng import uniform
from rlgames.errors import InvalidValueError
from rlgames.wrappers.pixels import Pixels

SIZE = 48  # rows and columns
PLAYER = 15  # the player's column
EYE = 24  # the row at which the camera holds the player
BLOCK_WIDTH, BLOCK_HEIGHT = 2, 6  # columns, rows
BLOCKS = 3  # on the board at most: it takes 49 steps to leave, and one enters every 21
GONE = -BLOCK_WIDTH  # the column of a block that is not on the board
TAIL = 15  # last heights of the player
WALL, BLOCK, TRAIL, SELF = 102, 127, 204, 255  # levels of the picture: 0.4, 0.5, 0.8 and 1.0 of 255
THRUST = 0.08  # rows per step^2
WIDEST, NARROWEST, SHRINK = 0.55, 0.3, 0.01  # the cave's height, of 48 rows, and what it loses
SHRINK_EVERY = 51  # columns; the 51st new one is the first that is narrower
DRIFT = 0.1  # how far the centre moves: this times what the dice exceed their threshold by
BLOCK_EVERY, FIRST_BLOCK = 20, 50  # steps: a block enters once its counter and the episode exceed these
FALL, RISE = range(2)

RECORD = np.dtype(
    [
        *CLOCK,
        ("y", "f8"),
        ("speed", "f8"),  # rows per step
        ("size", "f8"),  # of the newest column, of 48 rows
        ("centre", "f8"),
        ("slope", "i4"),
        ("left", "i4"),  # where in the two rings below the leftmost column stands
        ("ceiling", "f8", (SIZE,)),
        ("floor", "f8", (SIZE,)),
        ("tail", "f8", (TAIL,)),  # heights before this one, newest last
        ("since", "i4"),  # the block counter
        ("block_column", "i4", (BLOCKS,)),  # leftmost column, GONE: none
        ("block_top", "i4", (BLOCKS,)),
    ]
)


@register_jitable
def reset(s):
    s.y, s.speed = float(EYE), 0.0
    s.size, s.centre, s.slope = WIDEST, 0.5, 0
    s.left, s.since = 0, 0
    for _ in range(SIZE):
        add_column(s)
    for i in range(TAIL):
        s.tail[i] = s.y
    for i in range(BLOCKS):
        s.block_column[i], s.block_top[i] = GONE, 0


@register_jitable
def add_column(s):
    """The leftmost column's place in the rings is taken by the newest one."""
    s.ceiling[s.left] = (s.centre - s.size / 2) * SIZE
    s.floor[s.left] = (s.centre + s.size / 2) * SIZE
    s.left = (s.left + 1) % SIZE


@register_jitable
def scroll(s):
    if s.age % SHRINK_EVERY == 0:
        s.size = max(s.size - SHRINK, NARROWEST)
    u = uniform(s)
    if u > (0.2 if s.slope == 1 else 0.6):  # a slope keeps its direction more often than not
        s.centre += DRIFT * (u - 0.6)
        s.slope = 1
    elif u < (0.8 if s.slope == -1 else 0.4):
        s.centre -= DRIFT * (0.4 - u)
        s.slope = -1
    else:
        s.slope = 0
    add_column(s)


@register_jitable
def move_blocks(s):
    free = -1
    for i in range(BLOCKS):
        if s.block_column[i] != GONE:
            s.block_column[i] -= 1
        if s.block_column[i] == GONE:
            free = i
    s.since += 1
    if s.since > BLOCK_EVERY and s.age > FIRST_BLOCK:
        s.since = 0
        newest = (s.left + SIZE - 1) % SIZE
        first, last = ceil(s.ceiling[newest]), floor(s.floor[newest]) - BLOCK_HEIGHT
        s.block_column[free], s.block_top[free] = SIZE - 1, first + floor(uniform(s) * (last - first + 1))


@register_jitable
def crashed(s) -> bool:
    """Judged on the screen, where the player is at row EYE, with the sums of `observe`: they round alike."""
    here, up = (s.left + PLAYER) % SIZE, EYE - s.y
    if s.ceiling[here] + up >= EYE or s.floor[here] + up <= EYE:
        return True
    for i in range(BLOCKS):
        top = s.block_top[i] + up
        if 0 <= PLAYER - s.block_column[i] < BLOCK_WIDTH and top <= EYE <= top + BLOCK_HEIGHT:
            return True
    return False


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
def score(s, reward):
    return float(s.age)


# ---- pictures ----


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
def observe(s, obs):
    draw_cave(s, obs)
    draw_tail(s, obs)


@register_jitable
def shade(obs, row, column, level, share):
    """A cell of which something covers a `share`, unless there is something brighter already."""
    if 0 <= row < SIZE and 0 <= column < SIZE:
        obs[row, column] = max(obs[row, column], np.uint8(level * share + 0.5))


@register_jitable
def observe_antialiased(s, obs):
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


def render(s: np.void) -> np.ndarray:
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


def default_pixels(antialias: bool = False) -> Pixels:
    """What an agent sees: every second picture, antialiased or not."""
    return Pixels(skip=2)


def game(antialias: bool = False) -> Game:
    """Observation: (48, 48) uint8. Raises ValueError unless `antialias` is True or False."""
    if not isinstance(antialias, bool):
        raise InvalidValueError(f"expected Cave's antialias to be True or False, got {antialias!r}")
    return Game(
        name="Cave:antialias=true" if antialias else "Cave",
        record=RECORD,
        observation=Box(0, 255, (SIZE, SIZE), np.uint8),
        actions=("fall", "rise"),
        max_frames=10_000,
        reset=reset,
        step=step,
        observe=observe_antialiased if antialias else observe,
        score=score,
        render=render,
        fps=30,
        keys={" ": RISE, "w": RISE},
        envs_per_thread=256,
    )
