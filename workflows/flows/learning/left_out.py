"""Comparison of a model trained without a material with DFT: its facets and its Wulff shape."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Element

from model.data.formula_key import formula_key
from model.graphs.slab_frame import PlainSlab, frame_of
from stores.errors import InputError, pluralize
from stores.imported import imported_surfaces
from stores.structures.document import structure_from_document
from workflows.analysis.wulff import left_out
from workflows.analysis.wulff_comparison import PredictedSlab, compare_shapes
from workflows.analysis.wulff_draws import Termination
from workflows.flows.learning.imported_crystals import imported_crystals
from workflows.report.wulff import missing_lines
from workflows.structures.crystal import crystal_of
from workflows.structures.facets import standard_plane
from workflows.structures.terminations import layer_formula

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stores.surfaces import SurfaceStore
    from workflows.analysis.wulff_comparison import ShapeComparison
    from workflows.structures.crystal import Crystal

    Record = dict[str, Any]
    Row = Mapping[str, Any]

LAYER = 0.1  # atoms this close along the normal belong to the outermost layer (A)

_FIELDS = ("id", "bulk_id", "miller_index", "termination_label", "verdicts", "surface_energy_slope")
_VALUES = ("formula", "spacegroup_number", "surface_energy", "work_function")


def compare_left_out(
    store: SurfaceStore, runs: Sequence[Sequence[Row]], model: str, seen: Iterable[Row] = ()
) -> tuple[list[ShapeComparison], list[str]]:
    """Compare predictions of slabs that no training saw with their DFT values, crystal by crystal.

    Parameters
    ----------
    store
        Holds the slabs.
    runs
        For each training the rows of its ``predictions.csv`` (`model.training.runs.read_rows`). Predictions
        of several runs are averaged; the standard deviation is the root mean square of theirs.
    model
        Name of the model.
    seen
        Rows of the training that the runs began with, if they are fine-tuned.

    Returns
    -------
    tuple
        A comparison for each crystal of the test set, also of those without a closed Wulff shape, and lines
        about what could not be compared. Compounds of which any slab trained or validated are not compared.

    Raises
    ------
    InputError
        If the runs predict no surface energy.
    """
    predicted = _averaged(runs)
    if not any("surface_energy_predicted" in row for row in predicted.values()):
        raise InputError(f"{model}: predicts no surface energy, so that it gives no Wulff shape")
    known = {_compound(row) for row in (*chain(*runs), *seen) if row["part"] != "test"}
    trained = sorted({str(row["formula"]) for row in predicted.values() if _compound(row) in known})
    problems = [
        f"{formula}: {model} was trained on slabs of it; leave it out with --split compound:{formula}, "
        "also of the model that --from names"
        for formula in trained
    ]
    predicted = {key: row for key, row in predicted.items() if row["formula"] not in trained}
    comparisons = []
    for formula, crystal, records in _crystals(store, predicted, problems):
        slabs = [
            slab
            for record in records
            if (row := predicted.get(record["id"]))
            if (slab := _predicted_slab(crystal, record, row)) is not None
        ]
        if not slabs:
            problems.append(f"{formula} {crystal.spacegroup_symbol}: no slab has a DFT surface energy")
            continue
        naming = {"formula": formula, "spacegroup_number": crystal.spacegroup_number}
        missing = missing_lines(left_out(crystal, records, records), naming)
        comparisons.append(compare_shapes(formula, crystal, slabs, model, missing=missing))
    for one in comparisons:
        problems += [
            f"{one.name}, {kind}: {values.reason}"
            for kind, values in (("DFT", one.dft), (model, one.predicted))
            if values.reason
        ]
    return comparisons, problems


def _compound(row: Row) -> str:
    return formula_key(str(row["formula"]), str(row["chemsys"]), None)


def _averaged(runs: Sequence[Sequence[Row]]) -> dict[str, dict[str, Any]]:
    """Average the predictions of each slab of the test set; keys are the ids of the records."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for run in runs:
        for row in run:
            if row["part"] == "test":
                rows[row["record_id"]].append(row)
    averaged = {}
    for record_id, several in rows.items():
        values = dict(several[0])
        for name in values:
            # runs of earlier versions lack what is shared
            numbers = [row[name] for row in several if row.get(name) is not None]
            known = len(numbers) == len(several)
            if name.endswith("_predicted"):
                values[name] = float(np.mean(numbers)) if known else None
            elif name.endswith(("_sigma", "_shared")):
                values[name] = math.sqrt(np.mean(np.square(numbers))) if known else None
        averaged[record_id] = values
    return averaged


def _crystals(
    store: SurfaceStore, predicted: Mapping[str, Row], problems: list[str]
) -> Iterable[tuple[str, Crystal, Sequence[Record]]]:
    """Yield formula, crystal and records of each crystal that slabs were cut from."""
    wanted = {"id": {"$in": list(predicted)}}
    computed = list(store.query(wanted, (*_FIELDS, *_VALUES)))
    for bulk_id in dict.fromkeys(record["bulk_id"] for record in computed):
        bulk = next(store.query({"id": bulk_id}, ["structure"], limit=1, collection="bulks"), None)
        if bulk is None:
            problems.append(f"the bulk {bulk_id} is not in {store.uri}; run its campaign again")
            continue
        crystal = crystal_of(structure_from_document(bulk["structure"], f"the bulk {bulk_id}"))
        records = list(store.query({"bulk_id": bulk_id}, (*_FIELDS, *_VALUES)))
        yield records[0]["formula"], crystal, records
    imported: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in imported_surfaces(store, wanted, with_slabs=True):
        # the formula of a slab that does not show its crystal is that of others of its system
        formula = str(predicted[record["id"]]["formula"])
        imported[formula, record["source"]].append({**record, "formula": formula})
    for (formula, source), records in sorted(imported.items()):
        found, unknown = imported_crystals([{**r, "termination_label": _outermost(r)} for r in records])
        for one in found:
            # its own standard cell, which the indices refer to
            yield formula, crystal_of(one.crystal.structure), one.records
        if unknown:
            names = [str(record["source_id"]) for record in unknown]
            shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
            problems.append(
                f"{formula} of {source}: {pluralize(len(names), 'slab')} left out, too thin or too distorted "
                f"to show the plane: {shown}"
            )


def _outermost(record: Record) -> str:
    """Name the termination of an imported slab by the formula of its outermost layer."""
    frame = frame_of(PlainSlab.from_dict(record["slab"], f"the slab {record['source_id']}"))
    top = frame.numbers[frame.heights >= frame.thickness - LAYER]
    return layer_formula(Counter(Element.from_Z(number).symbol for number in top.tolist()))


def _predicted_slab(crystal: Crystal, record: Record, row: Row) -> PredictedSlab | None:
    """Return a slab with both values; None if its surface energy is unknown."""
    gamma = row.get("surface_energy")
    if gamma is None or row.get("surface_energy_predicted") is None:
        return None
    h, k, l_ = record["miller_index"]
    plane, label = standard_plane(crystal, (h, k, l_)), str(record.get("termination_label") or "")
    return PredictedSlab(
        str(record.get("source_id") or record["id"]),
        Termination(plane, label, gamma, work_function=row.get("work_function")),
        Termination(
            plane,
            label,
            row["surface_energy_predicted"],
            row.get("surface_energy_sigma") or 0.0,
            row.get("work_function_predicted"),
            row.get("work_function_sigma") or 0.0,
            source="model",
            surface_energy_shared=row.get("surface_energy_shared"),
            work_function_shared=row.get("work_function_shared"),
        ),
    )
