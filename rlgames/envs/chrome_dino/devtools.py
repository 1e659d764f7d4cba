"""`Page`: one tab of a browser over the Chrome DevTools Protocol, a websocket: an expression in, its value out."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

from rlgames.envs.chrome_dino.browser import CHECKED, TIMEOUT, BrowserError


class Page:
    """Raises BrowserError when the tab crashed or was closed, when the browser has gone or does not answer."""

    def __init__(self, address: str):
        import websocket

        self._lost: tuple[type[Exception], ...] = (websocket.WebSocketException, OSError)
        self._late = websocket.WebSocketTimeoutException
        self._asked, self._fate = 0, ""
        try:
            self._socket: Any = websocket.create_connection(
                address,
                timeout=TIMEOUT,
                suppress_origin=True,  # the browser refuses those of pages
                skip_utf8_validation=True,
                http_no_proxy=["*"],
                sockopt=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            )
        except self._lost as error:
            raise BrowserError(f"the tab's debugger at {address} cannot be reached: {error}") from error
        self.call("Inspector.enable")  # tells of crashes

    def evaluate(self, expression: str, wait: bool = False) -> Any:
        """The value of `expression` in the page; with `wait` that of the promise that it makes."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=wait)
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"].get("exception", {})
            reason = thrown.get("description") or answer["exceptionDetails"].get("text", "")
            raise BrowserError(f"the page's script failed: {reason}; try a release of the browser near {CHECKED}")
        return answer["result"].get("value")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol and its result."""
        self._asked += 1
        try:
            self._socket.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
            while True:
                message = self._next()
                if message.get("id") == self._asked:
                    break
        except self._late:
            raise BrowserError(
                f"the browser has not answered for {TIMEOUT:g} seconds: reset() starts another"
            ) from None
        except self._lost as error:
            with contextlib.suppress(*self._lost):  # its last words may say why
                self._socket.settimeout(0.2)
                while not self._fate:
                    self._next()
            raise BrowserError(self._fate or f"the browser has gone ({type(error).__name__}: {error})") from error
        if "error" in message:
            raise BrowserError(f"the browser refuses {method}: {message['error'].get('message')}")
        return message["result"]

    def _next(self) -> dict[str, Any]:
        message = json.loads(self._socket.recv() or "{}")
        if message.get("method") == "Inspector.targetCrashed":
            self._fate = "the tab crashed"
            raise ConnectionAbortedError(self._fate)
        if message.get("method") == "Inspector.detached":
            reason = message["params"]["reason"]
            self._fate = "the tab was closed" if reason == "target_closed" else f"the tab is lost ({reason})"
        return message

    def close(self) -> None:
        with contextlib.suppress(*self._lost):
            self._socket.shutdown()
