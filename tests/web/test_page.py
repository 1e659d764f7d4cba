"""The page in a real browser: games in WebAssembly, and a live game; what is seen moves, and controls steer it."""

from __future__ import annotations

import functools
import http.server
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.chrome import skip_without_browser
from helpers.processes import TIMEOUT

import rlgames
from rlgames.agents.base import Agent
from rlgames.agents.ppo import PPOConfig
from rlgames.envs.chrome_dino.browser import Browser
from rlgames.envs.chrome_dino.devtools import Page
from rlgames.errors import UsageError
from rlgames.runs.training import Training, open_session
from rlgames.web import page
from rlgames.web.live import LivePlayer
from rlgames.web.page import build_page
from rlgames.web.server import LiveServer, listen
from rlgames.web.training import TrainingPage

skip_without_browser()

SCRIPT = """
window.errors = [];
addEventListener("error", (event) => errors.push(event.message));
window.picture = (name = "picture") => { // a checksum: the text of a picture is long
  const canvas = document.getElementById(name);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return `${canvas.width} x ${canvas.height}, ${data.reduce((sum, byte) => (Math.imul(sum, 31) + byte) | 0, 7)}`;
};
"""


def small_agent(game: str) -> Agent:
    """Return an agent that has learned nothing, with a network as the presets have them."""
    encoder = "cave" if game == "Cave" else "vector"
    return rlgames.PPO(game, PPOConfig(encoder=encoder, net_arch=(16,)), num_envs=1)


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, paths = tmp_path_factory.mktemp("agents"), {}
    for game in ("CatchBall", "Cave"):
        paths[game] = folder / f"{game}.ckpt"
        with small_agent(game) as agent:
            agent.save(paths[game], weights_only=True)
    return paths


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    timeout = 1  # second: the browser opens connections in advance, and keeps them for a minute

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(agents: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, served as any static server does."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "LARGE", 10**9)  # the check of rounded weights plays many episodes
        lines = build_page(folder, list(agents.values()))
    assert [line.partition(":")[0] for line in lines] == ["CatchBall", "Cave"]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


class Tab:
    """A page in a browser."""

    def __init__(self, browser: Browser, page: Page | None = None):
        self.browser, self.page = browser, page or browser.page

    def open(self, address: str) -> None:
        self.page.load("about:blank")  # so that an address that differs after # alone is loaded anew
        self.page.load(address)
        self.wait("document.getElementById('stage').hidden === false")

    def js(self, expression: str) -> Any:
        return self.page.evaluate(expression, wait=True)

    def text(self, name: str) -> str:
        return self.js(f"document.getElementById('{name}').textContent")

    def click(self, name: str) -> None:
        self.js(f"document.getElementById('{name}').click()")

    def wait(self, condition: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not self.js(condition):
            assert time.monotonic() < deadline, (condition, self.text("message"), self.js("errors"))
            time.sleep(0.05)

    def wait_for_change(self, expression: str) -> None:
        before = json.dumps(self.js(expression))
        self.wait(f"JSON.stringify({expression}) !== {json.dumps(before)}")

    def key(self, key: str, *, down: bool = True) -> None:
        self.page.call("Input.dispatchKeyEvent", type="keyDown" if down else "keyUp", key=key)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser(SCRIPT)
    yield browser
    browser.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    tab = Tab(browser)
    yield tab
    assert tab.js("errors") == []
    tab.page.load("about:blank")


PICTURE = "picture()"
BARS = "[...document.querySelectorAll('#bars i')].map((bar) => bar.style.width)"


def test_the_agent_plays_and_pause_stops_it(tab: Tab, address: str) -> None:
    tab.open(f"{address}#game=Cave")
    tab.wait_for_change(PICTURE)
    tab.wait_for_change(BARS)
    assert tab.text("bars-title") == "Action probabilities"
    tab.click("pause")
    tab.click("restart")  # the game may be over
    tab.wait("document.getElementById('message').textContent === 'Paused'")
    before = tab.js(PICTURE)
    time.sleep(0.3)
    assert tab.js(PICTURE) == before
    tab.click("one-step")
    tab.wait(f"{PICTURE} !== {json.dumps(before)}")
    tab.click("saliency")
    tab.click("pause")
    tab.wait_for_change(PICTURE)


def test_scores_equal_those_of_evaluate(tab: Tab, address: str, agents: dict[str, Path]) -> None:
    tab.open(address)
    for game, path in agents.items():
        scores = tab.js(
            "import(new URL('page.js', location.href)).then((page) => page.evaluate(new URL('.', location.href),"
            f" {game!r}, 'ppo', [...Array(20).keys()]))"
        )
        assert scores == rlgames.evaluate(path, episodes=20, seed=0).scores


def test_a_person_takes_over_with_the_keyboard_alone(tab: Tab, address: str) -> None:
    pictures = []
    for key in ("a", "d", "a"):
        tab.open(f"{address}#game=CatchBall&seed=3")
        tab.key("p")
        tab.key("r")
        tab.wait("document.getElementById('message').textContent === 'Paused'")
        tab.key("t")
        tab.wait("document.getElementById('take-over').getAttribute('aria-pressed') === 'true'")
        assert not tab.js("document.getElementById('keys').hidden")
        tab.key(key)
        for _ in range(3):
            tab.key("n")
            tab.key("n", down=False)
        tab.key(key, down=False)
        pictures.append(tab.js(PICTURE))
        tab.key("t")
        tab.wait("document.getElementById('take-over').textContent === 'Take over'")
    assert pictures[0] == pictures[2] != pictures[1]


def test_a_link_replays_a_game(tab: Tab, address: str) -> None:
    """The address carries every action, a person's and the agent's."""
    tab.open(f"{address}#game=CatchBall&seed=11")
    tab.click("pause")
    tab.click("restart")
    tab.click("take-over")
    for _ in range(4):
        tab.click("one-step")
    tab.click("take-over")
    for _ in range(2):
        tab.click("one-step")
    picture = tab.js(PICTURE)
    tab.click("share")
    tab.wait("location.hash.includes('actions=')")
    link = tab.js("location.href")
    assert "seed=11" in link
    tab.open(link)
    tab.wait("document.getElementById('message').textContent === 'Replay'")
    tab.wait("document.getElementById('message').textContent === 'Paused'")  # at its end
    assert tab.js(PICTURE) == picture


def test_a_person_plays_against_the_agent_on_one_seed(tab: Tab, address: str) -> None:
    tab.open(f"{address}#game=CatchBall&seed=2")
    tab.click("pause")
    tab.click("versus")
    tab.wait("!document.getElementById('rival').hidden")
    assert tab.js(PICTURE) == tab.js("picture('rival-picture')")  # the same first balls
    assert tab.text("rival-score") == "0"


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (390, "light"), (1280, "dark")])
def test_nothing_is_cut_off_and_all_controls_have_names(tab: Tab, address: str, width: int, scheme: str) -> None:
    tab.page.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=2, mobile=width < 500
    )
    tab.page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    try:
        tab.open(address)
        tab.click("versus")
        assert tab.js("document.documentElement.scrollWidth") <= width
        unnamed = tab.js(
            "[...document.querySelectorAll('button, input, select, canvas, output')].filter((each) =>"
            " !(each.textContent.trim() || each.ariaLabel || each.labels?.length)).map((each) => each.id)"
        )
        assert unnamed == []
        background = tab.js("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(21, 23, 29)") == (scheme == "dark")
    finally:
        tab.page.call("Emulation.clearDeviceMetricsOverride")
        tab.page.call("Emulation.setEmulatedMedia", features=[])


