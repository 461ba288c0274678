"""Some slabs of some compounds, and no others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from workflows.flows.surface import SurfaceMaker
from workflows.jobs.progress import Stage, announce
from workflows.structures.crystal import bulk_key
from workflows.structures.naming import format_miller, mg_first_formula

if TYPE_CHECKING:
    from jobflow import Flow
    from pymatgen.core import Structure

    from workflows.structures.slabs import SymmetricSlab

ChosenSlabs = dict[str, list[tuple[tuple[int, int, int], str]]]
"""hkl and termination key of the requested slabs, by the key of their bulk."""


@dataclass
class ChosenSlabsMaker(SurfaceMaker):
    """`SurfaceMaker` for chosen slabs alone; `CampaignMaker` makes a flow of many compounds of it.

    Parameters
    ----------
    chosen
        The requested slabs. A termination that the relaxed crystal does not have is reported as a problem:
        the next suggestion is cut from the relaxed crystal.
    """

    chosen: ChosenSlabs = field(default_factory=dict)

    def make(
        self,
        structure: Structure,
        provenance: dict[str, Any] | None = None,
        miller_indices: list[tuple[int, int, int]] | None = None,
        references: list[Any] | None = None,
    ) -> Flow:
        """Build the flow of one compound; its facets are those of its chosen slabs."""
        key = bulk_key(structure)
        mine = self.chosen.get(key, [])
        planes = list(dict.fromkeys((h, k, l) for (h, k, l), _ in mine))  # lists where a job carried it
        # each job carries the slabs of its own compound only
        return SurfaceMaker.make(replace(self, chosen={key: mine}), structure, provenance, planes, references)

    def cut(
        self, bulk: Structure, miller_indices: list[tuple[int, int, int]] | None = None
    ) -> list[SymmetricSlab]:
        """Cut the chosen slabs of a relaxed bulk."""
        # as lists and not tuples they come back from a job's document
        wanted = {((h, k, l), key) for mine in self.chosen.values() for (h, k, l), key in mine}
        slabs = [
            slab
            for slab in super().cut(bulk, miller_indices)
            if (slab.miller_index, slab.termination_key) in wanted
        ]
        found = {(slab.miller_index, slab.termination_key) for slab in slabs}
        for plane, key in sorted(wanted - found):
            announce(
                Stage.PROBLEM,
                f"{mg_first_formula(bulk.composition)} {format_miller(plane)}",
                text=f"the relaxed crystal has no termination {key}; let mgsurf suggest choose again",
            )
        return slabs
