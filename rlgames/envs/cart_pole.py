"""CartPole: push a cart left or right so that its pole stays upright; +1 for every step, 500 at most.

Barto, Sutton & Anderson (1983), with the constants, the Euler steps of 20 ms and the limits of Gymnasium's CartPole-v1:
the episode ends when the cart is more than 2.4 m from the middle or the pole leans more than 12 degrees.
"""

from math import cos, pi, sin

import numpy as np
from gymnasium.spaces import Box
from numba.extending import register_jitable

from rlgames.engine.game import CLOCK, Game
from rlgames.engine.rendering import BLUE, FAINT, INK, YELLOW, Canvas
from rlgames.engine.rng import uniform

GRAVITY = 9.8  # m/s^2
CART, POLE = 1.0, 0.1  # kg
TOTAL = CART + POLE
HALF_LENGTH = 0.5  # m, half the pole's length
MOMENT = POLE * HALF_LENGTH
FORCE = 10.0  # N
TICK = 0.02  # s
MAX_X, MAX_ANGLE = 2.4, 12 * 2 * pi / 360  # m, rad
START = 0.05  # all four numbers start uniform within +- this

RECORD = np.dtype([*CLOCK, ("x", "f8"), ("speed", "f8"), ("angle", "f8"), ("spin", "f8")])
HIGH = np.array([2 * MAX_X, np.inf, 2 * MAX_ANGLE, np.inf], np.float32)


@register_jitable
def reset(s):
    s.x = 2 * START * uniform(s) - START
    s.speed = 2 * START * uniform(s) - START
    s.angle = 2 * START * uniform(s) - START
    s.spin = 2 * START * uniform(s) - START


@register_jitable
def step(s, action):
    force = FORCE if action == 1 else -FORCE
    sine, cosine = sin(s.angle), cos(s.angle)
    push = (force + MOMENT * (s.spin * s.spin) * sine) / TOTAL
    turn = (GRAVITY * sine - cosine * push) / (HALF_LENGTH * (4.0 / 3.0 - POLE * (cosine * cosine) / TOTAL))
    pull = push - MOMENT * turn * cosine / TOTAL
    s.x += TICK * s.speed
    s.speed += TICK * pull
    s.angle += TICK * s.spin
    s.spin += TICK * turn
    return 1.0, abs(s.x) > MAX_X or abs(s.angle) > MAX_ANGLE


@register_jitable
def observe(s, obs):
    obs[0], obs[1], obs[2], obs[3] = s.x, s.speed, s.angle, s.spin


def render(s: np.void) -> np.ndarray:
    canvas = Canvas(600, 400, 600 / (2 * MAX_X))
    floor, x = 3.2 * 2 / 3, float(s["x"]) + MAX_X
    canvas.line((0, floor + 0.12, 2 * MAX_X, floor + 0.12), FAINT, 0.03)
    tip_x, tip_y = x + 2 * HALF_LENGTH * sin(s["angle"]), floor - 0.12 - 2 * HALF_LENGTH * cos(s["angle"])
    canvas.bar(x - 0.25, floor - 0.12, x + 0.25, floor + 0.12, INK, 0.04)
    canvas.line((x, floor - 0.12, tip_x, tip_y), YELLOW, 0.09)
    canvas.disc(tip_x, tip_y, 0.045, YELLOW)
    canvas.disc(x, floor - 0.12, 0.05, BLUE)
    return canvas.pixels()


def game() -> Game:
    return Game(
        name="CartPole",
        record=RECORD,
        observation=Box(-HIGH, HIGH, dtype=np.float32),
        actions=("push left", "push right"),
        max_frames=500,
        reset=reset,
        step=step,
        observe=observe,
        render=render,
        fps=50,
        keys={"a": 0, "d": 1},
    )
