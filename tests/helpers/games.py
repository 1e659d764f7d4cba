"""What the suites of this folder share: the games they run over, and plain counterparts of seeds and dice."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlgames.engine.game import Game
from rlgames.engine.single_env import GameEnv
from rlgames.engine.vector_env import GameVectorEnv
from rlgames.envs.registry import GAMES, parse, load_game

VARIANTS = {"CatchBall": ["CatchBall:size=16"]}  # whose rules differ enough to be tested as games of their own
OWN = [short for short in GAMES if isinstance(load_game(short), Game)]  # the others have tests of their own
NAMES = [name for short in OWN for name in (short, *VARIANTS.get(short, []))]
MASK = 2**64 - 1


def rules_of(game: str) -> Game:
    name, options = parse(game)
    found = load_game(name, **options)
    assert isinstance(found, Game)
    return found


def solo(game: str, **kwargs: Any) -> GameEnv:
    return GameEnv(rules_of(game), **kwargs)


def batch(game: str, num_envs: int, **kwargs: Any) -> GameVectorEnv:
    return GameVectorEnv(rules_of(game), num_envs, **kwargs)


def random_actions(game: str, seed: int, shape: int | tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).integers(len(rules_of(game).actions), size=shape)


def long_enough(game: str, steps: int) -> int:
    """Steps in which as many episodes end as in `steps` of a game that is dangerous from the start."""
    return steps * 8 if game == "Dino" else steps  # its first obstacle comes into sight after three seconds


class Dice:
    """splitmix64 in Python's integers; `word` is a player's random stream."""

    def __init__(self, word: int):
        self.word = word

    def next(self) -> int:
        self.word = (self.word + 0x9E3779B97F4A7C15) & MASK
        z = self.word
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def uniform(self) -> float:
        """In [0, 1), of 53 bits."""
        return (self.next() >> 11) / 2**53
