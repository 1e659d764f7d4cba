"""Preprocessing (`Pixels`) and reward shaping (`Rewards`): one declaration for one environment or many."""

from rlgames.wrappers.pixels import Pixels
from rlgames.wrappers.rewards import Rewards

__all__ = ["Pixels", "Rewards"]
