"""Start, failure and end of ChromeDino's browser: one clear error, no open port, and nothing that remains."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled, ResetNeeded
from helpers.chrome import (
    assert_removed,
    chrome_dino,
    folder_of,
    leftovers,
    process_group_of,
    processes_of,
    remove,
    skip_without_browser,
)

from rlgames.envs.chrome_dino import devtools, page, watchdog
from rlgames.envs.chrome_dino.browser import BrowserError
from rlgames.envs.chrome_dino.page import NOOP, DinoPage
from rlgames.errors import UsageError

skip_without_browser()

# ---- who can reach a browser that runs ----

LISTENS = "0A"  # state of a socket in /proc/net/tcp
ACCEPTS = "00010000"  # flags of a socket in /proc/net/unix


def open_to_others(pids: Iterable[int]) -> list[str]:
    """Return the sockets of the processes to which others can connect: of every port, and without a path.

    A UDP socket with a peer, as of a question for a host's address, takes nothing from others.
    """
    links = []
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                links.append(os.readlink(descriptor))
            except FileNotFoundError:  # closed meanwhile
                continue
    own = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:")}
    found = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        rows = [line.split() for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
        open_rows = [row for row in rows if (row[2].endswith(":0000") if "udp" in name else row[3] == LISTENS)]
        found += [f"{name} {row[1]}" for row in open_rows if row[9] in own]
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    found += [" ".join(row) for row in rows if row[6] in own and row[3] == ACCEPTS and "@" in row[7:8][0][:1]]
    return found


def test_no_process_listens_while_a_game_is_played(opened: ExitStack) -> None:
    """Every user of the machine can connect to a port, also to one of the loopback interface."""
    before = open_to_others([os.getpid()])
    env = chrome_dino(obs="state")
    opened.callback(env.close)
    env.reset(seed=0)
    env.step(NOOP)
    processes = processes_of(env)
    assert any("--type=renderer" in command for command in processes.values())
    assert open_to_others(processes) == []
    assert open_to_others([os.getpid()]) == before
    assert not any("--remote-debugging-port" in command for command in processes.values())
    assert folder_of(env).stat().st_mode & 0o777 == 0o700
    with socket.create_server(("127.0.0.1", 0)):
        assert len(open_to_others([os.getpid()])) == len(before) + 1


# ---- a browser that fails while it runs ----


def step_until_error(env: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if env.step(NOOP)[2]:
            env.reset()


def crash_tab(env: Any) -> None:
    tab = env._state.page._page
    tab._devtools.send("Page.crash", {}, tab._session)


def kill_browser(env: Any) -> None:
    """Kill it a little later, in the middle of a step."""
    threading.Timer(0.1, os.killpg, (process_group_of(env), signal.SIGKILL)).start()


def test_step_without_browser_raises_and_reset_starts_another(opened: ExitStack) -> None:
    env = chrome_dino(obs="state")
    opened.callback(env.close)
    first, _ = env.reset(seed=2)
    for fail, message in ((crash_tab, "the tab crashed"), (kill_browser, "the browser has gone")):
        np.testing.assert_array_equal(env.reset(seed=2)[0], first)
        folder = folder_of(env)
        fail(env)
        with pytest.raises(BrowserError, match=message):
            step_until_error(env)
        assert_removed(folder)
        with pytest.raises(ResetNeeded, match="browser was lost: call reset"):
            env.step(NOOP)


def test_render_without_browser_raises_and_closes_the_page(opened: ExitStack) -> None:
    env = chrome_dino(obs="state", render_mode="rgb_array")
    opened.callback(env.close)
    assert env.render() is None
    env.reset(seed=2)
    assert env.render().shape == (150, 600, 3)
    folder = folder_of(env)
    os.killpg(process_group_of(env), signal.SIGKILL)
    with pytest.raises(BrowserError, match="has gone"):
        env.render()
    assert_removed(folder)
    assert env.render() is None
    with pytest.raises(ResetNeeded, match="browser was lost: call reset"):
        env.step(NOOP)


# ---- a browser that does not start ----


def test_browser_error_is_a_usage_error() -> None:
    """So the command line prints it in one line."""
    assert issubclass(BrowserError, UsageError)


def test_a_missing_browser_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DependencyNotInstalled, match=r"no browser at /nowhere: sudo apt-get install -y chromium$"):
        chrome_dino(browser="/nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyNotInstalled, match="no browser on the PATH .*chromium.*: sudo apt-get install"):
        chrome_dino()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("#!/bin/sh\nsleep 600", "the browser has not answered for 1 seconds"),
        ("#!/bin/sh\necho no fonts, no fun >&2\nexit 1", "the browser has gone; it wrote: no fonts, no fun"),
        ("\0", "the browser has gone; it wrote: .*Exec format error: '.*/program'"),
    ],
    ids=["no answer", "exit", "no program"],
)
def test_start_of_another_program_raises_and_leaves_nothing(
    program: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(devtools, "TIMEOUT", 1.0 if "sleep" in program else 60.0)
    file = tmp_path / "program"
    file.write_text(program)
    file.chmod(0o755)
    with pytest.raises(BrowserError, match=f"^{file} does not start: {reason}.* Chromium 156, sudo apt-get install"):
        chrome_dino(browser=str(file)).reset(seed=0)
    file.unlink()
    assert leftovers(tmp_path).keys() == {str(tmp_path)}


def test_a_folder_that_cannot_be_made_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(BrowserError, match="does not start: .*No such file or directory: .*/missing"):
        chrome_dino().reset(seed=0)


def test_a_page_without_the_game_raises_and_closes_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []

    def record_folder(dino_page: DinoPage) -> None:
        folders.append(dino_page.browser.folder)
        check_game(dino_page)

    check_game = DinoPage._check_game
    monkeypatch.setattr(page, "URL", "about:blank")
    monkeypatch.setattr(DinoPage, "_check_game", record_folder)
    with pytest.raises(BrowserError, match=r"of Chrome \d+.* not hold the game as Chromium \d+ .* no Runner"):
        chrome_dino().reset(seed=0)
    assert_removed(folders[0])


def test_reset_in_human_mode_without_display_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BrowserError, match="no display"):
        chrome_dino(render_mode="human").reset()


# ---- the end of Python ----

SCRIPT = """
import os, signal, sys, time
from rlgames.envs.chrome_dino.game import game
from rlgames.envs.chrome_dino.page import DinoPage
signal.signal(signal.SIGINT, signal.default_int_handler)  # the parent may ignore it
way = sys.argv[1]
if way == "exception":
    DinoPage(game(), 1).close()
