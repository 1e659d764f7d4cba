"""Dino's observation: (84, 84) uint8 grey, each pixel the mean of 7.14 x 1.79 pixels of the canvas of 600 x 150.

White by day; at night the page is inverted, and so is the observation. Everything stands at whole pixels of the canvas,
so there are 50 positions relative to a column of the observation. For each of these the sprites are computed once, at
import, and `observe` copies them. Not drawn: moon and stars, the best score, the text after a crash.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from rlgames.engine.shapes import Picture, fill, point, polygon
from rlgames.envs.dino import shapes
from rlgames.envs.dino.world import (
    CACTUS_TOP,
    CLOUD_TOP,
    DUCKING,
    GROUND,
    PTERODACTYL,
    PTERODACTYL_TOP,
    RUNNING,
    TREX_X,
    VIEW,
    displayed_score,
)

SIZE = 84
CELL = 150 / SIZE, VIEW / SIZE  # height and width of an observation's pixel, in pixels of the canvas
PHASES = 50  # positions of a canvas pixel relative to a column: multiples of 1/7 pixel
STARTS = np.arange(PHASES) / 7
INK, CLOUD_INK, PAPER = 83, 218, 255
TREX_TOP = int(GROUND)  # top of the T-Rex on the ground; jumps reach up to 0
GROUND_TOP, GROUND_HEIGHT = 127, 12
DIGIT_X, DIGIT_TOP, DIGIT_SPACING, DIGITS_SHOWN = 534, 10, 11, 5  # of the score
FLASH_PERIOD = 500  # ms; a flashing score is hidden for half of it


# ---- sprites ----


def make_sprites(
    samples: np.ndarray, x: np.ndarray, y: np.ndarray, rows: int, columns: int, ink: int = INK
) -> np.ndarray:
    """Return a rasterized shape as observed with its corner at each (x, y) of the canvas.

    The result is (y, x, rows, columns) uint8, the shape's grey `ink` on white, from the pixel on that holds the corner.
    """
    by_column = shapes.coverage(samples, offset_in_cell(x, CELL[1]), CELL[1], columns)  # (samples, x, columns)
    by_cell = shapes.coverage(by_column.transpose(1, 2, 0), offset_in_cell(y, CELL[0]), CELL[0], rows)
    grey = np.rint(PAPER - (PAPER - ink) * by_cell)  # (x, columns, y, rows)
    return np.ascontiguousarray(grey.transpose(2, 0, 3, 1), np.uint8)


def offset_in_cell(position: np.ndarray, cell: float) -> np.ndarray:
    """Return the distance of positions from the edge of their cell; 1e-9 forgives the rounding of exact edges."""
    return np.clip(position - np.floor(position / cell + 1e-9) * cell, 0, None)


def trex_sprites() -> np.ndarray:
    """Return the T-Rex standing, by its top, then two poses each of running and ducking: (94 + 2 + 2, 28, 10)."""
    tops, x = np.arange(TREX_TOP + 1), np.array([TREX_X])
    poses = [
        make_sprites(shapes.rasterize(shape, 60, 47), x, tops[-1:], 28, 10)
        for shape in (*shapes.RUNNING, *shapes.DUCKING)
    ]
    standing = make_sprites(shapes.rasterize(shapes.STANDING, 60, 47), x, tops, 28, 10)
    return np.concatenate([standing, *poses]).squeeze(1)


def obstacle_sprites() -> np.ndarray:
    """Return small cacti by size, large ones by size, pterodactyls by wing and height: (12, PHASES, 30, 12)."""
    obstacles = [(shape, CACTUS_TOP[:1]) for shape in shapes.SMALL_CACTI]
    obstacles += [(shape, CACTUS_TOP[1:]) for shape in shapes.LARGE_CACTI]
    obstacles += [(shape, PTERODACTYL_TOP) for shape in shapes.PTERODACTYLS]
    return np.concatenate(
        [make_sprites(shapes.rasterize(shape, 76, 50), STARTS, np.array(tops), 30, 12) for shape, tops in obstacles]
    )


def cloud_sprites() -> np.ndarray:
    """Return clouds by height: (42, PHASES, 9, 8)."""
    tops = np.arange(CLOUD_TOP[0], CLOUD_TOP[1] + 1)
    return make_sprites(shapes.rasterize(shapes.CLOUD, 46, 14), STARTS, tops, 9, 8, CLOUD_INK)


def ground_sprites() -> np.ndarray:
    """Return two adjacent ground tiles, by first and second tile: (2, 2, PHASES, 8, 2 * SIZE + 2)."""
    tiles = [shapes.rasterize(shapes.ground(bumpy), VIEW, GROUND_HEIGHT) for bumpy in (False, True)]
    pairs, top = [np.hstack([first, second]) for first in tiles for second in tiles], np.array([GROUND_TOP])
    sprites = [make_sprites(pair, STARTS, top, 8, 2 * SIZE + 2) for pair in pairs]
    return np.concatenate(sprites).reshape(2, 2, PHASES, 8, -1)


def digit_sprites() -> np.ndarray:
    """Return digits by value and place: (10, DIGITS_SHOWN, 7, 3)."""
    x, top = DIGIT_X + DIGIT_SPACING * np.arange(DIGITS_SHOWN), np.array([DIGIT_TOP])
    return np.concatenate([make_sprites(shapes.rasterize(digit, 8, 11), x, top, 7, 3) for digit in shapes.DIGITS])


TREX, OBSTACLES, CLOUDS = trex_sprites(), obstacle_sprites(), cloud_sprites()
GROUNDS, DIGITS = ground_sprites(), digit_sprites()
HEIGHTS, WIDTHS = (  # rows and columns of each obstacle that are not white
    np.array([1 + np.flatnonzero((sprite < PAPER).any(axes))[-1] for sprite in OBSTACLES]) for axes in ((0, 2), (0, 1))
)


# ---- the observation ----


@register_jitable
def observe(s, obs):
    obs[:] = PAPER
    start = int(-s.ground_x) * 7  # in 1/7 pixel, 50 a column
    tiles = GROUNDS[s.bumpy[0], s.bumpy[1], (-start) % PHASES]
    first_column = (start + PHASES - 1) // PHASES
    for r in range(8):
        for c in range(SIZE):
            obs[row_of(GROUND_TOP) + r, c] = tiles[r, first_column + c]
    for i in range(s.clouds):
        x, top = int(s.cloud_x[i]) * 7, int(s.cloud_top[i])
        draw(obs, row_of(top), x // PHASES, CLOUDS[top - CLOUD_TOP[0], x % PHASES], 9, 8)
    for i in range(s.obstacles):
        x = int(s.x[i]) * 7
        sprite = 3 * s.kind[i] + s.size[i] - 1
        if s.kind[i] == PTERODACTYL:
            sprite = 6 + 3 * s.wing[i] + (100 - int(s.top[i])) // 25
        draw(obs, row_of(s.top[i]), x // PHASES, OBSTACLES[sprite, x % PHASES], HEIGHTS[sprite], WIDTHS[sprite])
    draw(obs, row_of(s.y), TREX_X * 7 // PHASES, TREX[trex_sprite(s)], 28, 10)
    draw_score(s, obs)
    if s.night:
        for r in range(SIZE):
            for c in range(SIZE):
                obs[r, c] = ~obs[r, c]


@register_jitable
def draw(obs, row, column, sprite, rows, columns):
    """Draw so many rows and columns of a sprite at (row, column); where shapes overlap, the darker pixel stays."""
    for r in range(rows):
        for c in range(max(-column, 0), min(columns, SIZE - column)):
            obs[row + r, column + c] = min(obs[row + r, column + c], sprite[r, c])


@register_jitable
def row_of(y) -> int:
    return int(y) * 14 // 25


@register_jitable
def trex_sprite(s) -> int:
    """Return the index in TREX: on the ground by status and pose, otherwise by height."""
    if s.y == TREX_TOP and s.status == RUNNING:
        return TREX_TOP + 1 + s.drawn_pose
    if s.y == TREX_TOP and s.status == DUCKING:
        return TREX_TOP + 3 + s.drawn_pose
    return int(s.y)


@register_jitable
def draw_score(s, obs):
    """Draw the score; at each hundred the page flashes this hundred for a while."""
    value = displayed_score(s)
    if s.flash_time > 0:
        if s.flash_time % FLASH_PERIOD < FLASH_PERIOD / 2:
            return
        value -= value % 100
    for place in range(DIGITS_SHOWN - 1, -1, -1):
        x = (DIGIT_X + DIGIT_SPACING * place) * 7 // PHASES
        draw(obs, row_of(DIGIT_TOP), x, DIGITS[value % 10, place], 7, 3)
        value //= 10


# ---- the picture for people: the canvas, enlarged ----


def flatten(drawn: list[shapes.Shape]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all points (n, 2), the first polygon of each shape, and of each polygon the first point and 1 for a hole.

    The last entry of both tables is where a further shape or polygon would begin.
    """
    points: list[tuple[float, float]] = []
    first_polygon, polygons = [0], []
    for shape in drawn:
        for outlines, hole in ((shape.ink, 0), (shape.holes, 1)):
            for outline in outlines:
                polygons.append((len(points), hole))
                points += outline
        first_polygon.append(len(polygons))
    polygons.append((len(points), 0))
    return np.array(points, np.float64), np.array(first_polygon), np.array(polygons)


