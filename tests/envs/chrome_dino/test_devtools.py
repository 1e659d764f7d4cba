"""A tab over the DevTools protocol: values of expressions, and one clear error for everything that fails."""

from collections.abc import Iterator

import pytest
from helpers.chrome import skip_without_browser

from rlgames.envs.chrome_dino.browser import Browser
from rlgames.envs.chrome_dino.devtools import BrowserError, BrowserLostError, Page

skip_without_browser()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser("")
    yield browser
    browser.close()


@pytest.fixture
def tab(browser: Browser) -> Page:
    """A new tab."""
    return load("about:blank", browser)


def load(url: str, browser: Browser) -> Page:
    page = Page(browser.devtools, "window.fromScript = 3;")
    page.load(url)
    return page


def test_evaluate_returns_values_and_awaits_promises(tab: Page) -> None:
    assert tab.evaluate("[1, 'two', null, {three: 3.5}]") == [1, "two", None, {"three": 3.5}]
    assert tab.evaluate("undefined") is None
    assert tab.evaluate("new Promise(done => setTimeout(() => done(4), 1))", wait=True) == 4


def test_evaluate_returns_long_values(tab: Page) -> None:
    assert tab.evaluate("'ä'.repeat(1e6)") == "ä" * 1_000_000


def test_the_script_runs_in_every_document_of_the_tab(tab: Page) -> None:
    assert tab.evaluate("fromScript") == 3
    for url in ("data:text/html,<p>", "chrome://version"):
        tab.load(url)
        assert tab.evaluate("[document.readyState, fromScript]") == ["complete", 3]


def test_load_raises_where_there_is_no_page(tab: Page) -> None:
    with pytest.raises(BrowserError, match="does not open file:///nowhere: net::ERR_FILE_NOT_FOUND"):
        tab.load("file:///nowhere")


def test_evaluate_raises_for_an_exception_of_the_page(tab: Page) -> None:
    with pytest.raises(
        BrowserError, match="script failed: ReferenceError: nothing is not defined at .*; try a release"
    ):
        tab.evaluate("nothing")
    assert tab.evaluate("1") == 1


def test_call_raises_for_a_command_that_the_browser_refuses(browser: Browser, tab: Page) -> None:
    for call in (tab.call, browser.devtools.call):
        with pytest.raises(BrowserError, match="the browser refuses Page.fly: .*wasn't found"):
            call("Page.fly")


def test_evaluate_raises_when_the_tab_crashes(tab: Page) -> None:
    tab._devtools.send("Page.crash", {}, tab._session)
    with pytest.raises(BrowserLostError, match="the tab crashed"):
        tab.evaluate("1")


def test_evaluate_raises_when_the_tab_is_closed(tab: Page) -> None:
    tab._devtools.send("Target.closeTarget", {"targetId": tab.target})
    with pytest.raises(BrowserLostError, match="the tab was closed"):
        tab.evaluate("new Promise(() => null)", wait=True)


def test_evaluate_raises_when_the_page_does_not_answer(browser: Browser, tab: Page) -> None:
    browser.devtools._socket.settimeout(0.5)
    with pytest.raises(BrowserLostError, match="has not answered for 30 seconds"):
        tab.evaluate("new Promise(() => null)", wait=True)
