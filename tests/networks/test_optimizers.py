"""Optimizers: RMSProp of Graves (2013) against its formula, the names, and gradient clipping."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rlgames.networks.optimizers import RMSPropGraves, clip_gradients, make_optimizer


def graves(w: np.ndarray, gradients: list[np.ndarray], lr: float, a: float, b: float, e: float) -> np.ndarray:
    """Equations 38 to 45, element by element in float64."""
    n, m, d = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for g in gradients:
        n = a * n + (1 - a) * g**2
        m = a * m + (1 - a) * g
        d = b * d - lr * g / np.sqrt(n - m**2 + e)
        w = w + d
    return w


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    steps=st.integers(1, 30),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
    lr=st.sampled_from([1e-4, 2.5e-4, 0.1]),
    decay=st.sampled_from([0.0, 0.5, 0.95]),
    momentum=st.sampled_from([0.0, 0.9, 0.99]),
    eps=st.sampled_from([1e-4, 0.01]),
)
def test_rmsprop_graves_follows_the_formula(seed, steps, scale, lr, decay, momentum, eps):
    rng = np.random.default_rng(seed)
    gradients = [rng.normal(scale, scale, (3, 2)) for _ in range(steps)]
    initial = rng.normal(size=(3, 2))
    w = nn.Parameter(torch.from_numpy(initial.copy()))
    unused = nn.Parameter(torch.ones(2))  # never has a gradient
    optimizer = RMSPropGraves([w, unused], lr, decay, momentum, eps)
    for gradient in gradients:
        w.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
    expected = graves(initial, gradients, lr, decay, momentum, eps)
    assert w.detach().numpy() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert unused.tolist() == [1.0, 1.0]


def test_rmsprop_graves_stays_finite_with_constant_gradients():
    """n - m^2 is then a difference of nearly equal numbers, which float32 may round below zero."""
    w = nn.Parameter(torch.zeros(4))
    optimizer = RMSPropGraves([w], 1e-4)
    gradient = torch.tensor([1e-3, 1.0, 300.0, -1e4])
    for _ in range(3000):
        w.grad = gradient.clone()
        optimizer.step()
    assert torch.isfinite(w).all()


def test_rmsprop_graves_continues_from_its_state():
    torch.manual_seed(0)
    gradients = torch.randn(8, 3)
    one, other = (nn.Parameter(torch.ones(3)) for _ in range(2))
    first, second = RMSPropGraves([one], 0.1), RMSPropGraves([other], 0.1)
    for k, gradient in enumerate(gradients):
        if k == 4:
            with torch.no_grad():
                other.copy_(one)
            second.load_state_dict(copy.deepcopy(first.state_dict()))
        for w, optimizer in ((one, first), (other, second)):
            if w is one or k >= 4:
                w.grad = gradient.clone()
                optimizer.step()
    assert torch.equal(one, other)


def test_rmsprop_graves_of_invalid_arguments_raises():
    w = [nn.Parameter(torch.zeros(1))]
    for name, value in (("lr", 0.0), ("eps", -1.0)):
        with pytest.raises(ValueError, match=f"expected {name} > 0, got {value}"):
            RMSPropGraves(w, **{name: value})
    for name, value in (("decay", 1.0), ("momentum", -0.1)):
        with pytest.raises(ValueError, match=rf"expected {name} in \[0, 1\), got {value}"):
            RMSPropGraves(w, **{name: value})
    with pytest.raises(ValueError, match="takes no closure"):
        RMSPropGraves(w).step(lambda: 0.0)  # type: ignore[arg-type]  that is the test


@pytest.mark.parametrize(
    ("name", "optimizer_class"),
    [("adam", torch.optim.Adam), ("rmsprop", torch.optim.RMSprop), ("rmsprop-graves", RMSPropGraves)],
)
def test_make_optimizer_by_name(name: str, optimizer_class: type):
    optimizer = make_optimizer(name, [nn.Parameter(torch.zeros(1))], 0.25)
    assert type(optimizer) is optimizer_class
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_make_optimizer_of_another_name_raises():
    with pytest.raises(ValueError, match="unknown optimizer 'sgd': expected adam, rmsprop or rmsprop-graves"):
        make_optimizer("sgd", [], 0.1)


@pytest.mark.parametrize("max_norm", [None, 1.0])
def test_clip_gradients_scales_each_group_apart(max_norm: float | None):
    small, large = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    small.grad, large.grad = torch.tensor([0.3, 0.4]), torch.tensor([3.0, 4.0])
    norms = clip_gradients([[small], [large]], max_norm)
    assert [float(norm) for norm in norms] == pytest.approx([0.5, 5.0])
    assert small.grad.tolist() == pytest.approx([0.3, 0.4])
    assert math.hypot(*large.grad.tolist()) == pytest.approx(max_norm or 5.0, rel=1e-5)
