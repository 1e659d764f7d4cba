"""`Browser`: Chrome or Chromium, started by Selenium with a profile of its own, and gone without a trace.

The driver and all processes of the browser are one process group in a session of their own: Ctrl-C does not reach them,
and one signal ends them. That happens in `close`, when the object is forgotten, when the interpreter ends, and, should
Python be killed, through a small shell that waits for that.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gymnasium.error import DependencyNotInstalled, Error

from rlgames.engine.rendering import has_display

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DRIVERS = ("chromedriver", "chromium.chromedriver")
PACKAGES = 'pip install "rlgames[dino]"'
CHECKED = "Chromium 156"  # the release that this was written for
TIMEOUT = 30.0  # seconds that the start and the loading of a page may take
DEBIAN = "sudo apt-get install -y chromium chromium-driver"
QUIET = (
    *("--no-first-run", "--no-default-browser-check", "--disable-sync", "--disable-component-update"),
    *("--disable-background-networking", "--disable-quic", "--disable-breakpad", "--mute-audio"),
    *("--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-extensions"),
    *("--disable-renderer-backgrounding", "--disable-hang-monitor"),  # it works for us although nobody looks
)
ALIKE = ("--force-device-scale-factor=1", "--window-size=1280,720", "--lang=en-US")  # on every machine
# A shell: it reads until Python has died, or a line that tells it not to mind.
WATCHDOG = 'trap "" INT HUP; read -r line || { kill -s KILL -- "-$1"; sleep 0.5; rm -rf -- "$2"; }'


class BrowserError(Error):
    """The browser cannot be started, does not show what it should, or has gone."""


def find(names: tuple[str, ...], given: str | None, what: str) -> str:
    """Path of a program: the given one, or the first of `names` on the PATH. Raises DependencyNotInstalled."""
    for name in (given,) if given else names:
        if path := shutil.which(name):
            return path
    where = f"at {given}" if given else f"on the PATH (looked for {', '.join(names)})"
    raise DependencyNotInstalled(f"there is no {what} {where}: {DEBIAN}")


def check_packages() -> None:
    """Raises DependencyNotInstalled without selenium or websocket-client."""
    for module, package in (("selenium", "selenium"), ("websocket", "websocket-client")):
        if not find_spec(module):
            raise DependencyNotInstalled(f"the browser is driven by {package}, which is missing: {PACKAGES}")


class Browser:
    """A browser that shows one tab; `script` runs in every document of it before the document's own.

    `browser` and `driver` are paths, found on the PATH without them. Raises DependencyNotInstalled where something is
    missing, BrowserError where the two do not start together.
    """

    def __init__(self, script: str, *, headless: bool = True, browser: str | None = None, driver: str | None = None):
        check_packages()
        from selenium.common.exceptions import SessionNotCreatedException, WebDriverException
        from selenium.webdriver import Chrome, ChromeOptions
        from urllib3.exceptions import HTTPError

        if not headless and not has_display():
            raise BrowserError("there is no display to show the browser on: render_mode='rgb_array' needs none")
        self.path, driver = find(BROWSERS, browser, "browser"), find(DRIVERS, driver, "driver of the browser")
        self._gone = (WebDriverException, HTTPError, OSError)  # how the driver says so
        traces = self._traces = ExitStack()  # what is to be undone, the newest first
        self._end = weakref.finalize(self, end, os.getpid(), traces)
        late = threading.Event()
        try:
            profile = tempfile.mkdtemp(prefix="rlgames-browser-")
            traces.callback(remove, profile)
            options = ChromeOptions()
            options.binary_location = self.path
            with warnings.catch_warnings():  # deprecated for something that `Chrome` does not take
                warnings.simplefilter("ignore", DeprecationWarning)
                options.ignore_local_proxy_environment_variables()
            head = ("--headless=new", "--disable-gpu") if headless else ()
            root = ("--no-sandbox",) if os.geteuid() == 0 else ()  # as root it does not start with one
            for argument in (*QUIET, *ALIKE, *head, *root, f"--user-data-dir={profile}"):
                options.add_argument(argument)
            service = watched(driver, profile)
            traces.callback(service.dismiss)
            traces.callback(kill, service)
            timer = threading.Timer(TIMEOUT, lambda: (late.set(), kill(service)))  # Selenium would wait for ever
            timer.daemon = True
            traces.callback(timer.cancel)
            timer.start()
            self.driver: Any = Chrome(options=options, service=service)
            traces.callback(self.driver.command_executor.close)
            self.driver.set_page_load_timeout(TIMEOUT)
            self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
            timer.cancel()
        except self._gone as error:
            self.close()
            reason = " ".join(str(getattr(error, "msg", None) or error).split())
            if late.is_set() and not isinstance(error, SessionNotCreatedException):
                reason = f"no answer in {TIMEOUT:g} seconds"
            raise BrowserError(f"{self.path} does not start with {driver}: {reason} (both in one: {DEBIAN})") from error
        except BaseException:  # such as Ctrl-C
            self.close()
            raise

    @property
    def version(self) -> str:
        """Such as "chrome 156.0.8078.79"."""
        told = self.driver.capabilities
        return f"{told['browserName']} {told['browserVersion']}"

    def open(self, url: str) -> str:
        """Show a page; the address of its debugger. A page that is there without a network is no error."""
        try:
            self.driver.get(url)
        except self._gone as error:
            reason = str(getattr(error, "msg", None) or error)
            if "ERR_INTERNET_DISCONNECTED" not in reason:
                raise BrowserError(f"{self.version} does not open {url}: {reason}") from error
        address = self.driver.capabilities["goog:chromeOptions"]["debuggerAddress"]
        return f"ws://{address}/devtools/page/{self.driver.current_window_handle}"

    def before_end(self, function: Callable[[], None]) -> None:
        """Call it, which must not hold this object, before the browser ends."""
        self._traces.callback(function)

    def close(self) -> None:
        """End all its processes and remove its profile; twice is fine."""
        self._end()


def end(owner: int, traces: ExitStack) -> None:
    if os.getpid() == owner:  # a forked copy of Python does not end the browser of the original
        traces.close()


def kill(service: Any) -> None:
    """The driver and with it all processes of its group."""
    process = service.process
    if process is None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()


def watched(driver: str, profile: str) -> Any:
    """Selenium's service for the driver, which from the first moment on ends with Python; see `watch`."""
    from selenium.webdriver.chrome.service import Service

    class Watched(Service):
        process: Any = None
        shell: subprocess.Popen | None = None

        def _start_process(self, path: str) -> None:
            super()._start_process(path)
            self.shell = watch(self.process.pid, profile)

        def dismiss(self) -> None:
            if self.shell:
                self.shell.communicate(b"\n")

    return Watched(
        driver,
        popen_kw={"start_new_session": True},
        log_output=subprocess.DEVNULL,
        driver_path_env_key="RLGAMES_CHROMEDRIVER",  # by itself Selenium prefers the one of SE_CHROMEDRIVER
    )


def watch(group: int, profile: str) -> subprocess.Popen:
    """A shell that ends the group and removes the profile if Python dies before telling it a line, whatever the way."""
    command = ["/bin/sh", "-c", WATCHDOG, "rlgames-browser", str(group), profile]
    silent = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=silent, stderr=silent, start_new_session=True)


def remove(profile: str) -> None:
    for _ in range(100):  # dying processes may still write
        shutil.rmtree(profile, ignore_errors=True)
        if not Path(profile).exists():
            return
        time.sleep(0.02)
