from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition, Element

from stores.errors import InputError
from workflows.analysis.hull import ConvexHull, HullEntry
from workflows.analysis.stability_window import SAME_ENERGY, stable_window, surface_energies_at

METHOD = "gpaw-demo"


def entry(formula, energy, method=METHOD, name=""):
    return HullEntry(formula, energy, method, name)


amounts = st.tuples(st.integers(1, 6), st.integers(1, 6))
phases = st.lists(
    st.builds(
        lambda n, e: entry(f"Mg{n[0]}Ag{n[1]}", e), amounts, st.floats(-0.6, 0.2).map(lambda e: round(e, 4))
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda e: Composition(e.formula).reduced_formula,
)


def diagram(entries):
    made = [PDEntry(Composition("Mg"), 0.0), PDEntry(Composition("Ag"), 0.0)]
    for e in entries:
        composition = Composition(e.formula)
        made.append(PDEntry(composition, e.formation_energy * composition.num_atoms))
    return PhaseDiagram(made)


@settings(deadline=None, max_examples=60)
@given(phases)
def test_the_window_is_that_of_pymatgen(entries):
    reference = diagram(entries)
    for number, target in enumerate(entries):
        others = entries[:number] + entries[number + 1 :]
        found = stable_window(target, others)
        mine = next(
            e for e in reference.all_entries
            if e.composition.reduced_formula == Composition(target.formula).reduced_formula
        )  # fmt: skip
        above = reference.get_e_above_hull(mine)
        if found.window is None:
            assert found.energy_above_hull == pytest.approx(above, abs=1e-7)
            assert found.energy_above_hull > 0
            parts, _ = reference.get_decomp_and_hull_energy_per_atom(mine.composition)
            theirs = {Composition(p.name).reduced_formula: share for p, share in parts.items()}
            ours = {Composition(name).reduced_formula: share for name, share in found.decomposition}
            energy = {e.composition.reduced_formula: e.energy_per_atom for e in reference.all_entries}
            assert sum(ours.values()) == pytest.approx(1)
            # phases on one straight line allow several mixtures of one energy
            assert sum(s * energy[name] for name, s in ours.items()) == pytest.approx(
                sum(s * energy[name] for name, s in theirs.items()), abs=1e-7
            )
            continue
        assert above == pytest.approx(0, abs=1e-7)
        low, high = found.window
        assert low <= high <= 0
        if high - low < 1e-6:  # on a straight line between two others: no corner of the hull
            continue
        # of a compound inside a binary system two facets of the hull meet at it
        ends = sorted(p[Element("Mg")] for p in reference.get_all_chempots(mine.composition).values())
        assert [low, high] == pytest.approx([ends[0], ends[-1]], abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(phases, st.randoms())
def test_energies_above_hull_are_those_of_pymatgen_in_any_order(entries, random):
    reference = diagram(entries)
    shuffled = entries[:]
    random.shuffle(shuffled)
    hull = ConvexHull(shuffled)
    for e in shuffled:
        wanted = reference.get_e_above_hull(
            next(p for p in reference.all_entries if p.composition == Composition(e.formula))
        )
        assert hull.energy_above(e) == pytest.approx(wanted, abs=1e-7)


@settings(deadline=None)
@given(phases)
def test_neighbours_on_the_hull_share_an_end(entries):
    """Going from Mg to Ag the windows of the stable compounds follow one another without a gap."""
    windows = []
    for number, target in enumerate(entries):
        found = stable_window(target, entries[:number] + entries[number + 1 :])
        if found.window is not None:
            windows.append((target.fractions["Ag"], found.window))
    windows.sort(reverse=True)
    assume(windows)
    assert windows[-1][1][1] == pytest.approx(0, abs=1e-9)
    for (_, poorer), (_, richer) in pairwise(windows):
        assert poorer[1] == pytest.approx(richer[0], abs=1e-7)


def test_without_rivals_the_window_is_that_of_the_elements():
    found = stable_window(entry("MgAg", -0.3), [])
    assert found.window == pytest.approx((-0.6, 0.0))
    assert found.limits == ("Ag", "Mg")
    assert (found.energy_above_hull, found.decomposition, found.reason) == (0.0, (), "")
    # dH_f/a with dH_f = 3 x -0.2 and a = 1
    assert stable_window(entry("MgZn2", -0.2), []).window == pytest.approx((-0.6, 0.0))


def test_a_worked_example():
    # per formula unit: MgAg -0.60, Mg3Ag -0.72, MgAg3 -0.80 eV
    rivals = [entry("Mg3Ag", -0.18), entry("MgAg3", -0.20)]
    found = stable_window(entry("MgAg", -0.30), rivals)
    # Mg3Ag: 2 dmu <= -0.72 + 0.60; MgAg3: 1 dmu + 3 (-0.60 - dmu) <= -0.80
    assert found.window == pytest.approx((-0.50, -0.06))
    assert found.limits == ("MgAg3", "Mg3Ag")
    assert found.competing == ("Mg3Ag", "MgAg3")
    assert found.reference == "Mg"


def test_a_compound_above_the_hull_has_no_window_but_products():
    found = stable_window(entry("MgAg", -0.1), [entry("Mg3Ag", -0.18), entry("MgAg3", -0.20)])
    assert found.window is None
    assert found.energy_above_hull == pytest.approx(0.09)
    assert dict(found.decomposition) == pytest.approx({"Mg3Ag": 0.5, "MgAg3": 0.5})
    assert found.reason == "MgAg is 0.0900 eV/atom above the hull: it decomposes into Mg3Ag + MgAg3"


@pytest.mark.parametrize("partner", ["Ag", "O", "H", "Cl"])  # pymatgen calls the last three O2, H2, Cl2
def test_a_positive_formation_energy_decomposes_into_the_elements(partner):
    found = stable_window(entry(f"Mg{partner}", 0.02), [])
    assert found.window is None
    assert found.decomposition == (("Mg", 0.5), (partner, 0.5))


def test_a_lower_polymorph_excludes_unless_it_is_the_same_crystal():
    target = entry("MgZn2", -0.13, name="MgZn2 P6_3/mmc")
    lower = entry("Mg2Zn4", -0.13 - 2 * SAME_ENERGY, name="MgZn2 Fd-3m")
    found = stable_window(target, [lower])
    assert found.window is None
    assert found.decomposition == (("MgZn2 Fd-3m", 1.0),)
    twin = entry("MgZn2", -0.13 - SAME_ENERGY / 2)
    found = stable_window(target, [twin])
    assert found.window == pytest.approx((-0.39, 0.0))
    assert found.energy_above_hull == pytest.approx(SAME_ENERGY / 2)


def test_phases_of_other_systems_do_not_compete():
    found = stable_window(
        entry("MgAg", -0.3), [entry("MgPd", -0.7), entry("Mg2AgPd", -0.9), entry("Mg", 0.01)]
    )
    assert found.window == pytest.approx((-0.6, 0.0))
    assert found.competing == ()


def test_without_mg_the_less_electronegative_element_counts():
    found = stable_window(entry("CaZn2", -0.25), [])
    assert found.reference == "Ca"
    assert found.window == pytest.approx((-0.75, 0.0))


def test_an_element_has_no_window():
    found = stable_window(entry("Mg", 0.0), [])
    assert found.window is None
    assert "element" in found.reason


@pytest.mark.parametrize(
    ("target", "rivals", "words"),
    [
        (entry("MgAg", -0.3), [entry("Mg3Ag", -0.2, "oqmd")], "gpaw-demo and oqmd cannot meet"),
        (entry("MgAg", math.nan), [], "no number"),
        (entry("MgAg", -0.3), [entry("Mg3Ag", math.inf)], "Mg3Ag: its formation energy"),
        (entry("Mg2AgPd", -0.3), [], "elements and binaries only"),
        (entry("M g", -0.3), [], "not a chemical formula"),
    ],
)
def test_bad_input_is_one_line(target, rivals, words):
    with pytest.raises(InputError, match=words) as raised:
        stable_window(target, rivals)
    assert "\n" not in str(raised.value)


def test_two_methods_never_share_a_hull():
    with pytest.raises(InputError, match="mp GGA_GGA\\+U and oqmd cannot meet in one convex hull"):
        ConvexHull([entry("MgAg", -0.3, "oqmd"), entry("MgAg", -0.3, "mp GGA_GGA+U")])
    with pytest.raises(InputError, match="cannot meet"):
        ConvexHull([entry("MgAg", -0.3)]).energy_above(entry("MgAg", -0.3, "oqmd"))


def test_total_energies_become_formation_energies():
    made = HullEntry.of_total_energy("MgAg3", -3.0, {"Mg": -1.5, "Ag": -2.7}, METHOD)
    assert made.formation_energy == pytest.approx(-3.0 + 0.25 * 1.5 + 0.75 * 2.7)
    with pytest.raises(InputError, match="reference energy of Ag by gpaw-demo"):
        HullEntry.of_total_energy("MgAg3", -3.0, {"Mg": -1.5}, METHOD)


def test_ternaries_elements_and_phases_from_outside():
    hull = ConvexHull([entry("MgAg", -0.3), entry("MgPd", -0.6), entry("Mg2AgPd", -0.4), entry("Mg", 0.02)])
    assert hull.energy_above(entry("Mg2AgPd", -0.4)) == pytest.approx(0.05)
    assert hull.energy_above(entry("Mg", 0.02)) == 0.02
    assert hull.energy_above(entry("Mg", -0.02)) == 0.0
    assert hull.energy_above(entry("MgAg", -0.2)) == pytest.approx(0.1)
    assert hull.energy_above(entry("MgAg", -0.4)) == 0.0


def test_gamma_at_the_ends():
    surface = {"surface_energy": 0.0364, "surface_energy_slope": -0.04}
    assert surface_energies_at((-0.5, -0.06), surface) == pytest.approx((0.0564, 0.0388))
    assert surface_energies_at(None, surface) is None
    assert surface_energies_at((-0.5, 0.0), {"surface_energy": None, "surface_energy_slope": 0.1}) is None
    assert surface_energies_at((-0.5, 0.0), {"surface_energy": 0.04, "surface_energy_slope": None}) is None
