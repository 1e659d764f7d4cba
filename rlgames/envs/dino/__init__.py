"""Dino: an exact simulator of chrome://dino.

`rules` is the game: reset, step, options. It steps the scenery and the obstacles of `world`, tests for crashes with
`collision`, and is drawn by `picture` from the outlines in `shapes`.
"""

from rlgames.envs.dino.rules import STORED_STRINGS, default_pixels, game

__all__ = ["STORED_STRINGS", "default_pixels", "game"]
