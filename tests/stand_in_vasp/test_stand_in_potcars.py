"""Synthetic POTCARs, as pymatgen reads them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymatgen.core import SETTINGS
from pymatgen.io.vasp.inputs import Potcar, PotcarSingle

from tests.stand_in_vasp.potcars import LABELS, label_of, write_potcars, write_wrong_potcar


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = write_potcars(tmp_path / "potcars")
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(root))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen does not know these POTCARs
        yield root


@pytest.mark.parametrize("label", LABELS)
def test_pymatgen_finds_and_reads_each(tree: Path, label: str) -> None:
    potcar = PotcarSingle.from_symbol_and_functional(label, "PBE_54")
    valence, enmax, mass = LABELS[label]
    assert potcar.symbol == label
    assert potcar.element == label.split("_")[0]
    assert potcar.functional == "PBE"
    assert (potcar.zval, potcar.enmax, potcar.pomass) == (valence, enmax, pytest.approx(mass, abs=1e-3))
    assert potcar.potential_type == "PAW"


def test_several_make_one_potcar(tree: Path, tmp_path: Path) -> None:
    potcar = Potcar(["Mg_pv", "Ag"], functional="PBE_54")
    potcar.write_file(tmp_path / "POTCAR")
    assert Potcar.from_file(tmp_path / "POTCAR").symbols == ["Mg_pv", "Ag"]
    assert [spec["titel"] for spec in potcar.spec] == ["PAW_PBE Mg_pv 01Jan2000", "PAW_PBE Ag 01Jan2000"]


def test_lithium_needs_more_than_the_paper_s_cut_off(tree: Path) -> None:
    assert PotcarSingle.from_symbol_and_functional("Li_sv", "PBE_54").enmax > 480


def test_wrong_element_and_wrong_functional(tree: Path) -> None:
    write_wrong_potcar(tree, "Ag", element="Au")
    assert PotcarSingle.from_symbol_and_functional("Ag", "PBE_54").element == "Au"
    write_wrong_potcar(tree, "Ag", functional="CA")
    assert PotcarSingle.from_symbol_and_functional("Ag", "PBE_54").functional_class == "LDA"


def test_only_what_is_named_is_written(tmp_path: Path) -> None:
    root = write_potcars(tmp_path, ["Mg", "Ag", "Gd_3"])
    assert sorted(path.name for path in root.rglob("POTCAR.*")) == [
        "POTCAR.Ag",
        "POTCAR.Gd_3",
        "POTCAR.Mg_pv",
    ]


@pytest.mark.parametrize(
    ("element", "label"),
    [("Mg", "Mg_pv"), ("Yb", "Yb_2"), ("Eu", "Eu_2"), ("Gd", "Gd_3"), ("Fe", "Fe_pv"), ("Er", "Er_3")],
)
def test_labels_of_elements(element: str, label: str) -> None:
    assert label_of(element) == label
