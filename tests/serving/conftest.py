"""The service in this process, with the bundle that the package ships with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.serving.app import create_app
from mnistnet.serving.served import Current, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnistnet.serving.collecting import Collection


class Client:
    """Sends requests to the application; what the application does not expect is raised."""

    def __init__(
        self, current: Current, runner: asyncio.Runner, collection: Collection | None = None
    ) -> None:
        transport = httpx.ASGITransport(create_app(current, collection))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")
        self.run = runner.run

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request; the options are httpx's."""
        return self.run(self.http.request(method, path, **options))

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
    with asyncio.Runner() as runner:
        yield Client(current, runner)


@pytest.fixture
def collecting(current: Current) -> Iterator[Callable[[Collection], Client]]:
    """Make a client of an application that keeps misread pictures in a collection."""
    with asyncio.Runner() as runner:
        yield lambda collection: Client(current, runner, collection)
