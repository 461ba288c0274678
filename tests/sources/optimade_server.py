"""The reference OPTIMADE server on 127.0.0.1, a process of its own, filled with structures a test makes.

    from tests.sources.optimade_server import entry, optimade_server

    with optimade_server({
        "mp": [entry(mgag, "mp-12345")],
        "oqmd": [entry(mgag_supercell, "5012", _oqmd_stability=0.0)],
    }) as urls:
        OptimadeSource([urls["mp"], urls["oqmd"]])

Every provider is a whole OPTIMADE API under a path of its own, so that one process (1.5 s of CPU time) plays
as many as are wanted. A page holds 20 structures by default. With ``validate=False`` entries that break the
specification are served as they are.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pymatgen.core.structure import Structure

_START_LIMIT = 120  # s; a busy machine imports slowly


def entry(structure: Structure, identifier: str, **fields: Any) -> dict[str, Any]:
    """Return an ordered structure as the attributes of an OPTIMADE entry; `fields` are added or replaced."""
    composition = structure.composition
    elements = sorted(element.symbol for element in composition.elements)
    reduced = composition.as_reduced_dict()
    anonymous = sorted((round(n) for n in reduced.values()), reverse=True)
    return {
        "id": identifier,
        "last_modified": "2026-01-01T00:00:00Z",
        "elements": elements,
        "nelements": len(elements),
        "elements_ratios": [composition.get_atomic_fraction(element) for element in elements],
        "chemical_formula_descriptive": composition.formula.replace(" ", ""),
        "chemical_formula_reduced": "".join(f"{e}{_count(reduced[e])}" for e in elements),
        "chemical_formula_anonymous": "".join(
            f"{letter}{_count(n)}" for letter, n in zip("ABCDEFGH", anonymous, strict=False)
        ),
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "lattice_vectors": structure.lattice.matrix.tolist(),
        "cartesian_site_positions": structure.cart_coords.tolist(),
        "nsites": len(structure),
        "species_at_sites": [site.specie.symbol for site in structure],
        "species": [{"name": e, "chemical_symbols": [e], "concentration": [1.0]} for e in elements],
        "structure_features": [],
        **fields,
    }


def _count(n: float) -> str:
    return "" if round(n) == 1 else str(round(n))


@contextmanager
def optimade_server(
    providers: Mapping[str, Sequence[dict[str, Any]]], *, page_limit: int = 20, validate: bool = True
) -> Iterator[dict[str, str]]:
    """Serve entries by provider; yields the base URL of each.

    Parameters
    ----------
    providers
        Provider's prefix, e.g. ``oqmd``, and its entries, from `entry`.
    page_limit
        Structures on a page, also the most a client may ask for.
    validate
        Whether the server checks what it sends, as most real ones do.
    """
    with tempfile.TemporaryDirectory(prefix="mgsurf-optimade-") as folder:
        data = Path(folder) / "data.json"
        data.write_text(
            json.dumps(
                {"providers": dict(providers), "page_limit": page_limit, "validate": validate}, default=list
            ),
            encoding="utf-8",
        )
        environment = dict(os.environ, OPTIMADE_LOG_DIR=folder, OPTIMADE_CONFIG_FILE=os.devnull)
        with (Path(folder) / "stderr").open("w+") as errors:
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), str(data)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                cwd=folder,
            )
            try:
                assert process.stdout is not None
                ready, _, _ = select.select([process.stdout], [], [], _START_LIMIT)
                line = process.stdout.readline() if ready else ""
                if not line.strip().isdigit():
                    errors.seek(0)
                    raise RuntimeError(f"the OPTIMADE server did not start: {errors.read()[-2000:]}")
                yield {name: f"http://127.0.0.1:{line.strip()}/{name}" for name in providers}
            finally:
                process.kill()
                process.communicate()


def _serve(settings: dict[str, Any]) -> None:
    """Serve until the parent closes our standard input."""
    import logging

    import uvicorn
    from optimade.server.config import ServerConfig
    from optimade.server.create_app import create_app
    from starlette.applications import Starlette
    from starlette.routing import Mount

    logging.disable(logging.WARNING)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    port = listener.getsockname()[1]
    mounts = []
    for prefix, entries in settings["providers"].items():
        marker = f"_{prefix}_"
        own = sorted({key.removeprefix(marker) for e in entries for key in e if key.startswith(marker)})
        app = create_app(
            ServerConfig(
                insert_test_data=False,
                mongo_database=prefix,
                base_url=f"http://127.0.0.1:{port}/{prefix}",
                root_path=f"/{prefix}",
                page_limit_max=settings["page_limit"],
                validate_api_response=settings["validate"],
                provider={"prefix": prefix, "name": prefix, "description": "a test's own", "homepage": None},
                provider_fields={"structures": own},
            ),
            logger_tag=prefix,
        )
        if entries:
            app.state.entry_collections["structures"].insert(
                [{key.removeprefix(marker): value for key, value in e.items()} for e in entries]
            )
        mounts.append(Mount(f"/{prefix}", app=app))
    api = Starlette(routes=mounts)

    default = b"page_limit=%d" % settings["page_limit"]  # the server's own, 20, is not for configuring

    async def application(scope: Any, receive: Any, send: Any) -> None:
        query = scope.get("query_string", b"")
        if scope["type"] == "http" and scope["path"].endswith("/structures") and b"page_limit=" not in query:
            scope["query_string"] = query + b"&" * bool(query) + default
        await api(scope, receive, send)

    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print(port, flush=True)
    config = uvicorn.Config(application, log_level="error", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    _serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
