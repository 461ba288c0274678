"""mgsurf screen of compositions without crystals, and formation energies by a model of compositions."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from model.compositions.formulas import parse_composition, plain_composition
from model.data.dataset import Dataset, Entry
from model.data.splits import Split
from model.training.ensemble import save_ensemble, train_ensemble
from model.training.presets import find_preset, with_params
from stores.connections import open_store
from stores.errors import InputError
from stores.learning.screenings import ScreeningRecord
from workflows.analysis.dissolution import dissolution
from workflows.flows.screening.composition_energies import with_predicted_energies
from workflows.flows.screening.compounds import ScreenedCompound, compounds_of, with_formation_energies
from workflows.flows.screening.screening import ScreeningSettings, screen
from workflows.report.screening import flat_row, potential_with_sigma
from workflows.report.screening_page import screening_page

FEW = ScreeningSettings(draws=20)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of formation energies of Mg with Al, Zn, Cu and Y, and its folder."""
    rng = np.random.default_rng(0)
    entries = []
    for i in range(80):
        symbol = ("Al", "Zn", "Cu", "Y")[i % 4]
        share = float(rng.uniform(0.05, 0.95))
        amounts = parse_composition({"Mg": 1 - share, symbol: share}).amounts
        name = f"{i:03d}"
        entries.append(
            Entry(
                record_id=name,
                graph=plain_composition(amounts),  # type: ignore[arg-type]
                targets={"formation_energy": -share * (1 - share) * (0.4 if symbol == "Y" else 0.8)},
                formula=name, chemsys=f"Mg-{symbol}", elements=("Mg", symbol), compound=name, group=i,
                crystal=name,
            )
        )  # fmt: skip
    dataset = Dataset(tuple(entries), ("formation_energy",))
    preset = with_params(find_preset("mcvn"), {"training.epochs": 3, "trees": 20})
    preset = replace(preset, network=replace(preset.network, targets=("formation_energy",)))
    split = Split("random", 0, tuple(range(50)), tuple(range(50, 65)), tuple(range(65, 80)))
    ensemble = train_ensemble(dataset, split, preset)
    folder = tmp_path_factory.mktemp("energies")
    save_ensemble(ensemble, folder)
    return ensemble, folder


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'screen.sqlite'}") as opened:
        yield opened


def cubic(*species):
    return Structure(Lattice.cubic(3.3), species, [[0, 0, 0], [0.5, 0.5, 0.5]])


def compositions(*formulas):
    return compounds_of([], [].append, compositions=formulas)


def test_one_composition_however_it_is_written():
    problems = []
    found = compounds_of(
        [], problems.append, compositions=["MgZn2", "Zn66.6667Mg33.3333", "Mg65Xx", "Mg2Zn4"]
    )
    assert [c.formula for c in found] == ["MgZn2"] and found[0].structure is None
    assert len(problems) == 1 and "Xx" in problems[0]


def test_a_crystal_comes_before_its_composition(tmp_path):
    cubic("Mg", "Ag").to(filename=str(tmp_path / "MgAg.cif"))
    found = compounds_of([str(tmp_path / "MgAg.cif")], [].append, compositions=["AgMg", "MgZn2"])
    assert [(c.formula, c.structure is None) for c in found] == [("MgAg", False), ("MgZn2", True)]


def test_composition_without_a_crystal_has_a_potential(store):
    table = {"MgZn2": -0.13}
    found = with_formation_energies(compositions("MgZn2", "Mg", "Mg2Cu"), store, table, "table.csv")
    known, element, unknown = screen(found, store, None, "", FEW)
    assert known.potential == pytest.approx(-1.40611, abs=1e-5) and known.potential_sigma is None
    assert (known.facets, known.lattice, known.spacegroup_number) == ([], [], 0)
    assert known.work_function is None and not known.reasons
    assert element.potential == pytest.approx(-2.534, abs=1e-3)
    assert unknown.potential is None and "no formation energy" in unknown.reasons[0]
    stored = next(store.query({"id": known.id}, collection="screenings"))
    assert "potential_sigma" not in stored and "formation_energy_sigma" not in stored


def test_predicted_energies_fill_only_gaps(trained, store):
    ensemble, _ = trained
    crystal = ScreenedCompound("MgZn", cubic("Mg", "Zn"))
    found = [*compositions("MgZn2", "Mg", "MgCu2"), crystal]
    found = with_formation_energies(found, store, {"MgZn2": -0.13}, "table.csv")
    found = with_predicted_energies(found, ensemble, "v1")
    sources = [c.energy_source for c in found]
    assert sources == ["table.csv", "element", "composition model v1", "composition model v1"]
    assert [c.energy_sigma is None for c in found] == [True, True, False, False]
    predicted = ensemble.predict([plain_composition(parse_composition("MgCu2").amounts)])
    assert found[2].formation_energy == pytest.approx(float(predicted.mean["formation_energy"][0]), abs=1e-5)
    assert found[2].energy_sigma == pytest.approx(float(predicted.sigma["formation_energy"][0]), abs=1e-5)
    assert -1 < found[3].formation_energy < 0.5


