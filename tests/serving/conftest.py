"""The service in this process, with the bundle that the package ships with."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.serving.app import create_app
from mnistnet.serving.served import Current, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anyio.from_thread import BlockingPortal
    from playwright.sync_api import Browser, Page

    from mnistnet.serving.collecting import Collection


class Client:
    """Sends requests to the application; what the application does not expect is raised.

    They are sent in a thread of their own: Playwright's event loop runs in the tests' thread.
    """

    def __init__(
        self, current: Current, portal: BlockingPortal, collection: Collection | None = None
    ) -> None:
        transport = httpx.ASGITransport(create_app(current, collection))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")
        self.portal = portal

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request; the options are httpx's."""
        return self.portal.call(partial(self.http.request, method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Send a GET."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Send a POST."""
        return self.request("POST", path, **options)


@pytest.fixture(scope="session")
def current() -> Current:
    """The shipped bundle, loaded as version v7."""
    return Current(load(DEFAULT_BUNDLE, "v7"))


@pytest.fixture(scope="session")
def client(current: Current) -> Iterator[Client]:
    """A client of an application that serves `current`."""
    with start_blocking_portal() as portal:
        yield Client(current, portal)


@pytest.fixture
def collecting(current: Current) -> Iterator[Callable[[Collection], Client]]:
    """Make a client of an application that keeps misread pictures in a collection."""
    with start_blocking_portal() as portal:
        yield lambda collection: Client(current, portal, collection)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where `mnistnet serve` answers, a process of its own."""
    from test_serve import serving

    with serving() as (_, address):
        yield address


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser with a new profile."""
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=quiet)


@pytest.fixture
def complaints() -> list[str]:
    """What pages wrote to the console, and what they asked of other places."""
    return []


@pytest.fixture
def listen(complaints: list[str]) -> Iterator[Callable[[Page], None]]:
    """Collect what a page writes to the console. Complaints that are left at the end are errors."""

    def listen(page: Page) -> None:
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))

    yield listen
    assert complaints == []


@pytest.fixture
def open_page(
    browser: Browser, address: str, complaints: list[str], listen: Callable[[Page], None]
) -> Iterator[Callable[..., Page]]:
    """Open the page in a window of its own; the options are those of `Browser.new_context`."""
    contexts = []

    def open_page(where: str = address, **options: Any) -> Page:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        listen(page)
        page.on("request", lambda request: is_own(request.url) or complaints.append(request.url))
        page.goto(where)
        page.wait_for_selector("#gallery button")
        return page

    def is_own(url: str) -> bool:
        return url.startswith((f"{address}/", "blob:", "data:", "http://127.0.0.1:"))

    yield open_page
    for context in contexts:
        context.close()
