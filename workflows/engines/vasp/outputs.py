"""From the files of a finished VASP run to the common output schema.

Reads VASP 5.4 and 6, each file compressed or not, also under the names that custodian and atomate2 give them.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError, pluralize
from stores.records import CalculationOutput, CalculationStatus, PlanarPotential
from stores.structures.reading import MAX_EDGE, MAX_FRACTION
from workflows.engines.vasp.files import find_file
from workflows.engines.vasp.locpot import read_locpot
from workflows.engines.vasp.outcar import (
    OutcarData,
    max_force,
    read_outcar,
    read_total_magnetization,
    unconverged,
)
from workflows.engines.vasp.vasprun import VasprunData, read_vasprun

if TYPE_CHECKING:
    from pathlib import Path

    from pymatgen.core import Structure

    from workflows.engines.vasp.vasprun import Geometry

SMALLEST_GAP = 0.1  # a gap smaller than this (eV) in the sampled bands is taken as that of a metal
SAME_FERMI = 1e-3  # vasprun.xml and OUTCAR agree on E_F within this (eV), the precision of OUTCAR

SAME_ENERGY = 1e-3
"""Free energies of vasprun.xml and OUTCAR farther apart than this (eV) are those of two runs."""

SAME_CELL = 2e-3
"""Lattice vectors of LOCPOT and vasprun.xml farther apart than this (A) are those of two runs."""

SMALLEST_CELL = 1e-3  # a cell with a smaller volume (A^3) is none
NEUTRAL = 1e-3  # largest charge (elementary charges) that is rounding

MOLECULAR_DYNAMICS = 0
RELAXATIONS = (1, 2, 3)  # values of IBRION

FIXED_DENSITY = 10
"""From this value of ICHARG on the density is not made self-consistent, and the energy means nothing."""

_SELF_CONSISTENT = re.compile(r"n(?!o[nt])|v|f|a(?!cfdt)|c(?!hi)|d", re.IGNORECASE)
"""Normal, VeryFast, Fast, All, Conjugate, Damped, of which VASP reads the first letters only."""

_FIXED = {2: "None", 3: "Eigenval", 4: "Subrot", 90: "Exact"}
"""Values of IALGO that leave the density or the orbitals as they were, and the names of them in ALGO."""

_POTENTIALS = ("MBJ", "LMBJ")
_LIBXC_POTENTIALS = {
    "160": "GGA_X_LB", "182": "GGA_X_LBM", "207": "MGGA_X_BJ06", "208": "MGGA_X_TB09", "209": "MGGA_X_RPP09",
}  # fmt: skip
"""Functionals given as a potential only (VASP wiki, METAGGA; libxc: functionals without an energy)."""


def read_output(directory: Path, *, slab: bool) -> CalculationOutput:
    """Read a finished VASP run; whatever is wrong with its files becomes a status with one line of reason.

    Parameters
    ----------
    directory
        Holds vasprun.xml, and as far as there are OUTCAR, OSZICAR, LOCPOT.
    slab
        Whether to read the planar potential (LOCPOT with LVHAR) along c.

    Returns
    -------
    CalculationOutput
        status "failed" if the run cannot be used, with what is known of it (such as its last geometry);
        "unconverged" with all values if a loop ended at its limit of steps. A missing LOCPOT keeps the
        status: ``details["locpot"]`` names the reason. ``details`` also holds the source of the Fermi
        energy, the number of k points, and whether their mesh is centred at Gamma.
    """
    path = find_file(directory, "vasprun.xml")
    if path is None:
        return _failed(f"{directory}: no vasprun.xml; copy it there or run the calculation again", directory)
    try:
        return output_from(read_vasprun(path), path, slab=slab)
    except InputError as error:
        return _failed(str(error), directory)


def _failed(reason: str, directory: Path, **known: Any) -> CalculationOutput:
    return CalculationOutput(
        status=CalculationStatus.FAILED, reason=" ".join(reason.split()), directory=str(directory), **known
    )


def output_from(data: VasprunData, path: Path, *, slab: bool, axis: int = 2) -> CalculationOutput:
    """Read a run whose vasprun.xml has been read; `axis` is the lattice vector along the normal (2 for c).

    Raises
    ------
    InputError
        If its atoms make no structure.
    """
    directory = path.parent
    notes: dict[str, Any] = {}
    outcar = OutcarData()
    if (outcar_path := find_file(directory, "OUTCAR", like=path)) is not None:
        try:
            outcar = read_outcar(outcar_path)
        except InputError as error:  # vasprun.xml alone decides then
            notes["outcar"] = str(error)
    known: dict[str, Any] = {
        "structure": None if data.final is None else structure_of(data, data.final),
        "setups": dict(data.potcars),
        "engine_version": data.version,
        "scf_steps": sum(step.scf_steps for step in data.steps),
        "ionic_steps": len(data.steps),
        "kpoints": _mesh(data),
    }
    if not data.complete:
        n = len(data.steps)
        return _failed(
            f"{path} is cut off after {pluralize(n, 'complete ionic step')} (out of time, killed or "
            "disk full); run it again",
            directory,
            **known,
        )
    problem = _unusable(data, outcar, path)
    if problem:
        return _failed(problem, directory, **known)
    reasons = unconverged(data, outcar)
    fermi = _fermi_energy(data, outcar)
    if fermi.problem:
        notes["fermi_energy"] = f"{path}: {fermi.problem}"
    potential = None
    if slab:
        potential, remark = _potential(data, path, axis)
        if remark:
            notes["locpot"] = remark
    total, sites = _moments(path, data, outcar)
    return CalculationOutput(
        status=CalculationStatus.UNCONVERGED if reasons else CalculationStatus.OK,
        reason="; ".join(reasons),
        energy=data.steps[-1].energy,
        fermi_energy=fermi.energy,
        vbm=fermi.vbm,
        cbm=fermi.cbm,
        max_force=max_force(data),
        total_magnetization=total,
        site_magnetizations=sites,
        potential=potential,
        wall_time=outcar.elapsed,
        directory=str(directory),
        details={
            "fermi_energy_from": fermi.source,
            "gamma_centred": is_gamma_centred(data),
            "n_kpoints": data.n_kpoints,
            **notes,
        },
        **known,
    )


def structure_of(data: VasprunData, geometry: Geometry) -> Structure:
    """Return a geometry as a pymatgen structure (A).

    Raises
    ------
    InputError
        If atoms and coordinates do not match, a number could not be read, or the cell has no volume.
    """
    from pymatgen.core import Element, Lattice, Structure

    if len(data.species) != len(geometry.positions) or not data.species:
        raise InputError(
            f"vasprun.xml names {len(data.species)} atoms and gives {len(geometry.positions)} positions; "
            "run the calculation again"
        )
    unknown = sorted({s for s in data.species if not Element.is_valid_symbol(s)})
    farthest, longest = np.abs(geometry.positions).max(), np.linalg.norm(geometry.lattice, axis=1).max()
    problem = ""
    if unknown:
        problem = f"names {', '.join(unknown)}, no element"
    elif not (np.isfinite(geometry.positions).all() and np.isfinite(geometry.lattice).all()):
        problem = "holds a position that is no number"
    elif longest > MAX_EDGE:
        problem = f"holds a cell vector of {longest:.3g} A"
    elif farthest > MAX_FRACTION:
        problem = f"holds a coordinate {farthest:.3g}"
    elif abs(np.linalg.det(geometry.lattice)) < SMALLEST_CELL:
        problem = "holds a cell without volume"
    if problem:
        raise InputError(f"vasprun.xml {problem}; copy it again or run the calculation again")
    return Structure(Lattice(geometry.lattice), list(data.species), geometry.positions)


def is_gamma_centred(data: VasprunData) -> bool | None:
    """Return whether the k mesh holds Gamma; None for an explicit list of points."""
    mesh = _mesh(data)
    if mesh is None:
        return None
    offset = np.array(data.kpoint_shift)
    if data.kpoint_style.lower().startswith("m"):
        # Monkhorst and Pack's points lie half a step off Gamma along each axis with an even number
        offset = offset + 0.5 * (np.array(mesh) % 2 == 0)
    return bool(np.abs(offset - np.rint(offset)).max() < 1e-6)


def _mesh(data: VasprunData) -> tuple[int, int, int] | None:
    if data.kpoint_divisions is not None or data.kpoint_length is None or data.initial is None:
        return data.kpoint_divisions
    # VASP's "Auto" mesh: N_i = max(1, nint(R |b_i|)), Gamma-centred (VASP wiki, KPOINTS)
    edges = np.linalg.norm(np.linalg.inv(data.initial.lattice), axis=0)
    n = np.maximum(1, np.floor(data.kpoint_length * edges + 0.5)).astype(int)
    return int(n[0]), int(n[1]), int(n[2])


def _unusable(data: VasprunData, outcar: OutcarData, path: Path) -> str:
    """Return in one line why a complete file gives no result; empty if it does."""
    if not data.steps or data.final is None:
        return f"{path}: holds no ionic step; run the calculation again"
    if kind := other_kind(data):
        return f"{path}: {kind}, no static run and no relaxation; give the folder of one"
    if potential := without_total_energy(data):
        return (
            f"{path}: {potential} gives no total energy, for it is a potential without a functional; run it "
            "with a functional"
        )
    if abs(charge := data.charge) > NEUTRAL:
        return (
            f"{path}: the cell has a charge of {charge:+g} e (NELECT), so that neither its energy nor its "
            "vacuum level compares with others; run it neutral"
        )
    step = data.steps[-1]
    if step.energy is None or not np.isfinite(step.energy):
        written = _instead(data.unreadable.get("energy", ""))
        return f"{path}: the last ionic step has no energy{written}; run the calculation again"
    if written := _instead(data.unreadable.get("forces", "")):
        return (
            f"{path}: a force of the last ionic step is no number{written}; check its geometry, run it again"
        )
    return _contradiction(data, outcar, path)


def _instead(word: str) -> str:
    """Name what stands in place of a number; stars fill a field that was too narrow for it."""
    return word and f" ({word} was written{', too large for its field' if '*' in word else ''})"


def _contradiction(data: VasprunData, outcar: OutcarData, path: Path) -> str:
    """Compare the energies of vasprun.xml and OUTCAR; return the difference, empty if they agree."""
    if written := _instead(outcar.unreadable.get("energy", "")):
        return f"{path.parent}: TOTEN of OUTCAR is no number{written}; run the calculation again"
    # an OUTCAR that was cut off may end at an earlier step
    steps = data.steps[-1:] if outcar.complete else data.steps
    named = {
        "free energy TOTEN": (outcar.free_energy, [step.free_energy for step in steps]),
        "energy(sigma->0)": (outcar.energy, [step.energy for step in steps]),
    }
    for name, (found, energies) in named.items():
        known = [energy for energy in energies if energy is not None and np.isfinite(energy)]
        if found is not None and known and min(abs(found - energy) for energy in known) > SAME_ENERGY:
            return (
                f"{path} gives {known[-1]:.6f} eV as {name}, OUTCAR beside it {found:.6f} eV: they belong to "
                "two runs; keep the files of one run"
            )
    return ""


def _moments(vasprun: Path, data: VasprunData, outcar: OutcarData) -> tuple[float | None, list[float] | None]:
    """Return the total moment and that of each atom (Bohr magnetons)."""
    if data.integer("ISPIN", 1) != 2:
        return None, None
    total, sites = outcar.total_magnetization, outcar.site_magnetizations
    oszicar = find_file(vasprun.parent, "OSZICAR", like=vasprun) if total is None else None
    if oszicar is not None:
        with suppress(InputError):
            total = read_total_magnetization(oszicar)
    usable = len(sites) == len(data.species) and np.isfinite(sites).all()
    return total, list(sites) if usable else None


@dataclass(frozen=True)
class _Fermi:
    """Fermi energy with its source or why it is missing, and band edges of a gapped system (eV)."""

    energy: float | None = None
    source: str = ""
    problem: str = ""
    vbm: float | None = None
    cbm: float | None = None


def _fermi_energy(data: VasprunData, outcar: OutcarData) -> _Fermi:
    """Choose the Fermi energy."""
    # for metals it is what VASP wrote; where vasprun.xml and OUTCAR differ, OUTCAR's, which is that of the
    # last electronic loop. In a gapped system VASP may put it at a band edge or, by rounding, inside a band
    # (VASP forum, topic 17981): if it lies outside the gap, the middle of the gap is taken.
    energy, source = data.fermi_energy, "vasprun.xml"
    other = outcar.fermi_energy
    if other is not None and (energy is None or abs(energy - other) > SAME_FERMI):
        energy, source = other, "OUTCAR"
    edges = _band_edges(data)
    if edges is None and energy is not None:
        return _Fermi(energy, source)
    if edges is None:
        files = {"vasprun.xml": data.unreadable, "OUTCAR": outcar.unreadable}
        words = {name: found.get("Fermi energy") for name, found in files.items()}
        bad = [f"{name}{_instead(word)}" for name, word in words.items() if word]
        problem = f"the Fermi energy is no number in {' and '.join(bad)}; run the static calculation again"
        return _Fermi(problem=problem if bad else "")
    vbm, cbm = edges
    if energy is None or not vbm <= energy <= cbm:
        energy, source = (vbm + cbm) / 2, "middle of the gap"
    return _Fermi(energy, source, "", vbm, cbm)


def _band_edges(data: VasprunData) -> tuple[float, float] | None:
    """Return VBM and CBM (eV) if every k point has the same number of filled bands and none in between."""
    if not data.eigenvalues:
        return None
    edges = []
    for energies, filling in zip(data.eigenvalues, data.occupations, strict=True):
        if not np.isfinite(energies).all():
            return None
        filled = filling > 0.5
        counts = filled.sum(axis=1)
        if (counts != counts[0]).any() or counts[0] == energies.shape[1]:
            return None
        edges.append((energies[filled].max(initial=-np.inf), energies[~filled].min()))
    vbm, cbm = max(low for low, _ in edges), min(high for _, high in edges)
    return (float(vbm), float(cbm)) if np.isfinite(vbm) and cbm - vbm > SMALLEST_GAP else None


def _potential(data: VasprunData, vasprun: Path, axis: int) -> tuple[PlanarPotential | None, str]:
    """Return the planar average of the LOCPOT and a remark on it, or None and the reason."""
    directory = vasprun.parent
    again = "set LVHAR = .TRUE. and run the static calculation again"
    path = find_file(directory, "LOCPOT", like=vasprun)
    if path is None:
        return None, f"{directory}: no LOCPOT; {again}"
    hartree, total = (data.setting(name) for name in ("LVHAR", "LVTOT"))
    if hartree is False and total is False:
        return None, f"{path}: belongs to another run, for this one wrote none (LVHAR = LVTOT = F); {again}"
    try:
        average = read_locpot(path, axis)
    except InputError as error:
        return None, str(error)
    if data.final is not None and not np.allclose(average.lattice, data.final.lattice, atol=SAME_CELL):
        return None, f"{path}: has another cell than vasprun.xml and so belongs to another run; {again}"
    remark = ""
    if total and not hartree:
        remark = (
            f"{path}: written with LVTOT, so that it holds exchange and correlation, which reach far into "
            f"the vacuum; {again}"
        )
    return PlanarPotential(z=average.z.tolist(), potential=average.potential.tolist()), remark


def other_kind(data: VasprunData) -> str:
    """Name the kind of a run that is neither static nor a relaxation; empty if it is one of these."""
    if force_field := _force_field(data):
        return f"energies of a machine-learned force field ({force_field})"
    if (icharg := data.integer("ICHARG", 0)) >= FIXED_DENSITY:
        return f"bands on a fixed density (ICHARG = {icharg})"
    if data.most_ionic_steps > 1 and data.ibrion not in RELAXATIONS:
        return "molecular dynamics" if data.ibrion == MOLECULAR_DYNAMICS else f"IBRION = {data.ibrion}"
    return _algorithm(data)


def without_total_energy(data: VasprunData) -> str:
    """Name the setting of a method that has a potential but no total energy; empty if it has one."""
    for values in (data.incar, data.parameters):
        meta = _word(values.get("METAGGA"))
        if meta in _POTENTIALS:
            return f"METAGGA = {meta}"
        for tag in ("LIBXC1", "LIBXC2"):
            name = _word(values.get(tag))
            if name in _LIBXC_POTENTIALS or name in _LIBXC_POTENTIALS.values():
                return f"{tag} = {name}"
    return ""


def _force_field(data: VasprunData) -> str:
    """Return the tag that switches a force field on, in any mode: any of its energies may be a prediction."""
    for values in (data.incar, data.parameters):
        for tag in ("ML_LMLFF", "ML_FF_LMLFF"):
            if _word(values.get(tag)).strip(".")[:1] in {"T", "1"}:
                return f"{tag} = T"
    mode = _word(data.setting("ML_MODE"))
    return f"ML_MODE = {mode}" if mode and "ML_LMLFF" not in data.incar else ""


def _algorithm(data: VasprunData) -> str:
    """Name the algorithm where it does not end in the self-consistent ground state."""
    algo = _word(data.incar.get("ALGO", data.parameters.get("ALGO"))).lower()
    if algo and not _SELF_CONSISTENT.match(algo):
        return f"no self-consistent density functional calculation (ALGO = {algo})"
    ialgo = data.integer("IALGO", 38)
    if ialgo in _FIXED:
        return f"no self-consistent calculation (IALGO = {ialgo}, ALGO = {_FIXED[ialgo]})"
    return ""


def _word(value: Any) -> str:
    return "" if value is None else str(value).strip().upper()
