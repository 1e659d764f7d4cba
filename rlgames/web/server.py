"""Serve the page and frames of a running game to any number of viewers.

One thread runs Starlette on uvicorn. `publish` hands it the newest frame and returns at once; each viewer gets the
newest frame when it has taken the one before, so a slow or vanished viewer delays nobody. What viewers want arrives in
`commands`.

The server listens on 127.0.0.1 unless another host is given. Whoever opens the page needs the token in its address, and
requests whose Host or Origin is not the server's own are refused, so that no other page in the same browser, and no
name that resolves to 127.0.0.1, can reach the game.
"""

from __future__ import annotations

import asyncio
import json
import queue
import secrets
import socket
import threading
from contextlib import suppress
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from gymnasium.error import DependencyNotInstalled

from rlgames.errors import UsageError

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.websockets import WebSocket

MEDIA = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
START_TIMEOUT = 60.0  # seconds
LOOPBACK = "127.0.0.1"


class LiveServer:
    """Serves until `close`; `description` is what the page shows around the frames, plain JSON.

    `listener` is a socket of `listen`; None listens on a free port of 127.0.0.1. `token` is the one that viewers need;
    None makes a new one.
    """

    def __init__(self, description: dict[str, Any], listener: socket.socket | None = None, token: str | None = None):
        import uvicorn  # noqa: PLC0415  optional
        from starlette.applications import Starlette  # noqa: PLC0415  optional
        from starlette.routing import Route, WebSocketRoute  # noqa: PLC0415  optional

        self.description, self.token = description, token or secrets.token_urlsafe(16)
        self.training: dict[str, Any] | None = None  # curves of a running training; see `rlgames.web.training`
        self.commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.viewers = 0  # connected now
        self._frame: bytes | None = None
        self._new = asyncio.Event()  # replaced by each frame
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = listener or listen()
        self.host, self.port = self._socket.getsockname()[:2]
        routes = [
            *(Route(f"/{name}" if name != "index.html" else "/", self._file) for name in MEDIA),
            Route("/page.json", self._describe),
            Route("/training.json", self._describe_training),
            WebSocketRoute("/frames", self._send_frames),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off", ws="websockets-sansio")
        config.timeout_graceful_shutdown = 1
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="rlgames-live", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """The address to open, with the token."""
        return page_address(self._socket, self.token)

    def publish(self, frame: bytes) -> None:
        """Make `frame` the one that viewers get next; from any thread."""
        loop = self._loop
        if loop is not None and self.viewers:
            with suppress(RuntimeError):  # the loop is closing
                loop.call_soon_threadsafe(self._publish, frame)

    def close(self) -> None:
        """Disconnect all viewers and stop; closing twice is fine."""
        self._server.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._publish, None)
        self._thread.join()
        self._socket.close()

    # ---- in the server's thread ----

    def _run(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.serve(sockets=[self._socket])

        asyncio.run(serve())

    def _publish(self, frame: bytes | None) -> None:
        self._frame = frame
        new, self._new = self._new, asyncio.Event()
        new.set()

    def _refusal(self, request: HTTPConnection, token: bool) -> str | None:
        """Return why a request is refused, None if it is not."""
        own = {f"{name}:{self.port}" for name in (self.host, LOOPBACK, "localhost", f"[{self.host}]", "[::1]")}
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if self.host in (LOOPBACK, "::1") and host not in own:
            return f"this page is not served as {host}"
        if origin is not None and origin.removeprefix("http://") != host:
            return f"requests from {origin} are refused"
        if token and not secrets.compare_digest(request.query_params.get("token", ""), self.token):
            return "open the address that was printed, with its token"
        return None

    async def _file(self, request: Any) -> Any:
        from starlette.responses import PlainTextResponse, Response  # noqa: PLC0415  optional

        name = request.url.path.removeprefix("/") or "index.html"
        if refusal := self._refusal(request, token=name == "index.html"):
            return PlainTextResponse(refusal, 403)
        content = (files("rlgames.web") / "static" / name).read_bytes()
        headers = {"Cache-Control": "no-store", "Content-Security-Policy": "default-src 'self'; img-src 'self' data:"}
        return Response(content, media_type=MEDIA[name], headers=headers)

    async def _describe(self, request: Any) -> Any:
        return self._json(request, {"live": self.description})

    async def _describe_training(self, request: Any) -> Any:
        return self._json(request, self.training)

    def _json(self, request: Any, content: Any) -> Any:
        from starlette.responses import JSONResponse, PlainTextResponse  # noqa: PLC0415  optional

        if refusal := self._refusal(request, token=True):
            return PlainTextResponse(refusal, 403)
        return JSONResponse(content, headers={"Cache-Control": "no-store"})

    async def _send_frames(self, viewer: WebSocket) -> None:
        from starlette.websockets import WebSocketDisconnect  # noqa: PLC0415  optional

        if self._refusal(viewer, token=True):
            return await viewer.close(4403)
        await viewer.accept()
        self.viewers += 1
        reader = asyncio.create_task(self._read_commands(viewer))
        try:
            while not reader.done() and not self._server.should_exit:
                new = self._new
                if self._frame is not None:
                    await viewer.send_bytes(self._frame)
                waiting = asyncio.create_task(new.wait())
                await asyncio.wait([waiting, reader], return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        except (WebSocketDisconnect, RuntimeError, OSError):  # it has gone
            pass
        finally:
            self.viewers -= 1
            reader.cancel()
            with suppress(asyncio.CancelledError, RuntimeError):
                await reader

    async def _read_commands(self, viewer: WebSocket) -> None:
        from starlette.websockets import WebSocketDisconnect  # noqa: PLC0415  optional

        with suppress(WebSocketDisconnect, json.JSONDecodeError):
            while True:
                command = await viewer.receive_json()
                if isinstance(command, dict):
                    self.commands.put(command)


def page_address(listener: socket.socket, token: str) -> str:
    """Return the address to open, with the token."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/?token={token}"


def listen(host: str = LOOPBACK, port: int = 0) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises UsageError if the address cannot be used, DependencyNotInstalled without the extra `live`.
    """
    if not all(map(find_spec, ("starlette", "uvicorn", "websockets"))):
        raise DependencyNotInstalled('a live page needs the extra live: pip install "rlgames[live]"')
    if not 0 <= port < 2**16:
        raise UsageError(f"expected a port from 0 to 65535, got {port}")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port} ({error}): choose another --host or --port") from error
