"""`Copyable`: environments can be pickled and copied, by the call that makes them and their snapshot.

A copy continues bit for bit where the environment has a snapshot. Otherwise it is new, and has to be reset. It is an
environment of its own: it shares nothing with the original, and closing one does not close the other.
"""

from __future__ import annotations

from typing import Any, TypeVar

from gymnasium.error import ClosedEnvironmentError

T = TypeVar("T")


class Copyable:
    """Mixin of environments, with or without `snapshot` and `restore`; their arguments must be picklable."""

    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any):
        self = super().__new__(cls)
        self._arguments = args, kwargs
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return remake, (type(self), *self._arguments), copied_state(self)

    def __setstate__(self: Any, state: dict[str, Any]) -> None:
        self.spec = state["spec"]
        if state["snapshot"] is not None:
            self.restore(state["snapshot"])
            self._np_random_seed = state["np_random_seed"]
        if state["closed"]:
            self.close()


def remake(cls: type[T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
    return cls(*args, **kwargs)


def copied_state(env: Any) -> dict[str, Any]:
    """Return what a copy of an environment needs besides its arguments; the snapshot is None where there is none."""
    snapshot, closed = None, getattr(env, "closed", False)
    try:
        if hasattr(env, "snapshot") and not closed:
            snapshot = env.snapshot()
    except NotImplementedError:  # not with these arguments
        pass
    except ClosedEnvironmentError:
        closed = True
    return {"spec": env.spec, "snapshot": snapshot, "np_random_seed": env._np_random_seed, "closed": closed}
