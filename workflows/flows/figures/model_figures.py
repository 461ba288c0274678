"""Figures of trained models: 2, 3, 4, 6a, S3 and S5."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError, duration, pluralize
from stores.method_names import quantity_of
from stores.plain import finite
from stores.verdicts import TARGETS
from workflows.flows.figures.inputs import (
    Drawn,
    MissingDataError,
    most_common,
    partner_elements,
    preference,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from workflows.analysis.wulff_comparison import ShapeComparison
    from workflows.flows.figures.inputs import FigureInputs, TrainedRun

    Row = dict[str, Any]

SINGLE = {"surface_energy": "stl-surface-energy", "work_function": "stl-work-function"}
_SAME = 0.98
"""Share of common slabs from which test sets count as one: presets find identical slabs in own graphs."""

NAMES = {"sem-cgcnn": "SEM-CGCNN", "best": "preset best"}


def parity(inputs: FigureInputs) -> Drawn:
    """Figure 2: predictions of CGCNN, SEM-CGCNN and, where it is there, best against DFT."""
    from workflows.report.paper.model_errors import parity_grid

    emphasised = _first(inputs.whole, "sem-cgcnn")
    if emphasised is None:
        raise MissingDataError(f"no training of preset sem-cgcnn given; {_train('sem-cgcnn', inputs)}")
    ordered = sorted(inputs.whole, key=lambda run: run.sets != emphasised.sets)
    plain: dict[str, TrainedRun] = {}
    if (run := _first(ordered, "mtl")) is not None:
        plain = dict.fromkeys(TARGETS, run)
    else:
        plain = {t: run for t, preset in SINGLE.items() if (run := _first(ordered, preset)) is not None}
    if set(plain) != set(TARGETS):
        raise MissingDataError(
            f"no training of CGCNN given (preset mtl, or {' and '.join(SINGLE.values())}); "
            f"{_train('mtl', inputs)}"
        )
    models: dict[str, Mapping[str, TrainedRun]] = {
        "CGCNN": plain,
        NAMES["sem-cgcnn"]: dict.fromkeys(TARGETS, emphasised),
    }
    if (run := _first(ordered, "best")) is not None:
        models[NAMES["best"]] = dict.fromkeys(TARGETS, run)
    read = {id(run): run.rows() for own in models.values() for run in own.values()}
    table, remarks, panels = [], [], {}
    for name, own in models.items():
        panels[name] = {t: (read[id(run)], _metrics(run, t)) for t, run in own.items()}
        for target, run in own.items():
            table += [
                {"model": name, "preset": run.preset, "target": target, "record_id": row["record_id"],
                 "formula": row["formula"], "part": row["part"], "dft": row[target],
                 "predicted": row[f"{target}_predicted"]}
                for row in read[id(run)]
                if row[target] is not None and row["part"] != "val"
            ]  # fmt: skip
        remarks.append(
            f"{name}: test MAE "
            + ", ".join(f"{t.replace('_', ' ')} {_metrics(r, t)['test']['mae']:.3g}" for t, r in own.items())
        )
    tested = [{r["record_id"] for r in rows if r["part"] == "test"} for rows in read.values()]
    common, largest = len(set.intersection(*tested)), max(map(len, tested))
    if common < _SAME * largest:
        remarks.append(
            f"the test sets share {common} of up to {largest} slabs, so their errors are not comparable"
        )
    return Drawn(parity_grid(panels, TARGETS), {"": table}, tuple(remarks))


def _metrics(run: TrainedRun, target: str) -> Mapping[str, Any]:
    found = run.content["metrics"].get(target)
    if found is None:
        raise MissingDataError(
            f"{run.folder}: predicts no {target.replace('_', ' ')}; train again with both targets"
        )
    return dict(found)


def _first(runs: Sequence[TrainedRun], preset: str) -> TrainedRun | None:
    return next((run for run in runs if run.preset == preset), None)


def errors_by_element(inputs: FigureInputs) -> Drawn:
    """Figure 3: labels, errors and MAPE by element, semiconductors marked."""
    from workflows.report.paper.model_errors import element_error_figure

    run = _one_model(inputs)
    rows = run.rows()
    targets = [target for target in TARGETS if target in run.content["targets"]]
    elements = element_rows(rows, targets)
    boxes = [
        {
            "element": row["element"],
            "kind": kind,
            "target": target,
            "n": len(row[kind][target]),
            **_quartiles(row[kind][target]),
        }
        for row in elements
        for kind in ("labels", "errors")
        for target in targets
    ]
    known = [row["mape"] for row in elements if row["mape"] is not None]
    return Drawn(
        element_error_figure(elements, targets),
        {
            "": [{k: v for k, v in row.items() if k not in ("labels", "errors")} for row in elements],
            "_boxes": boxes,
        },
        (
            f"{run.preset}: MAPE below 10 % for {sum(m < 10 for m in known)} and below 15 % for "
            f"{sum(m < 15 for m in known)} of {len(known)} elements with test slabs",
        ),
    )


def _one_model(inputs: FigureInputs) -> TrainedRun:
    run = inputs.preferred()
    if run is None:
        raise MissingDataError(f"no training given; {_train('sem-cgcnn', inputs)}")
    return run


def _train(preset: str, inputs: FigureInputs) -> str:
    """Name the command that makes a training."""
    command = f"mgsurf train --preset {preset} --store {inputs.store} --output {preset}/"
    return f"{command} makes one, then name that folder"


def element_rows(rows: Sequence[Mapping[str, Any]], targets: Sequence[str]) -> list[Row]:
    """Collect labels and test errors by element.

    Parameters
    ----------
    rows
        Of ``predictions.csv``.
    targets
        Among their columns.

    Returns
    -------
    list of dict
        By Mendeleev number: ``element``, ``mendeleev_number``, ``labels`` and ``errors`` (predicted minus
        DFT, test set) by target, ``mape_TARGET`` and ``mape`` (their mean; % of the label, None without test
        slabs), ``n_test``, ``n_metal``, ``n_semiconductor`` and ``semiconductor``.
    """
    from pymatgen.core import Composition

    from model.evaluation.element_vectors import mendeleev_number
    from model.evaluation.metrics import errors
    from workflows.analysis.semiconductor import semiconductor

    closed = {
        formula: bool(semiconductor(Composition(formula).get_el_amt_dict(), None))
        for formula in {str(row["formula"]) for row in rows}
    }
    found = []
    for symbol in partner_elements([str(row["chemsys"]).split("-") for row in rows]):
        own = [row for row in rows if symbol in str(row["chemsys"]).split("-")]
        test = [row for row in own if row["part"] == "test"]
        pairs = {
            t: [(r[t], r[f"{t}_predicted"]) for r in test if None not in (r[t], r[f"{t}_predicted"])]
            for t in targets
        }
        mape = {t: errors(*zip(*p, strict=True)).mape if p else math.nan for t, p in pairs.items()}
        known = [value for value in mape.values() if math.isfinite(value)]
        n_closed = sum(closed[str(row["formula"])] for row in own)
        found.append(
            {
                "element": symbol,
                "mendeleev_number": mendeleev_number(symbol),
                "labels": {t: [r[t] for r in own if r[t] is not None] for t in targets},
                "errors": {t: [b - a for a, b in p] for t, p in pairs.items()},
                **{f"mape_{t}": finite(value) for t, value in mape.items()},
                "mape": float(np.mean(known)) if known else None,
                "n_test": len(test),
                "n_metal": len(own) - n_closed,
                "n_semiconductor": n_closed,
                "semiconductor": 2 * n_closed > len(own),
            }
        )
    return found


def _quartiles(values: Sequence[float]) -> Row:
    names = ("minimum", "quartile_1", "median", "quartile_3", "maximum")
    if not len(values):
        return dict.fromkeys(names)
    return dict(zip(names, np.percentile(values, [0, 25, 50, 75, 100]).tolist(), strict=True))


@lru_cache(maxsize=1)  # figures 4 and S5 show the same
def _correlations(inputs: FigureInputs) -> tuple[list[str], dict[str, NDArray[np.float64]], list[Row], str]:
    """Elements, their correlations by stage, statistics of each stage, and the model's name."""
    from model.data.model_input import graphs_among
    from model.evaluation.element_vectors import (
        correlations,
        element_vectors,
        group_contrast,
        periodic_groups,
        ytterbium,
    )
    from model.training.ensemble_files import load_ensemble

    ensemble, name = inputs.ensemble, inputs.ensemble_name
    if ensemble is None:
        run = _one_model(inputs)
        ensemble, name = load_ensemble(run.folder), run.preset
    targets = tuple(dict.fromkeys(quantity_of(target) for target in ensemble.targets))
    dataset = inputs.datasets(ensemble.graph_settings, targets)
    known = set(ensemble.elements)
    symbols = [s for s in partner_elements([entry.elements for entry in dataset]) if s in known]
    if len(symbols) < 3:
        raise MissingDataError(
            f"{inputs.store} holds {len(symbols)} elements that the model was trained on, at least three are "
            "needed; name the store that it was trained on with --store"
        )
    vectors = element_vectors(ensemble.members[0], graphs_among(entry.graph for entry in dataset), symbols)
    matrices = {stage: correlations(values) for stage, values in vectors.items()}
    groups = periodic_groups(symbols)
    statistics = []
    for stage, matrix in matrices.items():
        contrast = group_contrast(matrix, groups)
        yb = ytterbium(symbols, matrix)
        statistics.append(
            {
                "stage": stage,
                "within": finite(contrast.within),
                "between": finite(contrast.between),
                "difference": finite(contrast.difference),
                "pairs_within": contrast.pairs_within,
                "pairs_between": contrast.pairs_between,
                "p_value": finite(contrast.p_value),
                "divalent": finite(yb.divalent) if yb else None,
                "trivalent": finite(yb.trivalent) if yb else None,
                "nearest_to_yb": " ".join(f"{s}:{r:.4f}" for s, r in yb.neighbours) if yb else "",
            }
        )
    return symbols, matrices, statistics, name


