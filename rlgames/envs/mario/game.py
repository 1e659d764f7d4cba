"""Super Mario Bros.: run to the flag of a stage, or through all eight worlds with three lives.

Observation space: `obs="pixels"`, the screen, (240, 256, 3) uint8; "ram", the console's memory, (2048,) uint8; "tiles",
(13, 16) uint8, the cells around Mario, see `tiles`.
Action space: combinations of buttons that are held during one frame; the option `actions` selects "right_only" (5 of
them), "simple" (7), "complex" (12) or "all" (256).
Rewards: the pixels moved to the right minus the time lost, and -25 for a death; see `rules`.
Termination: a death or the flag of the stage; in the whole game the loss of the last life.
Truncation: none, or with `patience` after so many steps without progress: the stage's own clock allows Mario to push
against a wall for seven minutes.

`world` and `stage` choose one of the 32 stages, `stages` several, from which each episode draws one ("all", or as in
"1-1+1-2"); without them it is the whole game. `version` is the graphics of gym-super-mario-bros: 0 the original, 1
without backgrounds, 2 coarse pixels, 3 rectangles. `lost_levels` is the sequel (Super Mario Bros. 2 of Japan; versions
0 and 1, worlds 1 to 4). `rom` is the path of the ROM, by default gym-super-mario-bros'.

An episode begins with 0 to `noop_max` frames without a button, by chance: nothing else in a stage is random, and
published results use 30.

`engine` is the emulator: "nes", compiled with the rest of the game, or "nes-py", that of gym-super-mario-bros, which
equals it frame by frame and is the reference (extra `nes-py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from rlgames.engine.validation import check_count, is_integer
from rlgames.envs.mario.cartridge import find_rom, read_cartridge
from rlgames.errors import InvalidValueError, brief
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
VERSIONS = {False: 4, True: 2}  # by lost_levels
WORLDS = {False: 8, True: 4}  # by lost_levels; where the sequel's other worlds are in memory is not known
STAGES = 4  # of a world
ENGINES = ("nes", "nes-py")
MOST_NOOPS = 60  # frames: a second, in which nothing reaches Mario
OBSERVATIONS = {"pixels": (240, 256, 3), "ram": (0x800,), "tiles": (13, 16)}  # shapes, uint8
STORED_STRINGS = {
    "actions": "|".join(ACTIONS),
    "engine": "|".join(ENGINES),
    "obs": "|".join(OBSERVATIONS),
    "stages": r"all|\d+-\d+(\+\d+-\d+)*",
}


@dataclass(frozen=True)
class MarioGame:
    """A variant of the game."""

    name: str
    targets: tuple[tuple[int, int], ...]  # (world, stage); empty: the whole game
    version: int
    lost_levels: bool
    actions: tuple[str, ...]  # buttons of each
    engine: str = "nes"
    obs: str = "pixels"
    patience: int | None = None
    noop_max: int = 0
    rom: str | None = None  # path; None: gym-super-mario-bros'
    fps: int = 60

    @property
    def codes(self) -> tuple[int, ...]:
        """Buttons of each action, as a sum of bits."""
        return tuple(sum(BUTTONS.get(button, 0) for button in action.split()) for action in self.actions)

    @property
    def compiled(self) -> bool:
        """True if Numba compiles the emulator too."""
        return self.engine == "nes"

    @property
    def observation(self) -> Box:
        """The observation space before any preprocessing."""
        return Box(0, 255, OBSERVATIONS[self.obs], np.uint8)

    @property
    def score_key(self) -> str:
        """Key of the score in the information: the distance in a stage, or the points of the whole game."""
        return "x_pos" if self.targets else "score"

    @property
    def keys(self) -> dict[str | tuple[str, ...], int]:
        """Actions by pressed keys, for every action that has keys."""
        key_of = {button: key for key, button in KEYS.items()}
        return {
            tuple(sorted(key_of[button] for button in action.split())): i
            for i, action in enumerate(self.actions)
            if all(button in key_of for button in action.split())
        }

    def rom_path(self) -> Path:
        """Return the ROM's path. Raises DependencyNotInstalled without the option `rom` and gym-super-mario-bros."""
        return find_rom(self.lost_levels, self.version) if self.rom is None else Path(self.rom).expanduser()

    def cartridge(self) -> np.ndarray:
        """Return the cartridge, one record. Raises ValueError for a ROM that is not the one of this variant."""
        return read_cartridge(self.rom_path(), self.lost_levels, self.version)


