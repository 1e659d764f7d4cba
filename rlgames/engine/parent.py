"""`end_with_parent`: a process that its parent started ends soon after the parent, whatever it is doing then.

Between two steps it would notice by itself. But a step may never return, and one in C may hold Python's lock, so that
no other thread of the process runs.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import wait

if sys.platform == "linux":
    import fcntl

GRACE_PERIOD = 5.0  # seconds in which the process may end by itself, and close its environments
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows os.kill ends a process at once, whatever the signal


def end_with_parent() -> None:
    """Have this process, which multiprocessing started, killed `GRACE_PERIOD` after its parent has ended.

    Call it once. The parent is the process that asked for this one, also if a fork server made it.
    """
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid is None:
        raise RuntimeError("end_with_parent() is for processes that multiprocessing started")
    if sys.platform == "linux":
        set_alarm_at_end(parent.sentinel)
    threading.Thread(target=kill_after, args=(parent.pid, parent.sentinel), daemon=True).start()


def kill_after(parent: int, pipe: int) -> None:
    """Wait until the parent has ended, then kill this process.

    The end of `pipe` says so, unless a process that was forked from the parent holds the pipe too.
    """
    watched = [pipe]
    with suppress(AttributeError, OSError):  # on Linux alone; or the parent has ended
        watched.append(os.pidfd_open(parent))
    wait(watched)
    time.sleep(GRACE_PERIOD)
    os.kill(os.getpid(), KILL)


def set_alarm_at_end(pipe: int) -> None:
    """Have the kernel end this process 23 seconds after `pipe` has ended, without any thread that needs Python's lock.

    Linux alone can. It sends SIGURG, whose number is 23, and the C function alarm is the handler: alarm(23).
    """
    assert sys.platform == "linux"
    libc = ctypes.CDLL(None)
    libc.signal(int(signal.SIGURG), ctypes.cast(libc.alarm, ctypes.c_void_p))
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if wait([pipe], 0):  # it had ended before
        os.kill(os.getpid(), signal.SIGURG)
