"""SharedOptimizer against torch's Adam and the paper's RMSProp; BestWeights against a plain maximum."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlgames.agents.shared_optimizer import MIN_EPISODES, BestWeights, SharedOptimizer, flatten_parameters


def gradients(steps: int = 200) -> Iterator[Tensor]:
    """Yield gradients of 11 parameters whose scale grows."""
    rng = np.random.default_rng(0)
    return (torch.from_numpy(rng.normal(scale=0.1 + t / steps, size=11).astype(np.float32)) for t in range(steps))


def linear_and_shared() -> tuple[nn.Linear, Tensor, SharedOptimizer]:
    """Return a network, its flat parameters, and a shared copy of them."""
    net = nn.Linear(10, 1)
    shared = SharedOptimizer(net, 1)
    return net, flatten_parameters(net)[0], shared


def test_adam_equals_torch_adam():
    net, weights, shared = linear_and_shared()
    adam = torch.optim.Adam(net.parameters(), lr=0.01, eps=1e-5)
    for gradient in gradients():
        net.weight.grad, net.bias.grad = gradient[None, :10].clone(), gradient[10:].clone()
        adam.step()
        shared.started[0] += 1
        shared.adam(gradient, lr=0.01)
        torch.testing.assert_close(shared.weights, weights, rtol=1e-5, atol=1e-6)


def test_rmsprop_equals_equation_1():
    """g <- a g + (1 - a) d^2, theta <- theta - eta d / sqrt(g + eps), in double precision."""
    _, weights, shared = linear_and_shared()
    theta, g = weights.double().numpy().copy(), np.zeros(11)
    for d in gradients():
        g = 0.99 * g + 0.01 * d.double().numpy() ** 2
        theta -= 0.01 * d.double().numpy() / np.sqrt(g + 0.1)
        shared.rmsprop(d, lr=0.01)
        np.testing.assert_allclose(shared.weights.numpy(), theta, rtol=1e-4, atol=1e-5)


def test_num_updates_sums_the_workers_and_survives_a_restore():
    shared = SharedOptimizer(nn.Linear(10, 1), 3)
    shared.started[:] = torch.tensor([3, 0, 4])
    assert shared.num_updates() == 7
    restored = SharedOptimizer(nn.Linear(10, 1), 3)
    restored.load_state_dict(shared.state_dict())
    assert restored.num_updates() == 7


def test_flatten_parameters_returns_views():
    net = nn.Linear(10, 1)
    weights, gradients = flatten_parameters(net)
    weights.fill_(2.0)
    gradients.fill_(3.0)
    assert all((p == 2.0).all() and p.grad is not None and (p.grad == 3.0).all() for p in net.parameters())


def test_best_weights_are_those_of_the_highest_moving_average():
    rng = np.random.default_rng(0)
    best, weights = BestWeights(torch.zeros(1)), torch.zeros(1)
    average, averages = 0.0, []
    for t, score in enumerate(rng.normal(size=500) + 3 * np.sin(np.arange(500) / 100)):
        weights += 1
        best.update([float(score)], t, weights)
        average = 0.99 * average + 0.01 * score if t else score
        averages.append(average)
    assert best.average == pytest.approx(average)
    first = MIN_EPISODES - 1
    step = first + int(np.argmax(averages[first:]))
    assert (best.step, float(best.weights)) == (step, step + 1)
    restored = BestWeights(torch.zeros(1))
    restored.load_state_dict(best.state_dict())
    assert restored.state_dict() == best.state_dict()
