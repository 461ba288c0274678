"""The DFT engine ``vasp``: PBE-PAW as in the paper, run by VASP under custodian."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.records import CalculationKind, CalculationStatus, Method
from workflows.engines.kpoints import gamma_mesh
from workflows.engines.registry import check_options
from workflows.engines.vasp.inputs import (
    OPEN_4F_MOMENTS,
    PARALLEL_TAGS,
    PRESETS,
    START_MOMENTS,
    BulkRelaxSetGenerator,
    BulkStaticSetGenerator,
    PinnedSetGenerator,
    SlabRelaxSetGenerator,
    SlabStaticSetGenerator,
    VaspPreset,
    method_tags,
)
from workflows.engines.vasp.potcars import FUNCTIONAL, POTCAR_LABELS, low_cutoffs, potcar_labels, read_potcar
from workflows.engines.worker_tasks import free_flags

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pymatgen.core import Structure

    from stores.records import CalculationOutput
    from workflows.engines.protocol import KMesh
    from workflows.engines.vasp.custodian import RunControl

LOG = logging.getLogger("mgsurf.vasp")

PRESET_OPTIONS = (
    *("cutoff", "k_density", "bulk_k_density", "smearing_width", "force_tolerance"),
    *("maxiter", "max_ionic_steps"),
)
CONTROL_OPTIONS = (
    *("vasp_command", "max_errors", "restarts"),
    *("polling_time", "monitor_time", "hang_timeout", "walltime_buffer"),
)
WHOLE = ("maxiter", "max_ionic_steps", "max_errors", "restarts")
MAY_BE_ZERO = ("restarts", "walltime_buffer")


@dataclass
class VaspEngine:
    """VASP behind the `Engine` protocol.

    All fields are plain values; equal fields give an engine with an equal `method()`. Fields left None take
    the value of the preset (`vasp.inputs.PRESETS`) or of `vasp.custodian.RunControl`.

    Parameters
    ----------
    preset
        ``production`` (the paper's settings) or ``demo`` (cheaper).
    vasp_command
        What starts VASP, e.g. ``mpirun -n 16 vasp_std``; ``MGSURF_VASP_CMD`` if None, else atomate2's setting
        VASP_CMD.
    potcars
        POTCAR label by element, in place of the table's (`vasp.potcars`).
    cutoff, k_density, bulk_k_density, smearing_width, force_tolerance, maxiter, max_ionic_steps
        In place of the preset's, in the units of `vasp.inputs.VaspPreset`.
    parallel
        INCAR tags that spread the work: KPAR, NCORE, NPAR, NSIM, LPLANE, LSCALAPACK.
    max_errors, restarts, polling_time, monitor_time, hang_timeout, walltime_buffer
        See `vasp.custodian.RunControl`; times in s.

    Raises
    ------
    InputError
        If the preset is unknown or a value makes no sense.
    """

    preset: str = "production"
    vasp_command: str | None = None
    potcars: dict[str, str] | None = None
    cutoff: float | None = None
    k_density: float | None = None
    bulk_k_density: float | None = None
    smearing_width: float | None = None
    force_tolerance: float | None = None
    maxiter: int | None = None
    max_ionic_steps: int | None = None
    parallel: dict[str, Any] | None = None
    max_errors: int | None = None
    restarts: int | None = None
    polling_time: float | None = None
    monitor_time: float | None = None
    hang_timeout: float | None = None
    walltime_buffer: float | None = None

    name = "vasp"
    reads_folders = True

    def __post_init__(self) -> None:
        check_options(self, PRESETS, (*PRESET_OPTIONS, *CONTROL_OPTIONS[1:]), WHOLE, MAY_BE_ZERO)
        if self.vasp_command is not None and not isinstance(self.vasp_command, str):
            raise InputError(f"engine 'vasp': vasp_command must be text, got {self.vasp_command!r}")
        for option in ("potcars", "parallel"):
            value = getattr(self, option)
            if value is not None and not isinstance(value, Mapping):
                raise InputError(f"engine 'vasp': {option} must map names to values, got {value!r}")
        strange = sorted(set(self.parallel or {}) - set(PARALLEL_TAGS))
        if strange:
            raise InputError(
                f"engine 'vasp': parallel may hold {', '.join(PARALLEL_TAGS)}, "
                f"not {', '.join(map(str, strange))}"
            )
        for element, label in (self.potcars or {}).items():
            if not isinstance(label, str) or label.partition("_")[0].partition(".")[0] != element:
                raise InputError(
                    f"engine 'vasp': potcars: {label!r} is no POTCAR label of {element}; "
                    "write it like Mg: Mg_pv"
                )

    @property
    def settings(self) -> VaspPreset:
        """The preset with this engine's own values in place."""
        own = {key: value for key in PRESET_OPTIONS if (value := getattr(self, key)) is not None}
        return replace(PRESETS[self.preset], **own)

    def method(self) -> Method:
        """Return the settings that decide the numbers."""
        settings = self.settings
        return Method(
            engine=self.name,
            preset=self.preset,
            functional="PBE",
            cutoff=settings.cutoff,
            k_density=settings.k_density,
            smearing="gaussian",
            smearing_width=settings.smearing_width,
            setups=POTCAR_LABELS | dict(self.potcars or {}),
            force_tolerance=settings.force_tolerance,
            extra={
                "potcar_functional": FUNCTIONAL,
                "bulk_k_density": settings.bulk_k_density,
                "bulk_relaxation": "ISIF 3, restarted until the cell rests, then static",
                "incar": {kind.value: method_tags(kind, settings) for kind in CalculationKind},
                "start_moments": START_MOMENTS | OPEN_4F_MOMENTS,
                "dipole_correction": "along c, only where the two sides differ",
            },
        )

    def check_elements(self, elements: Iterable[str]) -> None:
        """Raise `EngineError` in one line for elements without a POTCAR label."""
        potcar_labels(sorted(set(elements)), self.potcars)

    def check_machine(self, elements: Iterable[str]) -> None:
        """Raise `EngineError` in one line if VASP or a POTCAR is missing here; warn of a low cut-off."""
        from workflows.engines.vasp.custodian import vasp_command

        vasp_command(self._control())
        labels = potcar_labels(sorted(set(elements)), self.potcars)
        files = [read_potcar(element, label) for element, label in labels.items()]
        for line in low_cutoffs(files, self.settings.cutoff):
            LOG.warning("engine vasp: %s; set the engine's option cutoff higher for all of a campaign", line)

    def kpoints(self, structure: Structure, *, slab: bool = False) -> KMesh:
        """Return the Gamma-centred mesh of a cell; 1 along c for a slab."""
        return gamma_mesh(structure, self.settings.k_density, slab)

    def relax_bulk(self, structure: Structure, directory: Path) -> CalculationOutput:
        """Relax cell and positions until the cell rests, then compute its energy."""
        from workflows.engines.vasp.run import relax_crystal

        inputs = self._inputs(gamma_mesh(structure, self.settings.bulk_k_density))
        generators = BulkRelaxSetGenerator(**inputs), BulkStaticSetGenerator(**inputs)
        return relax_crystal(*generators, structure, directory, self._control())

    def static_bulk(self, structure: Structure, kpoints: KMesh, directory: Path) -> CalculationOutput:
        """Compute the energy of a bulk cell as given."""
        return self._run(BulkStaticSetGenerator, structure, kpoints, directory)

    def relax_slab(
        self, structure: Structure, free: Sequence[bool], kpoints: KMesh, directory: Path
    ) -> CalculationOutput:
        """Relax the atoms marked free by conjugate gradients; the others do not move."""
        marked = structure.copy()
        marked.add_site_property("selective_dynamics", [[flag] * 3 for flag in free_flags(structure, free)])
        return self._run(SlabRelaxSetGenerator, marked, kpoints, directory)

    def static_slab(
        self, structure: Structure, kpoints: KMesh, directory: Path, prev_dir: Path | None = None
    ) -> CalculationOutput:
        """Compute energy, Fermi energy and planar potential of a slab, from the orbitals in `prev_dir`."""
        from workflows.engines.vasp.run import drop_restart_files

        output = self._run(SlabStaticSetGenerator, structure, kpoints, directory, prev_dir)
        if output.status is CalculationStatus.OK:
            drop_restart_files(directory, *([prev_dir] if prev_dir is not None else []))
        return output

    def _run(
        self,
        generator: type[PinnedSetGenerator],
        structure: Structure,
        mesh: KMesh,
        directory: Path,
        prev_dir: Path | None = None,
    ) -> CalculationOutput:
        from workflows.engines.vasp.run import run_calculation

        inputs = generator(**self._inputs(mesh))
        return run_calculation(inputs, structure, directory, self._control(), prev_dir)

    def _inputs(self, mesh: KMesh) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "labels": dict(self.potcars or {}),
            "mesh": (int(mesh[0]), int(mesh[1]), int(mesh[2])),
            "user_incar_settings": dict(self.parallel or {}),
        }

    def _control(self) -> RunControl:
        from workflows.engines.vasp.custodian import RunControl

        own = {key: value for key in CONTROL_OPTIONS if (value := getattr(self, key)) is not None}
        return RunControl(**own)
