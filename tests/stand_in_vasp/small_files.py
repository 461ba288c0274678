"""The other files VASP leaves: CONTCAR, XDATCAR, LOCPOT, CHGCAR, WAVECAR, EIGENVAL, DOSCAR, IBZKPT."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from tests.stand_in_vasp.calculation import Calculation
from tests.stand_in_vasp.potential import FERMI_ENERGY, grid_potential
from tests.stand_in_vasp.version import Version


def _head(calculation: Calculation, lattice: np.ndarray, species: list[str]) -> str:
    crystal = calculation.crystal
    rows = "".join(" " + "".join(f"{x:22.16f}" for x in row) + "\n" for row in lattice)
    counts = "".join(f"{n:6d}" for n in crystal.counts)
    return f"{crystal.comment[:40]}\n   1.00000000000000     \n{rows}   {'   '.join(species)}\n{counts}\n"


def write_contcar(
    calculation: Calculation, lattice: np.ndarray, positions: np.ndarray, version: Version
) -> None:
    """Write CONTCAR as VASP does, with the block of zero velocities behind a blank line."""
    crystal = calculation.crystal
    species = [p.symbol for p in calculation.potentials]
    if version.hashes:
        species = [
            f"{p.label}/{hashlib.sha256(p.title.encode()).hexdigest()[:16]}" for p in calculation.potentials
        ]
    rows = []
    for row, free in zip((positions @ np.linalg.inv(lattice)) % 1.0, crystal.free, strict=True):
        flags = "".join("   T" if x else "   F" for x in free) if crystal.selective else ""
        rows.append("".join(f"{x:20.16f}" for x in row) + flags + "\n")
    text = _head(calculation, lattice, species) + ("Selective dynamics\n" if crystal.selective else "")
    still = ("  0.00000000E+00" * 3 + "\n") * len(rows)
    # in one stroke: whoever kills the run must not find half a file by chance
    Path("CONTCAR.new").write_text(f"{text}Direct\n{''.join(rows)}\n{still}")
    Path("CONTCAR.new").replace("CONTCAR")


def append_xdatcar(calculation: Calculation, lattice: np.ndarray, positions: np.ndarray, step: int) -> None:
    head = _head(calculation, lattice, [p.symbol for p in calculation.potentials])
    with Path("XDATCAR").open("w" if step == 1 else "a") as file:
        if step == 1 or calculation.tags["ISIF"] > 2:
            file.write(head)
        file.write(f"Direct configuration= {step:5d}\n")
        for row in (positions @ np.linalg.inv(lattice)) % 1.0:
            file.write("  ".join(f"{x:11.8f}" for x in row) + "\n")


def _volumetric(
    name: str, calculation: Calculation, lattice: np.ndarray, positions: np.ndarray, grids: list[np.ndarray]
) -> None:
    """Write grids (x fastest) behind a POSCAR; between two spins stands a line of one number per atom."""
    with Path(name).open("w") as file:
        file.write(_head(calculation, lattice, [p.symbol for p in calculation.potentials]) + "Direct\n")
        for row in (positions @ np.linalg.inv(lattice)) % 1.0:
            file.write("".join(f"{x:10.6f}" for x in row) + "\n")
        for number, grid in enumerate(grids):
            if number:
                _write_rows(file, np.zeros(len(positions)), "{:20.12E}")
            else:
                file.write("\n")
            file.write("".join(f"{n:5d}" for n in grid.shape) + "\n")
            _write_rows(file, grid.ravel(order="F"), " {:17.11E}")


def _write_rows(file: object, values: np.ndarray, form: str) -> None:
    texts = [form.format(x) for x in values]
    for i in range(0, len(texts), 5):
        file.write("".join(texts[i : i + 5]) + "\n")  # type: ignore[attr-defined]


def write_locpot(calculation: Calculation, lattice: np.ndarray, positions: np.ndarray) -> None:
    """Write LOCPOT; LVTOT wins over LVHAR, as the stand-in adds the exchange part then."""
    tags = calculation.tags
    grid = grid_potential(
        lattice,
        positions,
        calculation.symbols,
        calculation.grid(),
        dipole=tags["LDIPOL"] and tags["IDIPOL"] in (3, 4),
        centre=tags["DIPOL"][2] if "DIPOL" in tags else None,
        exchange=tags["LVTOT"] and not tags["LVHAR"],
    )
    _volumetric("LOCPOT", calculation, lattice, positions, [grid] * int(tags["ISPIN"]))


def write_restart(calculation: Calculation, lattice: np.ndarray, positions: np.ndarray) -> None:
    """Write WAVECAR and CHGCAR: placeholders, which shorten the next run by being there."""
    if calculation.tags["LWAVE"]:
        Path("WAVECAR").write_text(f"stand-in {len(calculation.symbols)} atoms\n" + "0" * 200)
    if calculation.tags["LCHARG"]:
        grids = [np.full((2, 2, 2), calculation.electrons)]
        if calculation.tags["ISPIN"] == 2:
            grids.append(np.full((2, 2, 2), float(calculation.moments.sum())))
        _volumetric("CHGCAR", calculation, lattice, positions, grids)


def write_bands(calculation: Calculation) -> None:
    """Write EIGENVAL, DOSCAR (its head) and IBZKPT."""
    energies, occupations = calculation.eigenvalues()
    mesh, atoms = calculation.mesh, len(calculation.symbols)
    lines = [
        f"{atoms:5d}{atoms:5d}{1:5d}{len(energies):5d}",
        "  0.1E+02  0.1E+02",
        "  1.0E-004",
        "  CAR ",
        " unknown system",
    ]
    lines.append(f"{int(calculation.electrons):7d}{len(mesh.points):7d}{calculation.bands:7d}")
    for k, (point, weight) in enumerate(zip(mesh.points, mesh.weights, strict=True)):
        lines += ["", "".join(f"{x:15.7E}" for x in (*point, weight))]
        for n in range(calculation.bands):
            values = [*energies[:, k, n], *occupations[:, k, n]]
            lines.append(f"{n + 1:5d}" + "".join(f"{x:14.6f}" for x in values))
    Path("EIGENVAL").write_text("\n".join(lines) + "\n")
    head = [*lines[:5], f"{energies.max():16.8f}{energies.min():16.8f}{2:5d}{FERMI_ENERGY:16.8f}{1.0:16.8f}"]
    Path("DOSCAR").write_text("\n".join(head) + "\n")
    total = int(np.prod(mesh.divisions))
    rows = "".join(
        "".join(f"{x:20.14f}" for x in point) + f"{round(weight * total):14d}\n"
        for point, weight in zip(mesh.points, mesh.weights, strict=True)
    )
    Path("IBZKPT").write_text(
        f"Automatically generated mesh\n{len(mesh.points):8d}\nReciprocal lattice\n{rows}"
    )
