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

import inspect
import types
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box
from numba import njit
from numba.extending import register_jitable

if TYPE_CHECKING:
    from rlgames.envs.batch import BatchEnv
    from rlgames.envs.solo import SoloEnv

CLOCK = [
    ("rng", "u8"),  # the player's random stream
    ("score", "f8"),  # of the episode so far
    ("age", "i4"),  # steps of the episode; within `step` the number of this step, from 1
    ("over", "u1"),  # 1: the episode has ended and not restarted
]
NEXT_STEP, SAME_STEP, DISABLED = range(3)  # how the loop restarts players; AutoresetMode's order of definition
OVER, BAD_ACTION = -1, -2  # what `advance` and `play` return instead of a count when they refuse


@register_jitable
def uniform(s) -> float:
    """A number in [0, 1) from the player's own stream."""
    s.rng += np.uint64(0x9E3779B97F4A7C15)
    z = s.rng
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@register_jitable
def below(s, n: int) -> int:
    """An integer in [0, n)."""
    return int(uniform(s) * n)


def stream(seed: int) -> np.uint64:
    """The start of the random stream of `seed` (from 0; taken modulo 2**64), mixed so that neighbours differ."""
    z = (seed + 1) * 0xD1342543DE82EF95 % 2**64
    z = (z ^ (z >> 32)) * 0xAEF17502108EF2D9 % 2**64
    return np.uint64(z ^ (z >> 29))


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
        from rlgames.envs.solo import SoloEnv

        return SoloEnv(self, **kwargs)

    def batch(self, num_envs: int, **kwargs: Any) -> BatchEnv:
        """Any number of players; the arguments are `BatchEnv`'s."""
        from rlgames.envs.batch import BatchEnv

        return BatchEnv(self, num_envs, **kwargs)

    @cached_property
    def loops(self) -> tuple[Callable, Callable, Callable]:
        """The compiled `begin`, `advance` (a batch) and `play` (one player), shared by environments of this game."""
        return compile_loops(self)


def compile_loops(game: Game) -> tuple[Callable, Callable, Callable]:
    spawn, step, draw, score = game.spawn, game.step, game.draw, game.score
    actions = len(game.actions)
    rules = fingerprint(spawn, step, draw, score, uniform)  # a new number, hence a new compilation, after an edit

    @register_jitable
    def restart(s):
        s.age, s.over, s.score = 0, 0, 0.0
        spawn(s)

    @register_jitable
    def frame(s, action, limit):
        s.age += 1
        reward, terminated = step(s, action)
        s.score = score(s, reward)
        s.over = terminated | (s.age >= limit)
        return reward, terminated

    @njit(cache=True, nogil=True)
    def begin(state, mask, obs):
        rules  # noqa: B018  a closure's cell: part of the cache's key
        for i in range(len(state)):
            if mask[i]:
                restart(state[i])
            draw(state[i], obs[i])

    @njit(cache=True, nogil=True)
    def advance(
        first, last, state, action, mode, skip, max_pool, limit,
        obs, reward, terminated, truncated, score_now, final_obs, final_score,
    ):  # fmt: skip
        """Players [first, last) play on; returns how many episodes ended, or OVER or BAD_ACTION and changes nothing."""
        rules  # noqa: B018
        bad, over = False, False
        for i in range(first, last):
            bad |= (action[i] < 0) | (action[i] >= actions)
        if mode == DISABLED:
            for i in range(first, last):
                over |= state[i].over != 0
        if bad or over:
            return BAD_ACTION if bad else OVER
        spare = np.empty_like(obs[0])
        ended = 0
        for i in range(first, last):
            s = state[i]
            if s.over:
                restart(s)
                draw(s, obs[i])
                reward[i], terminated[i], truncated[i], score_now[i] = 0.0, False, False, 0.0
                continue
            reward[i], terminated[i] = frame(s, action[i], limit)
            played = 1
            while played < skip and not s.over:
                if max_pool:
                    draw(s, spare)
                more, terminated[i] = frame(s, action[i], limit)
                reward[i] += more
                played += 1
            draw(s, obs[i])
            if max_pool and played > 1:
                np.maximum(obs[i], spare, obs[i])
            truncated[i] = s.over and not terminated[i]
            score_now[i] = s.score
            if s.over:
                ended += 1
                if mode == SAME_STEP:
                    final_obs[i] = obs[i]
                    final_score[i] = s.score
                    score_now[i] = 0.0
                    restart(s)
                    draw(s, obs[i])
        return ended

    @njit(cache=True, nogil=True)
    def play(state, action, skip, max_pool, limit, obs):
        """As `advance` for the one player of `state`; returns (reward, terminated, over, score), over < 0: refused."""
        rules  # noqa: B018
        s = state[0]
        if not 0 <= action < actions:
            return 0.0, False, BAD_ACTION, 0.0
        if s.over:
            return 0.0, False, OVER, 0.0
        reward, terminated = frame(s, action, limit)
        played = 1
        spare = np.empty_like(obs) if max_pool else obs
        while played < skip and not s.over:
            if max_pool:
                draw(s, spare)
            more, terminated = frame(s, action, limit)
            reward += more
            played += 1
        draw(s, obs)
        if max_pool and played > 1:
            np.maximum(obs, spare, obs)
        return reward, terminated, int(s.over), s.score

    return begin, advance, play


def fingerprint(*rules: Callable) -> int:
    """A checksum of all that the rules are made of: the files of the functions and of those they call, and constants.

    Numba notices an edit of the file that holds the compiled loop (this one) but not of the files that hold the rules.
    """
    parts: dict[str, bytes] = {}

    def visit(name: str, value: Any) -> None:
        if name in parts:
            return
        if isinstance(value, types.FunctionType):
            code = value.__code__
            parts[name] = code.co_code + repr([c for c in code.co_consts if not inspect.iscode(c)]).encode()
            file = Path(code.co_filename)
            if file.is_file():  # otherwise typed into a shell: the byte code above has to do
                parts[str(file)] = file.read_bytes()
            used = set(names(code))
            scopes = {value.__module__: value.__globals__}
            scopes |= {m.__name__: vars(m) for m in map(value.__globals__.get, used) if inspect.ismodule(m)}
            for module, scope in scopes.items():
                for known in used & scope.keys():
                    visit(f"{module}.{known}", scope[known])
            for free, cell in zip(code.co_freevars, value.__closure__ or (), strict=True):
                visit(f"{name}.{free}", cell.cell_contents)
        elif isinstance(value, np.ndarray):
            parts[name] = value.tobytes()
        elif isinstance(value, (bool, int, float, str, tuple, dict, np.generic)):
            parts[name] = repr(value).encode()

    for rule in rules:
        visit(f"{rule.__module__}.{rule.__qualname__}", rule)
    return zlib.crc32(b"".join(part for _, part in sorted(parts.items())))


def names(code: types.CodeType) -> Iterator[str]:
    """The globals and attributes that `code` and what is nested in it, such as comprehensions, may use."""
    yield from code.co_names
    for inner in filter(inspect.iscode, code.co_consts):
        yield from names(inner)
