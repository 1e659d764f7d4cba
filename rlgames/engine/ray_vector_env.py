"""`RayVectorEnv`: the environments of a game on the machines of a Ray cluster, as one VectorEnv.

Each actor, a process of the cluster, holds a batch of environments that the local engine steps, with all wrappers. A
step sends one array of actions to each actor, and gets one array of observations from each, through Ray's object store.
Results are put together in the order of the actors, and environment i is seeded with `seed + i`, so trajectories are
those of the local engine, whatever the number of actors.

An actor that dies, alone or with its machine, is replaced. Its environments go back to the last snapshot that this
process holds or, without one, begin new episodes; `info["_replaced"]` marks them. For them the step was no transition:
reward 0, neither terminated nor truncated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlgames.engine.array_pool import ArrayPool
from rlgames.engine.forks import ForkGuard
from rlgames.engine.ray_cluster import PLACING, ClusterError, Connection, connect, import_ray
from rlgames.engine.sending import SendRecv, StepResults
from rlgames.engine.validation import check_actions, check_count, check_reset, check_spaces, is_integer
from rlgames.errors import InvalidValueError, MissingPackageError, UsageError
from rlgames.imports import IMPORTED_MODULES, import_registering

MAX_RESTARTS = 3  # of an actor between two steps: then the fault is its own
SNAPSHOT_EVERY = 1000  # steps


# ---- on a machine of the cluster ----


class EnvActor:
    """Holds a batch of environments in a process of the cluster."""

    envs: Any
    obs: Any = None  # last observations

    def make(self, make: Callable[[int], VectorEnv], num_envs: int, modules: str) -> Description | Failure:
        """Make the environments and describe them, or return an exception that a user can fix, which Ray would wrap."""
        try:
            for module in filter(None, modules.split(",")):
                import_registering(module)
            self.envs = make(num_envs)
        except (UsageError, ImportError, gym.error.Error) as error:
            return Failure(import_ray().util.get_node_ip_address(), error)
        envs = self.envs
        spaces = envs.single_observation_space, envs.single_action_space
        return Description(*spaces, dict(envs.metadata), getattr(envs, "frame_stack", 1))

    def pid(self) -> int:
        """Return the process, which an actor that has died does not."""
        return os.getpid()

    def reset(
        self, seeds: list[int | None], some: bool, options: dict[str, Any] | None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Reset the environments in the mask of `options`, or all; if not `some`, return what they showed last."""
        if not some:
            return self.obs, {}
        self.obs, info = self.envs.reset(seed=seeds, options=options)
        return self.obs, info

    def step(self, actions: np.ndarray, keep: bool) -> tuple[StepResults, Any]:
        """Return the results of a step and, to `keep`, a snapshot after it."""
        results = self.envs.step(actions)
        self.obs = results[0]
        return results, self.snapshot() if keep else None

    def snapshot(self) -> dict[str, Any] | None:
        """Return the snapshot of the environments and what they showed last; None if they have none."""
        try:
            return {"envs": self.envs.snapshot(), "obs": self.obs} if hasattr(self.envs, "snapshot") else None
        except NotImplementedError:
            return None

    def restore(self, state: dict[str, Any], over: np.ndarray | None = None) -> np.ndarray:
        """Go back to a snapshot, reset those that were `over` then, and return observations."""
        self.envs.restore(state["envs"])
        self.obs = state["obs"]
        if over is not None and over.any():
            self.obs = self.envs.reset(options={"reset_mask": over})[0]
        return self.obs


class Failure(NamedTuple):
    """Error with which an actor could not make its environments."""

    node: str  # its address
    error: Exception


class Description(NamedTuple):
    """Spaces and metadata of the environments of one actor."""

    observation: Any  # spaces of one environment
    action: Any
    metadata: dict[str, Any]
    frame_stack: int


# ---- in the driver ----


@dataclass
class Held:
    """Environments of one actor as they were after an earlier step, for the case that it dies."""

    state: dict[str, Any]  # the snapshot
    returns: np.ndarray  # of the episodes that were running
    lengths: np.ndarray
    over: np.ndarray


