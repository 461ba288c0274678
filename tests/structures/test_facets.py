from __future__ import annotations

from itertools import product
from math import gcd

import numpy as np
import pytest
import spglib
from pymatgen.core import Lattice, Structure

from stores.errors import InputError
from workflows.structures.crystal import Crystal, crystal_of
from workflows.structures.facets import canonical_facet, distinct_facets, equivalent_planes
from workflows.structures.space_group import axis_rotations

MG3SB2 = Structure.from_spacegroup(
    "P-3m1",
    Lattice.hexagonal(4.568, 7.229),
    ["Mg", "Mg", "Sb"],
    [[0, 0, 0], [1 / 3, 2 / 3, 0.634], [1 / 3, 2 / 3, 0.2287]],
)
MGAG = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.314), ["Mg", "Ag"], [[0, 0, 0], [0.5] * 3])
MG = Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(3.209, 5.211), ["Mg"], [[1 / 3, 2 / 3, 0.25]])


def test_cubic_facets_in_order_of_their_indices():
    crystal = crystal_of(MGAG)
    assert distinct_facets(crystal, 1) == [(1, 0, 0), (1, 1, 0), (1, 1, 1)]
    assert distinct_facets(crystal, 2)[3:] == [(2, 1, 0), (2, 1, 1), (2, 2, 1)]


