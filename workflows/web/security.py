"""Headers of every answer, and the host names that requests may be sent to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
    "cross-origin-resource-policy": "same-origin",
}
"""No inline script or style runs, nothing is loaded from another host, no other page frames these."""


class Secured:
    """An ASGI application whose answers carry `HEADERS` and that only answers for known host names.

    A page of a foreign site that gives its own name the address 127.0.0.1 (DNS rebinding) cannot read the
    store: the browser sends that name as host.

    Parameters
    ----------
    app
        The application.
    hosts
        Names and addresses, without port, that requests may name; empty for any.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        self.app = app
        self.hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in given),
                ]
            await send(message)

        if self.hosts and _host(scope) not in self.hosts:
            from starlette.responses import PlainTextResponse

            text = f"This server answers for {', '.join(sorted(self.hosts))} only; use one of these names.\n"
            await PlainTextResponse(text, 421)(scope, receive, send_secured)
            return
        await self.app(scope, receive, send_secured)


def _host(scope: Scope) -> str:
    """Return the host name that a request is sent to, without port and brackets."""
    value = next((v for name, v in scope["headers"] if name == b"host"), b"").decode("latin-1").lower()
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return value.partition(":")[0]
