"""Export an agent's network to ONNX, for programs without Python: runtimes in C++, browsers and game engines.

The file takes observations as the game gives them to the agent, in batches of any size, scales them itself, and returns
what the agent chooses its action by. A recurrent network takes and returns its LSTM state too. Its metadata says what a
program has to know, and it is compared with torch on observations of the game before it is written.
"""

from __future__ import annotations

import copy
import io
import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.error import DependencyNotInstalled
from torch import Tensor, nn

from rlgames.agents.base import Agent
from rlgames.checkpoint import weights_sha256
from rlgames.engine.rendering import action_names
from rlgames.errors import FailedError, NotWritableError, UsageError
from rlgames.experience.env_runner import stacked_frames
from rlgames.networks.models import ActorCritic, QNetwork
from rlgames.networks.recurrent import RecurrentActorCritic, RecurrentQNetwork

OBSERVATIONS = 1_000  # on which a file is compared with torch
ENVS = 10  # that play at once meanwhile
OPSET = 17  # of 2022, which all runtimes know
TOLERANCE = 1e-3  # largest difference, as a share of the largest output


class ExportedNetwork(NamedTuple):
    path: Path
    difference: float  # largest one of an output from torch's
    observations: int  # that were compared


class StateInAndOut(nn.Module):
    """A recurrent network for one step: observations (n, *shape), state (n, 2 * units) and start (n,) bool."""

    def __init__(self, net: RecurrentActorCritic | RecurrentQNetwork):
        super().__init__()
        self.net = net

    def forward(self, obs: Tensor, state: Tensor, start: Tensor) -> tuple[Tensor, ...]:
        forward = self.net.with_states if isinstance(self.net, RecurrentQNetwork) else self.net
        return tuple(output.squeeze(1) for output in forward(obs.unsqueeze(1), state, start.unsqueeze(1)))


def export_onnx(agent: Agent, path: str | Path) -> ExportedNetwork:
    """Write the network of `agent` to `path`, and compare it with torch while it plays its game.

    Raises DependencyNotInstalled without the extra `onnx`, ValueError for an agent without a game's name or with a
    network of its own kind, OSError for a file that cannot be written, and FailedError if the file computes something
    else.
    """
    onnx, runtime = import_packages()
    path = Path(path)
    net, inputs, outputs = describe(agent)
    envs = agent.make_vec_env(ENVS)
    try:
        metadata = describe_for_programs(agent, stacked_frames(envs), outputs)
        examples = tuple(example[:2] for example in first_inputs(agent, envs.reset(seed=0)[0], inputs))
        model = onnx.load_from_string(trace(net, examples, inputs, outputs))
        onnx.helper.set_model_props(model, metadata)
        session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        difference, largest = compare(agent, envs, net, session, inputs)
    finally:
        envs.close()
    if not difference <= TOLERANCE * max(1.0, largest):
        raise FailedError(
            f"the exported network differs from torch's by {difference:.3g}, expected at most {TOLERANCE:g} of its"
            f" largest output {largest:.3g}: nothing is written"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.SerializeToString())
    except OSError as error:
        raise NotWritableError(f"{path} cannot be written: {error.strerror or error}") from error
    return ExportedNetwork(path, difference, OBSERVATIONS)


def trace(net: nn.Module, examples: tuple[Tensor, ...], inputs: list[str], outputs: list[str]) -> bytes:
    """Return the file that torch's exporter writes, for batches of any size.

    It is the one that traces, as these networks have no branches; the one that torch recommends since 2.9 needs another
    package, and takes ten times as long.
    """
    file: Any = io.BytesIO()  # torch declares paths alone
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # it is deprecated
        torch.onnx.export(
            *(net, examples, file),
            dynamo=False,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_axes={name: {0: "n"} for name in (*inputs, *outputs)},
        )
    return file.getvalue()


def import_packages() -> tuple[Any, Any]:
    """Return the modules onnx and onnxruntime."""
    try:
        import onnx  # noqa: PLC0415  optional
        import onnxruntime  # noqa: PLC0415  optional
    except ImportError as error:
        raise DependencyNotInstalled('ONNX needs the extra onnx: pip install "rlgames[onnx]"') from error
    return onnx, onnxruntime


