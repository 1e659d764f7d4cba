"""One game as data: a record of one player's state and the scalar rules that act on it.

    spawn(s)          put `s` at the start of an episode
    step(s, action)   advance `s` by one frame, return (reward, terminated)
    draw(s, obs)      write what the player sees into `obs`
    score(s, reward)  the game's own score after a step that gave `reward`; the running sum of rewards by default
    paint(s)          the picture that a person looks at, (height, width, 3) uint8; plain Python, not compiled

The first four are compiled once (Numba) into two loops over a batch, so the rules read like the game, and one
implementation serves one player and thousands. Mark them, and whatever they call, with
`numba.extending.register_jitable`: unlike `njit` functions these keep the on-disk cache valid, and a game starts in a
tenth of a second.

Every record begins with the fields of `CLOCK`. Its random stream is splitmix64 (Steele, Lea & Flood 2014): one 64-bit
word a player, so that a player's game depends on its own seed and actions only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box
from numba.extending import register_jitable

if TYPE_CHECKING:
    from rlgames.engine.single_env import SoloEnv
    from rlgames.engine.vector_env import BatchEnv

from rlgames.engine.loops import compile_loops

CLOCK = [
    ("rng", "u8"),  # the player's random stream
    ("score", "f8"),  # of the episode so far
    ("age", "i4"),  # steps of the episode; within `step` the number of this step, from 1
    ("over", "u1"),  # 1: the episode has ended and not restarted
]


@register_jitable
def running_sum(s, reward):
    return s.score + reward


@dataclass(frozen=True)
class Game:
    """The rules of a game; see the module's docstring for the functions."""

    name: str  # with its options where they change the rules, as in "CatchBall:size=16"; a snapshot is of one name
    record: np.dtype  # CLOCK and the game's own fields
    observation: Box
    actions: tuple[str, ...]  # their names, in order
    max_steps: int  # frames after which the episode is over by time (truncation)
    spawn: Callable
    step: Callable
    draw: Callable
    paint: Callable[[np.void], np.ndarray]
    fps: int  # when shown to a person
    score: Callable = running_sum
    keys: dict[str, int] = field(default_factory=dict)  # key name -> action, for a person who plays
    grain: int = 4096  # players that are worth a thread of their own: about 100 microseconds of work

    def solo(self, **kwargs: Any) -> SoloEnv:
        """One player; the arguments are `SoloEnv`'s."""
        from rlgames.engine.single_env import SoloEnv

        return SoloEnv(self, **kwargs)

    def batch(self, num_envs: int, **kwargs: Any) -> BatchEnv:
        """Any number of players; the arguments are `BatchEnv`'s."""
        from rlgames.engine.vector_env import BatchEnv

        return BatchEnv(self, num_envs, **kwargs)

    @cached_property
    def loops(self) -> tuple[Callable, Callable, Callable]:
        """The compiled `begin`, `advance` (a batch) and `play` (one player), shared by environments of this game."""
        return compile_loops(self.spawn, self.step, self.draw, self.score, len(self.actions))
