"""Super Mario Bros.: run to the flag of a stage, or through all eight worlds with three lives.

`world` and `stage` choose one of the 32 stages, `stages` several of which each episode draws one ("all", or as in
"1-1+1-2"); without either it is the whole game. `version` is the look of gym-super-mario-bros: 0 as it was, 1 without
backgrounds, 2 coarse pixels, 3 rectangles. `lost_levels` is the sequel (Super Mario Bros. 2 of Japan; versions 0 and 1,
worlds 1 to 4 by name).

`patience` cuts an episode short after so many steps that brought Mario no further, as if time had run out: by the
stage's own clock he may push against a wall for seven minutes.

`engine` is the emulator. "nes-py" plays as gym-super-mario-bros does, frame by frame; "retro" (extra `retro`) plays
the same game by the same rules several times as fast, on another console: Mario moves a frame earlier there, so that
the same buttons lead elsewhere.
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
from rlgames.envs.mario.nes_py import HEIGHT, REMEDY, WIDTH, folder_of
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
ROMS = {  # by version
    False: ("super-mario-bros", *(f"super-mario-bros-{look}" for look in ("downsample", "pixel", "rectangle"))),
    True: ("super-mario-bros-2", "super-mario-bros-2-downsample"),
}
WORLDS = {False: 8, True: 4}  # of the sequel's others nobody knows where they lie in memory
STAGES = 4  # of a world
ENGINES = {"nes-py": "rlgames.envs.mario.nes_py", "retro": "rlgames.envs.mario.retro"}  # the emulator's module


@dataclass(frozen=True)
class MarioGame:
    """What is played: targets as (world, stage), none of them for the whole game, and which buttons there are."""

    name: str
    targets: tuple[tuple[int, int], ...]
    rom: str
    lost_levels: bool
    actions: tuple[str, ...]
    engine: str = "nes-py"
    patience: int | None = None
    fps: int = 60
    keys: dict[tuple[str, ...], int] = field(default_factory=dict)

    observation = Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)

    @property
    def codes(self) -> tuple[int, ...]:
        """The buttons of each action, as a sum of bits."""
        return tuple(sum(BUTTONS.get(button, 0) for button in action.split()) for action in self.actions)

    def emulator(self) -> Any:
        """The module of the engine, with its `library` and its `Nes`."""
        return import_module(ENGINES[self.engine])

    def rom_path(self) -> Path:
        """Where it lies. Raises DependencyNotInstalled without gym-super-mario-bros, which brings the ROMs."""
        path = folder_of("gym_super_mario_bros") / "_roms" / f"{self.rom}.nes"
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
    """Raises ValueError for worlds, stages, versions, actions, engines and patiences that there are not."""
    if type(lost_levels) is not bool:
        raise InvalidValueError(f"expected lost_levels true or false, got {lost_levels!r}")
    looks = ROMS[lost_levels]
    if not is_integer(version) or not 0 <= version < len(looks):
        raise InvalidValueError(f"expected a version of 0 to {len(looks) - 1}, got {version!r}")
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
    told = {key: value for key, value in options.items() if value is not None}
    told |= {"actions": actions} if actions != "simple" else {}
    told |= {"lost_levels": "true"} if lost_levels else {}
    told |= {"engine": engine} if engine != "nes-py" else {}
    told |= {"patience": patience} if patience is not None else {}
    names = ACTIONS[actions]
    return MarioGame(
        name="Mario" + ":" * bool(told) + ",".join(f"{key}={value}" for key, value in told.items()),
        targets=targets(world, stage, stages, lost_levels),
        rom=looks[version],
        lost_levels=lost_levels,
        actions=names,
        engine=engine,
        patience=patience,
        keys=keys(names),
    )


def targets(
    world: int | None, stage: int | None, stages: str | Sequence[str] | None, lost_levels: bool
) -> tuple[tuple[int, int], ...]:
    """The stages that are meant; none: the whole game."""
    worlds = WORLDS[lost_levels]
    if stages is None:
        wanted: list[tuple[Any, ...]] = [] if world is None else [(world, stage)]
    elif stages == "all":
        wanted = [(w, s) for w in range(1, worlds + 1) for s in range(1, STAGES + 1)]
    else:
        listed = stages.split("+") if isinstance(stages, str) else list(stages)
        wanted = [tuple(int(part) if part.isdigit() else part for part in str(one).split("-")) for one in listed]
        if not wanted or any(len(one) != 2 for one in wanted):
            raise InvalidValueError(f"expected stages as in '1-1+1-2', or 'all', got {stages!r}")
    for w, s in wanted:
        if not is_integer(w) or not 1 <= w <= worlds or not is_integer(s) or not 1 <= s <= STAGES:
            raise InvalidValueError(f"expected a world of 1 to {worlds} and a stage of 1 to {STAGES}, got {w}-{s}")
    return tuple((int(w), int(s)) for w, s in wanted)


def keys(actions: tuple[str, ...]) -> dict[tuple[str, ...], int]:
    """Pressed keys to the action that they are, for every action that has keys."""
    letter = {button: key for key, button in KEYS.items()}
    spelled = {action: action.split() for action in actions}
    return {
        tuple(sorted(letter[button] for button in buttons)): i
        for i, (action, buttons) in enumerate(spelled.items())
        if action != "nothing" and all(button in letter for button in buttons)
    }


def split_pixels(pixels: Pixels, vector: bool) -> tuple[dict[str, Any], Pixels]:
    """The engine skips, crops, makes grey (as OpenCV does) and resizes; wrappers see to the rest.

    They crop and resize too where something else comes in between.
    """
    done: dict[str, Any] = {**pixels.engine_arguments(), "grey": pixels.grey}
    rest = replace(pixels.after_skip(), grey=False)
    known = ("crop", "grey", "size", "erase", "skip", "max_pool", "stack", "stack_skipped", "difference", "scale")
    if pixels == Pixels(**{key: getattr(pixels, key) for key in known}):  # nothing else comes before the resize
        done |= {"crop": pixels.crop, "size": pixels.size}
        rest = replace(rest, crop=None, size=None)
    return done, rest
