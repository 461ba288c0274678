"""The planar average of LOCPOT files written here."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from stores.errors import InputError
from workflows.engines.vasp import locpot as vasp_locpot
from workflows.engines.vasp.locpot import read_locpot

HEADER = """slab
   1.00000000000000
     {a}
     {b}
     {c}
   Mg   Ag
     1     1
Direct
  0.000000  0.000000  0.400000
  0.500000  0.500000  0.600000

   {nx}   {ny}   {nz}
"""


def locpot_text(values, a="5.0 0.0 0.0", b="0.0 4.0 0.0", c="0.0 0.0 20.0", form="{:.11E}", per_line=5):
    """Values of shape (nx, ny, nz), the first axis fastest, five on a line as VASP writes them."""
    nx, ny, nz = values.shape
    words = [form.format(v) for v in values.ravel(order="F")]
    lines = [" " + " ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
    return HEADER.format(a=a, b=b, c=c, nx=nx, ny=ny, nz=nz) + "\n".join(lines) + "\n"


@pytest.fixture
def values():
    # 7 x 3 x 11: no plane ends where a line ends
    return np.random.default_rng(3).normal(scale=5, size=(7, 3, 11))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_mean_of_each_plane(tmp_path, values, axis):
    path = tmp_path / "LOCPOT"
    path.write_text(locpot_text(values))
    average = read_locpot(path, axis)
    others = tuple(i for i in range(3) if i != axis)
    np.testing.assert_allclose(average.potential, values.mean(axis=others), atol=1e-9)
    height = (5.0, 4.0, 20.0)[axis]
    n = values.shape[axis]
    np.testing.assert_allclose(average.z, np.arange(n) * height / n)


def test_it_is_what_pymatgen_finds(tmp_path, values):
    from pymatgen.io.vasp.outputs import Locpot

    path = tmp_path / "LOCPOT"
    path.write_text(locpot_text(values))
    np.testing.assert_allclose(
        read_locpot(path).potential, Locpot.from_file(path).get_average_along_axis(2), atol=1e-9
    )


@pytest.mark.parametrize("block", [64, 100, 1000])
def test_the_size_of_the_blocks_does_not_matter(tmp_path, values, block, monkeypatch):
    path = tmp_path / "LOCPOT"
    path.write_text(locpot_text(values))
    whole = read_locpot(path).potential
    monkeypatch.setattr(vasp_locpot, "BLOCK", block)
    np.testing.assert_allclose(read_locpot(path).potential, whole, atol=1e-12)


def test_compressed_without_the_ending_in_its_name(tmp_path, values):
    path = tmp_path / "LOCPOT"
    path.write_bytes(gzip.compress(locpot_text(values).encode()))
    np.testing.assert_allclose(read_locpot(path).potential, values.mean(axis=(0, 1)), atol=1e-9)


def test_second_spin_block_is_not_read(tmp_path, values):
    path = tmp_path / "LOCPOT"
    nx, ny, nz = values.shape
    second = locpot_text(values + 7).split(f"{nx}   {ny}   {nz}\n")[1]
    path.write_text(locpot_text(values) + f"   {nx}   {ny}   {nz}\n" + second)
    np.testing.assert_allclose(read_locpot(path).potential, values.mean(axis=(0, 1)), atol=1e-9)


def test_all_values_on_one_line(tmp_path, values):
    path = tmp_path / "LOCPOT"
    path.write_text(locpot_text(values, per_line=10**6))
    np.testing.assert_allclose(read_locpot(path).potential, values.mean(axis=(0, 1)), atol=1e-9)


def test_heights_lie_along_the_normal_of_a_tilted_cell(tmp_path, values):
    path = tmp_path / "LOCPOT"
    path.write_text(locpot_text(values, c="2.5 2.0 20.0"))
    average = read_locpot(path)
    assert average.z[1] * len(average.z) == pytest.approx(20.0)
    np.testing.assert_allclose(average.potential, values.mean(axis=(0, 1)), atol=1e-9)


@pytest.mark.parametrize("scale", [2.0, -800.0 * 4])
def test_scaled_cells(tmp_path, values, scale):
    path = tmp_path / "LOCPOT"
    text = locpot_text(values, a="2.5 0.0 0.0", b="0.0 4.0 0.0", c="0.0 0.0 40.0")
    path.write_text(text.replace("1.00000000000000", str(scale)))
    expected = 80.0 if scale > 0 else 40.0 * (3200 / 400) ** (1 / 3)
    assert read_locpot(path).z[1] * values.shape[2] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda text: "", "empty"),
        (lambda text: text[:60], "before the potential"),
        (lambda text: text[: len(text) // 2], "of 231 values"),
        (lambda text: text[:-300] + "forrtl: severe\n", "something else than numbers"),
        (lambda text: text.replace("7   3   11", "7   3"), "no grid size"),
        (lambda text: text.replace("7   3   11", "7   3   0"), "makes no sense"),
        (lambda text: text.replace("E+00", "X+00"), "something else than numbers"),
        (lambda text: "one line only", "before the potential"),
        (lambda text: "\x00" * 500, "LOCPOT"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, values, damage, expected):
    path = tmp_path / "LOCPOT"
    path.write_text(damage(locpot_text(values)))
    with pytest.raises(InputError, match=expected) as error:
        read_locpot(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_overflowed_and_undefined_values_are_refused(tmp_path, values):
    path = tmp_path / "LOCPOT"
    values[3, 1, 4] = np.nan
    path.write_text(locpot_text(values))
    with pytest.raises(InputError):
        read_locpot(path)


def test_truncated_gzip_is_refused(tmp_path, values):
    path = tmp_path / "LOCPOT.gz"
    packed = gzip.compress(locpot_text(values).encode())
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"ends early|of 231 values"):
        read_locpot(path)