def test_hexagonal_facets():
    assert distinct_facets(crystal_of(MG), 1) == [(1, 0, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (1, 1, 1)]


def test_the_lattice_symmetry_does_not_merge_facets_of_a_trigonal_crystal():
    crystal = crystal_of(MG3SB2)
    assert (1, 0, -1) not in equivalent_planes(crystal, (1, 0, 1))
    assert canonical_facet(crystal, (1, 0, -1)) == (0, 1, 1)
    assert {(1, 0, 1), (0, 1, 1)} <= set(distinct_facets(crystal, 1))


def test_triclinic_facets_are_all_different_up_to_inversion():
    crystal = crystal_of(
        Structure(Lattice.from_parameters(5, 6, 7, 80, 95, 102), ["Mg", "Zn"], [[0] * 3, [0.2, 0.3, 0.4]])
    )
    planes = [h for h in product((-1, 0, 1), repeat=3) if any(h)]
    assert len(distinct_facets(crystal, 1)) == len(planes) // 2 == 13


@pytest.mark.parametrize("structure", [MG3SB2, MGAG, MG])
def test_every_plane_belongs_to_exactly_one_facet(structure):
    crystal = crystal_of(structure)
    facets = distinct_facets(crystal, 2)
    orbits = [equivalent_planes(crystal, h) for h in facets]
    planes = {h for h in product(range(-2, 3), repeat=3) if gcd(*h) == 1}
    # on hexagonal axes (210) has equivalents with an index of 3: so "contains"
    assert set().union(*orbits) >= planes
    assert sum(len(orbit) for orbit in orbits) == len(set().union(*orbits))
    assert all(
        canonical_facet(crystal, h) == facet
        for facet, orbit in zip(facets, orbits, strict=True)
        for h in orbit
    )


def test_common_divisors_are_removed_and_000_is_no_plane():
    crystal = crystal_of(MGAG)
    assert canonical_facet(crystal, (0, -2, 2)) == (1, 1, 0)
    with pytest.raises(ValueError, match="000"):
        canonical_facet(crystal, (0, 0, 0))


@pytest.mark.parametrize(
    ("structure", "words"),
    [
        (Structure(Lattice.cubic(3), [], []), "no atoms"),
        (Structure(Lattice.cubic(3), [{"Mg": 0.5, "Ag": 0.5}], [[0, 0, 0]]), "disordered"),
        (Structure(Lattice.cubic(3), [{"Mg": 0.9}], [[0, 0, 0]]), "disordered"),
        (Structure(Lattice.cubic(3), ["Mg", "Mg"], [[0, 0, 0], [0, 0, 0.0001]]), "overlapping"),
    ],
)
def test_structures_without_a_symmetry_get_one_line(structure, words):
    with pytest.raises(InputError, match=words) as caught:
        crystal_of(structure)
    assert "\n" not in str(caught.value)


def default_hall_numbers() -> dict[int, int]:
    """The first Hall number of each space group, the one that spglib standardises to."""
    found: dict[int, int] = {}
    for hall in range(1, 531):
        found.setdefault(spglib.get_spacegroup_type(hall).number, hall)
    return found


def lattice_of(number: int, rng: np.random.Generator) -> Lattice:
    a, b, c = rng.uniform(6, 9, 3)
    alpha, beta, gamma = rng.uniform(78, 102, 3)
    if number <= 2:
        return Lattice.from_parameters(a, b, c, alpha, beta, gamma)
    if number <= 15:
        return Lattice.monoclinic(a, b, c, beta)
    if number <= 74:
        return Lattice.orthorhombic(a, b, c)
    if number <= 142:
        return Lattice.tetragonal(a, c)
    if number <= 194:
        return Lattice.hexagonal(a, c)
    return Lattice.cubic(1.4 * a)


def random_crystal(number: int, rng: np.random.Generator) -> Structure:
    """Two general positions of a space group."""
    tables = spglib.get_symmetry_from_database(default_hall_numbers()[number])
    while True:
        points = rng.uniform(0, 1, (2, 3))
        orbits = [tables["rotations"] @ p + tables["translations"] for p in points]
        n = len(orbits[0])
        structure = Structure(lattice_of(number, rng), ["Mg"] * n + ["Zn"] * n, np.vstack(orbits))
        distances = structure.distance_matrix[np.triu_indices(len(structure), 1)]
        if not len(distances) or distances.min() > 0.3:
            return structure


def in_another_setting(structure: Structure, rng: np.random.Generator) -> Structure:
    """The same crystal in a sheared cell, rotated, with another origin and order of sites."""
    while True:
        P = rng.integers(-2, 3, (3, 3))
        if round(float(np.linalg.det(P))) == 1:
            break
    Q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    Q *= np.sign(np.linalg.det(Q))
    order = rng.permutation(len(structure))
    positions = (structure.frac_coords @ np.linalg.inv(P) + rng.uniform(0, 1, 3))[order]
    return Structure(
        Lattice(P @ structure.lattice.matrix @ Q), [structure[i].specie for i in order], positions
    )


def test_a_wide_tolerance_does_not_move_exact_atoms():
    """At 0.1 A several origins will do: the answer must be the exact one all the same."""
    for number in (2, 62, 164, 191, 221):
        structure = random_crystal(number, np.random.default_rng(number))
        wide, strict = crystal_of(structure, symprec=0.1), crystal_of(structure, symprec=1e-4)
        if wide.spacegroup_number == strict.spacegroup_number:
            assert structure_factors(wide, 1) == pytest.approx(structure_factors(strict, 1), abs=1e-3)


def operations_map_the_crystal_onto_itself(crystal: Crystal) -> bool:
    types = np.array(crystal.species)
    for rotation, translation in zip(crystal.rotations, crystal.translations, strict=True):
        metric = crystal.lattice @ crystal.lattice.T
        if not np.allclose(rotation.T @ metric @ rotation, metric, atol=1e-4):
            return False
        difference = (crystal.positions @ rotation.T + translation)[:, None] - crystal.positions[None]
        difference -= np.rint(difference)
        same = (np.abs(difference) < 1e-7).all(axis=2) & (types[:, None] == types[None])
        if not same.any(axis=1).all():
            return False
    return True


def structure_factors(crystal: Crystal, max_miller_index: int) -> dict[tuple[int, int, int], float]:
    Z = np.array([{"Mg": 12, "Zn": 30}[s] for s in crystal.species])
    return {
        h: float(abs(np.exp(2j * np.pi * crystal.positions @ h) @ Z)) / len(Z)
        for h in distinct_facets(crystal, max_miller_index)
    }


SOME_GROUPS = [1, 2, 9, 14, 15, 19, 36, 62, 82, 88, 122, 144, 148, 164, 167, 169, 176, 180, 198, 205, 220]


def check_space_group(number: int) -> None:
    rng = np.random.default_rng(number)
    structure = random_crystal(number, rng)
    crystal = crystal_of(structure)
    expected = structure_factors(crystal, 2)
    assert crystal.spacegroup_number == number
    assert operations_map_the_crystal_onto_itself(crystal)
    assert len(crystal.primitive_species) * abs(np.linalg.det(crystal.lattice)) == pytest.approx(
        len(crystal.species) * abs(np.linalg.det(crystal.primitive_basis @ crystal.lattice))
    )
    for _ in range(2):
        again = crystal_of(in_another_setting(structure, rng))
        assert Lattice(again.lattice).parameters == pytest.approx(
            Lattice(crystal.lattice).parameters, abs=1e-3
        )
        assert operations_map_the_crystal_onto_itself(again)
        assert structure_factors(again, 2) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("number", SOME_GROUPS)
def test_operations_and_names_of_facets_do_not_depend_on_the_setting(number):
    check_space_group(number)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 231))
def test_operations_and_names_of_facets_in_every_space_group(number):
    check_space_group(number)


@pytest.mark.parametrize("number", [*range(75, 89), *range(143, 168), *range(168, 177), *range(195, 207)])
def test_turned_axes_are_again_a_standard_setting(number):
    """The turned operations are those of the tables, up to a shift of the origin."""
    hall = default_hall_numbers()[number]
    tables = spglib.get_symmetry_from_database(hall)
    W, w = tables["rotations"].astype(int), tables["translations"]
    expected = as_set(W, w)
    for Q in axis_rotations(number, spglib.get_spacegroup_type(hall).international_short):
        turned, shifted = Q @ W @ np.rint(np.linalg.inv(Q)).astype(int), w @ Q.T
        thirds = 143 <= number <= 167
        origins = product([0.0], [0.0], np.arange(6) / 6) if thirds else product(np.arange(4) / 4, repeat=3)
        assert any(as_set(turned, shifted + s - turned @ np.array(s)) == expected for s in origins)


def as_set(W: np.ndarray, w: np.ndarray) -> set[tuple[int, ...]]:
    in_24ths = np.rint(w * 24).astype(int) % 24
    return {(*r.ravel().tolist(), *t.tolist()) for r, t in zip(W, in_24ths, strict=True)}
