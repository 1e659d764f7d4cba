"""What the driver of a training must remember between updates, so that a resumed run logs the same lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from rlgames.agents.base import Update

RECENT = 100  # episodes that the reported score is the mean of


class Due:
    """Tells when a step count has passed the next multiple of `every`."""

    def __init__(self, every: int, step: int):
        self.every, self.next = every, (step // every + 1) * every

    def __call__(self, step: int) -> bool:
        if step < self.next:
            return False
        self.next = (step // self.every + 1) * self.every
        return True


class Journal:
    """Scores and scalars since the last line of metrics, and what the lines say of the whole run."""

    def __init__(
        self,
        recent: Iterable[float] = (),
        scores: Iterable[float] = (),
        scalars: Iterable[dict[str, float]] = (),
        episodes: int = 0,
        best: float | None = None,
        evaluations: Iterable[float] = (),
    ):
        self.recent, self.episodes, self.best = deque(recent, RECENT), episodes, best
        self.scores, self.scalars, self.evaluations = list(scores), list(scalars), list(evaluations)

    def state(self) -> dict[str, Any]:
        """The arguments that make this journal again."""
        lists = {"recent": self.recent, "scores": self.scores, "scalars": self.scalars, "evaluations": self.evaluations}
        return {key: list(value) for key, value in lists.items()} | {"episodes": self.episodes, "best": self.best}

    def add(self, update: Update) -> None:
        self.recent += update.scores
        self.scores += update.scores
        self.episodes += len(update.scores)
        self.scalars.append({key: float(value) for key, value in update.scalars.items()})

    @property
    def score(self) -> float | None:
        """The mean of the last 100 episodes; None before the first has ended."""
        return float(np.mean(self.recent)) if self.recent else None

    def row(self, step: int) -> dict[str, Any]:
        """A line of metrics: the mean score, the scores and the means of the scalars since the last line."""
        keys = dict.fromkeys(key for each in self.scalars for key in each)
        means = {key: float(np.mean([each[key] for each in self.scalars if key in each])) for key in keys}
        row = {"step": step, "episodes": self.episodes, "score": self.score, "scores": self.scores, **means}
        self.scores, self.scalars = [], []
        return row
