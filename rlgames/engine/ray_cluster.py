"""`connect`: this process and a cluster of Ray, one that is there or a local one that ends with its last user.

A local cluster listens on the loopback interface alone and has no dashboard. One that is there is named by an address,
"host:port" for a process on one of its machines, "ray://host:port" for one elsewhere (Ray's client), or by the
environment variable RAY_ADDRESS, which is Ray's own.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from rlgames.engine.vector_env import CORES
from rlgames.errors import FailedError, InvalidValueError, MissingPackageError, UsageError, brief

ANSWER = 10.0  # seconds that a cluster may take to answer
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # environment variable; 0: Ray listens on 127.0.0.1 alone
SETTINGS = {  # environment variables of Ray, for what is not set yet
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its new default: leave CUDA_VISIBLE_DEVICES alone
    "RAY_agent_register_timeout_ms": "120000",  # a busy machine may need more than its 30 seconds
}
POLL_INTERVAL = 2.0  # seconds between two looks at a cluster that has not answered yet
PLACING = 120.0  # seconds that a new actor may wait for a free core
STARTS = 4  # tries to start a local cluster: Ray gives up after 30 seconds, in which a busy machine may not be ready


class ClusterError(FailedError, ConnectionError):
    """A cluster that was closed, or has no place left."""


class UnreachableError(UsageError, ConnectionError):
    """An address at which no cluster answers."""


def import_ray() -> Any:
    """Return Ray's module. Raises MissingPackageError, in one line, without it."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray  # noqa: PLC0415  optional  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise MissingPackageError(
            'a cluster needs Ray, which is not installed: pip install "rlgames[ray]"', name="ray"
        ) from error
    return ray


class Connection:
    """One user's hold on the cluster of this process; `connect` makes it, `close` or `with` ends it."""

    def __init__(self, ray: Any, address: str | None, local: bool):
        self.ray = ray
        self.address = address  # as it was given; None: a local cluster
        self.local = local  # rlgames started it
        self.endpoint = endpoint_of(ray, address)

    def check(self) -> None:
        """Raise ClusterError if the cluster was closed, or does not answer within five seconds."""
        if not self.ray.is_initialized() or not answers(self.endpoint):
            raise ClusterError(f"the Ray cluster at {self.address or 'this machine'} was closed: start it, and resume")

    def start_actor(self, actor_class: type, *arguments: Any, cores: int, total: int) -> Any:
        """Start an actor, one of so many in `total`, each of so many cores; see `place`.

        A local cluster is this machine, which takes as many as are asked for. Raises ClusterError if the cluster has
        too few cores, or was closed.
        """
        self.check()  # Ray would wait for a minute, and then end this process
        cores = 0 if self.local else cores
        if cores * total > (available := self.ray.cluster_resources().get("CPU", 0)):
            raise ClusterError(
                f"{total} actors take {cores * total} cores, the cluster has {available:g}: add nodes, or take fewer"
            )
        settings = {"num_cpus": cores, "scheduling_strategy": "SPREAD", "max_restarts": 0, "max_task_retries": 0}
        return self.ray.remote(actor_class).options(**settings).remote(*arguments)

    def place(self, actor: Any) -> bool:
        """Wait until an actor runs, and return True; False if it has died. Raises ClusterError if it finds no core."""
        ready, deadline = [actor.__ray_ready__.remote()], monotonic() + PLACING
        while not self.ray.wait(ready, timeout=POLL_INTERVAL)[0]:
            self.check()
            if monotonic() > deadline:
                raise ClusterError(f"no node of the cluster had a core free for an actor within {PLACING:.0f} s")
        return self.collect(ready)[0] is not None

    def collect(self, asked: Iterable[Any]) -> list[Any]:
        """Return the answers of actors, None of those that have died, once all are there.

        Raises ClusterError soon after the cluster was closed, and what an actor raised.
        """
        refs = waiting = list(asked)
        exceptions, answers = self.ray.exceptions, []
        try:
            while waiting:
                waiting = self.ray.wait(waiting, num_returns=len(waiting), timeout=POLL_INTERVAL)[1]
                if waiting:
                    self.check()
            for ref in refs:
                try:
                    answers.append(self.ray.get(ref))
                except exceptions.RayActorError:
                    answers.append(None)
        except exceptions.RaySystemError as error:
            raise ClusterError(f"the Ray cluster was closed: {' '.join(str(error).split())[:120]}") from error
        return answers

    def end_actors(self, actors: Iterable[Any]) -> None:
        """Kill the processes of actors."""
        for actor in actors:
            with suppress(Exception):  # the cluster may be gone
                self.ray.kill(actor)

    def close(self) -> None:
        """Give the cluster up. The last to do so ends a local cluster, or this process's connection to another."""
        with _lock:
            if self in _connections:
                _connections.remove(self)
                if not _connections and self.ray.is_initialized() and _ours[0]:
                    self.ray.shutdown()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_connections: list[Connection] = []  # open ones of this process
