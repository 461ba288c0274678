"""A small store, a server over it and a browser, one of each for all tests of the pages."""

from __future__ import annotations

import shutil
import threading
import time

import pytest

BROWSER = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SOFTWARE_WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
NO_WEBGL = ["--disable-gpu", "--disable-3d-apis"]


@pytest.fixture(scope="session")
def client_of():
    """Make a client of the application over a store, without a server."""
    from starlette.testclient import TestClient

    from workflows.web.app import create_app

    def client(store, **options):
        return TestClient(create_app(str(store), **options), raise_server_exceptions=False)

    return client


@pytest.fixture(scope="session")
def client(client_of, filled):
    """A client of the pages over the small store."""
    return client_of(filled)


class Server:
    """A server over a store in a thread, at a free port of 127.0.0.1."""

    def __init__(self, store):
        import socket

        import uvicorn

        from workflows.web.app import create_app

        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(create_app(str(store)), log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self):
        self._thread.start()
        deadline = time.monotonic() + 30
        while not self._server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.url

    def __exit__(self, *error):
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


@pytest.fixture(scope="session")
def serving():
    """Serve a store: ``with serving(path) as url``."""
    return Server


@pytest.fixture(scope="session")
def url(serving, filled):
    """Address of a server over the small store."""
    with serving(filled) as address:
        yield address


@pytest.fixture(scope="session")
def playwright():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine; apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        yield lambda flags: driver.chromium.launch(executable_path=chromium, args=[*BROWSER, *flags])


@pytest.fixture(scope="session")
def browser(playwright):
    """Debian's chromium with WebGL in software."""
    launched = playwright(SOFTWARE_WEBGL)
    yield launched
    launched.close()


@pytest.fixture(scope="session")
def browser_without_webgl(playwright):
    launched = playwright(NO_WEBGL)
    yield launched
    launched.close()


@pytest.fixture
def page(browser, url):
    """A page of 1280 pixels width; it must load nothing from elsewhere and log no error."""
    yield from watched_page(browser, url)


def watched_page(browser, url, **options):
    """Yield a page; afterwards assert that no error was logged and no other host was contacted."""
    options = {"viewport": {"width": 1280, "height": 900}, **options}
    context = browser.new_context(base_url=url, **options)
    opened = context.new_page()
    problems, hosts = [], set()
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("request", lambda request: hosts.add("/".join(request.url.split("/")[:3])))
    yield opened
    context.close()
    assert problems == []
    assert {host for host in hosts if not host.startswith(("data:", "blob:"))} <= {url}
