"""Recognising the plane and termination of slabs that others built."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.core.surface import SlabGenerator

from workflows.structures.crystal import crystal_of
from workflows.structures.planes import plane_of
from workflows.structures.slab_matching import match_slab, upright
from workflows.structures.slabs import SlabSettings, enumerate_slabs, slabs_like

B2 = Structure(Lattice.cubic(3.34), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
HCP = Structure(Lattice.hexagonal(3.2, 5.2), ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
FCC = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.2 * 2**0.5), ["Mg"], [[0, 0, 0]])
C14 = Structure.from_spacegroup(
    "P6_3/mmc",
    Lattice.hexagonal(5.2, 8.5),
    ["Mg", "Zn", "Zn"],
    [[1 / 3, 2 / 3, 0.062], [0, 0, 0], [0.830, 0.660, 0.25]],
)


@pytest.mark.parametrize("bulk", [B2, HCP, C14], ids=["B2", "hcp", "C14"])
def test_every_cut_slab_is_recognised_when_relaxed_and_repeated(bulk):
    crystal = crystal_of(bulk)
    for facet in enumerate_slabs(crystal, SlabSettings(max_miller_index=1, min_thickness=7, max_atoms=40)):
        for slab in facet.slabs[:3]:
            given = slab.structure.copy()
            given.perturb(0.03)
            if len(given) < 12:
                given.make_supercell([[1, 1, 0], [0, 2, 0], [0, 0, 1]])
            match = match_slab(given, crystal)
            assert match is not None, (facet.miller_index, slab.termination_label)
            assert match.slab.miller_index == slab.miller_index
            assert match.slab.termination == slab.termination
            assert match.slab.n_layers == slab.n_layers


@pytest.mark.parametrize("miller", [(1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 1, 0)])
def test_slabs_of_pymatgen_are_recognised(miller):
    slabs = SlabGenerator(B2, miller, 9, 14, center_slab=True).get_slabs(symmetrize=True)
    assert slabs
    for given in slabs:
        match = match_slab(upright(given, 2), crystal_of(B2))
        assert match is not None
        assert match.slab.miller_index == miller
        outer = given[int(np.argmax(given.frac_coords[:, 2]))].specie.symbol
        assert outer in match.slab.termination_label


def test_a_strained_slab_is_recognised_and_its_strain_told():
    (facet,) = enumerate_slabs(B2, SlabSettings(min_thickness=9), miller_indices=[(1, 0, 0)])
    given = facet.slabs[0].structure
    matrix = given.lattice.matrix * np.array([[1.015], [1.015], [1.0]])
    match = match_slab(Structure(Lattice(matrix), given.species, given.frac_coords), crystal_of(B2))
    assert match is not None
    assert match.slab.miller_index == (1, 0, 0)
    assert match.strain == pytest.approx(0.015, abs=1e-3)


def test_the_other_stacking_is_no_slab_of_the_crystal():
    # (111) of fcc and (0001) of hcp have the same layers at the same distances
    (facet,) = enumerate_slabs(FCC, SlabSettings(min_thickness=10), miller_indices=[(1, 1, 1)])
    given = facet.slabs[0].structure
    assert match_slab(given, crystal_of(FCC)) is not None
    assert match_slab(given, crystal_of(HCP)) is None


def test_a_slab_of_another_compound_is_not_recognised():
    other = Structure(Lattice.cubic(3.34), ["Mg", "Zn"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    (facet,) = enumerate_slabs(other, SlabSettings(min_thickness=9), miller_indices=[(1, 0, 0)])
    assert match_slab(facet.slabs[0].structure, crystal_of(B2)) is None
    (facet,) = enumerate_slabs(HCP, SlabSettings(min_thickness=9), miller_indices=[(0, 0, 1)])
    assert match_slab(facet.slabs[0].structure, crystal_of(B2)) is None


def test_slabs_like_have_about_the_thickness_and_the_given_cell():
    plane = plane_of(crystal_of(B2), (1, 0, 0))
    slabs = slabs_like(plane, 10.0, 1.8, 30.0)
    assert {slab.termination_label for slab in slabs} == {"Mg", "Ag"}
    for slab in slabs:
        assert abs(slab.thickness - 10.0) <= 1.8
        assert slab.structure.lattice.c == pytest.approx(30.0)
