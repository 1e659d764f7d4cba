"""`connect`, and `RayVectorEnv` on a cluster of two nodes on this machine: nodes that lack a package, die or close."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.ray_processes import agent_ports, all_end

import rlgames
from rlgames.engine.ray_cluster import UnreachableError, connect

N = 4
ZEROS = np.zeros(N, np.int64)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Connect to a cluster with a head that has no core for actors, to which tests add nodes."""
    pytest.importorskip("ray")
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # the loopback interface
    from ray.cluster_utils import Cluster  # noqa: PLC0415  optional  # pyright: ignore[reportMissingImports]

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **agent_ports()})
    try:
        with connect(cluster.address) as connection:
            assert not connection.local
            yield cluster
            connection.ray.shutdown()
    finally:
        with all_end():
            cluster.shutdown()


@pytest.mark.slow
def test_an_address_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(UnreachableError, match=f"^no Ray cluster answers at {address}: start a cluster by"):
            rlgames.make_vec("Cave", N, engine="ray", address=address)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(UnreachableError, match="no Ray cluster answers at"):
        connect()


@pytest.mark.slow
def test_more_cores_than_the_cluster_has_are_one_line(ray: Any) -> None:
    with pytest.raises(ConnectionError, match="2 actors take 2 cores, the cluster has 0: add nodes, or take fewer"):
        rlgames.make_vec("CatchBall", N, engine="ray", actors=2)
    with pytest.raises(ValueError, match=r"this process is connected to the Ray cluster at .* before connecting to"):
        rlgames.make_vec("CatchBall", N, engine="ray", address="127.0.0.1:1")


@pytest.mark.slow
def test_a_node_without_the_extra_of_a_game_is_named(ray: Any, tmp_path: Path) -> None:
    missing = "raise ModuleNotFoundError(\"No module named 'ale_py'\", name='ale_py')\n"
    (tmp_path / "ale_py.py").write_text(missing)
    path = f"{tmp_path}:{Path(rlgames.__file__).parents[1]}"
    node = ray.add_node(num_cpus=1, **agent_ports(), env_vars={"PYTHONPATH": path})
    try:
        with pytest.raises(ModuleNotFoundError, match="^node .* of the cluster: .*pip install .*pong"):
            rlgames.make_vec("Pong", N, engine="ray", address=ray.address)
    finally:
        ray.remove_node(node)


@pytest.mark.slow
def test_actors_of_a_removed_node_move_to_another(ray: Any) -> None:
    """The environments of the other node go on as those of the local engine."""
    nodes = [ray.add_node(num_cpus=1, **agent_ports()) for _ in range(2)]
    envs: Any = rlgames.make_vec("CatchBall", N, engine="ray", actors=2, address=ray.address, max_episode_steps=9)
    local = rlgames.make_vec("CatchBall", N, max_episode_steps=9)
    assert np.array_equal(envs.reset(seed=1)[0], local.reset(seed=1)[0])
    assert np.array_equal(envs.step(ZEROS)[0], local.step(ZEROS)[0])
    nodes.append(ray.add_node(num_cpus=1, **agent_ports()))
    ray.remove_node(nodes.pop(0), allow_graceful=False)
    restarted = np.zeros(N, np.bool_)
    for step in range(6_000):  # the processes of the node notice after some steps that it is gone
        time.sleep(0.01)
        obs, *_, info = envs.step(ZEROS)
        expected = local.step(ZEROS)
        restarted |= info.get("_replaced", False)
        assert np.array_equal(obs[~restarted], expected[0][~restarted])
        if step >= 8 and envs.restarts:
            break
    assert sorted(restarted.tolist()) == [False, False, True, True]
    assert envs.restarts == 1
    envs.close()
    for node in nodes:
        ray.remove_node(node)


@pytest.mark.slow
def test_the_cluster_file_of_the_examples_has_rays_schema() -> None:
    pytest.importorskip("ray")
    import yaml  # noqa: PLC0415  optional, comes with Ray  # pyright: ignore[reportMissingModuleSource]
    from ray.autoscaler._private import util  # noqa: PLC0415  optional  # pyright: ignore[reportMissingImports]

    text = (Path(__file__).parents[2] / "examples" / "cluster.yaml").read_text()
    cluster = util.prepare_config(yaml.safe_load(text))
    util.validate_config(cluster)
    assert cluster["max_workers"] == 2
    with pytest.raises(Exception, match="'surprise' was unexpected"):
        util.validate_config(cluster | {"surprise": 1})


CLOSED = """
    import os, signal, time
    import numpy as np
    import rlgames
    from helpers.ray_processes import agent_ports
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **agent_ports()})
    envs = rlgames.make_vec("CatchBall", 2, engine="ray", address=cluster.address)
    envs.reset(seed=0)
    envs.step(np.zeros(2, np.int64))
    cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
    started = time.monotonic()
    try:
        for _ in range(100):
            envs.step(np.zeros(2, np.int64))
    except Exception as error:
        print(type(error).__name__, error)
    print("seconds", time.monotonic() - started)
"""


@pytest.mark.slow
def test_a_closed_cluster_is_one_line() -> None:
    """In a process of its own: Ray ends the process of a driver whose cluster is gone for a minute."""
    pytest.importorskip("ray")
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CLOSED)],
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ
        | {
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "PYTHONPATH": f"{Path(rlgames.__file__).parents[1]}:{Path(__file__).parents[1]}",
        },
        check=False,
    )
    assert "ClusterError the Ray cluster" in result.stdout, result.stdout + result.stderr
