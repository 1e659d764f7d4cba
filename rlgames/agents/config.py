"""Declarations that configs of agents share, how configs are made, and schedules of their values.

The annotation of a field is the one declaration of its type and range: see `rlgames.values`. Configs of an agent of
your own are checked likewise, with ranges or without.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Annotated, Any, TypeVar

from rlgames.errors import InvalidTypeError, did_you_mean
from rlgames.values import Range, check_fields

ConfigT = TypeVar("ConfigT")

PositiveFraction = Annotated[float, Range(0, 1, above=True)]
Units = Annotated[int, Range(1, 65_536)]  # of one layer of a network; more is a mistake that takes all memory
BatchSize = Annotated[int, Range(1, 1_000_000)]
NetArch = tuple[Units, ...] | None  # layers after the encoder


def make_config(config_class: type[ConfigT], settings: dict[str, Any]) -> ConfigT:
    """Make a config of plain data, as presets and checkpoints hold it. Raises TypeError for a field that it has not."""
    check_names(config_class, settings)
    config = config_class(**settings)
    check_fields(config)  # lists become tuples, also in a config without a check of its own
    return config


def change_config(config: ConfigT, settings: dict[str, Any]) -> ConfigT:
    """Return `config` with other values for the fields in `settings`; raises as `make_config` does."""
    check_names(type(config), settings)
    return replace(config, **settings) if settings else config  # pyright: ignore[reportArgumentType]  a dataclass


def check_names(config_class: type, settings: dict[str, Any]) -> None:
    known = [field.name for field in fields(config_class)]
    for name in settings:
        if name not in known:
            raise InvalidTypeError(
                f"unknown field {name!r} of {config_class.__name__}: {did_you_mean(name, known)}"
                f"its fields are {', '.join(known)}"
            )


def linear_schedule(start: float, end: float | None, progress: float) -> float:
    """Interpolate from `start` at progress 0 to `end` at progress 1, constant outside; `end=None`: constant."""
    return start if end is None else start + (end - start) * min(max(progress, 0.0), 1.0)
