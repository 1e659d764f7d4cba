"""Curves beside each other, and the means that they are drawn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from rlgames.plots import bin_means, draw_curves


def test_binned_is_the_mean_of_what_lies_in_each_stretch() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(2, 7, 200), rng.normal(size=200)
    middles, means = bin_means(x, y, bins=6)
    edges = np.linspace(x.min(), x.max(), 7)
    for i, (middle, mean) in enumerate(zip(middles, means, strict=True)):
        inside = (x >= edges[i]) & ((x < edges[i + 1]) | (i == 5))
        assert np.isclose(middle, (edges[i] + edges[i + 1]) / 2)
        assert np.isclose(mean, y[inside].mean())


def test_stretches_in_which_nothing_lies_are_left_out() -> None:
    middles, means = bin_means([0.0, 0.1, 10.0], [1.0, 3.0, 5.0], bins=10)
    assert middles.tolist() == [0.5, 9.5]
    assert means.tolist() == [2.0, 5.0]
    assert [part.tolist() for part in bin_means([4], [2], bins=3)] == [[4.0], [2.0]]


def test_curves_have_their_names_means_bands_and_levels(tmp_path: Path, monkeypatch) -> None:
    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, path: (figures.append(self), save(self, path)))
    x = np.arange(5.0)
    curves = {"two runs": [(x, x), (x, x + 2)], "one run": [(x, x * 2)]}
    draw_curves(curves, tmp_path / "a.png", "Title", "score", levels={"chance": 1.0}, log=True)
    [axes] = figures[0].axes
    assert [line.get_label() for line in axes.lines] == ["two runs", "one run", "chance"]
    assert axes.lines[0].get_ydata().tolist() == [1, 2, 3, 4, 5]
    assert len(axes.collections) == 1  # the band
    assert (axes.get_title(), axes.get_ylabel(), axes.get_yscale()) == ("Title", "score", "log")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (960, 540)
