"""The DFT engine ``gpaw``: PBE with plane waves, run by GPAW in a process of its own."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import EngineError, InputError
from stores.records import CalculationKind, CalculationOutput, Method
from workflows.engines.gpaw.presets import (
    EIGENSOLVER,
    FEW_BOUND_STATES,
    GENTLER_SCF,
    OPEN_4F,
    PRESETS,
    START_MOMENTS,
    STUBBORN_EIGENSOLVER,
    STUBBORN_ELEMENTS,
    GPAWPreset,
    has_setup,
    setup_folders,
    setup_labels,
    setups_source,
)
from workflows.engines.gpaw.process import default_ranks, run_worker
from workflows.engines.kpoints import gamma_mesh, points_after_time_reversal
from workflows.engines.registry import check_options
from workflows.engines.worker_tasks import (
    check_ordered,
    earlier_task,
    ended_in,
    finished_answer,
    free_flags,
    geometry_of,
    structure_of_answer,
    with_hash,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pymatgen.core import Structure

    from workflows.engines.protocol import KMesh

FLOAT_OPTIONS = ("cutoff", "k_density", "bulk_k_density", "smearing_width", "force_tolerance")
LIMITS = ("maxiter", "max_ionic_steps", "gentler")
WHOLE_OPTIONS = ("maxiter", "max_ionic_steps", "ranks")
AS_ANSWERED = (
    *("status", "reason", "energy", "fermi_energy", "vbm", "cbm", "max_force", "total_magnetization"),
    *("site_magnetizations", "scf_steps", "ionic_steps", "retried", "wall_time", "engine_version"),
)
"""Fields of `CalculationOutput` that are the worker's own."""


@dataclass
class GPAWEngine:
    """GPAW behind the `Engine` protocol.

    All fields are plain values; equal fields give an engine with an equal `method()`. Fields left None
    take the value of the preset (`gpaw.presets.PRESETS`).

    Parameters
    ----------
    preset
        ``demo`` (minutes on two cores) or ``production``.
    cutoff, k_density, bulk_k_density, smearing_width, force_tolerance, maxiter, max_ionic_steps
        In place of the preset's, in the units of `gpaw.presets.GPAWPreset`.
    setups
        PAW setup by element, in place of the preset's table.
    ranks
        MPI ranks of one calculation; default: one per physical core, at most one per k point.

    Raises
    ------
    InputError
        If the preset is unknown or a value makes no sense.
    """

    preset: str = "demo"
    cutoff: float | None = None
    k_density: float | None = None
    bulk_k_density: float | None = None
    smearing_width: float | None = None
    force_tolerance: float | None = None
    setups: dict[str, str] | None = None
    maxiter: int | None = None
    max_ionic_steps: int | None = None
    ranks: int | None = None

    name = "gpaw"
    reads_folders = True

    def __post_init__(self) -> None:
        check_options(self, PRESETS, (*FLOAT_OPTIONS, *WHOLE_OPTIONS), WHOLE_OPTIONS)
        if self.setups is not None:
            if not isinstance(self.setups, Mapping):
                raise InputError(
                    f"engine 'gpaw': setups must map elements to setup names, got {self.setups!r}"
                )
            self.setups = setup_labels(self.setups)

    @property
    def settings(self) -> GPAWPreset:
        """The preset with this engine's own values in place."""
        own = {
            key: value
            for key in (*FLOAT_OPTIONS, "setups", "maxiter", "max_ionic_steps")
            if (value := getattr(self, key)) is not None
        }
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
            smearing="fermi-dirac",
            smearing_width=settings.smearing_width,
            setups={"default": "paw", **settings.setups},
            force_tolerance=settings.force_tolerance,
            extra={
                "bulk_k_density": settings.bulk_k_density,
                "bulk_relaxation": "birch-murnaghan, pulay-corrected stress",
                "convergence": settings.convergence,
                "start_moments": START_MOMENTS,
                "setups_package": setups_source(),
            },
        )

    def revision(self, elements: Iterable[str]) -> dict[str, bool]:
        """Return what is set for crystals of these elements since their energies were found to be wrong."""
        return {"empty_bands": True} if FEW_BOUND_STATES.issuperset(elements) else {}

    def check_elements(self, elements: Iterable[str]) -> None:
        """Raise `EngineError` in one line for open-4f lanthanides and elements without a PAW setup."""
        requested = sorted(set(elements))
        open_4f = [element for element in requested if element in OPEN_4F]
        if open_4f:
            raise EngineError(
                f"gpaw cannot treat {', '.join(open_4f)}: its setups carry the open 4f shell in valence; "
                "leave them out or use engine vasp (La, Yb and Lu work)"
            )
        missing = [element for element in requested if not has_setup(element)]
        if missing:
            raise EngineError(
                f"gpaw has no PAW setup for {', '.join(missing)}: leave them out, or add setups to the "
                "folder in GPAW_SETUP_PATH"
            )

    def kpoints(self, structure: Structure, *, slab: bool = False) -> KMesh:
        """Return the Gamma-centred mesh of a cell; 1 along c for a slab."""
        return gamma_mesh(structure, self.settings.k_density, slab)

    def relax_bulk(self, structure: Structure, directory: Path) -> CalculationOutput:
        """Relax cell and positions in the space group of the input (`gpaw.bulk`)."""
        task = self._task(CalculationKind.BULK_RELAX, structure)
        mesh = gamma_mesh(structure, self.settings.bulk_k_density)
        return self._run(task, structure, directory, mesh)

    def static_bulk(self, structure: Structure, kpoints: KMesh, directory: Path) -> CalculationOutput:
        """Compute the energy of a bulk cell as given."""
        task = self._task(CalculationKind.BULK_STATIC, structure, mesh=list(kpoints))
        return self._run(task, structure, directory, kpoints)

    def relax_slab(
        self, structure: Structure, free: Sequence[bool], kpoints: KMesh, directory: Path
    ) -> CalculationOutput:
        """Relax the atoms marked free by BFGS, symmetry kept; the others do not move."""
        flags = free_flags(structure, free)
        task = self._task(CalculationKind.SLAB_RELAX, structure, mesh=list(kpoints), free=flags)
        return self._run(task, structure, directory, kpoints)

    def static_slab(
        self, structure: Structure, kpoints: KMesh, directory: Path, prev_dir: Path | None = None
    ) -> CalculationOutput:
        """Compute energy, Fermi energy and planar potential of a slab.

        If `prev_dir` holds a relaxation that ended in this very structure with the same settings, its last
        SCF is this calculation, and its numbers are returned without running it again.
        """
        task = self._task(CalculationKind.SLAB_STATIC, structure, mesh=list(kpoints))
        if prev_dir is not None:
            reused = _reusable(prev_dir, task)
            if reused is not None:
                return _to_output(reused, structure, task, directory)
        return self._run(task, structure, directory, kpoints)

    def _task(self, kind: CalculationKind, structure: Structure, **further: Any) -> dict[str, Any]:
        check_ordered(structure, self.name)
        geometry, settings = geometry_of(structure), self.settings
        elements = set(geometry["symbols"])
        self.check_elements(elements)
        task: dict[str, Any] = {
            "kind": kind.value,
            **geometry,
            "settings": {
                **asdict(settings),
                "functional": "PBE",
                "setups": {e: label for e, label in settings.setups.items() if e in elements},
                "spin_polarized": bool(elements & START_MOMENTS.keys()),
                "start_moments": {e: m for e, m in START_MOMENTS.items() if e in elements},
                "eigensolver": STUBBORN_EIGENSOLVER if elements & STUBBORN_ELEMENTS else EIGENSOLVER,
                "gentler": GENTLER_SCF,
                **self.revision(elements),
            },
            **further,
        }
        return with_hash(task, settings=_without_limits(task["settings"]))

    def _run(
        self, task: dict[str, Any], structure: Structure, directory: Path, kpoints: KMesh
    ) -> CalculationOutput:
        _require_gpaw()
        ranks = self.ranks or default_ranks(points_after_time_reversal(kpoints))
        answer = run_worker(Path(directory), task, ranks)
        return _to_output(answer, structure, task, directory)


