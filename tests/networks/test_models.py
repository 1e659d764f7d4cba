"""Encoders by the shape of the observation, the heads on top of them, and sampling of actions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import nn

from rlgames.networks.models import ENCODERS, ActorCritic, QNetwork, default_encoder, make_encoder, sample_actions


def pixels(*shape: int) -> Box:
    return Box(0, 255, shape, np.uint8)


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ((), "vector"),
        ((4,), "vector"),
        ((8, 8), "grid"),
        ((3, 16, 16), "grid"),
        ((48, 48), "cave"),
        ((4, 48, 48), "cave"),
        ((84, 84), "nature"),
        ((4, 84, 84), "nature"),
    ],
)
def test_default_encoder_follows_the_shape(shape: tuple[int, ...], name: str):
    space = pixels(*shape)
    assert default_encoder(space) == name
    _, width = make_encoder(space)
    assert width == (64 if name == "vector" else ENCODERS[name][1])


@pytest.mark.parametrize("name", ["vector", *ENCODERS])
@pytest.mark.parametrize("channels", [None, 2])
def test_encoders_scale_bytes_to_the_unit_interval(name: str, channels: int | None):
    """uint8 observations give the features of floats in 0..1, in training as in inference."""
    torch.manual_seed(0)
    side = 12 if name in ("vector", "grid") else 48
    space = pixels(side, side) if channels is None else pixels(channels, side, side)
    encoder, width = make_encoder(space, name)
    obs = torch.randint(256, (3, *space.shape), dtype=torch.uint8)
    features = encoder(obs)
    assert features.shape == (3, width)
    torch.testing.assert_close(features, encoder(obs.float() / 255))
    with torch.no_grad():
        torch.testing.assert_close(encoder(obs), features.detach())


@pytest.mark.parametrize(("shape", "num_groups"), [((4,), 2), ((8, 8), 1)])
def test_actor_critic_shares_an_encoder_for_images_only(shape: tuple[int, ...], num_groups: int):
    net, obs = ActorCritic(pixels(*shape), 3, "auto", (8,)), torch.randint(256, (5, *shape), dtype=torch.uint8)
    logits, values = net(obs)
    assert logits.shape == (5, 3)
    assert torch.equal(net.logits(obs), logits)
    assert torch.equal(net.values(obs), values)
    groups = net.parameter_groups()
    assert len(groups) == num_groups
    assert {p for group in groups for p in group} == set(net.parameters())
    gradients = torch.autograd.grad(logits.sum(), groups[-1], allow_unused=True)
    reached = any(gradient is not None for gradient in gradients)
    assert reached == (num_groups == 1)  # the policy does not change the features of the value


def test_dueling_network_adds_value_and_centered_advantages():
    torch.manual_seed(0)
    net, obs = QNetwork(pixels(8, 8), 3, "auto", (), dueling=True), torch.randint(256, (5, 8, 8), dtype=torch.uint8)
    features = net.body(obs)
    assert isinstance(net.value, nn.Linear)
    advantages, values = net.advantage(features), net.value(features)
    for row in range(5):
        expected = values[row] + advantages[row] - advantages[row].mean()
        torch.testing.assert_close(net(obs)[row], expected)


def test_sample_actions_follows_the_softmax():
    logits = np.array([0.0, 1.0, -1.0, 2.0], np.float32)
    actions = sample_actions(np.tile(logits, (40_000, 1)), np.random.default_rng(0))
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(np.bincount(actions, minlength=4) / 40_000, expected, atol=0.01)


@pytest.mark.parametrize("shape", [(), (4,), (8, 8), (4, 48, 48)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_outputs_of_an_observation_do_not_depend_on_its_batch(shape: tuple[int, ...], dtype: type):
    torch.manual_seed(0)
    net = ActorCritic(Box(0, 255, shape, dtype), 3, "auto", (16,))
    obs = torch.from_numpy(np.random.default_rng(0).integers(0, 256, size=(5, *shape)).astype(dtype))
    with torch.no_grad():
        logits, values = net(obs)
        assert (logits.shape, values.shape) == ((5, 3), (5,))
        for i in range(5):
            single_logits, single_values = net(obs[i : i + 1])
            torch.testing.assert_close(single_logits, logits[i : i + 1], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(single_values, values[i : i + 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "name", "message"),
    [
        ((4,), "grid", r"the encoder 'grid' takes pictures .*got shape \(4,\): use 'vector' or 'auto'"),
        ((2, 3, 4, 8, 8), "grid", r"the encoder 'grid' takes pictures .*got shape \(2, 3, 4, 8, 8\): use 'vector'"),
        ((8, 8), "resnet", "unknown encoder 'resnet': expected auto, vector, grid, "),
    ],
)
def test_make_encoder_rejects_what_does_not_fit(shape: tuple[int, ...], name: str, message: str):
    with pytest.raises(ValueError, match=message):
        make_encoder(pixels(*shape), name)
