"""`Learners`: updates of PPO computed by several processes of a Ray cluster, which sum their gradients.

Each learner computes a slice of every minibatch, as the threads of `n_threads` do. All sum their gradients by an
all-reduce of torch.distributed and take the same step, so that N learners learn what one learns, up to the rounding of
sums in another order.

This process is learner 0, and plays or has `rollout_actors` play. For every update it sends to the others all that the
update is a function of: the weights, the optimizer's statistics, the state of the generator, and the rollout. They keep
nothing from one update to the next. So a saved agent does not know them, and an update in which a learner died is
repeated with another one, and has the same bits.

The learners are actors of Ray, which places, ends and replaces processes on any machine; on the cores of one machine
`n_threads` does the same without processes. Gradients go through gloo or, where each learner has a GPU of its own,
through NCCL, between the addresses that the machines have in the cluster, in a local one that of the loopback
interface, and to ports that are free.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from rlgames.agents.rollout_actors import copy_weights
from rlgames.engine.ray_cluster import ClusterError, Connection, connect, import_ray
from rlgames.engine.ray_vector_env import check_nodes
from rlgames.errors import InvalidValueError
from rlgames.experience.rollout import Minibatch

MAX_RESTARTS = 3  # of learners in one update: then the fault is not theirs
PATIENCE = 300.0  # seconds that learners wait for each other; the death of a process is noticed at once
GRACE_PERIOD = 10.0  # seconds in which a learner says that its group is broken; then it is replaced too
Slice = TypeVar("Slice")


class GroupError(Exception):
    """A sum that failed because another learner has ended, or does not answer."""


class Group:
    """Learners 0 to `size` - 1, who sum tensors; they meet at `endpoint`, where learner 0 has its `listener`."""

    def __init__(
        self,
        rank: int,
        size: int,
        endpoint: tuple[str, int],
        backend: str,
        own_host: str,
        listener: socket.socket | None = None,
    ):
        self.rank, self.size, self.backend = rank, size, backend
        patience, (host, port) = timedelta(seconds=PATIENCE), endpoint
        # The classes themselves, and not `init_process_group`: a process has one default group only, and gloo's is at
        # the address of the machine's name.
        torch_dist: Any = dist
        try:
            self.store: Any = torch_dist.TCPStore(
                host,
                port,
                size,
                is_master=listener is not None,
                timeout=patience,
                wait_for_workers=False,
                master_listen_fd=listener.detach() if listener else None,  # a socket of torch's takes all addresses
            )
            if backend == "nccl":
                os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")  # a sum that nobody answers raises an error
                group_class = torch_dist.ProcessGroupNCCL
                options = group_class.Options()
            else:
                group_class = torch_dist.ProcessGroupGloo
                options = group_class._Options()
                options._devices = [group_class.create_device(hostname=own_host)]
            options._timeout = patience
            self.group: Any = group_class(self.store, rank, size, options)
        except RuntimeError as error:
            raise GroupError(str(error)) from error

    def own(self, slices: Sequence[Slice], each: int) -> Sequence[Slice]:
        """Return the slices of this learner, `each` of them or fewer in the end."""
        return slices[self.rank * each : (self.rank + 1) * each]

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Sum float tensors over all learners, in place, with the same bits in all. Raises GroupError."""
        flat = torch.cat([x.reshape(-1) for x in tensors])
        total = flat if self.backend == "nccl" else flat.cpu()
        try:
            self.group.allreduce([total]).wait()
        except RuntimeError as error:
            raise GroupError(str(error)) from error
        for x, summed in zip(tensors, total.to(flat.device).split([x.numel() for x in tensors]), strict=True):
            x.copy_(summed.view_as(x))

    def close(self) -> None:
        """Leave the group: the others, who wait for this learner, raise GroupError."""
        group, self.group, self.store = self.group, None, None
        if group is not None:
            with suppress(RuntimeError):  # it is broken already
                group.abort()


# ---- on a machine of the cluster ----


@dataclass(frozen=True)
class LearnerSettings:
    """All that a learner makes its agent of."""

    agent_class: Any  # PPO, or a subclass
    config: Any
    spaces: tuple[Any, Any]
    seed: int


