"""CartPole: push a cart left or right so that its pole stays upright.

Observation space: (4,) float32: position of the cart (m), its velocity (m/s), angle of the pole (rad), its angular
velocity (rad/s).
Action space: 0 push left, 1 push right; one action a frame of 20 ms.
Rewards: 1 for every frame, so that an episode scores 500 at most.
Termination: the cart is more than 2.4 m from the center, or the pole leans more than 12 degrees.
Truncation: 500 frames.

Equations: Barto, Sutton & Anderson (1983), "Neuronlike adaptive elements that can solve difficult learning control
problems", with the constants and the Euler steps of Gymnasium's CartPole-v1, which this game repeats step by step to
1e-12. All four numbers start uniformly within +-0.05, or `reset(options={"low": ..., "high": ...})` gives the bounds.

Environments have the attributes of Gymnasium's: `gravity`, `masscart`, ..., which cannot be set because the rules are
compiled, and `state`, which can.
"""

from collections.abc import Sequence
from math import isfinite, pi
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from numba.extending import register_jitable

from rlgames.engine.game import CLOCK, Game
from rlgames.engine.rng import uniform
from rlgames.engine.shapes import BLUE, FAINT, INK, PAPER, YELLOW, Picture, bar, disc, fill, segment
from rlgames.engine.single_env import GameEnv
from rlgames.engine.trigonometry import cosine, sine
from rlgames.engine.validation import EnvSettings, VectorEnvSettings
from rlgames.engine.vector_env import GameVectorEnv
from rlgames.errors import InvalidValueError

GRAVITY = 9.8  # m/s^2
CART_MASS, POLE_MASS = 1.0, 0.1  # kg
TOTAL_MASS = CART_MASS + POLE_MASS
HALF_LENGTH = 0.5  # m, of the pole
POLE_MASS_LENGTH = POLE_MASS * HALF_LENGTH
FORCE = 10.0  # N
TAU = 0.02  # s, duration of a frame
X_LIMIT, THETA_LIMIT = 2.4, 12 * 2 * pi / 360  # m, rad
START = 0.05  # bound of the initial state
STATE = ("x", "x_dot", "theta", "theta_dot")

RECORD = np.dtype([*CLOCK, *((name, "f8") for name in STATE)])
HIGH = np.array([2 * X_LIMIT, np.inf, 2 * THETA_LIMIT, np.inf], np.float32)


@register_jitable
def reset(s):
    s.x = 2 * START * uniform(s) - START
    s.x_dot = 2 * START * uniform(s) - START
    s.theta = 2 * START * uniform(s) - START
    s.theta_dot = 2 * START * uniform(s) - START


def apply_options(records: np.ndarray, options: dict[str, Any]) -> None:
    """Stretch the initial states from +-0.05 to the bounds `low` and `high`, as Gymnasium's options of `reset`."""
    low, high = read_bound(options, "low", -START), read_bound(options, "high", START)
    if not (isfinite(low) and isfinite(high) and low <= high):
        raise InvalidValueError(f"expected finite options low <= high of CartPole's reset(), got {low} and {high}")
    if {"low", "high"} & set(options):
        for name in STATE:
            records[name] = low + (high - low) * (records[name] + START) / (2 * START)


def read_bound(options: dict[str, Any], name: str, default: float) -> float:
    try:
        return float(options.get(name, default))
    except (TypeError, ValueError):
        raise InvalidValueError(f"expected options[{name!r}] to be a number, got {options[name]!r}") from None


@register_jitable
def step(s, action):
    force = FORCE if action == 1 else -FORCE
    sin_theta, cos_theta = sine(s.theta), cosine(s.theta)
    temp = (force + POLE_MASS_LENGTH * (s.theta_dot * s.theta_dot) * sin_theta) / TOTAL_MASS
    theta_acc = (GRAVITY * sin_theta - cos_theta * temp) / (
        HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * (cos_theta * cos_theta) / TOTAL_MASS)
    )
    x_acc = temp - POLE_MASS_LENGTH * theta_acc * cos_theta / TOTAL_MASS
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
    tip_x, tip_y = x + 2 * HALF_LENGTH * sine(s.theta), floor - 0.12 - 2 * HALF_LENGTH * cosine(s.theta)
    bar(shapes, INK, x - 0.25, floor - 0.12, x + 0.25, floor + 0.12, 0.04)
    segment(shapes, YELLOW, 0.09, x, floor - 0.12, tip_x, tip_y)
    disc(shapes, YELLOW, tip_x, tip_y, 0.045)
    disc(shapes, BLUE, x, floor - 0.12, 0.05)


class GymnasiumAttributes:
    """Attributes of Gymnasium's CartPole."""

    gravity = property(lambda self: GRAVITY)
    masscart = property(lambda self: CART_MASS)
    masspole = property(lambda self: POLE_MASS)
    total_mass = property(lambda self: TOTAL_MASS)
    length = property(lambda self: HALF_LENGTH)
    polemass_length = property(lambda self: POLE_MASS_LENGTH)
    force_mag = property(lambda self: FORCE)
    tau = property(lambda self: TAU)
    kinematics_integrator = property(lambda self: "euler")
    theta_threshold_radians = property(lambda self: THETA_LIMIT)
    x_threshold = property(lambda self: X_LIMIT)


class CartPoleEnv(GymnasiumAttributes, GameEnv, gym.Env):
    """One CartPole; see `GameEnv`."""

    @property
    def state(self) -> np.ndarray | None:
        """Position, velocity, angle and angular velocity, (4,) float64; None before the first reset()."""
        records = self._state.records
        return np.array([records[name][0] for name in STATE]) if self._state.started else None

    @state.setter
    def state(self, state: Sequence[float]) -> None:
        for name, value in zip(STATE, state, strict=True):
            self._state.records[name][0] = value


class CartPoleVectorEnv(GymnasiumAttributes, GameVectorEnv, VectorEnv):
    """Many of them; see `GameVectorEnv`."""

    @property
    def state(self) -> np.ndarray | None:
        """Position, velocity, angle and angular velocity, (4, num_envs) float64; None before the first reset()."""
        records = self._state.records
        return np.stack([records[name] for name in STATE]) if self._state.started else None

    @state.setter
    def state(self, state: Sequence[Sequence[float]]) -> None:
        for name, values in zip(STATE, state, strict=True):
            self._state.records[name] = values


def make_env(game: Game, **settings: Any) -> CartPoleEnv:
    return CartPoleEnv(game, EnvSettings(**settings))


def make_vector_env(game: Game, num_envs: int, **settings: Any) -> CartPoleVectorEnv:
    return CartPoleVectorEnv(game, num_envs, VectorEnvSettings(**settings))


def game() -> Game:
    """Return CartPole; it has no options."""
    return Game(
        name="CartPole",
        record=RECORD,
        observation=Box(-HIGH, HIGH, dtype=np.float32),
        actions=("push left", "push right"),
        max_frames=500,
        best_score=500.0,
        reset=reset,
        step=step,
        observe=observe,
        render=Picture(draw, 600, 400, 600 / (2 * X_LIMIT)),
        fps=50,
        keys={"a": 0, "d": 1},
        apply_options=apply_options,
    )
