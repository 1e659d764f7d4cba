"""A game as data: the record of one environment's state, and scalar rules that act on it.

    reset(s)          start an episode
    step(s, action)   advance by one frame, return (reward, terminated)
    observe(s, obs)   write the observation into `obs`
    score(s, reward)  return the game's own score after a step with this reward; default: the sum of rewards
    describe(s, info) write the information beyond the score into `info`, an integer for each key of `Game.info`
    give_up(s)        return True after an agent's step, of one or more frames, that truncates the episode
    render(s)         return the picture that a person sees, (height, width, 3) uint8; plain Python, not compiled

All but `render` are compiled once by Numba into loops over a batch of records (`loops`), so the rules read like the
game, and the same rules serve one environment and thousands. Mark them, and the functions they call, with
`numba.extending.register_jitable`: unlike `njit` functions these keep the on-disk cache valid, and a game starts in 0.1
s.

What is too large for a record and the same in all of them, such as maps, is in the arrays of `Game.data`: `reset`,
`step`, `observe`, `describe` and `give_up` then have them as further arguments, after those above.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numba.extending import register_jitable

from rlgames.engine.loops import CompiledLoops, compile_loops

CLOCK = [  # the first fields of every record
    ("rng", "u8"),  # random stream of this environment, see `rng`
    ("score", "f8"),  # of the episode so far
    ("age", "i4"),  # frames of the episode; within `step` the number of this frame, from 1
    ("over", "u1"),  # 1: the episode has ended and was not reset
]


@register_jitable
def sum_of_rewards(s, reward):
    return s.score + reward


@register_jitable
def describe_nothing(s, info, *data):
    pass


@register_jitable
def never(s, *data):
    return False


@dataclass(frozen=True)
class Game:
    """The rules of a game; the functions are described in the module's docstring."""

    name: str  # with the options that change the rules, such as "CatchBall:size=16"; a snapshot belongs to one name
    record: np.dtype  # CLOCK and the game's own fields
    observation: Box
    actions: tuple[str, ...]  # names, in order
    max_frames: int  # frames after which an episode is truncated
    reset: Callable
    step: Callable
    observe: Callable
    render: Callable[[np.void], np.ndarray]
    fps: int  # frames a second when a person watches
    score: Callable = sum_of_rewards
    info: dict[str, Callable[[np.ndarray], np.ndarray] | None] = field(default_factory=dict)
    """Keys of the information, each with a function of the array of integers that `describe` wrote, None: as it is."""
    describe: Callable = describe_nothing
    give_up: Callable = never
    data: tuple[np.ndarray, ...] = ()  # that the rules read and do not change
    score_key: str = "score"  # key of the score in the information, by which agents are compared
    best_score: float | None = None  # of an episode that reaches the goal of the game; None: none is known
    keys: Mapping[str | tuple[str, ...], int] = field(default_factory=dict)  # keys -> action, for a person who plays
    apply_options: Callable[[np.ndarray, dict[str, Any]], None] | None = (
        None  # of `reset`, to the records that it reset
    )
    envs_per_thread: int = 4096  # fewest environments worth a thread: about 100 microseconds of work
    compile_seconds: int = 5  # about, of the loops on one core: what a person reads who waits for it
    maker: Callable[[], Game] | None = field(default=None, repr=False, compare=False)  # makes it in another process

    def __reduce__(self) -> Any:
        """Pickle and copy it as the call of `maker`: rules within a function cannot be pickled."""
        return (self.maker, ()) if self.maker else super().__reduce__()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "loops"}

    @property
    def compiled(self) -> bool:
        """True: Numba compiles the rules. Games of other engines say so too, see `Task.compiled`."""
        return True

    @cached_property
    def loops(self) -> CompiledLoops:
        """The compiled loops, shared by all environments of this game."""
        rules = self.reset, self.step, self.observe, self.score, self.describe, self.give_up
        return compile_loops(self.name, self.compile_seconds, *rules, len(self.actions))

    def read_info(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Return the information in `numbers`, (n, keys) int64, by key; each array has n entries."""
        columns = zip(self.info.items(), numbers.T, strict=True)
        return {key: column.copy() if convert is None else convert(column) for (key, convert), column in columns}
