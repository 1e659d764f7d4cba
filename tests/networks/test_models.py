"""Encoders by the shape of the observation, the heads on top of them, and sampling of actions."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import nn

from rlgames.networks.models import (
    ENCODERS,
    ActorCritic,
    EncoderName,
    QNetwork,
    default_encoder,
    make_encoder,
    sample_actions,
)


def pixels(*shape: int) -> Box:
    return Box(0, 255, shape, np.uint8)


def bits(*shape: int) -> Box:
    dtype: Any = np.bool_
    return Box(0, 1, shape, dtype)


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
        ((7, 7), "grid"),
        ((6, 9), "vector"),  # smaller than any picture
        ((3, 6, 6), "vector"),
        ((7, 7, 3), "grid"),  # MiniGrid
        ((10, 10, 4), "grid"),  # MinAtar
        ((84, 84, 12), "nature"),
        ((96, 96, 3), "nature"),  # CarRacing
        ((210, 160, 3), "nature"),  # Atari
        ((4, 48, 48, 3), "cave"),  # a stack of color frames
        ((4, 3, 48, 48), "cave"),
        ((2, 4, 3, 48, 48), "vector"),
    ],
)
def test_default_encoder_follows_the_shape(shape: tuple[int, ...], name: str):
    space = pixels(*shape)
    assert default_encoder(space) == name
    body, width = make_encoder(space)
    assert width == (64 if name == "vector" else ENCODERS[name][1])
    assert body(torch.zeros(2, *shape, dtype=torch.uint8)).shape == (2, width)


@pytest.mark.parametrize(
    ("space", "name"),
    [
        (Box(-np.inf, np.inf, (8, 8), np.float32), "vector"),
        (Box(-1, 1, (20, 6), np.float64), "vector"),
        (Box(0, 1, (30, 30), np.float32), "vector"),
        (Box(-np.inf, np.inf, (64, 64), np.float32), "vector"),
        (Box(np.zeros((64, 64), np.float32), np.arange(4096, dtype=np.float32).reshape(64, 64)), "vector"),
        (Box(0, 1, (48, 48), np.float32), "cave"),  # as Pixels(scale=True) makes them
        (Box(-255, 255, (80, 80), np.float32), "nature"),  # as Pixels(difference=True) does
        (bits(10, 10, 4), "grid"),
        (Box(0, 9, (8, 8), np.int64), "grid"),
    ],
    ids=str,
)
def test_matrices_of_floats_are_vectors_unless_they_look_like_pictures(space: Box, name: str):
    assert default_encoder(space) == name
    obs = torch.from_numpy(np.stack([space.sample(), space.sample()]))
    assert make_encoder(space)[0](obs).shape[0] == 2


CHANNELS_LAST = [(7, 7, 3), (10, 9, 4), (48, 50, 3), (84, 84, 12), (3, 48, 50, 3)]


@pytest.mark.parametrize("shape", CHANNELS_LAST)
@pytest.mark.parametrize("name", ["auto", *ENCODERS])
def test_channels_may_come_last(shape: tuple[int, ...], name: str):
    """The features are those of the picture with its channels, and a stack, first."""
    first = np.moveaxis(np.zeros(shape), -1, -3).reshape(-1, *shape[-3:-1]).shape
    obs = torch.randint(256, (2, *shape), dtype=torch.uint8)
    transposed = obs.movedim(-1, -3).reshape(2, *first).contiguous()
    features = []
    for space, given in ((pixels(*shape), obs), (pixels(*first), transposed)):
        torch.manual_seed(0)
        features.append(make_encoder(space, name)[0](given))
    torch.testing.assert_close(*features)
    assert len(features[0].unique()) > 10


@pytest.mark.parametrize("shape", [(7, 7), (3, 7, 7), (7, 100), (100, 9, 3), (11, 13), (21, 20), (36, 36), (65, 64)])
@pytest.mark.parametrize("name", ["auto", "vector", *ENCODERS])
def test_encoders_take_any_size(shape: tuple[int, ...], name: str):
    """And every feature depends on the picture."""
    torch.manual_seed(0)
    encoder, width = make_encoder(pixels(*shape), name)
    obs = torch.randint(256, (2, *shape)).float().requires_grad_()
    features = encoder(obs)
    assert features.shape == (2, width)
    assert torch.autograd.grad(features.sum(), obs)[0].abs().sum() > 0


@pytest.mark.parametrize(("shape", "features"), [((4,), []), ((8, 8), [128])])
def test_net_arch_adds_layers_to_any_encoder(shape: tuple[int, ...], features: list[int]):
    """None: two layers of 64 for vectors, none after the encoder of a picture."""
    default = [64, 64] if shape == (4,) else []
    for net_arch, expected in ((None, default), ((), []), ((5,), [5]), ((7, 6), [7, 6])):
        actor_critic = ActorCritic(pixels(*shape), 3, "auto", net_arch)
        q_network = QNetwork(pixels(*shape), 3, "auto", net_arch, dueling=False)
        for net in (actor_critic, q_network):
            body = net.actor if isinstance(net, ActorCritic) else net.body
            sizes = [layer.out_features for layer in body if isinstance(layer, nn.Linear)]
            assert sizes == features + expected
            outputs = net(torch.zeros(2, *shape))
            assert (outputs[0] if isinstance(net, ActorCritic) else outputs).shape == (2, 3)


def test_the_names_of_encoders_are_those_of_the_configs():
    assert get_args(EncoderName) == ("auto", "vector", *ENCODERS)


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
