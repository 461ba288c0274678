"""Screening: all facets of each compound, averages over its Wulff shape, and its dissolution potential."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError, pluralize
from stores.learning.screenings import (
    PastValues,
    ScreenedFacet,
    ScreeningRecord,
    keep_screenings,
    stored_screenings,
)
from stores.records import content_hash
from workflows.analysis.dissolution import dissolution, known_cations
from workflows.analysis.semiconductor import semiconductor
from workflows.analysis.surface_energy import reference_element
from workflows.analysis.wulff_draws import WeightedValues, weighted_values
from workflows.flows.screening.compounds import BY_COMPOSITION
from workflows.flows.screening.facets import computed_facets, predicted_facets
from workflows.report.table import with_sigma
from workflows.structures.slabs import SlabSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from model.training.ensemble import Ensemble
    from stores.surfaces import SurfaceStore
    from workflows.flows.screening.compounds import ScreenedCompound
    from workflows.flows.screening.facets import ComputedFacets, PredictedFacets

BATCH = 10
"""Compounds that are cut, predicted and stored at once: what an interruption costs at most. Their slabs up to
Miller index 1 are predicted sooner than other processes start."""

METHOD_VERSION = 2  # raised when the same inputs give other values


@dataclass(frozen=True)
class ScreeningSettings:
    """What a screening is made with; part of the identity of its results."""

    max_index: int = 1  # largest absolute Miller index
    min_thickness: float = 10.0  # of slabs that a model predicts (A)
    dmu: float = 0.0  # chemical potential of the reference element (eV); 0: rich in it
    x_rich: bool = False  # at the other end of the window, which the formation energy sets
    draws: int = 200  # from the predictive distribution
    # of the model's errors within a compound (0 to 1), for models that do not state it themselves
    correlation: float = 0.5
    # concentration, temperature: of the dissolution (mol/L, K)
    concentration: float = 1e-6
    temperature: float = 298.15
    charges: Mapping[str, int] = field(default_factory=dict)  # chosen cations by element


def screen(
    compounds: Sequence[ScreenedCompound],
    store: SurfaceStore,
    ensemble: Ensemble | None,
    version: str,
    settings: ScreeningSettings,
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> list[ScreeningRecord]:
    """Screen compounds; what is stored with equal inputs is not computed again.

    Parameters
    ----------
    compounds
        From `workflows.flows.screening.compounds`.
    store
        Holds DFT records, which come before predictions, and keeps the results.
    ensemble, version
        The model for facets without a DFT value, and its name; None: DFT records alone.
    settings
        Of the screening.
    workers
        Processes that build graphs.
    progress
        Called with the number of compounds done.

    Returns
    -------
    list of ScreeningRecord
        In the order of the compounds.

    Raises
    ------
    InputError
        If the model was not trained on surface energies of slabs.
    """
    if ensemble is not None and "slab" not in ensemble.kinds.get("surface_energy", ()):
        raise InputError(
            f"the model predicts {', '.join(ensemble.targets)}, no surface energies of slabs; name another "
            "by --model"
        )
    plain = {**asdict(settings), "charges": dict(settings.charges)}
    ids = {c.bulk_key: content_hash({"crystal": c.bulk_key, **plain}) for c in compounds}
    stored = stored_screenings(store, list(ids.values()))
    cut = SlabSettings(settings.max_index, min_thickness=settings.min_thickness, max_atoms=None)
    done: dict[str, ScreeningRecord] = {}
    for start in range(0, len(compounds), BATCH):
        batch = compounds[start : start + BATCH]
        potentials = {c.bulk_key: _chemical_potential(c, settings)[0] for c in batch}
        known = computed_facets(store, potentials, settings.max_index)
        todo: list[tuple[ScreenedCompound, str]] = []
        for compound in batch:
            key = compound.bulk_key
            inputs = content_hash(
                {
                    "model": version if ensemble else "",
                    "method": [METHOD_VERSION, *map(repr, known_cations().values())],
                    "records": known[key].state if key in known else "",
                    "formation_energy": compound.formation_energy,
                    "lattice_is_guess": compound.lattice_is_guess,
                    "band_gap": compound.band_gap,
                    # absent without one, as before there were predicted energies; older results have another
                    # key, for the error did not enter their surface energies
                    **(
                        {} if compound.energy_sigma is None else {"energy_sigma_drawn": compound.energy_sigma}
                    ),
                }
            )
            old = stored.get(ids[key])
            if old is not None and old.inputs == inputs:
                names = {"label": compound.label, "energy_source": compound.energy_source, "past": None}
                done[key] = old.model_copy(update=names)
            else:
                todo.append((compound, inputs))
        predicted = predicted_facets([c for c, _ in todo], known, ensemble, cut, workers)
        fresh = []
        for compound, inputs in todo:
            key = compound.bulk_key
            record = _record(
                compound, known.get(key), predicted[key], settings, ensemble, version, ids[key], inputs, plain
            )
            if (old := stored.get(ids[key])) is not None:
                record.past = PastValues(
                    model=old.model, surface_energy=old.surface_energy, work_function=old.work_function,
                    potential=old.potential,
                )  # fmt: skip
            fresh.append(record)
            done[key] = record
        keep_screenings(store, fresh)
        if progress is not None:
            progress(len(done))
    return [done[compound.bulk_key] for compound in compounds]


def _record(
    compound: ScreenedCompound,
    known: ComputedFacets | None,
    predicted: PredictedFacets,
    settings: ScreeningSettings,
    ensemble: Ensemble | None,
    version: str,
    record_id: str,
    inputs: str,
    plain: dict[str, Any],
) -> ScreeningRecord:
    crystal = known.crystal if known else compound.crystal
    terminations = (*(known.terminations if known else ()), *predicted.terminations)
    amounts = compound.composition.get_el_amt_dict()
    reasons = list(predicted.problems)
    dmu, drawn, note = _chemical_potential(compound, settings)
    dmu_sigma = 0.0 if drawn is None or len(drawn) < 2 else float(drawn.std(ddof=1))
    if crystal is None:
        values = WeightedValues()
    elif ensemble is not None and "surface_energy" not in ensemble.targets:
        values = WeightedValues(reason=f"the model {version} knows no surface energy")
    else:
        values = weighted_values(
            crystal,
            terminations,
            dmu=dmu,
            drawn_dmu=drawn,
            draws=settings.draws,
            correlation=settings.correlation,
            seed=_seed(compound),
        )
    if values.reason:
        reasons.append(values.reason)
    dissolved = dissolution(
        amounts,
        compound.formation_energy,
        concentration=settings.concentration,
        temperature=settings.temperature,
        charges=settings.charges,
        formation_energy_sigma=compound.energy_sigma,
    )
    if dissolved.reason:
        reasons.append(f"no dissolution potential: {dissolved.reason}")
    uses_model = any(facet.termination.source == "model" for facet in values.facets)
    unseen = sorted(set(amounts) - set(ensemble.elements)) if ensemble and uses_model else []
    notes = [*note, *dissolved.notes]
    if predicted.corrected_by:
        notes.append(f"corrected by {pluralize(predicted.corrected_by, 'DFT record')}")
    if compound.lattice_is_guess and not known:
        notes.append("estimated lattice")
    if crystal is None:
        notes.append("no crystal, so no surfaces")
    if compound.energy_source.startswith(BY_COMPOSITION):
        energy = with_sigma(compound.formation_energy or 0.0, compound.energy_sigma)
        notes.append(
            "; ".join([f"formation energy {energy} eV/atom by composition", *compound.energy_warnings])
        )
    return ScreeningRecord(
        id=record_id,
        inputs=inputs,
        label=compound.label,
        formula=compound.formula,
        bulk_key=compound.bulk_key,
        spacegroup_number=crystal.spacegroup_number if crystal else 0,
        spacegroup_symbol=crystal.spacegroup_symbol if crystal else "",
        lattice=crystal.lattice.tolist() if crystal else [],
        species=list(crystal.species) if crystal else [],
        positions=crystal.positions.tolist() if crystal else [],
        settings=plain,
        model=version if uses_model else "",
        surface_energy=values.surface_energy,
        surface_energy_sigma=values.surface_energy_sigma,
        work_function=values.work_function,
        work_function_sigma=values.work_function_sigma,
        shape_factor=values.shape_factor,
        facets=[
            ScreenedFacet(
                miller_index=share.termination.miller_index,
                termination=share.termination.label,
                surface_energy=share.termination.surface_energy + share.termination.slope * dmu,
                surface_energy_sigma=math.hypot(
                    share.termination.surface_energy_sigma, share.termination.slope * dmu_sigma
                ),
                work_function=share.termination.work_function,
                work_function_sigma=share.termination.work_function_sigma,
                source=share.termination.source,
                area_fraction=share.area_fraction,
                appears=share.appears,
            )
            for share in values.facets
        ],
        dmu=dmu,
        potential=dissolved.potential,
        potential_sigma=dissolved.potential_sigma,
        cations=[str(cation) for cation in dissolved.cations],
        formation_energy=compound.formation_energy,
        formation_energy_sigma=compound.energy_sigma,
        energy_source=compound.energy_source,
        semiconductor=semiconductor(amounts, compound.band_gap, compound.structure),
        unseen_elements=unseen,
        notes=notes,
        reasons=reasons,
    )


def _chemical_potential(
    compound: ScreenedCompound, settings: ScreeningSettings
) -> tuple[float, NDArray[np.float64] | None, list[str]]:
    """Return the chemical potential of the reference element (eV), as drawn, and a note if it was moved."""
    # the formation energy sets the end of the window, whose error moves it in each draw: [draws], else None
    amounts = compound.composition.get_el_amt_dict()
    if compound.structure is None or (not settings.x_rich and settings.dmu == 0):
        return 0.0, None, []
    if len(amounts) != 2:
        return 0.0, None, ["a chemical potential is defined for binaries only; taken at 0"]
    if compound.formation_energy is None or compound.formation_energy > 0:
        note = "no window of the chemical potential without a negative formation energy; taken at 0"
        return 0.0, None, [note]
    share = sum(amounts.values()) / amounts[reference_element(amounts)]
    low = compound.formation_energy * share
    requested = -math.inf if settings.x_rich else settings.dmu
    dmu = min(max(requested, low), 0.0)
    drawn = None
    if compound.energy_sigma:
        random = np.random.default_rng([_seed(compound), 1])
        ends = low + share * compound.energy_sigma * random.standard_normal(settings.draws)
        drawn = np.minimum(np.maximum(requested, ends), 0.0)
    if settings.x_rich or dmu == requested:
        return dmu, drawn, []
    note = f"dmu {settings.dmu:g} eV lies outside the window {low:.3f} to 0 eV; taken at {dmu:.3f}"
    return dmu, drawn, [note]


def _seed(compound: ScreenedCompound) -> int:
    return int(compound.bulk_key[:8], 16)
