"""The shortest vasprun.xml files that are read as a slab of hcp Mg and its bulk, with any settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

A, C, VACUUM = 3.2, 5.2, 15.0
AREA = A * A * 3**0.5 / 2
GAMMA = 0.03
BULK_ENERGY, SLAB_ENERGY = -3.0, -7.5 + 2 * AREA * GAMMA
PARAMETERS = {
    "ENMAX": 400.0, "EDIFF": 1e-6, "ISMEAR": 1, "SIGMA": 0.2, "ISPIN": 1, "NELM": 60, "NSW": 0, "IBRION": -1,
}  # fmt: skip
INCAR = {"ENCUT": 400.0, "GGA": "PE"}

Rows = Sequence[Sequence[float]]


def _item(name: str, value: Any) -> str:
    kinds = {bool: ' type="logical"', int: ' type="int"', str: ' type="string"'}
    if isinstance(value, list):
        return f'<v{kinds.get(type(value[0]), "")} name="{name}">{" ".join(map(str, value))}</v>\n'
    text = "FT"[value] if isinstance(value, bool) else value
    return f'<i{kinds.get(type(value), "")} name="{name}">{text}</i>\n'


def items(tags: Mapping[str, Any]) -> str:
    return "".join(_item(name, value) for name, value in tags.items() if value is not None)


def _rows(name: str, rows: Rows) -> str:
    return (
        f'<varray name="{name}">' + "".join(f"<v>{' '.join(map(str, row))}</v>" for row in rows) + "</varray>"
    )


def _energy(value: float | str) -> str:
    return (
        "<energy>"
        + "".join(f'<i name="{n}">{value}</i>' for n in ("e_fr_energy", "e_0_energy"))
        + "</energy>"
    )


def vasprun(
    cell: Rows,
    atoms: Rows,
    species: Sequence[str],
    mesh: str,
    *energies: float | str,
    incar: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    force: float | str = 0.0,
    stress: float | None = None,
    fermi: float | str = 1.0,
    version: str = "6.4.2",
) -> str:
    """Text of a run with one ionic step for each energy, every one in the same geometry."""
    crystal = f"<crystal>{_rows('basis', cell)}</crystal>{_rows('positions', atoms)}"
    kinds = list(dict.fromkeys(species))
    types = "".join(
        f"<rc><c>{species.count(e)}</c><c>{e}</c><c>1.0</c><c>2.0</c><c>PAW_PBE {e} 13Apr2007</c></rc>"
        for e in kinds
    )
    tensor = "" if stress is None else _rows("stress", [[stress, 0, 0], [0, stress, 0], [0, 0, stress]])
    steps = "".join(
        f"<calculation>{f'<scstep>{_energy(e)}</scstep>' * 2}<structure>{crystal}</structure>"
        f"{_rows('forces', [[0.0, 0.0, force]] * len(species))}{tensor}{_energy(e)}"
        f'<dos><i name="efermi">{fermi}</i></dos></calculation>\n'
        for e in energies
    )
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling><generator><i name="version" type="string">{version}</i></generator>
<incar>{items({**INCAR, **(incar or {})})}</incar>
<kpoints><generation param="Gamma"><v type="int" name="divisions">{mesh}</v><v name="usershift">0 0 0</v>
</generation><varray name="kpointlist"><v>0 0 0</v></varray></kpoints>
<parameters>{items({**PARAMETERS, "NELECT": 2.0 * len(species), **(parameters or {})})}</parameters>
<atominfo><array name="atoms"><set>{"".join(f"<rc><c>{e}</c><c>1</c></rc>" for e in species)}</set></array>
<array name="atomtypes"><set>{types}</set></array></atominfo>
<structure name="initialpos">{crystal}</structure>
{steps}<structure name="finalpos">{crystal}</structure></modeling>
"""


def bulk(*energies: float | str, species: Sequence[str] = ("Mg", "Mg"), **settings: Any) -> str:
    """Two atoms of hcp Mg, or of another composition in the same places."""
    cell = [[A, 0, 0], [-A / 2, A * 3**0.5 / 2, 0], [0, 0, C]]
    atoms = [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]
    return vasprun(cell, atoms, species, "12 12 8", *(energies or (BULK_ENERGY,)), **settings)


def slab(*energies: float | str, species: Sequence[str] = ("Mg",) * 5, **settings: Any) -> str:
    """Five layers (0001) with a surface energy of `GAMMA` (eV/A^2)."""
    height = 2 * C + VACUUM
    cell = [[A, 0, 0], [-A / 2, A * 3**0.5 / 2, 0], [0, 0, height]]
    atoms = [
        [(1, 2)[i % 2] / 3, (2, 1)[i % 2] / 3, (VACUUM / 2 + i * C / 2) / height] for i in range(len(species))
    ]
    return vasprun(cell, atoms, species, "12 12 1", *(energies or (SLAB_ENERGY,)), **settings)


def write(folder: Path, text: str) -> Path:
    """Put a vasprun.xml into a new folder."""
    folder.mkdir(parents=True)
    (folder / "vasprun.xml").write_text(text)
    return folder
