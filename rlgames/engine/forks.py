"""`ForkGuard`: a copy of an environment that os.fork() made raises an exception where it would hang.

A forked process has its parent's memory, but none of its threads, and shares its pipes. An environment that lives in
the memory alone plays on there; one that has threads or processes of its own has a guard.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any
from weakref import WeakSet

from rlgames.errors import ForkedError

guards: WeakSet[ForkGuard] = WeakSet()  # all of this process


class ForkGuard:
    """Remembers the process that it was made in, and a `resource` whose destructor needs the threads of that one."""

    def __init__(self, resource: Any = None):
        self.pid, self.resource = os.getpid(), resource
        guards.add(self)

    @property
    def forked(self) -> bool:
        """True in a process that was forked since."""
        return os.getpid() != self.pid

    def check(self, envs: object) -> None:
        """Raise ForkedError in a process that was forked since; the message names `envs`."""
        if self.forked:
            raise ForkedError(
                f"{envs} was made before this process was forked, and its threads or processes belong to process "
                f"{self.pid}: make it after the fork"
            )


def keep_resources() -> None:
    """In a forked process: never destroy the resources, which would wait forever or abort the process."""
    for guard in guards:
        if guard.resource is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(guard.resource))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=keep_resources)