if way == "interrupt":
    DinoPage(game(), 1)  # garbage
page = DinoPage(game(), 1)
if way == "fork" and os.fork() == 0:  # outlives its parent, and keeps all its open files
    time.sleep(600)
print(page.browser.folder, flush=True)
if way == "exception":
    raise ZeroDivisionError("of the user's")
if way == "watchdog":
    print(input(), flush=True)
    page.close()
    sys.exit()
while True:
    page.step([[0, 1, None, 0]])
"""


def start_script(script: str, way: str, folder: Path, stack: ExitStack) -> tuple[Any, Path, Path]:
    """Start a script with folders of its own: the temporary one, whose path is too long for sockets, and a home."""
    temporary, home = folder / ("temporary" * 12), folder / "home"
    for each in (temporary, home):
        each.mkdir(parents=True)
    environment = {**os.environ, "TMPDIR": str(temporary), "HOME": str(home)}
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", script, way]
    process = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True, env=environment)
    stack.callback(process.communicate)
    stack.callback(remove, folder)
    return process, temporary, home


def send_signal(number: int, pids: Iterable[int | str]) -> None:
    for pid in pids:
        os.kill(int(pid), number)


WAYS = {
    "exception": "after another browser was closed, at the exit",
    "interrupt": "Ctrl-C, after another browser was garbage collected",
    "kill": "SIGKILL to Python",
    "fork": "the same, and a forked process lives on",
    "terminate all": "SIGTERM to all processes, as systemd and batch systems send it",
    "terminate two": "SIGTERM to Python and the watchdog",
    "watchdog": "SIGKILL to the watchdog, then close()",
}


@pytest.mark.parametrize(
    "ways",
    [
        ("exception", "fork"),
        pytest.param(("interrupt", "kill", "terminate all", "terminate two", "watchdog"), marks=pytest.mark.slow),
    ],
    ids=", ".join,
)
def test_the_end_of_python_ends_the_browser(ways: tuple[str, ...], tmp_path: Path) -> None:
    with ExitStack() as stack:
        scripts = {way: start_script(SCRIPT, way, tmp_path / way, stack) for way in ways}
        for way, (process, temporary, home) in scripts.items():
            folder = Path(process.stdout.readline().strip())
            assert folder.parent == temporary
            processes = {pid: command for pid, command in leftovers(folder).items() if pid.isdigit()}
            (guard,) = [pid for pid, command in processes.items() if watchdog.__file__ in command]
            if way in ("kill", "fork"):
                process.kill()
            elif way == "interrupt":
                process.send_signal(signal.SIGINT)
            elif way == "terminate all":
                send_signal(signal.SIGTERM, [guard, *(set(processes) - {guard}), process.pid])
            elif way == "terminate two":
                send_signal(signal.SIGTERM, [guard, process.pid])
            elif way == "watchdog":
                send_signal(signal.SIGKILL, [guard])
                process.stdin.write("close\n")
                process.stdin.flush()
            process.wait(timeout=60)
            assert_removed(folder)
            assert os.listdir(temporary) == os.listdir(home) == [], WAYS[way]
            if way in ("exception", "interrupt"):
                errors = process.stderr.read()
                assert {"exception": "of the user's", "interrupt": "KeyboardInterrupt"}[way] in errors
                assert "Warning" not in errors


KILL_EARLY = """
import os, signal, sys, tempfile, time
from rlgames.envs.chrome_dino.game import game
from rlgames.envs.chrome_dino.page import DinoPage
chrome_dino = game()
tempfile.gettempdir()  # the first call writes a file, and removes it
for milliseconds in eval(sys.argv[1]):
    child = os.fork()
    if child == 0:
        DinoPage(chrome_dino, 1)
        time.sleep(600)
    time.sleep(milliseconds / 1000)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize("times", ["range(0, 40, 4)", pytest.param("range(0, 600, 6)", marks=pytest.mark.slow)])
