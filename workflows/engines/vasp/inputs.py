"""Input files of the four VASP calculations; docs/vasp.md has reasons and sources of every tag.

The generators are subclasses of atomate2's VaspInputGenerator, whose `get_input_set(structure)` gives the
files. No tag comes from elsewhere: neither atomate2's base set, nor ``VASP_INCAR_UPDATES`` and other settings
of a user, nor the INCAR of an earlier run enters. Only the tags that spread the work over a machine can be
added.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from atomate2.vasp.sets.base import VaspInputGenerator
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar, Potcar, PotcarSingle

from stores.errors import InputError
from stores.records import CalculationKind
from workflows.engines.kpoints import gamma_mesh
from workflows.engines.vasp.potcars import FUNCTIONAL, PotcarFile, potcar_labels, read_potcar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pymatgen.core import Structure


SAME_SIDES = 0.05
"""A slab whose two sides map onto each other within this (A) has no dipole worth a correction."""

RIGHT_ANGLE = 1e-3  # largest cosine between c and the surface (1)


def require_normal_axis(structure: Structure) -> None:
    """Raise InputError if c is not along a slab's normal: planar averages and DIPOL would be wrong."""
    a, b, c = structure.lattice.matrix
    cosines = [abs(np.dot(c, v)) / np.linalg.norm(c) / np.linalg.norm(v) for v in (a, b)]
    if max(cosines) > RIGHT_ANGLE:
        angle = np.degrees(np.arcsin(min(1.0, max(cosines))))
        raise InputError(
            f"slab of {structure.composition.reduced_formula}: its c axis is {angle:.2f} degrees off the "
            "surface normal; cut it again with c along the normal (mgsurf slabs does)"
        )


