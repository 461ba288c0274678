"""`mgsurf serve`: pages over the store in a browser, on this machine, read only."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address
from typing import Annotated

import typer

from stores.errors import InputError, install_command, system_line
from workflows.cli.console import print_note
from workflows.cli.options import ProjectOption, StoreOption
from workflows.cli.typer_app import LOOK, app

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_REQUESTS = 64
"""Requests in work or waiting; more get the status 503 at once."""


@app.command(rich_help_panel=LOOK)
def serve(
    store: StoreOption = None,
    project: ProjectOption = None,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Address to listen at; others than this machine's own are open to the network.",
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
) -> int:
    """Show the store in a browser: facets, compounds, failures, models and screening.

    Nothing is ever written. Each page is also JSON: add .json to its address. Ctrl-C ends it.

    Examples: [cyan]mgsurf serve[/cyan], [cyan]mgsurf serve --store results.sqlite --port 0[/cyan]
    """
    from stores.connections import resolve_store_uri
    from workflows.cli.access import existing_store

    uri = resolve_store_uri(store)
    existing_store(uri).close()  # a wrong store is reported here, not in the browser
    try:
        import uvicorn

        from workflows.web.app import create_app
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in ("stores", "model", "workflows"):
            raise
        raise InputError(
            f"mgsurf serve needs {error.name}; install it with {install_command('serve')}"
        ) from None

    listening = _listen(host, port)
    with listening:
        address, chosen = listening.getsockname()[:2]
        local = ip_address(address.partition("%")[0]).is_loopback
        shown = f"[{host}]" if ":" in host else host
        if not local:
            print_note(f"the pages have no password: whoever reaches {host}:{chosen} reads the whole store")
        hosts = {*LOOPBACK, host, address} if local else set()
        print(f"http://{shown}:{chosen}/", flush=True)
        print_note(f"serves {uri}; Ctrl-C ends it")
        settings = uvicorn.Config(
            create_app(uri, project=project, hosts=hosts),
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MOST_REQUESTS,
            timeout_graceful_shutdown=2,
        )
        try:
            uvicorn.Server(settings).run(sockets=[listening])
        except KeyboardInterrupt:
            print_note("ended")
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; an InputError if the port is taken or the address is not this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except (socket.gaierror, UnicodeError):
        raise InputError(f"--host {host}: no such address; give 127.0.0.1 or one of this machine's") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"--port {port}: another program listens there already; choose another, or 0 for a free one"
            ) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise InputError(
                f"--host {host}: no address of this machine; give 127.0.0.1 or one of this machine's"
            ) from None
        if error.errno == errno.EACCES:
            raise InputError(
                f"--port {port}: this user may not listen there; choose one above 1023"
            ) from None
        raise InputError(f"--host {host}: {system_line(error) or error}") from None
    return listening
