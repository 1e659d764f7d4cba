"""Super Mario Bros. on the emulator of nes-py (extra `nes-py`): the reference that the compiled engine equals.

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

import gymnasium as gym
import numpy as np
from gymnasium.error import ClosedEnvironmentError, DependencyNotInstalled, ResetNeeded
from gymnasium.spaces import Box, Discrete

from rlgames.engine.copying import Copyable
from rlgames.engine.rendering import Window
from rlgames.engine.validation import EnvSettings, check_render_mode, check_seed, invalid_action, lookup_action
from rlgames.envs.mario.console import RAM_SIZE
from rlgames.envs.mario.game import MarioGame
from rlgames.envs.mario.ppu import HEIGHT, WIDTH
from rlgames.envs.mario.rules import INFO, NUM_ENEMIES, STATUS, area_of, begin, make_rules, progress
from rlgames.wrappers.frames import frames_per_second
from rlgames.wrappers.pixels import Pixels

MAJOR = 8  # version of nes-py
REMEDY = 'pip install "rlgames[nes-py]" (it compiles nes-py: with Debian and Ubuntu, apt-get install g++ before)'
POINTER = ctypes.c_void_p
WHOLE = slice(None), slice(None)  # of the screen
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
    spec = find_spec("nes_py")
    if spec is None or not spec.submodule_search_locations:
        raise DependencyNotInstalled(f"engine='nes-py' needs nes-py: {REMEDY}")
    files = sorted(Path(spec.submodule_search_locations[0]).glob("lib_nes_env*"))
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


class Nes:
    """One console with a game inserted; `ram` and `screen` are live views that end with `close`.

    `ram` holds 2,048 bytes, Python integers when read; `screen`, (240, 256, 4) uint8, is blue, green, red and unused.
    """

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

    def backup(self) -> None:
        """Store the state in the emulator, in place of the one stored before."""
        self._library.Backup(self._handle)

    def restore(self) -> None:
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


class Mario:
    """The state that the rules act on: all of the game, or with `target` (world, stage) one stage, which ends.

    The constructor resets the console and passes the title screen.
    """

    def __init__(self, console: Nes, target: tuple[int, int] | None = None, lost_levels: bool = False):
        self.console, self.target, self.whole_game = console, target, target is None
        self.clock = self.x = 0
        self.defeated, self.item_points = [False] * NUM_ENEMIES, 0
        self.kills = self.power_ups = 0
        self.info = [0] * len(INFO)
        console.reset()
        world, stage = target or (0, 0)
        skip_title(self, world, stage, area_of(world, stage, lost_levels))
        console.backup()

    def reset(self, noops: int = 0) -> None:
        """Return to the first frame with control, and play `noops` frames without a button."""
        self.console.restore()
        begin(self)
        for _ in range(noops):
            step_with_rules(self, 0)
        begin(self)

    def step(self, buttons: int) -> tuple[int, bool]:
        """Advance by one frame; return (reward, terminated)."""
        return step_with_rules(self, buttons)

    def read_info(self) -> dict[str, Any]:
        """Return the information of the last frame with control."""
        values = dict(zip(INFO, self.info, strict=True))
        return values | {"flag_get": bool(values["flag_get"]), "status": STATUS[values["status"]]}


def run_frame(mario: Mario, buttons: int) -> None:
    mario.console.step(buttons)


step_with_rules, skip_title = make_rules(run_frame)


class NesPyMario(Copyable, gym.Env):
    """One environment, as `make_env` in `env` says; `max_pool` takes the maximum before the size.

    A console is made on demand, one for each stage, since a console holds one snapshot: the first frame. Every returned
    array is the caller's.

    Raises ValueError for bad arguments, seeds and actions, ResetNeeded for a step without a reset,
    ClosedEnvironmentError after `close`, DependencyNotInstalled where the emulator or the ROM is missing.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"]}

    def __init__(
        self,
        game: MarioGame,
        settings: EnvSettings = EnvSettings(),
        *,
        grey: bool = False,
        crop: tuple[int, int, int, int] | None = None,
        size: tuple[int, int] | None = None,
    ):
        check_render_mode(settings.render_mode, self.metadata["render_modes"])
        load_library()
        game.cartridge()  # checked
        self.rom = game.rom_path()
        self.game, self.render_mode, self.grey = game, settings.render_mode, grey
        self.frame_skip, self.max_pool = settings.frame_skip, settings.max_pool
        self.max_episode_steps = settings.max_episode_steps
        fps = frames_per_second(game.fps, settings.frame_skip)
        self.metadata = {**self.metadata, "render_fps": fps, "score": game.score_key}
        screen = Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        Pixels(crop=crop, size=size).check(screen)
        top, bottom, left, right = crop or (0, HEIGHT, 0, WIDTH)
        self._region = slice(top, bottom), slice(left, right)
        self._size = size[::-1] if size else None  # width, height: OpenCV's order
        shape = size or (bottom - top, right - left)
        self.observation_space = Box(0, 255, shape if grey else (*shape, 3), np.uint8)
        self.action_space = Discrete(len(game.actions))
        self._codes = game.codes
        self._window = Window(game.name, game.fps) if settings.render_mode == "human" else None
        self._mario_by_target: dict[tuple[int, int] | None, Mario] = {}
        self._mario: Mario | None = None  # of the running episode; None before the first reset
        self._num_steps, self._over, self._closed = 0, False, False
        self._furthest, self._idle_steps = 0, 0  # see `progress`; steps since it was reached

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self._check_open()
        super().reset(seed=check_seed(seed))
        targets = list(self.game.targets) or [None]
        target = targets[int(self.np_random.integers(len(targets)))] if len(targets) > 1 else targets[0]
        self._mario = self._mario_at(target)
        self._mario.reset(int(self.np_random.integers(self.game.noop_max + 1)) if self.game.noop_max else 0)
        self._num_steps, self._over = 0, False
        self._furthest, self._idle_steps = progress(self._mario.info), 0
        self._show(self._mario)
        return self._observe(self._mario), self._mario.read_info()

    def _mario_at(self, target: tuple[int, int] | None) -> Mario:
        """Return the game with this target, on a console of its own."""
        if target not in self._mario_by_target:
            self._mario_by_target[target] = Mario(Nes(self.rom), target, self.game.lost_levels)
        return self._mario_by_target[target]

    def step(self, action: int):
        self._check_open()
        mario = self._mario
        if mario is None or self._over:
            when = "before the first reset()" if mario is None else "after the end of an episode: call reset()"
            raise ResetNeeded(f"step() of {self.game.name} {when}")
        code = lookup_action(self._codes, action)
        if code is None:
            raise invalid_action(action, self.game.name, self.game.actions)
        total, terminated, last_but_one = 0, False, None
        for left in reversed(range(self.frame_skip)):
            reward, terminated = mario.step(code)
            total += reward
            self._show(mario)
            if terminated:
                break
            if self.max_pool and left == 1:
                last_but_one = self._render_region(mario)
        self._num_steps += 1
        truncated = not terminated and (
            self._out_of_patience(mario)
            or (self.max_episode_steps is not None and self._num_steps >= self.max_episode_steps)
        )
        self._over = terminated or truncated
        return self._observe(mario, last_but_one), float(total), terminated, truncated, mario.read_info()

    def _out_of_patience(self, mario: Mario) -> bool:
        """Update the progress; return True after `patience` steps without any."""
        reached = progress(mario.info)
        self._idle_steps = 0 if reached > self._furthest else self._idle_steps + 1
        self._furthest = max(reached, self._furthest)
        return self.game.patience is not None and self._idle_steps >= self.game.patience

    def _render_region(self, mario: Mario) -> np.ndarray:
        return mario.console.render(self._region, self.grey)

    def _observe(self, mario: Mario, last_but_one: np.ndarray | None = None) -> np.ndarray:
        frame = self._render_region(mario)
        if last_but_one is not None:
            frame = np.maximum(last_but_one, frame)
        if self._size is None:
            return frame
        import cv2  # noqa: PLC0415  heavy

        return cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA)

    def render(self) -> np.ndarray | None:
        self._check_open()
        if self.render_mode != "rgb_array" or self._mario is None:
            return None
        return self._mario.console.render(WHOLE, grey=False)

    def get_keys_to_action(self) -> dict[str | tuple[str, ...], int]:
        """Return key names, as `gymnasium.utils.play` takes them, and their actions."""
        return self.game.keys

    def _show(self, mario: Mario) -> None:
        if self._window:
            self._window.show(mario.console.render(WHOLE, grey=False))

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedEnvironmentError(f"this environment of {self.game.name} is closed: make another")

    def close(self) -> None:
        self._closed, self._mario = True, None
        for mario in self._mario_by_target.values():
            mario.console.close()
        self._mario_by_target.clear()
        if self._window:
            self._window.close()
