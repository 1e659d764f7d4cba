"""What the configs of all agents demand of their fields; each raises ValueError with the value and what is possible."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PRECISIONS = ("float32", "bfloat16")


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
