"""Super Mario Bros. as the memory of the console shows it: position, reward, termination.

Addresses, rewards and termination are those of gym-super-mario-bros, the environment of most published results:

    reward = dx + dt - 25 (if Mario dies), clipped to [-15, 15]

dx is the distance in pixels that Mario moved to the right (0 if more than 5 at once: he was moved elsewhere), dt the
change of the game's clock, never positive. After each frame, scenes without control are skipped: deaths, pipes, black
screens, the end of a world.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

START_BUTTON = 8
MAX_SPEED = 5  # pixels a frame
DEATH_REWARD, MAX_REWARD = -25, 15
STATUS = {0: "small", 1: "tall"}  # others are "fireball"
CUTSCENES = frozenset((0, 1, 2, 3, 4, 5, 7))  # states of Mario without control: entering, climbing, walking alone ...
DEAD, DYING = 6, 11  # states of Mario
BOWSER, FLAGPOLE = 0x2D, 0x31
GAME_OVER = 255  # lives after the last one is lost


class Console(Protocol):
    """A NES with the game inserted, on any emulator."""

    ram: Any  # 2,048 bytes, integers when read

    @property
    def max_snapshots(self) -> int | None: ...  # that it can hold; None: any number
    def step(self, buttons: int) -> None: ...
    def reset(self) -> None: ...
    def snapshot(self) -> Any: ...
    def restore(self, snapshot: Any) -> None: ...
    def render(self, region: tuple[slice, slice], grey: bool) -> np.ndarray: ...
    def close(self) -> None: ...


class Mario:
    """The game on a console: all of it, or with `target` (world, stage) one stage, which ends with a death or the flag.

    The constructor resets the console and passes the title screen.
    """

    def __init__(self, nes: Console, target: tuple[int, int] | None = None, lost_levels: bool = False):
        self.nes, self.target, self.lost_levels = nes, target, lost_levels
        self.clock = self.x = 0  # before the last frame
        self.nes.reset()
        self._skip_title()
        self.start = self.nes.snapshot()

    def reset(self) -> None:
        """Return to the first frame with control."""
        self.nes.restore(self.start)
        self.clock, self.x = self.time, self.x_pos

    def step(self, buttons: int, with_info: bool = True) -> tuple[int, bool, dict[str, Any]]:
        """Advance by one frame; return (reward, terminated, info). `info` is empty if neither wanted nor terminated."""
        self.nes.step(buttons)
        moved, ticked = self.x_pos - self.x, self.time - self.clock
        self.x, self.clock = self.x_pos, self.time
        died = self.dying or self.state == DEAD
        reward = (moved if abs(moved) <= MAX_SPEED else 0) + min(ticked, 0) + DEATH_REWARD * died
        flag = self.flag
        terminated = (died or flag) if self.target else self.nes.ram[0x075A] == GAME_OVER
        info = self.info(flag) if with_info or terminated else {}
        if not terminated:
            self._skip_cutscenes()
        return max(-MAX_REWARD, min(MAX_REWARD, reward)), terminated, info

    def info(self, flag: bool) -> dict[str, Any]:
        ram = self.nes.ram
        above_screen = ram[0x00B5] < 1  # heights continue there
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
            "y_pos": 255 - ram[0x03B8] + 255 * above_screen,
        }

    # ---- values in memory ----

    def _digits(self, address: int, count: int) -> int:
        """Return a number of the score board, which has a byte for each digit."""
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
        return self.state == DYING or self.nes.ram[0x00B5] > 1  # below the screen

    @property
    def world_over(self) -> bool:
        return self.nes.ram[0x0770] == 2

    @property
    def flag(self) -> bool:
        """True while Mario slides down the flagpole or after he has beaten Bowser; on a vine he floats the same way."""
        at_the_end = any(enemy in (BOWSER, FLAGPOLE) for enemy in self.nes.ram[0x0016:0x001B])
        return self.world_over or (at_the_end and self.nes.ram[0x001D] == 3)

    # ---- scenes without control ----

    def _skip_cutscenes(self) -> None:
        ram = self.nes.ram
        if self.dying:
            ram[0x000E] = DEAD
            self.nes.step(0)
        if not self.target and self.world_over:
            clock = self.time
            while self.time == clock:
                self.nes.step(0)
        if 1 < ram[0x06DE] < 255:  # timer of a change of area
            ram[0x06DE] = 1
        while self.state in CUTSCENES or self.world_over:
            ram[0x07A0] = 0  # timer before a level
            self.nes.step(0)

    def _skip_title(self) -> None:
        """Press start until the clock runs, with the target stage in memory."""
        nes = self.nes
        nes.step(START_BUTTON)
        nes.step(0)
        while self.time == 0:
            nes.step(START_BUTTON)
            if self.target:
                (world, stage), area = self.target, area_of(*self.target, self.lost_levels)
                nes.ram[0x075F], nes.ram[0x075C], nes.ram[0x0760] = world - 1, stage - 1, area - 1
            nes.step(0)
            nes.ram[0x07A0] = 0
        clock = self.time
        while self.time >= clock:
            clock = self.time
            nes.step(START_BUTTON)
            nes.step(0)


def area_of(world: int, stage: int, lost_levels: bool = False) -> int:
    """Return the game's number of a stage's area; where Mario first walks into a pipe, that is an area of its own."""
    with_walk = (1, 3) if lost_levels else (1, 2, 4, 7)
    return stage + (world in with_walk and stage >= 2)
