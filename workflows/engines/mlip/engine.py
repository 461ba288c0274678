"""The engine ``mlip``: a universal interatomic potential in place of DFT, for rehearsals of campaigns.

It shows in a minute whether a campaign runs, which slabs it has and how they relax. Surface energies of MgAg
come within 25 % of the published ones with SevenNet-0 and at half of them with CHGNet. There are no
electrons, so no work function.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.records import CalculationKind, CalculationOutput, Method
from workflows.engines.kpoints import gamma_mesh
from workflows.engines.mlip.potentials import (
    DEFAULT,
    PRESETS,
    check_elements,
    check_installed,
    package_version,
)
from workflows.engines.mlip.process import worker_of
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

K_DENSITY = 1.0  # of the meshes that records hold and nothing computes with (A)
NO_WORK_FUNCTION = "an interatomic potential has no electrons: compute work functions with a DFT engine"
AS_ANSWERED = ("status", "reason", "energy", "max_force", "ionic_steps", "wall_time")


@dataclass
class MlipEngine:
    """A universal potential behind the `Engine` protocol.

    Parameters
    ----------
    preset
        ``sevennet-0`` or ``chgnet``; ``demo``, the usual preset of a campaign, is ``sevennet-0``.
    force_tolerance
        Largest force left on a free atom (eV/A).
    max_ionic_steps
        Of one relaxation.

    Raises
    ------
    InputError
        If the preset is unknown or a number makes no sense.
    """

    preset: str = DEFAULT
    force_tolerance: float = 0.02
    max_ionic_steps: int = 200

    name = "mlip"
    reads_folders = True

    def __post_init__(self) -> None:
        if self.preset == "demo":
            self.preset = DEFAULT
        check_options(self, PRESETS, ("force_tolerance", "max_ionic_steps"), ("max_ionic_steps",))

    def method(self) -> Method:
        """Return the settings that decide the numbers; its ``extra`` marks that this is no DFT."""
        return Method(
            engine=self.name,
            preset=self.preset,
            functional=PRESETS[self.preset].about,
            cutoff=0.0,
            k_density=K_DENSITY,
            smearing="none",
            smearing_width=0.0,
            force_tolerance=self.force_tolerance,
            extra={
                "dft": False,
                "package": package_version(self.preset),
                "weights": PRESETS[self.preset].weights,
            },
        )

    def check_elements(self, elements: Iterable[str]) -> None:
        """Raise `EngineError` in one line for elements that the potential does not know."""
        check_elements(self.preset, elements)

    def kpoints(self, structure: Structure, *, slab: bool = False) -> KMesh:
        """Return a mesh, which records and consistency checks look at and nothing computes with."""
        return gamma_mesh(structure, K_DENSITY, slab)

    def relax_bulk(self, structure: Structure, directory: Path) -> CalculationOutput:
        """Relax cell and positions in the space group of the input (`workflows.engines.gpaw.bulk`)."""
        return self._run(CalculationKind.BULK_RELAX, structure, self.kpoints(structure), directory)

    def static_bulk(self, structure: Structure, kpoints: KMesh, directory: Path) -> CalculationOutput:
        """Compute the energy of a bulk cell as given."""
        return self._run(CalculationKind.BULK_STATIC, structure, kpoints, directory)

    def relax_slab(
        self, structure: Structure, free: Sequence[bool], kpoints: KMesh, directory: Path
    ) -> CalculationOutput:
        """Relax the atoms marked free, symmetry kept; the others do not move."""
        flags = free_flags(structure, free)
        return self._run(CalculationKind.SLAB_RELAX, structure, kpoints, directory, free=flags)

    def static_slab(
        self, structure: Structure, kpoints: KMesh, directory: Path, prev_dir: Path | None = None
    ) -> CalculationOutput:
        """Compute the energy of a slab, or return that of the relaxation in `prev_dir` that ended in it."""
        task = self._task(CalculationKind.SLAB_STATIC, structure)
        reused = None if prev_dir is None else _reusable(Path(prev_dir), task)
        if reused is not None:
            return self._output(reused, structure, kpoints, directory)
        return self._run(CalculationKind.SLAB_STATIC, structure, kpoints, directory)

    def _task(self, kind: CalculationKind, structure: Structure, **further: Any) -> dict[str, Any]:
        check_ordered(structure, self.name)
        geometry = geometry_of(structure)
        self.check_elements(geometry["symbols"])
        task: dict[str, Any] = {
            "kind": kind.value,
            **geometry,
            "method": self.method().fingerprint,
            "force_tolerance": self.force_tolerance,
            "max_ionic_steps": self.max_ionic_steps,
            **further,
        }
        return with_hash(task)

    def _run(
        self,
        kind: CalculationKind,
        structure: Structure,
        kpoints: KMesh,
        directory: Path,
        **further: Any,
    ) -> CalculationOutput:
        check_installed(self.preset)
        answer = worker_of(self.preset).run(Path(directory), self._task(kind, structure, **further))
        return self._output(answer, structure, kpoints, directory)

    def _output(
        self, answer: dict[str, Any], structure: Structure, kpoints: KMesh, directory: Path
    ) -> CalculationOutput:
        """Turn a worker's answer into the common schema."""
        final = structure_of_answer(answer, structure)
        return CalculationOutput(
            **{name: answer[name] for name in AS_ANSWERED if name in answer},
            structure=final.as_dict(verbosity=0),
            kpoints=kpoints,
            setups=dict.fromkeys(sorted({site.specie.symbol for site in structure}), self.preset),
            engine_version=package_version(self.preset),
            directory=str(directory),
            details={**answer.get("details", {}), "no_work_function": NO_WORK_FUNCTION},
        )


def _reusable(prev_dir: Path, task: dict[str, Any]) -> dict[str, Any] | None:
    """Return the answer in `prev_dir` if its last geometry and method are those of `task`."""
    earlier = earlier_task(prev_dir)
    answer = finished_answer(prev_dir, earlier.get("task_hash", ""))
    if answer is None or answer["status"] != "ok":
        return None
    if any(earlier.get(key) != task[key] for key in ("symbols", "method")) or not ended_in(answer, task):
        return None
    return {**answer, "details": {"reused_from": str(prev_dir)}, "wall_time": 0.0, "ionic_steps": 0}
