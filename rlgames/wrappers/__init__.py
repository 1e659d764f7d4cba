"""Preprocessing, reward shaping and the episodes of training: one declaration for one environment or many."""

from rlgames.wrappers.pixels import Pixels
from rlgames.wrappers.rewards import Rewards
from rlgames.wrappers.training_episodes import TrainingEpisodes

__all__ = ["Pixels", "Rewards", "TrainingEpisodes"]
