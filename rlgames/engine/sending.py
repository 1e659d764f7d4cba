"""`SendRecv`: a step of a vector environment in two halves, so that an agent acts while environments step.

With two vector environments, one steps while the agent chooses the actions of the other:

    for t in range(n_steps):
        for envs in halves:
            obs, reward, terminated, truncated, info = envs.recv()
            envs.send(policy(obs))

The order is fixed, so results are those of `step`; the names are those of ale-py and EnvPool.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError

from rlgames.errors import ForkedError

StepResults = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]


class SendRecv:
    """Mixin of vector environments; a subclass fills in `_start_step`, and may have a faster `step`.

    Between `send` and `recv` a step is in flight. Until `recv`, every other call raises AlreadyPendingCallError, but
    for `close`, which waits for the step and drops its results.
    """

    _finish_step: Callable[[], StepResults] | None = None  # of the step in flight
    _sender = 0  # process that sent it

    def _start_step(self, actions: Any) -> Callable[[], StepResults]:
        """Start a step, and return the function that waits for it and returns its results."""
        raise NotImplementedError

    def send(self, actions: Any) -> None:
        """Start a step with `actions` (num_envs,), which are read during this call only.

        Raises as `step` does for invalid actions and a missing reset, and AlreadyPendingCallError before `recv`.
        """
        self._check_no_step("send")
        self._finish_step, self._sender = self._start_step(actions), os.getpid()

    def recv(self) -> StepResults:
        """Return the results of the step that `send` started, as `step` does.

        Raises NoAsyncCallError without a `send`, and what the step raised.
        """
        if self._finish_step is None:
            raise NoAsyncCallError(f"recv() of {self} without a step in flight: call send(actions) first", "recv")
        if self._sender != os.getpid():
            raise ForkedError(f"a step of {self} was sent before this process was forked: receive it in the parent")
        finish, self._finish_step = self._finish_step, None
        return finish()

    def step(self, actions: Any) -> StepResults:
        self.send(actions)
        return self.recv()

    def _check_no_step(self, call: str) -> None:
        """Raise AlreadyPendingCallError in a `call` for which a step in flight has to be received first."""
        if self._finish_step is not None:
            raise AlreadyPendingCallError(f"{call}() of {self} while a step is in flight: call recv() first", call)

    def _drop_step(self) -> None:
        """Wait for the step in flight, if there is one, and drop its results and its exception."""
        finish, self._finish_step = self._finish_step, None
        if finish is not None and self._sender == os.getpid():
            with suppress(Exception):  # nobody waits for it any more
                finish()
