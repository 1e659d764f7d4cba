"""Checks and schedules that the configs of all agents share; each check raises ValueError."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, TypeVar

from rlgames.errors import InvalidTypeError, InvalidValueError

ConfigT = TypeVar("ConfigT")


def make_config(config_class: type[ConfigT], settings: dict[str, Any]) -> ConfigT:
    """Make a config of plain data, as presets and checkpoints hold it; lists become tuples.

    Raises TypeError for a field that the config does not have.
    """
    known = [field.name for field in fields(config_class)]  # pyright: ignore[reportArgumentType]  a dataclass
    if unknown := [name for name in settings if name not in known]:
        raise InvalidTypeError(
            f"unknown field {unknown[0]!r} of {config_class.__name__}: its fields are {', '.join(known)}"
        )
    return config_class(**{key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()})


def check_finite(config: Any) -> None:
    """Check all fields: the header of a checkpoint is JSON, which has no infinity."""
    for field in fields(config):
        value = getattr(config, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            or_none = " or None" * ("None" in str(field.type))
            raise InvalidValueError(f"expected {field.name} finite{or_none}, got {value}")


def check_positive(config: Any, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise InvalidValueError(f"expected {name} >= 1, got {getattr(config, name)}")


def check_unit_interval(config: Any, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise InvalidValueError(f"expected {name} in 0..1, got {getattr(config, name)}")


def check_choice(config: Any, name: str, allowed: Iterable[str]) -> None:
    if getattr(config, name) not in allowed:
        raise InvalidValueError(f"expected {name} {' or '.join(allowed)}, got {getattr(config, name)!r}")


def linear_schedule(start: float, end: float | None, progress: float) -> float:
    """Interpolate from `start` at progress 0 to `end` at progress 1, constant outside; `end=None`: constant."""
    return start if end is None else start + (end - start) * min(max(progress, 0.0), 1.0)