def element_correlations(inputs: FigureInputs) -> Drawn:
    """Figure 4: correlations between the embeddings of elements."""
    from workflows.report.paper.element_correlations import correlation_figure

    symbols, matrices, statistics, name = _correlations(inputs)
    return Drawn(
        correlation_figure(symbols, matrices["embedding"]),
        {"": _matrix_rows(symbols, {"embedding": matrices["embedding"]}), "_statistics": statistics[:1]},
        (f"{name}, {_in_words(statistics[0])}",),
    )


def convolved_correlations(inputs: FigureInputs) -> Drawn:
    """Figure S5: the same after each convolution."""
    from workflows.report.paper.element_correlations import convolution_figure

    symbols, matrices, statistics, name = _correlations(inputs)
    later = {stage: matrix for stage, matrix in matrices.items() if stage != "embedding"}
    return Drawn(
        convolution_figure(symbols, later, statistics),
        {"": _matrix_rows(symbols, later), "_statistics": statistics},
        tuple(f"{name}, {_in_words(row)}" for row in statistics[1:]),
    )


def _matrix_rows(symbols: Sequence[str], matrices: Mapping[str, NDArray[np.float64]]) -> list[Row]:
    return [
        {"stage": stage, "element": symbol, **dict(zip(symbols, row.tolist(), strict=True))}
        for stage, matrix in matrices.items()
        for symbol, row in zip(symbols, matrix, strict=True)
    ]


