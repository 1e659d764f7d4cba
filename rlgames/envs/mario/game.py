"""Super Mario Bros.: run to the flag of a stage, or through all eight worlds with three lives.

Observation space: the screen, (240, 256, 3) uint8.
Action space: combinations of buttons that are held during one frame; the option `actions` selects "right_only" (5 of
them), "simple" (7), "complex" (12) or "all" (256).
Rewards: the pixels moved to the right minus the time lost, and -25 for a death; see `memory_map`.
Termination: a death or the flag of the stage; in the whole game the loss of the last life.
Truncation: none, or with `patience` after so many steps without progress: the stage's own clock allows Mario to push
against a wall for seven minutes.

`world` and `stage` choose one of the 32 stages, `stages` several, from which each episode draws one ("all", or as in
"1-1+1-2"); without them it is the whole game. `version` is the graphics of gym-super-mario-bros: 0 the original, 1
without backgrounds, 2 coarse pixels, 3 rectangles. `lost_levels` is the sequel (Super Mario Bros. 2 of Japan; versions
0 and 1, worlds 1 to 4).

`engine` is the emulator. "nes-py" equals gym-super-mario-bros frame by frame. "retro" (extra `retro`) runs the same
game by the same rules several times as fast, on another console: Mario moves a frame earlier there, so the same actions
lead to other episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.spaces import Box

from rlgames.engine.validation import check_count, is_integer
from rlgames.envs.mario.nes_py import HEIGHT, REMEDY, WIDTH, package_folder
from rlgames.errors import InvalidValueError
from rlgames.wrappers.pixels import Pixels

BUTTONS = {"right": 128, "left": 64, "down": 32, "up": 16, "start": 8, "select": 4, "B": 2, "A": 1}
RIGHT = ("nothing", "right", "right A", "right B", "right A B")
SIMPLE = (*RIGHT, "A", "left")
ACTIONS: dict[str, tuple[str, ...]] = {
    "right_only": RIGHT,
    "simple": SIMPLE,
    "complex": (*SIMPLE, "left A", "left B", "left A B", "down", "up"),
    "all": tuple(" ".join(name for name, bit in BUTTONS.items() if byte & bit) or "nothing" for byte in range(256)),
}
KEYS = {"d": "right", "a": "left", "s": "down", "w": "up", "p": "B", "o": "A"}
ROMS = {  # by lost_levels and version
    False: ("super-mario-bros", *(f"super-mario-bros-{graphics}" for graphics in ("downsample", "pixel", "rectangle"))),
    True: ("super-mario-bros-2", "super-mario-bros-2-downsample"),
}
WORLDS = {False: 8, True: 4}  # by lost_levels; where the sequel's other worlds are in memory is not known
STAGES = 4  # of a world
ENGINES = {"nes-py": "rlgames.envs.mario.nes_py", "retro": "rlgames.envs.mario.retro"}  # modules of the emulators
STORED_STRINGS = {"actions": "|".join(ACTIONS), "engine": "|".join(ENGINES), "stages": r"all|\d+-\d+(\+\d+-\d+)*"}


@dataclass(frozen=True)
class MarioGame:
    """A variant of the game."""

    name: str
    targets: tuple[tuple[int, int], ...]  # (world, stage); empty: the whole game
    rom: str
    lost_levels: bool
    actions: tuple[str, ...]  # buttons of each
    engine: str = "nes-py"
    patience: int | None = None
    fps: int = 60
    keys: dict[tuple[str, ...], int] = field(default_factory=dict)

    observation = Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)

    @property
    def codes(self) -> tuple[int, ...]:
        """Buttons of each action, as a sum of bits."""
        return tuple(sum(BUTTONS.get(button, 0) for button in action.split()) for action in self.actions)

    def emulator(self) -> Any:
        """Return the module of the engine, which has `load_library` and `Nes`."""
        return import_module(ENGINES[self.engine])

    def rom_path(self) -> Path:
        """Return the ROM's path. Raises DependencyNotInstalled without gym-super-mario-bros, which has the ROMs."""
        path = package_folder("gym_super_mario_bros") / "_roms" / f"{self.rom}.nes"
        if not path.is_file():
            raise DependencyNotInstalled(f"gym-super-mario-bros has no ROM {path.name}, expected version 7: {REMEDY}")
        return path


