"""Many compounds run as one, the elements' references computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Maker

from workflows.flows.surface import JobSize, prepare
from workflows.jobs.bulk import compute_reference

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
    3. Refresh the model, if asked for.

    Parameters
    ----------
    surface_maker
        Flow of one compound; its context serves the references too.
    refresh
        What comes last; None: nothing.
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
            For each structure the facets wanted, or None for all.

        Returns
        -------
        Flow
        """
        n = len(structures)
        context = self.surface_maker.context
        elements = sorted({site.specie.symbol for structure in structures for site in structure})
        references = {}
        for element in elements:
            references[element] = compute_reference(context, element)
            references[element].name = f"{element} reference"
            prepare(references[element], self.surface_maker.queue, JobSize.BULK)
        flows = [
            self.surface_maker.make(
                structure,
                provenance,
                facets,
                references=[
                    references[element].output
                    for element in sorted({site.specie.symbol for site in structure})
                ],
            )
            for structure, provenance, facets in zip(
                structures, provenances or [None] * n, miller_indices or [None] * n, strict=True
            )
        ]
        last = [] if self.refresh is None else [self.refresh.make([flow.output for flow in flows])]
        return Flow([*references.values(), *flows, *last], name=self.name)
