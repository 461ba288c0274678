"""Random crystals of all 14 Bravais lattices: what must hold of every slab, in every setting of the input."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import spglib
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from workflows.structures.crystal import crystal_of
from workflows.structures.layers import atomic_layers, free_atoms
from workflows.structures.slabs import FacetSlabs, SlabSettings, SymmetricSlab, enumerate_slabs
from workflows.structures.tolerances import SYMPREC

# For each Bravais lattice: centrosymmetric, polar, chiral and non-symmorphic groups as far as there are any.
BRAVAIS = {
    "aP": [1, 2],
    "mP": [3, 4, 6, 7, 11, 13, 14],
    "mS": [5, 8, 9, 12, 15],
    "oP": [16, 19, 26, 29, 33, 47, 57, 62],
    "oS": [20, 36, 38, 41, 63, 64],
    "oF": [22, 42, 43, 69, 70],
    "oI": [24, 44, 46, 71, 72, 74],
    "tP": [76, 81, 86, 92, 100, 113, 123, 136],
    "tI": [79, 80, 82, 88, 98, 109, 122, 139, 141],
    "hR": [146, 148, 155, 160, 161, 166, 167],
    "hP": [144, 147, 150, 152, 156, 164, 165, 169, 174, 176, 180, 186, 190, 193, 194],
    "cP": [195, 198, 200, 205, 213, 215, 218, 221, 223],
    "cF": [196, 203, 210, 216, 219, 225, 227],
    "cI": [197, 199, 206, 214, 217, 220, 229, 230],
}
SPECIAL = [0.0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4]
SAME_PLANE = 1e-5
"""Heights (A) of one plane agree far better than this, as the bulk is symmetrised."""

FEW = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
MANY = settings(FEW, max_examples=60)


def hall_number(spacegroup: int) -> int:
    return next(h for h in range(1, 531) if spglib.get_spacegroup_type(h).number == spacegroup)


HALL = {number: hall_number(number) for groups in BRAVAIS.values() for number in groups}


@st.composite
def crystals(draw: st.DrawFn, bravais: str) -> Structure:
    """One or two orbits, on general or special positions, in a random lattice of the Bravais type."""
    number = draw(st.sampled_from(BRAVAIS[bravais]))
    tables = spglib.get_symmetry_from_database(HALL[number])
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    orbits, elements = [], []
    for element in ["Mg", "Zn"][: draw(st.integers(1, 2))]:
        general = rng.uniform(0, 1, 3)
        is_special = rng.uniform(size=3) < draw(st.sampled_from([0.0, 0.5, 1.0]))
        point = np.where(is_special, rng.choice(SPECIAL, 3), general)
        images = (tables["rotations"] @ point + tables["translations"]) % 1.0
        difference = images[:, None] - images[None]
        difference -= np.rint(difference)
        coincide = (np.abs(difference) < 1e-6).all(axis=2)
        orbit = images[[i for i in range(len(images)) if not coincide[i, :i].any()]]
        orbits.append(orbit)
        elements += [element] * len(orbit)
    assume(len(elements) <= 48)
    # a cell in which every atom has about 20 A^3
    edge = (20.0 * len(elements)) ** (1 / 3)
    structure = Structure(lattice(bravais, edge, rng), elements, np.vstack(orbits))
    distances = structure.distance_matrix[np.triu_indices(len(structure), 1)]
    assume(not len(distances) or distances.min() > 0.8)
    found = crystal_of(structure).spacegroup_number
    assume(found == number or len(structure) < 12)
    # within symprec of a higher symmetry an atom may be idealised to either side, by as much as symprec
    assume(found == crystal_of(structure, SYMPREC / 1000).spacegroup_number)
    return structure


def lattice(bravais: str, edge: float, rng: np.random.Generator) -> Lattice:
    a, b, c = edge * rng.uniform(0.8, 1.25, 3)
    alpha, beta, gamma = rng.uniform(75, 105, 3)
    match bravais[0]:
        case "a":
            return Lattice.from_parameters(a, b, c, alpha, beta, gamma)
        case "m":
            return Lattice.monoclinic(a, b, c, rng.uniform(92, 115))
        case "o":
            return Lattice.orthorhombic(a, b, c)
        case "t":
            return Lattice.tetragonal(a, c)
        case "h":
            return Lattice.hexagonal(a, c)
        case _:
            return Lattice.cubic(edge)


def in_another_setting(structure: Structure, rng: np.random.Generator) -> Structure:
    """The same crystal in a sheared or doubled cell, rotated, shifted, shuffled, with noise."""
    while True:
        P = rng.integers(-1, 2, (3, 3))
        if round(float(np.linalg.det(P))) in (1, 2):
            break
    again = structure.copy()
    again.make_supercell(P, to_unit_cell=True)
    Q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    Q *= np.sign(np.linalg.det(Q))
    order = rng.permutation(len(again))
    positions = again.frac_coords[order] + rng.uniform(0, 1, 3)
    noise = rng.uniform(-1e-5, 1e-5, positions.shape) @ np.linalg.inv(again.lattice.matrix)
    return Structure(Lattice(again.lattice.matrix @ Q), [again[i].specie for i in order], positions + noise)


def all_slabs(facets: list[FacetSlabs]) -> list[SymmetricSlab]:
    return [slab for facet in facets for slab in facet.slabs]


def assert_sides_are_equivalent(slab: SymmetricSlab) -> None:
    structure = slab.structure
    numbers = [site.specie.Z for site in structure]
    symmetry = spglib.get_symmetry((structure.lattice.matrix, structure.frac_coords, numbers), symprec=1e-3)
    assert (symmetry["rotations"][:, 2, 2] == -1).any()


def assert_whole_layers(slab: SymmetricSlab, layer_tolerance: float, is_cut_at_widest: bool) -> None:
    """Every layer but cut-off ones repeats what the bulk has at that height."""
    bulk, structure = slab.oriented_bulk, slab.structure
    spacing = bulk.lattice.matrix[2, 2]
    heights = structure.cart_coords[:, 2]
    in_bulk = bulk.cart_coords[:, 2]
    layers = atomic_layers(structure, SAME_PLANE)
    # the slab's planes in the bulk: an offset that carries every plane to one of the same composition
    planes = {}
    for i, z in enumerate(in_bulk):
        key = next((k for k in planes if abs((z - k + spacing / 2) % spacing - spacing / 2) < SAME_PLANE), z)
        planes.setdefault(key, []).append(bulk[i].specie.symbol)

    def contents(z: float) -> list[str] | None:
        for k, elements in planes.items():
            if abs((z - k + spacing / 2) % spacing - spacing / 2) < 2 * SAME_PLANE:
                return sorted(elements)
        return None

    offsets = [k - heights[layers[0][0]] for k in planes]
    assert any(
        all(
            contents(heights[layer[0]] + o) == sorted(structure[i].specie.symbol for i in layer)
            for layer in layers
        )
        for o in offsets
    )
    if not is_cut_at_widest:
        assert slab.gap > layer_tolerance
        assert len(atomic_layers(structure, layer_tolerance)) == slab.n_layers


def neighbour_distances(structure: Structure, i: int, radius: float) -> list[float]:
    return sorted(n.nn_distance for n in structure.get_neighbors(structure[i], radius))


def assert_middle_is_bulk(slab: SymmetricSlab, radius: float = 3.6) -> None:
    """Atoms deeper than the radius have the neighbours of some bulk atom of their element."""
    z = slab.structure.cart_coords[:, 2]
    deep = np.flatnonzero((z - z.min() > radius + 0.01) & (z.max() - z > radius + 0.01))
    environments: dict[str, list[list[float]]] = {}
    for i, site in enumerate(slab.oriented_bulk):
        environments.setdefault(site.specie.symbol, []).append(
            neighbour_distances(slab.oriented_bulk, i, radius)
        )
    for i in deep[:3]:
        found = neighbour_distances(slab.structure, int(i), radius)
        known = environments[slab.structure[int(i)].specie.symbol]
        assert any(same_environment(found, environment, radius) for environment in known)


def same_environment(one: list[float], other: list[float], radius: float) -> bool:
    """Compare sorted distances; a neighbour just at the radius may be in one list and not in the other."""
    n = min(len(one), len(other))
    rest = one[n:] + other[n:]
    return np.allclose(one[:n], other[:n], atol=1e-3) and all(d > radius - 1e-2 for d in rest)


def check_slabs(structure: Structure) -> None:
    facets = enumerate_slabs(structure, SlabSettings(min_thickness=8.0, max_atoms=150))
    for facet in facets:
        assert bool(facet.slabs) != bool(facet.reason)
        is_cut_at_widest = any("no gap" in note for note in facet.notes)
        for slab in facet.slabs[:4]:
            assert 8.0 - 1e-6 <= slab.thickness < 8.0 + slab.period
            assert slab.structure.frac_coords[:, 2].min() > 0
            assert slab.structure.frac_coords[:, 2].max() < 1
            assert_sides_are_equivalent(slab)
            assert_whole_layers(slab, 0.1, is_cut_at_widest)
            assert_middle_is_bulk(slab)
            free = np.array(free_atoms(slab.structure))
            assert not free.all()


def description(slab: SymmetricSlab) -> tuple[float, ...]:
    """What does not depend on the setting: numbers only, to be compared with a tolerance."""
    distances = slab.structure.distance_matrix[np.triu_indices(len(slab.structure), 1)]
    moments = [float(np.mean(np.exp(-((distances / w) ** 2)))) if len(distances) else 0.0 for w in (2, 4)]
    return (len(slab.structure), slab.thickness, slab.gap, slab.period, slab.area, slab.n_layers, *moments)


def check_settings(structure: Structure, seed: int) -> None:
    again = in_another_setting(structure, np.random.default_rng(seed))
    expected = enumerate_slabs(structure, SlabSettings(min_thickness=8.0, max_atoms=None))
    found = enumerate_slabs(again, SlabSettings(min_thickness=8.0, max_atoms=None))
    # a gap within noise of the tolerance, or a slab within noise of the thickness, may fall on either side
    assume(all(abs(slab.gap - 0.1) > 1e-3 for slab in all_slabs(expected) + all_slabs(found)))
    assume(
        all(min(slab.thickness - 8, 8 + slab.period - slab.thickness) > 1e-3 for slab in all_slabs(expected))
    )
    assert [facet.miller_index for facet in found] == [facet.miller_index for facet in expected]
    for one, other in zip(expected, found, strict=True):
        assert one.is_polar == other.is_polar
        assert [s.termination_label for s in one.slabs] == [s.termination_label for s in other.slabs]
        assert [s.termination_key for s in one.slabs] == [s.termination_key for s in other.slabs]
        for slab, same in zip(one.slabs, other.slabs, strict=True):
            assert description(slab) == pytest.approx(description(same), abs=2e-3)


@pytest.mark.parametrize("bravais", BRAVAIS)
def test_slabs_are_symmetric_whole_and_bulk_inside(bravais):
    FEW(given(crystals(bravais))(check_slabs))()


@pytest.mark.parametrize("bravais", BRAVAIS)
def test_slabs_are_the_same_for_any_setting_of_the_input(bravais):
    FEW(given(crystals(bravais), st.integers(0, 10**6))(check_settings))()


@pytest.mark.slow
@pytest.mark.parametrize("bravais", BRAVAIS)
def test_slabs_of_many_crystals(bravais):
    MANY(given(crystals(bravais))(check_slabs))()


@pytest.mark.slow
@pytest.mark.parametrize("bravais", BRAVAIS)
def test_settings_of_many_crystals(bravais):
    MANY(given(crystals(bravais), st.integers(0, 10**6))(check_settings))()


def test_each_bravais_lattice_has_its_groups():
    letters = {"aP": "P", "mP": "P", "oP": "P", "tP": "P", "hP": "P", "cP": "P", "hR": "R"}
    letters |= {"oF": "F", "cF": "F", "oI": "I", "tI": "I", "cI": "I", "mS": "C", "oS": "CA"}
    for bravais, numbers in BRAVAIS.items():
        for number in numbers:
            symbol = spglib.get_spacegroup_type(HALL[number]).international_short
            assert symbol[0] in letters[bravais], (bravais, symbol)
    assert len(list(product(BRAVAIS))) == 14
