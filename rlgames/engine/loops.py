"""TODO."""

from __future__ import annotations

import inspect
import types
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numba.extending import register_jitable

from rlgames.engine.rng import uniform

NEXT_STEP, SAME_STEP, DISABLED = range(3)  # how the loop restarts players; AutoresetMode's order of definition
OVER, BAD_ACTION = -1, -2  # what `advance` and `play` return instead of a count when they refuse


def compile_loops(
    spawn: Callable, step: Callable, draw: Callable, score: Callable, actions: int
) -> tuple[Callable, Callable, Callable]:
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
