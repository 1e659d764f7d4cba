"""Networks in WebAssembly against torch: outputs, values, and gradients with respect to the observation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers.wasm import Module

from rlgames.errors import UsageError
from rlgames.networks.models import ActorCritic, QNetwork
from rlgames.networks.recurrent import RecurrentActorCritic
from rlgames.web.network import FUNCTIONS, describe_network
from rlgames.web.wasm import emit_object, link

PICTURE, VECTOR = Box(0, 255, (2, 48, 40), np.uint8), Box(-1, 1, (6,), np.float32)
SIZES = {
    "dense": ("inputs", "outputs", "activation"),
    "convolution": ("channels", "height", "width", "filters", "kernel", "stride"),
}


@pytest.fixture(scope="module")
def content() -> bytes:
    return link([emit_object(function) for function in FUNCTIONS], [function.name for function in FUNCTIONS])


class Layers:
    """Layers of one description, run as a page runs them."""

    def __init__(self, module: Module, layers: list[dict[str, Any]], weights: int):
        self.module, self.weights = module, weights
        self.layers = [(layer, np.zeros(outputs(layer), np.float32)) for layer in layers]
        self.y = [module.put(y) for _, y in self.layers]
        self.x = 0

    def __call__(self, x: int) -> int:
        self.x = x
        for (layer, _), y in zip(self.layers, self.y, strict=True):
            places = [self.weights + 4 * layer[name] for name in ("weights", "bias")]
            getattr(self.module, layer["kind"])(x, *places, y, *sizes(layer))
            x = y
        return x

    def gradient(self, dy: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        gradient = self.module.put(dy)
        for i in reversed(range(len(self.layers))):
            layer = self.layers[i][0]
            before = self.layers[i - 1][1] if i else inputs
            dx = self.module.put(np.zeros(before.size, np.float32))
            function = getattr(self.module, f"{layer['kind']}_gradient")
            function(gradient, self.y[i], self.weights + 4 * layer["weights"], dx, *sizes(layer))
            gradient = dx
        return self.module.get(gradient, inputs)


def sizes(layer: dict[str, Any]) -> list[int]:
    return [layer[name] for name in SIZES[layer["kind"]]]


def outputs(layer: dict[str, Any]) -> int:
    if layer["kind"] == "dense":
        return layer["outputs"]
    rows, columns = ((layer[side] - layer["kernel"]) // layer["stride"] + 1 for side in ("height", "width"))
    return layer["filters"] * rows * columns


@pytest.mark.parametrize(
    ("space", "net"),
    [
        (VECTOR, ActorCritic(VECTOR, 3, "vector", (32, 16))),
        (PICTURE, ActorCritic(PICTURE, 4, "cave", ())),
        (PICTURE, QNetwork(PICTURE, 4, "nips", (), dueling=True)),
        (VECTOR, QNetwork(VECTOR, 2, "vector", (8,), dueling=False)),
    ],
)
def test_outputs_values_and_gradients_equal_torchs(space: Box, net: Any, content: bytes) -> None:
    described, weights = describe_network(net, space.shape)
    module = Module(content)
    start = module.put(np.frombuffer(weights, np.float32))
    obs = space.sample()
    x = torch.from_numpy(obs.astype(np.float32) / (255 if obs.dtype == np.uint8 else 1)).requires_grad_()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))  # biases too
    described, weights = describe_network(net, space.shape)
    module.memory.write(module.store, weights, start)

    at = module.put(x.detach().numpy())
    layers = Layers(module, described["encoder"] + described["outputs"], start)
    found = module.get(layers(at), np.zeros(layers.layers[-1][1].size, np.float32))
    if isinstance(net, ActorCritic):
        expected, encoder = net.logits(x[None])[0], net.critic or net.actor
    else:
        expected, encoder = net.advantage(net.body(x[None]))[0], net.body
    assert np.allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-5)

    one = np.zeros(len(found), np.float32)
    one[1] = 1
    (gradient,) = torch.autograd.grad(expected[1], x)
    assert np.allclose(layers.gradient(one, x.detach().numpy()), gradient.numpy(), rtol=1e-4, atol=1e-6)

    if described["value"] is None:
        assert isinstance(net, QNetwork)
        return
    value = Layers(module, (described["value_encoder"] or described["encoder"]) + described["value"], start)
    expected_value = net.value(encoder(x[None])).item()
    assert module.get(value(at), np.zeros(1, np.float32))[0] == pytest.approx(expected_value, rel=1e-5, abs=1e-5)


def test_networks_that_a_page_cannot_compute_are_refused() -> None:
    recurrent = RecurrentActorCritic(VECTOR, 2, "vector", (8,), 4)
    with pytest.raises(UsageError, match="a page cannot compute a RecurrentActorCritic"):
        describe_network(recurrent, VECTOR.shape)
