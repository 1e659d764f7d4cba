"""`Page`: one tab of a browser over the Chrome DevTools Protocol: evaluates expressions through a websocket."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

from rlgames.envs.chrome_dino.browser import TESTED_RELEASE, TIMEOUT, BrowserError


class Page:
    """One tab. Raises BrowserError when the tab has crashed or was closed, or the browser exits or does not answer."""

    def __init__(self, address: str):
        import websocket  # noqa: PLC0415  optional

        self._connection_errors: tuple[type[Exception], ...] = (websocket.WebSocketException, OSError)
        self._timeout_error = websocket.WebSocketTimeoutException
        self._last_id, self._close_reason = 0, ""
        try:
            self._socket: Any = websocket.create_connection(
                address,
                timeout=TIMEOUT,
                suppress_origin=True,  # the browser refuses connections from pages
                skip_utf8_validation=True,
                http_no_proxy=["*"],
                sockopt=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            )
        except self._connection_errors as error:
            raise BrowserError(f"the tab's debugger at {address} cannot be reached: {error}") from error
        self.call("Inspector.enable")  # reports crashes

    def evaluate(self, expression: str, wait: bool = False) -> Any:
        """Return the value of `expression` in the page, with `wait` the value of the promise that it returns."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=wait)
        if "exceptionDetails" in answer:
            exception = answer["exceptionDetails"].get("exception", {})
            description = exception.get("description") or answer["exceptionDetails"].get("text", "")
            reason = " ".join(description.split())  # one line
            raise BrowserError(
                f"the page's script failed: {reason}; try a release of the browser near {TESTED_RELEASE}"
            )
        return answer["result"].get("value")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Execute a command of the protocol and return its result."""
        self._last_id += 1
        try:
            self._socket.send(json.dumps({"id": self._last_id, "method": method, "params": parameters}))
            while True:
                message = self._receive()
                if message.get("id") == self._last_id:
                    break
        except self._timeout_error:
            raise BrowserError(
                f"the browser has not answered for {TIMEOUT:g} seconds: reset() starts another"
            ) from None
        except self._connection_errors as error:
            with contextlib.suppress(*self._connection_errors):  # the last messages may name the reason
                self._socket.settimeout(0.2)
                while not self._close_reason:
                    self._receive()
            reason = self._close_reason or f"the browser has gone ({type(error).__name__}: {error})"
            raise BrowserError(reason) from error
        if "error" in message:
            raise BrowserError(f"the browser refuses {method}: {message['error'].get('message')}")
        return message["result"]

    def _receive(self) -> dict[str, Any]:
        message = json.loads(self._socket.recv() or "{}")
        if message.get("method") == "Inspector.targetCrashed":
            self._close_reason = "the tab crashed"
            raise ConnectionAbortedError(self._close_reason)
        if message.get("method") == "Inspector.detached":
            reason = message["params"]["reason"]
            self._close_reason = "the tab was closed" if reason == "target_closed" else f"the tab is lost ({reason})"
        return message

    def close(self) -> None:
        with contextlib.suppress(*self._connection_errors):
            self._socket.shutdown()
