"""The optimisers: RMSProp of Graves (2013) beside its formula, and what the names stand for."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rlgames.networks.optimizers import RMSPropGraves, optimiser


def graves(w: np.ndarray, gradients: list[np.ndarray], lr: float, a: float, b: float, e: float) -> np.ndarray:
    """Equations 38 to 45, element by element in float64."""
    n, m, d = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for g in gradients:
        n = a * n + (1 - a) * g**2
        m = a * m + (1 - a) * g
        d = b * d - lr * g / np.sqrt(n - m**2 + e)
        w = w + d
    return w


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 1000),
    steps=st.integers(1, 30),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
    lr=st.sampled_from([1e-4, 2.5e-4, 0.1]),
    decay=st.sampled_from([0.0, 0.5, 0.95]),
    momentum=st.sampled_from([0.0, 0.9, 0.99]),
    eps=st.sampled_from([1e-4, 0.01]),
)
def test_graves_by_the_formula(seed, steps, scale, lr, decay, momentum, eps):
    rng = np.random.default_rng(seed)
    gradients = [rng.normal(scale, scale, (3, 2)) for _ in range(steps)]
    start = rng.normal(size=(3, 2))
    w = nn.Parameter(torch.from_numpy(start.copy()))
    resting = nn.Parameter(torch.ones(2))  # never has a gradient
    opt = RMSPropGraves([w, resting], lr, decay, momentum, eps)
    for gradient in gradients:
        w.grad = torch.from_numpy(gradient.copy())
        opt.step()
    assert w.detach().numpy() == pytest.approx(graves(start, gradients, lr, decay, momentum, eps), rel=1e-9, abs=1e-12)
    assert resting.tolist() == [1.0, 1.0]


def test_graves_in_float32_over_thousands_of_like_gradients():
    """n - m^2 is then a difference of nearly equal numbers, and rounded may lie below zero."""
    w = nn.Parameter(torch.zeros(4))
    opt = RMSPropGraves([w], 1e-4)
    gradient = torch.tensor([1e-3, 1.0, 300.0, -1e4])
    for _ in range(3000):
        w.grad = gradient.clone()
        opt.step()
    assert torch.isfinite(w).all()


def test_graves_goes_on_from_its_state():
    torch.manual_seed(0)
    gradients = torch.randn(8, 3)
    one, other = (nn.Parameter(torch.ones(3)) for _ in range(2))
    first, second = RMSPropGraves([one], 0.1), RMSPropGraves([other], 0.1)
    for k, gradient in enumerate(gradients):
        if k == 4:
            with torch.no_grad():
                other.copy_(one)
            second.load_state_dict(copy.deepcopy(first.state_dict()))
        for w, opt in ((one, first), (other, second)):
            if w is one or k >= 4:
                w.grad = gradient.clone()
                opt.step()
    assert torch.equal(one, other)


def test_graves_refuses_what_the_formula_does_not_know():
    w = [nn.Parameter(torch.zeros(1))]
    for setting, value in (("lr", 0.0), ("eps", -1.0)):
        with pytest.raises(ValueError, match=f"expected {setting} > 0, got {value}"):
            RMSPropGraves(w, **{setting: value})
    for setting, value in (("decay", 1.0), ("momentum", -0.1)):
        with pytest.raises(ValueError, match=rf"expected {setting} in \[0, 1\), got {value}"):
            RMSPropGraves(w, **{setting: value})
    with pytest.raises(ValueError, match="takes no closure"):
        RMSPropGraves(w).step(lambda: 0.0)  # type: ignore[arg-type]  refused


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("rmsprop", torch.optim.RMSprop), ("rmsprop-graves", RMSPropGraves)]
)
def test_names(name: str, kind: type):
    made = optimiser(name, [nn.Parameter(torch.zeros(1))], 0.25)
    assert type(made) is kind
    assert made.param_groups[0]["lr"] == 0.25


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="unknown optimiser 'sgd': expected adam, rmsprop or rmsprop-graves"):
        optimiser("sgd", [], 0.1)