class Place(NamedTuple):
    """Where a learner is."""

    host: str  # address of its machine in the cluster
    gpus: int  # of the machine


def own_place() -> Place:
    return Place(import_ray().util.get_node_ip_address(), torch.cuda.device_count())


class Learner:
    """An agent that computes its slices of the minibatches of updates that it is sent."""

    def __init__(self, settings: LearnerSettings):
        torch.set_num_threads(1)
        self.settings, self.place = settings, own_place()
        self.agent: Any = None

    def pid(self) -> int:
        return os.getpid()

    def describe(self) -> Place:
        return self.place

    def join(self, rank: int, size: int, endpoint: tuple[str, int], backend: str, device: str) -> bool:
        """Enter a group, and leave the one before; return False if that fails because another learner has ended."""
        settings = self.settings
        if self.agent is None:
            self.agent = settings.agent_class.__new__(settings.agent_class)
            self.agent._setup(*settings.spaces, settings.config, settings.seed, device, None)
        self.leave()
        try:
            self.agent.group = Group(rank, size, endpoint, backend, self.place.host)
        except GroupError:
            return False
        return True

    def leave(self) -> None:
        group, self.agent.group = self.agent.group, None
        if group is not None:
            group.close()

    def train(self, job: Job) -> bool:
        """Take this learner's part in an update; return False if that fails because another learner has ended."""
        restore(self.agent, job)
        batch = job.batch.map(lambda x: as_tensor(x, self.agent.device))
        try:
            self.agent.train_on_batch(batch, job.scheduled)
        except BaseException as error:
            self.leave()
            if isinstance(error, GroupError):
                return False
            raise
        return True


# ---- in the process of learner 0 ----


class Job(NamedTuple):
    """All that an update is a function of, in NumPy's arrays, which the learners of a machine share."""

    weights: dict[str, np.ndarray]
    optimizer: dict[str, Any]  # its state_dict()
    rng: dict[str, Any]
    batch: Any  # a Minibatch of arrays
    scheduled: Any


