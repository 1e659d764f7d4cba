"""The NES emulator of stable-retro, FCEUmm: several times as fast as nes-py's, and not the same frame by frame.

Only what stable-retro exports is used: `RetroEmulator`, which opens a ROM wherever it lies, and `GameData`, through
which the memory is read and written. Its integrations of games, each with rewards of its own, are not needed.

It shows 224 x 240 pixels, without the margin of 8 that televisions hid; the margin is filled with what is next to it,
so that everything stands where nes-py has it. There is one emulator in a process.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium.error import DependencyNotInstalled

from rlgames.envs.mario.nes_py import HEIGHT, RAM, WIDTH

BYTE = "|u1"  # as stable-retro calls it
BUTTONS = ("A", "B", "SELECT", "START", "UP", "DOWN", "LEFT", "RIGHT")  # from the lowest bit, as nes-py counts them
# For Python 3.13 there is no version that pip installs beside nes-py: they ask for pyglets, which neither needs here.
REMEDY = 'pip install "rlgames[retro]"' if sys.version_info < (3, 13) else "pip install --no-deps stable-retro"
ALONE = (
    "there is an emulator of stable-retro in this process already, and it allows one: close() that environment before, "
    "play several by rlgames.make_vec, which gives each a process of its own, or take engine='nes-py'"
)


def library() -> Any:
    """The package stable_retro. Raises DependencyNotInstalled, with the remedy, where it is missing."""
    if find_spec("stable_retro") is None:
        raise DependencyNotInstalled(f"engine='retro' needs stable-retro: {REMEDY}")
    import stable_retro

    return stable_retro


class Moment(NamedTuple):
    """All that comes next depends on, and what is on the screen."""

    state: bytes
    screen: np.ndarray


class Ram:
    """The 2,048 bytes of working memory, Python integers when read."""

    def __init__(self, data: Any):
        self._data, self._read = data, b""  # its `memory` is only a pointer into it

    def changed(self) -> None:
        self._read = b""

    def __getitem__(self, where: Any) -> Any:
        if not self._read:
            blocks = self._data.memory.blocks  # copies of 1,024 bytes by address
            self._read = b"".join(blocks[address] for address in sorted(blocks))[:RAM]
        return self._read[where]

    def __setitem__(self, address: int, value: int) -> None:
        self._data.memory.assign(address, BYTE, value)
        self.changed()


class Nes:
    """The console of this process, with a game in it. Raises RuntimeError, with the remedy, for a second one."""

    moments = None  # that it remembers: any number

    def __init__(self, rom: Path):
        retro = library()
        try:
            self._emulator: Any = retro.RetroEmulator(str(rom))
        except RuntimeError as error:
            alone = "multiple emulator" in str(error)
            raise RuntimeError(ALONE if alone else f"stable-retro cannot play {rom}: {error}") from error
        data = retro.data.GameData()
        self._emulator.configure_data(data)
        self.ram: Any = Ram(data)
        names = retro.get_system_info("Nes")["buttons"]
        self._places = [(names.index(button), bit) for bit, button in enumerate(BUTTONS)]
        self._mask, self._held = np.zeros(len(names), np.uint8), 0
        self._screen: Any = None  # read when asked for
        self._emulator.step()  # before the first frame there is no picture
        for address in range(RAM):  # here it powers on as 255, and the games do not clear all that they go on to read
            self.ram[address] = 0
        self._dawn = self.keep()

    def frame(self, buttons: int) -> None:
        """One frame, a sixtieth of a second, with these buttons held: the sum of `BUTTONS` in `mario`."""
        if buttons != self._held:
            for place, bit in self._places:
                self._mask[place] = buttons >> bit & 1
            self._emulator.set_button_mask(self._mask)
            self._held = buttons
        self._emulator.step()
        self._screen = None
        self.ram.changed()

    def power(self) -> None:
        """Switch it off and on."""
        self.back(self._dawn)

    def keep(self) -> Moment:
        """This moment, for `back` to go back to."""
        return Moment(self._emulator.get_state(), self.screen)

    def back(self, moment: Moment) -> None:
        if not self._emulator.set_state(moment.state):
            raise ValueError("this is no state of this emulator with this game")
        self._screen = moment.screen
        self.ram.changed()

    @property
    def screen(self) -> np.ndarray:
        """(224, 240, 3) uint8: red, green, blue. Not to be changed."""
        screen = self._screen
        if screen is None:
            screen = self._screen = self._emulator.get_screen()
        return screen

    def picture(self, part: tuple[slice, slice], grey: bool) -> np.ndarray:
        """A copy of a part of the picture, rows and columns: (height, width, 3) uint8, or (height, width) if `grey`."""
        import cv2

        screen = cv2.cvtColor(self.screen, cv2.COLOR_RGB2GRAY) if grey else self.screen
        rows, columns = HEIGHT - screen.shape[0], WIDTH - screen.shape[1]
        margin = (rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)
        return cv2.copyMakeBorder(screen, *margin, cv2.BORDER_REPLICATE)[part].copy()

    def close(self) -> None:
        self.ram = self._emulator = None  # the last reference: only then another may be made
