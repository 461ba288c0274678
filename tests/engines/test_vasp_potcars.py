"""POTCARs: the table, the search for them, and what is wrong with them in one line."""

from __future__ import annotations

import gzip
import logging
import shutil
from typing import TYPE_CHECKING

import pytest

from stores.errors import EngineError
from tests.engines.vasp_engine import engine, set_up
from tests.stand_in_vasp.potcars import potcar_text, write_potcars, write_wrong_potcar
from workflows.engines.vasp.potcars import POTCAR_LABELS, low_cutoffs, read_potcar

if TYPE_CHECKING:
    from pathlib import Path


def test_lanthanides_have_4f_in_the_core() -> None:
    assert POTCAR_LABELS["Yb"] == "Yb_2" and POTCAR_LABELS["Eu"] == "Eu_2" and POTCAR_LABELS["Gd"] == "Gd_3"
    trivalent = ["Ce", "Pr", "Nd", "Pm", "Sm", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Lu"]
    assert all(POTCAR_LABELS[element] == f"{element}_3" for element in trivalent)


def test_the_other_labels_are_the_materials_projects_for_pbe_54() -> None:
    from pymatgen.io.vasp.sets import MPScanRelaxSet

    theirs = MPScanRelaxSet.CONFIG["POTCAR"]
    changed = {e for e, label in POTCAR_LABELS.items() if theirs[e] != label}
    assert changed == {"Ce", "Eu", "Gd", "Yb"}


def test_a_potcar_is_found_under_every_usual_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = potcar_text("Mg_pv")
    found = set()
    for number, name in enumerate(
        (
            "POT_GGA_PAW_PBE_54/POTCAR.Mg_pv.gz",
            "POT_PAW_PBE_54/POTCAR.Mg_pv",
            "potpaw_PBE.54/Mg_pv/POTCAR",
            "Mg_pv/POTCAR.gz",
        )
    ):
        path = tmp_path / str(number) / name
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / str(number)))
        potcar = read_potcar("Mg", "Mg_pv")
        assert potcar.text == text and potcar.element == "Mg" and potcar.enmax == pytest.approx(403.929)
        found.add(potcar.setup)
    assert len(found) == 1
    assert found.pop().startswith("PAW_PBE Mg_pv ")


def test_other_data_under_the_same_title_has_another_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(write_potcars(tmp_path, ["Mg_pv"])))
    before = read_potcar("Mg", "Mg_pv")
    path = next(tmp_path.rglob("POTCAR.Mg_pv"))
    path.write_text(path.read_text().replace("End of Dataset", " 1.0 2.0\n End of Dataset"))
    after = read_potcar("Mg", "Mg_pv")
    assert after.title == before.title and after.checksum != before.checksum


def test_no_folder_of_potcars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pymatgen.core import SETTINGS

    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", None)
    with pytest.raises(EngineError, match="no folder of POTCARs is set: set PMG_VASP_PSP_DIR"):
        read_potcar("Mg", "Mg_pv")
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(EngineError, match="nowhere, which is no folder: set PMG_VASP_PSP_DIR"):
        read_potcar("Mg", "Mg_pv")


def test_missing_wrong_and_damaged_potcars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_up(monkeypatch, tmp_path, ["Mg_pv"])
    root = tmp_path / "potcars"
    with pytest.raises(EngineError, match="no POTCAR Ag of PBE_54 in"):
        read_potcar("Ag", "Ag")
    write_wrong_potcar(root, "Ag", element="Pd")
    with pytest.raises(EngineError, match=r"is the POTCAR of Pd.*, not of Ag"):
        read_potcar("Ag", "Ag")
    write_wrong_potcar(root, "Mg_pv", functional="CA")
    with pytest.raises(EngineError, match="no PAW POTCAR of PBE"):
        read_potcar("Mg", "Mg_pv")
    next(root.rglob("POTCAR.Mg_pv")).write_text("")
    with pytest.raises(EngineError, match="is no POTCAR: TITEL, VRHFIN, LEXCH, ENMAX missing"):
        read_potcar("Mg", "Mg_pv")
    for path in root.rglob("POTCAR*"):
        path.unlink()
    shutil.rmtree(root)
    with pytest.raises(EngineError, match="which is no folder"):
        read_potcar("Mg", "Mg_pv")


def test_a_cutoff_below_enmax_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    set_up(monkeypatch, tmp_path, ["Li_sv", "Mg_pv"])
    lithium, magnesium = read_potcar("Li", "Li_sv"), read_potcar("Mg", "Mg_pv")
    assert low_cutoffs([magnesium], 480.0) == []
    (line,) = low_cutoffs([lithium, magnesium], 480.0)
    assert "480 eV is below the 499.034 eV" in line and "Li_sv" in line
    with caplog.at_level(logging.WARNING, logger="mgsurf.vasp"):
        engine(preset="production").check_machine(["Li", "Mg"])
    assert "Li_sv" in caplog.text and "Mg_pv" not in caplog.text


def test_no_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_up(monkeypatch, tmp_path, ["Mg_pv"])
    monkeypatch.delenv("MGSURF_VASP_CMD", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    for command, said in ((None, "'vasp_std'"), ("no_such_vasp -x", "'no_such_vasp'"), ("  ", "is empty")):
        with pytest.raises(EngineError, match=rf"{said}.*: set the engine's option vasp_command or MGSURF"):
            engine(vasp_command=command).check_machine(["Mg"])
    with pytest.raises(EngineError, match="cannot be read"):
        engine(vasp_command="srun 'vasp").check_machine(["Mg"])
