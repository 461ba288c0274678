from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from model import cif
from model.cif import lattice_matrix, read_cif
from stores.errors import InputError
from tests.model.crystals import slabs_of


def written(path: Path, structure: Structure, **options: float) -> Path:
    path.write_text(str(CifWriter(structure, **options)))
    return path


@pytest.mark.parametrize("cut", slabs_of("MgZn2")[:5], ids=lambda s: s.termination_label)
def test_a_cif_without_symmetry_is_read_without_pymatgen(cut, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cif, "_by_pymatgen", None)
    found = read_cif(written(tmp_path / "s.cif", cut.structure))
    expected = cut.structure
    np.testing.assert_array_equal(found.numbers, [site.specie.Z for site in expected])
    np.testing.assert_allclose(found.fractional, expected.frac_coords, atol=1e-7)
    lengths = Lattice(found.lattice).parameters
    np.testing.assert_allclose(lengths, expected.lattice.parameters, atol=1e-6)


def test_a_cif_with_symmetry_is_unfolded(tmp_path) -> None:
    expected = slabs_of("MgAg")[0].structure
    found = read_cif(written(tmp_path / "s.cif", expected, symprec=0.01))
    assert len(found.numbers) == len(expected)


def test_lattice_is_that_of_pymatgen() -> None:
    cell = [4.1, 5.2, 21.3, 83.0, 101.0, 118.0]
    np.testing.assert_allclose(Lattice(lattice_matrix(cell)).parameters, cell)
    for wrong in ([1, 1, 1, 10, 10, 170], [0, 1, 1, 90, 90, 90]):
        with pytest.raises(ValueError, match="span no cell"):
            lattice_matrix([float(x) for x in wrong])


def test_shared_sites_and_several_blocks_are_refused(tmp_path) -> None:
    lattice = Lattice.tetragonal(3, 20)
    shared = Structure(lattice, [{"Mg": 0.5, "Ag": 0.5}], [[0, 0, 0.5]])
    with pytest.raises(InputError, match="shared"):
        read_cif(written(tmp_path / "shared.cif", shared))
    one = str(CifWriter(Structure(lattice, ["Mg"], [[0, 0, 0.5]])))
    (tmp_path / "two.cif").write_text(one + "\n" + one.replace("data_Mg", "data_other"))
    with pytest.raises(InputError, match="2 structures"):
        read_cif(tmp_path / "two.cif")


def test_symbols_with_charges_and_labels_with_numbers_are_elements(tmp_path) -> None:
    text = str(CifWriter(Structure(Lattice.tetragonal(3, 20), ["Mg"], [[0, 0, 0.5]])))
    path = tmp_path / "s.cif"
    path.write_text(text.replace("  Mg  Mg0", "  Mg2+  Mg0"))
    assert read_cif(path).numbers.tolist() == [12]
