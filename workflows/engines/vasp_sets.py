"""VASP input of the four calculations, every tag of it ours.

The generators are subclasses of atomate2's VaspInputGenerator, whose `get_input_set(structure)` gives the
files. No tag comes from elsewhere: neither atomate2's base set, nor ``VASP_INCAR_UPDATES`` and other settings
of a user, nor the INCAR of an earlier run enters. Only the tags that spread the work over a machine can be
added.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from atomate2.vasp.sets.base import VaspInputGenerator
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar, Potcar, PotcarSingle

from stores.errors import InputError
from stores.records import CalculationKind
from workflows.engines.kpoints import gamma_mesh
from workflows.engines.vasp_dipole import has_equal_sides, require_normal_axis, slab_centre
from workflows.engines.vasp_incar import PARALLEL_TAGS, incar_tags
from workflows.engines.vasp_magnetism import start_moments
from workflows.engines.vasp_potcars import FUNCTIONAL, PotcarFile, potcar_labels, read_potcar
from workflows.engines.vasp_presets import PRESETS, VaspPreset

if TYPE_CHECKING:
    from pymatgen.core import Structure

NOTHING: dict[str, Any] = {"INCAR": {}, "KPOINTS": {}, "POTCAR": {}, "POTCAR_FUNCTIONAL": FUNCTIONAL}


@dataclass
class PinnedSetGenerator(VaspInputGenerator):
    """Base of the four generators.

    Parameters
    ----------
    preset
        Name in `vasp_presets.PRESETS`.
    overrides
        Fields of the preset that differ.
    labels
        POTCAR label by element, in place of the table's.
    mesh
        Gamma-centred k mesh; from the preset's density if None.
    density_given, orbitals_given
        Whether CHGCAR and WAVECAR of an earlier run lie in the folder.
    """

    config_dict: dict[str, Any] = field(default_factory=lambda: dict(NOTHING))
    user_potcar_functional: Literal["PBE_54"] = FUNCTIONAL
    inherit_incar: bool = False
    auto_ismear: bool = False
    validate_magmom: bool = False
    preset: str = "production"
    overrides: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    mesh: tuple[int, int, int] | None = None
    density_given: bool = False
    orbitals_given: bool = False

    kind: ClassVar[CalculationKind]
    is_slab: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InputError(f"vasp has no preset '{self.preset}': allowed are {', '.join(sorted(PRESETS))}")
        unknown = sorted(set(self.overrides) - {f.name for f in fields(VaspPreset)})
        if unknown:
            raise InputError(f"vasp's presets have no setting {', '.join(unknown)}; see vasp_presets.py")
        strange = sorted(set(self.user_incar_settings) - set(PARALLEL_TAGS))
        if strange or self.user_kpoints_settings or self.user_potcar_settings:
            what = f"INCAR tags {', '.join(strange)}" if strange else "other k points or POTCARs"
            raise InputError(
                f"vasp: {what} cannot be set beside the preset, for records of one method would no longer be "
                f"comparable; free are {', '.join(PARALLEL_TAGS)}, and the engine's own options"
            )
        super().__post_init__()

    @property
    def settings(self) -> VaspPreset:
        """The preset with the overrides in place."""
        return replace(PRESETS[self.preset], **self.overrides)

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
        """Return the POTCARs in the order of the POSCAR.

        Raises
        ------
        EngineError
            If one is missing or wrong.
        """
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
        centre = None
        if self.is_slab:
            require_normal_axis(cell)
            centre = None if has_equal_sides(cell) else slab_centre(cell)
        tags = incar_tags(
            self.kind,
            self.settings,
            atomic_numbers={site.specie.Z for site in cell},
            moments=start_moments(symbols, potcar_labels(sorted(set(symbols)), self.labels)),
            dipole_centre=centre,
            density_given=self.density_given,
            orbitals_given=self.orbitals_given,
        )
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

    Which atoms are free says the site property ``selective_dynamics``; without it, those of whole layers
    within 3 A of a surface are.
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
