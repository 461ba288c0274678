"""Every INCAR tag the VASP engine writes; reasons and sources are in docs/vasp.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.records import CalculationKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from workflows.engines.vasp_presets import VaspPreset

PATH_TAGS = frozenset(
    {
        "ALGO",
        "AMIN",
        "IBRION",
        "ICHARG",
        "ISTART",
        "LCHARG",
        "LMAXMIX",
        "LORBIT",
        "LWAVE",
        "NELM",
        "NELMIN",
        "NSW",
        "NWRITE",
        "POTIM",
    }
)
"""Tags that choose the way to a result or what is printed, not the converged result itself."""

PARALLEL_TAGS = ("KPAR", "NCORE", "NPAR", "NSIM", "LPLANE", "LSCALAPACK")
"""Tags a machine may set for itself: how the work is spread."""

MAY_CHANGE = PATH_TAGS | {"ISYM", "SYMPREC", "NBANDS", "EDIFF", "ISEARCH", "TIME", "NELMDL", "ENAUG"}
MAY_CHANGE |= {"AMIX", "BMIX", "AMIX_MAG", "BMIX_MAG", "IMIX", "SMASS", *PARALLEL_TAGS}
"""Tags a correction may change in a run without making its converged energy another one."""


def method_tags(kind: CalculationKind, preset: VaspPreset) -> dict[str, Any]:
    """Return the tags that decide what a calculation converges to, the crystal aside.

    Spin, the dipole correction and LMAXMIX follow from elements and cell; see `incar_tags`.

    Parameters
    ----------
    kind
        One of the four calculations.
    preset
        Cut-off, smearing and tolerances.

    Returns
    -------
    dict
        INCAR tags and their values.
    """
    relaxes = kind in (CalculationKind.BULK_RELAX, CalculationKind.SLAB_RELAX)
    tags: dict[str, Any] = {
        "GGA": "PE",
        "ENCUT": preset.cutoff,
        "PREC": "Accurate",
        "EDIFF": preset.relax_energy_tolerance if relaxes else preset.static_energy_tolerance,
        "ISMEAR": 0,
        "SIGMA": preset.smearing_width,
        "LREAL": False,
        "LASPH": True,
        "ADDGRID": False,
        "ISYM": 2,
        "SYMPREC": 1e-5,
        "LVTOT": False,
        "LVHAR": kind is CalculationKind.SLAB_STATIC,
    }
    if relaxes:
        tags |= {"ISIF": 3 if kind is CalculationKind.BULK_RELAX else 2, "EDIFFG": -preset.force_tolerance}
    return tags


def path_tags(kind: CalculationKind, preset: VaspPreset) -> dict[str, Any]:
    """Return the tags that lead there: algorithms, limits, what is written."""
    relaxes = kind in (CalculationKind.BULK_RELAX, CalculationKind.SLAB_RELAX)
    slab = kind in (CalculationKind.SLAB_RELAX, CalculationKind.SLAB_STATIC)
    tags: dict[str, Any] = {
        "ALGO": "Normal",
        "NELM": preset.maxiter,
        "NELMIN": 6 if relaxes else 4,
        "IBRION": 2 if relaxes else -1,
        "NSW": preset.max_ionic_steps if relaxes else 0,
        "LWAVE": relaxes,
        "LCHARG": relaxes,
        "LORBIT": 10,
        "NWRITE": 1,
    }
    if relaxes:
        tags["POTIM"] = 0.5
    if slab:
        tags["AMIN"] = 0.01
    return tags


def incar_tags(
    kind: CalculationKind,
    preset: VaspPreset,
    *,
    atomic_numbers: Collection[int],
    moments: Sequence[float] | None = None,
    dipole_centre: Sequence[float] | None = None,
    density_given: bool = False,
    orbitals_given: bool = False,
) -> dict[str, Any]:
    """Return the complete INCAR of a calculation.

    Parameters
    ----------
    kind
        One of the four calculations.
    preset
        Cut-off, smearing, tolerances and limits.
    atomic_numbers
        Of the elements in the cell.
    moments
        MAGMOM in the order of the POSCAR (Bohr magnetons); None for a calculation without spin.
    dipole_centre
        Centre of the slab in fractional coordinates if it needs a dipole correction, else None.
    density_given, orbitals_given
        Whether CHGCAR and WAVECAR of an earlier run lie in the folder.

    Returns
    -------
    dict
        INCAR tags and their values.
    """
    tags = method_tags(kind, preset) | path_tags(kind, preset)
    # the density of a restart is right only up to the mixed angular momentum
    tags["LMAXMIX"] = 6 if max(atomic_numbers) > 56 else 4 if max(atomic_numbers) > 20 else 2
    tags["ISTART"] = 1 if orbitals_given else 0
    tags["ICHARG"] = 1 if density_given else 0 if orbitals_given else 2
    tags |= {"ISPIN": 1} if moments is None else {"ISPIN": 2, "MAGMOM": list(moments)}
    if dipole_centre is not None:
        tags |= {"LDIPOL": True, "IDIPOL": 3, "DIPOL": [float(x) for x in dipole_centre]}
    return tags
