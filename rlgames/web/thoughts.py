"""Outputs of an agent's network for one observation: action logits or values, the state value, and the saliency."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from rlgames.agents.base import Agent
from rlgames.networks.models import ActorCritic, QNetwork
from rlgames.networks.recurrent import RecurrentActorCritic, RecurrentQNetwork


class Thought(NamedTuple):
    """Outputs of a network for one observation."""

    kind: str  # "policy": logits of the actions; "q": their values; "": the agent's network is none of ours
    outputs: list[float]  # one an action
    value: float | None  # of the observation
    saliency: np.ndarray | None  # abs(gradient of the chosen output) by the observation, of its shape, float32


def think(agent: Agent, obs: np.ndarray, state: Any, start: bool, action: int, saliency: bool) -> Thought:
    """Return what the networks of `agent` compute from one observation; `action`, from 0, is the chosen one.

    `state` is the LSTM state before the observation, as `predict` takes it, and `start` says that an episode starts.
    """
    net = getattr(agent, "net", None)
    if not isinstance(net, ActorCritic | QNetwork | RecurrentActorCritic | RecurrentQNetwork):
        return Thought("", [], None, None)
    x = torch.from_numpy(obs.astype(np.float32)).to(agent.device)
    x = (x / 255 if obs.dtype == np.uint8 else x).requires_grad_(saliency)  # networks scale uint8 alone
    with torch.set_grad_enabled(saliency):
        outputs, value = run(net, x, state, start)
    gradient = None
    if saliency:
        gradient = torch.autograd.grad(outputs[action], x)[0].abs().cpu().numpy()
    kind = "policy" if isinstance(net, ActorCritic | RecurrentActorCritic) else "q"
    found, value = outputs.detach().tolist(), None if value is None else float(value.detach())
    return Thought(kind, found, max(found) if value is None else value, gradient)


def run(net: Any, x: torch.Tensor, state: Any, start: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the outputs (actions,) and the value (), None for Q networks, of one observation."""
    if isinstance(net, RecurrentActorCritic | RecurrentQNetwork):
        steps = x[None, None], net.lstm.as_state(state, 1), torch.tensor([[start]], device=x.device)
        if isinstance(net, RecurrentQNetwork):
            return net(*steps)[0, 0], None
        logits, values, _ = net(*steps)
        return logits[0, 0], values[0, 0]
    if isinstance(net, QNetwork):
        return net(x[None])[0], None
    logits, values = net(x[None])
    return logits[0], values[0]