class Learners:
    """`count` learners, of which `agent` is the first."""

    def __init__(self, agent: Any, count: int):
        self.agent, self.count, self.restarts = agent, count, 0
        self.connection: Connection | None = None
        self.actors: list[Any] = []  # learners 1 and on
        self.asked: list[Any] = []  # their last answers, or those to come

    def start(self) -> None:
        """Connect to the cluster and start the learners. Raises ClusterError if it has too few cores."""
        if self.connection is not None:
            return
        connection = self.connection = connect()
        try:
            if (connection.address or "").startswith("ray://"):
                raise InvalidValueError(
                    f"learners={self.count} need a process on a machine of the cluster, got {connection.address}: "
                    "Ray's client carries no gradients"
                )
            check_nodes(connection)
            self.actors = [self.start_actor() for _ in range(1, self.count)]
            for i, actor in enumerate(self.actors, 1):
                if not connection.place(actor):
                    raise ClusterError(f"learner {i} died before it had started: see Ray's logs in /tmp/ray")
        except BaseException:
            self.close()
            raise

    def start_actor(self) -> Any:
        assert self.connection is not None
        agent, config = self.agent, replace(self.agent.config, rollout_actors=0)
        settings = LearnerSettings(type(agent), config, (agent.observation_space, agent.action_space), agent.seed)
        return self.connection.start_actor(Learner, settings, cores=config.n_threads, total=self.count - 1)

    def train(self, batch: Minibatch, scheduled: Any) -> list[Tensor]:
        """Run the epochs of an update in all learners, as `PPO.train_on_batch` does in one.

        Raises ClusterError if learners die again and again, or the cluster was closed.
        """
        self.start()
        assert self.connection is not None
        agent, arrays = self.agent, batch.map(as_array)  # pyright: ignore[reportArgumentType]  in place of tensors
        job = Job(copy_weights(agent.net), optimizer_state(agent), agent.rng.bit_generator.state, arrays, scheduled)
        sent, lost = self.connection.ray.put(job), []
        for _ in range(1 + MAX_RESTARTS):
            try:
                self.join()
                self.asked = [actor.train.remote(sent) for actor in self.actors]
                results = agent.train_on_batch(batch, scheduled)
                self.connection.collect(self.asked)  # raises what they raised; the next update misses one that has died
                return results
            except GroupError:
                self.leave()
                lost = self.replace_lost()
                restore(agent, job)
        names = f"learner {', '.join(map(str, lost))} died" if lost else "none died"
        raise ClusterError(
            f"an update of {self.count} learners failed {1 + MAX_RESTARTS} times, and the last time {names}: see Ray's"
            " logs in /tmp/ray, and resume from the last checkpoint"
        )

    def join(self) -> None:
        """Make the group of all learners, unless there is one. Raises GroupError if one has died."""
        if self.agent.group is not None:
            return
        assert self.connection is not None
        own = own_place()
        self.asked = [actor.describe.remote() for actor in self.actors]
        places = self.connection.collect(self.asked)
        if None in places:
            raise GroupError("a learner has died")
        devices, backend = assign_devices(self.agent.device, [own, *places])
        with socket.create_server((own.host, 0)) as listener:
            endpoint = own.host, listener.getsockname()[1]
            self.asked = [
                actor.join.remote(rank, self.count, endpoint, backend, device)
                for rank, (actor, device) in enumerate(zip(self.actors, devices[1:], strict=True), 1)
            ]
            self.agent.group = Group(0, self.count, endpoint, backend, own.host, listener)
        if not all(self.connection.collect(self.asked)):
            raise GroupError("a learner did not reach the others")

    def leave(self) -> None:
        group, self.agent.group = self.agent.group, None
        if group is not None:
            group.close()

    def replace_lost(self) -> list[int]:
        """Replace the learners that have died or do not answer; return which. Raises what a learner raised."""
        assert self.connection is not None
        ready = self.connection.ray.wait(self.asked, num_returns=len(self.asked), timeout=GRACE_PERIOD)[0]
        answers = [self.connection.collect([ref])[0] if ref in ready else None for ref in self.asked]
        lost = [i for i, answer in enumerate(answers) if answer is None]
        self.connection.end_actors(self.actors[i] for i in lost)
        for i in lost:
            self.restarts += 1
            self.actors[i] = self.start_actor()
        for i in lost:
            self.connection.place(self.actors[i])
        return [i + 1 for i in lost]

    def close(self) -> None:
        """End the other learners."""
        self.leave()
        connection, self.connection, self.asked = self.connection, None, []
        if connection is not None:
            connection.end_actors(self.actors)
            self.actors = []
            connection.close()


def assign_devices(own: torch.device, places: Sequence[Place]) -> tuple[list[str], str]:
    """Return the device of each learner, of which the first has its `own`, and the backend of their sums.

    The learners of a machine take its GPUs in turn, and share them if there are fewer.
    """
    if own.type != "cuda":
        return ["cpu"] * len(places), "gloo"
    taken: Counter[str] = Counter()
    devices = []
    for host, gpus in places:
        first = (own.index or 0) if host == places[0].host else 0
        devices.append(f"cuda:{(first + taken[host]) % gpus}" if gpus else "cpu")
        taken[host] += 1
    alone = all(taken[host] <= gpus for host, gpus in places)
    return devices, "nccl" if alone and dist.is_nccl_available() else "gloo"


def optimizer_state(agent: Any) -> dict[str, Any]:
    """Return the state of an agent's optimizer, with copies of its tensors as arrays."""
    state = agent.optimizer.state_dict()
    statistics = {i: {name: as_array(x).copy() for name, x in each.items()} for i, each in state["state"].items()}
    return state | {"state": statistics}


def restore(agent: Any, job: Job) -> None:
    """Give an agent the weights, the optimizer's statistics and the generator's state that an update begins with."""
    agent.net.load_state_dict({name: torch.from_numpy(x.copy()) for name, x in job.weights.items()})
    statistics = {
        i: {name: torch.from_numpy(x.copy()) for name, x in each.items()} for i, each in job.optimizer["state"].items()
    }
    agent.optimizer.load_state_dict(job.optimizer | {"state": statistics})
    agent.rng.bit_generator.state = job.rng


def as_array(x: Tensor) -> np.ndarray:
    return x.cpu().contiguous().numpy()


def as_tensor(x: np.ndarray, device: torch.device) -> Tensor:
    """Return a tensor of an array of Ray's, which is shared by the processes of a machine and never written."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(x).to(device)