def _in_words(row: Mapping[str, Any]) -> str:
    if row["p_value"] is None:
        text = f"{row['stage']}: no two groups of the periodic table to compare"
    else:
        text = (
            f"{row['stage']}: mean correlation {row['within']:.3f} within and {row['between']:.3f} between "
            f"groups of the periodic table, p = {row['p_value']:.2g}"
        )
    if row["divalent"] is None or row["trivalent"] is None:
        return text
    nearest = row["nearest_to_yb"].split(" ")
    near = ", ".join(entry.partition(":")[0] for entry in nearest)
    return (
        f"{text}; Yb {row['divalent']:.3f} with divalent metals, {row['trivalent']:.3f} with trivalent "
        f"lanthanoids, nearest {near}"
    )


def surface_depth(inputs: FigureInputs) -> Drawn:
    """Figure S3: errors against the depth of the surface."""
    from model.training.depth_scan import DEPTHS, DepthScan, depth_curve, is_of_scan
    from workflows.report.paper.model_errors import depth_figure

    scans: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for run in inputs.runs:
        if is_of_scan(run.content):
            scans.setdefault((run.content["data"], run.content["settings"]["epochs"]), []).append(run.content)
    if inputs.scan is not None:
        scans = {key: runs for key, runs in scans.items() if key[1] == inputs.scan.epochs}
    chosen = max(scans.values(), key=len, default=[])
    points = depth_curve(chosen)
    if len({point["depth"] for point in points}) < 2:
        plan = inputs.scan or DepthScan()
        try:
            cost = f" (about {duration(plan.seconds(len(inputs.slabs), len(plan.runs())))} of one core)"
        except InputError:
            cost = ""
        raise MissingDataError(
            f"no trainings at different depths; mgsurf figures --only S3 --scan-depth --store "
            f"{inputs.store} makes {len(DEPTHS)}{cost}, fewer --epochs take less"
        )
    remarks = []
    for target in dict.fromkeys(point["target"] for point in points):
        own = [point for point in points if point["target"] == target]
        best = min(own, key=lambda point: (point["val_mae"], point["depth"]))
        remarks.append(
            f"{target.replace('_', ' ')}: validation MAE lowest at {best['depth']:g} Å "
            f"({best['val_mae']:.3g}, test {best['test_mae']:.3g}; {best['epochs']} epochs)"
        )
    return Drawn(depth_figure(points), {"": points}, tuple(remarks))