def has_equal_sides(structure: Structure) -> bool:
    """Return whether an operation that reverses the normal maps a slab onto itself: it has no dipole then."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    bare = structure.copy(site_properties={})
    operations = SpacegroupAnalyzer(bare, symprec=SAME_SIDES).get_symmetry_operations()
    return any(operation.rotation_matrix[2][2] < -0.5 for operation in operations)


def slab_centre(structure: Structure) -> list[float]:
    """Return the middle between the outermost atoms in fractional coordinates; 0.5 along a and b.

    The slab may reach through the cell's boundary: the widest gap along c is taken as the vacuum.
    """
    z = np.sort(np.mod(structure.frac_coords[:, 2], 1.0))
    gaps = np.diff(np.append(z, z[0] + 1.0))
    vacuum = int(np.argmax(gaps))
    centre = z[vacuum] + gaps[vacuum] / 2 + 0.5
    return [0.5, 0.5, round(float(np.mod(centre, 1.0)), 6)]


# Start moments per atom (Bohr magnetons) of d metals whose compounds are treated spin-polarised: near the
# high-spin moments of the ferromagnets, so that SCF can only lose moment, not miss it.
START_MOMENTS = {"Cr": 3.0, "Mn": 4.0, "Fe": 3.0, "Co": 2.0, "Ni": 1.0}

# Moments of open 4f shells (Hund's spin), used only with a POTCAR that carries 4f in valence. The _2 and _3
# POTCARs of the table freeze 4f in the core: nothing is left to polarise.
OPEN_4F_MOMENTS = {
    "Ce": 1.0, "Pr": 2.0, "Nd": 3.0, "Pm": 4.0, "Sm": 5.0, "Eu": 7.0, "Gd": 7.0, "Tb": 6.0, "Dy": 5.0,
    "Ho": 4.0, "Er": 3.0, "Tm": 2.0, "Yb": 1.0,
}  # fmt: skip


def start_moments(symbols: Sequence[str], labels: Mapping[str, str]) -> list[float] | None:
    """Return MAGMOM (Bohr magnetons) of the atoms, ferromagnetic; None if the cell needs no spin.

    Atoms of non-magnetic elements start from 0 beside magnetic ones and take what SCF gives them.
    """
    moments = [
        OPEN_4F_MOMENTS[symbol]
        if symbol in OPEN_4F_MOMENTS and not labels[symbol].endswith(("_2", "_3"))
        else START_MOMENTS.get(symbol, 0.0)
        for symbol in symbols
    ]
    return moments if any(moments) else None


@dataclass(frozen=True)
class VaspPreset:
    """A group of settings with a name."""

    cutoff: float  # ENCUT (eV)
    k_density: float  # N_i = ceil(k_density |b_i|), 2 pi included (A), for slabs and cells computed as given
    bulk_k_density: float  # the same for relaxing a crystal and for the energy its relaxation ends with
    smearing_width: float  # SIGMA of Gaussian smearing (eV)
    force_tolerance: float  # -EDIFFG, the largest force left on a free atom (eV/A)
    # EDIFF of geometry steps and of single points (eV per cell)
    relax_energy_tolerance: float
    static_energy_tolerance: float
    maxiter: int  # NELM, the largest number of SCF steps of one geometry
    max_ionic_steps: int  # NSW, the largest number of geometries of one VASP run


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


PATH_TAGS = frozenset(
    {
        *("ALGO", "AMIN", "IBRION", "ICHARG", "ISTART", "LCHARG", "LMAXMIX", "LORBIT", "LWAVE"),
        *("NELM", "NELMIN", "NSW", "NWRITE", "POTIM"),
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

    Spin, the dipole correction and LMAXMIX follow from elements and cell.
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
    """Return the tags of algorithms, limits and output, which do not decide the result."""
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


NOTHING: dict[str, Any] = {"INCAR": {}, "KPOINTS": {}, "POTCAR": {}, "POTCAR_FUNCTIONAL": FUNCTIONAL}


@dataclass
class PinnedSetGenerator(VaspInputGenerator):
    """Base of the four generators."""

    config_dict: dict[str, Any] = field(default_factory=lambda: dict(NOTHING))
    user_potcar_functional: Literal["PBE_54"] = FUNCTIONAL
    inherit_incar: bool = False
    auto_ismear: bool = False
    validate_magmom: bool = False
    settings: VaspPreset = PRESETS["production"]  # cut-off, smearing, tolerances and limits
    labels: dict[str, str] = field(default_factory=dict)  # POTCAR label by element, in place of the table's
    mesh: tuple[int, int, int] | None = None  # Gamma-centred k mesh; from the preset's density if None
    # whether CHGCAR and WAVECAR of an earlier run lie in the folder
    density_given: bool = False
    orbitals_given: bool = False

    kind: ClassVar[CalculationKind]
    is_slab: ClassVar[bool] = False

    def __post_init__(self) -> None:
        strange = sorted(set(self.user_incar_settings) - set(PARALLEL_TAGS))
        if strange or self.user_kpoints_settings or self.user_potcar_settings:
            what = f"INCAR tags {', '.join(strange)}" if strange else "other k points or POTCARs"
            raise InputError(
                f"vasp: {what} cannot be set beside the preset, for records of one method would no longer be "
                f"comparable; free are {', '.join(PARALLEL_TAGS)}, and the engine's own options"
            )
        super().__post_init__()

    @property
    def is_relaxation(self) -> bool:
        """Whether atoms move, and orbitals and density are written for the static run that follows."""
        return self.kind in (CalculationKind.BULK_RELAX, CalculationKind.SLAB_RELAX)

    def _set_previous(self, prev_dir: Any = None) -> None:
        """Take nothing from an earlier run's INCAR; its density and orbitals are in the folder."""

    def _cell(self) -> Structure:
        if self.structure is None:
            raise InputError("vasp: no structure was given to the input set")
        return self.structure

    def potcar_files(self) -> list[PotcarFile]:
        """Return the POTCARs in the order of the POSCAR; EngineError if one is missing or wrong."""
        symbols = Poscar(self._cell()).site_symbols
        if len(set(symbols)) < len(symbols):
            raise InputError(f"vasp: the species of the cell are not grouped: {' '.join(symbols)}")
        labels = potcar_labels(symbols, self.labels)
        return [read_potcar(symbol, labels[symbol]) for symbol in symbols]

    @property
    def incar(self) -> Incar:
        """The complete INCAR."""
        cell = self._cell()
        symbols = [site.specie.symbol for site in cell]
        tags = method_tags(self.kind, self.settings) | path_tags(self.kind, self.settings)
        # the density of a restart is right only up to the mixed angular momentum
        heaviest = max(site.specie.Z for site in cell)
        tags["LMAXMIX"] = 6 if heaviest > 56 else 4 if heaviest > 20 else 2
        tags["ISTART"] = 1 if self.orbitals_given else 0
        tags["ICHARG"] = 1 if self.density_given else 0 if self.orbitals_given else 2
        moments = start_moments(symbols, potcar_labels(sorted(set(symbols)), self.labels))
        tags |= {"ISPIN": 1} if moments is None else {"ISPIN": 2, "MAGMOM": moments}
        if self.is_slab:
            require_normal_axis(cell)
            if not has_equal_sides(cell):
                tags |= {"LDIPOL": True, "IDIPOL": 3, "DIPOL": slab_centre(cell)}
        return Incar(tags | self.user_incar_settings)

    @property
    def kpoints(self) -> Kpoints:
        """The Gamma-centred mesh."""
        density = self.settings.k_density
        if self.kind is CalculationKind.BULK_RELAX:
            density = self.settings.bulk_k_density
        mesh = self.mesh or gamma_mesh(self._cell(), density, slab=self.is_slab)
        return Kpoints.gamma_automatic((mesh[0], mesh[1], mesh[2]))

    @property
    def poscar(self) -> Poscar:
        """The cell; all its atoms may move, or none."""
        return Poscar(self._cell())

    @property
    def potcar_symbols(self) -> list[str]:
        """Labels of the POTCARs in the order of the POSCAR."""
        return [potcar.label for potcar in self.potcar_files()]

    @property
    def potcar(self) -> Potcar:
        """The POTCARs in the order of the POSCAR."""
        potcar = Potcar(functional=FUNCTIONAL)
        with warnings.catch_warnings():
            # pymatgen knows the checksums of some releases only; element and functional were checked
            warnings.simplefilter("ignore")
            potcar.extend(PotcarSingle(p.text, symbol=p.label) for p in self.potcar_files())
        return potcar


