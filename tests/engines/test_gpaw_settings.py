from __future__ import annotations

import gzip
import json
import re

import pytest
from pymatgen.core import Lattice, Structure

from stores.errors import EngineError, InputError
from workflows.engines.gpaw import engine as gpaw
from workflows.engines.gpaw.engine import GPAWEngine
from workflows.engines.gpaw.presets import (
    ELEMENTS_WITHOUT_SETUP,
    LAST_ATOMIC_NUMBER,
    OPEN_4F,
    PRESETS,
    SMALL_VALENCE_SETUPS,
    has_setup,
    setup_folders,
)

needs_setups = pytest.mark.skipif(not setup_folders(), reason="no PAW setups installed (gpaw-data)")


def setup_file(element, label):
    name = f"{element}.{label}.PBE.gz" if label else f"{element}.PBE.gz"
    return next((f / name for f in setup_folders() if (f / name).exists()), None)


def valence_electrons(path):
    text = gzip.decompress(path.read_bytes()).decode()
    return float(re.search(r'valence="([\d.]+)"', text).group(1))


@needs_setups
@pytest.mark.parametrize("element", sorted(SMALL_VALENCE_SETUPS))
def test_small_valence_setups_exist_and_hold_fewer_electrons(element):
    label = SMALL_VALENCE_SETUPS[element]
    small, default = setup_file(element, label), setup_file(element, "")
    assert small is not None, f"{element}.{label}.PBE is not among the installed setups"
    assert valence_electrons(small) == float(label) < valence_electrons(default)


@needs_setups
def test_the_list_of_missing_setups_agrees_with_the_installed_files():
    from ase.data import chemical_symbols

    symbols = chemical_symbols[1 : LAST_ATOMIC_NUMBER + 1]
    assert {e for e in symbols if not has_setup(e)} == ELEMENTS_WITHOUT_SETUP


def test_open_4f_lanthanides_are_refused_in_one_line():
    with pytest.raises(EngineError, match=r"cannot treat Ce, Gd.*4f") as caught:
        GPAWEngine().check_elements(["Mg", "Gd", "Ce"])
    assert "\n" not in str(caught.value)
    assert {"La", "Yb", "Lu"}.isdisjoint(OPEN_4F)
    GPAWEngine().check_elements(["Mg", "La", "Yb", "Lu", "Y", "Sc"])


def test_an_element_without_a_setup_is_refused():
    with pytest.raises(EngineError, match="no PAW setup for Tc, U"):
        GPAWEngine().check_elements(["Mg", "U", "Tc"])


