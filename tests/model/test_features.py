from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Element
from scipy.stats import spearmanr

from model.graphs.element_features import COHESIVE_ENERGY, FEATURES, cgcnn_features, chemical_features
from stores.cgcnn_elements import valence_shells

MET = "Ac Ag Al Au Ba Be Bi Ca Cd Ce Cu Dy Ga Ge Hg In La Li Mg Nd Ni Pb Pd Pm Pt Sb Sc Si Sn Th Y Yb Zn Zr"


def category(symbol: str, prefix: str) -> str:
    features = cgcnn_features()
    chosen = np.flatnonzero(features.table[Element(symbol).Z])
    (name,) = [features.names[i] for i in chosen if features.names[i].startswith(prefix)]
    return name.removeprefix(prefix).strip()


def test_cgcnn_describes_a_hundred_elements_by_92_categories() -> None:
    features = cgcnn_features()
    assert features.table.shape == (101, 92)
    assert len(set(features.names)) == 92
    assert set(np.unique(features.table)) == {0.0, 1.0}
    assert not features.table[0].any()
    assert len(np.unique(features.table[1:], axis=0)) > 90  # nearly every element differs from all others


def test_each_known_property_falls_in_one_category_and_an_unknown_in_none() -> None:
    features = cgcnn_features()
    kinds = {name.rsplit(" ", 1)[0] for name in features.names}
    assert len(kinds) == 9
    for kind in kinds:
        columns = [i for i, name in enumerate(features.names) if name.rsplit(" ", 1)[0] == kind]
        np.testing.assert_array_equal(
            features.table[:, columns].sum(axis=1), features.known[:, columns[0]].astype(float)
        )
    assert not features.known[Element("He").Z, features.names.index("electronegativity 1")]


@pytest.mark.parametrize(
    ("symbol", "prefix", "expected"),
    [
        ("Mg", "group", "2"),
        ("Mg", "period", "3"),
        ("Mg", "valence electrons", "2"),
        ("Mg", "block", "1"),
        ("Mg", "electronegativity", "3"),  # 1.31 of 0.5 to 4.0 in tenths
        ("Mg", "covalent radius", "6"),  # 141 pm
        ("Ag", "valence electrons", "11"),
        ("Zn", "valence electrons", "12"),
        ("Al", "valence electrons", "3"),
        ("Pd", "valence electrons", "10"),
        ("Yb", "valence electrons", "2"),
        ("Sb", "valence electrons", "5"),
    ],
)
def test_categories_are_those_of_the_table(symbol: str, prefix: str, expected: str) -> None:
    assert category(symbol, prefix) == expected


def test_chemical_features_are_complete_and_standardised() -> None:
    features = chemical_features()
    table = features.table[1:]
    assert np.isfinite(table).all()
    np.testing.assert_allclose(table.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(table.std(axis=0), 1, atol=1e-4)
    assert features.table.shape == (101, len(features.names))
    assert not any("work" in name for name in features.names)


def test_unknown_properties_are_estimated_from_neighbours() -> None:
    features = chemical_features()
    column = features.names.index("log bulk modulus")
    zr, ti, hf = (Element(symbol).Z for symbol in ("Zr", "Ti", "Hf"))
    assert not features.known[zr, column]
    assert features.table[zr, column] == pytest.approx(features.table[[ti, hf], column].mean(), abs=1e-5)


def test_similar_elements_are_near_each_other() -> None:
    features = chemical_features().table

    def distance(one: str, other: str) -> float:
        return float(np.linalg.norm(features[Element(one).Z] - features[Element(other).Z]))

    assert distance("Nd", "Pr") < distance("Nd", "Mg") < distance("Nd", "Pt")
    assert distance("Pd", "Pt") < distance("Pd", "Ba")


def test_cohesive_energies_rise_with_the_boiling_point() -> None:
    metals = [Element(symbol) for symbol in COHESIVE_ENERGY]
    solid = [e for e in metals if e.is_metal and e.boiling_point]
    energies = [COHESIVE_ENERGY[e.symbol] for e in solid]
    points = [float(e.boiling_point) for e in solid]
    assert spearmanr(energies, points).statistic > 0.93
    slope, offset = np.polyfit(points, energies, 1)
    worst = np.abs(np.array(energies) - (slope * np.array(points) + offset)).max()
    assert worst < 1.5


@pytest.mark.parametrize("symbol", MET.split())
def test_elements_of_mg_compounds_have_all_properties_but_a_few(symbol: str) -> None:
    features = chemical_features()
    unknown = [n for n, k in zip(features.names, features.known[Element(symbol).Z], strict=True) if not k]
    assert set(unknown) <= {
        "log bulk modulus",
        "electron density",
        "cohesive energy",
        "cohesive energy per area",
    }


def test_valence_shells() -> None:
    assert valence_shells(Element("Ga")) == {"s": 2, "p": 1, "d": 0, "f": 0}
    assert valence_shells(Element("Ce")) == {"s": 2, "p": 0, "d": 1, "f": 1}
    assert valence_shells(Element("Lu")) == {"s": 2, "p": 0, "d": 1, "f": 0}
    assert {"cgcnn", "chemical"} <= set(FEATURES)
