from __future__ import annotations

import pytest

from stores.records import Provenance
from workflows.flows.enumeration.enumeration import RefusedPhases
from workflows.structures.prototypes import structure_for
from workflows.structures.sources.merge import merge
from workflows.structures.sources.protocol import Candidate, DatabaseValues


@pytest.mark.parametrize("turned", [False, True])
def test_a_refused_phase_is_named_by_the_database_whose_energy_it_is(turned):
    names = {
        "oqmd": ("oqmd", "oqmd-1"),
        "alexandria PBE": ("alexandria", "alexandria:agm7"),
        "alexandria PBEsol": ("alexandria-pbesol", "alexandria-pbesol:agm9"),
        "mp R2SCAN": ("mp", "mp-3"),
    }
    refused = RefusedPhases()
    candidates = [
        Candidate(
            structure_for("MgAg", "B2"),
            Provenance(source=source, identifiers=[name]),
            name,
            (DatabaseValues(method, -0.2),),
        )
        for method, (source, name) in names.items()
    ]
    for candidate in merge(candidates[:: -1 if turned else 1]):
        refused.add(candidate)
    found = refused.of_systems({frozenset({"Mg", "Ag"})})
    assert {(method, name) for _, _, method, name in found} == {(m, n) for m, (_, n) in names.items()}