def game(
    world: int | None = None,
    stage: int | None = None,
    version: int = 0,
    actions: str = "simple",
    stages: str | Sequence[str] | None = None,
    lost_levels: bool = False,
    engine: str = "nes-py",
    patience: int | None = None,
) -> MarioGame:
    """Return the variant with these options, which the module's docstring describes.

    Raises ValueError for values that do not exist.
    """
    if type(lost_levels) is not bool:
        raise InvalidValueError(f"expected lost_levels true or false, got {lost_levels!r}")
    roms = ROMS[lost_levels]
    if not is_integer(version) or not 0 <= version < len(roms):
        raise InvalidValueError(f"expected a version of 0 to {len(roms) - 1}, got {version!r}")
    if actions not in ACTIONS:
        raise InvalidValueError(f"expected actions of {', '.join(ACTIONS)}, got {actions!r}")
    if engine not in ENGINES:
        raise InvalidValueError(f"expected an engine of {', '.join(ENGINES)}, got {engine!r}")
    check_count("patience", patience, or_none=True)
    if stages is not None and (world is not None or stage is not None):
        raise InvalidValueError(f"expected stages or a world and a stage, got stages={stages!r} too")
    if (world is None) != (stage is None):
        raise InvalidValueError(f"expected a world and a stage, or neither for the whole game: got {world}-{stage}")
    options = {"world": world, "stage": stage, "stages": stages, "version": version or None}
    named = {key: value for key, value in options.items() if value is not None}
    named |= {"actions": actions} if actions != "simple" else {}
    named |= {"lost_levels": "true"} if lost_levels else {}
    named |= {"engine": engine} if engine != "nes-py" else {}
    named |= {"patience": patience} if patience is not None else {}
    return MarioGame(
        name="Mario" + ":" * bool(named) + ",".join(f"{key}={value}" for key, value in named.items()),
        targets=parse_targets(world, stage, stages, lost_levels),
        rom=roms[version],
        lost_levels=lost_levels,
        actions=ACTIONS[actions],
        engine=engine,
        patience=patience,
        keys=keys_to_actions(ACTIONS[actions]),
    )


def parse_targets(
    world: int | None, stage: int | None, stages: str | Sequence[str] | None, lost_levels: bool
) -> tuple[tuple[int, int], ...]:
    """Return the chosen stages as (world, stage); empty: the whole game."""
    worlds = WORLDS[lost_levels]
    if stages is None:
        chosen: list[tuple[Any, ...]] = [] if world is None else [(world, stage)]
    elif stages == "all":
        chosen = [(w, s) for w in range(1, worlds + 1) for s in range(1, STAGES + 1)]
    else:
        names = stages.split("+") if isinstance(stages, str) else map(str, stages)
        chosen = [tuple(int(part) if part.isdigit() else part for part in name.split("-")) for name in names]
        if not chosen or any(len(target) != 2 for target in chosen):
            raise InvalidValueError(f"expected stages as in '1-1+1-2', or 'all', got {stages!r}")
    for w, s in chosen:
        if not is_integer(w) or not 1 <= w <= worlds or not is_integer(s) or not 1 <= s <= STAGES:
            raise InvalidValueError(f"expected a world of 1 to {worlds} and a stage of 1 to {STAGES}, got {w}-{s}")
    return tuple((int(w), int(s)) for w, s in chosen)


def keys_to_actions(actions: tuple[str, ...]) -> dict[tuple[str, ...], int]:
    """Map pressed keys to actions, for every action that has keys."""
    key_of = {button: key for key, button in KEYS.items()}
    return {
        tuple(sorted(key_of[button] for button in action.split())): i
        for i, action in enumerate(actions)
        if all(button in key_of for button in action.split())
    }


def split_pixels(pixels: Pixels, vector: bool) -> tuple[dict[str, Any], Pixels]:
    """Split the preprocessing: the engine skips, crops, makes grey (as OpenCV does) and resizes; wrappers do the rest.

    They also crop and resize where another step comes before the resize.
    """
    arguments: dict[str, Any] = {**pixels.engine_arguments(), "grey": pixels.grey}
    rest = replace(pixels.after_skip(), grey=False)
    known = ("crop", "grey", "size", "erase", "skip", "max_pool", "stack", "stack_skipped", "difference", "scale")
    if pixels == Pixels(**{key: getattr(pixels, key) for key in known}):
        arguments |= {"crop": pixels.crop, "size": pixels.size}
        rest = replace(rest, crop=None, size=None)
    return arguments, rest
