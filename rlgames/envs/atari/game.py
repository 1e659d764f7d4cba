"""An Atari game through ale-py, as data: `atari_solo` plays it for one player, `atari_batch` for any number.

Both follow ale-py's `AtariVectorEnv`: row i of a batch is the single environment seeded with `seed + i`, frame by frame
and episode after episode. An episode begins with up to `noop_max` - 1 frames of doing nothing, so many as the player's
own dice say (Machado et al. 2018, "Revisiting the Arcade Learning Environment", section 4.3, on why games must differ).
The picture of a step is of the frames played before the game was over, as in Gymnasium's AtariPreprocessing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.spaces import Box

from rlgames.engine.validation import is_integer
from rlgames.errors import InvalidValueError
from rlgames.wrappers.pixels import Pixels

HEIGHT, WIDTH = 210, 160  # of the screen
MAX_FRAMES = 108_000  # of an episode at most: half an hour at 60 a second
SEEDS = 2**31  # the emulator's seeds: others are taken modulo this


@dataclass(frozen=True)
class AtariGame:
    """An Atari game: its ROM, and which of the emulator's actions a player has."""

    name: str
    rom: str  # as ale-py calls it
    actions: tuple[str, ...]  # their names, in order
    codes: tuple[int, ...]  # their numbers in the ROM's minimal set
    keys: dict[str, int] = field(default_factory=dict)  # key name -> action, for a person who plays
    noop_max: int = 30  # an episode begins with fewer frames of nothing than this
    repeat_action_probability: float = 0.0  # of the emulator playing the last frame's action once more ("sticky")
    fps: int = 60

    observation = Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)

    def __post_init__(self) -> None:
        if not is_integer(self.noop_max) or self.noop_max < 0:
            raise InvalidValueError(f"expected noop_max >= 0, got {self.noop_max!r}")
        sticky = self.repeat_action_probability
        if isinstance(sticky, bool) or not isinstance(sticky, int | float) or not 0 <= sticky < 1:
            raise InvalidValueError(f"expected a repeat_action_probability in [0, 1), got {sticky!r}")


def split_pixels(pixels: Pixels, vector: bool) -> tuple[dict[str, Any], Pixels]:
    """What an engine does of a declaration by itself, as constructor arguments, and what is left for wrappers.

    The grey of an Atari game is the emulator's own. A single environment skips; a batch also resizes and stacks, if
    nothing else comes in between.
    """
    done: dict[str, Any] = {**pixels.engine_arguments(), "grey": pixels.grey}
    if not vector:
        return done, replace(pixels.after_skip(), grey=False)
    rest = replace(pixels, grey=False)
    plain = rest == Pixels(**{key: getattr(rest, key) for key in ("size", "skip", "max_pool", "stack", "scale")})
    if plain and pixels.size and pixels.size[0] != HEIGHT and pixels.size[1] != WIDTH:
        done["size"], rest = pixels.size, replace(rest, size=None)
    if plain and rest.size is None:
        done["stack"], rest = pixels.stack, replace(rest, stack=1)
    return done, rest


def emulator() -> Any:
    """The module ale_py. Raises DependencyNotInstalled, with the remedy, where it is missing or too old."""
    remedy = 'pip install --upgrade "rlgames[pong]"'
    try:
        import ale_py
        from ale_py import vector_env
    except ImportError as error:
        raise DependencyNotInstalled(f"Atari games need ale-py 0.12 or newer ({error}): {remedy}") from error
    if not hasattr(vector_env, "AutoresetMode"):
        raise DependencyNotInstalled(f"Atari games need ale-py 0.12 or newer, found {ale_py.__version__}: {remedy}")
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    return ale_py


def rom_path(game: AtariGame) -> Any:
    """Where the game's ROM lies. Raises ValueError for one that ale-py does not bring."""
    from ale_py import roms

    known = roms.get_all_rom_ids()
    if game.rom not in known:
        raise InvalidValueError(f"ale-py has no ROM called {game.rom!r}: it has {', '.join(sorted(known))}")
    return roms.get_rom_path(game.rom)
