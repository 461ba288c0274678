"""Settings of ingested runs: their method, and where two runs differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stores.method import Method
from workflows.engines.vasp_potcars import POTCAR_LABELS

if TYPE_CHECKING:
    from workflows.engines.vasp_settings import VaspSettings
    from workflows.jobs.ingest_folders import FinishedRun

PRESET = "ingested"

COARSER = 0.75
"""A bulk or reference on a k mesh this much coarser than the slab's, as a share of density, does not fit."""

SMALL_MOMENT = 0.02
"""Total moment per atom (Bohr magnetons) below which spin polarisation changes nothing."""


def ingested_method(settings: VaspSettings) -> Method:
    """Return the method of runs with these settings.

    Meshes and force criteria were chosen by hand, run by run, and are no part of it (0 in the record; each
    calculation holds its own). Of the POTCARs the table names only those that differ from the usual choice,
    so that compounds of different elements share a fingerprint; each calculation holds its titles.
    """
    unusual = {
        element: label for element, label in settings.labels().items() if label != POTCAR_LABELS.get(element)
    }
    return Method(
        engine="vasp",
        preset=PRESET,
        functional=settings.functional,
        cutoff=settings.cutoff,
        k_density=0.0,
        smearing=settings.smearing,
        smearing_width=settings.smearing_width,
        setups={"default": "Materials Project", **unusual},
        force_tolerance=0.0,
        extra={
            "aspherical": settings.aspherical,
            "spin_orbit": settings.spin_orbit,
            "hubbard": dict(settings.hubbard),
        },
    )


def differences(slab: FinishedRun, other: FinishedRun) -> list[str]:
    """Say in which settings two runs differ so that their energies may not be subtracted.

    Compared are functional, cut-off, smearing, aspherical terms, spin-orbit coupling, spin polarisation where
    there is a moment, U and POTCAR of each shared element, and the density of k points.
    """
    ours, theirs = slab.settings, other.settings
    name = str(other.directory)
    pairs = {
        "functional": (ours.functional, theirs.functional),
        "cut-off": (f"{ours.cutoff:g} eV", f"{theirs.cutoff:g} eV"),
        "smearing": (_smearing(ours), _smearing(theirs)),
        "LASPH": (ours.aspherical, theirs.aspherical),
        "LSORBIT": (ours.spin_orbit, theirs.spin_orbit),
    }
    for element in sorted(set(ours.potcars) & set(theirs.potcars)):
        pairs[f"POTCAR of {element}"] = (ours.potcars[element], theirs.potcars[element])
        pairs[f"U of {element}"] = (ours.hubbard.get(element, 0.0), theirs.hubbard.get(element, 0.0))
    lines = [f"{what} of {name} is {b}, of the slab {a}" for what, (a, b) in pairs.items() if a != b]
    if ours.spin_polarized != theirs.spin_polarized and (_is_magnetic(slab) or _is_magnetic(other)):
        spin = "spin-polarised" if theirs.spin_polarized else "not spin-polarised"
        lines.append(f"{name} is {spin}, unlike the slab, and there is a moment")
    return lines + _mesh_difference(slab, other)


def _smearing(settings: VaspSettings) -> str:
    width = f" {settings.smearing_width:g} eV" if settings.smearing_width else ""
    return f"{settings.smearing}{width}"


def _is_magnetic(run: FinishedRun) -> bool:
    sites = run.output.site_magnetizations
    if sites:
        return max(map(abs, sites)) > SMALL_MOMENT
    return abs(run.output.total_magnetization or 0.0) / len(run.initial) > SMALL_MOMENT


def _mesh_difference(slab: FinishedRun, other: FinishedRun) -> list[str]:
    if slab.output.kpoints is None or other.output.kpoints is None:
        return []
    needed, there = _density(slab), _density(other)
    if there >= COARSER * needed:
        return []
    mesh = "x".join(map(str, other.output.kpoints))
    return [
        f"k mesh {mesh} of {other.directory} is coarser than the slab's: {there:.0f} against {needed:.0f} "
        "points per reciprocal length"
    ]


def _density(run: FinishedRun) -> float:
    """Smallest number of k points over the length of the reciprocal vector, 2 pi included (A)."""
    lengths = np.linalg.norm(run.final.lattice.reciprocal_lattice.matrix, axis=1)
    density = np.array(run.output.kpoints) / lengths
    return float(density[:2].min() if run.is_slab else density.min())
