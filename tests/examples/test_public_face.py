"""`import mgsurf`: its functions on a real store, a real crystal and a real (untrained) model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

import mgsurf
import stores.connections
from model.training.ensemble_files import save_ensemble
from stores.errors import InputError
from tests.examples.mgag import FORMATION_ENERGY, PUBLISHED, write_store
from tests.model.untrained import untrained
from workflows.structures.prototypes import structure_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("face") / "mgag.sqlite"
    write_store(f"sqlite:///{path}")
    with mgsurf.open_store(path) as opened:
        yield opened


def test_importing_it_imports_nothing_heavy() -> None:
    code = (
        "import json, sys, mgsurf; heavy = ('numpy', 'pymatgen', 'pandas', 'torch', 'pydantic');"
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == []


def test_nothing_imports_it() -> None:
    for package in ("stores", "model", "workflows"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert "import mgsurf" not in text and "from mgsurf" not in text, path


def test_slabs_of_a_structure_and_of_a_file(tmp_path: Path) -> None:
    crystal = structure_for("MgAg", "B2")
    crystal.to(str(tmp_path / "MgAg.cif"))
    expected = [(slab.miller_index, slab.termination_label) for slab in mgsurf.slabs(crystal)]
    assert set(expected) == set(PUBLISHED)
    found = mgsurf.slabs(tmp_path / "MgAg.cif")
    assert [(slab.miller_index, slab.termination_label) for slab in found] == expected
    (only,) = mgsurf.slabs(crystal, planes=["110"], min_thickness=15.0, vacuum=20.0)
    assert only.miller_index == (1, 1, 0)
    assert only.thickness >= 15.0
    assert only.structure.lattice.c == pytest.approx(only.thickness + 20.0)


def test_a_facet_without_a_slab_is_named_with_its_reason() -> None:
    zincblende = Structure.from_spacegroup("F-43m", Lattice.cubic(6.0), ["Mg", "Te"], [[0] * 3, [0.25] * 3])
    with pytest.warns(UserWarning, match=r"\(111\): .*polar"):
        assert mgsurf.slabs(zincblende, planes=[(1, 1, 1)]) == []


def test_a_store_as_a_table(store) -> None:
    table = store.to_dataframe()
    assert len(table) == len(PUBLISHED)
    for row in table.itertuples():
        assert (row.surface_energy, row.work_function) == pytest.approx(
            PUBLISHED[(row.h, row.k, row.l), row.termination_label]
        )
    assert table.work_function.dtype == float
    assert store.to_dataframe({"formula": "MgPd"}).empty
    assert list(store.to_dataframe(sort={"work_function": 1}, limit=2).work_function) == [3.378, 3.611]


@pytest.mark.parametrize("wrong", [{"sort": "work_function"}, {"limit": -1}, {"limit": "2"}])
def test_a_table_names_an_argument_it_cannot_use(store, wrong) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=f"{name} .*{value!r}"):
        store.to_dataframe(**wrong)


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.sqlite"):
        mgsurf.open_store(tmp_path / "absent.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_wulff_shape_at_both_ends_of_the_window(store) -> None:
    rich = mgsurf.wulff(store, "AgMg")
    assert sum(rich.area_fractions) == pytest.approx(1.0)
    labels = {facet.miller_index: facet.label for facet in rich.facets}
    assert labels == {(1, 0, 0): "Mg", (1, 1, 0): "MgAg", (1, 1, 1): "Mg"}
    poor = mgsurf.wulff(store, "MgAg", dmu=FORMATION_ENERGY)
    assert {facet.miller_index: facet.label for facet in poor.facets}[1, 0, 0] == "Ag"
    with pytest.raises(InputError, match=r"MgPd.*MgAg"):
        mgsurf.wulff(store, "MgPd")


def test_wulff_shape_outside_the_window_is_refused(store) -> None:
    with pytest.raises(InputError, match=r"outside the window.*-0\.700 eV"):
        mgsurf.wulff(store, "MgAg", dmu=2 * FORMATION_ENERGY)


def test_a_folder_store_by_its_path_with_crystal_and_figures() -> None:
    from matplotlib.figure import Figure

    page = Figure()
    with mgsurf.open_store(ROOT / "examples" / "quickstart_store") as store:
        assert store.count() == 8
        assert mgsurf.crystal(store, "AgMg").lattice.a == pytest.approx(3.345, abs=0.001)
        for place, kind in enumerate(("phase", "scatter", "wulff"), start=1):
            ax = page.add_subplot(2, 2, place, projection="3d" if kind == "wulff" else None)
            assert mgsurf.plot(kind, store, "MgAg", ax=ax) is ax
        one = {"formula": "MgAg", "miller_index": [1, 1, 0]}
        assert mgsurf.plot("potential", store, one).get_ylabel() == "$V - E_F$ (eV)"
        for kind, surfaces, words in (
            ("pie", "MgAg", "phase, scatter, wulff or potential"),
            ("phase", "MgPd", "it holds Mg, MgAg"),
            ("potential", "MgAg", "5 pass"),
        ):
            with pytest.raises(InputError, match=words):
                mgsurf.plot(kind, store, surfaces)


def test_wulff_figure_without_the_bulk_names_it(tmp_path: Path) -> None:
    write_store(f"sqlite:///{tmp_path}/mgag.sqlite")
    with stores.connections.open_store(f"sqlite:///{tmp_path}/mgag.sqlite") as store:
        store.remove({}, collection="bulks")
        with pytest.raises(InputError, match="No MgAg with bulk_id"):
            mgsurf.plot("wulff", store, "MgAg")


def test_predictions_keep_order_and_name_what_is_no_slab(tmp_path: Path) -> None:
    save_ensemble(untrained(), tmp_path / "model")
    crystal = structure_for("MgAg", "B2")
    cut = mgsurf.slabs(crystal)
    with pytest.warns(UserWarning, match="slab 1"):
        table = mgsurf.predict([cut[0], crystal, cut[1].structure], tmp_path / "model")
    assert list(table.index) == [0, 2]
    assert list(table.plane) == ["(100)", ""]
    assert table.formula[0] == "MgAg"
    assert (table.surface_energy_low < table.surface_energy).all()
    assert (table.work_function < table.work_function_high).all()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"structure": 42}, "structure"),
        ({"max_index": "1"}, "max_index"),
        ({"min_thickness": "10"}, "min_thickness"),
        ({"vacuum": None}, "vacuum"),
        ({"max_atoms": 1.5}, "max_atoms"),
        ({"planes": "110"}, "planes"),
        ({"planes": (1, 1, 1)}, "planes"),  # one plane, not the planes (001), (001), (001)
    ],
)
def test_slabs_names_an_argument_of_the_wrong_type(arguments, name) -> None:
    with pytest.raises(InputError, match=rf"slabs: {name}.* give"):
        mgsurf.slabs(**{"structure": structure_for("MgAg", "B2"), **arguments})


def test_predict_names_what_is_no_list_of_slabs(tmp_path: Path) -> None:
    save_ensemble(untrained(), tmp_path / "model")
    (slab,) = mgsurf.slabs(structure_for("MgAg", "B2"), planes=["110"])
    for wrong in (slab, slab.structure, "slab.cif", 42):
        with pytest.raises(InputError, match=rf"{type(wrong).__name__}; give a list"):
            mgsurf.predict(wrong, tmp_path / "model")
    with pytest.raises(InputError, match=r"slab 1 .*NoneType"):
        mgsurf.predict([slab, None], tmp_path / "model")
    with pytest.raises(InputError, match=r"model .*Ensemble"):
        mgsurf.predict([slab], untrained())
    with pytest.raises(InputError, match=r"absent\.sqlite"):
        mgsurf.predict([slab], "champion", tmp_path / "absent.sqlite")
    assert mgsurf.predict([], tmp_path / "model").surface_energy.empty


def test_wulff_refuses_other_types_and_a_bulk_of_another_compound(store) -> None:
    with pytest.raises(InputError, match="open_store"):
        mgsurf.wulff("mgag.sqlite", "MgAg")
    with pytest.raises(InputError, match="formula"):
        mgsurf.wulff(store, 5)
    with pytest.raises(InputError, match="dmu"):
        mgsurf.wulff(store, "MgAg", "x-rich")
    (bulk,) = store.distinct("bulk_id")
    assert mgsurf.wulff(store, "MgAg", bulk_id=bulk).shape is not None
    with pytest.raises(InputError, match=f"MgPd.*{bulk}.*MgAg"):
        mgsurf.wulff(store, "MgPd", bulk_id=bulk)
