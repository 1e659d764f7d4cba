"""Super Mario Bros. as the memory of the console tells it: where Mario is, what that is worth, when it is over.

Addresses, rewards and ends are those of gym-super-mario-bros, the environment that most published results are of:

    reward = dx + dt - 25 (if Mario dies), within -15 and 15

dx is what Mario moved to the right, in pixels (0 if more than 5 at once: he was put somewhere else); dt what the clock
of the game lost, never positive. After each frame the scenes in which nobody can do anything are played in a hurry:
deaths, pipes, black screens, the end of a world.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

START = 8  # the button
STILL = 5  # pixels a frame: nobody runs faster
DEATH, BOUND = -25, 15
STATUS = {0: "small", 1: "tall"}  # others are "fireball"
BUSY = frozenset((0, 1, 2, 3, 4, 5, 7))  # states of the player: entering, climbing, walking by himself, dead ...
DEAD, DYING = 6, 11
BOWSER, FLAGPOLE = 0x2D, 0x31
GONE = 255  # lives, when the last one is lost


class Console(Protocol):
    """A NES with the game in it, whichever emulator that is."""

    ram: Any  # 2,048 bytes, integers when read

    def frame(self, buttons: int) -> None: ...
    def power(self) -> None: ...
    def keep(self) -> Any: ...
    def back(self, moment: Any) -> None: ...
    def picture(self, part: tuple[slice, slice], grey: bool) -> np.ndarray: ...


class Mario:
    """A running game: the whole of it, or with `target` (world, stage) one stage, over with a death or the flag."""

    def __init__(self, nes: Console, target: tuple[int, int] | None = None, lost_levels: bool = False):
        self.nes, self.target, self.lost_levels = nes, target, lost_levels
        self.clock = self.x = 0  # before the last frame
        self.nes.power()
        self._pass_title()
        self.start = self.nes.keep()

    def begin(self) -> None:
        """Back to the beginning."""
        self.nes.back(self.start)
        self.clock, self.x = self.time, self.x_pos

    def frame(self, buttons: int, tell: bool = True) -> tuple[int, bool, dict[str, Any]]:
        """(reward, whether it is over, information if it is over or to be told) after a frame."""
        self.nes.frame(buttons)
        moved, ticked = self.x_pos - self.x, self.time - self.clock
        self.x, self.clock = self.x_pos, self.time
        lost = self.dying or self.state == DEAD
        reward = (moved if abs(moved) <= STILL else 0) + min(ticked, 0) + DEATH * lost
        flag = self.flag
        over = (lost or flag) if self.target else self.nes.ram[0x075A] == GONE
        info = self.info(flag) if tell or over else {}
        if not over:
            self._hurry()
        return max(-BOUND, min(BOUND, reward)), over, info

    def info(self, flag: bool) -> dict[str, Any]:
        ram = self.nes.ram
        above = ram[0x00B5] < 1  # the screen: there heights go on to count
        return {
            "coins": self._digits(0x07ED, 2),
            "flag_get": flag,
            "life": ram[0x075A],
            "score": self._digits(0x07DE, 6),
            "stage": ram[0x075C] + 1,
            "status": STATUS.get(ram[0x0756], "fireball"),
            "time": self.time,
            "world": ram[0x075F] + 1,
            "x_pos": self.x_pos,
            "y_pos": 255 - ram[0x03B8] + 255 * above,
        }

    # ---- what the memory says ----

    def _digits(self, address: int, count: int) -> int:
        """A number of the score board, which has a byte for each digit."""
        return int("".join(map(str, self.nes.ram[address : address + count])))

    @property
    def time(self) -> int:
        return self._digits(0x07F8, 3)

    @property
    def x_pos(self) -> int:
        return 256 * self.nes.ram[0x006D] + self.nes.ram[0x0086]

    @property
    def state(self) -> int:
        return self.nes.ram[0x000E]

    @property
    def dying(self) -> bool:
        return self.state == DYING or self.nes.ram[0x00B5] > 1  # fallen out of the screen

    @property
    def world_over(self) -> bool:
        return self.nes.ram[0x0770] == 2

    @property
    def flag(self) -> bool:
        """Whether Mario slides down the flagpole or has beaten Bowser; on a vine he floats in the same way."""
        there = any(enemy in (BOWSER, FLAGPOLE) for enemy in self.nes.ram[0x0016:0x001B])
        return self.world_over or (there and self.nes.ram[0x001D] == 3)

    # ---- scenes that nobody plays ----

    def _hurry(self) -> None:
        ram = self.nes.ram
        if self.dying:
            ram[0x000E] = DEAD
            self.nes.frame(0)
        if not self.target and self.world_over:
            clock = self.time
            while self.time == clock:
                self.nes.frame(0)
        if 1 < ram[0x06DE] < 255:  # the timer of a change of place
            ram[0x06DE] = 1
        while self.state in BUSY or self.world_over:
            ram[0x07A0] = 0  # the timer before a level
            self.nes.frame(0)

    def _pass_title(self) -> None:
        """Press start until the clock runs, with the stage that is wanted."""
        nes = self.nes
        nes.frame(START)
        nes.frame(0)
        while self.time == 0:
            nes.frame(START)
            if self.target:
                (world, stage), area = self.target, area_of(*self.target, self.lost_levels)
                nes.ram[0x075F], nes.ram[0x075C], nes.ram[0x0760] = world - 1, stage - 1, area - 1
            nes.frame(0)
            nes.ram[0x07A0] = 0
        clock = self.time
        while self.time >= clock:
            clock = self.time
            nes.frame(START)
            nes.frame(0)


def area_of(world: int, stage: int, lost_levels: bool = False) -> int:
    """The number of a stage as the game counts places: where Mario first walks into a pipe, that is one of its own."""
    walks = (1, 3) if lost_levels else (1, 2, 4, 7)
    return stage + (world in walks and stage >= 2)
