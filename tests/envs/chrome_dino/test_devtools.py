"""A tab over the DevTools protocol: values of expressions, and one clear error for everything that fails."""

import json
import time
from collections.abc import Iterator

import pytest
from helpers.chrome import skip_without_browser

from rlgames.envs.chrome_dino.browser import Browser, BrowserError
from rlgames.envs.chrome_dino.devtools import Page

skip_without_browser()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser("window.fromScript = 3;")
    yield browser
    browser.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A new tab."""
    browser.driver.switch_to.new_window("tab")
    page = Page(browser.open("about:blank"))
    yield page
    page.close()
    browser.driver.switch_to.window(browser.driver.window_handles[0])


def test_evaluate_returns_values_and_awaits_promises(tab: Page) -> None:
    assert tab.evaluate("[1, 'two', null, {three: 3.5}]") == [1, "two", None, {"three": 3.5}]
    assert tab.evaluate("undefined") is None
    assert tab.evaluate("new Promise(done => setTimeout(() => done(4), 1))", wait=True) == 4


def test_the_browsers_script_runs_in_every_document_of_its_tab(browser: Browser) -> None:
    for url in ("about:blank", "data:text/html,<p>"):
        page = Page(browser.open(url))
        assert page.evaluate("fromScript") == 3
        page.close()


def test_evaluate_raises_for_an_exception_of_the_page(tab: Page) -> None:
    with pytest.raises(
        BrowserError, match="script failed: ReferenceError: nothing is not defined at .*; try a release"
    ):
        tab.evaluate("nothing")
    assert tab.evaluate("1") == 1


def test_call_raises_for_a_command_that_the_browser_refuses(tab: Page) -> None:
    with pytest.raises(BrowserError, match="the browser refuses Page.fly: .*wasn't found"):
        tab.call("Page.fly")


def evaluate_until_error(tab: Page) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        tab.evaluate("1")


def test_evaluate_raises_when_the_tab_crashes(tab: Page) -> None:
    tab._socket.send(json.dumps({"id": 0, "method": "Page.crash"}))
    with pytest.raises(BrowserError, match="the tab crashed"):
        evaluate_until_error(tab)


def test_evaluate_raises_when_the_tab_is_closed(browser: Browser, tab: Page) -> None:
    browser.driver.close()
    with pytest.raises(BrowserError, match="the tab was closed"):
        evaluate_until_error(tab)


def test_evaluate_raises_when_the_page_does_not_answer(tab: Page) -> None:
    tab._socket.settimeout(0.5)
    with pytest.raises(BrowserError, match=r"has not answered for 30 seconds: reset\(\) starts another"):
        tab.evaluate("new Promise(() => null)", wait=True)


def test_a_debugger_that_cannot_be_reached_raises() -> None:
    with pytest.raises(BrowserError, match="debugger at ws://localhost:1/ cannot be reached"):
        Page("ws://localhost:1/")
