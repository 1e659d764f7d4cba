"""A3C's workers as Ray actors: what a parameter server computes, workers that are killed, and staleness."""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.ray_processes import descendants
from helpers.toys import quick_config

from rlgames.agents import worker_actors
from rlgames.agents.a3c import A3C, Report, WorkerArguments, run_worker
from rlgames.agents.metrics import Update
from rlgames.agents.shared_optimizer import SharedOptimizer
from rlgames.agents.worker_actors import ParameterServer, RemoteParameters
from rlgames.engine.ray_cluster import ClusterError
from rlgames.envs.task import Task

TWO_WORKERS = quick_config("a3c", workers=2, on_ray=True)
UPDATE_STEPS = TWO_WORKERS.n_steps * 2  # environment steps of one update of a worker with two environments


# ---- in this process ----


def handle(actor: Any, *names: str) -> Any:
    """Return a stand-in for Ray's handle of an actor, whose methods are called at once."""
    return SimpleNamespace(**{name: SimpleNamespace(remote=getattr(actor, name)) for name in names})


@pytest.fixture
def ray_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_actors, "import_ray", lambda: SimpleNamespace(get=lambda answer: answer))


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_a_worker_with_a_parameter_server_learns_what_one_with_shared_memory_learns(
    ray_stand_in: None, optimizer: str
) -> None:
    config = quick_config("a3c", optimizer=optimizer)
    with A3C("CatchBall", config, num_envs=2) as agent:
        own, remote = (SharedOptimizer(agent.net, 1) for _ in range(2))
    server = ParameterServer(remote)
    found = []
    for shared in (own, RemoteParameters(handle(server, "fetch", "apply"))):
        arguments = WorkerArguments(Task.parse("CatchBall"), 2, config, shared, 0, 5, 0, 9 * UPDATE_STEPS)
        reports: list[Report] = []
        reports.append(run_worker(arguments, 0, reports.append, lambda: True))
        found.append(sum(len(report.scalars) for report in reports))
    assert found == [9, 9]
    assert torch.equal(own.weights, remote.weights)
    assert torch.equal(own.exp_avg_sq, remote.exp_avg_sq)
    assert own.num_updates() == remote.num_updates() == 9


def test_updates_of_others_since_the_weights_were_fetched_are_the_staleness(ray_stand_in: None) -> None:
    net, gradient, weights = torch.nn.Linear(2, 1), torch.ones(3), torch.zeros(3)
    shared, server = SharedOptimizer(net, 2), ParameterServer(SharedOptimizer(net, 1))
    remote = [RemoteParameters(handle(server, "fetch", "apply")) for _ in range(2)]
    for first, second in ((shared, shared), (remote[0], remote[1])):
        fetched = first.fetch(0, weights)
        for _ in range(3):
            fetched_by_other = second.fetch(1, weights)
            assert second.apply(1, "rmsprop", gradient, 0.1) - fetched_by_other == 0
        assert first.apply(0, "rmsprop", gradient, 0.1) - fetched == 3
        assert first.fetch(0, weights) == 4
    assert torch.equal(weights, server.shared.weights)


def test_several_actors_need_the_name_of_a_game() -> None:
    with pytest.raises(ValueError, match="give A3C the name of a game, or on_ray=False and workers=1"):
        A3C(Task.parse("CatchBall").make_vec(2), TWO_WORKERS).learn(100)


# ---- with a local cluster ----


def kill(name: str) -> None:
    """Kill the process of an actor of this class; it may be too busy to tell which it is."""
    title = f"ray::{name}".encode()
    pids = [pid for pid, _ in descendants() if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(title)]
    os.kill(pids[0], signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_training_goes_on_to_its_end_though_a_worker_is_killed(ray: Any) -> None:
    """Steps and episodes are counted once; no worker plays after the last update."""
    agent, total = A3C("CatchBall", TWO_WORKERS, num_envs=4), 12_000
    updates: list[Update] = []
    for update in agent.train(total):
        if not updates:
            kill("WorkerActor")
        updates.append(update)
    assert all(first.step < second.step for first, second in pairwise(updates))
    assert [update.step >= total for update in updates] == [False] * (len(updates) - 1) + [True]
    assert updates[-1].step == agent.step < total + 2 * UPDATE_STEPS
    assert agent.step == agent.shared.num_updates() * UPDATE_STEPS
    assert torch.equal(agent.weights, agent.shared.weights)
    assert sum(len(update.episodes) for update in updates) == agent.best_weights.num_episodes > 0
    assert {"train/staleness", "train/staleness_max"} <= set(updates[0].scalars)
    assert agent.restarts == 1
    assert list(agent.train(total)) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_end_of_the_parameter_server_ends_the_training(ray: Any) -> None:
    """In one line; what it had before is in the agent."""
    agent = A3C("CatchBall", TWO_WORKERS, num_envs=4)
    updates = agent.train(10**9)
    step = next(updates).step
    kill("ParameterServer")
    with pytest.raises(ClusterError, match="the actor with the shared weights died: resume from the last checkpoint"):
        deque(updates, maxlen=0)
    assert agent.step == agent.shared.num_updates() * UPDATE_STEPS >= step
