"""Learners that share gradients: they learn what one learns, the same bits each time, also where one has died."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import rlgames
from rlgames import Training
from rlgames.agents import learners as learners_module
from rlgames.agents.learners import Group, GroupError, Learners, Place, assign_devices
from rlgames.agents.ppo import PPO
from rlgames.agents.rollout_actors import copy_weights
from rlgames.engine.ray_cluster import ClusterError
from rlgames.runs.directory import read_rows
from rlgames.runs.training import open_session, train

SETTINGS = {"n_steps": 8, "num_minibatches": 2, "n_epochs": 2, "num_envs": 4, "precision": "float32", "device": "cpu"}
STEPS = 8 * 4  # of an update


def make_agent(learners: int, **settings: Any) -> PPO:
    return rlgames.PPO("CatchBall", seed=3, learners=learners, **(SETTINGS | settings))


def weights_of(agent: PPO) -> np.ndarray:
    return np.concatenate([x.reshape(-1) for x in copy_weights(agent.net).values()])


@contextmanager
def groups(size: int) -> Iterator[list[Group]]:
    """Yield the groups of learners in threads of this process."""
    with ThreadPoolExecutor(size) as pool, socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = listener.getsockname()[:2]
        joining = [
            pool.submit(Group, rank, size, endpoint, "gloo", "127.0.0.1", None if rank else listener)
            for rank in range(size)
        ]
        joined = [each.result() for each in joining]
    try:
        yield joined
    finally:
        for each in joined:
            each.close()


def listening() -> set[str]:
    """Return the addresses, in hexadecimal digits, at which processes of this machine listen."""
    lines = [*Path("/proc/net/tcp").read_text().splitlines(), *Path("/proc/net/tcp6").read_text().splitlines()]
    return {line.split()[1] for line in lines if line.split()[3] == "0A"}


# ---- in threads of this process ----


def test_a_group_sums_with_the_same_bits_on_the_loopback_interface_alone() -> None:
    before = listening()
    with groups(3) as joined, ThreadPoolExecutor(3) as pool:
        assert all(address.startswith("0100007F:") for address in listening() - before)
        own = [[torch.randn(5, 7), torch.randn(())] for _ in joined]
        expected = [torch.stack(x).sum(0) for x in zip(*own, strict=True)]
        list(pool.map(Group.sum, joined, own))
        for each in own:
            assert all(torch.equal(x, first) for x, first in zip(each, own[0], strict=True))
            assert all(torch.allclose(x, total) for x, total in zip(each, expected, strict=True))
        assert [group.own(list(range(5)), 2) for group in joined] == [[0, 1], [2, 3], [4]]


def test_the_others_of_a_group_notice_that_one_has_left() -> None:
    with groups(3) as joined, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(group.sum, [torch.zeros(3)]) for group in joined[:2]]
        joined[2].close()
        for group, each in zip(reversed(joined[:2]), reversed(waiting), strict=True):  # in a ring one after the other
            assert isinstance(each.exception(), GroupError)
            group.close()


@pytest.mark.parametrize("settings", [{}, {"recurrent": True, "n_threads": 2}, {"rollout_fraction": 0.1}])
def test_three_learners_learn_what_one_learns(settings: dict[str, Any]) -> None:
    """Also where a minibatch has fewer rows than there are learners."""

    def trained(agent: PPO, group: Group | None = None) -> np.ndarray:
        agent.learners, agent.group = None, group  # each plays the same rollouts itself
        with agent:
            for _ in agent.train(3 * STEPS):
                pass
        return weights_of(agent)

    one, several = trained(make_agent(1, **settings)), []
    for _ in range(2):
        with groups(3) as joined, ThreadPoolExecutor(3) as pool:
            several += pool.map(trained, [make_agent(3, **settings) for _ in joined], joined)
    assert all(np.array_equal(each, several[0]) for each in several)
    assert_allclose(several[0], one, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("own", "places", "expected"),
    [
        ("cpu", [("a", 4), ("a", 4)], (["cpu", "cpu"], "gloo")),
        ("cuda", [("a", 2), ("a", 2), ("b", 1)], (["cuda:0", "cuda:1", "cuda:0"], "nccl")),
        ("cuda:1", [("a", 2), ("b", 1), ("a", 2)], (["cuda:1", "cuda:0", "cuda:0"], "nccl")),
        ("cuda", [("a", 1), ("a", 1)], (["cuda:0", "cuda:0"], "gloo")),
        ("cuda", [("a", 1), ("b", 0)], (["cuda:0", "cpu"], "gloo")),
    ],
)
def test_learners_take_the_gpus_of_their_machines_in_turn(
    own: str, places: list[tuple[str, int]], expected: tuple[list[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    assert assign_devices(torch.device(own), [Place(*place) for place in places]) == expected


# ---- with a local cluster ----


def kill(ray: Any, actor: Any) -> None:
    os.kill(ray.get(actor.pid.remote()), signal.SIGKILL)


@pytest.mark.slow
def test_two_learners_learn_what_one_learns_though_one_is_killed(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that dies again and again is an error of one line."""
    with make_agent(1) as one:
        for _ in islice(one.train(6 * STEPS), 4):
            pass
    with make_agent(2) as agent:
        assert agent.learners is not None
        updates = agent.train(6 * STEPS)
        for update in islice(updates, 4):
            if update.step in (2 * STEPS, 4 * STEPS):
                kill(ray, agent.learners.actors[0])
        assert agent.restarts == 1
        assert_allclose(weights_of(agent), weights_of(one), rtol=1e-4, atol=1e-6)
        monkeypatch.setattr(learners_module, "MAX_RESTARTS", 0)
        monkeypatch.setattr(Learners, "replace_lost", lambda _: [1])
        with pytest.raises(ClusterError, match="failed 1 times, and the last time learner 1 died: see Ray's logs in"):
            next(updates)
        assert agent.learners.connection is None


class CrashError(Exception):
    pass


@pytest.mark.slow
def test_a_run_that_crashes_and_whose_actors_are_killed_has_the_bits_of_an_unbroken_one(
    ray: Any, tmp_path: Path
) -> None:
    """With actors that play and learners; `restarts` stands in the rows of metrics after a fault."""
    config = PPO.Config(n_steps=8, num_minibatches=2, n_epochs=2, rollout_actors=1, learners=2)
    training = Training("ppo", "CatchBall", config, 5 * STEPS, 4, log_every=1, save_every=1, evaluate_episodes=1)
    unbroken: Any = train(training, tmp_path / "unbroken", quiet=True).agent

    def crash() -> None:
        if session.agent.step == 2 * STEPS:
            raise CrashError

    def kill_actors() -> None:
        agent: Any = session.agent
        if agent.step == 3 * STEPS:
            kill(ray, agent.learners.actors[0])
            kill(ray, agent.rollout_actors.actors[0])

    with closing(open_session(training, tmp_path / "broken", quiet=True)) as session, pytest.raises(CrashError):
        session.run(after_update=crash)
    with closing(open_session(training, tmp_path / "broken", resume=True, quiet=True)) as session:
        session.run(after_update=kill_actors)
    rows = [list(read_rows(tmp_path / name / "metrics.jsonl")) for name in ("unbroken", "broken")]
    restarts = [row.pop("restarts", 0) for row in rows[1] if "train/loss" in row]
    assert restarts[:3] == [0, 0, 0]
    assert restarts[-1] == 2
    assert rows[0] == rows[1]
    broken: Any = session.agent
    assert np.array_equal(weights_of(unbroken), weights_of(broken))
