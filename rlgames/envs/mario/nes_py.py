"""The NES emulator of nes-py: buttons in, memory and screen out.

Only the compiled library of nes-py is used, through its C interface. Its Python part is never imported: it needs old
gym and fails with NumPy 2. Calls into the library release the GIL, so threads emulate in parallel.
"""

from __future__ import annotations

import ctypes
import re
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

HEIGHT, WIDTH = 240, 256  # of the screen
RAM_SIZE = 0x800  # bytes
MAJOR = 8  # version of nes-py
REMEDY = 'pip install "rlgames[mario]" (it compiles nes-py: with Debian and Ubuntu, apt-get install g++ before)'
POINTER = ctypes.c_void_p
SIGNATURES: dict[str, tuple[list[Any], Any]] = {  # arguments and result of each function
    "Initialize": ([ctypes.c_wchar_p], POINTER),
    "Controller": ([POINTER, ctypes.c_uint], POINTER),
    "Screen": ([POINTER], POINTER),
    "Memory": ([POINTER], POINTER),
    "Reset": ([POINTER], None),
    "Step": ([POINTER], None),
    "Backup": ([POINTER], None),
    "Restore": ([POINTER], None),
    "Close": ([POINTER], None),
}


@lru_cache
def load_library() -> ctypes.CDLL:
    """Load the compiled emulator. Raises DependencyNotInstalled, with the remedy, where there is none."""
    files = sorted(package_folder("nes_py").glob("lib_nes_env*"))
    if not files:
        raise other_version() or DependencyNotInstalled(f"nes-py was installed without its compiled emulator: {REMEDY}")
    library = ctypes.CDLL(str(files[0]))
    for name, (arguments, result) in SIGNATURES.items():
        if not hasattr(library, name):
            raise other_version() or DependencyNotInstalled(
                f"this nes-py has no function {name}, expected nes-py {MAJOR}: {REMEDY}"
            )
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


def other_version() -> DependencyNotInstalled | None:
    """Return the error for an installed nes-py that is too new or too old; None if it is not its version's fault."""
    try:
        installed = version("nes-py")
    except PackageNotFoundError:
        return None
    major = int(re.match(r"\d*", installed)[0] or MAJOR)  # pyright: ignore[reportOptionalSubscript]  always matches
    if major == MAJOR:
        return None
    return DependencyNotInstalled(
        f"nes-py {installed} is too {'new' if major > MAJOR else 'old'}: rlgames works with nes-py {MAJOR}: {REMEDY}"
    )


def package_folder(package: str) -> Path:
    """Return the folder of a package, without importing it. Raises DependencyNotInstalled where it is missing."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DependencyNotInstalled(f"NES games need {package.replace('_', '-')}: {REMEDY}")
    return Path(spec.submodule_search_locations[0])


class Nes:
    """One console with a game inserted; `ram` and `screen` are live views that end with `close`.

    `ram` holds 2,048 bytes, Python integers when read; `screen`, (240, 256, 4) uint8, is blue, green, red and unused.
    """

    max_snapshots = 1

    def __init__(self, rom: Path):
        self._library = load_library()
        self._handle: Any = self._library.Initialize(str(rom))
        self.ram: Any = (ctypes.c_ubyte * RAM_SIZE).from_address(self._library.Memory(self._handle))
        memory = (ctypes.c_ubyte * (HEIGHT * WIDTH * 4)).from_address(self._library.Screen(self._handle))
        self.screen: np.ndarray = np.ctypeslib.as_array(memory).reshape(HEIGHT, WIDTH, 4)
        self._buttons: Any = ctypes.c_ubyte.from_address(self._library.Controller(self._handle, 0))

    def step(self, buttons: int) -> None:
        """Advance by one frame, a sixtieth of a second, with the buttons held: a sum of `BUTTONS` in `game`."""
        self._buttons.value = buttons
        self._library.Step(self._handle)

    def reset(self) -> None:
        """Switch the console off and on."""
        self._library.Reset(self._handle)

    def snapshot(self) -> None:
        """Store the state in the emulator, in place of the one stored before."""
        self._library.Backup(self._handle)

    def restore(self, snapshot: None = None) -> None:
        """Return to the stored state."""
        self._library.Restore(self._handle)

    def render(self, region: tuple[slice, slice], grey: bool) -> np.ndarray:
        """Return a copy of rows and columns of the screen: (height, width, 3) uint8, or (height, width) if `grey`."""
        import cv2  # noqa: PLC0415  heavy

        return cv2.cvtColor(self.screen[region], cv2.COLOR_BGRA2GRAY if grey else cv2.COLOR_BGRA2RGB)

    def close(self) -> None:
        if self._handle is not None:
            self.ram = self._buttons = None
            self.screen = np.empty((0, 0, 4), np.uint8)
            self._library.Close(self._handle)
            self._handle = None
