"""Settings of the VASP engine that have a name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VaspPreset:
    """A group of settings with a name.

    Attributes
    ----------
    cutoff
        ENCUT (eV).
    k_density
        N_i = ceil(k_density |b_i|), 2 pi included (A), for slabs and cells computed as given.
    bulk_k_density
        The same for relaxing a crystal and for the energy its relaxation ends with.
    smearing_width
        SIGMA of Gaussian smearing (eV).
    force_tolerance
        -EDIFFG, the largest force left on a free atom (eV/A).
    relax_energy_tolerance, static_energy_tolerance
        EDIFF of geometry steps and of single points (eV per cell).
    maxiter
        NELM, the largest number of SCF steps of one geometry.
    max_ionic_steps
        NSW, the largest number of geometries of one VASP run.
    """

    cutoff: float
    k_density: float
    bulk_k_density: float
    smearing_width: float
    force_tolerance: float
    relax_energy_tolerance: float
    static_energy_tolerance: float
    maxiter: int
    max_ionic_steps: int


PRESETS = {
    # Cut-off and forces of the published calculations, their 1e-4 eV tightened because forces of 0.02 eV/A
    # need it. 50/a points along a, pymatgen's mesh for slabs (MVLSlabSet), is a density of 50/(2 pi) = 8 A.
    "production": VaspPreset(
        cutoff=480.0,
        k_density=8.0,
        bulk_k_density=8.0,
        smearing_width=0.05,
        force_tolerance=0.02,
        relax_energy_tolerance=1e-5,
        static_energy_tolerance=1e-6,
        maxiter=200,
        max_ionic_steps=150,
    ),
    # About a tenth of the cost: half the points in the plane, wider smearing, looser forces. The cut-off is
    # still above the ENMAX of Mg_pv (404 eV).
    "demo": VaspPreset(
        cutoff=420.0,
        k_density=4.0,
        bulk_k_density=5.0,
        smearing_width=0.1,
        force_tolerance=0.05,
        relax_energy_tolerance=1e-4,
        static_energy_tolerance=1e-5,
        maxiter=120,
        max_ionic_steps=60,
    ),
}
