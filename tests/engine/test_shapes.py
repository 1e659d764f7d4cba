"""Shapes: lists that compiled rules and Python write alike, painted as the canvas paints them."""

import numpy as np
from helpers.games import single
from numba import njit

from rlgames.engine import Canvas
from rlgames.engine.rendering import BLUE, GREEN, RED, YELLOW
from rlgames.engine.shapes import CAPACITY, Fields, Picture, bar, clear, disc, fill, paint, point, polygon, segment
from rlgames.engine.shapes import packed as color
from rlgames.envs.catch_ball import game as catch_ball


def test_paint_equals_the_canvas() -> None:
    shapes, canvas = np.zeros(CAPACITY), Canvas(60, 40, 10)
    clear(shapes)
    fill(shapes, color(YELLOW))
    disc(shapes, color(RED), 1.5, 2.0, 0.8)
    bar(shapes, color(BLUE), 2.0, 0.5, 4.0, 2.5, 0.25)
    segment(shapes, color(GREEN), 0.2, 0, 0, 6, 4)
    polygon(shapes, color(RED))
    for x, y in ((4, 1), (5, 3), (3, 3.5)):
        point(shapes, x, y)
    canvas.fill(YELLOW)
    canvas.disc(1.5, 2.0, 0.8, RED)
    canvas.bar(2.0, 0.5, 4.0, 2.5, BLUE, 0.25)
    canvas.line((0, 0, 6, 4), GREEN, 0.2)
    canvas.shape((4, 1, 5, 3, 3, 3.5), RED)
    assert np.array_equal(paint(shapes, Canvas(60, 40, 10)), canvas.pixels())


def test_compiled_rules_write_the_shapes_that_python_writes() -> None:
    picture = catch_ball().render
    assert isinstance(picture, Picture)
    draw, env = njit(picture.draw), single("CatchBall")
    env.reset(seed=0)
    for _ in range(6):
        env.step(0)
        record = env._state.records[0]
        shapes, same = np.zeros(CAPACITY), np.zeros(CAPACITY)
        clear(shapes)
        clear(same)
        picture.draw(Fields(record), shapes)
        draw(record, same)
        assert shapes[0] > 100
        assert np.array_equal(shapes, same)
