"""Make environments of Super Mario Bros. on either engine, with the part of the preprocessing that engines do."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv

from rlgames.engine.single_env import GameEnv
from rlgames.engine.threaded import ThreadedVectorEnv
from rlgames.engine.validation import EnvSettings, VectorEnvSettings
from rlgames.engine.vector_env import GameVectorEnv
from rlgames.envs.mario.game import MarioGame
from rlgames.envs.mario.nes import compiled_game
from rlgames.envs.mario.nes_py import NesPyMario
from rlgames.envs.mario.picture import resizes_exactly
from rlgames.envs.mario.ppu import HEIGHT, WIDTH
from rlgames.wrappers.pixels import Pixels

Crop = tuple[int, int, int, int]
Size = tuple[int, int]


def make_env(
    game: MarioGame, *, grey: bool = False, crop: Crop | None = None, size: Size | None = None, **settings: Any
) -> gym.Env:
    """Make one environment; `settings` are the fields of `EnvSettings`.

    Pictures are the screen, (240, 256, 3) uint8. `crop` (top, bottom, left, right) selects a region of it, `grey` takes
    OpenCV's luminance, (height, width) uint8, `size` (height, width) resizes by area means, as OpenCV does.

    Raises ValueError for bad arguments, and DependencyNotInstalled where the ROM or the emulator is missing.
    """
    chosen = EnvSettings(**settings)
    if game.engine == "nes-py":
        return NesPyMario(game, chosen, grey=grey, crop=crop, size=size)
    own, rest = split_size(grey, crop, size, chosen)
    return Pixels(size=rest).wrap(GameEnv(compiled_game(game, grey, crop, own), chosen))


def make_vector_env(
    game: MarioGame,
    num_envs: int,
    *,
    grey: bool = False,
    crop: Crop | None = None,
    size: Size | None = None,
    **settings: Any,
) -> VectorEnv:
    """Make any number of environments as `make_env` does; `settings` are the fields of `VectorEnvSettings`."""
    chosen = VectorEnvSettings(**settings)
    if game.engine == "nes-py":
        mode, threads = settings.pop("autoreset_mode", AutoresetMode.NEXT_STEP), settings.pop("threads", None)
        make = partial(make_env, game, grey=grey, crop=crop, size=size, **settings)
        return NesPyVectorEnv(chosen, make, num_envs, autoreset_mode=mode, threads=threads)
    own, rest = split_size(grey, crop, size, chosen)
    envs = GameVectorEnv(compiled_game(game, grey, crop, own), num_envs, chosen)
    return Pixels(size=rest, skip=chosen.frame_skip, max_pool=chosen.max_pool).wrap_vec(envs)


class NesPyVectorEnv(ThreadedVectorEnv, VectorEnv):  # see GameVectorEnv
    """Environments on nes-py, which skip frames themselves as those of the compiled engine do."""

    def __init__(self, settings: VectorEnvSettings, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.frame_skip, self.max_pool = settings.frame_skip, settings.max_pool


def split_size(
    grey: bool, crop: Crop | None, size: Size | None, settings: EnvSettings
) -> tuple[Size | None, Size | None]:
    """Return `size` as that to which the engine resizes, or as that of a wrapper: in color, or after `max_pool`."""
    top, bottom, left, right = crop or (0, HEIGHT, 0, WIDTH)
    if size and grey and not settings.max_pool and resizes_exactly((bottom - top, right - left), size):
        return size, None
    return None, size