def left_out_shapes(inputs: FigureInputs) -> Drawn:
    """Compare the shapes, for each compound or element left out by the model that figures prefer.

    Seeds of one model count together. Fine-tuned models are left aside, for what they have seen before is not
    in their folder.
    """
    from stores.connections import open_store
    from workflows.flows.learning.left_out import compare_left_out
    from workflows.report.wulff_comparison import comparison_figure, facet_rows

    groups: dict[str, list[TrainedRun]] = {}
    for run in sorted(inputs.runs, key=preference):
        if run.left_out and not run.tuned and run.fraction == 1:
            same = groups.setdefault(run.left_out, [])
            if not same or same[0].preset == run.preset:
                same.append(run)
    aside = {}
    for left_out, several in groups.items():
        groups[left_out], aside[left_out] = most_common(several, lambda run: run.kind)
    command = (
        f"mgsurf ablate --preset sem-cgcnn --seeds 1 --split compound:MgCo2 --store {inputs.store} --output "
        "mgco2/ makes one"
    )
    if not groups:
        raise MissingDataError(f"no training that leaves a compound out by name; {command}")
    shapes: list[ShapeComparison] = []
    missing = [
        f"{left_out}: {pluralize(n, 'training')} of other settings (epochs, members, parameters) left out of "
        "the average; name folders of one kind"
        for left_out, n in aside.items()
        if n
    ]
    with open_store(inputs.store, must_exist=True) as store:
        for runs in groups.values():
            found, problems = compare_left_out(store, [run.rows() for run in runs], runs[0].preset)
            shapes += found
            missing += problems
    drawn = [one for one in shapes if None not in (one.dft.surface_energy, one.predicted.surface_energy)]
    if not drawn:
        raise MissingDataError(
            "; ".join(missing)
            or f"{inputs.store} holds no slab of {', '.join(groups)}; name the store of these trainings"
        )
    remarks = [
        f"{one.formula} by {one.model}: weighted surface energy {one.predicted.surface_energy:.4f} eV/Å² "
        f"({one.dft.surface_energy:.4f} by DFT)"
        for one in drawn
    ]
    return Drawn(
        comparison_figure(drawn),
        {"": [row for one in drawn for row in facet_rows(one)]},
        tuple(remarks),
        tuple(missing),
        takes_title=False,
    )
