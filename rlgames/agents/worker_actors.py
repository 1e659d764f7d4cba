"""A3C's workers as actors of a Ray cluster, and a parameter server, one more actor, which has the shared weights.

A worker sends the parameter server each gradient, and gets the weights after that update, with which it plays on, as in
Downpour SGD (Dean et al. 2012). The server takes one gradient after another, so no part of an update is lost, as it may
be in memory that is shared without locks. The order is that in which they arrive: training is not deterministic.

A worker that dies is replaced. The new one begins new episodes, and those that the other one had not finished are not
counted. Updates and reports that the server has got are kept. With the parameter server the weights are lost: that ends
the training, which resumes from its last checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rlgames.agents.shared_optimizer import SharedOptimizer
from rlgames.engine.ray_cluster import ClusterError, Connection, connect, import_ray
from rlgames.engine.ray_vector_env import check_nodes
from rlgames.imports import IMPORTED_MODULES, import_registering

MAX_RESTARTS = 3  # of a worker while no worker makes an update: then the fault is its own
INTERVAL = 0.2  # seconds between two looks at the parameter server


# ---- on a machine of the cluster ----


class Fetched(NamedTuple):
    """Weights, and of how many updates they are."""

    weights: np.ndarray
    num_updates: int


class ServerState(NamedTuple):
    """Shared weights and statistics, and the reports of workers since the last state."""

    weights: np.ndarray
    optimizer: dict[str, Any]  # the SharedOptimizer's state_dict, in arrays
    reports: list[Any]


class ParameterServer:
    """A `SharedOptimizer` that takes gradients, and reports for the process that started it."""

    def __init__(self, shared: SharedOptimizer):
        torch.set_num_threads(1)
        self.shared = shared
        self.reports: list[Any] = []

    def pid(self) -> int:
        return os.getpid()

    def fetch(self) -> Fetched:
        return Fetched(self.shared.weights.numpy(), self.shared.num_updates())

    def apply(self, optimizer: str, gradient: np.ndarray, lr: float) -> Fetched:
        self.shared.started[0] += 1
        self.shared.apply(0, optimizer, torch.from_numpy(gradient.copy()), lr)  # Ray's array is read-only
        return self.fetch()

    def report(self, report: Any) -> None:
        self.reports.append(report)

    def take(self) -> ServerState:
        """Return the state, and the reports since the last call."""
        reports, self.reports = self.reports, []
        state = self.shared.state_dict()
        optimizer = {name: x.numpy() if isinstance(x, Tensor) else x for name, x in state.items()}
        return ServerState(self.shared.weights.numpy(), optimizer, reports)


class RemoteParameters:
    """A worker's access to the `SharedOptimizer` of the parameter server, with the methods that a worker calls."""

    def __init__(self, server: Any):
        self.server = server
        self.newest: Fetched | None = None

    def fetch(self, index: int, weights: Tensor) -> int:
        """Copy the weights of the last answer into `weights`; return of how many updates they are."""
        newest = self.last_answer()
        weights.copy_(torch.from_numpy(newest.weights.copy()))
        return newest.num_updates

    def apply(self, index: int, optimizer: str, gradient: Tensor, lr: float) -> int:
        """Have a step taken; return how many were taken before."""
        self.newest = import_ray().get(self.server.apply.remote(optimizer, gradient.numpy(), lr))
        return self.num_updates() - 1

    def num_updates(self) -> int:
        return self.last_answer().num_updates

    def last_answer(self) -> Fetched:
        if self.newest is None:
            self.newest = import_ray().get(self.server.fetch.remote())
        assert self.newest is not None
        return self.newest


class WorkerActor:
    """A process that runs one worker."""

    def __init__(self, modules: str):
        for module in filter(None, modules.split(",")):
            import_registering(module)

    def pid(self) -> int:
        return os.getpid()

    def run(self, function: Callable[..., Any], arguments: Any, index: int) -> Any:
        """Call `function(arguments, index, report, should_continue)`, which reports to the parameter server."""
        server = arguments.shared.server
        return function(arguments, index, lambda x: import_ray().get(server.report.remote(x)), lambda: True)