_ours = [False]  # whether `connect` connected this process, and not another part of the program
_lock = threading.RLock()


def connect(address: str | None = None) -> Connection:
    """Return a connection to the cluster at `address`, or to a local one, which is started; several share it.

    None takes what this process is connected to already, else RAY_ADDRESS. What another part of the program connected
    to by `ray.init` is used, and never shut down.

    Raises MissingPackageError without Ray, UnreachableError within ten seconds if nothing answers at `address`,
    InvalidValueError for what is no address, or while this process is connected elsewhere.
    """
    with _lock:
        address = check_address(address)
        ray = import_ray()
        if not ray.is_initialized():
            address = address or check_address(os.environ.get("RAY_ADDRESS") or None)
            start(ray, address)
            _ours[0], local = True, address is None
        elif _connections:
            local, connected = _connections[0].local, _connections[0].address
            if address not in (None, connected):
                raise InvalidValueError(
                    f"this process is connected to the Ray cluster at {connected or 'this machine'}: close what uses it"
                    f" before connecting to {address}"
                )
            address = connected
        else:
            _ours[0], local = False, False
        _connections.append(connection := Connection(ray, address, local))
        return connection


def check_address(address: Any) -> str | None:
    """Return an address that may be one of a cluster."""
    if address in (None, "auto"):
        return None if address is None else "auto"
    if not isinstance(address, str) or parse_endpoint(address) is None:
        raise InvalidValueError(
            f"expected the address of a Ray cluster, 'host:6379', 'ray://host:10001' or 'auto', got {brief(address)}"
        )
    return address


def parse_endpoint(address: str | None) -> tuple[str, int] | None:
    """Return host and port of an address; None if it has not both."""
    with suppress(ValueError):  # a port that is no number
        parts = urlsplit(str(address) if "://" in str(address) else f"gcs://{address}")
        if parts.hostname and parts.port and parts.scheme in ("gcs", "ray"):
            return parts.hostname, parts.port
    return None


def endpoint_of(ray: Any, address: str | None) -> tuple[str, int] | None:
    """Return host and port by which the cluster of this process is known to answer."""
    if address is not None and address.startswith("ray://"):
        return parse_endpoint(address)
    return parse_endpoint(ray.get_runtime_context().gcs_address)


def answers(endpoint: tuple[str, int] | None) -> bool:
    """Return whether a port takes connections."""
    if endpoint is None:
        return True
    try:
        socket.create_connection(endpoint, timeout=ANSWER / 2).close()
    except OSError:
        return False
    return True


def start(ray: Any, address: str | None) -> None:
    """Join the cluster at `address`, or start one of this machine's cores."""
    remedy = "start a cluster by `ray start --head`, or leave the address out for a local one"
    if address not in (None, "auto") and not answers(parse_endpoint(address)):
        raise UnreachableError(f"no Ray cluster answers at {address}: {remedy}")
    with kept_sigterm():
        if address is None:
            start_local(ray)
            return
        try:
            ray.init(address, logging_level="error", log_to_driver=False)
        except (ConnectionError, RuntimeError, TimeoutError) as error:
            ray.shutdown()
            reason = " ".join(str(error).split())[:120]
            raise UnreachableError(f"no Ray cluster answers at {address} ({reason}): {remedy}") from error
        except ImportError as error:  # of gRPC
            ray.shutdown()
            raise MissingPackageError(f'{address} needs Ray\'s client: pip install "ray[client]" ({error})') from error


def start_local(ray: Any) -> None:
    """Start a cluster on the loopback interface; on a busy machine a first try may be too slow for Ray."""
    for left in reversed(range(STARTS)):
        try:
            with loopback_alone(ray):
                ray.init("local", num_cpus=CORES, include_dashboard=False, logging_level="error", log_to_driver=False)
            return
        except Exception as error:  # Ray raises plain ones
            end_started(error)
            ray.shutdown()
            if not left:
                raise


def end_started(error: Exception) -> None:
    """End the processes of a node whose start raised `error`; Ray leaves them until this process ends."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        node: Any = frame.f_locals.get("self")
        if hasattr(node, "kill_all_processes"):
            with suppress(Exception):  # some have ended
                node.kill_all_processes(check_alive=False, allow_graceful=False)


@contextmanager
def loopback_alone(ray: Any) -> Iterator[None]:
    """Have Ray listen on 127.0.0.1, as it does on macOS; it reads this from a variable when it is imported."""
    constants, before = ray._private.ray_constants, os.environ.get(LOOPBACK)
    enabled = constants.ENABLE_RAY_CLUSTER
    constants.ENABLE_RAY_CLUSTER, os.environ[LOOPBACK] = False, "0"
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = enabled
        if before is None:
            del os.environ[LOOPBACK]
        else:
            os.environ[LOOPBACK] = before


@contextmanager
def kept_sigterm() -> Iterator[None]:
    """Keep the handler of SIGTERM, which Ray replaces: a run that is asked to end saves first."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
