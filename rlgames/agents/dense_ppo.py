"""PPO's update of dense networks, compiled by Numba: forward pass, loss, backward pass, clipping and Adam in one call.

In torch a gradient step of small networks takes as long for 8 observations as for 500: each of its hundred operations
costs some microseconds before it computes anything. Here an epoch is one call, the arithmetic is that of `PPO` and
`torch.optim.Adam`, in float32, and only the order of sums differs.

Two networks, the actor (logits z) and the critic (value V), each of layers

    h_0 = obs,   h_l = tanh(W_l h_{l-1} + b_l),   the last without tanh

All activations are (units, rows): a row is an observation, the inner loops go over rows, and LLVM vectorizes them for
layers of any width. The parameters of a network are one vector W_1, b_1, W_2, b_2, ..., that of the critic follows that
of the actor, and so do gradients and Adam's moments; a `FlatState` is copied from torch's tensors before the epochs of
a rollout and back after them, so that checkpoints hold the same as without.

`fastmath` allows fused multiply-adds and sums in another order, in vectors: on one machine the same bits every time.
`error_model="numpy"` leaves out the test for a division by zero, with which no loop with a division is vectorized.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import numba
import numpy as np
import torch
from numba.core import config
from torch import Tensor, nn

from rlgames.compilation import njit_cached
from rlgames.experience.rollout import Minibatch
from rlgames.networks.models import ActorCritic

CompiledName = Literal["auto", "on", "off"]
BLOCK = 128  # observations that go through a network at once: their activations stay in the first caches
WIDEST = 64  # units up to which "auto" compiles: at 128 torch takes 1.7 times as long, and less in large minibatches
TERMS = 6  # of a minibatch: loss, policy loss, value loss, -entropy, approximate KL, clip fraction; two norms follow
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-5  # of Adam, as in PPO.build
ZERO, ONE = np.float32(0), np.float32(1)  # Python's 0.0 would make float64 of a loop

compiled = njit_cached("PPO's update", 8, nogil=True, error_model="numpy")
OPTIONS = {"fastmath": {"contract", "reassoc"}, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inner: Any = numba.njit(error_model="numpy", **OPTIONS)  # what the compiled functions share, and Python does not call


# ---- products of matrices ----


@inner
def add_product(a, b, c):
    """Add A B to C: (n, k), (k, m) and (n, m). Four rows of C get four products each at once, from registers."""
    (n, k), m = a.shape, b.shape[1]
    rows, terms = n - n % 4, k - k % 4
    for i in range(0, rows, 4):
        for q in range(0, terms, 4):
            a00, a01, a02, a03 = a[i, q], a[i, q + 1], a[i, q + 2], a[i, q + 3]
            a10, a11, a12, a13 = a[i + 1, q], a[i + 1, q + 1], a[i + 1, q + 2], a[i + 1, q + 3]
            a20, a21, a22, a23 = a[i + 2, q], a[i + 2, q + 1], a[i + 2, q + 2], a[i + 2, q + 3]
            a30, a31, a32, a33 = a[i + 3, q], a[i + 3, q + 1], a[i + 3, q + 2], a[i + 3, q + 3]
            for j in range(m):
                b0, b1, b2, b3 = b[q, j], b[q + 1, j], b[q + 2, j], b[q + 3, j]
                c[i, j] += a00 * b0 + a01 * b1 + a02 * b2 + a03 * b3
                c[i + 1, j] += a10 * b0 + a11 * b1 + a12 * b2 + a13 * b3
                c[i + 2, j] += a20 * b0 + a21 * b1 + a22 * b2 + a23 * b3
                c[i + 3, j] += a30 * b0 + a31 * b1 + a32 * b2 + a33 * b3
    for i in range(rows, n):
        for q in range(0, terms, 4):
            a0, a1, a2, a3 = a[i, q], a[i, q + 1], a[i, q + 2], a[i, q + 3]
            for j in range(m):
                c[i, j] += a0 * b[q, j] + a1 * b[q + 1, j] + a2 * b[q + 2, j] + a3 * b[q + 3, j]
    for q in range(terms, k):
        for i in range(n):
            a0 = a[i, q]
            for j in range(m):
                c[i, j] += a0 * b[q, j]


@inner
def add_outer_product(a, b, c):
    """Add A B^T to C: (n, k), (m, k) and (n, m). Four by four scalar products at once."""
    (n, k), m = a.shape, b.shape[0]
    rows, columns = n - n % 4, m - m % 4
    for j in range(0, columns, 4):
        for i in range(0, rows, 4):
            s00, s01, s02, s03, s10, s11, s12, s13 = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
            s20, s21, s22, s23, s30, s31, s32, s33 = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
            for q in range(k):
                a0, a1, a2, a3 = a[i, q], a[i + 1, q], a[i + 2, q], a[i + 3, q]
                b0, b1, b2, b3 = b[j, q], b[j + 1, q], b[j + 2, q], b[j + 3, q]
                s00 += a0 * b0
                s01 += a0 * b1
                s02 += a0 * b2
                s03 += a0 * b3
                s10 += a1 * b0
                s11 += a1 * b1
                s12 += a1 * b2
                s13 += a1 * b3
                s20 += a2 * b0
                s21 += a2 * b1
                s22 += a2 * b2
                s23 += a2 * b3
                s30 += a3 * b0
                s31 += a3 * b1
                s32 += a3 * b2
                s33 += a3 * b3
            add_four(c, i, j, s00, s01, s02, s03)
            add_four(c, i + 1, j, s10, s11, s12, s13)
            add_four(c, i + 2, j, s20, s21, s22, s23)
            add_four(c, i + 3, j, s30, s31, s32, s33)
        for i in range(rows, n):
            s0, s1, s2, s3 = ZERO, ZERO, ZERO, ZERO
            for q in range(k):
                s0 += a[i, q] * b[j, q]
                s1 += a[i, q] * b[j + 1, q]
                s2 += a[i, q] * b[j + 2, q]
                s3 += a[i, q] * b[j + 3, q]
            add_four(c, i, j, s0, s1, s2, s3)
    for j in range(columns, m):
        for i in range(n):
            total = ZERO
            for q in range(k):
                total += a[i, q] * b[j, q]
            c[i, j] += total


@inner
def add_four(c, i, j, s0, s1, s2, s3):
    c[i, j] += s0
    c[i, j + 1] += s1
    c[i, j + 2] += s2
    c[i, j + 3] += s3


# ---- tanh ----


def tanh_fraction(depth: int) -> tuple[list[float], list[float]]:
    """Return the coefficients of P and Q in tanh x = x P(x^2) / Q(x^2), lowest first.

    They are the convergent of Lambert's continued fraction (1768), tanh x = x / (1 + x^2 / (3 + x^2 / (5 + ...))), with
    so many terms. All are positive: no digits cancel.
    """
    p, q = [Fraction(1)], [Fraction(2 * depth - 1)]  # of 1 / (2 depth - 1)
    for odd in range(2 * depth - 3, 0, -2):  # 1 / (odd + x^2 p / q)
        longest = max(len(q), len(p) + 1)
        below = [odd * c for c in q] + [Fraction(0)] * (longest - len(q))
        for i, c in enumerate(p):
            below[i + 1] += c
        p, q = q, below
    return [float(c / q[0]) for c in p], [float(c / q[0]) for c in q]


P, Q = (tuple(map(np.float32, coefficients)) for coefficients in tanh_fraction(13))
P0, P1, P2, P3, P4, P5, P6 = P
Q0, Q1, Q2, Q3, Q4, Q5, Q6 = Q
LIMIT = np.float32(9)  # float32's tanh is 1 from here on


@inner
def apply_tanh(x):
    """Replace x (n, m) by its tanh, with a relative error of at most 3e-7; NaN stays."""
    x = x.ravel()
    for i in range(len(x)):
        v = x[i]
        v = min(v, LIMIT)
        v = max(v, -LIMIT)
        s = v * v
        p = (((((P6 * s + P5) * s + P4) * s + P3) * s + P2) * s + P1) * s + P0
        q = (((((Q6 * s + Q5) * s + Q4) * s + Q3) * s + Q2) * s + Q1) * s + Q0
        x[i] = v * p / q


# ---- a network ----


@inner
def forward(parameters, widths, h):
    """Compute all activations h (sum of widths, rows) from the observations in its first rows; return the outputs."""
    at, first = 0, 0
    for layer in range(1, len(widths)):
        n_in, n_out = widths[layer - 1], widths[layer]
        weight, bias = layer_parameters(parameters, at, n_in, n_out)
        x, y = h[first : first + n_in], h[first + n_in : first + n_in + n_out]
        for j in range(n_out):
            for i in range(y.shape[1]):
                y[j, i] = bias[j]
        add_product(weight[::1, ::1], x, y)
        if layer < len(widths) - 1:
            apply_tanh(y)
        at, first = at + (n_in + 1) * n_out, first + n_in
    return h[first:]


@inner
def add_gradients(parameters, widths, h, deltas, gradients):
    """Add the gradients of the parameters to `gradients`; the last rows of `deltas` are those of the outputs.

    With delta_l = dL / d(W_l h_{l-1} + b_l):

        dL/dW_l = delta_l h_{l-1}^T,   dL/db_l = sum of delta_l,   delta_{l-1} = (W_l^T delta_l) (1 - h_{l-1}^2)
    """
    at, first = len(parameters), len(h) - widths[-1]
    for layer in range(len(widths) - 1, 0, -1):
        n_in, n_out = widths[layer - 1], widths[layer]
        at, before = at - (n_in + 1) * n_out, first - n_in
        weight, _ = layer_parameters(parameters, at, n_in, n_out)
        weight_gradient, bias_gradient = layer_parameters(gradients, at, n_in, n_out)
        x, delta = h[before:first], deltas[first : first + n_out]
        add_outer_product(delta, x, weight_gradient)
        for j in range(n_out):
            total = ZERO
            for i in range(delta.shape[1]):
                total += delta[j, i]
            bias_gradient[j] += total
        if layer > 1:
            delta_before = deltas[before:first]
            fill(delta_before.ravel(), ZERO)
            add_product(weight[::1, ::1].T, delta, delta_before)
            for j in range(n_in):
                for i in range(x.shape[1]):
                    delta_before[j, i] *= ONE - x[j, i] * x[j, i]
        first = before


@inner
def layer_parameters(parameters, at, n_in, n_out):
    """Return weight (n_out, n_in) and bias (n_out,), views of the vector `parameters` from index `at` on."""
    end = at + n_in * n_out
    return parameters[at:end].reshape(n_out, n_in), parameters[end : end + n_out]


@inner
def sizes(widths):
    """Return the number of parameters of a network, and of units, the inputs among them."""
    parameters, units = 0, widths[0]
    for layer in range(1, len(widths)):
        parameters += (widths[layer - 1] + 1) * widths[layer]
        units += widths[layer]
    return parameters, units


@inner
def as_units(scratch, units, rows):
    return scratch[: units * rows].reshape(units, rows)


@inner
def fill(x, value):
    for i in range(len(x)):
        x[i] = value


@inner
def sum_of_squares(x):
    total = ZERO
    for i in range(len(x)):
        total += x[i] * x[i]
    return total


@inner
def scale(x, factor):
    for i in range(len(x)):
        x[i] *= factor


@compiled
def outputs_of(parameters, widths, obs):
    """Return the outputs (n, widths[-1]) of a network for observations (n, widths[0])."""
    (_, units), outputs = sizes(widths), np.empty((len(obs), widths[-1]), np.float32)
    scratch = np.empty(units * BLOCK, np.float32)
    for first in range(0, len(obs), BLOCK):
        n = min(BLOCK, len(obs) - first)
        h = as_units(scratch, units, n)
        for j in range(widths[0]):
            for i in range(n):
                h[j, i] = obs[first + i, j]
        y = forward(parameters, widths, h)
        for j in range(len(y)):
            for i in range(n):
                outputs[first + i, j] = y[j, i]
    return outputs


# ---- PPO's loss ----


@inner
def loss_of(batch, rows, outputs, derivatives, terms, total, scheduled, coefficients):
    """Add the terms of the loss of these rows of the batch to `terms`, and set its derivatives by logits and values.

    With w = weight / total, log pi = z - log sum exp z, r = exp(log pi(a) - log pi_old(a)) and H = -sum pi log pi:

        dL/dz_k = w [ -r A (1[k = a] - pi_k), 0 where the clip applies   +   c_H pi_k (log pi_k + H) ]
        dL/dV   = w 2 c_v (V - R)
    """
    _, actions, log_prob, old_values, advantages, returns, weights = batch
    _, clip_range, ent_coef = scheduled
    vf_coef, clip_range_vf, _ = coefficients
    (logits, values), (d_logits, d_values) = outputs, derivatives
    num_actions = len(logits)
    for i in range(len(rows)):
        row = rows[i]
        w, advantage, action = weights[row] / total, advantages[row], actions[row]

        largest = logits[0, i]
        for k in range(1, num_actions):
            largest = max(largest, logits[k, i])
        normalizer = 0.0
        for k in range(num_actions):
            normalizer += math.exp(logits[k, i] - largest)
        log_normalizer = largest + math.log(normalizer)
        entropy = 0.0
        for k in range(num_actions):
            log_pi = logits[k, i] - log_normalizer
            pi = math.exp(log_pi)
            entropy -= pi * log_pi
            d_logits[k, i] = pi

        log_ratio = logits[action, i] - log_normalizer - log_prob[row]
        ratio = math.exp(log_ratio)
        gain = ratio * advantage
        clipped_gain = min(max(ratio, 1 - clip_range), 1 + clip_range) * advantage
        slope = -gain if gain <= clipped_gain else 0.0  # by log pi(a)
        for k in range(num_actions):
            log_pi, pi, chosen = logits[k, i] - log_normalizer, d_logits[k, i], 1.0 if k == action else 0.0
            d_logits[k, i] = w * (slope * (chosen - pi) + ent_coef * pi * (log_pi + entropy))

        error = values[0, i] - returns[row]
        squared_error, d_value = error * error, 2 * error
        change = values[0, i] - old_values[row]
        if abs(change) > clip_range_vf:
            clipped_error = old_values[row] + math.copysign(clip_range_vf, change) - returns[row]
            if clipped_error * clipped_error > squared_error:
                squared_error, d_value = clipped_error * clipped_error, 0.0
        d_values[0, i] = w * vf_coef * d_value

        terms[1] -= w * min(gain, clipped_gain)
        terms[2] += w * squared_error
        terms[3] -= w * entropy
        terms[4] += w * (ratio - 1 - log_ratio)
        terms[5] += w * (abs(ratio - 1) > clip_range)


# ---- Adam ----


@inner
def adam_step(parameters, gradients, mean, square, step, learning_rate):
    """Take a step of Adam (Kingma & Ba 2015, algorithm 1), the corrections of the bias where torch has them.

    m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,   w <- w - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + e)
    """
    size = np.float32(learning_rate / (1 - BETA1**step))
    correction, epsilon = np.float32(1 / math.sqrt(1 - BETA2**step)), np.float32(EPSILON)
    rate1, rate2, decay2 = np.float32(1 - BETA1), np.float32(1 - BETA2), np.float32(BETA2)
    for i in range(len(parameters)):
        g = gradients[i]
        mean[i] += rate1 * (g - mean[i])
        square[i] = decay2 * square[i] + rate2 * g * g
        parameters[i] -= size * mean[i] / (np.sqrt(square[i]) * correction + epsilon)


# ---- an epoch ----


@compiled
def train_epoch(state, widths, batch, order, minibatch_size, scheduled, coefficients):
    """Take a gradient step for each minibatch of the rows `order`; return (minibatches, 8): TERMS and two norms.

    `state`: parameters, mean, square (vectors) and steps (one number) of both networks. `widths`: of the actor, of the
    critic. `scheduled`: learning rate, clip range, entropy's coefficient; `coefficients`: of the value, clip range of
    the value, largest norm.
    """
    parameters, mean, square, steps = state
    obs, weights = batch[0], batch[6]
    learning_rate, _, ent_coef = scheduled
    vf_coef, _, max_grad_norm = coefficients
    (size, actor_units), (_, critic_units) = sizes(widths[0]), sizes(widths[1])
    gradients = np.empty(len(parameters), np.float32)
    networks, their_gradients = (parameters[:size], parameters[size:]), (gradients[:size], gradients[size:])
    scratch = np.empty((4, max(actor_units, critic_units) * BLOCK), np.float32)
    results = np.zeros((-(-len(order) // minibatch_size), TERMS + 2))

    for number in range(len(results)):
        minibatch = order[number * minibatch_size : (number + 1) * minibatch_size]
        terms, total = results[number], 0.0
        for i in range(len(minibatch)):
            total += weights[minibatch[i]]
        total = max(total, 1e-8)
        fill(gradients, ZERO)
        for first in range(0, len(minibatch), BLOCK):
            rows = minibatch[first : first + BLOCK]
            n = len(rows)
            h = as_units(scratch[0], actor_units, n), as_units(scratch[1], critic_units, n)
            deltas = as_units(scratch[2], actor_units, n), as_units(scratch[3], critic_units, n)
            for k in range(2):  # actor and critic; a loop compiles each function once
                for j in range(obs.shape[1]):
                    for i in range(n):
                        h[k][j, i] = obs[rows[i], j]
                forward(networks[k], widths[k], h[k])
            first_logit, value = actor_units - widths[0][-1], critic_units - 1
            outputs = h[0][first_logit:], h[1][value:]
            derivatives = deltas[0][first_logit:], deltas[1][value:]
            loss_of(batch, rows, outputs, derivatives, terms, total, scheduled, coefficients)
            for k in range(2):
                add_gradients(networks[k], widths[k], h[k], deltas[k], their_gradients[k])
        terms[0] = terms[1] + vf_coef * terms[2] + ent_coef * terms[3]

        for k in range(2):
            norm = math.sqrt(sum_of_squares(their_gradients[k]))
            terms[TERMS + k] = norm
            scale(their_gradients[k], np.float32(min(1.0, max_grad_norm / (norm + 1e-6))))
        steps[0] += 1
        adam_step(parameters, gradients, mean, square, steps[0], learning_rate)
    return results


# ---- torch's side ----


class FlatState(NamedTuple):
    """Copies of the parameters of actor and critic, and of Adam's moments of them, each a vector; its steps, (1,)."""

    parameters: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    steps: np.ndarray


