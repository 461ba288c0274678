import numpy as np
import pytest
from pymatgen.core import Element

from model.compositions.composition import PlainComposition
from model.compositions.element_properties import element_properties
from model.compositions.features import (
    STATISTICS,
    composition_features,
    element_fractions,
    feature_names,
    fraction_names,
    shifts,
)
from model.compositions.formulas import parse_composition, plain_composition
from stores.cgcnn_elements import property_of


def composition(text):
    return plain_composition(parse_composition(text).amounts)


def values_of(features, name):
    return {s: features[feature_names().index(f"{name}: {s}")] for s in STATISTICS}


def test_table_has_58_documented_properties():
    table = element_properties()
    assert len(table.names) == len(set(table.names)) == 58
    assert table.values.shape == table.known.shape == (101, 58)
    assert np.isfinite(table.values[1:]).all() and np.isnan(table.values[0]).all()
    assert all(table.sources) and all(table.kinds)
    assert table.symbols[12] == "Mg" and table.symbols[100] == "Fm"
    # properties of one kind stand side by side
    assert (
        sum(a != b for a, b in zip(table.kinds, table.kinds[1:], strict=False)) == len(set(table.kinds)) - 1
    )


@pytest.mark.filterwarnings("ignore")
def test_table_agrees_with_pymatgen():
    table = element_properties()
    attributes = {
        source.removeprefix("pymatgen "): i
        for i, source in enumerate(table.sources)
        if source.startswith("pymatgen ") and source.count(" ") == 1
    }
    compared = 0
    for attribute, i in attributes.items():
        factor = 1e6 if table.units[i] == "1e-6/K" else 1.0
        if attribute in ("ionization_energies", "electronic_structure", "common_oxidation_states"):
            continue
        for number in np.flatnonzero(table.known[:, i]):
            theirs = property_of(Element.from_Z(int(number)), attribute)
            if attribute == "electrical_resistivity":
                theirs = np.log10(theirs)
            if np.isfinite(theirs):
                assert table.values[number, i] == pytest.approx(factor * theirs, rel=1e-5), (
                    attribute,
                    number,
                )
                compared += 1
    assert compared > 1700


def test_estimates_lie_within_the_known_range():
    table = element_properties()
    for i in range(58):
        known = table.values[table.known[:, i], i]
        assert len(known) >= 54
        assert (table.values[1:, i] >= known.min() - 1e-5 * abs(known.min())).all()
        assert (table.values[1:, i] <= known.max() + 1e-5 * abs(known.max())).all()
    # of an alkali metal, which lies between 2.2 and 2.3 kJ/mol for Rb, K and Cs
    fusion = table.names.index("enthalpy of fusion")
    assert not table.known[19, fusion] and 2 < table.values[19, fusion] < 4


def test_statistics_of_an_alloy():
    features = composition_features([composition("Mg65Cu25Y10")])[0]
    found = values_of(features, "melting point")
    f, x = np.array([0.65, 0.25, 0.10]), np.array([923, 1357.77, 1799])
    mean = f @ x
    assert found["mean"] == pytest.approx(mean)
    assert found["variance"] == pytest.approx(f @ (x - mean) ** 2, rel=1e-5)
    assert (found["minimum"], found["maximum"], found["range"]) == pytest.approx((923, 1799, 876))
    assert found["geometric mean"] == pytest.approx(np.exp(f @ np.log(x)))
    assert found["harmonic mean"] == pytest.approx(1 / (f @ (1 / x)))
    assert found["harmonic mean"] < found["geometric mean"] < found["mean"]


def test_means_of_properties_that_are_not_positive():
    shift = dict(zip(element_properties().names, shifts(), strict=True))
    assert shift["melting point"] == 0 and shift["d valence electrons"] == 1
    found = values_of(composition_features([composition("MgCu")])[0], "d valence electrons")
    assert found["geometric mean"] == pytest.approx(np.sqrt(1 * 11) - 1)
    assert found["harmonic mean"] == pytest.approx(1 / (0.5 / 1 + 0.5 / 11) - 1)
    affinity = values_of(composition_features([composition("MgF2")])[0], "electron affinity")
    assert affinity["minimum"] < affinity["harmonic mean"] < affinity["geometric mean"] < affinity["mean"]


def test_elements_have_no_spread():
    every = [PlainComposition(np.array([z]), np.array([1.0])) for z in range(1, 101)]
    features = composition_features(every)
    table = element_properties().values[1:]
    for statistic in ("mean", "minimum", "maximum", "geometric mean", "harmonic mean"):
        block = features[:, 58 * STATISTICS.index(statistic) :][:, :58]
        assert block == pytest.approx(table, rel=1e-5, abs=1e-5)
    for statistic in ("variance", "range"):
        assert (features[:, 58 * STATISTICS.index(statistic) :][:, :58] == 0).all()


def test_features_do_not_depend_on_neighbours_in_the_list():
    alloys = [composition(text) for text in ("Mg65Cu25Y10", "Fe", "CaMg2", "LiH")]
    together = composition_features(alloys)
    assert np.array_equal(together[::-1], composition_features(alloys[::-1]))
    assert np.array_equal(together[2], composition_features([alloys[2]])[0])
    assert together.dtype == np.float32 and len(feature_names()) == together.shape[1] == 406
    assert composition_features([]).shape == (0, 406)


def test_element_fractions():
    fractions = element_fractions([composition("Mg65Cu25Y10"), composition("Fe")])
    assert fractions.shape == (2, 100) and fractions.sum(axis=1) == pytest.approx([1, 1])
    assert fractions[0, fraction_names().index("Cu")] == pytest.approx(0.25)
    assert fractions[1, 25] == 1
    assert element_fractions([]).shape == (0, 100)
