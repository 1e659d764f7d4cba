"""Processes that do one job side by side and report to the process that started them.

Whatever becomes of one of them, nobody waits for it in vain: each has a pipe of its own, whose end is seen when it
dies, and there is no lock that it could take with it. None outlives the parent: between two steps of its job a worker
looks whether the parent still lives. Started by spawn: the job and its arguments must be importable and picklable, and
a script that starts workers needs `if __name__ == "__main__":`.
"""

from __future__ import annotations

import atexit
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from time import monotonic
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import Tensor

PATIENCE = 1.0  # seconds after which the processes are looked at, should a dead one's own children hold its pipe open
GRACE = 5.0  # seconds in which a worker must stop when asked to; then it is killed
BEGUN, REPORT, RESULT, FAILURE = "begun", "report", "result", "failure"  # what a message is


class Workers:
    """A process for each of `arguments`, which calls `job(*those, report, going_on)`.

    In the process, `report(x)` sends x, and the job returns its last x soon after `going_on()` is False. To be closed.
    """

    def __init__(self, job: Callable[..., Any], arguments: Sequence[tuple]):
        self.stop = torch.zeros(1, dtype=torch.bool).share_memory_()
        self.processes: dict[Connection, Any] = {}  # by the pipe that they write to
        self.working: set[Connection] = set()  # the pipes from which there is more to come
        self.begun: set[Connection] = set()
        self.results: list[Any] = []
        atexit.register(self.close)  # a generator that is never closed must not keep the interpreter from ending
        try:
            for i, each in enumerate(arguments):
                self.start(i, job, each)
        except BaseException:
            self.close()
            raise

    def start(self, i: int, job: Callable[..., Any], arguments: tuple) -> None:
        context = mp.get_context("spawn")
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(
            target=serve, name=f"worker {i}", args=(job, arguments, writer, self.stop, os.getpid())
        )
        self.processes[reader] = process  # before it starts: an interrupt may come at any moment
        resource_tracker.ensure_running()  # which unblocks signals when it is first started
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # inherited, see `serve`
        try:
            process.start()
            self.working.add(reader)
        finally:
            writer.close()  # the worker holds the only one, so that its death ends the pipe
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def reports(self) -> Iterator[Any]:
        """What the jobs report, as it comes, until all have returned.

        Raises RuntimeError as soon as one fails: with its traceback if it raised, with its exit code if it died.
        """
        while self.working:
            wait([*self.working, *(self.processes[pipe].sentinel for pipe in self.working)], PATIENCE)
            for pipe in list(self.working):
                dead = self.processes[pipe].exitcode is not None  # asked first: what it sent before counts
                if pipe.poll():
                    kind, what = received(pipe)
                elif dead:
                    kind, what = None, None
                else:
                    continue
                if kind == REPORT:
                    yield what
                elif kind == BEGUN:
                    self.begun.add(pipe)
                elif kind == RESULT:
                    self.working.remove(pipe)
                    self.results.append(what)
                else:
                    self.working.remove(pipe)
                    raise RuntimeError(f"{self.processes[pipe].name} failed:\n{what}" if kind else self.obituary(pipe))

    def obituary(self, pipe: Connection) -> str:
        process = self.processes[pipe]
        process.join(GRACE)
        code = process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
        if pipe in self.begun:
            return f"{process.name} {how} in the middle of its work"
        return f'{process.name} {how} before its work began: does the script guard it by if __name__ == "__main__"?'

    def close(self) -> list[Any]:
        """Ask all to stop, wait, and kill who does not; returns what they returned, and reports that were not read."""
        self.stop[0] = True
        for pipe in self.working - self.begun:
            if not pipe.poll():
                self.processes[pipe].kill()  # still importing: it has nothing to tell, and nothing to put in order
        end = monotonic() + GRACE
        while self.working and (left := end - monotonic()) > 0:  # read on: somebody may be waiting for room to report
            wait(list(self.working), left)
            for pipe in [pipe for pipe in self.working if pipe.poll()]:
                kind, what = received(pipe)
                if kind in (REPORT, RESULT):
                    self.results.append(what)
                if kind not in (REPORT, BEGUN):
                    self.working.remove(pipe)
        self.working.clear()
        for pipe, process in self.processes.items():
            if process.pid is not None:  # None: interrupted before it came to life
                process.join(max(0.1, end - monotonic()))
                if process.exitcode is None:
                    process.kill()
                    process.join()
            pipe.close()
        self.processes.clear()
        atexit.unregister(self.close)
        results, self.results = self.results, []
        return results


def received(pipe: Connection) -> tuple[str | None, Any]:
    """The next message, or (None, None) at the end of the pipe."""
    try:
        return pipe.recv()
    except (EOFError, OSError):  # OSError: in the middle of a message
        return None, None


def serve(job: Callable[..., Any], arguments: tuple, pipe: Connection, stop: Tensor, parent: int) -> None:
    """A worker's process.

    Ctrl-C and the SIGTERM that a batch system sends to all processes are the parent's to handle. A process is born with
    both blocked, for the time until it comes here.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # also by processes that an environment starts
    signal.signal(signal.SIGTERM, lambda *_: None)  # not by those: an environment may want to terminate them
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})

    def report(what: Any) -> None:
        pipe.send((REPORT, what))

    def going_on() -> bool:
        return not stop[0] and os.getppid() == parent

    try:
        pipe.send((BEGUN, None))
        message = RESULT, job(*arguments, report, going_on)
    except Exception:  # noqa: BLE001  whatever it is, the parent raises it
        message = FAILURE, traceback.format_exc()
    with suppress(BrokenPipeError):  # the parent is gone
        pipe.send(message)
