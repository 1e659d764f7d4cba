"""Actions drawn from a policy."""

from __future__ import annotations

import numpy as np


def drawn(logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Actions (n,) with the probabilities softmax(logits), (n, actions), by the Gumbel-max trick."""
    return (logits + rng.gumbel(size=logits.shape)).argmax(1)
