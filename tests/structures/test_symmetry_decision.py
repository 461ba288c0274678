"""Header, names of facets, cut and Wulff shape rest on one space group, whatever cell a crystal comes in."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from stores.errors import InputError
from tests.crystals import LOW_SYMMETRY
from workflows.analysis.wulff import Facet, wulff
from workflows.structures.crystal import (
    Crystal,
    bulk_key,
    crystal_of,
    looser_symmetry,
    symmetrized,
    with_symmetry,
)
from workflows.structures.elements import crystal
from workflows.structures.facets import (
    axes_note,
    distinct_facets,
    equivalent_planes,
    facets_of,
    given_plane,
    standard_plane,
)
from workflows.structures.naming import parse_miller
from workflows.structures.prototypes import structure_for
from workflows.structures.slabs import SlabSettings, enumerate_slabs

CRYSTALS = {
    "hcp": crystal(194, (3.2, 3.2, 5.2), [("Mg", (1 / 3, 2 / 3, 0.25))]),
    "B2": structure_for("MgAg", "B2"),
    "C14": crystal(
        194,
        (5.24, 5.24, 8.59),
        [("Mg", (1 / 3, 2 / 3, 0.0629)), ("Zn", (0, 0, 0)), ("Zn", (0.8305, 1.661, 0.25))],
    ),
    "Mg3Sb2": crystal(
        164,
        (4.59, 4.59, 7.28),
        [("Mg", (0, 0, 0)), ("Mg", (1 / 3, 2 / 3, 0.634)), ("Sb", (1 / 3, 2 / 3, 0.2257))],
    ),
    "Mg2Ni": crystal(
        180,
        (5.205, 5.205, 13.236),
        [("Ni", (0, 0, 0.5)), ("Ni", (0.5, 0, 0.5)), ("Mg", (0.5, 0, 0.1155)), ("Mg", (0.1628, 0.3256, 0))],
    ),
    "As": crystal(166, (3.7598, 3.7598, 10.5475), [("As", (0, 0, 0.2271))]),
    "Pnma": crystal(62, (6.0, 4.1, 5.5), [("Mg", (0.18, 0.25, 0.62)), ("Pd", (0.03, 0.25, 0.12))]),
    "fcc": crystal(225, (4.05, 4.05, 4.05), [("Al", (0, 0, 0))]),
    "monoclinic": LOW_SYMMETRY["monoclinic"],
}


def in_cell(structure: Structure, cell: np.ndarray, rng: np.random.Generator) -> Structure:
    """The crystal in the cell whose edges are the integer rows of `cell`, turned in space."""
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    result = structure * cell
    turned = Lattice(result.lattice.matrix @ (turn * np.sign(np.linalg.det(turn))))
    return Structure(turned, result.species, result.frac_coords + rng.uniform(0, 1, 3))


@st.composite
def cells(draw):
    return np.array(
        draw(
            st.lists(st.lists(st.integers(-1, 2), min_size=3, max_size=3), min_size=3, max_size=3).filter(
                lambda rows: 1 <= round(float(np.linalg.det(rows))) <= 2
            )
        )
    )


@given(
    name=st.sampled_from(sorted(CRYSTALS)),
    cell=cells(),
    strain=st.sampled_from([0.0, 0.001, 0.003, 0.01]),
    noise=st.sampled_from([0.0, 1e-4, 0.002, 0.01, 0.05]),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=25, derandomize=True)
def test_one_space_group_names_cuts_and_repeats_the_planes(name, cell, strain, noise, seed):
    rng = np.random.default_rng(seed)
    structure = in_cell(CRYSTALS[name], cell, rng)
    structure = structure.copy()
    structure.lattice = Lattice(structure.lattice.matrix @ (np.eye(3) + np.diag([strain, 0, 0])))
    if noise:
        structure.perturb(noise, seed=seed)
    found = crystal_of(structure)
    plane = distinct_facets(found, 1)[seed % 3]
    (facet,) = enumerate_slabs(structure, SlabSettings(max_atoms=None), miller_indices=[plane])
    assert facet.spacegroup_number == found.spacegroup_number
    assert facet.miller_index == plane
    # area and spacing of the slab returned are those of the plane named
    primitive = found.primitive_basis @ found.lattice
    whole = np.rint(6 * found.primitive_basis @ plane).astype(int)
    normal = np.linalg.inv(primitive) @ (whole // np.gcd.reduce(whole))
    for slab in facet.slabs:
        area = np.linalg.norm(np.cross(*slab.structure.lattice.matrix[:2]))
        assert area == pytest.approx(abs(np.linalg.det(primitive)) * np.linalg.norm(normal))
    # the Wulff shape repeats the plane as often as the same point group does
    shape = wulff(structure, [Facet(given_plane(found, plane), 0.05), *closing(found)])
    assert shape.shape is not None
    assert set(shape.shape.crystal.point_group.ravel()) == set(found.point_group.ravel())
    assert shape.shape.crystal.spacegroup_number == found.spacegroup_number


def closing(found: Crystal) -> list[Facet]:
    """Three more planes, so that the shape is closed."""
    return [Facet(given_plane(found, plane), 1.0) for plane in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]


@given(name=st.sampled_from(sorted(CRYSTALS)), cell=cells(), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=40, derandomize=True)
def test_a_plane_has_the_same_normal_in_the_axes_of_the_file(name, cell, seed):
    structure = in_cell(CRYSTALS[name], cell, np.random.default_rng(seed))
    found = crystal_of(structure)
    # by geometry alone: angles between normals and lattice planes' spacings over the volume agree
    rows = found.transformation.T @ found.lattice
    assert rows @ rows.T == pytest.approx(structure.lattice.matrix @ structure.lattice.matrix.T, abs=1e-3)
    for plane in distinct_facets(found, 1):
        indices = given_plane(found, plane)
        assert standard_plane(found, indices) == plane
        normal = np.linalg.inv(rows) @ np.array(indices)
        normals = [np.linalg.inv(found.lattice) @ np.array(h) for h in equivalent_planes(found, plane)]
        cosines = [n @ normal / np.linalg.norm(n) / np.linalg.norm(normal) for n in normals]
        assert max(cosines) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "cell", "pairs"),
    [
        ("Pnma", [[0, 0, 1], [1, 0, 0], [0, 1, 0]], {(0, 1, 0): (0, 0, 1), (1, 0, 0): (0, 1, 0)}),  # Pbnm
        (
            "As",
            [[2 / 3, 1 / 3, 1 / 3], [-1 / 3, 1 / 3, 1 / 3], [-1 / 3, -2 / 3, 1 / 3]],
            {(0, 0, 1): (1, 1, 1)},
        ),
        ("fcc", [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], {(1, 0, 0): (1, 1, 0), (1, 1, 1): (1, 1, 1)}),
        (
            "hcp",
            [[1, 0, 0], [1, 1, 0], [0, 0, 1]],
            {(1, 0, 0): (1, 0, 0), (0, 0, 1): (0, 0, 1)},
        ),  # 60 degrees
        ("B2", [[2, 0, 0], [0, 2, 0], [0, 0, 2]], {(1, 1, 0): (1, 1, 0)}),
        ("B2", [[1, 0, 0], [0, 1, 0], [0, 0, 3]], {(1, 0, 0): (1, 0, 0), (1, 1, 1): (1, 1, 3)}),
    ],
)
def test_planes_of_known_settings(name, cell, pairs):
    cell = np.array(cell)
    reference = CRYSTALS[name]
    if np.allclose(cell, np.rint(cell)):
        structure = reference * np.rint(cell).astype(int)
    else:
        found = crystal_of(reference)
        structure = Structure(
            cell @ found.lattice, found.primitive_species, found.primitive_positions @ np.linalg.inv(cell)
        )
    found = crystal_of(structure)
    assert {plane: given_plane(found, plane) for plane in pairs} == pairs
    note = axes_note(found, pairs, "x.cif")
    assert bool(note) == any(plane != indices for plane, indices in pairs.items())


def strained_hcp(strain: float) -> Structure:
    cell = np.array([[3.2, 0, 0], [-1.6, 1.6 * 3**0.5, 0], [0, 0, 5.2]])
    cell[:, 0] *= 1 + strain
    return Structure(cell, ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])


@pytest.mark.parametrize("strain", [0.0, 0.001, 0.002, 0.003, 0.0045, 0.006, 0.01])
def test_four_indices_cut_the_prism_plane_or_are_refused(strain):
    structure = strained_hcp(strain)
    found = crystal_of(structure)
    plane = parse_miller("(10-10)")
    if found.spacegroup_number == 194:
        (facet,) = enumerate_slabs(structure, miller_indices=[plane])
        assert facet.slabs[0].area == pytest.approx(3.2 * 5.2, rel=0.005)
        assert not looser_symmetry(structure, "x")
    else:
        with pytest.raises(InputError, match=r"\(10-10\).*Cmcm"):
            enumerate_slabs(structure, miller_indices=[plane])
        assert "--symprec" in looser_symmetry(structure, "x.vasp")[0]
        ideal = with_symmetry(structure, "x.vasp", 0.1)
        (facet,) = enumerate_slabs(ideal, miller_indices=[plane])
        assert facet.slabs[0].area == pytest.approx(3.2 * 5.2, rel=0.01)
    assert (found.spacegroup_number == 194) == (strain < 0.004)


@pytest.mark.parametrize("name", ["B2", "fcc", "Pnma", "monoclinic"])
def test_four_indices_need_a_hexagonal_or_trigonal_crystal(name):
    with pytest.raises(InputError, match="four indices"):
        facets_of(crystal_of(CRYSTALS[name]), 1, [parse_miller("10-10")])
    assert facets_of(crystal_of(CRYSTALS[name]), 1, [parse_miller("100")])


@pytest.mark.parametrize("name", sorted(CRYSTALS))
@pytest.mark.parametrize("cell", [np.eye(3, dtype=int), np.array([[1, 1, 0], [0, 1, 0], [1, 0, 2]])])
def test_symmetrising_removes_noise_and_keeps_cell_and_atoms(name, cell, caplog):
    ideal = CRYSTALS[name] * cell
    noisy = ideal.copy()
    noisy.perturb(0.02, seed=3)
    assert crystal_of(noisy).spacegroup_number < crystal_of(ideal).spacegroup_number or name == "monoclinic"
    clean, note = symmetrized(noisy, 0.1)
    assert crystal_of(clean).spacegroup_number == crystal_of(ideal).spacegroup_number
    assert len(crystal_of(clean).primitive_species) == len(crystal_of(ideal).primitive_species)
    assert clean.lattice.parameters == pytest.approx(noisy.lattice.parameters, rel=1e-3)
    assert [site.specie for site in clean] == [site.specie for site in noisy]
    moved = clean.frac_coords - noisy.frac_coords
    assert np.linalg.norm((moved - np.rint(moved)) @ ideal.lattice.matrix, axis=1).max() < 0.1
    assert crystal_of(ideal).spacegroup_symbol in note
    with caplog.at_level(logging.WARNING):
        with_symmetry(noisy, f"{name} {cell.tolist()}")
    assert any(name in record.message for record in caplog.records) == bool(looser_symmetry(noisy, name))


def test_an_undistorted_crystal_keeps_its_key():
    assert bulk_key(CRYSTALS["Mg3Sb2"]) == bulk_key(symmetrized(CRYSTALS["Mg3Sb2"], 0.1)[0])
    assert looser_symmetry(CRYSTALS["Mg3Sb2"], "x") == []