def test_python_killed_during_the_start_ends_the_browser(times: str, tmp_path: Path) -> None:
    """So many milliseconds after the start."""
    with ExitStack() as stack:
        process, temporary, home = start_script(KILL_EARLY, times, tmp_path, stack)
        assert process.wait(timeout=300) == 0
        deadline = time.monotonic() + 60
        while len(leftovers(temporary)) > 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert leftovers(temporary).keys() == {str(temporary)}
        assert os.listdir(home) == []


FORK = """
import os, sys
import gymnasium as gym, numpy as np
import rlgames
from rlgames.errors import ForkedError

def make():
    if sys.argv[1] == "single":
        return gym.make("rlgames/ChromeDino-v0", obs="state", disable_env_checker=True).unwrapped
    return gym.make_vec("rlgames/ChromeDino-v0", 2, obs="state")

def play(env):
    return [env.reset(seed=3)[0].tolist(), *(env.step(action)[0].tolist() for _ in range(20))]

env, without_browser = make(), make()
action = 1 if sys.argv[1] == "single" else np.ones(2, int)
first = play(env)
child = os.fork()
if child == 0:
    for call in (lambda: env.step(action), env.reset):
        try:
            call()
        except ForkedError as error:
            print(error, flush=True)
    env.close()
    assert play(without_browser) == first
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
env.step(action)
assert play(env) == first
"""


@pytest.mark.parametrize("kind", ["single", pytest.param("vector", marks=pytest.mark.slow)])
def test_a_forked_process_cannot_use_the_browser_of_its_parent(kind: str, tmp_path: Path) -> None:
    """An environment whose browser was not started yet plays there."""
    with ExitStack() as stack:
        process, temporary, home = start_script(FORK, kind, tmp_path, stack)
        output, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
        error = rf"this environment of .* forked, .* belong to process {process.pid}: make it after the fork\n"
        assert re.fullmatch(f"({error}){{2}}", output)
        assert os.listdir(temporary) == os.listdir(home) == []
