"""The OPTIMADE application made at its first request, so that pages do not wait for its packages."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from stores.errors import install_command

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from workflows.web.source import StoreSource

BASE = "/optimade"
"""Where the application is mounted: the base URL, below which the version comes."""


class OptimadeMount:
    """An ASGI application that makes `workflows.web.optimade.app` when it is first asked.

    Parameters
    ----------
    source
        The store.
    version
        Of mgsurf.
    """

    def __init__(self, source: StoreSource, version: str = "") -> None:
        self._source, self._version = source, version
        self._app: ASGIApp | None = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        from starlette.concurrency import run_in_threadpool

        if self._app is None and scope["type"] == "http":
            self._app = await run_in_threadpool(self._made)
        if self._app is not None:
            await self._app(scope, receive, send)

    def _made(self) -> ASGIApp:
        with self._lock:
            if self._app is not None:
                return self._app
            try:
                from workflows.web.optimade.app import optimade_app
            except ModuleNotFoundError as error:
                return _missing(error)
            return optimade_app(self._source, self._version)


def _missing(error: ModuleNotFoundError) -> ASGIApp:
    """Return an application that says which package is missing."""
    if error.name and error.name.partition(".")[0] in ("stores", "model", "workflows"):
        raise error
    from starlette.responses import Response

    detail = f"OPTIMADE needs {error.name}; install it with {install_command('serve')}"
    body = json.dumps({"errors": [{"status": "501", "title": "Not Implemented", "detail": detail}]})
    return Response(body, 501, media_type="application/vnd.api+json")
