"""The OPTIMADE application: endpoints, errors and warnings as the specification wants them.

Parser, query parameters, models and the assembly of answers are those of the reference server's package.
Its own application is not used: it reads settings from the environment and the home folder, writes a log to
/var/log, keeps a MongoDB mock, and lets the pages of any web site read its answers.
"""

from __future__ import annotations

import logging
import re
import traceback
import warnings
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from lark.exceptions import VisitError
from optimade import __api_version__  # type: ignore[import-untyped]
from optimade.exceptions import (  # type: ignore[import-untyped]
    BadRequest,
    OptimadeHTTPException,
    VersionNotSupported,
)
from optimade.models import (  # type: ignore[import-untyped]
    BaseInfoAttributes,
    BaseInfoResource,
    EntryInfoResource,
    StructureResource,
)
from optimade.server.config import ServerConfig  # type: ignore[import-untyped]
from optimade.server.mappers import BaseResourceMapper  # type: ignore[import-untyped]
from optimade.server.query_params import (  # type: ignore[import-untyped]
    EntryListingQueryParams,
    SingleEntryQueryParams,
)
from optimade.server.routers.utils import (  # type: ignore[import-untyped]
    BASE_URL_PREFIXES,
    get_entries,
    get_single_entry,
    meta_values,
)
from optimade.server.schemas import retrieve_queryable_properties  # type: ignore[import-untyped]
from optimade.warnings import OptimadeWarning  # type: ignore[import-untyped]
from pydantic import BaseModel
from pydantic_settings import SettingsConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from stores.errors import InputError, StoreError, one_line
from stores.secrets import masked
from workflows.web.optimade.collection import LinksCollection, StructureCollection
from workflows.web.optimade.entries import PREFIX, PROPERTIES, SERVED, SORTABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from workflows.web.source import StoreSource

_LOG = logging.getLogger(__name__)
MEDIA_TYPE = "application/vnd.api+json"
MOST_FILTER = 4000
"""Characters of the longest filter; the package's parser takes up to 0.3 ms for each."""
_PAGE, _MOST = 20, 500  # structures on a page: by default, and at most
_WARNINGS: ContextVar[list[dict[str, str]] | None] = ContextVar("optimade warnings", default=None)


class Settings(ServerConfig):  # type: ignore[misc]
    """Settings of the reference server's package, from nowhere but the arguments."""

    model_config = SettingsConfigDict(extra="ignore")

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: Any, init_settings: Any, *others: Any, **more: Any
    ) -> tuple[Any, ...]:
        """Leave out environment variables and files."""
        return (init_settings,)


def _settings(version: str) -> Settings:
    own = [
        {"name": p.key, "type": p.type, "description": p.description, **({"unit": p.unit} if p.unit else {})}
        for p in PROPERTIES
    ]
    return Settings(
        insert_test_data=False,
        page_limit=_PAGE,
        page_limit_max=_MOST,
        implementation={"name": "mgsurf", "version": version or "unknown"},
        provider={
            "prefix": PREFIX,
            "name": "mgsurf",
            "description": "Surface energies and work functions of bulk crystals and their slabs",
        },
        provider_fields={"structures": own},
    )


def optimade_app(source: StoreSource, version: str = "") -> FastAPI:
    """Make the OPTIMADE application over a store, to be mounted at the base URL.

    Parameters
    ----------
    source
        The store, opened at the first request.
    version
        Of mgsurf.

    Notes
    -----
    Endpoints: ``versions``; ``info``, ``info/structures``, ``links``, ``structures`` and
    ``structures/ID``, below the base URL and below it with ``v1``, ``v1.2`` and ``v1.2.0``.
    """
    settings = _settings(version)
    app = FastAPI(title="OPTIMADE", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.config = settings
    app.state.source = source
    app.state.base_resource_mapper = BaseResourceMapper(settings)
    app.state.entry_collections = {
        "links": LinksCollection(settings, _links()),
        "structures": StructureCollection(source.store, settings),
    }
    for error in (HTTPException, OptimadeHTTPException, RequestValidationError):
        app.add_exception_handler(error, _failed)
    for prefix in ("", *BASE_URL_PREFIXES.values()):
        app.include_router(router, prefix=prefix)
    app.add_api_route("/versions", _versions)
    app.add_api_route("/", _home)
    app.add_api_route("/{path:path}", _nothing)
    return app


def _links() -> list[dict[str, Any]]:
    return [
        {
            "id": "mgsurf",
            "type": "links",
            "name": "mgsurf",
            "description": "This server",
            "base_url": None,  # known by the request
            "homepage": None,
            "link_type": "root",
            "aggregate": "ok",
        },
        {
            "id": "optimade",
            "type": "links",
            "name": "Materials Consortia",
            "description": "List of OPTIMADE providers",
            "base_url": "https://providers.optimade.org",
            "homepage": "https://optimade.org",
            "link_type": "providers",
            "aggregate": "ok",
        },
    ]


def _base(request: Request) -> str:
    """Return the base URL that a request was sent to, without version."""
    return f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}"


