"""Numba's `njit` with a cache on disk that is never in the way, and one line for a person who waits.

Numba raises an exception where no folder is writable, where a file of its cache is damaged, and where the disk is full.
Here the function is compiled anew instead, and kept if that is possible. Every file of the cache begins with a digest
of the rest, so that damaged machine code is noticed before it runs.
"""

from __future__ import annotations

import multiprocessing
import pickle  # noqa: TID251  the format of Numba's cache
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.ccallback import CFunc
from numba.core.dispatcher import Dispatcher
from numba.core.serialize import dumps
from numba.core.sigutils import normalize_signature

NOT_KEPT = "cannot be kept for the next start: {}; set NUMBA_CACHE_DIR to a folder that can be written"
announced: set[str] = set()  # beginnings, up to the time, of the lines that this process has printed


def njit_cached(label: str, seconds: int = 5, **options: Any) -> Callable[[Callable], Any]:
    """Return a decorator like `numba.njit(cache=True, **options)`.

    "Compiling <label> once (<seconds> s) ..." is printed to stderr when the first of the functions with this label is
    compiled, and nothing where all are found in the cache. `seconds` is about what all of them take on one core.
    """

    def decorate(function: Callable) -> Any:
        dispatcher: Any = numba.njit(**options)(function)
        if dispatcher is not function:  # NUMBA_DISABLE_JIT
            dispatcher._cache = make_cache(function, f"Compiling {label}", seconds)
        return dispatcher

    return decorate


def cfunc_cached(label: str, function: Callable, signature: Any, seconds: int = 5) -> CFunc:
    """Return a function compiled as `numba.cfunc(signature)` does, which has an `address`; announced as above."""
    compiled: Any = CFunc(function, normalize_signature(signature), locals={}, options={})
    compiled._cache = make_cache(function, f"Compiling {label}", seconds)
    compiled.compile()
    return compiled


def make_cache(function: Callable, line: str, seconds: int) -> CodeCache | NoCache:
    """Return what keeps the machine code of a function: on disk, or not at all where no folder is writable."""
    try:
        return CodeCache(function, f"{line} once ({seconds} s) ...")
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return NoCache(f"{line} ({seconds} s) ...")


class CodeCache(FunctionCache):
    """Numba's cache of one function; what cannot be read is compiled, what cannot be written is not kept."""

    def __init__(self, function: Callable, line: str):
        super().__init__(function)
        self.line = line  # to be printed when the function is compiled
        own = self._cache_file
        self._cache_file = CheckedFiles(own._cache_path, self._impl.filename_base, own._source_stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001  Numba and LLVM raise anything for the code of another release
            found = None
        if found is None:
            announce(self.line)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            announce(f"Compiled code {NOT_KEPT.format(error)}")

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        """Return the key of the code for a signature.

        Numba's own has a pickle of the closure, whose bytes are others where its functions were read from a .pyc file:
        the second start of a program would compile everything again.
        """
        return sig, codegen.magic_tuple(), sha256(b"".join(closure_parts(self._py_func))).hexdigest()


def closure_parts(value: Any, *outer: FunctionType) -> Iterator[bytes]:
    """Yield what decides about the code of a function, or of another value, in the closures of the `outer` ones."""
    function = value.py_func if isinstance(value, Dispatcher) else value
    if not isinstance(function, FunctionType):
        yield dumps(value)
    elif function not in outer:  # else it calls itself
        code = function.__code__
        yield code.co_code
        yield repr([constant for constant in code.co_consts if not isinstance(constant, CodeType)]).encode()
        for cell in function.__closure__ or ():
            yield from closure_parts(cell.cell_contents, *outer, function)


class NoCache(NullCache):
    """Stand-in for the cache where no folder is writable."""

    def __init__(self, line: str):
        self.line = line

    def load_overload(self, sig: Any, target_context: Any) -> None:
        announce(self.line)
        announce(f"Compiled code {NOT_KEPT.format('no folder for it is writable')}")


class CheckedFiles(IndexDataCacheFile):
    """Index and code of one function; files that are missing, damaged or of another release of Numba count as empty."""

    def _load_index(self) -> dict[Any, str]:
        stamp, overloads = self._read(self._index_path) or (None, {})
        return overloads if stamp == self._source_stamp else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._write(self._index_path, (self._source_stamp, overloads))

    def _load_data(self, name: str) -> Any:
        return self._read(self._data_path(name))

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), data)

    def _read(self, path: str) -> Any:
        """Return what was written, None if it cannot be read."""
        try:
            content = Path(path).read_bytes()
        except OSError:
            return None
        digest, body = content[:32], content[32:]
        return pickle.loads(body) if digest == self._digest(body) else None

    def _write(self, path: str, value: Any) -> None:
        body = self._dump(value)
        with self._open_for_write(path) as file:
            file.write(self._digest(body) + body)

    def _digest(self, body: bytes) -> bytes:
        return sha256(numba.__version__.encode() + body).digest()


def announce(line: str) -> None:
    """Print a line to stderr, once in a process; processes that were started by another one are silent."""
    beginning = line.partition(" (")[0]
    if beginning not in announced and multiprocessing.parent_process() is None:
        announced.add(beginning)
        print(line, file=sys.stderr, flush=True)
