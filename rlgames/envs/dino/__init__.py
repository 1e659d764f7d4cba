"""Dino: an exact simulator of chrome://dino. `rules` is the game; `world`, `collision` and `picture` are its parts."""

from rlgames.envs.dino.rules import default_pixels, game

__all__ = ["default_pixels", "game"]