def _path(request: Request) -> str:
    """Return the path of a request below the base URL."""
    return str(request.url.path).removeprefix(request.scope.get("root_path", ""))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return str(value)


def _answer(request: Request, make: Callable[[], dict[str, Any]]) -> Response:
    """Return what a function makes as JSON, with the warnings that it issued."""
    if warnings.showwarning is not _show:
        _listen()
    heard: list[dict[str, str]] = []
    token = _WARNINGS.set(heard)
    try:
        _check(request)
        body: dict[str, Any] = request.app.state.source.read(lambda _: make())
    except Exception as error:  # noqa: BLE001 -- answered here: pages around it have other error pages
        return _failed(request, error)
    finally:
        _WARNINGS.reset(token)
    meta = _meta(request, body["meta"])
    if heard:
        meta["warnings"] = heard
    return Response(orjson.dumps({**body, "meta": meta}, default=_plain), media_type=MEDIA_TYPE)


def _meta(request: Request, meta: BaseModel) -> dict[str, Any]:
    """Return metadata of the package with the request below the base URL, and the zone of the time."""
    found = meta.model_dump(mode="json", by_alias=True, exclude_unset=True)
    query = f"?{request.url.query}" if request.url.query else ""
    found["query"]["representation"] = re.sub(r"^/v[0-9.]+(?=/|$)", "", _path(request)) + query
    found["time_stamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return found


def _check(request: Request) -> None:
    """Refuse what the specification refuses in every request."""
    if any(part and "=" not in part for part in re.split("[&;]", request.url.query)):
        raise BadRequest("A query parameter has no equal sign; write name=value.")
    if len(request.query_params.get("filter", "")) > MOST_FILTER:
        raise BadRequest(f"The filter has more than {MOST_FILTER} characters; ask in several requests.")
    if re.fullmatch("0+", request.query_params.get("page_limit", "")):
        raise BadRequest("page_limit is 0; use at least 1.")  # the package takes it for none
    hint = re.fullmatch(r"v([0-9]+)(\.[0-9]+)?", request.query_params.get("api_hint", ""))
    if hint and int(hint[1]) > 1 and not re.match(r"/v[0-9]", _path(request)):
        raise VersionNotSupported(f"api_hint asks for version {hint[1]}; this server has version 1.")


def _listen() -> None:
    """Catch the warnings of the package, which belong into answers."""
    global _shown
    _shown = warnings.showwarning
    warnings.showwarning = _show
    warnings.simplefilter("always", OptimadeWarning)


_shown = warnings.showwarning


def _show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    heard = _WARNINGS.get()
    if heard is None or not isinstance(message, OptimadeWarning):
        _shown(message, category, *where, **more)
    else:
        detail = getattr(message, "detail", None) or message
        heard.append({"type": "warning", "title": type(message).__name__, "detail": one_line(detail)})


def _failed(request: Request, error: Exception) -> Response:
    """Answer an exception with one line, as the specification wants it."""
    status, title = _kind_of(error)
    if isinstance(error, VisitError):
        return _failed(request, error.orig_exc)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        detail = f"{first['loc'][-1]}: {first['msg']}"
    elif isinstance(error, BadRequest) and error.detail and "Lark traceback" in error.detail:
        detail = _syntax(request.query_params.get("filter", ""), error)
    elif status == 500:
        _LOG.warning("OPTIMADE: %s", masked(f"{type(error).__name__}: {one_line(error)[:200]}"))
        _LOG.debug("%s", masked("".join(traceback.format_exception(error))))
        detail = f"internal error, {type(error).__name__}; please report it with this address"
    else:
        detail = str(getattr(error, "detail", None) or error)
    config = request.app.state.config
    meta = _meta(request, meta_values(config, request.url, 0, 0, False))
    found = {"status": str(status), "title": title, "detail": masked(one_line(detail))}
    headers = {"allow": "GET"} if status == 405 else {}
    return Response(orjson.dumps({"meta": meta, "errors": [found]}), status, headers, MEDIA_TYPE)


def _kind_of(error: Exception) -> tuple[int, str]:
    if isinstance(error, InputError | RequestValidationError):
        return 400, "Bad Request"
    if isinstance(error, StoreError):
        return 503, "Service Unavailable"
    if isinstance(error, NotImplementedError):
        return 501, "Not Implemented"
    return int(getattr(error, "status_code", 500)), str(getattr(error, "title", type(error).__name__))


def _syntax(text: str, error: BadRequest) -> str:
    """Return where a filter cannot be read."""
    cause = error.__cause__
    column = getattr(cause, "column", None)
    place = f" at character {column}, {text[column - 1 : column + 19]!r}" if column and column > 0 else ""
    return (
        f"The filter cannot be read{place or ', it ends too early'}; write it like "
        'elements HAS "Mg" AND nelements=2.'
    )


def _without_references(params: Any) -> Any:
    """Return the parameters less the references that are included by default: there are none."""
    params.include = ",".join(name for name in params.include.split(",") if name != "references")
    return params


def _home(request: Request) -> Response:
    return RedirectResponse(f"{_base(request)}/v1/info")


def _versions(request: Request) -> Response:
    return Response("version\n1", media_type="text/csv; header=present")


def _nothing(request: Request, path: str) -> None:
    """Answer an address that there is not."""
    version = re.match(r"(v[0-9]+(\.[0-9]+){0,2})(/|$)", path)
    if version and f"/{version[1]}" not in BASE_URL_PREFIXES.values():
        raise VersionNotSupported(f"Version {version[1]} is not supported; use v1.")
    raise HTTPException(404, f"There is no /{path[:100]}; see {_base(request)}/v1/info")


router = APIRouter()


@router.get("/info")
def info(request: Request) -> Response:
    """Describe the server."""
    major = BASE_URL_PREFIXES["major"]
    resource = BaseInfoResource(
        id="/",
        type="info",
        attributes=BaseInfoAttributes(
            api_version=__api_version__,
            available_api_versions=[{"url": f"{_base(request)}{major}", "version": __api_version__}],
            formats=["json"],
            available_endpoints=["info", "links", "structures"],
            entry_types_by_format={"json": ["structures"]},
            is_index=False,
        ),
    )
    config = request.app.state.config
    return _answer(request, lambda: {"meta": meta_values(config, request.url, 1, 1, False), "data": resource})


@router.get("/info/{entry}")
def entry_info(request: Request, entry: str) -> Response:
    """Describe the properties of structures."""
    if entry != "structures":
        raise HTTPException(404, f"There are no entries {entry[:100]}; there are structures")
    config = request.app.state.config
    properties = retrieve_queryable_properties(
        StructureResource, {"id", "type", "attributes"}, entry_type="structures", config=config
    )
    properties = {name: one for name, one in properties.items() if name in SERVED}
    for name, one in properties.items():
        one["sortable"] = name in SORTABLE
    resource = EntryInfoResource(
        id="structures",
        type="info",
        formats=["json"],
        description="Relaxed bulk crystals and their slabs; _mgsurf_kind tells which",
        properties=properties,
        output_fields_by_format={"json": list(properties)},
    )
    return _answer(request, lambda: {"meta": meta_values(config, request.url, 1, 1, False), "data": resource})


@router.get("/links")
def links(request: Request, params: Annotated[EntryListingQueryParams, Depends()]) -> Response:
    """List this server and the list of providers."""
    collection = request.app.state.entry_collections["links"]

    def make() -> dict[str, Any]:
        body: dict[str, Any] = get_entries(collection, request, _without_references(params))
        for entry in body["data"]:
            if entry["id"] == "mgsurf" and "base_url" in entry["attributes"]:
                entry["attributes"]["base_url"] = _base(request)
        return body

    return _answer(request, make)


@router.get("/structures")
def structures(request: Request, params: Annotated[EntryListingQueryParams, Depends()]) -> Response:
    """List structures."""
    collection = request.app.state.entry_collections["structures"]
    return _answer(request, lambda: dict(get_entries(collection, request, _without_references(params))))


@router.get("/structures/{entry_id:path}")
def structure(
    request: Request, entry_id: str, params: Annotated[SingleEntryQueryParams, Depends()]
) -> Response:
    """Return one structure; null if there is none of this id."""
    collection = request.app.state.entry_collections["structures"]
    quoted = entry_id.replace("\\", "\\\\").replace('"', '\\"')
    return _answer(
        request, lambda: dict(get_single_entry(collection, quoted, request, _without_references(params)))
    )
