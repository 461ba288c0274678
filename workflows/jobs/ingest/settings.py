"""Settings in which two ingested runs differ so that their energies may not be subtracted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workflows.engines.vasp.settings import OF_COMPOSITION

if TYPE_CHECKING:
    from workflows.engines.vasp.settings import VaspSettings
    from workflows.jobs.ingest.runs import FinishedRun

COARSER = 0.75
"""A bulk or reference on a k mesh this much coarser than the slab's, as a share of density, does not fit.

Nor does one on an FFT grid coarser or finer by it: grids of one PREC differ by less, as not every number of
points has a fast transform."""

MOST_OPERATIONS = 48  # order of the largest point group of a crystal: a k point stands for this many at most
SMALL_MOMENT = 0.02  # total moment per atom (Bohr magnetons) below which spin polarisation changes nothing


def differences(slab: FinishedRun, other: FinishedRun) -> list[str]:
    """Return the settings in which two runs differ so that their energies may not be subtracted.

    Compared are functional, cut-off, smearing, POTCAR and U of each shared element, spin polarisation where
    there is a moment, the density of k points, the spacing of the FFT grid, and every tag besides those that
    are known not to change energies (`workflows.engines.vasp.settings.NO_EFFECT`).
    """
    ours, theirs = slab.settings, other.settings
    name = str(other.directory)
    by = sorted(
        tag for tag, value in ours.tags.functional.items() if value != theirs.tags.functional.get(tag)
    )
    pairs = {
        f"functional ({', '.join(by) or 'of the POTCARs'})": (ours.functional, theirs.functional),
        "cut-off ENCUT": (f"{ours.cutoff:g} eV", f"{theirs.cutoff:g} eV"),
        "smearing (ISMEAR, SIGMA)": (_smearing(ours), _smearing(theirs)),
    }
    for element in sorted(set(ours.potcars) & set(theirs.potcars)):
        pairs[f"POTCAR of {element}"] = (ours.potcars[element], theirs.potcars[element])
    lines = [f"{what} of {name} is {b}, of the slab {a}" for what, (a, b) in pairs.items() if a != b]
    lines += [f"{what} of {name} is {b}, of the slab {a}" for what, a, b in _tag_differences(ours, theirs)]
    if ours.spin_polarized != theirs.spin_polarized and (_is_magnetic(slab) or _is_magnetic(other)):
        spin = "spin-polarised" if theirs.spin_polarized else "not spin-polarised"
        lines.append(f"{name} is {spin} (ISPIN), unlike the slab, and a moment cannot be ruled out")
    return lines + _grid_difference(slab, other) + _mesh_difference(slab, other)


def _tag_differences(ours: VaspSettings, theirs: VaspSettings) -> list[tuple[str, str, str]]:
    """Name of each tag that differs, and both values as text."""
    shared = sorted(set(ours.potcars) & set(theirs.potcars))
    same_elements = set(ours.potcars) == set(theirs.potcars)
    found: list[tuple[str, Any, Any]] = []
    for name in sorted({*ours.tags.values, *theirs.tags.values}):
        if name in OF_COMPOSITION and not same_elements:
            continue
        one, other = (s.tags.values.get(name, s.tags.defaults.get(name)) for s in (ours, theirs))
        if isinstance(one or other, dict) and isinstance(other or one, dict):
            found += [(f"{name} of {e}", (one or {}).get(e), (other or {}).get(e)) for e in shared]
        elif not _is_of_version(name, ours, theirs):
            found.append((name, one, other))
    return [(name, _written(one), _written(other)) for name, one, other in found if one != other]


def _is_of_version(name: str, ours: VaspSettings, theirs: VaspSettings) -> bool:
    """Whether a tag is known to one VASP only, which chose its value by itself."""
    without = [s for s in (ours, theirs) if name not in s.tags.values]
    given = name in ours.tags.given | theirs.tags.given
    unknown = name not in ours.tags.defaults and name not in theirs.tags.defaults
    return bool(without) and unknown and not given and ours.version != theirs.version


def _written(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, tuple):
        return " ".join(_written(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _smearing(settings: VaspSettings) -> str:
    width = f" {settings.smearing_width:g} eV" if settings.smearing_width else ""
    return f"{settings.smearing}{width}"


def _is_magnetic(run: FinishedRun) -> bool:
    """Whether a run has a moment, or may have one that neither OUTCAR nor OSZICAR names."""
    sites, total = run.output.site_magnetizations, run.output.total_magnetization
    if sites:
        return max(map(abs, sites)) > SMALL_MOMENT
    if total is None:
        return run.settings.spin_polarized
    return abs(total) / len(run.initial) > SMALL_MOMENT


def _grid_difference(slab: FinishedRun, other: FinishedRun) -> list[str]:
    ours, theirs = slab.settings.grid_spacing, other.settings.grid_spacing
    if ours is None or theirs is None or min(ours, theirs) >= COARSER * max(ours, theirs):
        return []
    return [
        f"FFT grid of {other.directory} (NGX, NGY, NGZ) has a spacing of {theirs:.3f} A, that of the slab "
        f"{ours:.3f} A"
    ]


def _mesh_difference(slab: FinishedRun, other: FinishedRun) -> list[str]:
    if slab.output.kpoints is None:
        return []
    needed = _density(slab)
    if other.output.kpoints is None:
        return _list_difference(needed, other)
    there = _density(other)
    if there >= COARSER * needed:
        return []
    mesh = "x".join(map(str, other.output.kpoints))
    return [
        f"k mesh {mesh} of {other.directory} is coarser than the slab's: {there:.0f} against {needed:.0f} "
        "points per reciprocal length"
    ]


def _list_difference(needed: float, other: FinishedRun) -> list[str]:
    """Report an explicit list of k points too short for the density, even with the highest symmetry."""
    n = int(other.output.details.get("n_kpoints", 0))
    cell = other.final.lattice.reciprocal_lattice.volume
    if MOST_OPERATIONS * n >= (COARSER * needed) ** 3 * cell:
        return []
    return [f"{n} k points listed for {other.directory} are too few for the slab's density of {needed:.0f}"]


def _density(run: FinishedRun) -> float:
    """Smallest number of k points over the length of the reciprocal vector, 2 pi included (A)."""
    lengths = np.linalg.norm(run.final.lattice.reciprocal_lattice.matrix, axis=1)
    density = np.array(run.output.kpoints) / lengths
    return float(density[:2].min() if run.is_slab else density.min())
