"""The NES emulator of stable-retro, FCEUmm: several times as fast as nes-py's, and not the same frame by frame.

Only two exports of stable-retro are used: `RetroEmulator`, which opens any ROM file, and `GameData`, which reads and
writes the memory. Its integrations of games, each with rewards of its own, are not needed.

The emulator renders 224 x 240 pixels, without the margin of 8 that televisions hid. The margin is filled with the
nearest pixels, so that everything has the same position as with nes-py. A process can have one emulator.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium.error import DependencyNotInstalled

from rlgames.envs.mario.nes_py import HEIGHT, RAM_SIZE, WIDTH
from rlgames.errors import InvalidValueError

BYTE = "|u1"  # in stable-retro's notation
BUTTONS = ("A", "B", "SELECT", "START", "UP", "DOWN", "LEFT", "RIGHT")  # from the lowest bit, in nes-py's order
# For Python 3.13 no version can be installed by pip together with nes-py: their pyglets differ, and neither is needed.
REMEDY = 'pip install "rlgames[retro]"' if sys.version_info < (3, 13) else "pip install --no-deps stable-retro"
ONE_EMULATOR = (
    "there is an emulator of stable-retro in this process already, and it allows one: close() that environment before, "
    "make several with rlgames.make_vec, which gives each a process of its own, or take engine='nes-py'"
)


def load_library() -> Any:
    """Import the package stable_retro. Raises DependencyNotInstalled, with the remedy, where it is missing."""
    if find_spec("stable_retro") is None:
        raise DependencyNotInstalled(f"engine='retro' needs stable-retro: {REMEDY}")
    import stable_retro  # noqa: PLC0415  optional

    return stable_retro


class ConsoleSnapshot(NamedTuple):
    """State of the emulator, and the screen that it shows."""

    state: bytes
    screen: np.ndarray


class Ram:
    """The 2,048 bytes of working memory, Python integers when read."""

    def __init__(self, data: Any):
        self._data, self._cache = data, b""  # its `memory` is only a pointer: `data` must live as long

    def clear_cache(self) -> None:
        self._cache = b""

    def __getitem__(self, index: Any) -> Any:
        if not self._cache:
            blocks = self._data.memory.blocks  # copies of 1,024 bytes by address
            self._cache = b"".join(blocks[address] for address in sorted(blocks))[:RAM_SIZE]
        return self._cache[index]

    def __setitem__(self, address: int, value: int) -> None:
        self._data.memory.assign(address, BYTE, value)
        self.clear_cache()


class Nes:
    """The console of this process, with a game inserted. Raises RuntimeError, with the remedy, for a second one."""

    max_snapshots = None

    def __init__(self, rom: Path):
        retro = load_library()
        try:
            self._emulator: Any = retro.RetroEmulator(str(rom))
        except RuntimeError as error:
            second = "multiple emulator" in str(error)
            raise RuntimeError(ONE_EMULATOR if second else f"stable-retro cannot open {rom}: {error}") from error
        data = retro.data.GameData()
        self._emulator.configure_data(data)
        self.ram: Any = Ram(data)
        names = retro.get_system_info("Nes")["buttons"]
        self._button_bits = [(names.index(button), bit) for bit, button in enumerate(BUTTONS)]
        self._button_mask, self._buttons = np.zeros(len(names), np.uint8), 0
        self._screen: Any = None  # read from the emulator on demand
        self._emulator.step()  # before the first frame there is no screen
        for address in range(RAM_SIZE):  # filled with 255 at first, and the games read bytes that they never clear
            self.ram[address] = 0
        self._initial = self.snapshot()

    def step(self, buttons: int) -> None:
        """Advance by one frame, a sixtieth of a second, with the buttons held: a sum of `BUTTONS` in `game`."""
        if buttons != self._buttons:
            for i, bit in self._button_bits:
                self._button_mask[i] = buttons >> bit & 1
            self._emulator.set_button_mask(self._button_mask)
            self._buttons = buttons
        self._emulator.step()
        self._screen = None
        self.ram.clear_cache()

    def reset(self) -> None:
        """Switch the console off and on."""
        self.restore(self._initial)

    def snapshot(self) -> ConsoleSnapshot:
        return ConsoleSnapshot(self._emulator.get_state(), self.screen)

    def restore(self, snapshot: ConsoleSnapshot) -> None:
        """Return to the state of a snapshot. Raises ValueError for a state that the emulator does not accept."""
        if not self._emulator.set_state(snapshot.state):
            raise InvalidValueError("expected a state of this emulator with this game: the emulator refuses this one")
        self._screen = snapshot.screen
        self.ram.clear_cache()

    @property
    def screen(self) -> np.ndarray:
        """The screen, (224, 240, 3) uint8: red, green, blue. Not to be changed."""
        screen = self._screen
        if screen is None:
            screen = self._screen = self._emulator.get_screen()
        return screen

    def render(self, region: tuple[slice, slice], grey: bool) -> np.ndarray:
        """Return a copy of rows and columns of the screen: (height, width, 3) uint8, or (height, width) if `grey`."""
        import cv2  # noqa: PLC0415  heavy

        screen = cv2.cvtColor(self.screen, cv2.COLOR_RGB2GRAY) if grey else self.screen
        rows, columns = HEIGHT - screen.shape[0], WIDTH - screen.shape[1]
        margin = (rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)
        return cv2.copyMakeBorder(screen, *margin, cv2.BORDER_REPLICATE)[region].copy()

    def close(self) -> None:
        self.ram = self._emulator = None  # the last reference: only then another emulator can be made
