from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from scipy.spatial.distance import pdist

from model.evaluation.stored_candidates import predict_candidates
from model.graphs.cache import GraphCache
from model.selection.pool import pool_of
from stores.connections import open_store
from stores.learning.candidates import CandidateRecord, PackedSlab, add_candidates, candidate_documents
from tests.model.small_dataset import slabs
from tests.model.untrained import untrained

ROOT = Path(__file__).resolve().parents[2]


def candidate(number, structure, **changes):
    values = {
        "id": f"slab-{number:02}", "campaign": "test", "formula": "MgX", "chemsys": "Mg-X",
        "spacegroup_number": 221, "bulk_key": "key", "bulk_id": "", "lattice_is_guess": False,
        "miller_index": (1, 0, 0), "termination_label": "Mg", "termination_key": f"{number}",
        "method_fingerprint": "test", "n_layers": 7, "n_atoms": len(structure),
        "volume": float(structure.volume), "kpoints": (4, 4, 1),
        "slab": PackedSlab(
            numbers=list(structure.atomic_numbers), lattice=structure.lattice.matrix.tolist(),
            fractional=structure.frac_coords.tolist(),
        ),
    }  # fmt: skip
    return CandidateRecord(**{**values, **changes})


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/s.sqlite") as opened:
        structures = [s for partner in ("Ag", "Pd") for s in slabs(partner, False)]
        records = [candidate(i, s) for i, s in enumerate(structures)]
        add_candidates(opened, records)
        yield opened


@pytest.fixture
def cache(tmp_path):
    return GraphCache(tmp_path / "graphs.sqlite")


def predicted(store, cache, ensemble, version="v1", **options):
    ids = [d["id"] for d in candidate_documents(store)]
    refused = predict_candidates(store, ensemble, version, ids, cache=cache, **options)
    return refused, list(candidate_documents(store))


def test_numbers_are_those_of_the_model_and_kept(store, cache):
    ensemble = untrained()
    reports = []
    refused, documents = predicted(store, cache, ensemble, progress=lambda i, n: reports.append((i, n)))
    assert refused == 0
    assert reports[-1] == (10, 10)
    from model.graphs.graph import build_graph

    structures = [s for partner in ("Ag", "Pd") for s in slabs(partner, False)]
    graphs = [build_graph(s, ensemble.graph_settings) for s in structures]
    expected, places = ensemble.predict_placed(graphs)
    for i, document in enumerate(documents):
        for name in ensemble.targets:
            numbers = document["predictions"][name]
            assert numbers["value"] == pytest.approx(expected.mean[name][i], rel=1e-4)
            assert numbers["sigma"] == pytest.approx(expected.sigma[name][i], rel=1e-3)
        assert document["distance"] == pytest.approx(expected.distance[i], rel=1e-3)
        assert document["place"] == pytest.approx(places[i].tolist(), abs=1e-3)
        assert document["model"] == "v1"
        assert any("Pd" in w for w in document["warnings"]) == (i >= 5)
    pool = pool_of(documents, ensemble.targets, [1.0] * 10)
    assert pool.mean.shape == pool.sigma.shape == (10, 2)
    assert pool.features.shape == (10, places.shape[1])
    assert not pool.common.any()  # this model does not know how alike its errors are


def test_shared_errors_of_candidates_reach_the_choice(store, cache):
    """Kept with the numbers; candidates of an older version have none."""
    _, documents = predicted(store, cache, untrained())
    for document in documents[:5]:
        document["bulk_key"] = "one crystal"
        for numbers in document["predictions"].values():
            numbers["shared"] = 0.6 * numbers["sigma"]
    for document in documents[5:]:
        for numbers in document["predictions"].values():
            del numbers["shared"]
    pool = pool_of(documents, untrained().targets, [1.0] * 10)
    assert pool.common[:5] == pytest.approx(0.6)
    assert not pool.common[5:].any()
    assert len(set(pool.compounds[:5].tolist())) == 1
    assert pool.compounds[0] not in pool.compounds[5:]


def test_the_second_time_no_graph_is_built(store, cache, monkeypatch):
    _, first = predicted(store, cache, untrained())
    monkeypatch.setattr("model.graphs.cache.graph_or_reason", lambda *_: pytest.fail("a graph is built"))
    _, again = predicted(store, cache, untrained(), "v2", workers=2)
    assert [d["predictions"] for d in again] == [d["predictions"] for d in first]
    assert {d["model"] for d in again} == {"v2"}


def test_a_slab_that_the_model_cannot_take_keeps_the_reason(store, cache):
    atom = PackedSlab(numbers=[12], lattice=np.eye(3).tolist(), fractional=[[0, 0, 0]])
    add_candidates(store, [candidate(77, slabs("Ag", False)[0], slab=atom)])
    refused, documents = predicted(store, cache, untrained())
    assert refused == 1
    odd = next(d for d in documents if d["id"] == "slab-77")
    assert odd["predictions"] == {}
    assert "vacuum" in odd["warnings"][0].lower()
    assert odd["model"] == "v1"


def test_places_keep_the_distances_of_the_embedding():
    import torch

    from model.evaluation.familiarity import TrainingMap

    generator = torch.Generator().manual_seed(1)
    # 40 columns, but only 10 independent ones
    points = torch.randn(300, 10, generator=generator) @ torch.randn(10, 40, generator=generator)
    found = TrainingMap.of(points[:250], points[250:], range(250))
    standardised = (points - found.mean) / found.std / found.place_unit
    assert pdist(found.place(points)) == pytest.approx(pdist(standardised.numpy()), rel=1e-3)
    assert found.place(points[:250]) == pytest.approx(found.places, abs=1e-4)
    assert found.places.mean(axis=0) == pytest.approx(0, abs=1e-4)
    wide = TrainingMap.of(
        torch.randn(100, 40, generator=generator), torch.randn(9, 40, generator=generator), range(100)
    )
    assert wide.places.shape == (100, 16)


def test_choosing_needs_no_torch():
    script = "import sys; sys.modules['torch'] = None; import workflows.flows.learning.suggestion"
    subprocess.run(
        [sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd="/"
    )
