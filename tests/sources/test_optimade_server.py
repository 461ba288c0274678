"""The server that the other tests ask: does it page, filter, and keep providers apart?"""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from tests.sources.optimade_server import entry, optimade_server

requests = pytest.importorskip("requests")


def test_server_pages_filters_and_keeps_providers_apart() -> None:
    cells = [
        Structure(Lattice.cubic(3.3 + 0.001 * i), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        for i in range(5)
    ]
    entries = [entry(cell, f"oq-{i}", _oqmd_stability=0.1 * i) for i, cell in enumerate(cells)]
    providers = {"oqmd": entries, "mp": [entry(cells[0], "mp-1")]}
    with optimade_server(providers, page_limit=2) as urls:
        told = {"filter": 'elements HAS "Mg" AND nelements<=2 AND _oqmd_stability<0.35'}
        first = requests.get(f"{urls['oqmd']}/v1/structures", params=told, timeout=60).json()
        assert [e["id"] for e in first["data"]] == ["oq-0", "oq-1"]
        assert first["meta"]["data_returned"] == 4
        assert first["data"][1]["attributes"]["_oqmd_stability"] == 0.1
        second = requests.get(first["links"]["next"], timeout=60).json()
        assert [e["id"] for e in second["data"]] == ["oq-2", "oq-3"]
        assert second["links"]["next"] is None
        other = requests.get(f"{urls['mp']}/v1/structures", timeout=60).json()
        assert [e["id"] for e in other["data"]] == ["mp-1"]