def test_a_structure_with_a_refused_element_raises_before_anything_runs(tmp_path):
    crystal = Structure(Lattice.cubic(3.7), ["Mg", "Gd"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(EngineError, match="cannot treat Gd"):
        GPAWEngine().static_bulk(crystal, (2, 2, 2), tmp_path)
    assert not list(tmp_path.iterdir())


def test_disorder_is_refused(tmp_path):
    crystal = Structure(Lattice.cubic(3.3), [{"Mg": 0.5, "Ag": 0.5}], [[0, 0, 0]])
    with pytest.raises(InputError, match="partly occupied"):
        GPAWEngine().relax_bulk(crystal, tmp_path)


def test_flags_must_match_the_atoms(tmp_path):
    crystal = Structure(Lattice.cubic(3.3), ["Mg"], [[0, 0, 0]])
    with pytest.raises(InputError, match="2 free flags for 1 atoms"):
        GPAWEngine().relax_slab(crystal, [True, False], (1, 1, 1), tmp_path)


def test_production_follows_the_published_method():
    method = GPAWEngine(preset="production").method()
    assert (method.functional, method.cutoff, method.force_tolerance) == ("PBE", 480.0, 0.02)
    assert method.setups == {"default": "paw", "Pd": "10", "Ag": "11", "Ir": "9", "Pt": "10"}
    # eV per valence electron: 1e-4 eV per cell holds for all but the largest slabs
    assert PRESETS["production"].convergence["energy"] * 1000 <= 1e-4


def test_demo_fingerprint_holds_the_whole_table_of_setups():
    assert GPAWEngine().method().setups == {"default": "paw", **SMALL_VALENCE_SETUPS}


@pytest.mark.parametrize(
    "option", ["cutoff", "k_density", "bulk_k_density", "smearing_width", "force_tolerance"]
)
def test_whole_numbers_and_floats_are_one_method(option):
    assert GPAWEngine(**{option: 6}).method().fingerprint == GPAWEngine(**{option: 6.0}).method().fingerprint


@pytest.mark.parametrize("option", ["cutoff", "k_density", "maxiter", "ranks"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1, 0, True, "6"])
def test_numbers_without_meaning_are_refused(option, value):
    with pytest.raises(InputError, match=f"{option} must be a positive number"):
        GPAWEngine(**{option: value})


@needs_setups
def test_setups_as_yaml_reads_them_are_text():
    assert (
        GPAWEngine(setups={"Mg": 2}).method().fingerprint
        == GPAWEngine(setups={"Mg": "2"}).method().fingerprint
    )
    assert GPAWEngine(setups={"Mg": "paw"}).settings.setups == {"Mg": "paw"}


@needs_setups
def test_a_setup_that_is_not_installed_is_refused_with_those_that_are():
    with pytest.raises(InputError, match=r"no PBE setup '3' of Mg is installed: there are 2, paw$"):
        GPAWEngine(setups={"Mg": 3})
    with pytest.raises(InputError, match="there is none of default"):
        GPAWEngine(setups={"default": "paw"})
    with pytest.raises(InputError, match="the setup of Mg must be a name, got None"):
        GPAWEngine(setups={"Mg": None})


def test_setups_of_one_s_own_change_the_method(tmp_path, monkeypatch):
    before = GPAWEngine().method().fingerprint
    (tmp_path / "Mg.2.PBE.gz").write_bytes(b"12")
    monkeypatch.setenv("GPAW_SETUP_PATH", str(tmp_path))
    own = GPAWEngine().method().fingerprint
    (tmp_path / "Mg.2.PBE.gz").write_bytes(b"123")
    assert len({before, own, GPAWEngine().method().fingerprint}) == 3


def test_setups_of_one_s_own_count_for_their_elements_alone(tmp_path, monkeypatch):
    package = GPAWEngine().method()
    monkeypatch.setenv("GPAW_SETUP_PATH", str(tmp_path))
    (tmp_path / "Mg.2.PBE.gz").write_bytes(b"12")
    one = GPAWEngine().method()
    (tmp_path / "Zn.PBE").write_bytes(b"1")
    two = GPAWEngine().method()
    names = [
        [m.for_elements(e).fingerprint for e in (("Ag",), ("Mg",), ("Mg", "Zn"))] for m in (package, one, two)
    ]
    (ag, mg, mg_zn) = zip(*names, strict=True)
    assert len(set(ag)) == 1
    assert mg[0] != mg[1] == mg[2]
    assert len(set(mg_zn)) == 3
    # a record of old, which names all files of the folder by one digest
    old = one.model_copy(
        update={"extra": {**one.extra, "setups_package": one.extra["setups_package"]["all"]}}
    )
    assert one.covers(old, ("Mg",)) and not two.covers(old, ("Mg",))


@pytest.fixture
def handed_over(monkeypatch):
    """Collect the tasks that reach the worker, each answered as a converged relaxation would."""
    tasks = []

    def run_worker(directory, task, ranks):
        del ranks
        tasks.append(task)
        answer = {
            "status": "ok",
            "task_hash": task["task_hash"],
            "mesh": [1, 1, 1],
            "energy": -1.0,
            "cell": task["cell"],
            "positions": task["positions"],
            "setup_fingerprints": {"Mg": "1a2b3c4d"},
            "potential": {"z": [0.0, 1.0], "potential": [0.0, 0.0]},
        }
        (directory / "input.json").write_text(json.dumps(task))
        (directory / "output.json").write_text(json.dumps(answer))
        return answer

    monkeypatch.setattr(gpaw, "run_worker", run_worker)
    monkeypatch.setattr(gpaw, "_require_gpaw", lambda: None)
    return tasks


def test_limits_reach_the_worker_but_make_no_other_task(handed_over, tmp_path):
    slab = Structure(Lattice.cubic(8.0), ["Mg"], [[0, 0, 0.5]])
    for options in ({}, {"maxiter": 400, "max_ionic_steps": 200}, {"cutoff": 350}):
        GPAWEngine(**options).relax_slab(slab, [True], (1, 1, 1), tmp_path)
    plain, raised, other = handed_over
    assert raised["settings"]["maxiter"] == 400
    assert raised["settings"]["max_ionic_steps"] == 200
    assert plain["task_hash"] == raised["task_hash"] != other["task_hash"]


def test_only_metals_of_few_bound_states_have_their_bands_set(handed_over, tmp_path):
    for elements in (["Ca"], ["Mg"], ["Mg", "Ca"]):
        crystal = Structure(Lattice.cubic(4.0), elements, [[0, 0, 0], [0.5] * 3][: len(elements)])
        GPAWEngine().static_bulk(crystal, (1, 1, 1), tmp_path)
    assert [task["settings"].get("empty_bands") for task in handed_over] == [True, None, None]


def test_a_relaxation_under_other_limits_still_holds_the_static_result(handed_over, tmp_path):
    slab = Structure(Lattice.cubic(8.0), ["Mg"], [[0, 0, 0.5]])
    GPAWEngine().relax_slab(slab, [True], (1, 1, 1), tmp_path)
    out = GPAWEngine(maxiter=400).static_slab(slab, (1, 1, 1), tmp_path, prev_dir=tmp_path)
    assert out.details["reused_from"] == str(tmp_path)
    assert len(handed_over) == 1


def test_the_output_names_the_data_of_each_setup(handed_over, tmp_path):
    crystal = Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    out = GPAWEngine().static_bulk(crystal, (1, 1, 1), tmp_path)
    assert out.setups == {"Mg": "2 (md5 1a2b3c4d)", "Ag": "11"}
    assert len(handed_over) == 1
