"""Descriptors of bulk crystals: values that a person can check, and what must not change them."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from model.baselines.bulk_descriptors import bulk_descriptor_names, describe_crystals
from model.graphs.bulk_graph import build_bulk_graph
from model.graphs.element_features import element_property
from model.training.presets import PRESETS
from tests.crystals import CRYSTALS

SETTINGS = PRESETS["best"].graph
NACL = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
PEROVSKITE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.9), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]
)


def described(structure: Structure, settings=SETTINGS) -> dict[str, float]:
    row = describe_crystals([build_bulk_graph(structure, settings)])[0]
    return dict(zip(bulk_descriptor_names(), row.tolist(), strict=True))


def test_rock_salt_in_numbers():
    found = described(NACL)
    assert found["volume"] == pytest.approx(5.64**3 / 8, rel=1e-4)
    assert found["nearest distance, mean"] == pytest.approx(2.82, abs=1e-3)
    assert found["mass density"] == pytest.approx((22.990 + 35.453) / 2 / (5.64**3 / 8), rel=1e-3)
    assert found["elements"] == 2 and found["largest share"] == pytest.approx(0.5)
    assert found["entropy"] == pytest.approx(np.log(2), rel=1e-5)
    assert found["charge left over"] == 0 and found["charge transferred"] == pytest.approx(0.5)
    assert found["coordination, mean"] == pytest.approx(6, abs=0.3)
    assert found["coordination, deviation"] < 0.3
    assert found["bonds between like atoms"] < 0.05
    x = element_property("electronegativity")
    pauling = 1 - np.exp(-((x[17] - x[11]) ** 2) / 4)
    assert found["ionic share of bonds"] == pytest.approx(pauling, rel=0.1)


def test_charges_of_a_perovskite_balance_and_those_of_an_alloy_do_not():
    found = described(PEROVSKITE)
    assert found["charge left over"] == pytest.approx(0, abs=1e-5)
    assert found["charge transferred"] == pytest.approx(6 / 5, rel=1e-4)
    assert found["largest charge"] == 4
    assert described(CRYSTALS["Ag"])["charge transferred"] == 0


@pytest.mark.parametrize("structure", [NACL, PEROVSKITE, *CRYSTALS.values()])
def test_supercells_and_folding_change_nothing(structure):
    wide = structure.copy()
    wide.make_supercell([[2, 0, 0], [0, 1, 0], [1, 0, 2]])
    expected = described(structure)
    assert described(wide) == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert described(structure, replace(SETTINGS, fold=False)) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_a_crystal_is_described_alike_alone_and_among_others_and_fast():
    graphs = [build_bulk_graph(one, SETTINGS) for one in (NACL, PEROVSKITE, *CRYSTALS.values())]
    together = describe_crystals(graphs * 100)
    assert together.shape == (100 * len(graphs), len(bulk_descriptor_names()))
    assert np.isfinite(together).all()
    for graph, row in zip(graphs, together, strict=False):
        assert describe_crystals([graph])[0] == pytest.approx(row, rel=1e-4, abs=1e-5)
    before = time.process_time()
    describe_crystals(graphs * 100)
    assert time.process_time() - before < 1.6  # 500 a second
    assert describe_crystals([]).shape == (0, len(bulk_descriptor_names()))