def _without_limits(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out what does not change a converged result: work done under other limits is resumed."""
    return {key: value for key, value in settings.items() if key not in LIMITS}


def _require_gpaw() -> None:
    for module, package in (("gpaw", "gpaw"), ("gpaw_data", "gpaw-data")):
        if importlib.util.find_spec(module) is None and not (module == "gpaw_data" and setup_folders()):
            raise EngineError(f"the engine gpaw needs {package}, which is not installed: run make quickstart")


def _to_output(
    answer: dict[str, Any], structure: Structure, task: dict[str, Any], directory: Path
) -> CalculationOutput:
    """Turn a worker's answer into the common schema."""
    final = structure_of_answer(answer, structure)
    mesh = answer.get("mesh") or task.get("mesh")
    return CalculationOutput(
        **{name: answer[name] for name in AS_ANSWERED if name in answer},
        structure=final.as_dict(verbosity=0),
        kpoints=tuple(mesh) if mesh else None,
        setups=_setups_used(task, answer.get("setup_fingerprints", {})),
        potential=answer.get("potential") if task["kind"] == CalculationKind.SLAB_STATIC else None,
        directory=str(directory),
        details={
            **answer.get("details", {}),
            # CPU seconds of one rank, start-up included: wall time less the waiting for a busy machine.
            **{key: answer[key] for key in ("ranks", "cpu_time") if key in answer},
        },
    )


def _setups_used(task: dict[str, Any], fingerprints: dict[str, str]) -> dict[str, str]:
    """Return label and checksum of each setup: a file of the same name may hold other data elsewhere."""
    used = {}
    for element in sorted(set(task["symbols"])):
        label = task["settings"]["setups"].get(element, "paw")
        used[element] = f"{label} (md5 {fingerprints[element]})" if element in fingerprints else label
    return used


def _reusable(prev_dir: Path, task: dict[str, Any]) -> dict[str, Any] | None:
    """Return the answer in `prev_dir` if its last geometry and settings are those of `task`."""
    import orjson

    earlier = earlier_task(Path(prev_dir))
    answer = finished_answer(Path(prev_dir), earlier.get("task_hash", ""))
    if answer is None or answer["status"] != "ok" or not answer.get("potential"):
        return None
    wanted = orjson.loads(orjson.dumps(_without_limits(task["settings"])))
    if (
        earlier["symbols"] != task["symbols"]
        or _without_limits(earlier["settings"]) != wanted
        or list(answer["mesh"]) != list(task["mesh"])
        or not ended_in(answer, task)
    ):
        return None
    kept = {key: value for key, value in answer.items() if key not in ("ranks", "cpu_time")}
    return {
        **kept,
        "details": {"reused_from": str(prev_dir)},
        "wall_time": 0.0,
        "ionic_steps": 0,
        "scf_steps": 0,
    }
