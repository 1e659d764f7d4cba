"""What the configs of all agents demand of their fields; each raises ValueError with the value and what is possible."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields
from typing import Any


def finite(config: Any) -> None:
    """Of all fields: a checkpoint, whose header is JSON, could not say infinity."""
    for field in fields(config):
        value = getattr(config, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"expected {field.name} finite{' or None' * ('None' in str(field.type))}, got {value}")


def at_least_one(config: Any, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"expected {name} >= 1, got {getattr(config, name)}")


def share_of_one(config: Any, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"expected {name} in 0..1, got {getattr(config, name)}")


def one_of(config: Any, name: str, known: Iterable[str]) -> None:
    if getattr(config, name) not in known:
        raise ValueError(f"expected {name} {' or '.join(known)}, got {getattr(config, name)!r}")


# ---- agents/schedules.py ----


def linear(start: float, end: float, progress: float) -> float:
    """From `start` at progress 0 to `end` at progress 1, constant outside."""
    return start + (end - start) * min(max(progress, 0.0), 1.0)
