"""`AtariGame`: an Atari game as data, and access to ale-py's emulator and ROMs.

Both environments repeat ale-py's `AtariVectorEnv` frame by frame: environment i of a batch equals the single
environment seeded with `seed + i`. An episode begins with 0 to `noop_max` frames without an action, drawn from the
environment's own RNG (Mnih et al. 2015, "Human-level control through deep reinforcement learning": up to 30; Machado et
al. 2018, "Revisiting the Arcade Learning Environment", section 4.3). The observation of a step is of the frames before
the game was over, as in Gymnasium's AtariPreprocessing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.spaces import Box

from rlgames.engine.validation import is_integer
from rlgames.errors import InvalidValueError, brief
from rlgames.wrappers.pixels import Pixels

HEIGHT, WIDTH = 210, 160  # of the screen
MAX_FRAMES = 108_000  # of an episode: half an hour at 60 frames a second
MOST_NOOPS = 60  # frames: a second; 30 are usual
SEEDS = 2**31  # the emulator's seeds; larger ones are taken modulo this


@dataclass(frozen=True)
class AtariGame:
    """An Atari game: its ROM, its actions and options of the emulator. Raises ValueError for bad options."""

    name: str
    rom: str  # ale-py's name of the ROM
    actions: tuple[str, ...]  # names, in order
    codes: tuple[int, ...]  # their indices in the ROM's minimal action set
    keys: dict[str, int] = field(default_factory=dict)  # key name -> action, for a person who plays
    noop_max: int = 0  # an episode begins with 0 to this many no-op frames, all equally likely
    repeat_action_probability: float = 0.0  # of a frame that repeats the previous frame's action ("sticky actions")
    fps: int = 60
    best_score: float | None = None  # of an episode; None: none is known

    observation = Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)

    def __post_init__(self) -> None:
        if not is_integer(self.noop_max) or not 0 <= self.noop_max <= MOST_NOOPS:
            raise InvalidValueError(f"expected noop_max of 0 to {MOST_NOOPS} frames, got {brief(self.noop_max)}")
        sticky = self.repeat_action_probability
        if isinstance(sticky, bool) or not isinstance(sticky, int | float) or not 0 <= sticky < 1:
            raise InvalidValueError(f"expected a repeat_action_probability in [0, 1), got {brief(sticky)}")


def split_pixels(pixels: Pixels, vector: bool) -> tuple[dict[str, Any], Pixels]:
    """Split the preprocessing between the emulator, as constructor arguments, and wrappers.

    Grey frames are the emulator's own. A single environment also skips frames; a vector environment skips, resizes and
    stacks, unless another operation comes in between.
    """
    arguments: dict[str, Any] = {**pixels.engine_arguments(), "grey": pixels.grey}
    if not vector:
        return arguments, replace(pixels.after_skip(), grey=False)
    rest = replace(pixels, grey=False)
    supported = ("size", "skip", "max_pool", "stack", "scale")
    nothing_between = rest == Pixels(**{name: getattr(rest, name) for name in supported})
    # some releases of ale-py resize only if both dimensions change
    if nothing_between and pixels.size and pixels.size[0] != HEIGHT and pixels.size[1] != WIDTH:
        arguments["size"], rest = pixels.size, replace(rest, size=None)
    if nothing_between and rest.size is None:
        arguments["stack"], rest = pixels.stack, replace(rest, stack=1)
    return arguments, rest


def import_ale() -> Any:
    """Import ale_py. Raises DependencyNotInstalled, with the remedy, if it is missing or too old."""
    remedy = 'pip install --upgrade "rlgames[pong]"'
    try:
        import ale_py  # noqa: PLC0415  optional
        from ale_py import vector_env  # noqa: PLC0415  optional
    except ImportError as error:
        raise DependencyNotInstalled(f"Atari games need ale-py 0.12 or newer ({error}): {remedy}") from error
    if not hasattr(vector_env, "AutoresetMode"):
        raise DependencyNotInstalled(f"Atari games need ale-py 0.12 or newer, found {ale_py.__version__}: {remedy}")
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    return ale_py


def rom_path(game: AtariGame) -> Any:
    """Return the path of the game's ROM. Raises ValueError for a ROM that ale-py does not include."""
    from ale_py import roms  # noqa: PLC0415  optional

    known = roms.get_all_rom_ids()
    if game.rom not in known:
        raise InvalidValueError(f"ale-py has no ROM {game.rom!r}: it has {', '.join(sorted(known))}")
    return roms.get_rom_path(game.rom)
