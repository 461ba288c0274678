"""A small OPTIMADE server whose pages can be made to fail, on 127.0.0.1, in a thread.

with FaultyServer(pages) as server:
    server.faults[2] = [status(500), status(503)]   # page 2 fails twice, then it is good
    server.faults[3] = [cut()] * 99                 # page 3 never arrives whole
    OptimadeSource([server.url], ...)
    assert server.requested == [1, 2, 2, 2, 3, ...]
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pymatgen.core import Lattice, Structure

from tests.sources.optimade_server import entry

Fault = Callable[[BaseHTTPRequestHandler, bytes], None]


def cubic(a: float, partner: str = "Ag") -> Structure:
    return Structure(Lattice.cubic(a), ["Mg", partner], [[0, 0, 0], [0.5, 0.5, 0.5]])


def pages_of(number: int, size: int = 2, prefix: str = "x") -> list[list[dict[str, Any]]]:
    entries = [resource(entry(cubic(3.2 + 0.01 * i), f"{prefix}-{i:03d}")) for i in range(number)]
    return [entries[i : i + size] for i in range(0, number, size)]


def resource(attributes: dict[str, Any]) -> dict[str, Any]:
    inner = {key: value for key, value in attributes.items() if key != "id"}
    return {"id": attributes["id"], "type": "structures", "attributes": inner}


def status(code: int, text: str = "", **headers: str) -> Fault:
    def send(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        reply(handler, text.encode(), code, headers)

    return send


def body(content: Any) -> Fault:
    """Send something else than the page: text as it is, anything else as JSON."""
    text = content if isinstance(content, str) else json.dumps(content)
    return lambda handler, _: reply(handler, text.encode(), 200, {})


def cut() -> Fault:
    """Promise the page, send half of it and hang up."""

    def send(handler: BaseHTTPRequestHandler, page: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(page)))
        handler.end_headers()
        handler.wfile.write(page[: len(page) // 2])

    return send


def drip(seconds: float = 10.0) -> Fault:
    """Send the page byte by byte, so that no pause is long but the page takes for ever."""

    def send(handler: BaseHTTPRequestHandler, page: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(page)))
        handler.end_headers()
        end = time.monotonic() + seconds
        for i in range(len(page)):
            if time.monotonic() > end or handler.server.closing.is_set():  # type: ignore[attr-defined]
                return
            handler.wfile.write(page[i : i + 1])
            handler.wfile.flush()
            time.sleep(0.02)

    return send


def silent(seconds: float = 10.0) -> Fault:
    """Say nothing at all."""
    return lambda handler, _: handler.server.closing.wait(seconds)  # type: ignore[attr-defined, func-returns-value]


def squeezed() -> Fault:
    return lambda handler, page: reply(handler, gzip.compress(page), 200, {"Content-Encoding": "gzip"})


def reply(handler: BaseHTTPRequestHandler, content: bytes, code: int, headers: dict[str, str]) -> None:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


class FaultyServer:
    """Pages of entries under /v1/structures?page_offset=N.

    Attributes
    ----------
    requested
        Numbers of the pages in the order of the requests.
    queries
        Of these requests.
    faults
        By number of the page; taken from the front, the good page when none is left.
    check
        Called with the query of a request for a first page; what it returns is sent instead of the page.
    next_of
        Makes the ``links.next`` of a page from the address it should have.
    """

    def __init__(self, pages: Sequence[list[Any]], prefix: str = "x") -> None:
        self.pages = list(pages)
        self.prefix = prefix
        self.requested: list[int] = []
        self.queries: list[dict[str, str]] = []
        self.faults: dict[int, list[Fault]] = defaultdict(list)
        self.check: Callable[[dict[str, str]], Fault | None] = lambda _: None
        self.next_of: Callable[[str], Any] = lambda address: address
        self.meta: dict[str, Any] = {"data_returned": sum(len(page) for page in self.pages)}

    def __enter__(self) -> FaultyServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.closing = threading.Event()  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/{self.prefix}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.closing.set()  # type: ignore[attr-defined]
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == f"/{self.prefix}/v1/info":
            self._send(handler, {"meta": {"provider": {"prefix": self.prefix}}}, 0)
            return
        if parts.path != f"/{self.prefix}/v1/structures":
            reply(handler, b"", 404, {})
            return
        number = int(query.get("page_offset", "1"))
        self.requested.append(number)
        self.queries.append(query)
        refusal = self.check(query) if number == 1 else None
        if refusal:
            refusal(handler, b"")
            return
        following = f"{self.url}/v1/structures?page_offset={number + 1}" if number < len(self.pages) else None
        links = {"next": self.next_of(following) if following else None}
        self._send(handler, {"data": self.pages[number - 1], "meta": self.meta, "links": links}, number)

    def _send(self, handler: BaseHTTPRequestHandler, content: Any, number: int) -> None:
        page = json.dumps(content).encode()
        faults = self.faults[number]
        try:
            if faults:
                faults.pop(0)(handler, page)
            else:
                reply(handler, page, 200, {"Content-Type": "application/json"})
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client lost patience