class Live:
    """A live page on which an untrained agent plays CatchBall, at a speed that a test can follow."""

    def __init__(self) -> None:
        self.agent = small_agent("CatchBall")
        self.player = LivePlayer(self.agent)
        self.stop, self.thread = threading.Event(), threading.Thread(target=self.play)
        self.serve(None, None)
        self.thread.start()

    def serve(self, listener: socket.socket | None, token: str | None) -> None:
        self.server = self.player.server = LiveServer(self.player.describe(), listener, token)

    def play(self) -> None:
        while not self.stop.wait(self.player.advance()):
            pass

    def restart_server(self) -> None:
        """Close the server, and serve the same game at the same address."""
        port, token = self.server.port, self.server.token
        self.server.close()
        self.serve(listen(port=port), token)

    @property
    def bar(self) -> int:
        """The leftmost cell of the game's bar."""
        env: Any = self.player.env.unwrapped
        return int(env._state.records["bar"][0])

    def close(self) -> None:
        self.stop.set()
        self.thread.join()
        self.server.close()
        self.player.close()
        self.agent.close()


@pytest.fixture
def live() -> Iterator[Live]:
    live = Live()
    yield live
    live.close()


def test_a_live_game_moves_pauses_and_obeys(tab: Tab, live: Live) -> None:
    tab.open(live.server.address)
    tab.wait_for_change(PICTURE)
    tab.wait_for_change(BARS)
    tab.click("pause")
    tab.click("restart")  # the game may be over
    tab.wait("document.getElementById('message').textContent === 'Paused'")
    before = tab.js(PICTURE)
    time.sleep(0.3)
    assert tab.js(PICTURE) == before
    tab.click("take-over")
    tab.wait("document.getElementById('take-over').textContent === 'Hand back'")
    for key, end in (("a", 0), ("ArrowRight", 5)):
        tab.click("restart")
        wait_until(lambda: live.player.steps == 0)
        tab.key(key)
        for _ in range(5):
            tab.click("one-step")
        wait_until(lambda: live.player.steps == 5)
        tab.key(key, down=False)
        assert live.bar == end
    tab.page.load(live.server.address)  # a reload gets the running game
    tab.wait("document.getElementById('take-over').textContent === 'Hand back'")