class DenseUpdate:
    """Compiled arithmetic of an `ActorCritic` to which there is no `obstacle`, and of its Adam.

    `coefficients`: of the value error, clip range of the value and largest norm of a gradient; None: no limit.
    """

    def __init__(
        self,
        net: ActorCritic,
        optimizer: torch.optim.Adam,
        vf_coef: float,
        clip_range_vf: float | None,
        max_grad_norm: float | None,
    ):
        self.net, self.optimizer = net, optimizer
        self.actor, self.critic = net.parameter_groups()
        self.widths = widths_of(net.actor, net.policy), widths_of(net.critic or net.actor, net.value)
        limits = (math.inf if limit is None else float(limit) for limit in (clip_range_vf, max_grad_norm))
        self.coefficients = (float(vf_coef), *limits)

    def copy_actor(self) -> DenseActor:
        """Return the actor as it is now."""
        return DenseActor(flatten(self.actor), self.widths[0])

    def values(self, obs: np.ndarray) -> np.ndarray:
        """Return the values (n,) of observations (n, *shape)."""
        return outputs_of(flatten(self.critic), self.widths[1], features(obs))[:, 0]

    @contextmanager
    def flat_state(self) -> Iterator[FlatState]:
        """Yield copies of the parameters and of Adam's state, which are copied back at the end."""
        parameters, states = [*self.actor, *self.critic], self.optimizer.state
        for p in parameters:
            if not states[p]:
                states[p] |= {
                    "step": torch.tensor(0.0),
                    "exp_avg": torch.zeros_like(p),
                    "exp_avg_sq": torch.zeros_like(p),
                }
        means, squares = ([states[p][name] for p in parameters] for name in ("exp_avg", "exp_avg_sq"))
        steps = np.array([float(states[parameters[0]]["step"])])
        flat = FlatState(flatten(parameters), flatten(means), flatten(squares), steps)
        yield flat
        for tensors, vector in zip((parameters, means, squares), flat[:3], strict=True):
            unflatten(vector, tensors)
        for p in parameters:
            states[p]["step"].fill_(steps[0])

    def train_epoch(
        self, flat: FlatState, batch: Minibatch, order: np.ndarray, size: int, scheduled: Sequence[float]
    ) -> list[Tensor]:
        """Take a gradient step for each `size` rows of `order`; return the scalars of each, as `PPO.train_minibatch`.

        `scheduled`: learning rate, clip range, coefficient of the entropy.
        """
        arrays = (features(batch.obs.numpy()), *(x.numpy() for x in batch[1:7]))
        results = train_epoch(tuple(flat), self.widths, arrays, order, size, tuple(scheduled), self.coefficients)
        return list(torch.from_numpy(results).float())


