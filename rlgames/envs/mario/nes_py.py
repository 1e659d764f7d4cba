"""The NES emulator of nes-py: buttons in, memory and picture out.

Only the compiled library of nes-py is used, through its C interface. Its Python part is never imported: that needs old
gym, and stumbles over NumPy 2. Calls into the library release Python's lock, so threads emulate side by side.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

HEIGHT, WIDTH = 240, 256  # of the screen
RAM = 0x800  # bytes
REMEDY = 'pip install "rlgames[mario]" (it compiles nes-py: with Debian and Ubuntu, apt-get install g++ before)'
POINTER, NOTHING = ctypes.c_void_p, None
SIGNATURES: dict[str, tuple[list[Any], Any]] = {  # arguments and result of each function
    "Initialize": ([ctypes.c_wchar_p], POINTER),
    "Controller": ([POINTER, ctypes.c_uint], POINTER),
    "Screen": ([POINTER], POINTER),
    "Memory": ([POINTER], POINTER),
    "Reset": ([POINTER], NOTHING),
    "Step": ([POINTER], NOTHING),
    "Backup": ([POINTER], NOTHING),
    "Restore": ([POINTER], NOTHING),
    "Close": ([POINTER], NOTHING),
}


@lru_cache
def library() -> ctypes.CDLL:
    """The compiled emulator. Raises DependencyNotInstalled, with the remedy, where there is none."""
    files = sorted((folder_of("nes_py")).glob("lib_nes_env*"))
    if not files:
        raise DependencyNotInstalled(f"nes-py was installed without its compiled emulator: {REMEDY}")
    found = ctypes.CDLL(str(files[0]))
    for name, (arguments, result) in SIGNATURES.items():
        if not hasattr(found, name):
            raise DependencyNotInstalled(f"this nes-py has no function {name}, expected nes-py 8: {REMEDY}")
        function = getattr(found, name)
        function.argtypes, function.restype = arguments, result
    return found


def folder_of(package: str) -> Path:
    """Where a package lies, without importing it. Raises DependencyNotInstalled where it is missing."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DependencyNotInstalled(f"NES games need {package.replace('_', '-')}: {REMEDY}")
    return Path(spec.submodule_search_locations[0])


class Nes:
    """One console with a game in it; `ram` and `screen` are live views that end with `close`.

    `ram` holds 2,048 bytes, Python integers when read; `screen` (240, 256, 4) uint8 is blue, green, red and nothing.
    """

    moments = 1  # that it remembers

    def __init__(self, rom: Path):
        self._lib = library()
        self._handle: Any = self._lib.Initialize(str(rom))
        self.ram: Any = (ctypes.c_ubyte * RAM).from_address(self._lib.Memory(self._handle))
        memory = (ctypes.c_ubyte * (HEIGHT * WIDTH * 4)).from_address(self._lib.Screen(self._handle))
        self.screen: np.ndarray = np.ctypeslib.as_array(memory).reshape(HEIGHT, WIDTH, 4)
        self._buttons: Any = ctypes.c_ubyte.from_address(self._lib.Controller(self._handle, 0))

    def frame(self, buttons: int) -> None:
        """One frame, a sixtieth of a second, with these buttons held: the sum of `BUTTONS` in `mario`."""
        self._buttons.value = buttons
        self._lib.Step(self._handle)

    def power(self) -> None:
        """Switch it off and on."""
        self._lib.Reset(self._handle)

    def keep(self) -> None:
        """Remember this moment, the only one that `back` goes back to."""
        self._lib.Backup(self._handle)

    def back(self, moment: None = None) -> None:
        self._lib.Restore(self._handle)

    def picture(self, part: tuple[slice, slice], grey: bool) -> np.ndarray:
        """A copy of a part of the screen, rows and columns: (height, width, 3) uint8, or (height, width) if `grey`."""
        import cv2

        return cv2.cvtColor(self.screen[part], cv2.COLOR_BGRA2GRAY if grey else cv2.COLOR_BGRA2RGB)

    def close(self) -> None:
        if self._handle is not None:
            self.ram = self._buttons = None
            self.screen = np.empty((0, 0, 4), np.uint8)
            self._lib.Close(self._handle)
            self._handle = None
