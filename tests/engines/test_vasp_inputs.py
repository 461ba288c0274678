"""The VASP input files of the four calculations, tag by tag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar

from stores.errors import EngineError, InputError
from tests.engines.vasp_engine import engine, mgag, mgag_slab, set_up
from workflows.engines.vasp.engine import VaspEngine
from workflows.engines.vasp.inputs import (
    BulkRelaxSetGenerator,
    BulkStaticSetGenerator,
    PinnedSetGenerator,
    SlabRelaxSetGenerator,
    SlabStaticSetGenerator,
)
from workflows.engines.vasp.run import sorted_cell

if TYPE_CHECKING:
    from pathlib import Path

EVERYWHERE = {
    "ADDGRID": False,
    "ALGO": "Normal",
    "ENCUT": 480.0,
    "GGA": "Pe",
    "ISMEAR": 0,
    "ISPIN": 1,
    "ISTART": 0,
    "ICHARG": 2,
    "ISYM": 2,
    "LASPH": True,
    "LMAXMIX": 4,
    "LORBIT": 10,
    "LREAL": False,
    "LVTOT": False,
    "NELM": 200,
    "NWRITE": 1,
    "PREC": "Accurate",
    "SIGMA": 0.05,
    "SYMPREC": 1e-5,
}
RELAX = {
    "EDIFF": 1e-5,
    "EDIFFG": -0.02,
    "IBRION": 2,
    "LCHARG": True,
    "LVHAR": False,
    "LWAVE": True,
    "NELMIN": 6,
    "NSW": 150,
    "POTIM": 0.5,
}
STATIC = {"EDIFF": 1e-6, "IBRION": -1, "LCHARG": False, "LWAVE": False, "NELMIN": 4, "NSW": 0}
COMPLETE = {
    BulkRelaxSetGenerator: EVERYWHERE | RELAX | {"ISIF": 3},
    BulkStaticSetGenerator: EVERYWHERE | STATIC | {"LVHAR": False},
    SlabRelaxSetGenerator: EVERYWHERE | RELAX | {"ISIF": 2, "AMIN": 0.01},
    SlabStaticSetGenerator: EVERYWHERE | STATIC | {"LVHAR": True, "AMIN": 0.01},
}


@pytest.fixture(autouse=True)
def potcars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Synthetic POTCARs."""
    set_up(monkeypatch, tmp_path)


def cell_for(kind: type[PinnedSetGenerator]) -> Structure:
    """A cell that such a calculation takes, sorted."""
    return sorted_cell(mgag_slab()[0] if kind.is_slab else mgag())[0]


def written(generator: PinnedSetGenerator, cell: Structure, folder: Path) -> dict[str, Any]:
    """Return the INCAR that is written, read back."""
    generator.get_input_set(cell).write_input(str(folder))
    return dict(Incar.from_file(folder / "INCAR"))


@pytest.mark.parametrize("kind", COMPLETE, ids=lambda kind: kind.kind.value)
def test_the_incar_is_these_tags_and_no_other(kind: type[PinnedSetGenerator], tmp_path: Path) -> None:
    assert written(kind(), cell_for(kind), tmp_path) == COMPLETE[kind]


