"""`Browser`: Chrome or Chromium, started by Selenium with a profile of its own, and removed without a trace.

The driver and all processes of the browser are one process group in a session of their own: Ctrl-C does not reach them,
and one signal ends them. That happens in `close`, when the object is garbage collected, when the interpreter exits,
and, if Python is killed, through a small shell that waits for that.
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

import gymnasium.error
from gymnasium.error import DependencyNotInstalled

from rlgames.engine.rendering import has_display
from rlgames.errors import UsageError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DRIVERS = ("chromedriver", "chromium.chromedriver")
PACKAGES = 'pip install "rlgames[dino]"'
DEBIAN = "sudo apt-get install -y chromium chromium-driver"
TESTED_RELEASE = "Chromium 156"  # the simulator equals the game of this release
TIMEOUT = 30.0  # seconds that the start and the loading of a page may take
QUIET_FLAGS = (
    *("--no-first-run", "--no-default-browser-check", "--disable-sync", "--disable-component-update"),
    *("--disable-background-networking", "--disable-quic", "--disable-breakpad", "--mute-audio"),
    *("--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-extensions"),
    *("--disable-renderer-backgrounding", "--disable-hang-monitor"),  # full speed although the window is not visible
)
UNIFORM_FLAGS = ("--force-device-scale-factor=1", "--window-size=1280,720", "--lang=en-US")  # same on every machine
# A shell: it waits until Python dies (end of file), or for a line, after which it does nothing.
WATCHDOG = 'trap "" INT HUP; read -r line || { kill -s KILL -- "-$1"; sleep 0.5; rm -rf -- "$2"; }'


class BrowserError(UsageError, gymnasium.error.Error):
    """The browser cannot be started, does not hold the game, or has exited."""


def find_program(names: tuple[str, ...], path: str | None, kind: str) -> str:
    """Return the path of a program: `path`, or the first of `names` on the PATH. Raises DependencyNotInstalled."""
    for name in (path,) if path else names:
        if found := shutil.which(name):
            return found
    where = f"at {path}" if path else f"on the PATH (looked for {', '.join(names)})"
    raise DependencyNotInstalled(f"there is no {kind} {where}: {DEBIAN}")


def check_packages() -> None:
    """Raises DependencyNotInstalled without selenium or websocket-client."""
    for module, package in (("selenium", "selenium"), ("websocket", "websocket-client")):
        if not find_spec(module):
            raise DependencyNotInstalled(f"the browser is driven by {package}, which is missing: {PACKAGES}")


class Browser:
    """A browser with one tab; `script` runs in every document of it before the document's own scripts.

    `browser` and `driver` are paths; without them both are found on the PATH. Raises DependencyNotInstalled where
    something is missing, BrowserError where the two do not start together.
    """

    def __init__(self, script: str, *, headless: bool = True, browser: str | None = None, driver: str | None = None):
        check_packages()
        from selenium.common.exceptions import SessionNotCreatedException, WebDriverException  # noqa: PLC0415  optional
        from selenium.webdriver import Chrome, ChromeOptions  # noqa: PLC0415  optional
        from urllib3.exceptions import HTTPError  # noqa: PLC0415  optional

        if not headless and not has_display():
            raise BrowserError("there is no display to show the browser on: render_mode='rgb_array' needs none")
        self.path = find_program(BROWSERS, browser, "browser")
        driver = find_program(DRIVERS, driver, "driver of the browser")
        self._driver_errors = (WebDriverException, HTTPError, OSError)
        cleanup = self._cleanup = ExitStack()
        self._finalizer = weakref.finalize(self, clean_up, os.getpid(), cleanup)
        timed_out = threading.Event()
        try:
            profile = tempfile.mkdtemp(prefix="rlgames-browser-")
            cleanup.callback(remove_profile, profile)
            options = ChromeOptions()
            options.binary_location = self.path
            with warnings.catch_warnings():  # deprecated in favor of something that `Chrome` does not accept
                warnings.simplefilter("ignore", DeprecationWarning)
                options.ignore_local_proxy_environment_variables()
            no_window = ("--headless=new", "--disable-gpu") if headless else ()
            as_root = ("--no-sandbox",) if os.geteuid() == 0 else ()  # the sandbox refuses to start as root
            for flag in (*QUIET_FLAGS, *UNIFORM_FLAGS, *no_window, *as_root, f"--user-data-dir={profile}"):
                options.add_argument(flag)
            service = make_service(driver, profile)
            cleanup.callback(service.stop_watchdog)
            cleanup.callback(kill_process_group, service)
            timer = threading.Timer(TIMEOUT, lambda: (timed_out.set(), kill_process_group(service)))
            timer.daemon = True  # Selenium itself has no limit for the start
            cleanup.callback(timer.cancel)
            timer.start()
            self.driver: Any = Chrome(options=options, service=service)
            cleanup.callback(self.driver.command_executor.close)
            self.driver.set_page_load_timeout(TIMEOUT)
            self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
            timer.cancel()
        except self._driver_errors as error:
            self.close()
            reason = " ".join(str(getattr(error, "msg", None) or error).split())
            if timed_out.is_set() and not isinstance(error, SessionNotCreatedException):
                reason = f"no answer in {TIMEOUT:g} seconds"
            raise BrowserError(f"{self.path} does not start with {driver}: {reason} (both in one: {DEBIAN})") from error
        except BaseException:  # such as Ctrl-C
            self.close()
            raise

    @property
    def version(self) -> str:
        """Name and version, such as "chrome 156.0.8078.79"."""
        capabilities = self.driver.capabilities
        return f"{capabilities['browserName']} {capabilities['browserVersion']}"

    def open(self, url: str) -> str:
        """Load a page and return the address of its debugger.

        Raises BrowserError if the page does not load; chrome://dino loads without a network too.
        """
        try:
            self.driver.get(url)
        except self._driver_errors as error:
            reason = str(getattr(error, "msg", None) or error)
            if "ERR_INTERNET_DISCONNECTED" not in reason:
                raise BrowserError(f"{self.version} does not open {url}: {reason}") from error
        address = self.driver.capabilities["goog:chromeOptions"]["debuggerAddress"]
        return f"ws://{address}/devtools/page/{self.driver.current_window_handle}"

    def on_close(self, function: Callable[[], None]) -> None:
        """Call `function` before the browser is ended; it must not hold a reference to this object."""
        self._cleanup.callback(function)

    def close(self) -> None:
        """End all processes and remove the profile; closing twice is fine."""
        self._finalizer()


def clean_up(owner: int, cleanup: ExitStack) -> None:
    if os.getpid() == owner:  # a forked process does not end the browser of its parent
        cleanup.close()


def kill_process_group(service: Any) -> None:
    """Kill the driver and all processes of its group."""
    process = service.process
    if process is None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()


def make_service(driver: str, profile: str) -> Any:
    """Return Selenium's service for the driver, with a watchdog that starts right after the driver."""
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415  optional

    class WatchedService(Service):
        process: Any = None
        watchdog: subprocess.Popen | None = None

        def _start_process(self, path: str) -> None:
            super()._start_process(path)
            self.watchdog = start_watchdog(self.process.pid, profile)

        def stop_watchdog(self) -> None:
            if self.watchdog:
                self.watchdog.communicate(b"\n")

    return WatchedService(
        driver,
        popen_kw={"start_new_session": True},
        log_output=subprocess.DEVNULL,
        driver_path_env_key="RLGAMES_CHROMEDRIVER",  # by default Selenium prefers the driver of SE_CHROMEDRIVER
    )


def start_watchdog(group: int, profile: str) -> subprocess.Popen:
    """Start a shell that kills the group and removes the profile, unless it receives a line before Python dies."""
    command = ["/bin/sh", "-c", WATCHDOG, "rlgames-browser", str(group), profile]
    silent = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=silent, stderr=silent, start_new_session=True)


def remove_profile(profile: str) -> None:
    for _ in range(100):  # dying processes may still write
        shutil.rmtree(profile, ignore_errors=True)
        if not Path(profile).exists():
            return
        time.sleep(0.02)
