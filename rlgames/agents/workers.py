"""Processes that run one function in parallel and report to the process that started them.

A dead worker is detected by the end of its pipe, and there are no shared locks that it could hold. None outlives the
parent by more than some seconds, not even within a step that never returns. Processes are spawned: the function and its
arguments must be importable and picklable, and a script that starts workers needs `if __name__ == "__main__":`.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from time import monotonic
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import Tensor

from rlgames.engine.forks import ForkGuard
from rlgames.engine.parent import end_with_parent

POLL_INTERVAL = 1.0  # seconds between checks of the exit codes: children of a dead process may hold its pipe open
GRACE_PERIOD = 5.0  # seconds in which a worker must stop when asked to; then it is killed
SIGNALS = {signal.SIGINT, signal.SIGTERM}  # that a terminal and a batch system send to all processes at once
STARTED, REPORT, RESULT, FAILURE = "started", "report", "result", "failure"  # kinds of messages


class Workers:
    """A process for each of `arguments`, which calls `function(*arguments, report, should_continue)`.

    In the process, `report(x)` sends x; the function returns its last x soon after `should_continue()` is False. Call
    `close` in the end.
    """

    def __init__(self, function: Callable[..., Any], arguments: Sequence[tuple]):
        self.fork_guard = ForkGuard()
        self.stop = torch.zeros(1, dtype=torch.bool).share_memory_()
        self.processes: dict[Connection, Any] = {}  # by the pipe that they write to
        self.running: set[Connection] = set()  # pipes of processes that have not returned
        self.started: set[Connection] = set()
        self.results: list[Any] = []
        atexit.register(self.close)  # a generator that is never closed must not keep the interpreter from ending
        try:
            for i, each in enumerate(arguments):
                self.start(i, function, each)
        except BaseException:
            self.close()
            raise

    def start(self, i: int, function: Callable[..., Any], arguments: tuple) -> None:
        context = mp.get_context("spawn")
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(
            target=serve, name=f"worker {i}", args=(function, arguments, writer, self.stop, os.getpid())
        )
        self.processes[reader] = process  # before it starts: an interrupt may come at any moment
        with blocked_signals():  # see `serve`
            try:
                process.start()
                self.running.add(reader)
            finally:
                writer.close()  # the worker holds the only one, so that its death ends the pipe

    def reports(self) -> Iterator[Any]:
        """Yield the reports as they come, until all functions have returned.

        Raises RuntimeError as soon as one fails: with its traceback if it raised, with its exit code if it died.
        """
        while self.running:
            wait([*self.running, *(self.processes[pipe].sentinel for pipe in self.running)], POLL_INTERVAL)
            for pipe in list(self.running):
                dead = self.processes[pipe].exitcode is not None  # checked first: what it sent before counts
                if pipe.poll():
                    kind, content = receive(pipe)
                elif dead:
                    kind, content = None, None
                else:
                    continue
                if kind == REPORT:
                    yield content
                elif kind == STARTED:
                    self.started.add(pipe)
                elif kind == RESULT:
                    self.running.remove(pipe)
                    self.results.append(content)
                else:
                    self.running.remove(pipe)
                    raise RuntimeError(
                        f"{self.processes[pipe].name} failed:\n{content}" if kind else self.describe_death(pipe)
                    )

    def describe_death(self, pipe: Connection) -> str:
        process = self.processes[pipe]
        process.join(GRACE_PERIOD)
        code = process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
        if pipe in self.started:
            return f"{process.name} {how} while it was running"
        return f'{process.name} {how} before it was running: does the script have if __name__ == "__main__"?'

    def close(self) -> list[Any]:
        """Ask all to stop, wait, and kill those that do not; return their results, and reports that were not read.

        In a process that was forked from this one, do nothing: they are not its own.
        """
        if self.fork_guard.forked:
            return []
        self.stop[0] = True
        for pipe in self.running - self.started:
            if not pipe.poll():
                self.processes[pipe].kill()  # still importing: it has nothing to report or to clean up
        deadline = monotonic() + GRACE_PERIOD
        while self.running and (left := deadline - monotonic()) > 0:  # read on: a worker may be blocked on a full pipe
            wait(list(self.running), left)
            for pipe in [pipe for pipe in self.running if pipe.poll()]:
                kind, content = receive(pipe)
                if kind in (REPORT, RESULT):
                    self.results.append(content)
                if kind not in (REPORT, STARTED):
                    self.running.remove(pipe)
        self.running.clear()
        for pipe, process in self.processes.items():
            if process.pid is not None:  # None: interrupted before it started
                process.join(max(0.1, deadline - monotonic()))
                if process.exitcode is None:
                    process.kill()
                    process.join()
            pipe.close()
        self.processes.clear()
        atexit.unregister(self.close)
        results, self.results = self.results, []
        return results


def receive(pipe: Connection) -> tuple[str | None, Any]:
    """Return the next message, or (None, None) at the end of the pipe."""
    try:
        return pipe.recv()
    except (EOFError, OSError):  # OSError: in the middle of a message
        return None, None


@contextmanager
def blocked_signals() -> Iterator[None]:
    """Let SIGNALS wait, in this thread and in processes that it starts, which inherit it; on Windows do nothing."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # which unblocks signals when it is first started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(function: Callable[..., Any], arguments: tuple, pipe: Connection, stop: Tensor, parent: int) -> None:
    """Run in a worker's process.

    Ctrl-C, and the SIGTERM that a batch system sends to all processes, are handled by the parent. The process starts
    with both blocked until it gets here.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # also by processes that an environment starts
    signal.signal(signal.SIGTERM, lambda *_: None)  # not by those: an environment may want to terminate them
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    end_with_parent()

    def report(content: Any) -> None:
        pipe.send((REPORT, content))

    def should_continue() -> bool:
        return not stop[0] and os.getppid() == parent

    try:
        pipe.send((STARTED, None))
        message = RESULT, function(*arguments, report, should_continue)
    except Exception:  # noqa: BLE001  raised in the parent
        message = FAILURE, traceback.format_exc()
    with suppress(BrokenPipeError):  # the parent is gone
        pipe.send(message)
