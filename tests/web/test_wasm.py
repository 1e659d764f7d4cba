"""Games in WebAssembly against the rules that Numba compiles for this machine, bit for bit."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers.wasm import Module
from numba import types
from numba.extending import register_jitable
from numba.np.numpy_support import carray

from rlgames.engine.game import Game
from rlgames.engine.rng import seed_stream
from rlgames.engine.shapes import CAPACITY, START, Fields, clear
from rlgames.envs.registry import load_game, parse
from rlgames.errors import UsageError
from rlgames.web.wasm import Function, compile_function, compile_game, game_functions

STEPS = 100_000
QUICK = ["CatchBall", "CartPole"]
OTHERS = ["Dino:obs=state", "CatchBall:size=16", "Cave", "Cave:antialias=true", "Dino", "Dino:obs=state,reward=score"]


def game_named(name: str) -> Game:
    short, options = parse(name)
    return load_game(short, **options)


def trace_function(game: Game) -> Function:
    """Return a function that plays random actions and hashes every record, observation and reward (FNV-1a)."""
    reset, step, observe, _ = (each.function for each in game_functions(game))
    arguments = {each.name: each.arguments for each in game_functions(game)}
    actions, size, obs_size = len(game.actions), game.record.itemsize, np.zeros(1, game.observation.dtype).nbytes
    obs_size *= int(np.prod(game.observation.shape))
    over_at = game.record.fields["over"][1]  # pyright: ignore[reportOptionalSubscript]  a record has fields
    reset, step, observe = map(register_jitable, (reset, step, observe))

    def trace(s, s_bytes, obs, obs_bytes, steps):
        record, seen = carray(s_bytes, size), carray(obs_bytes, obs_size)
        total, dice = np.uint64(0xCBF29CE484222325), np.uint64(88172645463325252)
        reset(s)
        for _ in range(steps):
            dice ^= dice << np.uint64(13)
            dice ^= dice >> np.uint64(7)
            dice ^= dice << np.uint64(17)
            reward = step(s, np.int32((dice >> np.uint64(33)) % np.uint64(actions)))
            observe(s, obs)
            for i in range(size):
                total = (total ^ np.uint64(record[i])) * np.uint64(0x100000001B3)
            for i in range(obs_size):
                total = (total ^ np.uint64(seen[i])) * np.uint64(0x100000001B3)
            total ^= np.uint64(np.int64(reward * 1000))
            if record[over_at]:
                reset(s)
        return np.int64(total)

    record, obs = arguments["observe"]
    byte = types.CPointer(types.uint8)
    return Function("trace", trace, types.int64, (record, byte, obs, byte, types.int32))


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_every_record_and_observation_equals_the_native_ones(name: str) -> None:
    game = game_named(name)
    trace = trace_function(game)
    module = Module(compile_game(game, [trace]))
    assert module.imports <= {"fmod"}
    record, obs = np.zeros(1, game.record), np.zeros(game.observation.shape, game.observation.dtype)
    record["rng"] = seed_stream(7)
    s, o = module.put(record), module.put(obs)
    hashed = module.trace(s, s, o, o, STEPS)
    pointers = (record.ctypes.data,) * 2 + (obs.ctypes.data,) * 2
    native: Any = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 4, ctypes.c_int32)
    assert hashed == native(compile_function(trace).address)(*pointers, STEPS)
    assert module.get(s, record).tobytes() == record.tobytes()  # the random stream too
    assert np.array_equal(module.get(o, obs), obs)

    shapes, same = np.zeros(CAPACITY), np.zeros(CAPACITY)  # the picture for people
    at = module.put(shapes)
    length = module.draw(s, at)
    clear(same)
    game.render.draw(Fields(record[0]), same)
    assert length == same[0] > START
    assert np.array_equal(module.get(at, shapes)[START:length], same[START:length])


def test_a_game_drawn_with_pillow_is_refused() -> None:
    game = replace(game_named("CatchBall"), name="Drawn", render=lambda s: np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(
        UsageError, match=r"Drawn cannot be drawn in a browser: its `render` must be an rlgames.*Picture"
    ):
        compile_game(game)
