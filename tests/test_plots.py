"""Learning curves, and the means that they are drawn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rlgames.plots import bin_means, draw_curve, draw_curves


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return the list to which each saved figure is added."""
    saved: list[Figure] = []
    savefig = Figure.savefig

    def save_and_record(self: Figure, *args: Any, **kwargs: Any) -> None:
        saved.append(self)
        savefig(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", save_and_record)
    return saved


def test_bin_means_are_means_of_equal_intervals() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(2, 7, 200), rng.normal(size=200)
    middles, means = bin_means(x, y, bins=6)
    edges = np.linspace(x.min(), x.max(), 7)
    for i, (middle, mean) in enumerate(zip(middles, means, strict=True)):
        inside = (x >= edges[i]) & ((x < edges[i + 1]) | (i == 5))
        assert np.isclose(middle, (edges[i] + edges[i + 1]) / 2)
        assert np.isclose(mean, y[inside].mean())


def test_bin_means_leave_empty_intervals_out() -> None:
    middles, means = bin_means([0.0, 0.1, 10.0], [1.0, 3.0, 5.0], bins=10)
    assert middles.tolist() == [0.5, 9.5]
    assert means.tolist() == [2.0, 5.0]
    assert [values.tolist() for values in bin_means([4], [2], bins=3)] == [[4.0], [2.0]]


def test_draw_curves_draws_means_bands_and_levels(tmp_path: Path, figures: list[Figure]) -> None:
    x = np.arange(5.0)
    curves = {"two runs": [(x, x), (x, x + 2)], "one run": [(x, x * 2)]}
    draw_curves(curves, tmp_path / "a.png", "Title", "score", levels={"chance": 1.0}, log=True)
    [axes] = figures[0].axes
    assert [line.get_label() for line in axes.lines] == ["two runs", "one run", "chance"]
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [1, 2, 3, 4, 5]
    assert len(axes.collections) == 1  # the band
    assert (axes.get_title(), axes.get_ylabel(), axes.get_yscale()) == ("Title", "score", "log")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (960, 540)


def test_draw_curve_draws_episodes_means_and_evaluations(tmp_path: Path, figures: list[Figure]) -> None:
    rows: list[dict[str, Any]] = [
        {"step": 10, "episodes": 0},
        {"step": 20, "episodes": 2, "rollout/score_mean": 4.0},
        {"step": 20, "eval/score_mean": 6.0},
        {"step": 20, "scores": [3.0, 5.0]},
        {"step": 20, "eval_scores": [6.0]},
    ]
    draw_curve(rows, tmp_path / "curve.png", "ppo on CatchBall")
    [axes] = figures[0].axes
    lines = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in axes.lines}
    assert lines == {"episodes": [[20, 3], [20, 5]], "mean of the last 100": [[20, 4]], "evaluation": [[20, 6]]}
    draw_curve([], tmp_path / "empty.png", "nothing yet")
    assert figures[1].axes[0].get_legend() is None
