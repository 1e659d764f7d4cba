"""Weights of the zoo: folders, addresses, the cache, and every way in which a file can be another."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rlgames.errors import FailedError, InvalidValueError, NoRunError, NotWritableError
from rlgames.zoo import manifest, weights
from rlgames.zoo.manifest import Card
from rlgames.zoo.weights import find_weights

CONTENT = bytes(range(256)) * 40
CARD = Card(
    **dict.fromkeys(("agent", "config", "seed", "step", "task", "num_envs", "spaces", "command", "checkpoint")),  # pyright: ignore[reportArgumentType]  of no interest here
    **dict.fromkeys(("training", "training_seconds", "run_seconds", "machines", "evaluation")),  # pyright: ignore[reportArgumentType]  nor these
    bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


@pytest.fixture(autouse=True)
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zoo of one agent, "one", and an empty cache; the current directory has no zoo/."""
    monkeypatch.setattr(weights, "find_card", lambda name: {"one": CARD}[name])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RLGAMES_ZOO", raising=False)
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "site" / "rlgames" / "zoo" / "weights.py"))
    monkeypatch.chdir(tmp_path)


def put(folder: Path, content: bytes = CONTENT) -> Path:
    (folder / "one").mkdir(parents=True)
    (folder / "one" / "agent.ckpt").write_bytes(content)
    return folder / "one" / "agent.ckpt"


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves this content at one/agent.ckpt, with another length if given, and its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(content: bytes, length: int | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/zoo/one/agent.ckpt":
                    return self.send_error(404)
                self.send_response(200)
                self.send_header("Content-Length", str(len(content) if length is None else length))
                self.end_headers()
                self.wfile.write(content)
                return None

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/zoo"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_folder_is_given_or_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By --zoo, by RLGAMES_ZOO, as zoo/ in the current directory, or beside the package in a clone."""
    with pytest.raises(NoRunError, match="the weights of one are not here: give the folder or address .* with --zoo"):
        find_weights("one")
    cloned = put(tmp_path / "site" / "zoo")
    assert find_weights("one") == cloned
    put(tmp_path / "zoo")
    assert find_weights("one") == Path("zoo/one/agent.ckpt")
    monkeypatch.setenv("RLGAMES_ZOO", str(tmp_path / "theirs"))
    with pytest.raises(NoRunError, match="theirs/one/agent.ckpt: no such file: --zoo and RLGAMES_ZOO take the folder"):
        find_weights("one")
    assert find_weights("one", str(tmp_path / "site" / "zoo")) == cloned


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"x", CONTENT[:-1] + b"x"])
def test_file_other_than_the_manifests_is_refused(content: bytes, tmp_path: Path, serve: Serve) -> None:
    put(tmp_path / "zoo", content)
    for source in (None, str(tmp_path / "zoo")):
        with pytest.raises(InvalidValueError, match=r"agent.ckpt: is not the file of the manifest, whose sha256 is"):
            find_weights("one", source)
    with pytest.raises(FailedError, match=r"was cut off after|is not the file of the manifest, with sha256 \w+"):
        find_weights("one", serve(content))
    assert not (tmp_path / "cache").exists()


def test_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zoo" / "one" / "agent.ckpt").mkdir(parents=True)
    with pytest.raises(InvalidValueError, match="is a folder, a pipe or a device"):
        find_weights("one")


def test_download_is_kept(tmp_path: Path, serve: Serve) -> None:
    """The address need not answer any more; a damaged file of the cache is downloaded again."""
    address = serve(CONTENT)
    path = find_weights("one", f"{address}/")
    assert path.read_bytes() == CONTENT
    assert [each.name for each in path.parent.iterdir()] == [f"{CARD.sha256}.ckpt"]
    assert path.is_relative_to(tmp_path / "cache")
    assert find_weights("one", "http://127.0.0.1:1/zoo") == find_weights("one") == path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(NoRunError):
        find_weights("one")
    assert find_weights("one", address).read_bytes() == CONTENT


def test_download_that_fails_says_so_and_leaves_nothing(tmp_path: Path, serve: Serve) -> None:
    address = serve(CONTENT[:1000], length=len(CONTENT))
    for source, message in {
        address: "was cut off after 1,000 of 10,240 bytes: try again",
        f"{address}/elsewhere": "answered with 404 Not Found: check the address of --zoo",
        "http://127.0.0.1:1": r"does not answer \(.*refused\)",
        "http://no such host/": "does not answer",
    }.items():
        with pytest.raises(FailedError, match=f"^{source.rstrip('/')}/one/agent.ckpt: {message}") as failure:
            find_weights("one", source)
        assert "\n" not in str(failure.value)
    for source in ("file:///zoo", "ftp://localhost/zoo"):
        with pytest.raises(InvalidValueError, match=f"expected a folder or an http.s. address .*, got '{source}'"):
            find_weights("one", source)
    assert not (tmp_path / "cache").exists()


def test_cache_that_cannot_be_written_is_named(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(NotWritableError, match=r"cache.* cannot be written: .*; set XDG_CACHE_HOME to a folder"):
        find_weights("one", serve(CONTENT))


def test_unknown_name_is_answered_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = {name: replace(CARD, agent=name) for name in ("pong-ppo", "pong-dqn", "cave-ppo")}
    monkeypatch.setattr(manifest, "read_manifest", lambda: cards)
    with pytest.raises(InvalidValueError) as failure:
        manifest.find_card("Pong_PPO")
    assert str(failure.value) == (
        "unknown trained agent 'Pong_PPO': did you mean pong-ppo or pong-dqn? rlgames zoo lists them"
    )
    with pytest.raises(InvalidValueError, match="^unknown trained agent 'xyz': rlgames zoo lists them$"):
        manifest.find_card("xyz")
