"""Settings of the GPAW engine: presets, start moments, and PAW setups, found without importing GPAW."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.paths import home_folder
from stores.standard_setups import OLD_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    "Mg": "2", "Na": "1", "Mn": "7", "Ni": "10", "Ru": "8", "Rh": "9", "Pd": "10", "Ag": "11", "Os": "8",
    "Ir": "9", "Pt": "10",
}  # fmt: skip

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

# GPAW takes at most as many bands as the atoms have bound states, which are 5 for the 9 or 10 electrons of
# these: no empty band in Ca, Sr and Ba, whose metals then have no Fermi level and whose SCF jumps. In
# crystals of these elements alone the number is set; other elements bring bands enough.
FEW_BOUND_STATES = frozenset({"K", "Ca", "Rb", "Sr", "Cs", "Ba"})

# Used once when SCF has not converged. None of it changes the converged result.
GENTLER_SCF = {
    "eigensolver": {"name": "davidson", "niter": 3},
    "mixer": {"backend": "pulay", "beta": 0.02, "nmaxold": 5, "weight": 100.0},
    "maxiter_factor": 2,
}


@dataclass(frozen=True)
class GPAWPreset:
    """A group of settings with a name."""

    cutoff: float  # plane-wave cut-off (eV)
    k_density: float  # N_i = ceil(k_density |b_i|), 2 pi included (A), for slabs and cells computed as given
    # the same for axial ratios and positions of a crystal and for the energy its relaxation ends with;
    # `k_density` serves its equation of state. Denser, because stresses need it: for hcp Mg at 4 A c/a comes
    # out as 1.665 and the energy 5 meV/atom off, at 6 A within 0.01 and 2 meV/atom of the limit
    bulk_k_density: float
    smearing_width: float  # width of the Fermi-Dirac distribution (eV)
    force_tolerance: float  # largest force left on a free atom (eV/A)
    # SCF criteria of GPAW: energy (eV per valence electron), density (electrons per valence electron),
    # eigenstates (eV^2 per valence electron)
    convergence: dict[str, float]
    # PAW setup by element; every other element takes the default one
    setups: dict[str, str] = field(default_factory=dict)
    maxiter: int = 200  # largest number of SCF steps of one geometry
    max_ionic_steps: int = 60  # largest number of geometries of one relaxation


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


def setup_labels(setups: Mapping[Any, Any]) -> dict[str, str]:
    """Return a table of setups as text, as a YAML file may not give it: ``Mg: 2`` is an integer there.

    InputError if a label is neither text nor a whole number, or no such setup is installed.
    """
    table = {}
    for element, label in setups.items():
        if isinstance(label, bool) or not isinstance(label, str | int):
            raise InputError(f"engine 'gpaw': the setup of {element} must be a name, got {label!r}")
        table[str(element)] = str(label)
        _require_setup(str(element), str(label))
    return table


def _require_setup(element: str, label: str) -> None:
    # What follows a colon is a Hubbard correction, not part of the file's name.
    wanted = label.split(":")[0] or "paw"
    installed = installed_labels(element)
    if installed is not None and wanted not in installed:
        known = f"there are {', '.join(installed)}" if installed else f"there is none of {element}"
        raise InputError(f"engine 'gpaw': no PBE setup '{wanted}' of {element} is installed: {known}")


def installed_labels(element: str) -> list[str] | None:
    """Return the labels of an element's installed PBE setups, the default one as ``paw``.

    None if they cannot be known: no folder is found, or GPAW's start-up file may add one.
    """
    folders = setup_folders()
    if not folders or _has_start_file():
        return None
    labels = set()
    for folder in folders:
        for path in folder.glob(f"{element}.*PBE*"):
            name = path.name.removesuffix(".gz").split(".")
            if name[-1] == "PBE" and len(name) <= 3:
                labels.add("paw" if len(name) == 2 else name[1])
    return sorted(labels)


def _has_start_file() -> bool:
    home = home_folder()
    return home is not None and (home / ".gpaw" / "rc.py").is_file()


def setups_source() -> str | dict[str, str]:
    """Return the identity of the source of PAW setups.

    Name and version of the package, ``unknown`` if it is not installed. Where GPAW_SETUP_PATH, which goes
    before the package, holds setups, a table by element: ``default`` is the package, elements with files of
    their own have a digest of names and sizes of these; ``all`` is that of all, by which records were named
    before fingerprints were cut to elements.
    """
    own = _own_folders(os.environ.get("GPAW_SETUP_PATH", ""))
    files = sorted({(path.name, path.stat().st_size) for folder in own for path in folder.glob("*.PBE*")})
    try:
        package = f"gpaw-data {version('gpaw-data')}"
    except PackageNotFoundError:
        package = "unknown"
    if not files:
        return package
    elements = sorted({name.partition(".")[0] for name, _ in files})
    by_element = {e: [file for file in files if file[0].partition(".")[0] == e] for e in elements}
    return {
        "default": package,
        OLD_NAME: f"GPAW_SETUP_PATH {_digest(files)}",
        **{element: f"GPAW_SETUP_PATH {_digest(of)}" for element, of in by_element.items()},
    }


def _digest(files: list[tuple[str, int]]) -> str:
    return hashlib.sha256(repr(files).encode()).hexdigest()[:12]


def _own_folders(path: str) -> tuple[Path, ...]:
    return tuple(folder for part in path.split(os.pathsep) if part and (folder := Path(part)).is_dir())


def setup_folders() -> tuple[Path, ...]:
    """Return the folders GPAW reads setups from."""
    return _own_folders(os.environ.get("GPAW_SETUP_PATH", "")) + _package_folders()


@cache
def _package_folders() -> tuple[Path, ...]:
    spec = importlib.util.find_spec("gpaw_data")
    places = (spec.submodule_search_locations if spec is not None else None) or ()
    return tuple(folder for place in places if (folder := Path(place) / "setups").is_dir())


def has_setup(element: str) -> bool:
    """Return whether an element has a default PBE setup: by files, or without any as in gpaw-data 1.2.1."""
    folders = setup_folders()
    if not folders:
        from ase.data import atomic_numbers

        return element not in ELEMENTS_WITHOUT_SETUP and atomic_numbers[element] <= LAST_ATOMIC_NUMBER
    names = (f"{element}.PBE", f"{element}.PBE.gz")
    return any((folder / name).exists() for folder in folders for name in names)
