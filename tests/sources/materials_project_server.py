"""Answers as the Materials Project's API does, on 127.0.0.1, with faults a test asks for.

Follows emmet-api: an x-api-key header checked by the gateway in front (401 in the gateway's words), a
heartbeat without key, ``_limit`` (at most 1000) and ``_skip``, ``_fields``, documents under ``data``, their
number under ``meta.total_doc``, and 400 for a parameter that the endpoint does not have.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymatgen.core.structure import Structure

KEY = "abcdefghijklmnopqrstuvwxyz012345"
_PAGING = {"_limit", "_skip", "_fields", "_all_fields"}
_PARAMETERS = {
    "/materials/summary/": _PAGING
    | {"chemsys", "elements", "nelements_min", "nelements_max", "nsites_min", "nsites_max", "deprecated"}
    | {"batch_id_not_eq"},
    "/materials/thermo/": _PAGING | {"material_ids", "thermo_types"},
}


def material(
    structure: Structure,
    material_id: str,
    *,
    band_gap: float | None = 0.0,
    thermo: dict[str, tuple[float | None, float | None]] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Return a summary document; `thermo` maps thermo types to formation energy and energy above the hull."""
    elements = sorted(e.symbol for e in structure.composition.elements)
    number, symbol = structure.get_space_group_info()[::-1] if structure.is_ordered else (1, "P1")
    return {
        "material_id": material_id,
        "structure": structure.as_dict(),
        "band_gap": band_gap,
        "symmetry": {"symbol": symbol, "number": number},
        "deprecated": False,
        "elements": elements,
        "chemsys": "-".join(elements),
        "nelements": len(elements),
        "nsites": len(structure),
        "batch_id": None,
        "thermo": thermo or {},
        # what the real summary holds, mixed from all thermo types
        "energy_above_hull": 99.0,
        "formation_energy_per_atom": 99.0,
        **fields,
    }


@dataclass
class State:
    """What the server holds and does.

    Attributes
    ----------
    materials
        Documents made by `material`.
    fault
        None, or what becomes of requests: a status, ``nonsense``, ``html``, ``no data``, ``slow``, ``cut``.
    faults_from
        Number of the first request (after the heartbeats) that the fault strikes.
    faults_until
        Number of the first request that it spares again.
    version
        Of emmet, as the heartbeat reports.
    requests
        Requested paths and parameters, heartbeats left out.
    """

    materials: list[dict[str, Any]]
    fault: int | str | None = None
    faults_from: int = 1
    faults_until: int = 10**9
    version: str = "0.87.3"
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def materials_project(*materials: dict[str, Any]) -> Iterator[tuple[str, State]]:
    """Run the server; yields its base URL and its state, which may be changed at any time."""
    state = State(list(materials))

    class Handler(_Handler):
        pass

    Handler.state = state
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: State

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        requested = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/heartbeat":
            self._send(
                200,
                {
                    "status": "OK",
                    "version": self.state.version,
                    "db_version": "2026.10.1",
                    "access_controlled_batch_ids": ["gnome_r2scan_statics"],
                },
            )
            return
        self.state.requests.append((url.path, requested))
        number = len(self.state.requests)
        if self.headers.get("x-api-key") != KEY:
            self._send(401, {"message": "Invalid authentication credentials"})
        elif self.state.fault and self.state.faults_from <= number < self.state.faults_until:
            self._fail(self.state.fault)
        elif url.path not in _PARAMETERS:
            self._send(404, {"message": "no Route matched with those values"})
        elif set(requested) - _PARAMETERS[url.path] or int(requested.get("_limit", 100)) > 1000:
            self._send(400, {"detail": "Request contains query parameters which cannot be used"})
        else:
            self._send(200, self._page(url.path, requested))

    def _page(self, path: str, requested: dict[str, str]) -> dict[str, Any]:
        found = self._summaries(requested) if "summary" in path else self._thermo(requested)
        start, limit = int(requested.get("_skip", 0)), int(requested.get("_limit", 100))
        fields = requested.get("_fields", "material_id").split(",")
        return {
            "data": [{f: d[f] for f in fields if f in d} for d in found[start : start + limit]],
            "meta": {"api_version": self.state.version, "total_doc": len(found), "max_limit": 1000},
        }

    def _summaries(self, requested: dict[str, str]) -> list[dict[str, Any]]:
        def wanted(m: dict[str, Any]) -> bool:
            return (
                ("chemsys" not in requested or m["chemsys"] in requested["chemsys"].split(","))
                and (
                    "elements" not in requested or set(requested["elements"].split(",")) <= set(m["elements"])
                )
                and int(requested.get("nelements_min", 1))
                <= m["nelements"]
                <= int(requested.get("nelements_max", 99))
                and int(requested.get("nsites_min", 1))
                <= m["nsites"]
                <= int(requested.get("nsites_max", 9999))
                and (m["batch_id"] is None or m["batch_id"] != requested.get("batch_id_not_eq"))
            )

        return [m for m in self.state.materials if wanted(m)]

    def _thermo(self, requested: dict[str, str]) -> list[dict[str, Any]]:
        ids = requested["material_ids"].split(",")
        return [
            {
                "material_id": m["material_id"],
                "thermo_type": kind,
                "formation_energy_per_atom": formation,
                "energy_above_hull": hull,
            }
            for m in self.state.materials
            if m["material_id"] in ids
            for kind, (formation, hull) in m["thermo"].items()
        ]

    def _fail(self, fault: int | str) -> None:
        if isinstance(fault, int):
            self._send(fault, {"detail": f"fault {fault}"})
        elif fault == "slow":
            time.sleep(1.5)
            self._send(200, {"data": [], "meta": {"total_doc": 0}})
        elif fault == "no data":
            self._send(200, {"rows": [1, 2, 3]})
        elif fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b'{"data": [')
        else:
            body = b"<html>Down for maintenance</html>" if fault == "html" else b'{"data": [{"material_id": '
            self._send_body(200, body)

    def _send(self, status: int, content: dict[str, Any]) -> None:
        self._send_body(status, json.dumps(content, default=str).encode())

    def _send_body(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
