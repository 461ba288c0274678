from __future__ import annotations

import gzip
import re

import pytest
from pymatgen.core import Lattice, Structure

from stores.errors import EngineError, InputError
from workflows.engines.gpaw import GPAWEngine, _setup_folders, has_setup
from workflows.engines.gpaw_presets import (
    ELEMENTS_WITHOUT_SETUP,
    LAST_ATOMIC_NUMBER,
    OPEN_4F,
    PRESETS,
    SMALL_VALENCE_SETUPS,
)

needs_setups = pytest.mark.skipif(not _setup_folders(), reason="no PAW setups installed (gpaw-data)")


def setup_file(element, label):
    name = f"{element}.{label}.PBE.gz" if label else f"{element}.PBE.gz"
    return next((f / name for f in _setup_folders() if (f / name).exists()), None)


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
    assert method.setups == {"default": "paw"}
    # eV per valence electron: below 1e-4 eV for a cell of 200 electrons
    assert PRESETS["production"].convergence["energy"] * 200 <= 1e-4


def test_demo_fingerprint_holds_the_whole_table_of_setups():
    assert GPAWEngine().method().setups == {"default": "paw", **SMALL_VALENCE_SETUPS}
