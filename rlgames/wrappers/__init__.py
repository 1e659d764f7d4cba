"""What an agent sees of a game (`Pixels`) and what it is rewarded for (`Rewards`): once, for one or many."""

from rlgames.wrappers.pixels import Pixels
from rlgames.wrappers.rewards import Rewards

__all__ = ["Pixels", "Rewards"]
