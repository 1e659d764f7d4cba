"""Watchdog: starts the browser, and ends it and removes its folder when Python ends, however that happens.

    python -I -S watchdog.py PID FOLDER PROGRAM ARGUMENT...

PID is that of Python, its parent. Standard input: one byte, or the end of the pipe, ends the browser. Standard output:
a socket, the browser's debugging pipe. Standard error: the messages of this process and of the browser.

It makes the folder itself, so that there is none without a watchdog. It blocks all signals but SIGKILL, because systemd
and batch systems send SIGTERM to all processes at once. It also checks that its parent is alive, because a process that
was forked from Python may keep the pipe open. It imports nothing of rlgames, which would take longer than the rest.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time

POLL = 0.5  # seconds
DEBUGGING_PIPE = (3, 4)  # the file descriptors from which the browser reads and to which it writes
BROWSER_FOLDERS = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME")  # otherwise it writes to the user's home too


def main(parent: int, folder: str, command: list[str]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    os.mkdir(folder, 0o700)
    browser = None
    try:
        os.chdir(folder)
        browser = start_browser(folder, command)
        os.dup2(0, 1)  # the browser alone holds its pipe: Python notices when it exits
        while os.getppid() == parent and not select.select([0], [], [], POLL)[0]:
            pass
    finally:
        if browser is not None:
            os.killpg(browser, signal.SIGKILL)
            os.waitpid(browser, 0)
        remove_folder(folder)


def start_browser(folder: str, command: list[str]) -> int:
    """Start the browser as a process group of its own and return its process ID."""
    # TMPDIR is relative to the current folder: sockets in it would be refused for a path of more than 107 bytes.
    environment = {**os.environ, **dict.fromkeys(BROWSER_FOLDERS, folder), "TMPDIR": "."}
    actions = [
        *((os.POSIX_SPAWN_DUP2, 1, descriptor) for descriptor in DEBUGGING_PIPE),
        *((os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_RDWR, 0) for descriptor in (0, 1)),
    ]
    return os.posix_spawn(command[0], command, environment, file_actions=actions, setpgroup=0, setsigmask=())


def remove_folder(folder: str) -> None:
    for _ in range(100):  # dying processes may still write
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(0.02)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
    except OSError as error:
        sys.exit(str(error))
