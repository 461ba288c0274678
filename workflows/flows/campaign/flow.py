"""Many compounds run as one, the elements' references computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Maker

from workflows.flows.surface import reference_jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from workflows.flows.refresh import RefreshMaker
    from workflows.flows.surface import SurfaceMaker


@dataclass
class CampaignMaker(Maker):
    """All facets of many compounds.

    1. Compute the reference of every element that occurs, once.
    2. Run `surface_maker` on every compound.
    3. Refresh the model, if there is a `refresh`.

    Parameters
    ----------
    surface_maker
        Flow of one compound; the references have its context.
    refresh
        Flow that comes last.
    """

    surface_maker: SurfaceMaker
    name: str = "campaign"
    refresh: RefreshMaker | None = None

    def make(
        self,
        structures: Sequence[Structure],
        provenances: Sequence[dict[str, Any] | None] | None = None,
        miller_indices: Sequence[list[tuple[int, int, int]] | None] | None = None,
    ) -> Flow:
        """Build the flow of a campaign.

        Parameters
        ----------
        structures
            Bulk crystals of one or two elements.
        provenances
            One for each structure.
        miller_indices
            For each structure the facets requested, or None for all.
        """
        n = len(structures)
        elements = {element for structure in structures for element in structure.symbol_set}
        references = reference_jobs(self.surface_maker.context, elements, self.surface_maker.queue)
        flows = [
            self.surface_maker.make(
                structure,
                provenance,
                facets,
                references=[references[element].output for element in structure.symbol_set],
            )
            for structure, provenance, facets in zip(
                structures, provenances or [None] * n, miller_indices or [None] * n, strict=True
            )
        ]
        last = [] if self.refresh is None else [self.refresh.make([flow.output for flow in flows])]
        return Flow([*references.values(), *flows, *last], name=self.name)
