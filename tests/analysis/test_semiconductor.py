"""Semiconductors by closed shells, with and without bonds between anions."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from workflows.analysis.semiconductor import semiconductor


@pytest.mark.parametrize(
    ("amounts", "gap", "expected"),
    [
        ({"Mg": 2, "Si": 1}, None, True),
        ({"Mg": 3, "Sb": 2}, None, True),
        ({"Mg": 1, "O": 1}, None, True),
        ({"Mg": 1, "Zn": 2}, None, False),
        ({"Mg": 2, "Pb": 1}, None, False),
        ({"Mg": 1}, None, False),
        ({"Mg": 2, "Si": 1}, 0.0, False),
        ({"Mg": 1, "As": 4}, 0.3, True),
    ],
)
def test_semiconductors(amounts, gap, expected):
    assert bool(semiconductor(amounts, gap)) == expected


def pyrite(cation: str, anion: str, a: float, x: float) -> Structure:
    sites = [[0, 0, 0], [x, x, x]]
    return Structure.from_spacegroup("Pa-3", Lattice.cubic(a), [cation, anion], sites)


@pytest.mark.parametrize(
    ("crystal", "expected"),
    [
        (pyrite("Mg", "Se", 6.38, 0.39), True),  # Se-Se 2.43 A
        (pyrite("Mg", "Te", 7.03, 0.387), True),  # Te-Te 2.75 A
        (pyrite("Zn", "O", 4.87, 0.413), True),  # a peroxide
        (pyrite("Mg", "Se", 6.38, 0.25), False),  # fluorite: no bonds between anions
        (pyrite("La", "Te", 7.03, 0.387), False),
        (pyrite("Fe", "S", 5.42, 0.385), False),  # an open shell
        # zincblende of two anions and a cation short: charges do not sum to zero
        (Structure.from_spacegroup("Fm-3m", Lattice.cubic(6.0), ["Mg", "Sb"], [[0] * 3, [0.5] * 3]), False),
    ],
)
def test_bonds_between_anions_take_up_charge(crystal, expected):
    amounts = crystal.composition.get_el_amt_dict()
    assert bool(semiconductor(amounts, None, crystal)) == expected
    assert not semiconductor(amounts, None)
    reduced = crystal.composition.reduced_composition.get_el_amt_dict()
    assert bool(semiconductor(reduced, None, crystal)) == expected
    if expected:
        assert not semiconductor(amounts, 0.0, crystal)  # a band gap that is known decides
