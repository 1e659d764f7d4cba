"""CartPole: push a cart left or right so that its pole stays upright.

Observation space: (4,) float32: position of the cart (m), its velocity (m/s), angle of the pole (rad), its angular
velocity (rad/s).
Action space: 0 push left, 1 push right; one action a frame of 20 ms.
Rewards: 1 for every frame, so that an episode scores 500 at most.
Termination: the cart is more than 2.4 m from the center, or the pole leans more than 12 degrees.
Truncation: 500 frames.

Equations: Barto, Sutton & Anderson (1983), "Neuronlike adaptive elements that can solve difficult learning control
problems", with the constants and the Euler steps of Gymnasium's CartPole-v1, which this game repeats step by step. All
four numbers start uniformly within +-0.05.
"""

from math import cos, pi, sin

import numpy as np
from gymnasium.spaces import Box
from numba.extending import register_jitable

from rlgames.engine.game import CLOCK, Game
from rlgames.engine.rng import uniform
from rlgames.engine.shapes import BLUE, FAINT, INK, PAPER, YELLOW, Picture, bar, disc, fill, segment

GRAVITY = 9.8  # m/s^2
CART_MASS, POLE_MASS = 1.0, 0.1  # kg
TOTAL_MASS = CART_MASS + POLE_MASS
HALF_LENGTH = 0.5  # m, of the pole
POLE_MASS_LENGTH = POLE_MASS * HALF_LENGTH
FORCE = 10.0  # N
TAU = 0.02  # s, duration of a frame
X_LIMIT, THETA_LIMIT = 2.4, 12 * 2 * pi / 360  # m, rad
START = 0.05  # bound of the initial state

RECORD = np.dtype([*CLOCK, ("x", "f8"), ("x_dot", "f8"), ("theta", "f8"), ("theta_dot", "f8")])
HIGH = np.array([2 * X_LIMIT, np.inf, 2 * THETA_LIMIT, np.inf], np.float32)


@register_jitable
def reset(s):
    s.x = 2 * START * uniform(s) - START
    s.x_dot = 2 * START * uniform(s) - START
    s.theta = 2 * START * uniform(s) - START
    s.theta_dot = 2 * START * uniform(s) - START


@register_jitable
def step(s, action):
    force = FORCE if action == 1 else -FORCE
    sine, cosine = sin(s.theta), cos(s.theta)
    temp = (force + POLE_MASS_LENGTH * (s.theta_dot * s.theta_dot) * sine) / TOTAL_MASS
    theta_acc = (GRAVITY * sine - cosine * temp) / (
        HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * (cosine * cosine) / TOTAL_MASS)
    )
    x_acc = temp - POLE_MASS_LENGTH * theta_acc * cosine / TOTAL_MASS
    s.x += TAU * s.x_dot
    s.x_dot += TAU * x_acc
    s.theta += TAU * s.theta_dot
    s.theta_dot += TAU * theta_acc
    return 1.0, abs(s.x) > X_LIMIT or abs(s.theta) > THETA_LIMIT


@register_jitable
def observe(s, obs):
    obs[0], obs[1], obs[2], obs[3] = s.x, s.x_dot, s.theta, s.theta_dot


@register_jitable
def draw(s, shapes):
    fill(shapes, PAPER)
    floor, x = 3.2 * 2 / 3, s.x + X_LIMIT
    segment(shapes, FAINT, 0.03, 0, floor + 0.12, 2 * X_LIMIT, floor + 0.12)
    tip_x, tip_y = x + 2 * HALF_LENGTH * sin(s.theta), floor - 0.12 - 2 * HALF_LENGTH * cos(s.theta)
    bar(shapes, INK, x - 0.25, floor - 0.12, x + 0.25, floor + 0.12, 0.04)
    segment(shapes, YELLOW, 0.09, x, floor - 0.12, tip_x, tip_y)
    disc(shapes, YELLOW, tip_x, tip_y, 0.045)
    disc(shapes, BLUE, x, floor - 0.12, 0.05)


def game() -> Game:
    """Return CartPole; it has no options."""
    return Game(
        name="CartPole",
        record=RECORD,
        observation=Box(-HIGH, HIGH, dtype=np.float32),
        actions=("push left", "push right"),
        max_frames=500,
        reset=reset,
        step=step,
        observe=observe,
        render=Picture(draw, 600, 400, 600 / (2 * X_LIMIT)),
        fps=50,
        keys={"a": 0, "d": 1},
    )
