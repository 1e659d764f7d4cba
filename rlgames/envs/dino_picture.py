"""Dino's picture: (84, 84) uint8 grey, each pixel the mean of 7.14 x 1.79 of the page's canvas of 600 x 150.

White by day; at night the page is inverted, and so is this. Everything stands at whole pixels of the canvas, so there
are 50 places in a column of the picture where it can begin, and `draw` looks up what it covers from there. Not drawn:
moon and stars, the best score, the page's words at the end.
"""

from __future__ import annotations

from math import floor

import numpy as np
from numba.extending import register_jitable

from rlgames.envs import dino_shapes as shapes
from rlgames.envs.dino_world import CLOUD_TOP, DUCKING, PTERODACTYL, RUNNING, VIEW, WIDTH, X, shown
from rlgames.envs.screen import Canvas

SIZE = 84
CELL = 150 / SIZE, VIEW / SIZE  # height and width of a pixel on the canvas
PHASES = 50  # places of a whole pixel of the canvas within a column, a seventh of a pixel apart
INK, CLOUD_INK, PAPER = 83, 218, 255
HIGHEST, LOWEST = -8, 93  # its top, in the air
GROUND_TOP, GROUND_HEIGHT = 127, 12
DIGIT_X, DIGIT_TOP, DIGIT_EVERY, PLACES = 534, 10, 11, 5  # of the score
BLINK = 500  # ms, of which the score is not seen for half


def sheet(ink: np.ndarray, top: float, rows: int, columns: int) -> np.ndarray:
    """What a shape whose top is there covers, from each place in a column: (PHASES, rows, columns)."""
    down = top - CELL[0] * floor(top / CELL[0])
    return np.stack([shapes.coverage(ink, phase / 7, down, CELL, (rows, columns)) for phase in range(PHASES)])


def trex() -> np.ndarray:
    """In the air, by height; then the two strides and the two ducks on the ground: (102 + 4, 28, 10)."""
    right = X - CELL[1] * floor(X / CELL[1])
    every = [(shapes.STANDING, y) for y in range(HIGHEST, LOWEST + 1)]
    every += [(shape, LOWEST) for shape in (*shapes.STRIDES, *shapes.DUCKS)]
    known = {shape: shapes.samples(shape, 60, 47) for shape, _ in every}
    return np.stack(
        [shapes.coverage(known[s], right, y - CELL[0] * floor(y / CELL[0]), CELL, (28, 10)) for s, y in every]
    )


def obstacles() -> np.ndarray:
    """Small cacti by size, large ones, pterodactyls by wing and height: (12, PHASES, 30, 12)."""
    every = [(shapes.group(shapes.SMALL_CACTI, size, WIDTH[0]), 105) for size in (1, 2, 3)]
    every += [(shapes.group(shapes.LARGE_CACTI, size, WIDTH[1]), 90) for size in (1, 2, 3)]
    every += [(shape, top) for shape in shapes.PTERODACTYLS for top in (100, 75, 50)]
    return np.stack([sheet(shapes.samples(shape, 76, 50), top, 30, 12) for shape, top in every])


def clouds() -> np.ndarray:
    """By height: (42, PHASES, 9, 8)."""
    ink = shapes.samples(shapes.CLOUD_SHAPE, 46, 14)
    return np.stack([sheet(ink, top, 9, 8) for top in range(CLOUD_TOP[0], CLOUD_TOP[1] + 1)])


def grounds() -> np.ndarray:
    """Grey of two tiles side by side, by their pictures: (2, 2, PHASES, 8, 2 * SIZE + 2)."""
    tiles = [shapes.samples(shapes.ground(bumpy), VIEW, GROUND_HEIGHT) for bumpy in (False, True)]
    pairs = [sheet(np.hstack([a, b]), GROUND_TOP, 8, 2 * SIZE + 2) for a in tiles for b in tiles]
    grey = PAPER - np.rint(np.stack(pairs) / 255.0 * (PAPER - INK))
    return grey.astype(np.uint8).reshape(2, 2, PHASES, 8, -1)


def digits() -> np.ndarray:
    """By place and digit: (PLACES, 10, 7, 3)."""
    ink = [shapes.samples(shape, 8, 11) for shape in shapes.DIGITS]
    down = DIGIT_TOP - CELL[0] * floor(DIGIT_TOP / CELL[0])
    starts = [DIGIT_X + DIGIT_EVERY * place for place in range(PLACES)]
    rights = [x - CELL[1] * floor(x / CELL[1]) for x in starts]
    return np.stack([[shapes.coverage(one, right, down, CELL, (7, 3)) for one in ink] for right in rights])


TREX, OBSTACLES, CLOUDS, GROUNDS, DIGITS = trex(), obstacles(), clouds(), grounds(), digits()


