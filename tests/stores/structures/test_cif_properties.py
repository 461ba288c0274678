"""A random crystal, written in any equivalent notation, is read as the same crystal or refused."""

from __future__ import annotations

import random

import gemmi
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stores.errors import InputError
from stores.structures.cell import closest_overlap
from stores.structures.cif import read_cif
from tests.stores.structures.cif_texts import cif

GROUPS = list(gemmi.spacegroup_table())
NUMBERS = {"Mg": 12, "Zn": 30, "Cu": 29, "Ni": 28, "C": 6}
NAME = "symmetry_space_group_name_H__M"


def operations(group):
    return [(np.array(op.rot) // gemmi.Op.DEN, np.array(op.tran) / gemmi.Op.DEN) for op in group.operations()]


def cell_of(group, draw):
    """A cell with the group's symmetry: the mean of a random metric over its rotations."""
    rough = np.diag(draw.uniform(5.0, 9.0, 3)) + draw.uniform(-1, 1, (3, 3))
    rotations = [rotation for rotation, _ in operations(group)]
    metric = np.mean([r.T @ (rough @ rough.T) @ r for r in rotations], axis=0)
    lengths = np.sqrt(np.diag(metric))
    cosines = metric / np.outer(lengths, lengths)
    angles = np.degrees(np.arccos([cosines[1, 2], cosines[0, 2], cosines[0, 1]]))
    return (*lengths, *angles), np.linalg.cholesky(metric)


def orbit(position, group):
    """All different images, one after the other compared."""
    found = []
    for rotation, shift in operations(group):
        image = (rotation @ position + shift) % 1
        if not any(np.abs((image - other) - np.round(image - other)).max() < 1e-5 for other in found):
            found.append(image)
    return found


def site(group, draw, special):
    """A general position, or one that some operations keep."""
    position = draw.uniform(0, 1, 3)
    if special:
        ops = operations(group)
        rotation, shift = ops[draw.integers(len(ops))]
        images, image = [position], position
        for _ in range(11):  # rotations have orders 1, 2, 3, 4, 6
            image = rotation @ image + shift
            images.append(image)
        position = np.mean(images, axis=0)
    return position


def atoms_of(numbers, fractional):
    return numbers, fractional - np.floor(fractional)


def same(one, other):
    offsets = one[1][:, None] - other[1][None]
    close = np.abs(offsets - np.round(offsets)).max(axis=2) < 1e-4
    close &= one[0][:, None] == other[0][None]
    return len(one[0]) == len(other[0]) and close.any(axis=0).all() and close.any(axis=1).all()


def notations(group, style):
    """How the symmetry is stated, and whether that leaves nothing open."""
    name = group.xhm()
    if style == "operators":
        return {}, [op.triplet() for op in group.operations()], True
    if style == "everything":
        return (
            {NAME: name, "space_group_IT_number": group.number},
            [op.triplet() for op in group.operations()],
            True,
        )
    if style == "Hall":
        return {"space_group_name_Hall": group.hall}, [], True
    if style == "name":
        return {NAME: name}, [], True
    if style == "compact name":
        return {NAME: name.replace(" ", "").upper()}, [], False
    if style == "name without origin":
        return {NAME: group.hm}, [], group.ext == "\0"
    return {"space_group_IT_number": group.number}, [], False


STYLES = ("operators", "everything", "Hall", "name", "compact name", "name without origin", "number")


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, len(GROUPS) - 1),
    st.integers(0, 2**32 - 1),
    st.sampled_from(STYLES),
    st.booleans(),
    st.booleans(),
)
def test_a_crystal_is_the_same_in_every_notation(index, seed, style, special, stated):
    group, draw = GROUPS[index], np.random.default_rng(seed)
    cell, lattice = cell_of(group, draw)
    elements = draw.choice(list(NUMBERS), size=2, replace=False).tolist()
    places = [site(group, draw, special), site(group, draw, False)]
    orbits = [orbit(place, group) for place in places]
    numbers = np.concatenate([[NUMBERS[e]] * len(o) for e, o in zip(elements, orbits, strict=True)])
    truth = atoms_of(numbers, np.concatenate(orbits))
    assume(len(numbers) < 250 and closest_overlap(*truth[:1], lattice, truth[1]) is None)
    rows = [f"{e}{i} {e} " + " ".join(f"{x:.6f}" for x in place)
            for i, (e, place) in enumerate(zip(elements, places, strict=True))]  # fmt: skip
    tags, operators, exact = notations(group, style)
    if stated:
        tags["chemical_formula_sum"] = " ".join(f"{e}{len(o)}" for e, o in zip(elements, orbits, strict=True))
        tags["cell_formula_units_Z"] = 1
    text = cif(random.Random(seed).sample(rows, 2), [f"{x:.6f}" for x in cell], operators=operators, **tags)
    try:
        (found,) = read_cif(text, "x.cif", [])
    except InputError:
        assert not exact, text
        return
    read = atoms_of(found.numbers, found.fractional)
    if exact:
        assert same(truth, read), text
    elif stated:  # another setting may be read, but never another composition
        assert sorted(read[0].tolist()) == sorted(truth[0].tolist()), text


@settings(max_examples=20, deadline=None)
@given(st.integers(0, len(GROUPS) - 1), st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 4]))
def test_rounding_never_changes_the_number_of_atoms(index, seed, digits):
    group, draw = GROUPS[index], np.random.default_rng(seed)
    cell, lattice = cell_of(group, draw)
    place = site(group, draw, True)
    images = np.array(orbit(place, group))
    assume(closest_overlap(np.full(len(images), 12), lattice, images) is None)
    row = "Mg1 Mg " + " ".join(f"{x:.{digits}f}" for x in place)
    text = cif([row], [f"{x:.6f}" for x in cell], **{NAME: group.xhm()})
    try:
        (found,) = read_cif(text, "x.cif", [])
    except InputError as error:
        assert "digits" in str(error)
        return
    assert len(found.numbers) == len(images), text