class DenseActor(NamedTuple):
    """A copy of the actor's parameters, which plays a rollout."""

    parameters: np.ndarray
    widths: np.ndarray

    def logits(self, obs: np.ndarray) -> np.ndarray:
        """Return the logits (n, actions) of observations (n, *shape)."""
        return outputs_of(self.parameters, self.widths, features(obs))


def obstacle(net: nn.Module) -> str | None:
    """Return what `DenseUpdate` takes where it does not take `net`, else None."""
    if not isinstance(net, ActorCritic) or net.critic is None:
        return "networks of dense layers, those of the encoder 'vector' without an LSTM"
    if any(p.device.type != "cpu" for p in net.parameters()):
        return "networks on the CPU, device='cpu'"
    return None


def is_small(net: ActorCritic) -> bool:
    """Return whether "auto" compiles: no layer has more units, or inputs, than `WIDEST`."""
    if config.DISABLE_JIT:  # pyright: ignore[reportAttributeAccessIssue]  set at run time, from the environment
        return False
    return all(max(layer.weight.shape) <= WIDEST for layer in net.modules() if isinstance(layer, nn.Linear))


def features(obs: np.ndarray) -> np.ndarray:
    """Return observations (n, *shape) as vectors of float32, (n, units); `VectorInput` takes 40 times as long."""
    vectors = np.ascontiguousarray(obs.reshape(len(obs), -1), np.float32)
    return vectors * np.float32(1 / 255) if obs.dtype == np.uint8 else vectors


def widths_of(encoder: nn.Module, head: nn.Module) -> np.ndarray:
    """Return the numbers of units of a network, from the inputs to the outputs."""
    layers = [layer for part in (encoder, head) for layer in part.modules() if isinstance(layer, nn.Linear)]
    return np.array([layers[0].in_features, *(layer.out_features for layer in layers)])


def flatten(tensors: list[Any]) -> np.ndarray:
    """Return a copy of these tensors as one vector."""
    return np.concatenate([x.detach().numpy().reshape(-1) for x in tensors])


def unflatten(vector: np.ndarray, tensors: list[Any]) -> None:
    """Copy a vector into these tensors."""
    at = 0
    for x in tensors:
        array = x.detach().numpy()
        array[...] = vector[at : at + array.size].reshape(array.shape)
        at += array.size
