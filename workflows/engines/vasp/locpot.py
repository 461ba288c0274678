"""The planar average of a LOCPOT, read plane by plane with little memory.

A LOCPOT written with LVHAR holds the electrostatic (ionic + Hartree, no XC) potential at each point of the
grid in eV, with the sign as it acts on an electron: no division by the volume, unlike CHGCAR. The first axis
runs fastest, so that each plane along c is one uninterrupted run of numbers. A spin-polarised LOCPOT repeats
the block; for LVHAR the second one holds nothing new and is not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from stores.errors import InputError
from stores.input_files import DAMAGED, LONGEST_LINE, open_input

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

BLOCK = 1 << 20  # bytes read at a time: large enough for speed, small beside the file
MOST_POINTS = 10_000  # along one lattice vector: 10 times those of a slab of 100 A


@dataclass(frozen=True)
class LocpotAverage:
    """Planar average along a lattice vector.

    In a tilted cell each plane of the grid is parallel to the surface, but shifted against the one below.
    """

    z: NDArray[np.float64]  # heights of the grid planes along their normal (A), shape (NZ,); the first is 0
    potential: NDArray[np.float64]  # mean of each plane (eV), shape (NZ,)
    lattice: NDArray[np.float64]  # rows a, b, c (A), shape (3, 3)


def read_locpot(path: Path, axis: int = 2) -> LocpotAverage:
    """Average a LOCPOT, compressed or not, over planes; `axis` is the lattice vector out of them (2 for c).

    Raises
    ------
    InputError
        If the file is empty, ends early, or holds anything but numbers where the potential should be.
    """
    try:
        with open_input(path) as stream:
            lattice, shape = _read_header(stream)
            means = _plane_means(stream, shape, axis)
    except DAMAGED:
        raise InputError(
            f"{path}: the file ends early or is damaged; copy it again or run it again"
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: {error}; copy it again or run the static calculation again") from None
    if not np.isfinite(means).all():
        raise InputError(f"{path}: holds values that are no numbers; run the static calculation again")
    one, other = (lattice[i] for i in range(3) if i != axis)
    normal = np.cross(one, other)
    height = abs(float(np.dot(lattice[axis], normal))) / float(np.linalg.norm(normal))
    z = np.arange(len(means), dtype=np.float64) * (height / len(means))
    return LocpotAverage(z, means, lattice)


def _read_header(stream: BinaryIO) -> tuple[NDArray[np.float64], tuple[int, int, int]]:
    """Read the POSCAR part and the line with the size of the grid."""

    def line() -> list[str]:
        text = stream.readline(LONGEST_LINE)
        if not text:
            raise ValueError("the file ends before the potential")
        return text.decode("latin-1").split()

    line()
    scales = [float(word) for word in line()]
    rows = [[float(word) for word in line()[:3]] for _ in range(3)]
    if any(len(row) != 3 for row in rows):
        raise ValueError("the file ends before the potential")
    lattice = np.array(rows)
    if len(scales) == 3:
        lattice = lattice * scales
    elif scales[0] < 0:  # the volume of the cell
        lattice = lattice * (-scales[0] / abs(np.linalg.det(lattice))) ** (1 / 3)
    else:
        lattice = lattice * scales[0]
    words = line()
    counts = words if words and words[0].isdigit() else line()
    n_atoms = sum(int(word) for word in counts)
    line()  # Direct; VASP never writes selective dynamics here
    for _ in range(n_atoms):
        line()
    while not (words := line()):
        pass
    if len(words) != 3:
        raise ValueError("no grid size behind the atoms, so this is no LOCPOT")
    nx, ny, nz = (int(word) for word in words)
    if min(nx, ny, nz) < 1:
        raise ValueError(f"the grid {nx} x {ny} x {nz} makes no sense")
    if max(nx, ny, nz) > MOST_POINTS:
        raise ValueError(f"the grid {nx} x {ny} x {nz} has over {MOST_POINTS} points along a vector")
    return lattice, (nx, ny, nz)


def _plane_means(stream: BinaryIO, shape: tuple[int, int, int], axis: int) -> NDArray[np.float64]:
    """Average whole planes along c as they come; the first axis runs fastest."""
    nx, ny, nz = shape
    others = tuple(i for i in range(3) if i != 2 - axis)  # of an array (z, y, x)
    sums = np.zeros(shape[axis])
    done = 0
    rest = np.empty(0)
    for values in _values(stream, nx * ny * nz):
        joined = np.concatenate([rest, values])
        n = len(joined) // (nx * ny)
        planes = joined[: n * nx * ny].reshape(n, ny, nx)
        rest = joined[n * nx * ny :]
        if axis == 2:
            sums[done : done + n] = planes.sum(axis=others)
        else:
            sums += planes.sum(axis=others)
        done += n
    return sums / (nx * ny * nz // shape[axis])


def _values(stream: BinaryIO, total: int) -> Iterator[NDArray[np.float64]]:
    """Yield the next `total` numbers, some at a time; ValueError if there are fewer, or something else."""
    from pymatgen.optimization.fast_parser import parse_n_doubles

    rest = b""
    left = total
    buffer = np.empty(BLOCK // 2)  # a number and its blank take two bytes at least
    while left:
        text = stream.read(BLOCK)
        if len(rest) > LONGEST_LINE:
            raise ValueError("a line of over 1 MiB where the potential should be")
        if not text and not rest:
            raise ValueError(f"the file ends after {total - left} of {total} values")
        end = text.rfind(b"\n") + 1 if text else 0
        # no line in this block: read on, so that no number is cut
        block, rest = (rest + text[:end], text[end:]) if end or not text else (b"", rest + text)
        lines = BytesIO(block)
        while left and (found := parse_n_doubles(lines, buffer, min(left, len(buffer)))):
            left -= found
            yield buffer[:found].copy()
        leftover = lines.read().split() if left else lines.readline().split()
        if len(leftover) == 1 and left and not rest and not stream.read(1):  # cut within a number
            raise ValueError(f"the file ends after {total - left} of {total} values")
        if leftover:
            raise ValueError("holds something else than numbers where the potential should be")
