"""Two imports of the same crystals at once, with a property each, lose no label."""

from __future__ import annotations

import json

import pytest
from pymatgen.core import Lattice

from model.data.importers import import_slabs
from stores.connections import open_store
from tests.stores.kills import in_children

N = 40


def crystals(target):
    """Return a list of B2 crystals as jarvis-tools has it, with one property."""
    return [
        {
            "jid": f"c{i}",
            target: 0.1 * i,
            "atoms": {
                "lattice_mat": Lattice.cubic(3.0 + 0.01 * i).matrix.tolist(),
                "coords": [[0, 0, 0], [0.5, 0.5, 0.5]],
                "elements": ["Mg", "Ag"],
                "cartesian": False,
            },
        }
        for i in range(N)
    ]


@pytest.mark.parametrize("uri", ["sqlite:///{}/s.sqlite", "folder://{}/records"])
def test_both_properties_of_every_crystal_are_kept(tmp_path, monkeypatch, uri):
    monkeypatch.setattr("model.data.importers.BATCH", 4)
    uri = uri.format(tmp_path)
    for target in ("gap", "hardness"):
        (tmp_path / f"{target}.json").write_text(json.dumps(crystals(target)))
    open_store(uri).close()

    def bring(target):
        path = str(tmp_path / f"{target}.json")
        return import_slabs(path, uri, targets=[target], source="both", bulk=True).n_read

    assert in_children(lambda: bring("gap"), lambda: bring("hardness")) == [(str(N), 0), (str(N), 0)]
    with open_store(uri) as store:
        found = [record["targets"] for record in store.query(collection="labels")]
    assert len(found) == N and all(set(one) == {"gap", "hardness"} for one in found)
