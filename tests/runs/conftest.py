"""Fixtures of the tests of runs: they write neither TensorBoard events nor pictures unless a test asks for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rlgames.runs import trackers, training


def write_curve(rows: Sequence[Any], picture: Path, title: str) -> None:
    """Stand in for `draw_curve`, which takes as long as a short training: write what it would draw."""
    picture.write_bytes(json.dumps([title, *rows]).encode())


@pytest.fixture
def tensorboard() -> None:
    """Let runs write TensorBoard events; skip the test without the extra."""
    pytest.importorskip("tensorboard")


@pytest.fixture
def matplotlib_curves() -> None:
    """Let runs draw their curves."""


@pytest.fixture(autouse=True)
def quick_runs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "tensorboard" not in request.fixturenames:  # it takes seconds to import
        monkeypatch.setattr(trackers, "summary_writer", lambda folder, step: None)
    if "matplotlib_curves" not in request.fixturenames:
        monkeypatch.setattr(training, "draw_curve", write_curve)
