"""Crystals and planes of imported slabs: as cut, relaxed, too thin, several crystals of a formula."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from stores.imported import as_surface
from tests.stores.test_imported import label
from workflows.flows.learning.imported_crystals import imported_crystals
from workflows.structures.crystal import crystal_of
from workflows.structures.slabs import SlabSettings, enumerate_slabs

FCC = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.97), ["Pt"], [[0, 0, 0]])
BCC = Structure.from_spacegroup("Im-3m", Lattice.cubic(3.15), ["Pt"], [[0, 0, 0]])
C14 = Structure.from_spacegroup(
    "P6_3/mmc",
    Lattice.hexagonal(4.83, 7.89),
    ["Mg", "Co", "Co"],
    [[1 / 3, 2 / 3, 0.062], [0, 0, 0], [0.830, 0.660, 0.25]],
)


@cache
def cut(name: str, max_index: int, thickness: float):
    bulk = {"fcc": FCC, "bcc": BCC, "C14": C14}[name]
    facets = enumerate_slabs(bulk, SlabSettings(max_miller_index=max_index, min_thickness=thickness))
    return [slab for facet in facets for slab in facet.slabs]


def records(name="fcc", max_index=2, thickness=10.0, *, named=True, relaxed=0.0, geometry="as_cut", first=0):
    """Records of slabs; `relaxed` contracts the outermost layers (A)."""
    found = []
    for number, slab in enumerate(cut(name, max_index, thickness), start=first):
        structure = slab.structure.copy()
        heights = structure.cart_coords[:, 2] - structure.cart_coords[:, 2].mean()
        depth = heights.max() - np.abs(heights)
        moved = structure.cart_coords
        moved[:, 2] -= np.sign(heights) * relaxed * np.exp(-depth / 1.2)
        structure = Structure(structure.lattice, structure.species, moved, coords_are_cartesian=True)
        record = label(
            1 + number % 28,
            source_id=f"{name}{number}",
            id=f"{name}{number}",
            compound=slab.structure.composition.reduced_formula,
            slab=structure.as_dict(verbosity=0),
            miller_index=slab.miller_index if named else None,
            geometry=geometry,
        )
        found.append(as_surface(record.model_dump()))
    return found, [slab.miller_index for slab in cut(name, max_index, thickness)]


def planes(found):
    return {record["source_id"]: tuple(record["miller_index"]) for record in found.records}


@pytest.mark.parametrize(("name", "number"), [("fcc", 225), ("C14", 194)])
def test_slabs_as_cut_show_crystal_and_planes(name, number):
    slabs, expected = records(name, 1, named=False)
    (found,), unknown = imported_crystals(slabs)
    assert not unknown and found.crystal.spacegroup_number == number
    # the very cell that they were cut from, and its planes
    own = crystal_of({"fcc": FCC, "C14": C14}[name])
    assert np.allclose(np.sort(found.crystal.lattice @ found.crystal.lattice.T, axis=None),
                       np.sort(own.lattice @ own.lattice.T, axis=None), atol=1e-6)  # fmt: skip
    assert planes(found) == {f"{name}{i}": plane for i, plane in enumerate(expected)}
    assert len({record["bulk_id"] for record in found.records}) == 1


@pytest.mark.parametrize("geometry", ["as_cut", "relaxed"])
def test_relaxed_slabs_are_of_one_crystal(geometry):
    slabs, expected = records(relaxed=0.08, geometry=geometry)
    (found,), unknown = imported_crystals(slabs)
    assert not unknown and found.crystal.spacegroup_symbol == "Fm-3m"
    assert planes(found) == {f"fcc{i}": plane for i, plane in enumerate(expected)}


def test_a_slab_too_thin_has_the_plane_that_its_source_names_if_it_fits():
    slabs, expected = records(relaxed=0.08, geometry="relaxed")
    thin, _ = records(thickness=0.5, first=50)
    number = expected.index((2, 1, 0))
    (found,), unknown = imported_crystals([*slabs, thin[number]])
    assert not unknown and planes(found)[f"fcc{50 + number}"] == (2, 1, 0)
    wrong = {**thin[number], "miller_index": [1, 0, 0]}
    _, unknown = imported_crystals([*slabs, wrong])
    assert unknown == [wrong]
    # a source that counts planes in the axes of the primitive cell is not believed
    to_primitive = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    others = [{**one, "miller_index": (to_primitive @ one["miller_index"]).tolist()} for one in records()[0]]
    (found,), unknown = imported_crystals([*others, thin[number]])
    assert unknown == [thin[number]]
    assert planes(found) == {f"fcc{i}": plane for i, plane in enumerate(expected)}


def test_two_crystals_of_one_formula_stay_apart():
    cubic, _ = records("fcc", relaxed=0.05, geometry="relaxed")
    other, _ = records("bcc", relaxed=0.05, geometry="relaxed")
    found, unknown = imported_crystals([*cubic, *other])
    assert not unknown
    assert {one.crystal.spacegroup_symbol: len(one.records) for one in found} == {
        "Fm-3m": len(cubic),
        "Im-3m": len(other),
    }
    assert len({one.records[0]["bulk_id"] for one in found}) == 2


def test_nothing_is_found_of_thin_slabs_alone():
    thin, _ = records(max_index=1, thickness=0.5, named=False)
    assert imported_crystals(thin) == ([], thin)
