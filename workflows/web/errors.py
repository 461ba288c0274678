"""Pages of errors: the line that the command line would print, with a status and never a traceback."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException

from stores.errors import DamagedDocumentError, InputError, MgsurfError, one_line
from stores.secrets import masked
from workflows.web.pages import NotFoundError, html_response, json_response

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOG = logging.getLogger(__name__)

TITLES = {
    400: "The address cannot be read",
    404: "Not found",
    405: "Read only",
    422: "The record cannot be read",
    500: "Internal error",
    503: "The store cannot be read",
}


def add_error_pages(app: FastAPI) -> None:
    """Answer every exception with a page, or JSON where JSON was wanted."""
    app.add_exception_handler(MgsurfError, _known)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(_FaultPages)


class _FaultPages:
    """Answers exceptions that no handler knows.

    A handler of Starlette for these would answer outside of the middlewares, without the headers of
    `workflows.web.security`, and the server would print the traceback.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_watched)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            await _unknown(Request(scope), error)(scope, receive, send)


def _known(request: Request, error: Exception) -> Response:
    statuses = ((NotFoundError, 404), (InputError, 400), (DamagedDocumentError, 422))
    status = next((status for kind, status in statuses if isinstance(error, kind)), 503)
    return error_page(request, status, str(error))


def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        return error_page(
            request, status, f"There is no page {one_line(request.url.path)[:200]}; choose one above"
        )
    if status == 405:
        page = error_page(request, status, "These pages only read; send GET")
        page.headers["allow"] = "GET, HEAD"
        return page
    return error_page(request, status, str(getattr(error, "detail", error)))


def _unknown(request: Request, error: Exception) -> Response:
    line = f"internal error, {type(error).__name__}: {one_line(error)[:200] or 'no message'}"
    _LOG.warning("%s at %s", masked(line), one_line(request.url.path)[:200])
    _LOG.debug("%s", masked("".join(traceback.format_exception(error))))
    return error_page(request, 500, f"{line}; please report it with this page's address")


def error_page(request: Request, status: int, text: str) -> Response:
    """Answer with one line about what happened, where, and what to do."""
    line = masked(one_line(text))
    if request.url.path.endswith(".json"):
        return json_response({"error": line, "status": status}, status)
    data: dict[str, Any] = {"title": TITLES.get(status, f"Error {status}"), "line": line, "status": status}
    return html_response(request, "error.html", data, status)