def test_the_error_of_the_energy_becomes_that_of_the_potential(trained, store):
    # E = (... - E_f per formula unit) / electrons: 3 atoms, and 2 + 2 + 2 electrons of Mg2+ and two Zn2+
    found = dissolution({"Mg": 1, "Zn": 2}, -0.13, formation_energy_sigma=0.2)
    assert found.potential_sigma == pytest.approx(0.2 * 3 / 6)
    assert dissolution({"Mg": 1}, 0.0).potential_sigma is None
    compounds = with_predicted_energies(compositions("MgZn2"), trained[0], "v1")
    (record,) = screen(compounds, store, None, "", FEW)
    assert record.formation_energy_sigma == compounds[0].energy_sigma > 0
    assert record.potential_sigma == pytest.approx(record.formation_energy_sigma / 2)
    assert any("by composition" in note for note in record.notes)
    assert "±" in potential_with_sigma(record)
    row = flat_row(record)
    assert row["energy_source"] == "composition model v1" and row["potential_sigma"] > 0
    page = screening_page([record])
    assert "composition model v1" in page and "±" in page
    # another model, another energy: computed again, with the values before
    changed = [replace(compounds[0], formation_energy=-0.3)]
    (again,) = screen(changed, store, None, "", FEW)
    assert again.past.potential == record.potential and again.potential > record.potential
    assert ScreeningRecord.model_validate(next(store.query({}, collection="screenings"))) == again


def test_energies_do_not_depend_on_the_other_compounds(trained):
    every = compositions(
        *(f"Mg{a}{x}{b}" for x in ("Al", "Cu", "Y") for a in range(1, 9) for b in range(1, 9))
    )
    together = {c.formula: c for c in with_predicted_energies(every, trained[0], "v1")}
    for some in (every[:1], every[5:12], every[::3]):
        for alone in with_predicted_energies(some, trained[0], "v1"):
            beside = together[alone.formula]
            assert alone.formation_energy == beside.formation_energy
            assert alone.energy_sigma == beside.energy_sigma


def test_unseen_elements_are_named(trained, store):
    (compound,) = with_predicted_energies(compositions("MgLa"), trained[0], "v1")
    (record,) = screen([compound], store, None, "", FEW)
    assert any("La not in the training set" in note for note in record.notes)


def test_models_of_something_else_are_refused(trained, monkeypatch):
    ensemble, _ = trained
    monkeypatch.setattr(type(ensemble), "kinds", {"formation_energy": ("bulk",)})
    with pytest.raises(InputError, match="no formation energy of compositions"):
        with_predicted_energies(compositions("MgZn2"), ensemble, "v1")
    monkeypatch.setattr(type(ensemble), "kinds", {"formation_energy": ("composition",)})
    scaler = replace(ensemble.members[0].scaler, mean=(-20.0,))
    in_kilojoules = replace(ensemble, members=(replace(ensemble.members[0], scaler=scaler),))
    with pytest.raises(InputError, match="not in eV/atom"):
        with_predicted_energies(compositions("MgZn2"), in_kilojoules, "v1")
    monkeypatch.setattr(type(ensemble), "extras", ("temperature",))
    with pytest.raises(InputError, match="temperature"):
        with_predicted_energies(compositions("MgZn2"), ensemble, "v1")


def test_the_command(trained, mgsurf_here, tmp_path):
    _, folder = trained
    (tmp_path / "alloys.csv").write_text("composition\nMgZn2\nMg17Al12\nMgXx\n")
    common = ("--store", "s.sqlite", "--composition-model", folder)
    done = mgsurf_here("screen", "alloys.csv", "--composition", "MgCu2", *common, "--json")
    records = json.loads(done.stdout)
    assert done.returncode == 1 and "alloys.csv:4" in done.stderr and "Xx" in done.stderr
    assert {r["formula"] for r in records} == {"MgZn2", "Mg17Al12", "MgCu2"}
    assert all(r["potential_sigma"] > 0 and "composition model" in r["energy_source"] for r in records)
    done = mgsurf_here("screen", "--composition", "MgZn2", *common, "--csv")
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert done.returncode == 0 and float(row["formation_energy_sigma"]) > 0
    assert row["spacegroup_symbol"] == ""
    done = mgsurf_here("screen", "--composition", "Mg0.33333333Zn0.66666667", *common)
    assert "±" in done.stdout and "by composition" in done.stdout
    done = mgsurf_here("screen", "--composition", "Mg-9Al-1Zn (wt%)", *common)
    assert "Mg has the balance, 90 of 100 wt%" in done.stderr
    (tmp_path / "other.csv").write_text("alloy\nMg\n")
    done = mgsurf_here("screen", "other.csv", "--store", "s.sqlite")
    assert done.returncode == 2 and "formula" in done.stderr
    done = mgsurf_here("plot", "composition", "--formula", "MgCu2", "--model", folder, "-o", "m.png")
    assert done.returncode == 0 and (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
