"""Elements and binaries without Mg are computed; nothing of Mg compounds changes by that."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from stores.connections import open_store
from stores.records import SurfaceRecord
from workflows.flows.campaign.file import check_runnable, without_mg_lines
from workflows.flows.campaign.flow import CampaignMaker
from workflows.flows.surface import SurfaceMaker
from workflows.structures.elements import ground_state

# of MgAg by the pair engine, as they were when only compounds with Mg were computed
RECORDS_OF_MGAG = {
    ("1a1d66db5beaea57ab087f9d", (1, 0, 0), "Ag"): (0.06842682241, 0.04135099039, 3.84999998),
    ("249429c7da3e06dfd02e6530", (1, 0, 0), "Mg"): (0.02376773533, 0.05084356735, 3.74999998),
    ("7761fe61c33676cfe2726f06", (1, 1, 0), "MgAg"): (0.04203899579, 0.04203899579, 3.84999998),
    ("341551929a508b92395994ef", (1, 1, 1), "Ag"): (0.06143514867, 0.04580290976, 3.84999998),
    ("53fdedcac0d6f716f97ad170", (1, 1, 1), "Mg"): (0.03547920448, 0.05111144339, 3.74999998),
}


def b2(*elements, a=3.0):
    return Structure(Lattice.cubic(a), elements, [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture(scope="module")
def alni(tmp_path_factory):
    """B2 NiAl and fcc Al, computed once; to be read only."""
    from tests.flows.conftest import Bench

    bench = Bench(tmp_path_factory.mktemp("alni"))
    flow = CampaignMaker(SurfaceMaker(bench.context())).make([b2("Ni", "Al"), ground_state("Al")])
    assert bench.run(flow).problems == []
    return bench


def records(bench):
    with open_store(bench.store) as store:
        return list(store.query({}))


def test_a_binary_without_mg_has_the_less_electronegative_element_in_its_place(alni):
    found = [r for r in records(alni) if r["formula"] == "AlNi"]
    assert len(found) == 5
    # Pauling: Al 1.61, Ni 1.91
    assert {r["reference_element"] for r in found} == {"Al"}
    for record in found:
        n_al, n_ni = record["composition"]["Al"], record["composition"]["Ni"]
        assert record["excess"] == {"Al": n_al - n_ni, "Ni": n_ni - n_al}
        rich = record["energy"] - n_ni * record["bulk_energy"]
        rich -= (n_al - n_ni) * record["chemical_potentials"]["Al"]
        assert record["surface_energy"] == pytest.approx(rich / (2 * record["area"]), abs=1e-12)
        low, high = record["chemical_potential_window"]
        assert (low, high) == (pytest.approx(record["formation_energy"]), 0.0)
        assert record["formation_energy"] < 0
        slope = -(n_al - n_ni) / (2 * record["area"])
        assert record["surface_energy_slope"] == pytest.approx(slope)
        at_low = record["surface_energy"] + slope * low
        assert record["surface_energy_x_rich"] == pytest.approx(at_low, abs=1e-12)
        assert record["verdicts"]["surface_energy"]["status"] == "accepted", record["verdicts"]


def test_an_element_has_no_reference_element_and_no_window(alni):
    found = [r for r in records(alni) if r["formula"] == "Al"]
    assert len(found) == 3
    for record in found:
        assert "reference_element" not in record
        assert record["chemical_potential_window"] is None
        by_hand = (record["energy"] - record["n_atoms"] * record["bulk_energy"]) / (2 * record["area"])
        assert record["surface_energy"] == pytest.approx(by_hand, abs=1e-12)


def test_records_of_mg_compounds_are_what_they_were(computed):
    found = records(computed)
    assert {r["method_fingerprint"] for r in found} == {"pair-demo-d5bc5a02a4b718e9"}
    assert len(found) == len(RECORDS_OF_MGAG)
    for r in found:
        key = r["id"], tuple(r["miller_index"]), r["termination_label"]
        values = r["surface_energy"], r["surface_energy_x_rich"], r["work_function"]
        assert values == pytest.approx(RECORDS_OF_MGAG[key], abs=1e-8)
        assert "reference_element" not in r
        plain = {name: value for name, value in r.items() if not name.startswith("_")}
        again = SurfaceRecord.model_validate(plain).model_dump(mode="json")
        assert set(again) == set(plain)


def test_a_second_run_reuses_everything(alni):
    executed = alni.executed()
    alni.run(CampaignMaker(SurfaceMaker(alni.context())).make([b2("Al", "Ni")]))
    assert alni.executed() == executed
    assert len(records(alni)) == 8


def test_a_note_names_what_holds_no_mg():
    (line,) = without_mg_lines([b2("Mg", "Ag"), b2("Ni", "Al"), ground_state("Al"), b2("Ni", "Al")])
    assert "AlNi (Al-rich), Al: these 2 are computed, but no Mg intermetallic" in line
    assert without_mg_lines([b2("Mg", "Ag"), ground_state("Mg")]) == []


def test_ternaries_stay_refused():
    for elements in (("Mg", "Ag", "Cu"), ("Al", "Ni", "Cu")):
        ternary = Structure(Lattice.cubic(4.3), elements, [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]])
        with pytest.raises(Exception, match="more than two elements"):
            check_runnable(ternary, "here")
