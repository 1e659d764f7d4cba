"""Super Mario Bros.: `game` holds the options, `env` makes environments, `rules` are rewards and ends, by the memory.

`nes` is the engine of ours: the game on `console`, which is made of `cpu`, `ppu` and `cartridge`, seen as in `picture`.
`nes_py` is the reference, gym-super-mario-bros' emulator.
"""

from rlgames.envs.mario.env import make_env, make_vector_env
from rlgames.envs.mario.game import STORED_STRINGS, default_pixels, game, split_pixels

__all__ = ["STORED_STRINGS", "default_pixels", "game", "make_env", "make_vector_env", "split_pixels"]
