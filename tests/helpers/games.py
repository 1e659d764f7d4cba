"""The compiled games that tests run over, and plain counterparts of their seeds and random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlgames.engine.game import Game
from rlgames.engine.single_env import GameEnv, make_env
from rlgames.engine.vector_env import GameVectorEnv, make_vector_env
from rlgames.envs.registry import GAMES, load_game, parse

VARIANTS = {"CatchBall": ["CatchBall:size=16"]}  # whose rules differ enough to be tested as games of their own
COMPILED = [name for name in GAMES if isinstance(load_game(name), Game)]  # the others have tests of their own
NAMES = [name for game in COMPILED for name in (game, *VARIANTS.get(game, []))]
MASK = 2**64 - 1


def game_of(name: str) -> Game:
    """Return the compiled game of a name, with options."""
    short, options = parse(name)
    game = load_game(short, **options)
    assert isinstance(game, Game)
    return game


def single(name: str, **settings: Any) -> GameEnv:
    return make_env(game_of(name), **settings)


def vector(name: str, num_envs: int, **settings: Any) -> GameVectorEnv:
    return make_vector_env(game_of(name), num_envs, **settings)


def random_actions(name: str, seed: int, shape: int | tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).integers(len(game_of(name).actions), size=shape)


def steps_until_danger(name: str, steps: int) -> int:
    """Return steps in which as many episodes end as in `steps` of a game that is dangerous from the start."""
    return steps * 8 if name == "Dino" else steps  # its first obstacle appears after three seconds


class SplitMix64:
    """The random stream of a record in Python's integers; `word` is its state."""

    def __init__(self, word: int):
        self.word = word

    def next(self) -> int:
        self.word = (self.word + 0x9E3779B97F4A7C15) & MASK
        z = self.word
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def uniform(self) -> float:
        """Return a number in [0, 1), of 53 bits."""
        return (self.next() >> 11) / 2**53
