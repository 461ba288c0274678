"""mgsurf screen: inputs, DFT before model, what is kept, ranking, files and bad input."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from stores.connections import open_store
from stores.errors import InputError
from stores.learning.screenings import ScreeningRecord
from stores.records import content_hash
from tests.stores.mongo_server import MongoServer
from workflows.flows.screening import facets
from workflows.flows.screening.compounds import (
    ScreenedCompound,
    compounds_of,
    read_formation_energies,
    with_formation_energies,
)
from workflows.flows.screening.ranking import Application, Range, Sort, changes, rank
from workflows.flows.screening.screening import ScreeningSettings, screen
from workflows.structures.crystal import bulk_key

MODEL = Path(__file__).parents[1] / "model" / "data" / "old_run"
FEW = ScreeningSettings(draws=20)


def cubic(*species: str, a: float = 3.3) -> Structure:
    return Structure(Lattice.cubic(a), species, [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


@pytest.fixture(scope="module")
def ensemble():
    from model.training.ensemble_files import load_ensemble

    return load_ensemble(MODEL / "model")


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'screen.sqlite'}") as opened:
        yield opened


@pytest.fixture
def dft(store, records):
    """The store with the facets of MgAg and their bulk."""
    bulk = records.bulk()
    store.add(bulk.model_copy(update={"bulk_key": bulk_key(cubic("Mg", "Ag"))}))
    store.add(
        [
            s.model_copy(update={"bulk_id": bulk.id})
            for s in records.quickstart_surfaces()
            if s.formula == "MgAg"
        ]
    )
    return store


def test_a_compound_is_cut_predicted_and_averaged(store, ensemble):
    compound = ScreenedCompound("MgAg", cubic("Mg", "Ag"), formation_energy=-0.2, energy_source="table")
    (found,) = screen([compound], store, ensemble, "v1", FEW)
    assert {facet.miller_index for facet in found.facets} == {(1, 0, 0), (1, 1, 0), (1, 1, 1)}
    assert sum(facet.area_fraction for facet in found.facets) == pytest.approx(1)
    assert all(facet.source == "model" and facet.surface_energy_sigma > 0 for facet in found.facets)
    energies = [facet.surface_energy for facet in found.facets]
    assert min(energies) <= found.surface_energy <= max(energies)
    assert found.surface_energy_sigma > 0 and found.work_function_sigma > 0
    assert found.cations == ["Ag+", "Mg2+"] and found.model == "v1"
    # [(0.797945 - 0.354956) + (-4.71365 - 0.354956) + 0.4] / 3
    assert found.potential == pytest.approx(-1.40854, abs=1e-4)


def test_an_interrupted_screening_resumes_halfway(store, ensemble, monkeypatch):
    compounds = [ScreenedCompound(f"{i}", cubic("Mg", "Ag", a=3.2 + i / 8)) for i in range(12)]
    done = []

    def interrupt(number):
        done.append(number)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        screen(compounds, store, ensemble, "v1", FEW, progress=interrupt)
    assert 0 < done[0] < 12 and store.count({}, collection="screenings") == done[0]
    cut = []
    enumerate_slabs = facets.enumerate_slabs
    monkeypatch.setattr(facets, "enumerate_slabs", lambda c, s: cut.append(c) or enumerate_slabs(c, s))
    assert [one.label for one in screen(compounds, store, ensemble, "v1", FEW)] == [*map(str, range(12))]
    assert len(cut) == 12 - done[0]


@pytest.mark.parametrize("kinds", [{"work_function": ("slab",)}, {"surface_energy": ("bulk",)}])
def test_a_model_without_surface_energies_of_slabs(store, ensemble, monkeypatch, kinds):
    monkeypatch.setattr(type(ensemble), "kinds", kinds)
    with pytest.raises(InputError, match="no surface energies of slabs"):
        screen([ScreenedCompound("MgAg", cubic("Mg", "Ag"))], store, ensemble, "v1", FEW)


def test_dft_comes_before_the_model(dft, ensemble):
    compound = ScreenedCompound("MgAg", cubic("Mg", "Ag"))
    (found,) = screen(with_formation_energies([compound], dft, {}, ""), dft, ensemble, "v1", FEW)
    by_plane = {facet.miller_index: facet for facet in found.facets}
    assert all(facet.source == "dft" and facet.surface_energy_sigma == 0 for facet in found.facets)
    assert (by_plane[1, 0, 0].surface_energy, by_plane[1, 0, 0].termination) == (0.0364, "Mg")
    assert found.surface_energy_sigma == pytest.approx(0, abs=1e-12)
    assert found.model == "" and found.unseen_elements == []
    assert (found.formation_energy, found.energy_source) == (-0.3, "own DFT")  # -0.6 eV of two atoms
    (alone,) = screen([compound], dft, None, "", FEW)
    assert alone.surface_energy == pytest.approx(found.surface_energy)


def test_values_depend_neither_on_the_kind_of_store_nor_on_the_order_of_its_records(
    records, ensemble, tmp_path
):
    bulk = records.bulk().model_copy(update={"bulk_key": bulk_key(cubic("Mg", "Ag"))})
    first = next(s for s in records.quickstart_surfaces() if s.formula == "MgAg")
    planes = [(1, 0, 0), (1, 1, 1), (2, 1, 0), (2, 1, 1), (2, 2, 1)]  # (110) is predicted
    surfaces = [
        first.model_copy(
            update={"id": content_hash([n]), "bulk_id": bulk.id, "miller_index": plane, "termination": t,
                    "surface_energy": 0.05 + 0.0026 * (n % 5), "work_function": 3.6 + 0.07 * n}
        )
        for n, (plane, t) in enumerate(product(planes, (0, 1)))
    ]  # fmt: skip
    settings = ScreeningSettings(draws=20, max_index=2)
    found = []
    with MongoServer() as server:
        for uri in (f"sqlite:///{tmp_path}/s", f"folder://{tmp_path}/f", f"{server.uri}db", "memory://order"):
            with open_store(uri) as store:
                store.add([bulk, *surfaces])
                (one,) = screen(
                    [ScreenedCompound("MgAg", cubic("Mg", "Ag"))], store, ensemble, "v1", settings
                )
            found.append(one.model_dump(mode="json", exclude={"screened_at"}))
            surfaces = surfaces[1::2] + surfaces[::2]
    assert {facet["source"] for facet in found[0]["facets"]} == {"dft", "model"}
    assert found[0]["surface_energy"] > 0 and all(one == found[0] for one in found)


def test_a_facet_without_a_record_is_predicted(dft, ensemble):
    dft.remove({"miller_index": [1, 1, 0]})
    (found,) = screen([ScreenedCompound("MgAg", cubic("Mg", "Ag"))], dft, ensemble, "v1", FEW)
    sources = {facet.miller_index: facet.source for facet in found.facets}
    assert sources == {(1, 0, 0): "dft", (1, 1, 1): "dft", (1, 1, 0): "model"}
    assert found.surface_energy_sigma > 0 or found.facets[-1].appears < 1


def test_the_chemical_potential_is_that_of_the_formation_energy(dft):
    compound = with_formation_energies([ScreenedCompound("MgAg", cubic("Mg", "Ag"))], dft, {}, "")
    (rich,) = screen(compound, dft, None, "", FEW)
    (poor,) = screen(compound, dft, None, "", ScreeningSettings(draws=20, x_rich=True))
    assert (rich.dmu, poor.dmu) == (0, pytest.approx(-0.6))
    labels = [{f.miller_index: f.termination for f in r.facets}[1, 0, 0] for r in (rich, poor)]
    assert labels == ["Mg", "Ag"]
    (outside,) = screen(compound, dft, None, "", ScreeningSettings(draws=20, dmu=-2.0))
    assert outside.dmu == pytest.approx(-0.6) and any("-2" in note for note in outside.notes)


def test_the_error_of_the_formation_energy_becomes_that_of_the_surface_energy(dft):
    """At the X-rich end, which the energy sets: dmu = 2 E_f for MgAg, gamma = gamma_0 + slope dmu."""
    (known,) = with_formation_energies([ScreenedCompound("MgAg", cubic("Mg", "Ag"))], dft, {}, "")
    predicted = replace(known, energy_sigma=0.02, energy_source="composition model v1")
    x_rich = ScreeningSettings(draws=400, x_rich=True)
    (sure,) = screen([known], dft, None, "", x_rich)
    (unsure,) = screen([predicted], dft, None, "", x_rich)
    assert (sure.surface_energy_sigma, unsure.dmu) == (0, sure.dmu)
    assert unsure.surface_energy == sure.surface_energy
    (record,) = dft.query({"miller_index": [1, 0, 0], "termination_label": "Ag"})
    (facet,) = [f for f in unsure.facets if f.miller_index == (1, 0, 0)]
    expected = abs(record["surface_energy_slope"]) * 2 * 0.02
    assert facet.termination == "Ag" and facet.surface_energy_sigma == pytest.approx(expected, rel=0.1)
    least, most = sorted(f.surface_energy_sigma for f in unsure.facets)[:: len(unsure.facets) - 1]
    assert least <= unsure.surface_energy_sigma * 1.1 and unsure.surface_energy_sigma <= most
    # within the window nothing moves, beyond its end only the draws whose window is narrower
    (inside,) = screen([predicted], dft, None, "", replace(x_rich, x_rich=False, dmu=-0.2))
    (beyond,) = screen([predicted], dft, None, "", replace(x_rich, x_rich=False, dmu=-0.61))
    assert inside.surface_energy_sigma == 0 < beyond.surface_energy_sigma < unsure.surface_energy_sigma
    (rich,) = screen([predicted], dft, None, "", FEW)
    assert rich.surface_energy_sigma == 0


def test_equal_inputs_are_taken_from_the_store(store, ensemble):
    compound = ScreenedCompound("MgAg", cubic("Mg", "Ag"))
    (first,) = screen([compound], store, ensemble, "v1", FEW)
    (again,) = screen([compound], store, ensemble, "v1", FEW)
    assert again.screened_at == first.screened_at and again == first
    (other,) = screen([compound], store, ensemble, "v2", FEW)
    assert other.screened_at > first.screened_at
    assert other.past.model == "v1" and other.past.work_function == first.work_function
    (finer,) = screen([compound], store, ensemble, "v2", ScreeningSettings(draws=21))
    assert finer.id != first.id and finer.past is None


def test_a_record_that_changed_is_read_again(dft, records):
    compound = ScreenedCompound("MgAg", cubic("Mg", "Ag"))
    (first,) = screen([compound], dft, None, "", FEW)
    (surface,) = dft.query({"miller_index": [1, 1, 0]})
    changed = next(s for s in records.quickstart_surfaces() if s.id == surface["id"])
    dft.add(changed.model_copy(update={"bulk_id": surface["bulk_id"], "work_function": 4.5}))
    (again,) = screen([compound], dft, None, "", FEW)
    assert again.work_function > first.work_function
    assert again.past.work_function == first.work_function


def test_ternaries_and_compounds_without_magnesium(store, ensemble):
    heusler = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(6.4), ["Cu", "Mg", "Al"], [[0.25, 0.25, 0.25], [0.5, 0.5, 0.5], [0, 0, 0]]
    )
    compounds = [ScreenedCompound("MgAlCu2", heusler), ScreenedCompound("AlCu", cubic("Al", "Cu", a=3.0))]
    ternary, binary = screen(compounds, store, ensemble, "v1", FEW)
    assert ternary.surface_energy > 0 and len(ternary.cations) == 3
    assert binary.surface_energy > 0
    assert any("formation energy" in reason for reason in ternary.reasons)


def test_elements_that_the_model_has_not_seen_are_named(store, ensemble):
    (found,) = screen([ScreenedCompound("MgY", cubic("Mg", "Y"))], store, ensemble, "v1", FEW)
    assert (
        found.unseen_elements == sorted({"Mg", "Y"} - set(ensemble.elements)) and "Y" in found.unseen_elements
    )


def test_without_model_and_records_a_reason_is_given(store):
    (found,) = screen([ScreenedCompound("MgAg", cubic("Mg", "Ag"))], store, None, "", FEW)
    assert found.surface_energy is None and any("no facet" in reason for reason in found.reasons)


def record(label: str, **values) -> ScreeningRecord:
    plain = {
        "id": label,
        "inputs": "",
        "formula": label,
        "bulk_key": label,
        "spacegroup_number": 221,
        "lattice": [],
        "species": [],
        "positions": [],
    }
    return ScreeningRecord(**plain, label=label, spacegroup_symbol="Pm-3m", settings={}, model="v2", **values)


@pytest.mark.parametrize(("concentration", "magnesium"), [(1e-6, -2.534), (1.0, -2.357)])
def test_corrosion_compares_with_magnesium_at_the_same_concentration(concentration, magnesium):
    found = [record("with", potential=magnesium + 0.49), record("far", potential=magnesium + 0.51)]
    found += [record("below", potential=magnesium - 0.01)]
    same = [r.model_copy(update={"settings": {"concentration": concentration}}) for r in found]
    assert [r.label for r in rank(same, application=Application.CORROSION)] == ["with"]


def test_ranking():
    found = [
        record("Mg2Si", work_function=4.6, semiconductor="closed shells"),
        record("BaMg", work_function=2.3, potential=-2.7),
        record("YMg", work_function=3.2, potential=-2.48),
        record("MgCu2", work_function=4.4, potential=-1.08),
        record("none"),
    ]
    names = lambda **options: [r.label for r in rank(found, **options)]  # noqa: E731
    assert names() == ["BaMg", "YMg", "MgCu2", "Mg2Si", "none"]
    assert names(sort=Sort.POTENTIAL, descending=True) == ["MgCu2", "YMg", "BaMg", "Mg2Si", "none"]
    assert names(potential=Range(-2.6, None)) == ["YMg", "MgCu2"]
    assert names(work_function=Range(None, 3.2)) == ["BaMg", "YMg"]
    assert names(application=Application.CORROSION) == ["YMg", "Mg2Si"]
    assert names(application=Application.EMITTER) == ["BaMg"]
    assert names(application=Application.PHOTOCATALYST) == ["Mg2Si"]


def test_changed_places_are_named():
    past = {"model": "v1", "potential": None, "surface_energy": None}
    found = [
        record("A", work_function=3.0, past={**past, "work_function": 3.2}),
        record("B", work_function=3.1, past={**past, "work_function": 3.05}),
        record("C", work_function=3.5, past={**past, "work_function": 3.5}),
        record("D", work_function=2.0),
    ]
    lines = changes(found)
    assert len(lines) == 2
    assert (
        lines[0].startswith("A: place 3 -> 2") and "3.200 -> 3.000 eV" in lines[0] and "v1 -> v2" in lines[0]
    )


def test_a_compound_that_falls_behind_one_that_did_not_change_is_named():
    past = {"model": "v1", "potential": None, "surface_energy": None, "work_function": 3.0}
    lines = changes([record("A", work_function=3.5, past=past), record("B", work_function=3.2)])
    assert lines[0].startswith("B: place 2 -> 1") and lines[1].startswith("A: place 1 -> 2")


def test_dft_facets_beyond_the_largest_index_and_values_without_a_slope_are_left_out(dft, records):
    compound = with_formation_energies([ScreenedCompound("MgAg", cubic("Mg", "Ag"))], dft, {}, "")
    bulk_id = records.bulk().id
    high = records.surface(miller_index=(2, 1, 0), gamma=0.02).model_copy(update={"bulk_id": bulk_id})
    dft.add(high)
    (found,) = screen(compound, dft, None, "", FEW)
    assert all(max(facet.miller_index) == 1 for facet in found.facets)
    for surface in records.quickstart_surfaces():
        if surface.formula == "MgAg" and surface.miller_index == (1, 1, 1):
            dft.add(surface.model_copy(update={"bulk_id": bulk_id, "surface_energy_slope": None}))
    (poor,) = screen(compound, dft, None, "", ScreeningSettings(draws=20, x_rich=True))
    assert (1, 1, 1) not in {facet.miller_index for facet in poor.facets}


def test_tables_of_formation_energies(tmp_path):
    path = tmp_path / "e.csv"
    path.write_text("formula,formation_energy\nMgAg,-0.1\nAg2Mg2,-0.2\nMg3Ag,-0.15\n")
    assert read_formation_energies(path) == {"MgAg": -0.2, "Mg3Ag": -0.15}
    path.write_text("material_id,formula_pretty,formation_energy_per_atom\nmp-1,MgAg,-0.1\n")
    assert read_formation_energies(path) == {"MgAg": -0.1}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("formula,energy\nMgAg,-0.1\n", "formation_energy"),
        ("formula,formation_energy\nMgAg,x\n", "e.csv:2"),
        ("formula,formation_energy\nXyz,-0.1\n", "e.csv:2"),
        ("formula,formation_energy\nMgAg,-1e9\n", "e.csv:2"),
        ("formula,formation_energy\nMgAg,nan\n", "e.csv:2"),
        ("formula,formation_energy\nMgAg\n", "e.csv:2"),
    ],
)
def test_bad_tables_of_formation_energies(tmp_path, text, word):
    path = tmp_path / "e.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=word):
        read_formation_energies(path)


def test_the_rest_of_the_inputs_goes_through(tmp_path):
    cubic("Mg", "Ag").to(str(tmp_path / "good.cif"))
    cubic("Mg", "Ag").make_supercell(2, in_place=False).to(str(tmp_path / "same.cif"))
    (tmp_path / "bad.cif").write_text("data_\n")
    problems: list[str] = []
    found = compounds_of([str(tmp_path), str(tmp_path / "no.cif"), "no.yaml"], problems.append)
    assert [one.formula for one in found] == ["MgAg"]
    assert len(problems) == 3
    assert all(any(name in line for line in problems) for name in ("bad.cif", "no.cif", "no.yaml"))


def test_decorated_prototypes(mgsurf, tmp_path):
    command = ["screen", "--model", MODEL, "--draws", "4", "-q", "--prototype", "B2"]
    done = mgsurf(*command, "--prototype", "L1_0", "--formula", "MgAg", "--partner", "Xx", "--json")
    assert done.returncode == 1 and "Xx" in done.stderr  # no formation energy, no such element
    found = {one["label"]: one for one in json.loads(done.stdout)}
    assert set(found) == {"MgAg B2", "MgAg L1_0"}
    assert found["MgAg L1_0"]["spacegroup_number"] == 123
    assert all("estimated lattice" in one["notes"] for one in found.values())


def test_the_command(mgsurf, tmp_path):
    for name, species in (("MgAg", ("Mg", "Ag")), ("MgAl", ("Mg", "Al"))):
        cubic(*species).to(str(tmp_path / f"{name}.cif"))
    (tmp_path / "e.csv").write_text("formula,formation_energy\nMgAg,-0.2\nMgAl,-0.02\n")
    command = ["screen", ".", "--model", MODEL, "--formation-energies", "e.csv", "--draws", "10", "-q"]
    done = mgsurf(*command, "--plot", "p.png", "--page", "p.html", "--wulff", "shapes")
    assert done.returncode == 0, done.stderr
    assert "MgAg (MgAg.cif)" in done.stdout and "2 of 2 compounds pass" in done.stdout
    assert (tmp_path / "p.png").stat().st_size > 10_000
    page = (tmp_path / "p.html").read_text()
    assert "MgAl (MgAl.cif)" in page and "Plotly.newPlot" in page and "src=" not in page.split("<body>")[1]
    assert len(list((tmp_path / "shapes").glob("*.png"))) == 2
    assert mgsurf(*command, "--wulff", "shapes", "--wulff-format", "svg").returncode == 0
    assert all("<svg" in path.read_text() for path in (tmp_path / "shapes").glob("*.svg"))
    assert len(list((tmp_path / "shapes").iterdir())) == 4
    exported = mgsurf(*command, "--export", "galvcalc", "g.json", "--max-potential", "-1.5")
    assert exported.returncode == 0, exported.stderr
    phases = json.loads((tmp_path / "g.json").read_text())["phases"]
    assert [(one["formula"], one["dissolution"]["ions"]) for one in phases] == [
        ("MgAl", ["Al[3+]", "Mg[2+]"])
    ]
    assert "--export galvcalc g.json: exists" in mgsurf(*command, "--export", "galvcalc", "g.json").stderr
    found = json.loads(mgsurf(*command, "--json").stdout)
    assert [one["work_function"] for one in found] == sorted(one["work_function"] for one in found)
    rows = list(csv.DictReader(io.StringIO(mgsurf(*command, "--csv", "--limit", "1").stdout)))
    assert len(rows) == 1 and rows[0]["cations"] in ("Ag+ Mg2+", "Al3+ Mg2+")
    shards = [
        json.loads(mgsurf(*command, "--shard", f"{number}/3", "--json").stdout or "[]")
        for number in (1, 2, 3)
    ]
    assert [len(one) for one in shards] == [1, 1, 0]  # taken from the store
    assert {one["id"] for shard in shards for one in shard} == {one["id"] for one in found}
    nothing = mgsurf(*command, "--max-work-function", "0.1", "--page", "q.html")
    assert nothing.returncode == 1 and "q.html" in nothing.stderr and "0 of 2 compounds" in nothing.stdout
    again = mgsurf(*command, "--plot", "p.png")
    assert again.returncode == 2 and "p.png" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--ion", "Fe=9"], "Fe2+"),
        (["--application", "rust"], "corrosion"),
        (["--sort", "colour"], "work_function"),
        (["--dmu", "-0.1", "--x-rich"], "exclude"),
        (["--concentration", "0"], "positive"),
        (["--json", "--csv"], "exclude"),
        (["--page", "page.txt"], "--page page.txt: the ending decides the format; choose one of .html"),
        (["--plot", "nowhere/p.png"], "--plot nowhere/p.png: no folder nowhere"),
        (["--prototype", "B2"], "--partner"),
        (["--formula", "MgAg", "--prototype", "X9"], "B2"),
        (["--shard", "2"], "--shard 2: write it as I/N"),
        (["--export", "galvanic", "x.json"], "--export galvcalc"),
        (["--export", "galvcalc", "x.csv"], "--export galvcalc x.csv: the ending"),
        (["--formation-energies", "no.csv"], "no.csv"),
    ],
)
def test_bad_options_in_one_line(refused, tmp_path, arguments, word):
    cubic("Mg", "Ag").to(str(tmp_path / "MgAg.cif"))
    assert word in refused("screen", "MgAg.cif", *arguments)


def test_neither_model_nor_records(refused, tmp_path):
    cubic("Mg", "Ag").to(str(tmp_path / "MgAg.cif"))
    line = refused("screen", "MgAg.cif", "-q")
    assert "no model" in line and "mgsurf train" in line
