"""Compile a game's rules into loops over records: reset a batch, step a batch, step one environment.

Numba's on-disk cache notices an edit of this file but not of the files that hold the rules. `rules_checksum` covers
those: it is part of the compiled closure, so an edited rule is compiled again.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from numba import types
from numba.core.dispatcher import Dispatcher
from numba.extending import register_jitable

from rlgames.compilation import cfunc_cached, njit_cached
from rlgames.engine.rng import uniform

NEXT_STEP, SAME_STEP, DISABLED = range(3)  # gymnasium.vector.AutoresetMode, in its order of definition
NEEDS_RESET, INVALID_ACTION = -1, -2  # returned instead of a count where a step is refused


class CompiledLoops(NamedTuple):
    """The compiled functions of a game; see `compile_loops` for their arguments."""

    reset: Callable  # (records, mask, obs, *data): start episodes where `mask`, observe all
    describe: Callable  # (records, infos, *data): write the information of all
    step: Callable  # step environments [first, last) of a batch
    step_single: Callable  # step a batch of one, with less overhead


def frame_functions(reset: Callable, step: Callable, score: Callable) -> tuple[Callable, Callable]:
    """Return `reset_record(s)` and `step_frame(s, action, max_frames)`, which keep the record's clock and score too.

    Both have `Game.data` as further arguments; starred, because a tuple that is empty would cost a call more than
    CartPole's step. The second returns (reward, terminated) as `step` does, and sets `s.over` at the end of an episode.
    """

    @register_jitable
    def reset_record(s, *data):
        s.age, s.over, s.score = 0, 0, 0.0
        reset(s, *data)

    @register_jitable
    def step_frame(s, action, max_frames, *data):
        s.age += 1
        reward, terminated = step(s, action, *data)
        s.score = score(s, reward)
        s.over = terminated | (s.age >= max_frames)
        return reward, terminated

    return reset_record, step_frame


# Loops by hand: `a[i] = b[i]` and np.maximum would also compile, for seconds, the text of an error for other shapes.


@register_jitable
def copy_values(source, target):
    source, target = source.ravel(), target.ravel()
    for i in range(len(target)):
        target[i] = source[i]


@register_jitable
def take_maximum(obs, previous):
    obs, previous = obs.ravel(), previous.ravel()
    for i in range(len(obs)):
        obs[i] = max(obs[i], previous[i])


def compile_loops(
    name: str,
    seconds: int,
    reset: Callable,
    step: Callable,
    observe: Callable,
    score: Callable,
    describe: Callable,
    give_up: Callable,
    num_actions: int,
) -> CompiledLoops:
    """Return the loops over these rules; each is compiled, or found in the cache, when it is first called."""
    checksum = rules_checksum(reset, step, observe, score, describe, give_up, uniform)

    compile_loop = partial(compile_cached, name, checksum=checksum, seconds=seconds)

    reset_record, step_frame = frame_functions(reset, step, score)

    @compile_loop
    def reset_batch(records, mask, obs, *data):
        checksum  # noqa: B018  a closure's cell: part of the cache's key
        for i in range(len(records)):
            if mask[i]:
                reset_record(records[i], *data)
            observe(records[i], obs[i], *data)

    @compile_loop
    def describe_batch(records, infos, *data):
        checksum  # noqa: B018
        for i in range(len(records)):
            describe(records[i], infos[i], *data)

    @compile_loop
    def step_batch(
        first, last, records, actions, mode, frame_skip, max_pool, max_frames,
        obs, rewards, terminated, truncated, scores, infos, final_obs, final_scores, final_infos, *data,
    ):  # fmt: skip
        """Return the number of episodes that ended, or NEEDS_RESET or INVALID_ACTION if nothing was stepped."""
        checksum  # noqa: B018
        invalid, over = False, False
        for i in range(first, last):
            invalid |= (actions[i] < 0) | (actions[i] >= num_actions)
        if mode == DISABLED:
            for i in range(first, last):
                over |= records[i].over != 0
        if invalid or over:
            return INVALID_ACTION if invalid else NEEDS_RESET
        previous = np.empty_like(obs[0])  # the last frame but one, for max_pool
        ended = 0
        for i in range(first, last):
            s = records[i]
            if s.over:  # NEXT_STEP: this step only resets
                reset_record(s, *data)
                observe(s, obs[i], *data)
                describe(s, infos[i], *data)
                rewards[i], terminated[i], truncated[i], scores[i] = 0.0, False, False, 0.0
                continue
            rewards[i], terminated[i] = step_frame(s, actions[i], max_frames, *data)
            frames = 1
            while frames < frame_skip and not s.over:
                if max_pool:
                    observe(s, previous, *data)
                reward, terminated[i] = step_frame(s, actions[i], max_frames, *data)
                rewards[i] += reward
                frames += 1
            s.over |= give_up(s, *data)
            observe(s, obs[i], *data)
            describe(s, infos[i], *data)
            if max_pool and frames > 1:
                take_maximum(obs[i], previous)
            truncated[i] = s.over and not terminated[i]
            scores[i] = s.score
            if s.over:
                ended += 1
                if mode == SAME_STEP:
                    copy_values(obs[i], final_obs[i])
                    copy_values(infos[i], final_infos[i])
                    final_scores[i] = s.score
                    scores[i] = 0.0
                    reset_record(s, *data)
                    observe(s, obs[i], *data)
                    describe(s, infos[i], *data)
        return ended

    @compile_loop
    def step_single(records, action, frame_skip, max_pool, max_frames, obs, *data):
        """Return (reward, terminated, over, score); `over` is negative if nothing was stepped."""
        checksum  # noqa: B018
        s = records[0]
        if not 0 <= action < num_actions:
            return 0.0, False, INVALID_ACTION, 0.0
        if s.over:
            return 0.0, False, NEEDS_RESET, 0.0
        total, terminated = step_frame(s, action, max_frames, *data)
        frames = 1
        previous = np.empty_like(obs) if max_pool else obs
        while frames < frame_skip and not s.over:
            if max_pool:
                observe(s, previous, *data)
            reward, terminated = step_frame(s, action, max_frames, *data)
            total += reward
            frames += 1
        s.over |= give_up(s, *data)
        observe(s, obs, *data)
        if max_pool and frames > 1:
            take_maximum(obs, previous)
        return total, terminated, int(s.over), s.score

    return CompiledLoops(reset_batch, describe_batch, step_batch, step_single)


def compile_cached(label: str, function: Callable, checksum: int | None = None, seconds: int = 5) -> Any:
    """Compile with a name of its own for its rules, which gives them an index of their own in Numba's cache.

    Numba writes the index and the code without a lock: games that share an index and are compiled by two processes
    at once could get each other's code.
    """
    function.__qualname__ += f"_{rules_checksum(function) if checksum is None else checksum:08x}"
    return njit_cached(label, seconds, nogil=True)(function)


class SharedFunction:
    """A function of a game's rules that is compiled by itself, once for the loops of all variants that call it.

    For what takes long to compile, and long enough to run that the call does not matter. Rules call `shared.call`, of
    which their loops know only the name; `load` compiles the function, or finds it in the cache, before loops run.
    """

    def __init__(self, label: str, function: Callable, signature: Any, seconds: int = 5):
        checksum = rules_checksum(function)
        self.label, self.function, self.signature, self.seconds = label, function, signature, seconds
        self.compiled: Any = None
        function.__qualname__ += f"_{checksum:08x}"
        self.call: Any = types.ExternalFunction(f"rlgames_{function.__name__}_{checksum:08x}", signature)

    def load(self) -> None:
        if self.compiled is None:
            self.compiled = cfunc_cached(self.label, self.function, self.signature, self.seconds)
            llvm.add_symbol(self.call.symbol, self.compiled.address)


def rules_checksum(*rules: Callable) -> int:
    """Return a checksum of the files of these functions and of all that they call, and of the constants they use."""
    parts: dict[str, bytes] = {}

    def visit(name: str, value: Any) -> None:
        if name in parts:
            return
        if isinstance(value, Dispatcher):
            visit(name, value.py_func)
        elif isinstance(value, types.ExternalFunction):
            parts[name] = value.symbol.encode()
        elif isinstance(value, FunctionType):
            code = value.__code__
            parts[name] = code.co_code + repr([c for c in code.co_consts if not inspect.iscode(c)]).encode()
            file = Path(code.co_filename)
            if file.is_file():  # otherwise typed into a shell: the byte code above has to do
                parts[str(file)] = file.read_bytes()
            used = set(names_in(code))
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


def names_in(code: CodeType) -> Iterator[str]:
    """Yield the globals and attributes that `code`, or code nested in it such as a comprehension, may use."""
    yield from code.co_names
    for inner in filter(inspect.iscode, code.co_consts):
        yield from names_in(inner)
