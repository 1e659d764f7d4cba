"""Metrics of training, under Stable-Baselines3's names, so that dashboards made for it work.

    rollout/ep_rew_mean, rollout/ep_len_mean, rollout/score_mean    means of the last 100 episodes
    train/...                                                       means of the losses since the last row
    train/..._max                                                   maxima since then

`ep_rew_mean` is of the rewards as the agent gets them, `score_mean` of the scores as the game counts them.
"""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from rlgames.experience.env_runner import Episode

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

WINDOW = 100  # episodes that the reported means are of


class Update(NamedTuple):
    """Yielded by `Agent.train` after each update."""

    step: int  # environment steps of the agent so far, summed over its environments
    scalars: dict[str, Tensor]  # losses and the like, 0-d, still on their device; none where nothing was learned
    episodes: list[Episode]  # those that ended since the last update

    @property
    def scores(self) -> list[float]:
        """The scores of the episodes, as the game counts."""
        return [episode.score for episode in self.episodes]


class MetricsLog:
    """Collects updates and returns rows of metrics; its state makes a resumed run log the same rows."""

    def __init__(self) -> None:
        self.recent: deque[Episode] = deque(maxlen=WINDOW)
        self.num_episodes = 0
        self.scores: list[float] = []  # since the last row, as the scalars
        self.scalars: list[dict[str, float]] = []
        self.finite = True  # all scalars of the last update are

    def add(self, update: Update) -> None:
        self.recent += update.episodes
        self.scores += update.scores
        self.num_episodes += len(update.episodes)
        scalars = {key: float(value) for key, value in update.scalars.items()}
        self.finite = all(map(math.isfinite, scalars.values()))
        if scalars:  # DQN has none before `learning_starts`
            self.scalars.append(scalars)

    @property
    def score_mean(self) -> float | None:
        """The mean score of the last 100 episodes; None before the first has ended."""
        return float(np.mean([episode.score for episode in self.recent])) if self.recent else None

    def row(self, step: int) -> dict[str, Any]:
        """Return a row of metrics: means of the last episodes, and the scores and mean scalars since the last row."""
        row: dict[str, Any] = {"step": step, "episodes": self.num_episodes}
        if self.recent:
            row["rollout/ep_rew_mean"] = float(np.mean([episode.reward for episode in self.recent]))
            row["rollout/ep_len_mean"] = float(np.mean([episode.length for episode in self.recent]))
            row["rollout/score_mean"] = self.score_mean
        keys = dict.fromkeys(key for scalars in self.scalars for key in scalars)
        for key in keys:
            reduce = np.max if key.endswith("_max") else np.mean
            row[key] = float(reduce([scalars[key] for scalars in self.scalars if key in scalars]))
        row["scores"] = self.scores
        self.scores, self.scalars = [], []
        return row

    def state_dict(self) -> dict[str, Any]:
        return {
            "recent": [list(episode) for episode in self.recent],
            "num_episodes": self.num_episodes,
            "scores": list(self.scores),
            "scalars": list(self.scalars),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.recent = deque((Episode(*episode) for episode in state["recent"]), WINDOW)
        self.num_episodes = state["num_episodes"]
        self.scores, self.scalars = list(state["scores"]), list(state["scalars"])


def summary_writer(folder: Path, step: int) -> SummaryWriter | None:
    """Return TensorBoard's writer, which drops events after `step`; None without the extra `tensorboard`."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  heavy
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


def write_scalars(writer: SummaryWriter, row: dict[str, Any]) -> None:
    """Write the numbers of a row of metrics."""
    for key, value in row.items():
        if isinstance(value, float):
            writer.add_scalar(key, value, row["step"])
