"""How a page is declared: one function gives its data, shown as HTML and as JSON of the same address."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from stores.errors import InputError
from workflows.web.notation import FILTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jinja2 import Environment

    from stores.surfaces import SurfaceStore

    Data = Callable[[SurfaceStore, Request], dict[str, Any]]

HERE = Path(__file__).parent


class NotFoundError(InputError):
    """What an address names is not in the store."""


class PageRouter(APIRouter):
    """Routes of pages, each as HTML and, with ``.json`` at the end of its path, as JSON."""

    def page(self, path: str, template: str, json_path: str = "") -> Callable[[Data], Data]:
        """Declare a page by the function that reads its data.

        Parameters
        ----------
        path
            Of the HTML page, with FastAPI's parameters in braces (``request.path_params``).
        template
            Its file in ``templates/``; the keys of the data are its variables.
        json_path
            Of the JSON; else `path` with ``.json``.

        Notes
        -----
        The function is called in a thread with the store, opened for reading, and the request. It returns
        plain values; an InputError becomes a page with status 400, `NotFoundError` one with 404, a
        StoreError one with 503 (`workflows.web.errors`). Keys that begin with an underscore are for the
        template alone.
        """

        def declare(data: Data) -> Data:
            def read(request: Request) -> dict[str, Any]:
                source = request.app.state.source
                found: dict[str, Any] = source.read(lambda store: data(store, request))
                return found

            def as_json(request: Request) -> Response:
                return json_response(_public(read(request)))

            def as_html(request: Request) -> Response:
                return html_response(request, template, read(request))

            # the more particular path first: a parameter of the other might take the ending for its own
            self.add_api_route(json_path or f"{path}.json", as_json, methods=["GET", "HEAD"])
            self.add_api_route(path, as_html, methods=["GET", "HEAD"])
            return data

        return declare


def _public(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if not name.startswith("_")}


def json_response(data: Mapping[str, Any], status: int = 200) -> Response:
    """Answer with JSON, indented so that a browser shows it legibly."""
    return Response(json.dumps(data, indent=2, allow_nan=False), status, media_type="application/json")


@cache
def templates() -> Environment:
    """Return the templates: every value that they show is escaped."""
    from jinja2 import ChainableUndefined, Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=ChainableUndefined,  # old records lack fields
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment


def html_response(request: Request, template: str, data: Mapping[str, Any], status: int = 200) -> Response:
    """Answer with a page made of a template."""
    state, path = request.app.state, request.url.path
    text = (
        templates()
        .get_template(template)
        .render(
            **data,
            navigation=state.navigation,
            store_uri=state.shown_uri,
            path=path,
            version=state.version,
            json_url=_json_url(request) if status == 200 else "",
        )
    )
    return HTMLResponse(text, status)


def _json_url(request: Request) -> str:
    path = request.scope.get("raw_path", b"").decode("ascii", "replace") or request.url.path
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{'/overview' if path == '/' else path}.json{query}"


def query_texts(request: Request, known: Sequence[str]) -> dict[str, list[str]]:
    """Return what was given in a page's address by name, empty texts left out.

    Raises
    ------
    InputError
        If a name is not known or an address holds too much to be meant.
    """
    import difflib

    given: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        plain = name.strip().lower().replace("-", "_")
        if plain not in known:
            near = difflib.get_close_matches(plain, known, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            raise InputError(f"The address holds {name[:40]!r}, which this page does not know{meant}")
        if value.strip():
            given.setdefault(plain, []).append(value.strip())
    return given


def one(given: Mapping[str, list[str]], name: str) -> str | None:
    """Return the text given for a name, None without one; an InputError if it is given twice."""
    texts = given.get(name, [])
    if len(texts) > 1:
        raise InputError(f"{name}: is given {len(texts)} times in the address; give it once")
    return texts[0] if texts else None


def page_number(given: Mapping[str, list[str]], last: int) -> int:
    """Return the page of a table that the address names, from 1; an InputError beyond the last one."""
    text = one(given, "page")
    if text is None:
        return 1
    if not text.isascii() or not text.isdigit() or len(text) > 12 or not 1 <= int(text) <= last:
        raise InputError(f"page: {text[:30]!r} is no whole number from 1 to {last}")
    return int(text)


class TableLinks:
    """Addresses of the same table in another order or on another page.

    Parameters
    ----------
    path
        Of the page.
    given
        What its address holds.
    """

    def __init__(self, path: str, given: Mapping[str, list[str]]) -> None:
        self._path = path
        self._pairs = [(name, text) for name, texts in given.items() for text in texts]

    def with_page(self, number: int) -> str:
        """Return the address of a page of the table."""
        return self.replaced("page", str(number) if number > 1 else "")

    def sorted_by(self, field: str) -> str:
        """Sort upwards, or downwards if this is the order already."""
        present = dict(self._pairs).get("sort")
        return self.replaced("sort", f"-{field}" if present == field else field)

    def replaced(self, changed: str, value: str) -> str:
        """Return the address of the first page with another value of a name; without it if empty."""
        pairs = [(name, text) for name, text in self._pairs if name not in (changed, "page")]
        query = urlencode([*pairs, *([(changed, value)] if value else [])])
        return f"{self._path}?{query}" if query else self._path
