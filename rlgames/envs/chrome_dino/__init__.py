"""ChromeDino: chrome://dino in the real browser.

`game` holds the options, `env` and `vector_env` are the environments, `episodes` their state, `page` the games in one
browser tab, `devtools` the protocol to the tab, `browser` starts the browser, `watchdog` ends it.
"""

from rlgames.envs.chrome_dino.env import make_env
from rlgames.envs.chrome_dino.game import default_pixels, game, split_pixels
from rlgames.envs.chrome_dino.vector_env import make_vector_env
from rlgames.envs.dino import STORED_STRINGS  # not of `browser`, which is a program

__all__ = ["STORED_STRINGS", "default_pixels", "game", "make_env", "make_vector_env", "split_pixels"]