@dataclass
class BulkRelaxSetGenerator(PinnedSetGenerator):
    """Relaxation of cell and positions."""

    kind = CalculationKind.BULK_RELAX


@dataclass
class BulkStaticSetGenerator(PinnedSetGenerator):
    """Energy of a bulk cell as given."""

    kind = CalculationKind.BULK_STATIC


@dataclass
class SlabRelaxSetGenerator(PinnedSetGenerator):
    """Relaxation of a slab's outer layers in the fixed cell.

    The site property ``selective_dynamics`` marks the free atoms; without it, those of whole layers within
    3 A of a surface are free.
    """

    kind = CalculationKind.SLAB_RELAX
    is_slab = True

    @property
    def poscar(self) -> Poscar:
        """The slab with its selective dynamics."""
        from workflows.structures.layers import free_atoms

        cell = self._cell()
        flags = cell.site_properties.get("selective_dynamics")
        if flags is None:
            flags = [[free] * 3 for free in free_atoms(cell)]
        return Poscar(cell, selective_dynamics=[[bool(flag) for flag in atom] for atom in flags])


@dataclass
class SlabStaticSetGenerator(PinnedSetGenerator):
    """Energy, Fermi energy and electrostatic potential of a slab as given."""

    kind = CalculationKind.SLAB_STATIC
    is_slab = True
