"""Runs of the stand-in VASP, in both styles of its files, read back."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from stores.records import CalculationStatus
from tests.stand_in_vasp.model import expected_energy
from tests.stand_in_vasp.potential import expected_work_function
from tests.stand_in_vasp.running import run, write_inputs
from workflows.analysis.work_function import work_function
from workflows.engines.vasp.outputs import read_output
from workflows.engines.vasp.settings import settings_from
from workflows.engines.vasp.vasprun import read_vasprun
from workflows.structures.layers import free_atoms
from workflows.structures.slabs import SlabSettings, enumerate_slabs

ENTITIES_THAT_GROW = '<!ENTITY a "ten letters">' + "".join(
    f'<!ENTITY {name} "{f"&{of};" * 10}">' for name, of in zip("bcdefghiz", "abcdefghi", strict=True)
)
"""Nine times tenfold: 10 GB of text from 400 bytes."""


def with_entities(text: str, entities: str) -> str:
    """Put an entity in place of the version, declared as given."""
    head, rest = text.split("<modeling>", 1)
    start, end = rest.split('name="version"', 1)
    declared = f"{head}<!DOCTYPE modeling [{entities}]><modeling>{start}"
    return declared + 'name="version"' + re.sub(r">[^<]*<", ">&z;<", end, count=1)


BULK = Structure(Lattice.cubic(3.34), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
STYLES = ("5.4.4", "6.4.2")


def slab_of(miller=(1, 1, 0), thickness=6.0) -> Structure:
    (facet,) = enumerate_slabs(BULK, SlabSettings(min_thickness=thickness), miller_indices=[miller])
    return facet.slabs[0].structure


def computed(folder: Path, structure: Structure, version: str | None = None, **tags) -> Path:
    write_inputs(folder, structure, **tags)
    done = run(folder, **({"version": version} if version else {}))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def slab() -> Structure:
    return slab_of()


@pytest.fixture(scope="module", params=STYLES)
def static(request, slab, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("static")
    return computed(folder, slab, request.param, kpoints=(4, 3, 1), NSW=0, LVHAR=True)


@pytest.fixture(scope="module", params=STYLES)
def relaxed(request, slab, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("relaxed")
    free = free_atoms(slab)
    return computed(
        folder, slab, request.param, kpoints=(4, 3, 1), free=free, NSW=40, IBRION=2, ISIF=2, EDIFFG=-0.02
    )


@pytest.fixture
def copy(static, tmp_path) -> Path:
    return Path(shutil.copytree(static, tmp_path / "copy"))


def test_energy_and_work_function_are_those_of_the_model(static, slab):
    output = read_output(static, slab=True)
    assert output.status is CalculationStatus.OK, output.reason
    assert output.energy == pytest.approx(expected_energy(slab), abs=1e-5)
    assert output.kpoints == (4, 3, 1)
    assert output.details["gamma_centred"] is True
    assert output.ionic_steps == 1
    assert output.setups.keys() == {"Mg", "Ag"}
    assert "Mg_pv" in output.setups["Mg"]
    result = work_function(
        output.potential.z,
        output.potential.potential,
        slab.cart_coords[:, 2],
        output.fermi_energy,
        slab.lattice.c,
    )
    assert result.work_function == pytest.approx(expected_work_function(slab), abs=2e-3)


def test_values_agree_with_pymatgen(static):
    from pymatgen.io.vasp.outputs import Locpot, Outcar, Vasprun

    output = read_output(static, slab=True)
    theirs = Vasprun(static / "vasprun.xml", parse_potcar_file=False)
    assert output.energy == pytest.approx(float(theirs.final_energy), abs=1e-7)
    assert output.fermi_energy == pytest.approx(theirs.efermi, abs=1e-3)
    assert output.fermi_energy == pytest.approx(Outcar(static / "OUTCAR").efermi, abs=1e-3)
    average = Locpot.from_file(static / "LOCPOT").get_average_along_axis(2)
    np.testing.assert_allclose(output.potential.potential, average, atol=1e-9)
    found = Structure.from_dict(output.structure)
    np.testing.assert_allclose(found.frac_coords, theirs.final_structure.frac_coords, atol=1e-8)


def test_relaxation_gives_its_last_geometry_and_the_force_on_free_atoms(relaxed, slab):
    output = read_output(relaxed, slab=False)
    assert output.status is CalculationStatus.OK, output.reason
    last = Structure.from_dict(output.structure)
    contcar = Structure.from_file(relaxed / "CONTCAR")
    np.testing.assert_allclose(last.cart_coords, contcar.cart_coords, atol=1e-6)
    moved = last.frac_coords - slab.frac_coords
    moved = np.linalg.norm((moved - np.rint(moved)) @ slab.lattice.matrix, axis=1)
    free = np.array(free_atoms(slab))
    assert moved[free].max() > 1e-3
    assert moved[~free].max() < 1e-6
    assert output.max_force <= 0.02
    # forces on frozen atoms do not count
    forces = np.linalg.norm(read_vasprun(relaxed / "vasprun.xml").forces, axis=1)
    assert output.max_force == pytest.approx(forces[free].max()) and forces.max() > output.max_force
    assert output.ionic_steps > 1
    assert output.scf_steps > output.ionic_steps


def test_settings_are_those_of_the_input(static):
    settings = settings_from(read_vasprun(static / "vasprun.xml"), "")
    assert settings.functional == "PBE"
    assert settings.cutoff == 480
    assert (settings.smearing, settings.smearing_width) == ("methfessel-paxton-1", 0.2)
    assert settings.labels() == {"Mg": "Mg_pv", "Ag": "Ag"}
    assert not settings.spin_polarized
    assert settings.precision.startswith("accura")
    assert settings.version.startswith(("5.4", "6."))


@pytest.mark.parametrize(
    ("ending", "packed"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_compressed_files_say_the_same(copy, ending, packed):
    plain = read_output(copy, slab=True)
    for name in ("vasprun.xml", "OUTCAR", "LOCPOT", "OSZICAR"):
        path = copy / name
        (copy / f"{name}.{ending}").write_bytes(packed(path.read_bytes()))
        path.unlink()
    assert read_output(copy, slab=True) == plain
    for path in copy.glob(f"*.{ending}"):  # as custodian names the last run of a double relaxation
        path.rename(copy / path.name.replace(f".{ending}", f".relax2.{ending}"))
    assert read_output(copy, slab=True) == plain


def test_of_a_chain_of_runs_the_last_is_read(copy):
    text = (copy / "vasprun.xml").read_text()
    for name in ("vasprun.xml", "OUTCAR"):
        (copy / name).rename(copy / f"{name}.relax2")
    (copy / "vasprun.xml.relax1").write_text("not this one")
    (copy / "vasprun.xml.relax2").write_text(text)
    assert read_output(copy, slab=False).status is CalculationStatus.OK


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda text: "", "is empty"),
        (lambda text: "CONTCAR or something", "no vasprun.xml of VASP"),
        (lambda text: "<html><body>quota exceeded</body></html>", "no vasprun.xml of VASP"),
        (lambda text: text[: text.index("<calculation>")], "cut off after 0 complete ionic steps"),
        (lambda text: text[: text.index("</calculation>")], "cut off after 0 complete ionic steps"),
        (lambda text: text.replace("</modeling>", ""), "cut off after 1 complete ionic step "),
        (lambda text: re.sub(r'(name="e_0_energy">)[^<]*', r"\1 ******** ", text), "has no energy"),
        (lambda text: re.sub(r"(<v>)[^<]*(</v>)", r"\1 **** **** **** \2", text), "no number"),
        (lambda text: with_entities(text, ENTITIES_THAT_GROW), "cut off after 0 complete ionic steps"),
        (lambda text: with_entities(text, '<!ENTITY z SYSTEM "vasprun.xml">'), "cut off after 0 complete"),
    ],
)
def test_a_damaged_vasprun_is_a_failed_calculation_in_one_line(copy, damage, expected):
    path = copy / "vasprun.xml"
    path.write_text(damage(path.read_text()))
    output = read_output(copy, slab=True)
    assert output.status is CalculationStatus.FAILED
    assert expected in output.reason
    assert str(copy) in output.reason or "vasprun.xml" in output.reason
    assert "\n" not in output.reason


def test_a_missing_vasprun_is_named(tmp_path):
    output = read_output(tmp_path, slab=True)
    assert output.status is CalculationStatus.FAILED
    assert f"{tmp_path}: no vasprun.xml" in output.reason


def test_a_relaxation_that_was_killed_keeps_its_last_geometry(relaxed, tmp_path):
    folder = Path(shutil.copytree(relaxed, tmp_path / "killed"))
    text = (folder / "vasprun.xml").read_text()
    places = [match.start() for match in re.finditer("</calculation>", text)]
    (folder / "vasprun.xml").write_text(text[: places[1] - 200])
    output = read_output(folder, slab=False)
    assert output.status is CalculationStatus.FAILED
    assert "after 1 complete ionic step " in output.reason
    assert output.structure is not None
    assert output.energy is None


def test_a_file_cut_in_its_compressed_form_is_a_failed_calculation(copy):
    packed = gzip.compress((copy / "vasprun.xml").read_bytes())
    (copy / "vasprun.xml").unlink()
    (copy / "vasprun.xml.gz").write_bytes(packed[: len(packed) // 2])
    output = read_output(copy, slab=True)
    assert output.status is CalculationStatus.FAILED
    assert "cut off" in output.reason


@pytest.mark.parametrize("damage", ["missing", "empty", "short", "words"])
def test_without_a_locpot_only_the_potential_is_missing(copy, damage):
    path = copy / "LOCPOT"
    text = path.read_text()
    path.unlink()
    if damage != "missing":
        lines = text.splitlines(keepends=True)
        kept = {"empty": [], "short": lines[: len(lines) // 2], "words": [*lines[:40], "core dumped\n"]}
        path.write_text("".join(kept[damage]))
    output = read_output(copy, slab=True)
    assert output.status is CalculationStatus.OK
    assert output.energy is not None
    assert output.potential is None
    assert "LOCPOT" in output.details["locpot"]


def test_vasprun_alone_is_enough(copy):
    for name in ("OUTCAR", "OSZICAR"):
        (copy / name).unlink()
    output = read_output(copy, slab=True)
    assert output.status is CalculationStatus.OK
    assert output.fermi_energy is not None


@pytest.mark.parametrize("style", STYLES)
def test_nelm_reached_is_unconverged(tmp_path, style):
    folder = computed(tmp_path / "run", BULK, style, NSW=0, NELM=4, EDIFF=1e-9)
    output = read_output(folder, slab=False)
    assert output.status is CalculationStatus.UNCONVERGED
    assert "NELM = 4" in output.reason
    assert output.energy is not None


@pytest.mark.parametrize("style", STYLES)
def test_nsw_reached_is_unconverged(tmp_path, slab, style):
    folder = computed(tmp_path / "run", slab, style, kpoints=(4, 3, 1), NSW=2, IBRION=2, ISIF=2, EDIFFG=-1e-4)
    output = read_output(folder, slab=False)
    assert output.status is CalculationStatus.UNCONVERGED
    assert "NSW = 2" in output.reason


def test_the_word_of_vasp_5_on_ediff_is_not_trusted(tmp_path):
    # genuine files of 5.4.4 say "EDIFF is reached" after NELM steps too
    folder = computed(tmp_path / "run", BULK, "5.4.4", NSW=0, NELM=4, EDIFF=1e-9)
    outcar = folder / "OUTCAR"
    outcar.write_text(
        re.sub(
            r"aborting loop .*?(?= -|-{5}|\n)", "aborting loop because EDIFF is reached", outcar.read_text()
        )
    )
    assert read_output(folder, slab=False).status is CalculationStatus.UNCONVERGED


def test_molecular_dynamics_is_no_relaxation(copy):
    path = copy / "vasprun.xml"
    text = re.sub(r'(name="NSW">)\s*0', r"\1 100", path.read_text())
    path.write_text(re.sub(r'(name="IBRION">)\s*-?\d+', r"\1 0", text))
    output = read_output(copy, slab=False)
    assert output.status is CalculationStatus.FAILED
    assert "molecular dynamics" in output.reason


def test_moments_of_a_spin_polarised_run(tmp_path):
    nickel = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.5), ["Ni"], [[0, 0, 0]])
    folder = computed(tmp_path / "ni", nickel, ISPIN=2, MAGMOM=[0.6] * 4, LORBIT=11, NSW=0)
    output = read_output(folder, slab=False)
    assert settings_from(read_vasprun(folder / "vasprun.xml"), "").spin_polarized
    if output.total_magnetization is not None and output.site_magnetizations is not None:
        assert sum(output.site_magnetizations) == pytest.approx(output.total_magnetization, abs=0.05)
    assert output.total_magnetization is not None


def test_a_locpot_of_another_run_is_not_read(copy):
    text = (copy / "LOCPOT").read_text()
    lines = text.splitlines(keepends=True)
    x, y, z = lines[2].split()
    lines[2] = f" {float(x) * 1.05} {y} {z}\n"
    (copy / "LOCPOT").write_text("".join(lines))
    output = read_output(copy, slab=True)
    assert output.potential is None
    assert "another cell" in output.details["locpot"]
    (copy / "LOCPOT").write_text(text)
    path = copy / "vasprun.xml"
    path.write_text(re.sub(r'(name="LVHAR *">)\s*\.?T[A-Z.]*', r"\1 F ", path.read_text()))
    output = read_output(copy, slab=True)
    assert output.potential is None
    assert "wrote none" in output.details["locpot"]


def test_a_locpot_with_exchange_is_read_with_a_remark(copy):
    path = copy / "vasprun.xml"
    text = re.sub(r'(name="LVHAR *">)\s*\.?T[A-Z.]*', r"\1 F ", path.read_text())
    path.write_text(re.sub(r'(name="LVTOT *">)\s*\.?F[A-Z.]*', r"\1 T ", text))
    output = read_output(copy, slab=True)
    assert output.potential is not None
    assert "LVTOT" in output.details["locpot"]


def test_a_stopped_relaxation_without_the_end_of_its_outcar_is_unconverged(tmp_path, slab):
    folder = computed(tmp_path / "run", slab, kpoints=(4, 3, 1), NSW=2, IBRION=2, ISIF=2, EDIFFG=-1e-4)
    path = folder / "vasprun.xml"  # as after STOPCAR: fewer geometries than NSW allows
    path.write_text(re.sub(r'(name="NSW">)\s*2', r"\1 40", path.read_text()))
    assert read_output(folder, slab=False).status is CalculationStatus.UNCONVERGED
    outcar = folder / "OUTCAR"
    outcar.write_text(outcar.read_text().partition("General timing")[0])
    output = read_output(folder, slab=False)
    assert output.status is CalculationStatus.UNCONVERGED
    assert "force" in output.reason