@pytest.mark.parametrize("kind", COMPLETE, ids=lambda kind: kind.kind.value)
def test_nothing_of_atomate2_and_pymatgen_enters(
    kind: type[PinnedSetGenerator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import atomate2.vasp.sets.base as upstream
    from pymatgen.io.vasp.sets import MPRelaxSet, MPScanRelaxSet

    for name, value in {
        "VASP_INCAR_UPDATES": {"ENCUT": 680, "KSPACING": 0.2, "SIGMA": 0.2, "LVTOT": True},
        "VASP_INHERIT_INCAR": True,
        "SYMPREC": 0.1,
    }.items():
        monkeypatch.setattr(upstream.SETTINGS, name, value)
    for config in (upstream._BASE_VASP_SET, MPRelaxSet.CONFIG, MPScanRelaxSet.CONFIG):
        monkeypatch.setitem(config, "INCAR", {"KSPACING": 0.22, "ISMEAR": -5, "LDAU": True, "NELM": 7})
        monkeypatch.setitem(config, "POTCAR", {"Mg": "Mg", "Ag": "Ag_pv"})
        monkeypatch.setitem(config, "KPOINTS", {"reciprocal_density": 64})

    generator = kind(mesh=(5, 6, 1))
    assert written(generator, cell_for(kind), tmp_path) == COMPLETE[kind]
    assert generator.potcar_symbols == ["Mg_pv", "Ag"]
    assert Kpoints.from_file(tmp_path / "KPOINTS").kpts[0] == (5, 6, 1)
    # nor the INCAR of a run in the folder
    (tmp_path / "INCAR").write_text("ENCUT = 300\nISMEAR = 1\n")
    generator.get_input_set(cell_for(kind), prev_dir=tmp_path).write_input(str(tmp_path))
    assert dict(Incar.from_file(tmp_path / "INCAR")) == COMPLETE[kind]


def test_species_are_grouped_and_potcars_follow(tmp_path: Path) -> None:
    mixed, _ = mgag_slab()
    cell, order = sorted_cell(mixed)
    SlabStaticSetGenerator().get_input_set(cell).write_input(str(tmp_path))

    poscar = Poscar.from_file(tmp_path / "POSCAR")
    assert poscar.site_symbols == ["Mg", "Ag"]
    titles = [line.split()[3] for line in (tmp_path / "POTCAR").read_text().splitlines() if "TITEL" in line]
    assert titles == ["Mg_pv", "Ag"]
    assert np.allclose(poscar.structure.frac_coords, mixed.frac_coords[order])
    assert [mixed[i].specie.symbol for i in order] == [site.specie.symbol for site in poscar.structure]


def test_ungrouped_species_are_refused() -> None:
    generator = SlabStaticSetGenerator(sort_structure=False)
    with pytest.raises(InputError, match="not grouped"):
        generator.get_input_set(mgag_slab()[0])


def test_the_mesh_is_centred_at_gamma_and_shared_by_relaxation_and_static(tmp_path: Path) -> None:
    vasp = VaspEngine()
    slab = mgag_slab()[0]
    mesh = vasp.kpoints(slab, slab=True)
    texts = set()
    for kind in (SlabRelaxSetGenerator, SlabStaticSetGenerator):
        kind(mesh=mesh).get_input_set(sorted_cell(slab)[0]).write_input(str(tmp_path))
        texts.add((tmp_path / "KPOINTS").read_text())
    assert len(texts) == 1
    kpoints = Kpoints.from_file(tmp_path / "KPOINTS")
    assert kpoints.style.name == "Gamma" and kpoints.kpts[0] == mesh and mesh[2] == 1


def test_selective_dynamics_follows_the_free_flags_through_the_sorting(tmp_path: Path) -> None:
    slab, free = mgag_slab()
    assert 0 < sum(free) < len(free)
    slab.add_site_property("selective_dynamics", [[flag] * 3 for flag in free])
    cell, order = sorted_cell(slab)
    SlabRelaxSetGenerator().get_input_set(cell).write_input(str(tmp_path))

    flags = Poscar.from_file(tmp_path / "POSCAR").selective_dynamics
    assert [bool(all(flag)) for flag in flags] == [free[i] for i in order]
    assert all(len(set(flag)) == 1 for flag in np.asarray(flags).tolist())


def test_without_flags_whole_layers_near_the_surfaces_are_free(tmp_path: Path) -> None:
    slab, free = mgag_slab()
    cell, order = sorted_cell(slab)
    flags = SlabRelaxSetGenerator().get_input_set(cell)["POSCAR"].selective_dynamics
    assert [bool(all(flag)) for flag in flags] == [free[i] for i in order]


def test_a_symmetric_slab_has_no_dipole_correction_an_asymmetric_one_has(tmp_path: Path) -> None:
    slab, _ = mgag_slab()
    assert "LDIPOL" not in written(SlabStaticSetGenerator(), sorted_cell(slab)[0], tmp_path)

    top = int(np.argmax(slab.frac_coords[:, 2]))
    lost = slab.copy()
    lost.remove_sites([top])
    for kind in (SlabRelaxSetGenerator, SlabStaticSetGenerator):
        incar = written(kind(), sorted_cell(lost)[0], tmp_path)
        assert incar["LDIPOL"] is True and incar["IDIPOL"] == 3
        z = lost.frac_coords[:, 2]
        assert incar["DIPOL"] == pytest.approx([0.5, 0.5, (z.min() + z.max()) / 2], abs=1e-4)


def test_the_dipole_centre_of_a_slab_across_the_boundary_is_in_the_slab(tmp_path: Path) -> None:
    slab, _ = mgag_slab()
    slab.remove_sites([int(np.argmax(slab.frac_coords[:, 2]))])
    z = slab.frac_coords[:, 2]
    wrapped = slab.copy()
    wrapped.translate_sites(range(len(slab)), [0, 0, -(z.min() + z.max()) / 2], to_unit_cell=True)
    centre = written(SlabStaticSetGenerator(), sorted_cell(wrapped)[0], tmp_path)["DIPOL"][2]
    assert min(centre, 1 - centre) < 1e-4


def test_a_slab_with_c_off_its_normal_is_refused() -> None:
    slab, _ = mgag_slab()
    matrix = slab.lattice.matrix.copy()
    matrix[2] += 0.5 * matrix[0]
    leaning = Structure(Lattice(matrix), slab.species, slab.frac_coords)
    with pytest.raises(InputError, match=r"c axis is .* degrees off the surface normal"):
        SlabStaticSetGenerator().get_input_set(sorted_cell(leaning)[0])


@pytest.mark.parametrize(
    ("element", "labels", "moment"),
    [
        ("Co", {}, 2.0),
        ("Ni", {}, 1.0),
        ("Fe", {}, 3.0),
        ("Gd", {}, None),  # 4f in the core
        ("Yb", {}, None),
        ("Gd", {"Gd": "Gd"}, 7.0),  # 4f in valence
        ("Eu", {"Eu": "Eu"}, 7.0),
        ("Ag", {}, None),
    ],
)
def test_spin_only_where_something_is_magnetic(
    element: str, labels: dict[str, str], moment: float | None, tmp_path: Path
) -> None:
    cell = sorted_cell(Structure(Lattice.cubic(3.3), [element, "Mg"], [[0, 0, 0], [0.5, 0.5, 0.5]]))[0]
    incar = written(BulkStaticSetGenerator(labels=labels), cell, tmp_path)
    if moment is None:
        assert incar["ISPIN"] == 1 and "MAGMOM" not in incar
        return
    assert incar["ISPIN"] == 2
    by_symbol = dict(zip((site.specie.symbol for site in cell), incar["MAGMOM"], strict=True))
    assert by_symbol == {element: moment, "Mg": 0.0}


def test_a_restart_reads_what_is_in_the_folder(tmp_path: Path) -> None:
    cell = cell_for(SlabStaticSetGenerator)
    incar = written(SlabStaticSetGenerator(orbitals_given=True, density_given=True), cell, tmp_path)
    assert (incar["ISTART"], incar["ICHARG"]) == (1, 1)
    incar = written(SlabStaticSetGenerator(orbitals_given=True), cell, tmp_path)
    assert (incar["ISTART"], incar["ICHARG"]) == (1, 0)


def test_only_tags_that_spread_the_work_can_be_added(tmp_path: Path) -> None:
    incar = written(BulkStaticSetGenerator(user_incar_settings={"KPAR": 2}), mgag(), tmp_path)
    assert incar == COMPLETE[BulkStaticSetGenerator] | {"KPAR": 2}
    with pytest.raises(InputError, match="ENCUT cannot be set"):
        BulkStaticSetGenerator(user_incar_settings={"ENCUT": 300})
    with pytest.raises(InputError, match="parallel may hold"):
        VaspEngine(parallel={"SIGMA": 0.2})


def test_the_fingerprint_follows_what_decides_numbers() -> None:
    base = VaspEngine().method().fingerprint
    assert base.startswith("vasp-production-")
    assert VaspEngine(cutoff=480).method().fingerprint == base
    for same in (
        {"vasp_command": "srun vasp_std"},
        {"parallel": {"NCORE": 8}},
        {"maxiter": 90, "max_ionic_steps": 10, "max_errors": 2, "restarts": 0, "hang_timeout": 60},
    ):
        assert VaspEngine(**same).method().fingerprint == base, same
    different = [
        {"cutoff": 520},
        {"k_density": 9},
        {"bulk_k_density": 9},
        {"smearing_width": 0.1},
        {"force_tolerance": 0.05},
        {"potcars": {"Mg": "Mg"}},
        {"preset": "demo"},
    ]
    prints = {VaspEngine(**options).method().fingerprint for options in different}
    assert len(prints) == len(different) and base not in prints


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preset": "nope"}, "no preset"),
        ({"cutoff": -1}, "cutoff must be a positive number"),
        ({"cutoff": "480"}, "cutoff must be a positive number"),
        ({"max_ionic_steps": 1.5}, "max_ionic_steps must be a whole number"),
        ({"restarts": -1}, "restarts must be"),
        ({"potcars": ["Mg_pv"]}, "potcars must map"),
        ({"potcars": {"Mg": "Ag"}}, "'Ag' is no POTCAR label of Mg"),
        ({"vasp_command": ["srun"]}, "vasp_command must be text"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        VaspEngine(**options)


def test_elements_without_a_potcar_are_refused_at_once() -> None:
    engine().check_elements(["Mg", "Gd", "Yb"])
    with pytest.raises(EngineError, match=r"no POTCAR label for Po: .*potcars"):
        engine().check_elements(["Mg", "Po"])
    engine(potcars={"Po": "Po_d"}).check_elements(["Po"])
