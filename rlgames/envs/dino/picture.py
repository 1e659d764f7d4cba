"""Dino's picture: (84, 84) uint8 grey, each pixel the mean of 7.14 x 1.79 of the page's canvas of 600 x 150.

White by day; at night the page is inverted, and so is this. Everything stands at whole pixels of the canvas, so there
are 50 places in a column of the picture where it can begin, and `observe` looks up what it covers from there. Not
drawn: moon and stars, the best score, the page's words at the end.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from rlgames.engine.rendering import Canvas, Color
from rlgames.envs.dino import shapes as shapes
from rlgames.envs.dino.world import (
    CACTUS_TOP,
    CLOUD_TOP,
    DUCKING,
    GROUND,
    PTERODACTYL,
    PTERODACTYL_TOP,
    RUNNING,
    VIEW,
    X,
    shown,
)

SIZE = 84
CELL = 150 / SIZE, VIEW / SIZE  # height and width of a pixel on the canvas
PHASES = 50  # places of a whole pixel of the canvas within a column, a seventh of a pixel apart
STARTS = np.arange(PHASES) / 7
INK, CLOUD_INK, PAPER = 83, 218, 255
LOWEST = int(GROUND)  # the T-Rex's top when it does not jump; no jump is higher than 0
GROUND_TOP, GROUND_HEIGHT = 127, 12
DIGIT_X, DIGIT_TOP, DIGIT_EVERY, PLACES = 534, 10, 11, 5  # of the score
BLINK = 500  # ms, of which the score is not seen for half


def sheet(shape: np.ndarray, x: np.ndarray, y: np.ndarray, rows: int, columns: int, ink: int = INK) -> np.ndarray:
    """Samples of a shape as they are seen from the pixel on that holds its corner, which is at (x, y) of the canvas.

    Grey (y, x, rows, columns) uint8 on white; `ink` is the shape's own grey.
    """
    across = shapes.shares(shape, within(x, CELL[1]), CELL[1], columns)  # (samples, x, columns)
    both = shapes.shares(across.transpose(1, 2, 0), within(y, CELL[0]), CELL[0], rows)  # (x, columns, y, rows)
    return np.ascontiguousarray(np.rint(PAPER - (PAPER - ink) * both).transpose(2, 0, 3, 1), np.uint8)


def within(at: np.ndarray, cell: float) -> np.ndarray:
    """Canvas pixels since the edge of a picture's pixel, for edges, too, that are not quite met in binary."""
    return np.clip(at - np.floor(at / cell + 1e-9) * cell, 0, None)


def trex() -> np.ndarray:
    """Standing, by its top; then the two strides and the two ducks on the ground: (94 + 4, 28, 10)."""
    air, x = np.arange(LOWEST + 1), np.array([X])
    moves = [sheet(shapes.samples(shape, 60, 47), x, air[-1:], 28, 10) for shape in (*shapes.STRIDES, *shapes.DUCKS)]
    return np.concatenate([sheet(shapes.samples(shapes.STANDING, 60, 47), x, air, 28, 10), *moves]).squeeze(1)


def obstacles() -> np.ndarray:
    """Small cacti by size, large ones, pterodactyls by wing and height: (12, PHASES, 30, 12)."""
    every = [(shape, CACTUS_TOP[:1]) for shape in shapes.SMALL_GROUPS]
    every += [(shape, CACTUS_TOP[1:]) for shape in shapes.LARGE_GROUPS]
    flying = [(shape, PTERODACTYL_TOP) for shape in shapes.PTERODACTYLS]
    known = [(shapes.samples(shape, 76, 50), np.array(tops)) for shape, tops in (*every, *flying)]
    return np.concatenate([sheet(samples, STARTS, tops, 30, 12) for samples, tops in known])


def clouds() -> np.ndarray:
    """By height: (42, PHASES, 9, 8)."""
    tops = np.arange(CLOUD_TOP[0], CLOUD_TOP[1] + 1)
    return sheet(shapes.samples(shapes.CLOUD_SHAPE, 46, 14), STARTS, tops, 9, 8, CLOUD_INK)


def grounds() -> np.ndarray:
    """Two tiles side by side, by their pictures: (2, 2, PHASES, 8, 2 * SIZE + 2)."""
    tiles = [shapes.samples(shapes.ground(bumpy), VIEW, GROUND_HEIGHT) for bumpy in (False, True)]
    pairs, top = [np.hstack([a, b]) for a in tiles for b in tiles], np.array([GROUND_TOP])
    return np.concatenate([sheet(pair, STARTS, top, 8, 2 * SIZE + 2) for pair in pairs]).reshape(2, 2, PHASES, 8, -1)


def digits() -> np.ndarray:
    """By digit and place: (10, PLACES, 7, 3)."""
    places, top = DIGIT_X + DIGIT_EVERY * np.arange(PLACES), np.array([DIGIT_TOP])
    return np.concatenate([sheet(shapes.samples(digit, 8, 11), places, top, 7, 3) for digit in shapes.DIGITS])


