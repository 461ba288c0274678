"""Everything that pymatgen's symmetrised generator finds is found, once, and everything found is symmetric.

pymatgen cuts at every cluster of planes and then strips atoms one by one from one side until the slab is
symmetric. Its slabs are therefore sorted before they are compared:

- it calls a slab symmetric within 0.1 A; those that have no normal-reversing operation within 0.01 A are not;
- stripping can end in the middle of a layer (planes closer than `layer_tolerance`), or take some atoms of a
  plane and leave others. Whole layers only is this project's rule, so these are left out.

Every other slab must agree with exactly one of ours in its surface: the depth profile of elements, per area,
and the distances from the outermost plane. Thickness is not compared: pymatgen's slabs can be thinner than
requested, or a period thicker.
"""

from __future__ import annotations

import warnings
from itertools import combinations
from math import gcd

import numpy as np
import pytest
import spglib
from pymatgen.core import Lattice, Structure
from pymatgen.core.surface import SlabGenerator

from benchmarks.compounds import compounds
from workflows.structures.crystal import Crystal, crystal_of
from workflows.structures.facets import distinct_facets
from workflows.structures.slabs import SlabSettings, SymmetricSlab, enumerate_slabs

COMPOUNDS = compounds()
FAST = ["MgAg B2", "Mg A3", "Mg3Sb2 D5_2", "MgIn L1_0", "MgCd B19", "CuO B26", "P2I4"]
"""One of each crystal system."""

LAYER_TOLERANCE = 0.1
SAME_PLANE = 0.005  # A
DEPTH = 4.0  # A, how far into the slab the surfaces are compared

Profile = list[tuple[float, str, float]]


def upright(structure: Structure) -> tuple[np.ndarray, np.ndarray, float]:
    """Cartesian positions and lattice with the normal along z, and the area of one side."""
    a, b, c = structure.lattice.matrix
    normal = np.cross(a, b)
    area = float(np.linalg.norm(normal))
    z = normal / area * np.sign(normal @ c)
    x = a / np.linalg.norm(a)
    frame = np.array([x, np.cross(z, x), z])
    return structure.cart_coords @ frame.T, structure.lattice.matrix @ frame.T, area


def reverses_the_normal(structure: Structure) -> bool:
    """Whether spglib finds an operation of the slab in its vacuum cell that turns it upside down."""
    positions, lattice, _ = upright(structure)
    lattice = lattice.copy()
    lattice[2, :2] = 0.0  # a vacuum cell may as well stand upright
    cell = (lattice, positions @ np.linalg.inv(lattice), [site.specie.Z for site in structure])
    symmetry = spglib.get_symmetry(cell, symprec=0.01)
    return bool((symmetry["rotations"][:, 2, 2] == -1).any())


def surface_of(structure: Structure) -> tuple[Profile, list[float]]:
    """Depth profile (A, element, atoms per A^2) of the top side, and distances from its outermost plane."""
    positions, lattice, area = upright(structure)
    depth = positions[:, 2].max() - positions[:, 2]
    order = np.argsort(depth, kind="stable")
    planes: list[list[int]] = []
    for i in order:
        if planes and depth[i] - depth[planes[-1][-1]] < SAME_PLANE:
            planes[-1].append(int(i))
        else:
            planes.append([int(i)])
    profile = []
    for plane in planes:
        elements = [structure[i].specie.symbol for i in plane]
        profile += [(float(depth[plane[0]]), e, elements.count(e) / area) for e in sorted(set(elements))]
    # in-plane images far enough for every neighbour within DEPTH
    inverse = np.linalg.inv(lattice[:2, :2])
    n = [int(np.ceil(DEPTH * np.linalg.norm(inverse[:, i]))) + 1 for i in (0, 1)]
    images = [i * lattice[0] + j * lattice[1] for i in range(-n[0], n[0] + 1) for j in range(-n[1], n[1] + 1)]
    below = (positions[None, :, :] + np.array(images)[:, None, :]).reshape(-1, 3)
    distances = np.linalg.norm(below[None] - positions[planes[0]][:, None], axis=2).ravel()
    near = np.sort(distances[(distances > 0.1) & (distances < DEPTH)])
    per_atom = near[:: len(planes[0])] if len(near) % len(planes[0]) == 0 else near
    return [row for row in profile if row[0] < DEPTH], per_atom.tolist()


def same_surface(one: tuple[Profile, list[float]], other: tuple[Profile, list[float]]) -> bool:
    """Compare two surfaces down to the shallower of both ends."""
    n = min(len(one[0]), len(other[0]))
    if n == 0 or abs(len(one[0]) - len(other[0])) > 2:
        return False
    for (depth, element, density), (depth_2, element_2, density_2) in zip(
        one[0][:n], other[0][:n], strict=True
    ):
        if abs(depth - depth_2) > 0.01 or element != element_2 or abs(density - density_2) > 1e-4:
            return False
    m = min(len(one[1]), len(other[1]), 12)
    return bool(np.abs(np.array(one[1][:m]) - np.array(other[1][:m])).max(initial=0.0) < 0.01)


