"""Facets of screened compounds: those that DFT records give, and predictions of the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from model.evaluation.known_facets import correct_by_computed
from model.evaluation.prediction import Candidate, predict_slabs
from model.graphs.slab_frame import PlainSlab
from stores.method_names import is_dft
from stores.plain import finite
from stores.records import content_hash
from stores.structures.document import structure_from_document
from workflows.analysis.surface_energy import reference_element
from workflows.analysis.wulff import facets_from_records
from workflows.analysis.wulff_draws import Termination
from workflows.structures.crystal import crystal_of
from workflows.structures.facets import standard_plane
from workflows.structures.slabs import SlabSettings, enumerate_slabs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model.evaluation.prediction import SlabPrediction
    from model.training.ensemble import Ensemble
    from stores.surfaces import SurfaceStore
    from workflows.flows.screening.compounds import ScreenedCompound
    from workflows.structures.crystal import Crystal
    from workflows.structures.slabs import SymmetricSlab


@dataclass(frozen=True, eq=False)
class ComputedFacets:
    """What DFT records give of a compound."""

    crystal: Crystal
    terminations: tuple[Termination, ...]
    state: str  # hash of the records' values and verdicts: a record keeps its id when it is computed again


def computed_facets(
    store: SurfaceStore, potentials: Mapping[str, float], max_index: int
) -> dict[str, ComputedFacets]:
    """Return the accepted DFT values of compounds, of the bulk with most surfaces of each.

    Records of rehearsals with a potential are left out.

    Parameters
    ----------
    potentials
        By bulk key, chemical potential of the reference element (eV).
    max_index
        Largest absolute Miller index.
    """
    keys = list(potentials)
    bulks = {
        bulk["id"]: bulk
        for bulk in store.query(
            {"bulk_key": {"$in": keys}},
            ["id", "bulk_key", "structure", "method_fingerprint"],
            collection="bulks",
        )
        if is_dft(bulk["method_fingerprint"])
    }
    surfaces: dict[str, list[dict[str, Any]]] = defaultdict(list)
    fields = ["id", "bulk_id", "miller_index", "termination_label", "surface_energy", "surface_energy_slope"]
    of_bulks = {"bulk_id": {"$in": list(bulks)}}
    # stores return them in orders of their own, and sums depend on the order in the last digit
    for surface in store.query(of_bulks, [*fields, "work_function", "verdicts"], sort={"id": 1}):
        surfaces[surface["bulk_id"]].append(surface)
    found: dict[str, ComputedFacets] = {}
    for bulk_id, records in sorted(surfaces.items(), key=lambda item: (len(item[1]), item[0])):
        bulk = bulks[bulk_id]
        facets = [
            facet
            for facet in facets_from_records(records, potentials[bulk["bulk_key"]])
            if max(map(abs, facet.miller_index)) <= max_index
        ]
        if not facets:
            continue
        crystal = crystal_of(structure_from_document(bulk["structure"], f"the bulk {bulk_id}"))
        terminations = tuple(
            Termination(
                standard_plane(crystal, facet.miller_index),
                facet.label,
                facet.surface_energy,
                work_function=facet.work_function,
                slope=facet.slope,
            )
            for facet in facets
        )
        # the last one, with the most records, stays
        found[bulk["bulk_key"]] = ComputedFacets(
            crystal,
            terminations,
            content_hash([bulk["structure"], records]),
        )
    return found


@dataclass(frozen=True, eq=False)
class PredictedFacets:
    """What a model gives of a compound: terminations, and lines about what it could not do."""

    terminations: tuple[Termination, ...]
    problems: tuple[str, ...]
    corrected_by: int  # number of DFT records that corrected the terminations


def predicted_facets(
    compounds: Sequence[ScreenedCompound],
    known: Mapping[str, ComputedFacets],
    ensemble: Ensemble | None,
    cut: SlabSettings,
    workers: int,
) -> dict[str, PredictedFacets]:
    """Cut and predict the facets without a DFT value of several compounds, by bulk key.

    Parameters
    ----------
    compounds
        At most some tens, whose slabs are held in memory.
    known
        What `computed_facets` gives of them.
    ensemble
        The model; None: nothing is predicted.
    cut
        How slabs are cut.
    workers
        Processes that build graphs.
    """
    slabs: list[tuple[str, SymmetricSlab]] = []
    problems: dict[str, list[str]] = defaultdict(list)
    # facets that were computed are predicted too: what the model misses there it misses elsewhere
    conditioned = ensemble is not None and ensemble.knows_shared_errors
    computed = {key: {one.miller_index for one in have.terminations} for key, have in known.items()}
    for compound in compounds if ensemble is not None else ():
        key = compound.bulk_key
        crystal = known[key].crystal if key in known else compound.crystal
        if crystal is None:
            continue
        facets = enumerate_slabs(crystal, cut)
        missing = {facet.miller_index for facet in facets} - computed.get(key, set())
        for facet in facets:
            if facet.miller_index in missing or (conditioned and missing):
                slabs += [(key, slab) for slab in facet.slabs]
    guessed = {c.bulk_key for c in compounds if c.lattice_is_guess}
    candidates = (
        Candidate(str(i), PlainSlab.from_structure(slab.structure), "", lattice_is_guess=key in guessed)
        for i, (key, slab) in enumerate(slabs)
    )
    terminations: dict[str, list[Termination]] = defaultdict(list)
    used: Counter[str] = Counter()
    if ensemble is not None and slabs:
        found, refused = predict_slabs(ensemble, candidates, workers=workers)
        found, used = _corrected(found, slabs, known)
        for one in found:
            key, slab = slabs[int(one.name)]
            if slab.miller_index in computed.get(key, ()):
                continue
            terminations[key].append(
                Termination(
                    slab.miller_index,
                    slab.termination_label,
                    one.values["surface_energy"],
                    # that of a target without validation labels is infinite
                    finite(one.sigmas["surface_energy"]) or 0.0,
                    finite(one.values.get("work_function")),
                    finite(one.sigmas.get("work_function")) or 0.0,
                    _slope(slab),
                    "model",
                    finite(one.shared.get("surface_energy")),
                    finite(one.shared.get("work_function")),
                )
            )
        for refusal in refused:
            key, slab = slabs[int(refusal.name)]
            if slab.miller_index in computed.get(key, ()):
                continue
            problems[key].append(f"{slab.miller_index} {slab.termination_label}: {refusal.reason}")
    return {
        key: PredictedFacets(tuple(terminations[key]), tuple(problems[key]), used[key])
        for key in (compound.bulk_key for compound in compounds)
    }


def _corrected(
    found: Sequence[SlabPrediction],
    slabs: Sequence[tuple[str, SymmetricSlab]],
    known: Mapping[str, ComputedFacets],
) -> tuple[list[SlabPrediction], Counter[str]]:
    """Correct the predictions of each compound by its DFT records; return how many of them did, too."""
    by_compound: dict[str, list[SlabPrediction]] = defaultdict(list)
    for one in found:
        by_compound[slabs[int(one.name)][0]].append(one)
    corrected: list[SlabPrediction] = []
    used: Counter[str] = Counter()
    for key, members in by_compound.items():
        facets = [slabs[int(one.name)][1] for one in members]
        places = [(slab.miller_index, slab.termination_label) for slab in facets]
        terminations = known[key].terminations if key in known else ()
        computed = [((one.miller_index, one.label), asdict(one)) for one in terminations]
        better, used[key] = correct_by_computed(members, places, computed)
        corrected += better
    return corrected, used


def _slope(slab: SymmetricSlab) -> float:
    """Return d gamma / d dmu of a slab of a binary (1/A^2), from its excess of the reference element."""
    bulk = Counter(site.specie.symbol for site in slab.oriented_bulk)
    if len(bulk) != 2:
        return 0.0
    reference = reference_element(bulk)
    (partner,) = set(bulk) - {reference}
    atoms = Counter(site.specie.symbol for site in slab.structure)
    imbalance = atoms[reference] * bulk[partner] - atoms[partner] * bulk[reference]
    return -imbalance / bulk[partner] / (2 * slab.area) if imbalance else 0.0