# ---- in the process that trains ----


class WorkerActors:
    """A parameter server, and `count` actors that run one function, as `Workers` do."""

    def __init__(self, count: int):
        self.count, self.restarts = count, 0
        self.connection: Connection | None = None
        self.server: Any = None
        self.actors: list[Any] = []
        self.running: dict[Any, int] = {}  # workers by the answers to come

    def start(
        self, function: Callable[..., Any], make_arguments: Callable[[RemoteParameters], Any], shared: SharedOptimizer
    ) -> None:
        """Connect to the cluster, and start a parameter server with the state of `shared`, and the workers.

        `make_arguments(parameters)` returns the arguments of a worker that starts with the current state of `shared`.
        Raises ClusterError if the cluster has too few cores.
        """
        self.function, self.make_arguments, self.shared = function, make_arguments, shared
        self.deaths = [(0, 0)] * self.count  # of each worker: how many, since which update
        self.connection = connect()
        check_nodes(self.connection)
        self.server = self.connection.start_actor(ParameterServer, shared, cores=0, total=1)
        self.actors = [self.start_actor() for _ in range(self.count)]
        for actor in self.actors:
            self.connection.place(actor)
        for i in range(self.count):
            self.run(i)

    def start_actor(self) -> Any:
        assert self.connection is not None
        modules = os.environ.get(IMPORTED_MODULES, "")
        return self.connection.start_actor(WorkerActor, modules, cores=1, total=self.count)

    def run(self, i: int) -> None:
        arguments = self.make_arguments(RemoteParameters(self.server))
        self.running[self.actors[i].run.remote(self.function, arguments, i)] = i

    def reports(self) -> Iterator[list[Any]]:
        """Yield the reports as they come, with the state behind them in `shared`, until all workers have returned.

        Raises ClusterError with the parameter server, with a worker that dies again and again and with the cluster, and
        what a worker raised.
        """
        assert self.connection is not None
        while self.running:
            waiting = list(self.running)
            ended = self.connection.ray.wait(waiting, num_returns=len(waiting), timeout=INTERVAL)[0]
            reports = self.take()
            for answer in ended:
                i = self.running.pop(answer)
                (report,) = self.connection.collect([answer])
                if report is None:
                    self.replace(i)
                else:
                    reports.append(report)
            if reports:
                yield reports

    def take(self) -> list[Any]:
        """Copy the state of the parameter server into `shared`; return the reports since the last call."""
        assert self.connection is not None
        (state,) = self.connection.collect([self.server.take.remote()])
        if state is None:
            raise ClusterError("the actor with the shared weights died: resume from the last checkpoint")
        self.shared.weights.copy_(torch.from_numpy(state.weights.copy()))
        self.shared.load_state_dict(
            {
                name: torch.from_numpy(x.copy()) if isinstance(x, np.ndarray) else x
                for name, x in state.optimizer.items()
            }
        )
        return state.reports

    def replace(self, i: int) -> None:
        """Start another worker in place of one that has died."""
        num_updates = self.shared.num_updates()
        count, since = self.deaths[i]
        self.deaths[i] = (count + 1 if since == num_updates else 1), num_updates
        if self.deaths[i][0] > MAX_RESTARTS:
            raise ClusterError(f"worker {i} died {MAX_RESTARTS + 1} times in a row: see Ray's logs in /tmp/ray")
        self.restarts += 1
        self.actors[i] = self.start_actor()
        self.run(i)

    def close(self) -> list[Any]:
        """End all, with the last state in `shared`; return the reports that were not read."""
        reports: list[Any] = []
        connection, server = self.connection, self.server
        if connection is not None:
            if server is not None:
                with suppress(ClusterError):  # then the state that was taken last is the newest
                    reports = self.take()
                connection.end_actors([*self.actors, server])
            connection.close()
        self.connection, self.server, self.actors, self.running = None, None, [], {}
        return reports