def game(
    world: int | None = None,
    stage: int | None = None,
    version: int = 0,
    actions: str = "simple",
    stages: str | Sequence[str] | None = None,
    lost_levels: bool = False,
    engine: str = "nes",
    patience: int | None = None,
    obs: str = "pixels",
    noop_max: int = 0,
    rom: str | None = None,
) -> MarioGame:
    """Return the variant with these options, which the module's docstring describes.

    Raises ValueError for values that do not exist.
    """
    if type(lost_levels) is not bool:
        raise InvalidValueError(f"expected lost_levels true or false, got {brief(lost_levels)}")
    if not is_integer(version) or not 0 <= version < VERSIONS[lost_levels]:
        raise InvalidValueError(f"expected a version of 0 to {VERSIONS[lost_levels] - 1}, got {brief(version)}")
    if actions not in ACTIONS:
        raise InvalidValueError(f"expected actions of {', '.join(ACTIONS)}, got {brief(actions)}")
    if engine not in ENGINES:
        raise InvalidValueError(f"expected an engine of {', '.join(ENGINES)}, got {brief(engine)}")
    if obs not in OBSERVATIONS:
        raise InvalidValueError(f"expected obs of {', '.join(OBSERVATIONS)}, got {brief(obs)}")
    if obs != "pixels" and engine != "nes":
        raise InvalidValueError(
            f"expected obs pixels with engine={engine!r}, got {brief(obs)}: {obs} needs engine='nes'"
        )
    if rom is not None and not isinstance(rom, str):
        raise InvalidValueError(f"expected rom to be a path, got {brief(rom)}")
    check_count("patience", patience, or_none=True)
    if not is_integer(noop_max) or not 0 <= noop_max <= MOST_NOOPS:
        raise InvalidValueError(f"expected noop_max of 0 to {MOST_NOOPS} frames, got {brief(noop_max)}")
    if stages is not None and (world is not None or stage is not None):
        raise InvalidValueError(f"expected stages or a world and a stage, got stages={stages!r} too")
    if (world is None) != (stage is None):
        raise InvalidValueError(f"expected a world and a stage, or neither for the whole game: got {world}-{stage}")
    options = {"world": world, "stage": stage, "stages": stages, "version": version or None}
    named = {key: value for key, value in options.items() if value is not None}
    named |= {"actions": actions} if actions != "simple" else {}
    named |= {"lost_levels": "true"} if lost_levels else {}
    named |= {"engine": engine} if engine != "nes" else {}
    named |= {"patience": patience} if patience is not None else {}
    named |= {"obs": obs} if obs != "pixels" else {}
    named |= {"noop_max": noop_max} if noop_max else {}
    return MarioGame(
        name="Mario" + ":" * bool(named) + ",".join(f"{key}={value}" for key, value in named.items()),
        targets=parse_targets(world, stage, stages, lost_levels),
        version=version,
        lost_levels=lost_levels,
        actions=ACTIONS[actions],
        engine=engine,
        obs=obs,
        patience=patience,
        noop_max=noop_max,
        rom=rom,
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
            raise InvalidValueError(f"expected stages as in '1-1+1-2', or 'all', got {brief(stages)}")
    for w, s in chosen:
        if not is_integer(w) or not 1 <= w <= worlds or not is_integer(s) or not 1 <= s <= STAGES:
            raise InvalidValueError(f"expected a world of 1 to {worlds} and a stage of 1 to {STAGES}, got {w}-{s}")
    return tuple((int(w), int(s)) for w, s in chosen)


def default_pixels(obs: str = "pixels") -> Pixels:
    """Return the default preprocessing: every fourth frame; screens small, grey, stacked, without score board."""
    if obs == "pixels":
        return Pixels(crop=(32, 240, 0, 256), grey=True, size=(84, 84), skip=4, stack=4)
    return Pixels(skip=4)


def split_pixels(pixels: Pixels, vector: bool) -> tuple[dict[str, Any], Pixels]:
    """Split the preprocessing: the engine skips, crops, makes grey (as OpenCV does) and resizes; wrappers do the rest.

    They also crop and resize where another step comes before the resize.
    """
    arguments: dict[str, Any] = {**pixels.engine_arguments(), "grey": pixels.grey}
    rest = replace(pixels if vector else pixels.after_skip(), grey=False)
    known = ("crop", "grey", "size", "erase", "skip", "max_pool", "stack", "stack_skipped", "difference", "scale")
    if pixels == Pixels(**{key: getattr(pixels, key) for key in known}):
        arguments |= {"crop": pixels.crop, "size": pixels.size}
        rest = replace(rest, crop=None, size=None)
    return arguments, rest
