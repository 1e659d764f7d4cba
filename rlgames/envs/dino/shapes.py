"""Outlines of all that Dino draws, in pixels of the canvas of 600 x 150, and the coverage of larger pixels by them.

The outlines are drawn for this project; their sizes and places are those of the page's sprites.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Polygon = tuple[tuple[float, float], ...]


class Shape(NamedTuple):
    """The area inside the `ink` polygons and outside the `holes`."""

    ink: tuple[Polygon, ...]
    holes: tuple[Polygon, ...] = ()


def box(left: float, top: float, right: float, bottom: float) -> Polygon:
    return (left, top), (right, top), (right, bottom), (left, bottom)


def moved(polygons: tuple[Polygon, ...], dx: float) -> tuple[Polygon, ...]:
    return tuple(tuple((x + dx, y) for x, y in polygon) for polygon in polygons)


BODY = (
    *((22, 3), (24, 2), (40, 2), (42, 4), (42, 13), (32, 13), (32, 15), (38, 15), (38, 17), (31, 17), (30, 21)),
    *((34, 21), (34, 25), (33, 25), (32, 23), (30, 23), (30, 29), (26, 35), (25, 37), (12, 37), (2, 28), (2, 17)),
    *((4, 17), (5, 22), (9, 25), (12, 25), (18, 20), (22, 17)),
)
EYE = box(26, 5, 28, 7)
LEFT_LEG = ((12, 36), (20, 36), (15, 41), (15, 43), (16, 43), (16, 45), (12, 45))
RIGHT_LEG = ((19, 36), (25, 36), (24, 40), (24, 43), (26, 43), (26, 45), (22, 45), (22, 40))
RAISED_LEFT_LEG = ((12, 36), (20, 36), (16, 39), (18, 39), (18, 41), (14, 41))
RAISED_RIGHT_LEG = ((20, 36), (25, 36), (27, 37), (27, 39), (22, 39))
DUCKING_BODY = (
    *((2, 19), (4, 19), (5, 22), (14, 23), (16, 21), (33, 21), (34, 23), (38, 22), (40, 20), (55, 20), (57, 22)),
    *((57, 31), (47, 31), (47, 33), (53, 33), (53, 35), (41, 35), (36, 31), (34, 35), (35, 38), (35, 40), (31, 40)),
    *((31, 36), (12, 36), (2, 24)),
)
DUCKING_EYE = box(41, 23, 43, 25)
STANDING = Shape((BODY, LEFT_LEG, RIGHT_LEG), (EYE,))
RUNNING = Shape((BODY, LEFT_LEG, RAISED_RIGHT_LEG), (EYE,)), Shape((BODY, RAISED_LEFT_LEG, RIGHT_LEG), (EYE,))
DUCKING = (
    Shape((DUCKING_BODY, box(13, 36, 17, 41), ((19, 36), (25, 36), (22, 41), (23, 45), (19, 45))), (DUCKING_EYE,)),
    Shape((DUCKING_BODY, ((13, 36), (19, 36), (16, 41), (17, 45), (13, 45)), box(19, 36, 23, 41)), (DUCKING_EYE,)),
)


Arm = tuple[float, float, float, float]


def cactus(x: float, trunk: Arm, left: Arm, right: Arm) -> tuple[Polygon, ...]:
    """Return the outlines of a cactus at `x`.

    `trunk` is (left, top, right, bottom), an arm (outer edge, top, inner edge, bottom); arms bend towards the trunk.
    """
    polygons = [box(*trunk)]
    for (outer, top, inner, bottom), side in ((left, trunk[0]), (right, trunk[2])):
        bend = 2 if outer < inner else -2
        elbow = bottom - abs(inner - outer)
        polygons.append(((outer, top), (inner, top), (inner, elbow), (side, elbow), (side, bottom)))
        polygons[-1] += (outer + 1.5 * bend, bottom), (outer, bottom - 3)
    return moved(tuple(polygons), x)


SMALL_TRUNK, LARGE_TRUNK = (6, 1, 11, 34), (9, 1, 16, 47)
SMALL_CACTI = (  # groups of one, two and three
    Shape(cactus(0, SMALL_TRUNK, (1, 9.5, 4, 22), (16, 5.5, 13, 19))),
    Shape(
        cactus(0, SMALL_TRUNK, (1, 9.5, 4, 22), (16, 5.5, 13, 19))
        + cactus(17, SMALL_TRUNK, (1, 5, 5, 17), (16, 5.5, 13, 21))
    ),
    Shape(
        cactus(0, SMALL_TRUNK, (1, 9.5, 4, 22), (16, 5.5, 13, 19))
        + cactus(17, SMALL_TRUNK, (1, 4.5, 4, 24), (16, 8.5, 13, 26))
        + cactus(34, SMALL_TRUNK, (1, 4.5, 4, 19), (16, 5.5, 13, 21))
    ),
)
LARGE_CACTI = (
    Shape(cactus(0, LARGE_TRUNK, (1, 13, 6, 32), (24, 11, 19, 31))),
    Shape(
        cactus(0, LARGE_TRUNK, (1, 13, 6, 32), (23, 11, 19, 30))
        + cactus(25, LARGE_TRUNK, (1, 6, 6, 26), (24, 11, 19, 31))
    ),
    Shape(
        cactus(0, LARGE_TRUNK, (1, 13, 6, 33), (23, 12, 19, 31))
        + cactus(25, (6, 3, 11, 48), (0, 17, 4, 34), (17, 8.5, 14, 21))
        + cactus(39, (5, 20, 8, 48), (0, 25, 3, 38), (13, 25, 10, 37))
        + cactus(50, LARGE_TRUNK, (1, 7, 6, 26), (24, 12, 19, 31))
    ),
)

HEAD = ((2, 18), (2, 16), (10, 8), (14, 8), (16, 12), (16, 16))
REAR = ((34, 20), (44, 20), (44, 22), (38, 22), (38, 24), (42, 24), (42, 26), (36, 26), (36, 28))
WING_DOWN = (*HEAD, (30, 16), *REAR, (26, 28), (22, 33), (22, 36), (20, 38), (18, 38), (18, 23), (14, 20), (14, 18))
WING_UP = (*HEAD, (18, 16), (18, 8), (16, 8), (16, 2), (18, 2), (30, 12), (30, 18), *REAR, (22, 28), (14, 20), (14, 18))
PTERODACTYLS = Shape((WING_DOWN,)), Shape((WING_UP,))

CLOUD_OUTER = ((0, 13), (5, 9), (12, 8), (17, 3), (22, 0), (29, 1), (31, 5), (40, 6), (46, 12), (46, 13))
CLOUD_INNER = ((4, 12), (6, 10), (13, 9), (18, 4), (22, 1), (28, 2), (30, 6), (39, 7), (45, 12))
CLOUD = Shape((CLOUD_OUTER,), (CLOUD_INNER,))

LINE, HILL, DIP = 6.0, 2.0, 8.0  # heights of the ground's line, in its tile of 600 x 12
BUMPS = ((129, 16, HILL), (160, 12, DIP), (450, 16, HILL), (472, 17, HILL))  # of the bumpy tile: start, length, height
STONES = {  # of both tiles: height -> (start, length)
    9: ((55, 3), (151, 4), (226, 3), (353, 4), (575, 4)),
    10: ((6, 4), (85, 1), (102, 2), (182, 2), (246, 1), (321, 2), (381, 3), (438, 3), (497, 3), (548, 2), (563, 3)),
    11: ((231, 1), (299, 1), (410, 2), (491, 1), (515, 3)),
}


def ground(bumpy: bool) -> Shape:
    """Return one of the two ground tiles of 600 x 12."""
    above = [(0.0, LINE)]
    for x, length, height in BUMPS if bumpy else ():
        slope = min(5, length / 4)
        above += [(x, LINE), (x + slope, height), (x + length - slope, height), (x + length, LINE)]
    above.append((600.0, LINE))
    below = [(x, y + 1) for x, y in reversed(above)]
    stones = [box(x, y, x + length, y + 1) for y, row in STONES.items() for x, length in row]
    return Shape(((*above, *below), *stones))


SEGMENTS = (  # of a digit of 8 x 11: top, upper left, upper right, middle, lower left, lower right, bottom
    *(box(1, 0, 7, 2), box(0, 1, 3, 6), box(5, 1, 8, 6), box(1, 5, 7, 7)),
    *(box(0, 6, 3, 10), box(5, 6, 8, 10), box(1, 9, 7, 11)),
)
LIT = ("012456", "25", "02346", "02356", "1235", "01356", "013456", "025", "0123456", "012356")  # segments by digit
DIGITS = tuple(Shape(tuple(SEGMENTS[int(i)] for i in lit)) for lit in LIT)

SUPERSAMPLING = 4  # samples of a canvas pixel, in both directions


def rasterize(shape: Shape, width: int, height: int) -> np.ndarray:
    """Return the samples inside `shape`, bool (height * SUPERSAMPLING, width * SUPERSAMPLING)."""
    y, x = ((np.arange(n * SUPERSAMPLING) + 0.5) / SUPERSAMPLING for n in (height, width))
    samples = np.zeros((len(y), len(x)), np.bool_)
    for polygons, value in ((shape.ink, True), (shape.holes, False)):
        for polygon in polygons:
            samples[inside(polygon, x, y[:, None])] = value
    return samples


def inside(polygon: Polygon, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return which points (x, y) lie inside `polygon`: those with an odd number of edges to their right."""
    odd = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.bool_)
    for (x0, y0), (x1, y1) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        if y0 != y1:
            odd ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return odd


def coverage(samples: np.ndarray, starts: np.ndarray, cell: float, cells: int) -> np.ndarray:
    """Return the fraction of each of `cells` cells, `cell` canvas pixels long, that lines of samples cover.

    `samples` is (..., n); each line is placed at all `starts` (canvas pixels). The result is (..., starts, cells).
    """
    total = np.concatenate([np.zeros((*samples.shape[:-1], 1)), np.cumsum(samples, -1)], -1)  # left of each sample
    edges = np.clip((np.arange(cells + 1) * cell - starts[:, None]) * SUPERSAMPLING, 0, samples.shape[-1])
    whole = np.minimum(edges.astype(int), samples.shape[-1] - 1)
    fraction = edges - whole
    return np.diff(total[..., whole] * (1 - fraction) + total[..., whole + 1] * fraction) / (cell * SUPERSAMPLING)