OUTLINES = [
    *(*shapes.RUNNING, *shapes.DUCKING, shapes.STANDING, *shapes.SMALL_CACTI, *shapes.LARGE_CACTI),
    *(*shapes.PTERODACTYLS, shapes.CLOUD, shapes.ground(False), shapes.ground(True), *shapes.DIGITS),
]
POINTS, FIRST_POLYGON, POLYGONS = flatten(OUTLINES)
STANDING_OUTLINE, CACTI_OUTLINE, PTERODACTYL_OUTLINE, CLOUD_OUTLINE, GROUND_OUTLINE, DIGIT_OUTLINE = (
    4,
    5,
    11,
    13,
    14,
    16,
)
BACKGROUND = 247  # grey level by day


@register_jitable
def draw_canvas(s, shapes):
    """Draw the picture for people, in pixels of the canvas."""
    ink, paper = grey(s, INK), grey(s, BACKGROUND)
    fill(shapes, paper)
    for i in range(s.clouds):
        draw_outline(shapes, CLOUD_OUTLINE, s.cloud_x[i], s.cloud_top[i], grey(s, CLOUD_INK), paper)
    for i in range(2):
        draw_outline(shapes, GROUND_OUTLINE + s.bumpy[i], s.ground_x + VIEW * i, GROUND_TOP, ink, paper)
    for i in range(s.obstacles):
        outline = CACTI_OUTLINE + 3 * s.kind[i] + s.size[i] - 1
        if s.kind[i] == PTERODACTYL:
            outline = PTERODACTYL_OUTLINE + s.wing[i]
        draw_outline(shapes, outline, s.x[i], s.top[i], ink, paper)
    trex = STANDING_OUTLINE
    if s.y == TREX_TOP and (s.status == RUNNING or s.status == DUCKING):
        trex = s.drawn_pose + (2 if s.status == DUCKING else 0)
    draw_outline(shapes, trex, TREX_X, s.y, ink, paper)
    value = int(s.score)
    for place in range(DIGITS_SHOWN - 1, -1, -1):
        draw_outline(shapes, DIGIT_OUTLINE + value % 10, DIGIT_X + DIGIT_SPACING * place, DIGIT_TOP, ink, paper)
        value //= 10


@register_jitable
def draw_outline(shapes, outline, x, y, color, paper):
    """Draw a shape of OUTLINES with its corner at (x, y)."""
    for i in range(FIRST_POLYGON[outline], FIRST_POLYGON[outline + 1]):
        polygon(shapes, paper if POLYGONS[i, 1] else color)
        for j in range(POLYGONS[i, 0], POLYGONS[i + 1, 0]):
            point(shapes, POINTS[j, 0] + x, POINTS[j, 1] + y)


@register_jitable
def grey(s, level) -> int:
    """Return the color of a grey level, inverted at night."""
    return (PAPER - level if s.night else level) * 0x010101


render = Picture(draw_canvas, 1600, 400, 8 / 3)