def describe(agent: Agent) -> tuple[nn.Module, list[str], list[str]]:
    """Return a copy of the network in float32 on the CPU, and the names of its inputs and outputs."""
    kinds = ActorCritic | QNetwork | RecurrentActorCritic | RecurrentQNetwork
    if not isinstance(agent.net, kinds):
        raise UsageError(f"{agent!r} has no network that can be exported to ONNX: expected a policy or action values")
    net = copy.deepcopy(agent.net).cpu().float().eval().requires_grad_(False)
    recurrent = isinstance(net, RecurrentActorCritic | RecurrentQNetwork)
    inputs = ["obs", "state", "episode_start"] if recurrent else ["obs"]
    outputs = ["logits", "value"] if isinstance(net, ActorCritic | RecurrentActorCritic) else ["action_values"]
    if isinstance(net, RecurrentActorCritic | RecurrentQNetwork):
        return StateInAndOut(net), inputs, [*outputs, "next_state"]
    return net, inputs, outputs


def describe_for_programs(agent: Agent, frames: int, outputs: list[str]) -> dict[str, str]:
    """Return the metadata of the file: texts by name, JSON but for plain names and numbers."""
    space, first = agent.observation_space, int(agent.action_space.start)
    env = agent.make_env()
    names = action_names(env)
    env.close()
    scaled = "uint8 is divided by 255 in the network" if space.dtype == np.uint8 else "none: as the game gives it"
    recurrent = {"state": "zeros at first, then next_state; episode_start: true at the first step of an episode"}
    return {
        "agent": agent.name,
        "game": str(agent.task),
        "task": json.dumps(agent.task.to_json()) if agent.task else "null",
        "step": str(agent.step),
        "weights_sha256": weights_sha256(agent.net.state_dict()),
        "observation_shape": json.dumps(space.shape),
        "observation_dtype": str(space.dtype),
        "observation_range": json.dumps([float(space.low.min()), float(space.high.max())]),
        "scaling": scaled,
        "stacked_frames": str(frames),
        "actions": json.dumps(names),
        "action": f"index of the largest of {outputs[0]}" + (f", plus {first}" if first else ""),
    } | (recurrent if "next_state" in outputs else {})


def first_inputs(agent: Agent, obs: np.ndarray, inputs: list[str]) -> list[Tensor]:
    """Return what a network takes at the first step of episodes."""
    tensors = [torch.from_numpy(np.ascontiguousarray(obs))]
    if "state" in inputs:
        units = agent.net.lstm.hidden_size  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]  recurrent
        tensors += [torch.zeros(len(obs), 2 * int(units)), torch.ones(len(obs), dtype=torch.bool)]  # pyright: ignore[reportArgumentType]  an int
    return tensors


def compare(agent: Agent, envs: Any, net: nn.Module, session: Any, inputs: list[str]) -> tuple[float, float]:
    """Play OBSERVATIONS steps by torch's outputs; return the largest difference of an output, and the largest one."""
    difference = largest = 0.0
    obs, _ = envs.reset(seed=0)
    tensors = first_inputs(agent, obs, inputs)
    for _ in range(OBSERVATIONS // ENVS):
        with torch.no_grad():
            found = net(*tensors)
        expected = [output.numpy() for output in (found if isinstance(found, tuple) else (found,))]
        outputs = session.run(None, dict(zip(inputs, (tensor.numpy() for tensor in tensors), strict=True)))
        for ours, theirs in zip(expected, outputs, strict=True):
            difference = max(difference, float(np.abs(ours - theirs).max()))
            largest = max(largest, float(np.abs(ours).max()))
        obs, _, terminated, truncated, _ = envs.step(expected[0].argmax(1) + int(agent.action_space.start))
        tensors[0] = torch.from_numpy(np.ascontiguousarray(obs))
        if "state" in inputs:
            tensors[1:] = [torch.from_numpy(expected[-1]), torch.from_numpy(terminated | truncated)]
    return difference, largest
