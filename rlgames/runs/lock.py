"""A lock on a folder: one process at a time trains in the directory of a run.

The file `lock` in it names the process that holds it. The kernel releases the lock when that process ends, however it
ends; a file that is left behind means nothing. Where there is no flock (Windows), nothing is locked.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from rlgames.errors import RunExistsError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

HELD: set[int] = set()  # file descriptors of this process


def close_in_child() -> None:
    """Close the locks in a forked child, which would hold them after its parent's death."""
    for descriptor in HELD:
        os.close(descriptor)
    HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=close_in_child)


class FolderLock:
    """Held from its making until `release`. Raises FileExistsError if another process has it, or this one already.

    Raises OSError if the file cannot be written.
    """

    def __init__(self, folder: Path):
        self.path, self.descriptor = folder / "lock", -1
        while fcntl and self.descriptor < 0:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)  # not inherited by programs that are started
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                HELD.add(descriptor)
                if self.is_at_path(descriptor):  # else its holder has deleted it since it was opened here
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
                    self.descriptor = descriptor
            except BlockingIOError as error:
                raise RunExistsError(
                    f"{folder} is in use by {holder(descriptor)}: wait until it ends, or stop it"
                ) from error
            finally:
                if self.descriptor < 0:
                    self.close(descriptor)

    def is_at_path(self, descriptor: int) -> bool:
        """Return whether the open file is the one that others would open."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        return False

    def close(self, descriptor: int) -> None:
        HELD.discard(descriptor)
        os.close(descriptor)

    def release(self) -> None:
        if self.descriptor in HELD:  # not in a forked child
            with suppress(OSError):  # the folder may be gone
                if self.is_at_path(self.descriptor):
                    os.unlink(self.path)
            self.close(self.descriptor)
        self.descriptor = -1


def holder(descriptor: int) -> str:
    """Return the process that a lock file names, in words."""
    pid, _, host = os.pread(descriptor, 300, 0).decode(errors="replace").strip().partition(" ")
    if not pid.isdecimal():
        return "another process"
    where = "" if host == socket.gethostname() else f" on {host!r}"
    return f"this process ({pid})" if not where and int(pid) == os.getpid() else f"process {pid}{where}"
