"""A small data set with real slabs: B2 and L1_2 compounds of Mg, labelled by a rule of their surfaces."""

from __future__ import annotations

from functools import cache

import numpy as np
from pymatgen.core import Element, Lattice, Structure

from model.data.dataset import Dataset, Entry
from model.data.formula_key import formula_key
from model.graphs.graph import GraphSettings, SlabGraph, build_graph
from workflows.structures.slabs import SlabSettings, enumerate_slabs

PARTNERS = ("Ag", "Al", "Ca", "Cu", "Ni", "Pd", "Sc", "Sn", "Y", "Zn")


def crystal(partner: str, mg_rich: bool) -> Structure:
    """B2 MgX, or L1_2 Mg3X, with a lattice constant from the atomic radii."""
    edge = float(Element("Mg").atomic_radius + Element(partner).atomic_radius)
    if mg_rich:
        return Structure.from_spacegroup(
            "Pm-3m", Lattice.cubic(edge * 2**0.5), ["Mg", partner], [[0, 0.5, 0.5], [0, 0, 0]]
        )
    return Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(edge * 2 / 3**0.5), ["Mg", partner], [[0, 0, 0], [0.5] * 3]
    )


@cache
def slabs(partner: str, mg_rich: bool) -> tuple[Structure, ...]:
    """Return its symmetric slabs up to Miller index 1."""
    facets = enumerate_slabs(crystal(partner, mg_rich), SlabSettings(max_miller_index=1))
    return tuple(slab.structure for facet in facets for slab in facet.slabs)


def labels_of(graph: SlabGraph) -> dict[str, float]:
    """Return labels that a network can learn: chemistry of the outer atoms."""
    outer = np.exp(-graph.depth / 1.5) * graph.multiplicity
    chi = sum(w * Element.from_Z(int(z)).X for w, z in zip(outer, graph.numbers, strict=True)) / outer.sum()
    degree = (graph.distances < 3.5).sum() / graph.n_nodes
    return {
        "surface_energy": float(0.02 + 0.02 * chi + 0.002 * (12 - degree)),
        "work_function": float(1.5 + 1.5 * chi),
    }


@cache
def small_dataset(settings: GraphSettings | None = None, n_partners: int = len(PARTNERS)) -> Dataset:
    """Return about eighty labelled slabs; every ninth lacks one label."""
    settings = settings or GraphSettings()
    entries: list[Entry] = []
    groups: dict[str, int] = {}
    for partner in PARTNERS[:n_partners]:
        for mg_rich in (False, True):
            for number, structure in enumerate(slabs(partner, mg_rich)):
                graph = build_graph(structure, settings)
                formula = f"Mg3{partner}" if mg_rich else f"Mg{partner}"
                targets: dict[str, float | None] = dict(labels_of(graph))
                if len(entries) % 9 == 8:
                    targets["work_function"] = None
                entries.append(
                    Entry(
                        record_id=f"{formula}-{number}",
                        graph=graph,
                        targets=targets,
                        formula=formula,
                        chemsys="-".join(sorted(("Mg", partner))),
                        elements=tuple(sorted(("Mg", partner))),
                        compound=formula,
                        crystal=formula_key(formula, "", None),
                        group=groups.setdefault(graph.identity, len(groups)),
                    )
                )
    return Dataset(tuple(entries), ("surface_energy", "work_function"))
