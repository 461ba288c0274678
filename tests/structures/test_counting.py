from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks.compounds import compounds
from stores.errors import InputError
from workflows.structures.crystal import crystal_of
from workflows.structures.prototypes import structure_for
from workflows.structures.slabs import SlabSettings, count_slabs, enumerate_slabs

CRYSTALS = {name: crystal_of(structure) for name, structure in compounds().items()}


def sizes(facets):
    """What counting and cutting must agree on: facet, composition, area and thickness of each slab."""
    found = []
    for facet in facets:
        for slab in facet.slabs:
            composition = (
                Counter(site.specie.symbol for site in slab.structure)
                if hasattr(slab, "structure")
                else Counter(dict(slab.species))
            )
            found.append(
                (
                    facet.miller_index,
                    round(slab.area, 5),
                    round(slab.thickness, 5),
                    sorted(composition.items()),
                )
            )
    return sorted(found)


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize(
    "limits",
    [{}, {"max_terminations": 2}, {"max_atoms": 25, "min_thickness": 14.0}, {"layer_tolerance": 1.2}],
    ids=str,
)
def test_counting_agrees_with_cutting(name, limits):
    crystal = CRYSTALS[name]
    settings = SlabSettings(**limits)
    cut, counted = enumerate_slabs(crystal, settings), count_slabs(crystal, settings)
    assert sizes(counted) == sizes(cut)
    assert [f.miller_index for f in counted] == [f.miller_index for f in cut]
    assert [f.is_polar for f in counted] == [f.is_polar for f in cut]
    dropped = [sum("more than max_atoms" in note for note in f.notes) for f in cut]
    assert [f.n_too_large for f in counted] == dropped


def test_the_cell_is_that_of_the_slab():
    crystal = CRYSTALS["MgCl2 C19"]
    for cut, counted in zip(
        enumerate_slabs(crystal, SlabSettings(vacuum=17.0)), count_slabs(crystal), strict=True
    ):
        for size in counted.slabs:
            same = [s for s in cut.slabs if abs(s.thickness - size.thickness) < 1e-6]
            lattice = size.lattice(17.0)
            assert any(np.allclose(s.structure.lattice.matrix, lattice, atol=1e-6) for s in same)
            assert size.n_atoms in {len(s.structure) for s in same}


def test_only_the_facets_that_are_named():
    facets = count_slabs(structure_for("MgAg", "B2"), miller_indices=[(0, 1, 1), (1, 1, 0)])
    assert [(f.miller_index, len(f.slabs)) for f in facets] == [((1, 1, 0), 1)]


def test_wrong_limits_are_refused_in_one_line():
    with pytest.raises(
        InputError, match=r"min_thickness is -1\.0 A; give a length above 0 and up to 1000; max_atoms is 0"
    ):
        count_slabs(structure_for("MgAg", "B2"), SlabSettings(min_thickness=-1.0, max_atoms=0))
