"""Networks in a browser: layers in WebAssembly, and the description by which a page chains them.

A layer is computed for one observation, in float32, from weights as torch stores them. `dense_gradient` and
`convolution_gradient` return the gradient with respect to a layer's input, which shows what in a picture an output
depends on (saliency: Simonyan, Vedaldi & Zisserman 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import types
from numba.np.numpy_support import carray
from torch import nn

from rlgames.errors import UsageError
from rlgames.networks.models import ActorCritic, ImageInput, QNetwork, VectorInput
from rlgames.web.wasm import Function

LINEAR, RELU, TANH = range(3)  # activations
FLOATS, INT = types.CPointer(types.float32), types.int32
ACTIVATIONS: dict[type[nn.Module], int] = {nn.ReLU: RELU, nn.Tanh: TANH}


# ---- layers ----


def dense(x, weights, bias, y, inputs, outputs, activation):
    """y (outputs,) = activation(weights (outputs, inputs) x + bias)."""
    x, y, b = carray(x, inputs), carray(y, outputs), carray(bias, outputs)
    w = carray(weights, (outputs, inputs))
    for o in range(outputs):
        total = b[o]
        for i in range(inputs):
            total += w[o, i] * x[i]
        if activation == RELU:
            total = max(total, np.float32(0))
        elif activation == TANH:
            total = np.float32(np.tanh(np.float64(total)))
        y[o] = total


def dense_gradient(dy, y, weights, dx, inputs, outputs, activation):
    """dx (inputs,): the gradient with respect to the input, given that with respect to the output y."""
    dx, y, dy = carray(dx, inputs), carray(y, outputs), carray(dy, outputs)
    w = carray(weights, (outputs, inputs))
    for i in range(inputs):
        dx[i] = 0
    for o in range(outputs):
        slope = dy[o]
        if activation == RELU and y[o] <= 0:
            slope = np.float32(0)
        elif activation == TANH:
            slope *= np.float32(1) - y[o] * y[o]
        for i in range(inputs):
            dx[i] += slope * w[o, i]


def convolution(x, weights, bias, y, channels, height, width, filters, kernel, stride):
    """y (filters, rows, columns) = relu(weights (filters, channels, kernel, kernel) * x (channels, height, width))."""
    rows, columns = (height - kernel) // stride + 1, (width - kernel) // stride + 1
    x, y = carray(x, (channels, height, width)), carray(y, (filters, rows, columns))
    w, b = carray(weights, (filters, channels, kernel, kernel)), carray(bias, filters)
    for f in range(filters):
        for r in range(rows):
            for c in range(columns):
                total = b[f]
                for k in range(channels):
                    for i in range(kernel):
                        for j in range(kernel):
                            total += w[f, k, i, j] * x[k, r * stride + i, c * stride + j]
                y[f, r, c] = max(total, np.float32(0))


def convolution_gradient(dy, y, weights, dx, channels, height, width, filters, kernel, stride):
    """dx (channels, height, width): the gradient with respect to the input, given that with respect to the output."""
    rows, columns = (height - kernel) // stride + 1, (width - kernel) // stride + 1
    dx, w = carray(dx, (channels, height, width)), carray(weights, (filters, channels, kernel, kernel))
    y, dy = carray(y, (filters, rows, columns)), carray(dy, (filters, rows, columns))
    for k in range(channels):
        for r in range(height):
            for c in range(width):
                dx[k, r, c] = 0
    for f in range(filters):
        for r in range(rows):
            for c in range(columns):
                if y[f, r, c] > 0:
                    for k in range(channels):
                        for i in range(kernel):
                            for j in range(kernel):
                                dx[k, r * stride + i, c * stride + j] += dy[f, r, c] * w[f, k, i, j]


FUNCTIONS = [
    Function("dense", dense, types.void, (*[FLOATS] * 4, *[INT] * 3)),
    Function("dense_gradient", dense_gradient, types.void, (*[FLOATS] * 4, *[INT] * 3)),
    Function("convolution", convolution, types.void, (*[FLOATS] * 4, *[INT] * 6)),
    Function("convolution_gradient", convolution_gradient, types.void, (*[FLOATS] * 4, *[INT] * 6)),
]


# ---- descriptions ----


class Weights:
    """Parameters of layers, collected into one float32 array."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self.length = 0

    def add(self, parameter: torch.Tensor) -> int:
        """Append a parameter and return the place of its first number."""
        array = parameter.detach().cpu().float().numpy().ravel()
        self.arrays.append(array)
        self.length += array.size
        return self.length - array.size

    def to_bytes(self) -> bytes:
        """Return all numbers, little-endian."""
        return np.concatenate(self.arrays).astype("<f4").tobytes()


def describe_network(net: nn.Module, shape: tuple[int, ...]) -> tuple[dict[str, Any], bytes]:
    """Return a network for observations of `shape` as JSON, and its weights.

    `outputs` are the layers to the action logits or values, `value` those to the value of the observation, each a list
    of layers; in both those of `encoder` come first where it is there. Raises UsageError for networks that a page
    cannot compute: recurrent ones, and those of a user's own agent.
    """
    weights = Weights()
    if isinstance(net, ActorCritic):
        encoder, value_encoder, heads = net.actor, net.critic, (net.policy, net.value)
    elif isinstance(net, QNetwork):
        encoder, value_encoder, heads = net.body, None, (net.advantage, net.value)
    else:
        raise UsageError(f"a page cannot compute a {type(net).__name__}: expected an ActorCritic or a QNetwork")
    outputs, value = heads
    described: dict[str, Any] = {
        "kind": "policy" if isinstance(net, ActorCritic) else "q",
        "encoder": layers(encoder, shape, weights),
        "outputs": layers([outputs], shape, weights),
        "value_encoder": value_encoder and layers(value_encoder, shape, weights),
        "value": value and layers([value], shape, weights),
    }
    return described, weights.to_bytes()


def layers(modules: Any, shape: tuple[int, ...], weights: Weights) -> list[dict[str, int | str]]:
    """Return the layers of a sequence of modules; an activation belongs to the layer before it."""
    found: list[dict[str, Any]] = []
    channels, height, width = (1, 1, 1, *shape)[-3:]
    for module in modules:
        if isinstance(module, nn.Linear):
            sizes = {"inputs": module.in_features, "outputs": module.out_features, "activation": LINEAR}
            found.append({"kind": "dense", **sizes})
        elif isinstance(module, nn.Conv2d):
            filters, kernel, stride = module.out_channels, module.kernel_size[0], module.stride[0]
            sizes = {"channels": channels, "height": height, "width": width}
            found.append({"kind": "convolution", **sizes, "filters": filters, "kernel": kernel, "stride": stride})
            channels, height, width = filters, (height - kernel) // stride + 1, (width - kernel) // stride + 1
        elif type(module) in ACTIVATIONS:
            if found[-1]["kind"] == "dense":
                found[-1]["activation"] = ACTIVATIONS[type(module)]
        elif not isinstance(module, ImageInput | VectorInput | nn.Flatten):
            raise UsageError(f"a page cannot compute the layer {module}")
        if isinstance(module, nn.Linear | nn.Conv2d):
            assert module.bias is not None  # all layers of the library have one
            found[-1] |= {"weights": weights.add(module.weight), "bias": weights.add(module.bias)}
    return found