TREX, OBSTACLES, CLOUDS, GROUNDS, DIGITS = trex(), obstacles(), clouds(), grounds(), digits()
HEIGHTS, WIDTHS = (  # of each of OBSTACLES, as far as it is not white
    np.array([1 + np.flatnonzero((one < PAPER).any(axis))[-1] for one in OBSTACLES]) for axis in ((0, 2), (0, 1))
)


@register_jitable
def lay(obs, row, column, picture, rows, columns):
    """A picture of so many rows and columns, from (row, column) on; where it meets another one the darker is seen."""
    for r in range(rows):
        for c in range(max(-column, 0), min(columns, SIZE - column)):
            obs[row + r, column + c] = min(obs[row + r, column + c], picture[r, c])


@register_jitable
def row_of(y) -> int:
    return int(y) * 14 // 25


@register_jitable
def observe(s, obs):
    obs[:] = PAPER
    start = int(-s.ground) * 7  # sevenths of a pixel, 50 a column
    strip = GROUNDS[s.bumpy[0], s.bumpy[1], (-start) % PHASES]
    skipped = (start + PHASES - 1) // PHASES
    for r in range(8):
        for c in range(SIZE):
            obs[row_of(GROUND_TOP) + r, c] = strip[r, skipped + c]
    for i in range(s.clouds):
        at, top = int(s.cloud_x[i]) * 7, int(s.cloud_top[i])
        lay(obs, row_of(top), at // PHASES, CLOUDS[top - CLOUD_TOP[0], at % PHASES], 9, 8)
    for i in range(s.obstacles):
        at = int(s.x[i]) * 7
        which = 3 * s.kind[i] + s.size[i] - 1
        if s.kind[i] == PTERODACTYL:
            which = 6 + 3 * s.wing[i] + (100 - int(s.top[i])) // 25
        lay(obs, row_of(s.top[i]), at // PHASES, OBSTACLES[which, at % PHASES], HEIGHTS[which], WIDTHS[which])
    lay(obs, row_of(s.y), X * 7 // PHASES, TREX[posture(s)], 28, 10)
    draw_score(s, obs)
    if s.night:
        for r in range(SIZE):
            for c in range(SIZE):
                obs[r, c] = ~obs[r, c]


@register_jitable
def posture(s) -> int:
    """Which of TREX: on the ground by what it does, otherwise by its height."""
    if s.y == LOWEST and s.status == RUNNING:
        return LOWEST + 1 + s.seen
    if s.y == LOWEST and s.status == DUCKING:
        return LOWEST + 3 + s.seen
    return int(s.y)


@register_jitable
def draw_score(s, obs):
    """At each hundred it stands still and blinks."""
    value = shown(s)
    if s.flash > 0:
        if s.flash % BLINK < BLINK / 2:
            return
        value -= value % 100
    for place in range(PLACES - 1, -1, -1):
        x = (DIGIT_X + DIGIT_EVERY * place) * 7 // PHASES
        lay(obs, row_of(DIGIT_TOP), x, DIGITS[value % 10, place], 7, 3)
        value //= 10


def render(s: np.void) -> np.ndarray:
    """The canvas itself, larger."""
    ink, pale, paper = (grey(level, bool(s["night"])) for level in (INK, CLOUD_INK, 247))
    canvas = Canvas(1600, 400, 8 / 3, paper)

    def put(shape: shapes.Shape, x: float, y: float, colour: Color) -> None:
        for polygons, shade in ((shape.ink, colour), (shape.holes, paper)):
            for polygon in polygons:
                canvas.shape([v for px, py in polygon for v in (px + x, py + y)], shade)

    for i in range(s["clouds"]):
        put(shapes.CLOUD_SHAPE, s["cloud_x"][i], s["cloud_top"][i], pale)
    for i, bumpy in enumerate(s["bumpy"]):
        put(shapes.ground(bool(bumpy)), s["ground"] + VIEW * i, GROUND_TOP, ink)
    for i in range(s["obstacles"]):
        shape = shapes.PTERODACTYLS[s["wing"][i]]
        if s["kind"][i] != PTERODACTYL:
            shape = (shapes.SMALL_GROUPS, shapes.LARGE_GROUPS)[s["kind"][i]][s["size"][i] - 1]
        put(shape, s["x"][i], s["top"][i], ink)
    on_ground = s["y"] == LOWEST
    moves = {RUNNING: shapes.STRIDES, DUCKING: shapes.DUCKS} if on_ground else {}
    put(moves.get(int(s["status"]), (shapes.STANDING,) * 2)[s["seen"]], X, s["y"], ink)
    for place, digit in enumerate(f"{int(s['score']):05d}"[-PLACES:]):
        put(shapes.DIGITS[int(digit)], DIGIT_X + DIGIT_EVERY * place, DIGIT_TOP, ink)
    return canvas.pixels()


def grey(level: int, inverted: bool) -> Color:
    level = PAPER - level if inverted else level
    return level, level, level
