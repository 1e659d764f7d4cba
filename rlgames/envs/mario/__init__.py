"""Super Mario Bros.: `game` holds the options, `env` the environment, `memory_map` the rules, read from the memory.

`nes_py` and `retro` are the two emulators.
"""

from rlgames.envs.mario.env import make_env, make_vector_env, vectorize
from rlgames.envs.mario.game import STORED_STRINGS, game, split_pixels

__all__ = ["STORED_STRINGS", "game", "make_env", "make_vector_env", "split_pixels", "vectorize"]
