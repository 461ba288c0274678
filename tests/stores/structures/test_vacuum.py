"""Where a cell is empty: bulk crystals, slabs and the rest, in every cell they are given in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from model.graphs.slab_frame import slab_frame
from stores.errors import InputError
from stores.structures.reading import read_structure
from stores.structures.vacuum import across_slab, check_bulk, find_vacuum, vacuum_directions
from workflows.structures.slabs import SlabSettings, enumerate_slabs
from workflows.structures.sources.local import FileSource

B2 = Structure(Lattice.cubic(3.34), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def found_in(structure: Structure) -> list[tuple[tuple[int, int, int], list[float]]]:
    found = vacuum_directions(structure.lattice.matrix, structure.frac_coords)
    return [(one.plane, [round(gap, 2) for gap in one.gaps]) for one in found]


def slab(miller=(1, 0, 0), vacuum=15.0, thickness=9.0) -> Structure:
    (facet,) = enumerate_slabs(
        B2, SlabSettings(min_thickness=thickness, vacuum=vacuum), miller_indices=[miller]
    )
    return facet.slabs[0].structure


def in_cell(structure: Structure, transformation) -> Structure:
    """The same crystal with other lattice vectors: integer combinations of volume 1."""
    assert round(abs(np.linalg.det(transformation))) == 1
    lattice = Lattice(np.array(transformation) @ structure.lattice.matrix)
    return Structure(lattice, structure.species, structure.cart_coords, coords_are_cartesian=True)


def shifted(structure: Structure, by: float) -> Structure:
    moved = structure.copy()
    moved.translate_sites(range(len(moved)), [0.1, 0.2, by])
    return moved


def layers(heights, period, a=3.2) -> Structure:
    """One atom in each of some planes of a hexagonal cell (A)."""
    coords = [[(i % 3) / 3, 2 * (i % 3) / 3, z / period] for i, z in enumerate(heights)]
    return Structure(Lattice.hexagonal(a, period), ["Mg"] * len(heights), coords)


def hexagonal(symbols, coords, a, c) -> Structure:
    return Structure(Lattice.hexagonal(a, c), symbols, coords)


MOS2 = hexagonal(
    ["Mo", "Mo", "S", "S", "S", "S"],
    [[1 / 3, 2 / 3, z] if third else [2 / 3, 1 / 3, z]
     for third, z in ((1, 0.25), (0, 0.75), (1, 0.621), (0, 0.121), (0, 0.379), (1, 0.879))],
    3.16, 12.3,
)  # fmt: skip
BULK = {
    "B2": B2,
    "a long supercell": B2 * (1, 1, 12),
    "a large supercell": B2 * (4, 4, 4),
    "a sheared cell": in_cell(B2 * (1, 1, 6), [[1, 0, 0], [2, 1, 0], [3, -2, 1]]),
    "hcp Mg": hexagonal(["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], 3.21, 5.21),
    "bcc Cs, gaps of 4.34 A": Structure.from_spacegroup("Im-3m", Lattice.cubic(6.14), ["Cs"], [[0, 0, 0]]),
    "graphite, gaps of 3.35 A": hexagonal(
        ["C"] * 4, [[0, 0, 0.25], [0, 0, 0.75], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], 2.46, 6.71
    ),
    "MoS2, gaps of 3 A": MOS2,
    "MgI2 by PBE, gaps of 4.4 A": hexagonal(
        ["Mg", "I", "I"], [[0, 0, 0], [1 / 3, 2 / 3, 0.208], [2 / 3, 1 / 3, 0.792]], 4.16, 7.55
    ),
    "HfNI by PBE, gaps of 5.1 A": hexagonal(
        ["Hf", "Hf", "N", "N", "I", "I"],
        [[0, 0, z] if i % 3 == 0 else [1 / 3, 2 / 3, z] if i % 3 == 1 else [2 / 3, 1 / 3, z]
         for i, z in ((0, 0.08), (1, -0.08), (1, 0.06), (0, -0.06), (1, 0.27), (0, -0.27))],
        3.6, 11.1,
    ),
    "I2": Structure.from_spacegroup(
        "Cmce", Lattice.orthorhombic(7.27, 4.79, 9.79), ["I"], [[0, 0.1543, 0.1174]]
    ),
    "solid Ne": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.43), ["Ne"], [[0, 0, 0]]),
}  # fmt: skip


@pytest.mark.parametrize("name", BULK)
def test_bulk_crystals_have_no_vacuum(name):
    assert found_in(BULK[name]) == []
    assert check_bulk(BULK[name], name) == []
    with pytest.raises(InputError, match="No vacuum"):
        slab_frame(BULK[name])


TILT = [[1, 0, 0], [0, 1, 0], [1, -1, 1]]
REDUCED = [[1, 0, 1], [0, 1, 0], [0, 0, 1]]
MIXED = [[1, 0, 1], [0, 1, 1], [1, 1, 3]]
SLABS = {
    "as cut": (slab(), (0, 0, 1), 15.0),
    "vacuum of 6 A": (slab(vacuum=6.0), (0, 0, 1), 6.0),
    "tilted c": (in_cell(slab(), TILT), (0, 0, 1), 15.0),
    "across the boundary": (shifted(slab(), 0.5), (0, 0, 1), 15.0),
    "at the boundary": (shifted(slab(), -slab().frac_coords[:, 2].min()), (0, 0, 1), 15.0),
    "atoms outside the cell": (shifted(slab(), 2.5), (0, 0, 1), 15.0),
    "a supercell in the plane": (slab() * (3, 2, 1), (0, 0, 1), 15.0),
    "a large supercell in the plane": (slab() * (6, 6, 1), (0, 0, 1), 15.0),
    "vacuum along a": (in_cell(slab(), [[0, 0, 1], [1, 0, 0], [0, 1, 0]]), (1, 0, 0), 15.0),
    "vacuum along b": (in_cell(slab(), [[0, 1, 0], [0, 0, 1], [1, 0, 0]]), (0, 1, 0), 15.0),
    "left-handed": (in_cell(slab(), [[0, 1, 0], [1, 0, 0], [0, 0, 1]]), (0, 0, 1), 15.0),
    "no two vectors in the surface": (in_cell(slab(), REDUCED), (1, 0, -1), 15.0),
    "no vector in the surface": (in_cell(slab(), MIXED), (1, 1, -3), 15.0),
    "(110)": (slab((1, 1, 0)), (0, 0, 1), 15.0),
    "a vacuum of 60 A": (slab(vacuum=60.0), (0, 0, 1), 60.0),
    "graphene": (layers([0.0], 15.0, 2.46), (0, 0, 1), 15.0),
    "two layers 3.4 A apart": (layers([0.0, 3.4], 20.0), (0, 0, 1), 16.6),
}


@pytest.mark.parametrize("name", SLABS)
def test_slabs_have_one_vacuum(name):
    structure, plane, width = SLABS[name]
    ((found, gaps),) = found_in(structure)
    assert sorted(np.abs(found).tolist()) == sorted(np.abs(plane).tolist())
    assert gaps == [pytest.approx(width, abs=0.01)]
    across_slab(vacuum_directions(structure.lattice.matrix, structure.frac_coords))
    with pytest.raises(InputError) as error:
        check_bulk(structure, "x.vasp")
    message = str(error.value)
    assert message.startswith("x.vasp") and "\n" not in message
    assert f"{width:.1f} A" in message and "mgsurf predict" in message
    if plane == (0, 0, 1):
        assert "along c" in message
        assert slab_frame(structure).vacuum == pytest.approx(width, abs=0.01)
    else:
        with pytest.raises(InputError, match="third lattice vector"):
            slab_frame(structure)


TWO = slab(vacuum=15.0) * (1, 1, 2)
UNEQUAL = Structure(
    TWO.lattice, TWO.species, [[x, y, z if z < 0.5 else z + 3 / TWO.lattice.c] for x, y, z in TWO.frac_coords]
)
WIRE = Structure(Lattice.orthorhombic(14, 16, 2.9), ["Mg", "Ag"], [[0, 0, 0], [0.1, 0.1, 0.5]])
OTHERS = {
    "two slabs": (TWO, [2], "2 slabs"),
    "two slabs, unequal gaps": (UNEQUAL, [2], "18.0 and 12.0 A along c"),
    "two slabs across the boundary": (shifted(UNEQUAL, 0.4), [2], "2 slabs"),
    "two slabs in a supercell": (TWO * (2, 2, 1), [2], "2 slabs"),
    "two slabs in a tilted cell": (in_cell(TWO, TILT), [2], "2 slabs"),
    "three slabs": (slab() * (1, 1, 3), [3], "3 slabs"),
    "a slab and a sheet": (layers([0, 2.5, 5, 12], 25.0), [2], "13.0 and 7.0 A"),
    "two sheets": (layers([0, 8], 20.0), [2], "2 slabs"),
    "a wire": (WIRE, [1, 1], "wire"),
    "a tilted wire": (in_cell(WIRE, [[1, 0, 0], [0, 1, 2], [0, 0, 1]]), [1, 1], "wire"),
    "a molecule": (Structure(Lattice.cubic(12), ["O", "O"], [[0, 0, 0], [0.1, 0, 0]]), [1, 1, 1], "molecule"),
    "an atom": (Structure(Lattice.cubic(12), ["Mg"], [[0, 0, 0]]), [1, 1, 1], "molecule"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_neither_a_bulk_crystal_nor_one_slab(name):
    structure, n_gaps, words = OTHERS[name]
    assert [len(gaps) for _, gaps in found_in(structure)] == n_gaps
    for refuse in (
        lambda: across_slab(vacuum_directions(structure.lattice.matrix, structure.frac_coords)),
        lambda: slab_frame(structure),
    ):
        with pytest.raises(InputError, match=words):
            refuse()
    with pytest.raises(InputError, match="not a bulk crystal"):
        check_bulk(structure, "x.vasp")


def test_layers_that_are_all_equally_far_apart_are_a_crystal_with_a_note():
    sm = hexagonal(["Sm", "Sm"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], 3.621, 26.25)  # COD 9010999
    (note,) = check_bulk(sm, "x.cif")
    assert "x.cif" in note and "13.1 A along c" in note
    with pytest.raises(InputError, match="2 slabs"):
        slab_frame(sm)


def test_a_cell_of_absurd_size_is_refused():
    with pytest.raises(InputError, match="too large"):
        vacuum_directions(np.eye(3) * 1e6, np.zeros((1, 3)))


def test_files_of_bulk_crystals(tmp_path):
    slab().to(filename=str(tmp_path / "slab.vasp"), fmt="poscar")
    B2.to(filename=str(tmp_path / "b2.vasp"), fmt="poscar")
    with pytest.raises(InputError, match=r"slab\.vasp is not a bulk crystal.*15\.0 A along c"):
        read_structure(tmp_path / "slab.vasp")
    source = FileSource(tmp_path)
    assert [candidate.label for candidate in source.candidates()] == ["b2.vasp"]
    assert len(source.problems) == 1 and "slab.vasp" in source.problems[0]


def test_centred_slab():
    gap = find_vacuum([8.0, 10.0, 12.0], 20.0)
    assert (gap.bottom, gap.top, gap.width, gap.middle) == (8.0, 12.0, 16.0, 20.0)


def test_slab_cut_by_the_boundary_is_made_whole():
    # atoms at 19, 1, 3 of a 20 A cell: 19, 21, 23
    gap = find_vacuum([1.0, 19.0, 3.0], 20.0)
    assert (gap.bottom, gap.top, gap.width) == (19.0, 23.0, 16.0)
    assert gap.heights == pytest.approx([21.0, 19.0, 23.0])


@given(shift=st.floats(-50, 50, allow_nan=False))
def test_width_is_the_same_wherever_the_slab_lies(shift):
    gap = find_vacuum(np.array([0.0, 2.0, 4.5]) + shift, 20.0)
    assert gap.width == pytest.approx(15.5)
    assert gap.top - gap.bottom == pytest.approx(4.5)
    assert np.diff(gap.heights) == pytest.approx([2.0, 2.5])


def test_no_atoms():
    with pytest.raises(InputError, match="0 atoms"):
        find_vacuum([], 20.0)
