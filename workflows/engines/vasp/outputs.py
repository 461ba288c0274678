"""From the files of a finished VASP run to the common output schema.

Works on the files of VASP 5.4 and 6, each compressed or not, also under the names that custodian and atomate2
give them. Whatever is wrong with the files becomes a status with one line of reason, never an exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError, pluralize
from stores.records import CalculationOutput, CalculationStatus, PlanarPotential
from stores.structures.reading import MAX_EDGE, MAX_FRACTION
from workflows.engines.vasp.convergence import max_force, unconverged
from workflows.engines.vasp.files import find_file
from workflows.engines.vasp.locpot import read_locpot
from workflows.engines.vasp.outcar import OutcarData, read_outcar, read_total_magnetization
from workflows.engines.vasp.tags import other_kind, without_total_energy
from workflows.engines.vasp.vasprun import VasprunData, read_vasprun

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pymatgen.core import Structure

    from workflows.engines.vasp.vasprun import Geometry

SMALLEST_GAP = 0.1
"""A gap smaller than this (eV) in the sampled bands is taken as that of a metal."""

SAME_FERMI = 1e-3
"""vasprun.xml and OUTCAR agree on E_F within this (eV), the precision of OUTCAR."""

SAME_ENERGY = 1e-3
"""Free energies of vasprun.xml and OUTCAR farther apart than this (eV) are those of two runs."""

SAME_CELL = 2e-3
"""Lattice vectors of LOCPOT and vasprun.xml farther apart than this (A) are those of two runs."""

SMALLEST_CELL = 1e-3
"""A cell with a smaller volume (A^3) is none."""

NEUTRAL = 1e-3
"""Largest charge (elementary charges) that is rounding."""


def read_output(
    directory: Path,
    *,
    slab: bool,
    free: Sequence[bool] | None = None,
    axis: int = 2,
) -> CalculationOutput:
    """Read a finished VASP run.

    Parameters
    ----------
    directory
        Holds vasprun.xml, and as far as there are OUTCAR, OSZICAR, LOCPOT.
    slab
        Whether to read the planar potential (LOCPOT with LVHAR).
    free
        Whether each atom was free, for the largest force; what selective dynamics says if None.
    axis
        Number of the lattice vector along the surface normal (2 for c).

    Returns
    -------
    CalculationOutput
        status "failed" if the run cannot be used, with what is known of it (a last geometry to go on from);
        "unconverged" with all values if a loop ended at its limit of steps. A missing LOCPOT leaves the
        status as it is: ``details["locpot"]`` says why there is no potential. ``details`` also holds
        where the Fermi energy comes from, how many k points were used, and whether their mesh is centred at
        Gamma.
    """
    path = find_file(directory, "vasprun.xml")
    if path is None:
        return _failed(f"{directory}: no vasprun.xml; copy it there or run the calculation again", directory)
    try:
        return output_from(read_vasprun(path), path, slab=slab, free=free, axis=axis)
    except InputError as error:
        return _failed(str(error), directory)


def _failed(reason: str, directory: Path, **known: Any) -> CalculationOutput:
    return CalculationOutput(
        status=CalculationStatus.FAILED, reason=" ".join(reason.split()), directory=str(directory), **known
    )


def output_from(
    data: VasprunData, path: Path, *, slab: bool, free: Sequence[bool] | None = None, axis: int = 2
) -> CalculationOutput:
    """As `read_output`, from a vasprun.xml that has been read and its path.

    Raises
    ------
    InputError
        If its atoms make no structure.
    """
    directory = path.parent
    outcar, notes = _outcar(directory, path)
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
    energy = data.steps[-1].energy
    fermi = _fermi_energy(data, outcar)
    potential = None
    if slab:
        potential, remark = _potential(data, path, axis)
        if remark:
            notes["locpot"] = remark
    total, sites = _moments(directory, path, data, outcar)
    return CalculationOutput(
        status=CalculationStatus.UNCONVERGED if reasons else CalculationStatus.OK,
        reason="; ".join(reasons),
        energy=energy,
        fermi_energy=fermi.energy,
        vbm=fermi.vbm,
        cbm=fermi.cbm,
        max_force=max_force(data, free),
        total_magnetization=total,
        site_magnetizations=sites,
        potential=potential,
        wall_time=outcar.elapsed if outcar else None,
        directory=str(directory),
        details={
            "fermi_energy_from": fermi.source,
            "gamma_centred": is_gamma_centred(data),
            "n_kpoints": data.n_kpoints,
            **({"fermi_energy": f"{path}: {fermi.problem}"} if fermi.problem else {}),
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
    if unknown or not (np.isfinite(geometry.positions).all() and np.isfinite(geometry.lattice).all()):
        what = f"names {', '.join(unknown)}, no element" if unknown else "holds a position that is no number"
        raise InputError(f"vasprun.xml {what}; run the calculation again")
    farthest, longest = np.abs(geometry.positions).max(), np.linalg.norm(geometry.lattice, axis=1).max()
    if farthest > MAX_FRACTION or longest > MAX_EDGE:
        what = f"cell vector of {longest:.3g} A" if longest > MAX_EDGE else f"coordinate {farthest:.3g}"
        raise InputError(f"vasprun.xml holds a {what}; copy it again or run the calculation again")
    if abs(np.linalg.det(geometry.lattice)) < SMALLEST_CELL:
        raise InputError(
            "vasprun.xml holds a cell without volume; copy it again or run the calculation again"
        )
    return Structure(Lattice(geometry.lattice), list(data.species), geometry.positions)


def is_gamma_centred(data: VasprunData) -> bool | None:
    """Tell whether the k mesh holds Gamma; None for an explicit list of points."""
    if _mesh(data) is None:
        return None
    mesh = np.array(_mesh(data))
    # Monkhorst and Pack's points lie half a step off Gamma along each axis with an even number
    half = 0.5 * (mesh % 2 == 0) if data.kpoint_style.lower().startswith("m") else np.zeros(3)
    offset = half + np.array(data.kpoint_shift)
    return bool(np.abs(offset - np.rint(offset)).max() < 1e-6)


def _mesh(data: VasprunData) -> tuple[int, int, int] | None:
    if data.kpoint_divisions is not None or data.kpoint_length is None or data.initial is None:
        return data.kpoint_divisions
    # VASP's "Auto" mesh: N_i = max(1, nint(R |b_i|)), Gamma-centred (VASP wiki, KPOINTS)
    edges = np.linalg.norm(np.linalg.inv(data.initial.lattice), axis=0)
    n = np.maximum(1, np.floor(data.kpoint_length * edges + 0.5)).astype(int)
    return int(n[0]), int(n[1]), int(n[2])


def _outcar(directory: Path, vasprun: Path) -> tuple[OutcarData | None, dict[str, Any]]:
    path = find_file(directory, "OUTCAR", like=vasprun)
    if path is None:
        return None, {}
    try:
        return read_outcar(path), {}
    except InputError as error:  # vasprun.xml alone decides then
        return None, {"outcar": str(error)}


def _unusable(data: VasprunData, outcar: OutcarData | None, path: Path) -> str:
    """Say in one line why a complete file gives no result; empty if it does."""
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
    return "" if outcar is None else _contradiction(data, outcar, path)


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
    for name, (there, ours) in named.items():
        known = [energy for energy in ours if energy is not None and np.isfinite(energy)]
        if there is None or not known or min(abs(there - energy) for energy in known) <= SAME_ENERGY:
            continue
        return (
            f"{path} gives {known[-1]:.6f} eV as {name}, OUTCAR beside it {there:.6f} eV: they belong to two "
            "runs; keep the files of one run"
        )
    return ""


def _moments(
    directory: Path, vasprun: Path, data: VasprunData, outcar: OutcarData | None
) -> tuple[float | None, list[float] | None]:
    """Total moment and that of each atom (Bohr magnetons)."""
    if _integer(data.setting("ISPIN"), 1) != 2:
        return None, None
    total = outcar.total_magnetization if outcar is not None else None
    sites = outcar.site_magnetizations if outcar is not None else []
    oszicar = find_file(directory, "OSZICAR", like=vasprun) if total is None else None
    if oszicar is not None:
        try:
            total = read_total_magnetization(oszicar)
        except InputError:
            total = None
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


def _fermi_energy(data: VasprunData, outcar: OutcarData | None) -> _Fermi:
    """Choose the Fermi energy.

    For metals it is what VASP wrote; where vasprun.xml and OUTCAR differ, OUTCAR's, which is that of the
    last electronic loop. In a gapped system VASP may put it at a band edge or, by rounding, inside a band
    (VASP forum, topic 17981): if it lies outside the gap, the middle of the gap is taken.
    """
    energy, source = data.fermi_energy, "vasprun.xml"
    other = outcar.fermi_energy if outcar is not None else None
    if other is not None and (energy is None or abs(energy - other) > SAME_FERMI):
        energy, source = other, "OUTCAR"
    edges = _band_edges(data)
    if edges is None and energy is None:
        words = {"vasprun.xml": data.unreadable, "OUTCAR": outcar.unreadable if outcar is not None else {}}
        bad = [
            f"{file}{_instead(found['Fermi energy'])}"
            for file, found in words.items()
            if "Fermi energy" in found
        ]
        problem = f"the Fermi energy is no number in {' and '.join(bad)}" if bad else ""
        return _Fermi(problem=problem and f"{problem}; run the static calculation again")
    if edges is None:
        return _Fermi(energy, source)
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
    """Planar average of the LOCPOT and a remark on it, or None and the reason."""
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


def _integer(value: Any, default: int) -> int:
    return value if isinstance(value, int) else default
