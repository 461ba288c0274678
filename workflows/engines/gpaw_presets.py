"""Settings of the GPAW engine: presets, PAW setups, start moments."""

from __future__ import annotations

from dataclasses import dataclass, field

# Up to Rn, the elements that gpaw-data 1.2.1 has no PBE setup of.
ELEMENTS_WITHOUT_SETUP = frozenset({"Tc", "Po", "At"})
LAST_ATOMIC_NUMBER = 86

# The setups carry 4f in valence. A partly filled 4f shell at PBE level is wrong without a treatment of
# localisation, and its SCF seldom converges; empty (La) and full (Yb, Lu) shells are well behaved.
OPEN_4F = frozenset({"Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm"})

# Setups with the outer core p shell frozen: their valence electrons (the label) are s and d alone, which
# halves the bands and permits a lower cut-off. Only late transition metals, whose semicore lies deep, and
# Mg and Na. Early ones (V, Nb, Mo, Ta, W) need their semicore p states and keep the default setup.
SMALL_VALENCE_SETUPS = {
    "Mg": "2",
    "Na": "1",
    "Mn": "7",
    "Ni": "10",
    "Ru": "8",
    "Rh": "9",
    "Pd": "10",
    "Ag": "11",
    "Os": "8",
    "Ir": "9",
    "Pt": "10",
}

# Start moments per atom (Bohr magnetons) of elements whose compounds are treated spin-polarised: near the
# high-spin moments of the ferromagnetic metals, so that SCF can only lose moment, not miss it.
START_MOMENTS = {"Cr": 2.0, "Mn": 3.0, "Fe": 3.0, "Co": 2.0, "Ni": 1.0}

# Blocked Davidson, one correction a step. The default (PPCG) takes fewer but longer steps: 1.0 to 1.8 times
# the seconds for slabs of MgAg on a busy machine, with larger errors left in density and forces at the same
# criteria. None of it changes the converged result.
EIGENSOLVER = {"name": "davidson", "niter": 1}

# The semicore s and p of these converge slowly; two corrections a step suffice.
STUBBORN_EIGENSOLVER = {"name": "davidson", "niter": 2}
STUBBORN_ELEMENTS = frozenset({"Sc", "Y", "La", "Lu", "Yb", "Ti", "Zr", "Hf", "V", "Nb", "Ta"})

# Used once when SCF has not converged. None of it changes the converged result.
GENTLER_SCF = {
    "eigensolver": {"name": "davidson", "niter": 3},
    "mixer": {"backend": "pulay", "beta": 0.02, "nmaxold": 5, "weight": 100.0},
    "maxiter_factor": 2,
}


@dataclass(frozen=True)
class GPAWPreset:
    """A group of settings with a name.

    Attributes
    ----------
    cutoff
        Plane-wave cut-off (eV).
    k_density
        N_i = ceil(k_density |b_i|), 2 pi included (A), for slabs and cells computed as given.
    bulk_k_density
        The same for axial ratios and positions of a crystal and for the energy its relaxation ends with;
        `k_density` serves its equation of state. Denser, because stresses need it: for hcp Mg at 4 A c/a
        comes out as 1.665 and the energy 5 meV/atom off, at 6 A within 0.01 and 2 meV/atom of the limit.
    smearing_width
        Width of the Fermi-Dirac distribution (eV).
    force_tolerance
        Largest force left on a free atom (eV/A).
    convergence
        SCF criteria of GPAW: energy (eV per valence electron), density (electrons per valence electron),
        eigenstates (eV^2 per valence electron).
    setups
        PAW setup by element; every other element takes the default one.
    maxiter
        Largest number of SCF steps of one geometry.
    max_ionic_steps
        Largest number of geometries of one relaxation.
    """

    cutoff: float
    k_density: float
    bulk_k_density: float
    smearing_width: float
    force_tolerance: float
    convergence: dict[str, float]
    setups: dict[str, str] = field(default_factory=dict)
    maxiter: int = 200
    max_ionic_steps: int = 60


PRESETS = {
    # Minutes on two cores. SCF from scratch ends by the eigenstates criterion, whose 1e-5 changes no digit
    # shown; after atoms have moved it ends by the density's, which is the change in the last step. Where that
    # first fell below 1e-3, the work function of MgAg (110) was still 5 to 19 meV off; at 1e-4 at most 4 meV.
    "demo": GPAWPreset(
        cutoff=300.0,
        k_density=4.0,
        bulk_k_density=6.0,
        smearing_width=0.1,
        force_tolerance=0.05,
        convergence={"energy": 5e-5, "density": 1e-4, "eigenstates": 1e-5},
        setups=SMALL_VALENCE_SETUPS,
    ),
    # Cut-off and forces as in the published VASP calculations; valences as in the Materials Project's
    # potentials: no semicore p for Pd, Ag, Ir and Pt, the default setup for all others. The published SCF
    # criterion is 1e-4 eV per cell, which 1e-7 eV per electron keeps up to 1000 valence electrons.
    "production": GPAWPreset(
        cutoff=480.0,
        k_density=6.0,
        bulk_k_density=8.0,
        smearing_width=0.1,
        force_tolerance=0.02,
        convergence={"energy": 1e-7, "density": 1e-4, "eigenstates": 1e-6},
        setups={"Pd": "10", "Ag": "11", "Ir": "9", "Pt": "10"},
        maxiter=300,
        max_ionic_steps=120,
    ),
}
