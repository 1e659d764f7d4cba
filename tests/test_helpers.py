"""The fixture that finds what a test leaves behind finds it."""

import socket
import subprocess
import sys
import threading

import pytest
from helpers import leaks


def test_a_process_that_is_left_is_found_and_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GRACE_PERIOD", 0.0)
    before = leaks.held()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    assert [line.split()[0] for line in leaks.left_since(before)] == ["process"]
    assert child.wait() < 0
    assert leaks.left_since(before) == []


def test_a_thread_that_is_left_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GRACE_PERIOD", 0.0)
    before, end = leaks.held(), threading.Event()
    thread = threading.Thread(target=end.wait, name="left")
    thread.start()
    try:
        assert leaks.left_since(before) == ["thread left"]
    finally:
        end.set()
        thread.join()
    assert leaks.left_since(before) == []


def test_a_socket_that_is_left_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GRACE_PERIOD", 0.0)
    before = leaks.held()
    with socket.socket():
        assert [line.split(":")[0] for line in leaks.left_since(before)] == ["open socket"]
    assert leaks.left_since(before) == []
