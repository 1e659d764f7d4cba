"""Configs of agents: made of plain data, checked, and their schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from rlgames.agents.config import (
    check_choice,
    check_finite,
    check_positive,
    check_unit_interval,
    linear_schedule,
    make_config,
)
from rlgames.agents.registry import AGENTS, find
from rlgames.checkpoint.file import config_to_json
from rlgames.errors import InvalidTypeError, InvalidValueError


@dataclass(frozen=True)
class ExampleConfig:
    n_steps: int = 8
    gamma: float = 0.9
    clip_range_vf: float | None = None
    net_arch: tuple[int, ...] = (64, 64)
    loss: str = "huber"


def test_make_config_turns_lists_into_tuples():
    assert make_config(ExampleConfig, {"net_arch": [5, 6], "gamma": 1.0}) == ExampleConfig(gamma=1.0, net_arch=(5, 6))
    assert make_config(ExampleConfig, {}) == ExampleConfig()


def test_make_config_rejects_unknown_fields():
    message = "unknown field 'horizon' of ExampleConfig: its fields are n_steps, gamma, clip_range_vf, net_arch, loss"
    with pytest.raises(InvalidTypeError, match=message):
        make_config(ExampleConfig, {"gamma": 0.5, "horizon": 8})


@pytest.mark.parametrize("name", AGENTS)
def test_make_config_restores_what_a_checkpoint_holds(name: str):
    config = find(name).Config()
    assert make_config(find(name).Config, config_to_json(config)) == config
    with pytest.raises(InvalidTypeError, match=f"unknown field 'horizon' of {find(name).Config.__name__}"):
        make_config(find(name).Config, {"horizon": 8})


@pytest.mark.parametrize(
    ("check", "config", "message"),
    [
        (check_finite, {"gamma": float("nan")}, "expected gamma finite, got nan"),
        (check_finite, {"clip_range_vf": float("inf")}, "expected clip_range_vf finite or None, got inf"),
        (lambda c: check_positive(c, "n_steps"), {"n_steps": 0}, "expected n_steps >= 1, got 0"),
        (lambda c: check_unit_interval(c, "gamma"), {"gamma": 1.1}, "expected gamma in 0..1, got 1.1"),
        (lambda c: check_unit_interval(c, "gamma"), {"gamma": -0.1}, "expected gamma in 0..1, got -0.1"),
        (
            lambda c: check_choice(c, "loss", ("huber", "squared")),
            {"loss": "l1"},
            "expected loss huber or squared, got 'l1'",
        ),
    ],
)
def test_checks_name_the_field_and_what_is_allowed(check: Any, config: dict[str, Any], message: str):
    check(ExampleConfig())
    with pytest.raises(InvalidValueError, match=message):
        check(ExampleConfig(**config))


def test_linear_schedule_is_constant_outside_its_range():
    progress = np.linspace(-0.5, 1.5, 21)
    expected = np.interp(progress, [0, 1], [4.0, 1.0])
    assert [linear_schedule(4.0, 1.0, x) for x in progress] == pytest.approx(expected)
    assert [linear_schedule(4.0, None, x) for x in progress] == [4.0] * 21
