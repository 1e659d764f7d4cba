"""Compile a game to WebAssembly from the rules that train agents, with Numba's own LLVM.

Numba compiles the rules of a `Game` to LLVM IR. Here the IR gets wasm32 as its target, llvmlite emits the object
files, and wasm-ld (in the package `ziglang`, extra `page`) links them. The module computes what the native rules
compute, bit for bit: WebAssembly's arithmetic is IEEE 754, as that of the processors is, and nothing is contracted or
reordered. It exports

    memory, __heap_base     memory behind __heap_base is free for records, observations, weights
    reset(s)                start an episode in the record at address s, whose `rng` was seeded
    step(s, action)         advance one frame, return the reward; the record has `score`, `age` and `over`
    observe(s, obs)         write the observation
    draw(s, shapes)         write the picture for people, see `rlgames.engine.shapes`, return its length

and the functions of `rlgames.web.network`. It imports at most `env.fmod`, JavaScript's `%`, and `env.tanh`, its
`Math.tanh`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba
import numpy as np
from gymnasium.error import DependencyNotInstalled
from numba import cfunc, types
from numba.np.numpy_support import carray

from rlgames.engine.game import Game
from rlgames.engine.loops import frame_functions
from rlgames.engine.shapes import CAPACITY, Picture, clear
from rlgames.errors import UsageError

TRIPLE = "wasm32-unknown-unknown"
FEATURES = "+simd128,+bulk-memory,+nontrapping-fptoint"  # in every browser since 2023
STACK_SIZE = 65_536  # bytes


class Function(NamedTuple):
    """A function to export: its Python source, and Numba's types of its result and its arguments."""

    name: str
    function: Callable
    result: types.Type
    arguments: tuple[types.Type, ...]


def compile_game(game: Game, others: Sequence[Function] = ()) -> bytes:
    """Return the WebAssembly module of a game, with `others` beside it.

    Raises DependencyNotInstalled without `ziglang`, and RuntimeError for rules that need what a browser does not have.
    """
    functions = [*game_functions(game), *others]
    return link([emit_object(each) for each in functions], [each.name for each in functions])


def picture_of(game: Game) -> Picture:
    """Return what draws a game. Raises UsageError if that is not a list of shapes."""
    if not isinstance(game.render, Picture):
        raise UsageError(
            f"{game.name} cannot be drawn in a browser: "
            f"its `render` must be an rlgames.engine.Picture, got {game.render!r}"
        )
    return game.render


def game_functions(game: Game) -> list[Function]:
    """Return the functions of a game. Raises UsageError for one whose picture is not a list of shapes."""
    picture = picture_of(game)
    record = types.CPointer(numba.from_dtype(game.record))
    shape, dtype = game.observation.shape, numba.from_dtype(np.dtype(str(game.observation.dtype)))
    reset_record, step_frame = frame_functions(game.reset, game.step, game.score)
    observe_record, draw_record, max_frames = game.observe, picture.draw, game.max_frames

    def reset(s):
        reset_record(carray(s, 1)[0])

    def step(s, action):
        return step_frame(carray(s, 1)[0], action, max_frames)[0]

    def observe(s, obs):
        observe_record(carray(s, 1)[0], carray(obs, shape))

    def draw(s, shapes):
        shapes = carray(shapes, CAPACITY)
        clear(shapes)
        draw_record(carray(s, 1)[0], shapes)
        return int(shapes[0])

    return [
        Function("reset", reset, types.void, (record,)),
        Function("step", step, types.float64, (record, types.int32)),
        Function("observe", observe, types.void, (record, types.CPointer(dtype))),
        Function("draw", draw, types.int32, (record, types.CPointer(types.float64))),
    ]


@cache
def compile_function(function: Function) -> Any:
    """Return the function compiled for this machine, a Numba `CFunc`, whose IR is what WebAssembly is made of."""
    return cfunc(function.result(*function.arguments))(function.function)


@cache
def emit_object(function: Function) -> bytes:
    """Return a function as a wasm32 object file that defines it under its plain name."""
    compiled = compile_function(function)
    native = compiled.native_name.removeprefix("cfunc.")  # without the wrapper that talks to the interpreter
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(opt=3, features=FEATURES)
    module = llvm.parse_assembly(retarget(compiled.inspect_llvm(), machine) + entry_point(function, native))
    module.verify()
    for defined in module.functions:
        if not defined.is_declaration and defined.name != function.name:
            defined.linkage = "internal"
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(module, passes)
    return machine.emit_object(module)


def retarget(ir: str, machine: llvm.TargetMachine) -> str:
    """Return Numba's IR for another target.

    Reference counts are dropped: rules allocate nothing, so there is nothing to count.
    """
    ir = re.sub(r"^target triple = .*", f'target triple = "{machine.triple}"', ir, flags=re.MULTILINE)
    ir = re.sub(r"^target datalayout = .*", f'target datalayout = "{machine.target_data}"', ir, flags=re.MULTILINE)
    ir = re.sub(r'"(target-cpu|target-features|tune-cpu)"="[^"]*"', "", ir)
    count = r"^define linkonce_odr void @(NRT_(?:in|de)cref)\(.*?^\}"
    ir = re.sub(count, r"define void @\1(ptr %object) {\n  ret void\n}", ir, flags=re.MULTILINE | re.DOTALL)
    return ir.replace(" = common ", " = weak ")  # WebAssembly has no common symbols


LLVM_TYPES = {
    types.void: "void",
    types.int32: "i32",
    types.int64: "i64",
    types.float32: "float",
    types.float64: "double",
}


def entry_point(function: Function, native: str) -> str:
    """Return IR that defines the plain function by Numba's, which returns a status and its result through a pointer."""
    arguments = [f"{LLVM_TYPES.get(each, 'ptr')} %a{i}" for i, each in enumerate(function.arguments)]
    result = LLVM_TYPES[function.result]
    slot = "ptr" if function.result is types.void else result
    last = (
        "ret void" if function.result is types.void else f"%value = load {result}, ptr %result\n  ret {result} %value"
    )
    return f"""
define {result} @{function.name}({", ".join(arguments)}) {{
  %result = alloca {slot}
  %exception = alloca ptr
  %status = call i32 @{native}({", ".join(["ptr %result", "ptr %exception", *arguments])})
  %ok = icmp eq i32 %status, 0
  %none = icmp eq i32 %status, -2
  %fine = or i1 %ok, %none
  br i1 %fine, label %return, label %raise
return:
  {last}
raise:
  call void @llvm.trap()
  unreachable
}}
declare void @llvm.trap()
"""


def link(objects: Sequence[bytes], names: Sequence[str]) -> bytes:
    """Link object files to a module that exports the functions `names`."""
    if find_spec("ziglang") is None:
        raise DependencyNotInstalled('WebAssembly is linked by ziglang, which is missing: pip install "rlgames[page]"')
    with tempfile.TemporaryDirectory(prefix="rlgames-wasm-") as folder:
        paths = [Path(folder, f"{i}.o") for i in range(len(objects))]
        for path, content in zip(paths, objects, strict=True):
            path.write_bytes(content)
        out = Path(folder, "module.wasm")
        command = [
            *(sys.executable, "-m", "ziglang", "wasm-ld", "--no-entry", "--strip-all", "--gc-sections"),
            *("-z", f"stack-size={STACK_SIZE}", "--stack-first", "--allow-undefined", "--export=__heap_base"),
            *(f"--export={name}" for name in names),
            *("-o", str(out), *map(str, paths)),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"wasm-ld failed: {done.stderr.strip()}")
        return out.read_bytes()
