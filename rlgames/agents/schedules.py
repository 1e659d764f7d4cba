"""Numbers that change in the course of training: a constant, or a straight line to an end."""

from __future__ import annotations


def linear(start: float, end: float, progress: float) -> float:
    """From `start` at progress 0 to `end` at progress 1, constant outside."""
    return start + (end - start) * min(max(progress, 0.0), 1.0)
