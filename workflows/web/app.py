"""The application of `mgsurf serve`: read-only pages over a store, the same as JSON, and their files."""

from __future__ import annotations

import threading
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from stores.secrets import masked
from workflows.web import compound, facet, facets, failures, models, overview, screening
from workflows.web.errors import add_error_pages
from workflows.web.optimade.mount import BASE, OptimadeMount
from workflows.web.pages import HERE
from workflows.web.queue_watch import QueueWatch
from workflows.web.security import Secured
from workflows.web.source import StoreSource
from workflows.web.tally import SurfaceTally

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

THREADS = 4
"""Pages that are made at the same time; a client that sends more waits."""

WARM_AFTER = 0.7
"""After the start, when the first page is out (s)."""

NAVIGATION = (
    ("Overview", "/"),
    ("Facets", "/facets"),
    ("Failures", "/failures"),
    ("Models", "/models"),
    ("Screening", "/screening"),
)
"""Titles and paths of the pages that every page links to."""

ROUTERS = tuple(page.router for page in (overview, facets, facet, compound, failures, models, screening))


def create_app(store: str, *, project: str | None = None, hosts: Collection[str] = ()) -> FastAPI:
    """Make the application over a store.

    Parameters
    ----------
    store
        URI; the store is opened at the first request, for reading only.
    project
        Project of jobflow-remote whose jobs are shown too.
    hosts
        Host names that requests may be sent to; empty for any (see `workflows.web.security`).
    """
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        from anyio.to_thread import current_default_thread_limiter

        current_default_thread_limiter().total_tokens = THREADS
        warming = threading.Timer(WARM_AFTER, _load_crystallography)
        warming.daemon = True
        warming.start()
        yield
        warming.cancel()
        app.state.source.close()

    app = FastAPI(title="mgsurf", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.source = StoreSource(store)
    app.state.project = project
    app.state.tally = SurfaceTally()
    app.state.queue = QueueWatch(project)
    app.state.shown_uri = masked(store)
    app.state.navigation = NAVIGATION
    app.state.version = _version()
    add_error_pages(app)
    app.add_middleware(Secured, hosts=hosts)  # the outermost: errors have its headers, too
    for router in ROUTERS:
        app.include_router(router)
    app.mount(BASE, OptimadeMount(app.state.source, app.state.version))
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")

    return app


def _load_crystallography() -> None:
    """Import what Wulff shapes need (over a second), so that no page waits for it."""
    import workflows.analysis.wulff
    import workflows.report.wulff  # noqa: F401


def _version() -> str:
    try:
        return version_of("mgsurf")
    except PackageNotFoundError:
        return ""