def primitive_index(crystal: Crystal, h: tuple[int, int, int]) -> tuple[int, int, int]:
    """hkl on the axes of the primitive cell."""
    p = np.rint(crystal.primitive_basis @ h * 12).astype(int)
    i, j, k = (p // gcd(*p.tolist())).tolist()
    return (i, j, k)


def pymatgen_slabs(crystal: Crystal, h: tuple[int, int, int]) -> list[Structure]:
    """Symmetrised slabs from the primitive cell, so that the in-plane cell is the primitive one too."""
    basis = crystal.primitive_basis
    primitive = Structure(
        Lattice(basis @ crystal.lattice),
        list(crystal.primitive_species),
        crystal.primitive_positions @ np.linalg.inv(basis),
    )
    generator = SlabGenerator(
        primitive,
        primitive_index(crystal, h),
        10.0,
        15.0,
        center_slab=True,
        primitive=False,
        lll_reduce=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(generator.get_slabs(ftol=LAYER_TOLERANCE, symmetrize=True))


def splits_a_plane(structure: Structure, plane_densities: dict[str, set[float]]) -> bool:
    """Whether the outermost plane holds fewer atoms than any whole plane of the bulk with that element."""
    profile, _ = surface_of(structure)
    outermost = [(e, density) for depth, e, density in profile if depth < SAME_PLANE]
    return any(min(abs(density - whole) for whole in plane_densities[e]) > 1e-4 for e, density in outermost)


def compare(name: str) -> tuple[int, int, int]:
    """Check one compound; return the numbers of slabs compared, split and not symmetric."""
    crystal = crystal_of(COMPOUNDS[name])
    n_compared = n_split = n_asymmetric = 0
    for h in distinct_facets(crystal, 1):
        [ours] = enumerate_slabs(
            crystal, SlabSettings(layer_tolerance=LAYER_TOLERANCE, max_atoms=None), miller_indices=[h]
        )
        [by_plane] = enumerate_slabs(
            crystal, SlabSettings(layer_tolerance=0.0, max_atoms=None), miller_indices=[h]
        )
        wanted = [surface_of(slab.structure) for slab in ours.slabs]
        whole_planes = [surface_of(slab.structure) for slab in by_plane.slabs]
        for one, other in combinations(range(len(wanted)), 2):
            assert not same_surface(wanted[one], wanted[other]) or different_below(
                ours.slabs[one], ours.slabs[other]
            ), f"{name} {h}: the same termination twice"
        for slab in pymatgen_slabs(crystal, h):
            if not reverses_the_normal(slab):
                n_asymmetric += 1
                continue
            assert not ours.is_polar, f"{name} {h}: called polar, but pymatgen has a symmetric slab"
            surface = surface_of(slab)
            matches = [i for i, ours_ in enumerate(wanted) if same_surface(surface, ours_)]
            if matches:
                n_compared += 1
                continue
            fine = [s for s, w in zip(by_plane.slabs, whole_planes, strict=True) if same_surface(surface, w)]
            densities: dict[str, set[float]] = {}
            for profile, _ in whole_planes:
                for _, element, density in profile:
                    densities.setdefault(element, set()).add(density)
            splits_a_layer = bool(fine) and all(s.gap <= LAYER_TOLERANCE for s in fine)
            assert splits_a_layer or splits_a_plane(slab, densities), f"{name} {h}: missed {surface[0]}"
            n_split += 1
    return n_compared, n_split, n_asymmetric


def different_below(one: SymmetricSlab, other: SymmetricSlab) -> bool:
    """Whether two terminations that look alike within DEPTH have other layers or gaps further in."""
    return (
        one.termination_key.split("#")[0] != other.termination_key.split("#")[0]
        or abs(one.gap - other.gap) > 0.01
    )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in COMPOUNDS]
)
def test_every_symmetric_slab_of_pymatgen_is_found_once(name):
    n_compared, n_split, n_asymmetric = compare(name)
    print(
        f"{name}: {n_compared} slabs found again, {n_split} split a layer, {n_asymmetric} are not symmetric"
    )
    assert n_compared > 0


@pytest.mark.parametrize("name", COMPOUNDS)
def test_every_slab_is_symmetric_and_thick_enough(name):
    for facet in enumerate_slabs(COMPOUNDS[name], SlabSettings(max_atoms=120)):
        assert facet.slabs or facet.reason
        for slab in facet.slabs:
            assert slab.thickness >= 10.0 - 1e-6
            assert reverses_the_normal(slab.structure)


def test_seven_crystal_systems_are_covered():
    numbers = [crystal_of(structure).spacegroup_number for structure in COMPOUNDS.values()]
    ends = [2, 15, 74, 142, 167, 194, 230]
    assert {int(np.searchsorted(ends, number)) for number in numbers} == set(range(7))
    assert len(numbers) == 20
