"""Table of the games, and their ids for Gymnasium; importing rlgames loads no more than this, hence no Numba.

A game's module is imported when the game is first made; `registry` says what it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gymnasium as gym
from gymnasium.vector import VectorEnv

if TYPE_CHECKING:  # it needs Numba
    from rlgames.wrappers.pixels import Pixels

Wrap = Callable[[gym.Env], gym.Env]
WrapVec = Callable[[VectorEnv], VectorEnv]


@dataclass(frozen=True)
class Wrapper:
    """A wrapper of one environment and of a vector environment, at least one of the two."""

    name: str  # as it was registered, or that of its game
    wrap: Wrap | None
    wrap_vec: WrapVec | None  # None: `wrap` is applied to each environment


@dataclass(frozen=True)
class GameSpec:
    """One row of the table of games."""

    module: str  # see the docstring of `registry`
    summary: str
    pixels: Pixels | None = None  # default preprocessing of a registered game; a module of ours has `default_pixels`
    simulates: str = ""  # a game with the same observations, actions and rewards
    wrapper: Wrapper | None = None  # of every environment of the game


GAMES: dict[str, GameSpec] = {
    "CartPole": GameSpec("rlgames.envs.cart_pole", "keep the pole upright"),
    "CatchBall": GameSpec("rlgames.envs.catch_ball", "slide the bar under the falling balls (size=8 or 16)"),
    "Cave": GameSpec("rlgames.envs.cave", "fly through a narrowing cave full of blocks (antialias=true or false)"),
    "Dino": GameSpec(
        "rlgames.envs.dino",
        "the T-Rex of chrome://dino, simulated exactly (obs=pixels or state)",
        simulates="ChromeDino",
    ),
    "Pong": GameSpec("rlgames.envs.pong", "Atari's Pong, to 21 points (extra pong)"),
    "Mario": GameSpec(
        "rlgames.envs.mario",
        "Super Mario Bros., a stage (world=1,stage=2) or all of them (obs=pixels, ram or tiles; needs its ROM)",
    ),
    "ChromeDino": GameSpec(
        "rlgames.envs.chrome_dino",
        "chrome://dino in the real browser (obs=pixels or state)",
        simulates="Dino",
    ),
}


def register() -> None:
    """Register all games with Gymnasium."""
    for name in GAMES:
        register_with_gymnasium(name)


def register_with_gymnasium(name: str) -> None:
    gym.register(
        f"rlgames/{name}-v0",
        entry_point="rlgames.envs.registry:single_env",
        vector_entry_point="rlgames.envs.registry:vector_env",
        kwargs={"game": name},
    )