@pytest.mark.slow
def test_two_viewers_see_one_game(tab: Tab, live: Live) -> None:
    other = Tab(tab.browser, Page(tab.browser.devtools, SCRIPT))
    for each in (tab, other):
        each.open(live.server.address)
    other.click("pause")
    other.click("restart")
    other.click("saliency")
    for each in (tab, other):
        each.wait("document.getElementById('message').textContent === 'Paused'")
        each.wait("document.getElementById('saliency').checked")
    wait_until(lambda: tab.js(PICTURE) == other.js(PICTURE))
    other.page.call("Page.close")
    wait_until(lambda: live.server.viewers == 1)
    tab.click("pause")
    tab.wait_for_change(PICTURE)


@pytest.mark.slow
def test_a_lost_connection_is_made_again(tab: Tab, live: Live) -> None:
    tab.open(live.server.address)
    tab.js(
        "(window.said = [], new MutationObserver(() => said.push(document.getElementById('message').textContent))"
        ".observe(document.getElementById('message'), { childList: true }))"
    )
    live.restart_server()
    tab.wait("said.includes('The connection is lost, trying again …')")
    tab.wait("document.getElementById('message').textContent === 'The agent plays'")
    tab.wait_for_change(PICTURE)


@pytest.mark.slow
def test_pages_of_other_servers_get_nothing(tab: Tab, address: str, live: Live) -> None:
    """Even if they know the token."""
    tab.open(address)
    ask = "fetch({address!r}).then(() => 'got it', (error) => error.name)"
    for path in ("page.json", "training.json", ""):
        assert tab.js(ask.format(address=live.server.address.replace("/?", f"/{path}?"))) == "TypeError"
    frames = live.server.address.replace("http", "ws").replace("/?", "/frames?")
    opened = (
        f"new Promise((end) => {{ const socket = new WebSocket({frames!r}); let frames = 0;"
        " socket.onmessage = () => frames++; socket.onclose = () => end(frames); })"
    )
    assert tab.js(opened) == 0


@pytest.mark.slow
def test_a_training_is_seen(tab: Tab, tmp_path: Path) -> None:
    """Its curves, and its agent, which can be taken over; the page is served as the command does it."""
    training = Training("ppo", "CatchBall", PPOConfig(n_steps=64, net_arch=(16,)), steps=10**9, envs=2, log_every=500)
    session = open_session(training, tmp_path / "run", quiet=True)
    live = QuietPage(session, listen())
    stop = threading.Event()

    def update() -> None:
        live.update()
        if stop.is_set():
            raise KeyboardInterrupt

    def train() -> None:
        with suppress(KeyboardInterrupt):
            session.run(update)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        with urllib.request.urlopen(live.address, timeout=TIMEOUT):  # once it serves, the browser need not wait
            pass
        tab.open(live.address)
        tab.wait("!document.getElementById('training').hidden && document.getElementById('curve').width > 300")
        tab.wait("document.getElementById('losses').children.length > 5")
        tab.wait_for_change("document.getElementById('progress').textContent")
        tab.wait_for_change("document.getElementById('player-name').textContent")
        tab.wait_for_change(PICTURE)
        tab.click("pause")
        tab.click("restart")
        tab.wait("document.getElementById('message').textContent === 'Paused'")
        tab.click("take-over")
        tab.wait("document.getElementById('take-over').textContent === 'Hand back'")
        tab.wait_for_change("document.getElementById('progress').textContent")  # the training goes on
    finally:
        stop.set()
        thread.join()
        live.close()
        session.close()
    tab.wait("document.getElementById('message').textContent.startsWith('The connection is lost')")


class QuietPage(TrainingPage):
    niceness = 0  # other tests run beside it


def test_weights_of_large_networks_are_rounded_if_no_score_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    with small_agent("Cave") as agent:
        exact = [parameter.detach().numpy().copy() for parameter in agent.net.parameters()]
        scores = iter([[1.0], [2.0]])
        monkeypatch.setattr(page, "greedy_scores", lambda agent: next(scores))
        page.shorten(agent)
        for parameter, before in zip(agent.net.parameters(), exact, strict=True):
            assert np.array_equal(parameter.detach().numpy(), before)
        monkeypatch.setattr(page, "greedy_scores", lambda agent: [1.0])
        page.shorten(agent)
        for parameter, before in zip(agent.net.parameters(), exact, strict=True):
            rounded = parameter.detach().numpy()
            assert not (rounded.view(np.uint32) & 0xFF).any()
            assert np.allclose(rounded, before, rtol=2**-16, atol=0)


def test_agents_that_a_page_cannot_show_are_named(tmp_path: Path) -> None:
    agent = rlgames.PPO("CatchBall", PPOConfig(recurrent=True, encoder="grid"), num_envs=1)
    agent.save(tmp_path / "lstm.ckpt", weights_only=True)
    agent.close()
    with pytest.raises(UsageError, match="a page cannot compute a RecurrentActorCritic"):
        build_page(tmp_path / "page", [tmp_path / "lstm.ckpt"])
    assert not (tmp_path / "page").exists()