@register_jitable
def lay(obs, row, column, covered, ink):
    """Something of grey `ink` over the picture from (row, column) on, as far as it lies inside."""
    rows, columns = covered.shape
    first, last = max(-column, 0), min(columns, SIZE - column)
    for r in range(min(rows, SIZE - row)):
        for c in range(first, last):
            share = int(covered[r, c])
            if share:
                obs[row + r, column + c] = (obs[row + r, column + c] * (255 - share) + ink * share + 127) // 255


@register_jitable
def row_of(y) -> int:
    return int(y) * 14 // 25


@register_jitable
def draw(s, obs):
    obs[:] = PAPER
    start = int(-s.ground) * 7  # sevenths of a pixel, 50 a column
    strip = GROUNDS[s.bumpy[0], s.bumpy[1], (-start) % PHASES]
    skipped = (start + PHASES - 1) // PHASES
    for r in range(8):
        for c in range(SIZE):
            obs[row_of(GROUND_TOP) + r, c] = strip[r, skipped + c]
    for i in range(s.clouds):
        at, top = int(s.cloud_x[i]) * 7, int(s.cloud_top[i])
        lay(obs, row_of(top), at // PHASES, CLOUDS[top - CLOUD_TOP[0], at % PHASES], CLOUD_INK)
    for i in range(s.obstacles):
        at = int(s.x[i]) * 7
        which = 3 * s.kind[i] + s.size[i] - 1
        if s.kind[i] == PTERODACTYL:
            which = 6 + 3 * s.wing[i] + (100 - int(s.top[i])) // 25
        lay(obs, row_of(s.top[i]), at // PHASES, OBSTACLES[which, at % PHASES], INK)
    lay(obs, row_of(max(s.y, HIGHEST)), X * 7 // PHASES, TREX[posture(s)], INK)
    draw_score(s, obs)
    if s.night:
        for r in range(SIZE):
            for c in range(SIZE):
                obs[r, c] = PAPER - obs[r, c]


@register_jitable
def posture(s) -> int:
    """Which of TREX: on the ground by what it does, otherwise by its height."""
    if s.y == LOWEST and s.status == RUNNING:
        return LOWEST - HIGHEST + 1 + s.seen
    if s.y == LOWEST and s.status == DUCKING:
        return LOWEST - HIGHEST + 3 + s.seen
    return int(max(s.y, HIGHEST)) - HIGHEST


@register_jitable
def draw_score(s, obs):
    """At each hundred it stands still and blinks."""
    value = int(shown(s))
    if s.flash > 0:
        if s.flash % BLINK < BLINK / 2:
            return
        value -= value % 100
    for place in range(PLACES - 1, -1, -1):
        x = (DIGIT_X + DIGIT_EVERY * place) * 7 // PHASES
        lay(obs, row_of(DIGIT_TOP), x, DIGITS[place, value % 10], INK)
        value //= 10


def paint(s: np.void) -> np.ndarray:
    """The canvas itself, twice its size."""
    colours = (INK, INK, INK), (CLOUD_INK, CLOUD_INK, CLOUD_INK), (247, 247, 247)
    ink, pale, paper = (tuple(255 - x for x in colour) for colour in colours) if s["night"] else colours
    canvas = Canvas(1200, 300, 2.0, paper)

    def put(shape: shapes.Shape, x: float, y: float, colour: tuple[int, ...]) -> None:
        for polygons, shade in ((shape.ink, colour), (shape.holes, paper)):
            for polygon in polygons:
                canvas.shape([v for px, py in polygon for v in (px + x, py + y)], shade)

    for i in range(s["clouds"]):
        put(shapes.CLOUD_SHAPE, s["cloud_x"][i], s["cloud_top"][i], pale)
    for i, bumpy in enumerate(s["bumpy"]):
        put(shapes.ground(bool(bumpy)), s["ground"] + VIEW * i, GROUND_TOP, ink)
    for kind, size, x, top, wing in zip(*(s[f][: s["obstacles"]] for f in ("kind", "size", "x", "top", "wing"))):
        cacti = (shapes.SMALL_CACTI, shapes.LARGE_CACTI)
        shape = shapes.PTERODACTYLS[wing] if kind == PTERODACTYL else shapes.group(cacti[kind], size, WIDTH[kind])
        put(shape, x, top, ink)
    on_ground = s["y"] == LOWEST
    moves = {RUNNING: shapes.STRIDES, DUCKING: shapes.DUCKS} if on_ground else {}
    put(moves.get(int(s["status"]), (shapes.STANDING,) * 2)[s["seen"]], X, s["y"], ink)
    for place, digit in enumerate(f"{int(s['score']):05d}"[-PLACES:]):
        put(shapes.DIGITS[int(digit)], DIGIT_X + DIGIT_EVERY * place, DIGIT_TOP, ink)
    return canvas.pixels()
