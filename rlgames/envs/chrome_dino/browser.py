"""`Browser`: Chrome or Chromium with a profile of its own, which only this process can drive, removed without a trace.

It is started here, with a debugging pipe, and not by Selenium as in the tutorials: Selenium starts a driver that obeys
whoever connects to its port, and a browser with a port for debugging, so that every user of the machine could run
programs as the one who trains. Here no port is open at any time.

The watchdog, a process between this one and the browser, ends all processes of the browser and removes the folder that
holds all its files: on `close`, when the object is garbage collected, when the interpreter exits, and when Python is
killed. Ctrl-C reaches neither, because they are in a session of their own, and nothing but SIGKILL ends the watchdog
itself. The browser's two crash reporters end by themselves about a second after the browser.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

from gymnasium.error import DependencyNotInstalled

from rlgames.engine.rendering import has_display
from rlgames.envs.chrome_dino import watchdog
from rlgames.envs.chrome_dino.devtools import TESTED_RELEASE, BrowserError, DevTools, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DEBIAN = "sudo apt-get install -y chromium"
MESSAGE_LENGTH = 500  # characters of the browser's messages in an error
FLAGS = (
    *("--remote-debugging-pipe", "--no-startup-window", "--enable-automation", "--password-store=basic"),
    *("--no-first-run", "--no-default-browser-check", "--disable-sync", "--disable-component-update"),
    *("--disable-background-networking", "--disable-quic", "--disable-breakpad", "--mute-audio"),
    *("--disable-features=MediaRouter", "--disable-extensions"),  # the first listens for televisions in the network
    *("--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows"),
    *("--disable-renderer-backgrounding", "--disable-hang-monitor"),  # full speed although the window is not visible
    *("--force-device-scale-factor=1", "--window-size=1280,720", "--lang=en-US"),  # the same on every machine
)


def find_browser(path: str | None) -> str:
    """Return the path of the browser: `path`, or the first of BROWSERS on the PATH. Raises DependencyNotInstalled."""
    for name in (path,) if path else BROWSERS:
        if found := shutil.which(name):
            return os.path.abspath(found)
    where = f"at {path}" if path else f"on the PATH (looked for {', '.join(BROWSERS)})"
    raise DependencyNotInstalled(f"there is no browser {where}: {DEBIAN}")


class Browser:
    """A browser with one tab, `page`; `script` runs in every document of it before the document's own scripts.

    `browser` is a path; without it the browser is found on the PATH. Raises DependencyNotInstalled where it is missing,
    BrowserError where it does not start.
    """

    def __init__(self, script: str, *, headless: bool = True, browser: str | None = None):
        if os.name != "posix":
            raise BrowserError("ChromeDino needs the pipes of Linux or macOS: play Dino, its simulation")
        if not headless and not has_display():
            raise BrowserError("there is no display to show the browser on: render_mode='rgb_array' needs none")
        self.path = find_browser(browser)
        no_window = ("--headless=new", "--disable-gpu") if headless else ()
        as_root = ("--no-sandbox",) if os.geteuid() == 0 else ()  # the sandbox refuses to start as root
        with ExitStack() as stack:
            try:
                messages = stack.enter_context(tempfile.TemporaryFile())
                self.folder = Path(tempfile.gettempdir(), f"rlgames-browser-{token_hex(8)}").absolute()
                command = [self.path, *FLAGS, *no_window, *as_root, f"--user-data-dir={self.folder}"]
                connection, process = start_watchdog(str(self.folder), command, messages)
            except OSError as error:
                raise BrowserError(f"{self.path} does not start: {error}") from error
            self._finalizer = weakref.finalize(self, end, os.getpid(), connection, process, str(self.folder))
            try:
                self.devtools = DevTools(connection)
                self.version = self.devtools.call("Browser.getVersion")["product"].replace("/", " ")
                self.page = Page(self.devtools, script)
            except BrowserError as error:
                self.close()
                reason = f"{error}; it wrote: {lines}" if (lines := last_lines(messages)) else str(error)
                remedy = f"tested: {TESTED_RELEASE}, {DEBIAN}"
                raise BrowserError(f"{self.path} does not start: {reason} ({remedy})") from error
            except BaseException:  # such as Ctrl-C
                self.close()
                raise

    def close(self) -> None:
        """End all processes and remove the folder; closing twice is fine. In a forked process, only forget them."""
        self._finalizer()


def start_watchdog(folder: str, command: list[str], messages: Any) -> tuple[socket.socket, Any]:
    """Start the watchdog, which starts the browser; return our end of the debugging pipe and the watchdog's process.

    `messages` is the file for standard error. Not a pipe: without a reader it would end the browser's crash reporters,
    for which a tab that crashes waits.
    """
    ours, theirs = socket.socketpair()
    arguments = [sys.executable, "-I", "-S", watchdog.__file__, str(os.getpid()), folder, *command]
    try:
        with theirs:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=theirs.fileno(),
                stderr=messages,
                bufsize=0,
                start_new_session=True,
            )
            return ours, process
    except BaseException:
        ours.close()
        raise


def last_lines(messages: Any) -> str:
    """Return the last messages in one line, without those about D-Bus, which the browser does not need."""
    messages.seek(0)
    lines = [" ".join(line.split()) for line in messages.read().decode(errors="replace").splitlines()]
    return "; ".join([line for line in lines if line and "dbus" not in line][-3:])[-MESSAGE_LENGTH:]


def end(owner: int, connection: socket.socket, process: Any, folder: str) -> None:
    """End browser and watchdog, in the process `owner`; in one that was forked from it, close the files alone."""
    owned = os.getpid() == owner
    if owned:
        with suppress(OSError):  # the watchdog was killed
            process.stdin.write(b"\n")
        with suppress(OSError):  # the browser has gone
            connection.shutdown(socket.SHUT_RDWR)  # ends the browser too, even if a forked process has the socket
    process.stdin.close()
    connection.close()
    if owned:
        process.wait()
        watchdog.remove_folder(folder)  # the watchdog has, unless it was killed
    else:
        process.poll()  # not a child of this process: from here on it counts as ended