class RayVectorEnv(SendRecv, VectorEnv):
    """`num_envs` environments in `actors` processes of a cluster, each with a batch that `make(n)` makes.

    `address` is the cluster's, see `rlgames.engine.ray_cluster.connect`; None is RAY_ADDRESS or a local cluster, which
    ends with this. `make` is pickled. An actor takes `threads` cores. Observations, information and autoreset modes are
    those of the local engine; every returned array is the caller's. `send` and `recv` are the halves of a step.

    `restarts` counts the actors that were replaced. Every `snapshot_every` steps (None: only in `snapshot`) this
    process takes a snapshot of all environments. In a step in which actors were replaced, `info["_replaced"]` is the
    mask of their environments, bool (num_envs,), and `info["replaced"]` has "return" and "length" of their episodes so
    far, as at the snapshot, 0 for a new one.

    Raises InvalidValueError for more actors than environments, MissingPackageError without Ray or, with the node's
    address, for a package that a node has not, ClusterError within ten seconds when the cluster was closed, or when no
    node has a core free, and what an environment raised.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        make: Callable[[int], VectorEnv],
        num_envs: int = 1,
        *,
        actors: int = 1,
        address: str | None = None,
        threads: int = 1,
        snapshot_every: int | None = SNAPSHOT_EVERY,
    ):
        for name, count in (("num_envs", num_envs), ("actors", actors), ("threads", threads)):
            check_count(name, count)
        check_count("snapshot_every", snapshot_every, or_none=True)
        if actors > num_envs:
            raise InvalidValueError(f"expected at most as many actors as environments, {num_envs}, got {actors}")
        self._make, self._threads, self.snapshot_every = make, threads, snapshot_every
        self.num_envs, self.render_mode, self.restarts = int(num_envs), None, 0
        self._slices = [slice(*ends) for ends in pairwise(num_envs * i // actors for i in range(actors + 1))]
        self._actors: list[Any] = []
        self._fork_guard = ForkGuard()
        self._connection: Connection | None = connect(address)
        try:
            check_nodes(self._connection)
            starting = [self._start_actor(i) for i in range(actors)]
            described = [self._describe(i, made) for i, made in enumerate(starting)]
            if (first := described[0]) is None or None in described:
                raise ClusterError("an actor died before it had made its environments: see Ray's logs in /tmp/ray")
        except BaseException:
            self.close()
            raise
        self.metadata = first.metadata | {"render_modes": []}
        self.autoreset_mode = AutoresetMode(self.metadata["autoreset_mode"])
        self.frame_stack = first.frame_stack
        self.single_observation_space, actions = check_spaces(first.observation, first.action)
        self.single_action_space, self._num_actions = actions, int(actions.n)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        space = self.single_observation_space
        self._observations = ArrayPool((self.num_envs, *space.shape), space.dtype)
        self._started, self._seed = False, None
        self._steps = 0  # since the last snapshot
        self._over = np.zeros(self.num_envs, np.bool_)  # ended and not reset yet
        self._returns, self._lengths = np.zeros(self.num_envs), np.zeros(self.num_envs, np.int64)  # of running episodes
        self._replaced = np.zeros(self.num_envs, np.bool_)  # and not yet told by the information of a step
        self._held: list[Held | None] = [None for _ in self._slices]

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        self._check_open()
        self._check_no_step("reset")
        seeds, mask = check_reset(seed, options, self.num_envs, self._started)
        if is_integer(seed):
            super().reset(seed=seeds[0])
            self._seed = seeds[0]
        self._started = False  # until all of them are reset

        def ask(i: int) -> Any:
            part = self._slices[i]
            own = options
            if options and options.get("reset_mask") is not None:
                own = options | {"reset_mask": mask[part].copy()}
            return self._actors[i].reset.remote(seeds[part], mask[part].any(), own)

        results = self._collect(map(ask, range(len(self._actors))))
        for i in [i for i, result in enumerate(results) if result is None]:
            self._restart(i)
            results[i] = self._answer(ask(i), i)
        self._started = True
        self._over[mask], self._returns[mask], self._lengths[mask] = False, 0.0, 0
        if mask.all():
            self._held[:], self._steps = [None] * len(self._held), 0
            self._replaced[:] = False
        obs, infos = zip(*results, strict=True)
        return self._concatenate(obs), self._merge(infos)

    def _start_step(self, actions: Any) -> Callable[[], StepResults]:
        self._check_open()
        if not self._started:
            raise ResetNeeded(f"step() of {self} before the first reset()")
        checked = check_actions(actions, self.num_envs, self._num_actions)
        if self.autoreset_mode is AutoresetMode.DISABLED and self._over.any():
            raise ResetNeeded(f"an episode of {self} is over and was not reset: call reset() first")
        self._started = False  # until all of them are stepped
        keep = self.snapshot_every is not None and self._steps + 1 >= self.snapshot_every
        sent = [actor.step.remote(checked[part], keep) for actor, part in zip(self._actors, self._slices, strict=True)]
        return lambda: self._receive(sent, keep)

    def _receive(self, sent: list[Any], keep: bool) -> StepResults:
        answers = self._collect(sent)
        results = [answer and answer[0] for answer in answers]
        dead = [i for i, result in enumerate(results) if result is None]
        was_over = self._over
        for i in dead:
            n = self._size(i)
            results[i] = (self._restart(i), np.zeros(n), np.zeros(n, np.bool_), np.zeros(n, np.bool_), {})
        obs, rewards, terminated, truncated, infos = zip(*results, strict=True)
        obs, info = self._concatenate(obs), self._merge(infos)
        rewards, terminated, truncated = (np.concatenate(each) for each in (rewards, terminated, truncated))
        done = terminated | truncated
        self._started, self._over = True, done & (self.autoreset_mode is not AutoresetMode.SAME_STEP)
        self._count(rewards, done, was_over, dead)
        self._steps = 0 if keep else self._steps + 1
        if keep:
            self._hold([answer and answer[1] for answer in answers])
        if self._replaced.any():
            replaced, self._replaced = self._replaced, np.zeros(self.num_envs, np.bool_)
            episode = {
                "return": np.where(replaced, self._returns, 0.0),
                "_return": replaced.copy(),
                "length": np.where(replaced, self._lengths, 0),
                "_length": replaced.copy(),
            }
            info |= {"replaced": episode, "_replaced": replaced}
        return obs, rewards, terminated, truncated, info

    def _count(self, rewards: np.ndarray, done: np.ndarray, was_over: np.ndarray, dead: list[int]) -> None:
        """Add a step to the running episodes; `_restart` has set those of actors that are `dead`."""
        stepped = ~was_over
        for i in dead:
            stepped[self._slices[i]] = False
        self._returns += np.where(stepped, rewards, 0.0)
        self._lengths += stepped
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            self._returns[done], self._lengths[done] = 0.0, 0
        elif self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self._returns[was_over], self._lengths[was_over] = 0.0, 0

    def snapshot(self) -> dict[str, Any]:
        """Return all that the next steps depend on; `restore` continues from it bit for bit, with as many actors.

        Raises NotImplementedError if the environments have no snapshot.
        """
        self._check_open()
        self._check_no_step("snapshot")
        self._revive()
        states = self._collect(actor.snapshot.remote() for actor in self._actors)
        if None in states:
            raise NotImplementedError(f"the environments of {self} have no snapshot()")
        self._hold(states)
        arrays = {name: getattr(self, f"_{name}").copy() for name in ("over", "returns", "lengths", "replaced")}
        return {"actors": states, "started": self._started, "np_random": self.np_random.bit_generator.state} | arrays

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `snapshot()`. Raises ValueError if it is of another number of environments or actors."""
        self._check_open()
        self._check_no_step("restore")
        found = len(state["actors"]), len(state["over"])
        if found != (len(self._actors), self.num_envs):
            raise InvalidValueError(
                f"this snapshot is of {found[1]} environments in {found[0]} actors, expected {self.num_envs} in "
                f"{len(self._actors)}"
            )
        self._revive()
        refs = [actor.restore.remote(each) for actor, each in zip(self._actors, state["actors"], strict=True)]
        for i, ref in enumerate(refs):
            self._answer(ref, i)
        for name in ("over", "returns", "lengths", "replaced"):
            setattr(self, f"_{name}", state[name].copy())
        self._started = state["started"]
        self.np_random.bit_generator.state = state["np_random"]
        self._hold(state["actors"])
        self._steps = 0

    def close_extras(self, **kwargs: Any) -> None:
        self._finish_step = None
        connection, self._connection = self._connection, None
        if connection is None or self._fork_guard.forked:
            return
        connection.end_actors(self._actors)
        self._actors = []
        connection.close()

    # ---- actors ----

    def _size(self, i: int) -> int:
        return self._slices[i].stop - self._slices[i].start

    def _start_actor(self, i: int) -> Any:
        """Start an actor, which makes its environments as soon as it runs; return the answer to come."""
        actor = self._open().start_actor(EnvActor, cores=self._threads, total=len(self._slices))
        self._actors[i : i + 1] = [actor]
        return actor.make.remote(self._make, self._size(i), os.environ.get(IMPORTED_MODULES, ""))

    def _describe(self, i: int, made: Any) -> Description | None:
        """Return the description that a new actor gives, None if it has died. Raises what a user can fix."""
        if not self._open().place(self._actors[i]):
            return None
        (answer,) = self._collect([made])
        if isinstance(answer, Failure):
            if isinstance(answer.error, UsageError) and not isinstance(answer.error, ImportError):
                raise answer.error
            raise MissingPackageError(f"node {answer.node} of the cluster: {answer.error}") from answer.error
        return answer

    def _collect(self, asked: Iterable[Any]) -> list[Any]:
        return self._open().collect(asked)

    def _answer(self, ref: Any, i: int) -> Any:
        """Return the answer of one actor. Raises ClusterError if it has died again."""
        (answer,) = self._collect([ref])
        if answer is None:
            raise ClusterError(f"actor {i} of {self} died again right after it was replaced")
        return answer

    def _revive(self) -> None:
        """Replace the actors that have died."""
        answers = self._collect(actor.pid.remote() for actor in self._actors)
        for i in [i for i, answer in enumerate(answers) if answer is None]:
            self._restart(i)

    def _restart(self, i: int) -> np.ndarray:
        """Replace an actor, and continue from the snapshot that is held, or with new episodes; return observations."""
        part = self._slices[i]
        for _ in range(MAX_RESTARTS):
            self.restarts += 1
            if self._describe(i, self._start_actor(i)) is None:
                continue
            held = self._held[i]
            (answer,) = self._collect([self._ask_to_continue(i, held)])
            if answer is None:
                continue
            self._returns[part] = 0.0 if held is None else np.where(held.over, 0.0, held.returns)
            self._lengths[part] = 0 if held is None else np.where(held.over, 0, held.lengths)
            self._over[part], self._replaced[part] = False, True
            return answer[0] if held is None else answer
        raise ClusterError(f"actor {i} of {self} died {MAX_RESTARTS} times in a row: see Ray's logs in /tmp/ray")

    def _ask_to_continue(self, i: int, held: Held | None) -> Any:
        if held is not None:
            return self._actors[i].restore.remote(held.state, held.over)
        seeds: list[int | None] = [None] * self._size(i)
        if self._seed is not None:
            rng = np.random.default_rng([self._seed, self.restarts, i])
            seeds = rng.integers(2**30, size=self._size(i)).tolist()
        return self._actors[i].reset.remote(seeds, True, None)

    def _hold(self, states: list[dict[str, Any] | None]) -> None:
        """Hold snapshots of the actors, None of those that have none."""
        for i, (state, part) in enumerate(zip(states, self._slices, strict=True)):
            if state is not None:
                self._held[i] = Held(state, *(x[part].copy() for x in (self._returns, self._lengths, self._over)))

    # ---- results ----

    def _concatenate(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Return observations of all environments in an array that is the caller's."""
        return np.concatenate(parts, out=self._observations.next())

    def _merge(self, infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return merge_infos(infos, [self._size(i) for i in range(len(self._slices))])

    def _open(self) -> Connection:
        if self._connection is None:
            raise ClosedEnvironmentError(f"{self} is closed: make another")
        return self._connection

    def _check_open(self) -> None:
        """Raise an error after `close` and after a fork, and where Ray was shut down, which would start another."""
        self._fork_guard.check(self)
        if not self._open().ray.is_initialized():
            self._open().check()


def merge_infos(infos: Sequence[dict[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """Return the information of batches of these `sizes` as that of one batch: zero or None where a key is missing."""
    merged: dict[str, Any] = {}
    for key in dict.fromkeys(key for info in infos for key in info):
        known = next(info[key] for info in infos if key in info)
        if isinstance(known, dict):
            merged[key] = merge_infos([info.get(key, {}) for info in infos], sizes)
        elif isinstance(known, np.ndarray):
            parts = [info[key] if key in info else blank(known, n) for info, n in zip(infos, sizes, strict=True)]
            merged[key] = np.concatenate(parts)
        else:
            merged[key] = known
    return merged


def blank(known: np.ndarray, n: int) -> np.ndarray:
    shape = (n, *known.shape[1:])
    return np.full(shape, None, object) if known.dtype == object else np.zeros(shape, known.dtype)


def check_nodes(connection: Connection) -> None:
    """Raise MissingPackageError for a node without rlgames, or with another version than that of this process."""
    if connection.local:
        return
    ray = connection.ray

    def version() -> str:  # within a function, so that it is pickled by value: the node may have no rlgames
        try:
            return f"rlgames {import_module('rlgames').__version__}"
        except ImportError as error:
            return f"no package rlgames ({error})"

    own = version()
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    asked = {
        address: ray.remote(version).options(num_cpus=0, scheduling_strategy=strategy(node, soft=False)).remote()
        for node, address in nodes.items()
    }
    for address, ref in asked.items():
        found = ray.get(ref, timeout=PLACING)
        if found != own:
            raise MissingPackageError(
                f"node {address} of the cluster has {found}, this process {own}: pip install the same there"
            )
