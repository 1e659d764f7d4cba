"""Pictures for people as lists of shapes: rules write them, Pillow and a browser's canvas paint them alike.

A picture is one float64 array. Its first number is its length, its second the place of the number that counts the open
shape's values; then come the shapes, each as kind, color (0xRRGGBB), count and so many values:

    FILL      nothing: the whole picture in one color
    DISC      x, y, radius
    BAR       left, top, right, bottom, radius of the corners
    LINE      width, x0, y0, x1, y1, ...
    POLYGON   x0, y0, x1, y1, ...

Coordinates are in the game's own unit, from the top left corner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba.extending import register_jitable

from rlgames.engine import rendering
from rlgames.engine.rendering import Canvas, Color

FILL, DISC, BAR, LINE, POLYGON = range(5)
START = 2  # place of the first shape
CAPACITY = 8192  # numbers of the longest picture


def packed(color: Color) -> int:
    """Return a color as 0xRRGGBB."""
    red, green, blue = color
    return red << 16 | green << 8 | blue


INK, PAPER, FAINT = packed(rendering.INK), packed(rendering.PAPER), packed(rendering.FAINT)
RED, BLUE = packed(rendering.RED), packed(rendering.BLUE)
GREEN, YELLOW = packed(rendering.GREEN), packed(rendering.YELLOW)


@register_jitable
def clear(shapes):
    """Start a picture."""
    shapes[0] = START


@register_jitable
def start(shapes, kind, color):
    """Start a shape without values."""
    end = int(shapes[0])
    shapes[end], shapes[end + 1], shapes[end + 2] = kind, color, 0
    shapes[0], shapes[1] = end + 3, end + 2


@register_jitable
def add(shapes, value):
    """Append a value to the open shape."""
    end, count = int(shapes[0]), int(shapes[1])
    shapes[end] = value
    shapes[0] = end + 1
    shapes[count] += 1


@register_jitable
def point(shapes, x, y):
    """Append a point to the open line or polygon."""
    add(shapes, x)
    add(shapes, y)


@register_jitable
def fill(shapes, color):
    start(shapes, FILL, color)


@register_jitable
def disc(shapes, color, x, y, radius):
    start(shapes, DISC, color)
    point(shapes, x, y)
    add(shapes, radius)


@register_jitable
def bar(shapes, color, left, top, right, bottom, radius):
    start(shapes, BAR, color)
    point(shapes, left, top)
    point(shapes, right, bottom)
    add(shapes, radius)


@register_jitable
def line(shapes, color, width):
    """Start a line; `point` appends to it."""
    start(shapes, LINE, color)
    add(shapes, width)


@register_jitable
def segment(shapes, color, width, x0, y0, x1, y1):
    """A straight line."""
    line(shapes, color, width)
    point(shapes, x0, y0)
    point(shapes, x1, y1)


@register_jitable
def polygon(shapes, color):
    """Start a polygon; `point` appends to it."""
    start(shapes, POLYGON, color)


class Fields:
    """A record whose fields are attributes, as in Numba; NumPy's own view of this kind hides a field named `size`."""

    def __init__(self, record: np.void):
        self._record = record

    def __getattr__(self, name: str) -> Any:
        return self._record[name]


@dataclass(frozen=True)
class Picture:
    """The `render` of a game whose picture is a list of shapes; calling it with a record returns pixels.

    `draw(s, shapes)` writes the shapes after `clear`; Numba can compile it, and here Python runs it. The picture has
    `width` x `height` pixels, `cell` of them for a unit.
    """

    draw: Callable
    width: int
    height: int
    cell: float

    def __call__(self, record: np.void) -> np.ndarray:
        shapes = np.zeros(CAPACITY)
        clear(shapes)
        self.draw(Fields(record), shapes)
        return paint(shapes, Canvas(self.width, self.height, self.cell))


def paint(shapes: np.ndarray, canvas: Canvas) -> np.ndarray:
    """Return the pixels of a picture, (height, width, 3) uint8."""
    at = START
    while at < shapes[0]:
        kind, color, count = map(int, shapes[at : at + 3])
        values = shapes[at + 3 : at + 3 + count].tolist()
        rgb: Color = (color >> 16, color >> 8 & 255, color & 255)
        if kind == FILL:
            canvas.fill(rgb)
        elif kind == DISC:
            x, y, radius = values
            canvas.disc(x, y, radius, rgb)
        elif kind == BAR:
            left, top, right, bottom, radius = values
            canvas.bar(left, top, right, bottom, rgb, radius)
        elif kind == LINE:
            canvas.line(values[1:], rgb, values[0])
        else:
            canvas.shape(values, rgb)
        at += 3 + count
    return canvas.pixels()
