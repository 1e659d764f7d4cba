"""The server of a live page: who gets in, and that no viewer can hold up the game."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from helpers.processes import TIMEOUT
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from rlgames.errors import UsageError
from rlgames.web.server import LiveServer, listen


@pytest.fixture
def server() -> Iterator[LiveServer]:
    server = LiveServer({"name": "CatchBall"})
    yield server
    server.close()
    server.close()


def get(server: LiveServer, path: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def viewer(server: LiveServer, token: str | None = None, **settings: Any) -> Any:
    address = f"ws://127.0.0.1:{server.port}/frames?token={server.token if token is None else token}"
    return connect(address, open_timeout=TIMEOUT, **settings)


def wait_for(server: LiveServer, viewers: int) -> None:
    deadline = time.monotonic() + TIMEOUT
    while server.viewers != viewers:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def latest(connection: ClientConnection, frame: bytes) -> None:
    """Read until `frame` arrives."""
    while connection.recv(TIMEOUT) != frame:
        pass


def test_page_and_description_need_the_token(server: LiveServer) -> None:
    assert server.address == f"http://127.0.0.1:{server.port}/?token={server.token}"
    status, page = get(server, f"/?token={server.token}")
    assert (status, "<title>rlgames</title>" in page) == (200, True)
    assert json.loads(get(server, f"/page.json?token={server.token}")[1]) == {"live": {"name": "CatchBall"}}
    for path in ("/", "/page.json", "/?token=x", "/page.json?token="):
        assert get(server, path) == (403, "open the address that was printed, with its token")
    assert get(server, "/../pyproject.toml")[0] == 404
    with pytest.raises((InvalidStatus, WebSocketException)), viewer(server, "wrong") as connection:
        connection.recv(TIMEOUT)
    assert server.viewers == 0


def test_foreign_hosts_and_origins_are_refused(server: LiveServer) -> None:
    """A name that was made to resolve to 127.0.0.1, and a page of another server in the same browser."""
    path = f"/page.json?token={server.token}"
    assert get(server, path, Host=f"localhost:{server.port}")[0] == 200
    assert get(server, path, Host=f"evil.example:{server.port}") == (
        403,
        f"this page is not served as evil.example:{server.port}",
    )
    assert get(server, path, Origin="http://evil.example") == (403, "requests from http://evil.example are refused")
    with pytest.raises((InvalidStatus, WebSocketException)), viewer(server, origin="http://evil.example") as connection:
        connection.recv(TIMEOUT)
    with viewer(server, origin=f"http://127.0.0.1:{server.port}"):
        wait_for(server, 1)


def test_each_viewer_gets_the_newest_frame(server: LiveServer) -> None:
    server.publish(b"to nobody")
    with viewer(server) as one, viewer(server) as other:
        wait_for(server, 2)
        for frame in (b"first", b"second"):
            server.publish(frame)
            latest(one, frame)
            latest(other, frame)
    wait_for(server, 0)


def test_a_stalled_viewer_delays_nobody(server: LiveServer) -> None:
    """It reads nothing; thousands of large frames are published all the same, and another viewer gets the last."""
    with viewer(server, max_queue=1) as stalled, viewer(server, max_size=None) as other:
        wait_for(server, 2)
        for i in range(2000):
            server.publish(bytes(100_000) + str(i).encode())
        server.publish(b"last")
        latest(other, b"last")
        stalled.socket.shutdown(socket.SHUT_RDWR)
    wait_for(server, 0)


def test_a_viewer_that_vanishes_while_a_frame_is_sent_leaves_no_trace(server: LiveServer) -> None:
    class Vanishing:
        headers: ClassVar = {"host": f"127.0.0.1:{server.port}"}
        query_params: ClassVar = {"token": server.token}

        async def accept(self) -> None:
            pass

        async def send_bytes(self, frame: bytes) -> None:
            raise WebSocketDisconnect(1006)

        async def receive_json(self) -> None:
            await asyncio.Event().wait()

    viewer: Any = Vanishing()
    server._frame = b"frame"
    asyncio.run(server._send_frames(viewer))
    assert server.viewers == 0


def test_commands_arrive_and_nonsense_does_not(server: LiveServer) -> None:
    with viewer(server) as connection:
        connection.send(json.dumps({"name": "paused", "value": True}))
        connection.send(json.dumps([1, 2]))
        connection.send(json.dumps({"name": "step"}))
        assert server.commands.get(timeout=TIMEOUT) == {"name": "paused", "value": True}
        assert server.commands.get(timeout=TIMEOUT) == {"name": "step"}
        connection.send("no JSON")  # ends this viewer
        wait_for(server, 0)


def test_an_address_that_cannot_be_used_is_named(server: LiveServer) -> None:
    with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{server.port} .*choose another --host or --port"):
        listen(port=server.port)
    with pytest.raises(UsageError, match="expected a port from 0 to 65535, got 99999"):
        listen(port=99999)
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1:0"):
        listen("192.0.2.1")
