"""WebAssembly modules under wasmtime, with NumPy arrays copied in and out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import wasmtime

from rlgames.web.wasm import STACK_SIZE

PAGE = 65_536  # bytes
ROOM = 64 * PAGE  # behind the module's own data


class Module:
    """An instance of a module; `put` copies an array into its memory, calling an attribute calls an export."""

    def __init__(self, content: bytes):
        engine = wasmtime.Engine()
        self.store, module = wasmtime.Store(engine), wasmtime.Module(engine, content)
        self.imports = {each.name for each in module.imports}
        linker, f64 = wasmtime.Linker(engine), wasmtime.ValType.f64()
        linker.define_func("env", "fmod", wasmtime.FuncType([f64, f64], [f64]), math.fmod)
        linker.define_func("env", "tanh", wasmtime.FuncType([f64], [f64]), math.tanh)
        self.exports: Any = linker.instantiate(self.store, module).exports(self.store)
        self.memory = self.exports["memory"]
        self.next = self.exports["__heap_base"].value(self.store)
        self.memory.grow(self.store, ROOM // PAGE)
        assert self.next >= STACK_SIZE

    def put(self, array: np.ndarray) -> int:
        """Return the address of a copy of `array`."""
        address = -(-self.next // 16) * 16
        self.next = address + array.nbytes
        self.memory.write(self.store, array.tobytes(), address)
        return address

    def get(self, address: int, like: np.ndarray) -> np.ndarray:
        """Return what lies at `address`, of the shape and dtype of `like`."""
        content = self.memory.read(self.store, address, address + like.nbytes)
        return np.frombuffer(bytes(content), like.dtype).reshape(like.shape)

    def __getattr__(self, name: str) -> Any:
        function = self.exports[name]
        return lambda *arguments: function(self.store, *arguments)
