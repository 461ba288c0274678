"""Figure 5: learning curves and errors of fine-tuned trainings beside those from scratch."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from stores.errors import pluralize
from workflows.flows.figures.inputs import KIND_COLUMNS, Drawn, MissingDataError, most_common

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workflows.flows.figures.inputs import FigureInputs, TrainedRun

    Row = dict[str, Any]

TUNED = " fine-tuned"
"""In the names of models that began with a pre-trained one, see `model.training.ablation.name_of`."""

SMALL = 0.2  # share of the training set whose errors are shown, as in the paper, or the nearest there is


def transfer(inputs: FigureInputs) -> Drawn:
    """Figure 5: learning curves from scratch and fine-tuned, and the distributions of their errors."""
    from workflows.report.paper.model_errors import transfer_figure

    panels = transfer_panels(inputs.transferred, inputs.curve_rows)
    command = (
        "mgsurf ablate --from sem-cgcnn/ --train-fraction 0.2 --train-fraction 1 --store OTHER.sqlite "
        "--output transfer/ makes them"
    )
    if not panels:
        raise MissingDataError(f"no fine-tuned trainings given, nor a table of them; {command}")
    curves = [
        {"data": panel["data"], "target": panel["target"], "model": model, **point}
        for panel in panels
        for model, points in panel["curves"].items()
        for point in points
    ]
    lacking = [panel for panel in panels if not panel["errors"]]
    missing = (f"no predictions of these trainings for the distribution of errors; {command}",)
    return Drawn(
        transfer_figure(panels),
        {"": curves, "_errors": error_rows(panels)},
        tuple(
            f"{panel['data']}, {panel['target'].replace('_', ' ')}: "
            + ", ".join(f"{m} MAE {p[-1]['mae']:.3g} with {p[-1]['n']}" for m, p in panel["curves"].items())
            for panel in panels
        ),
        (*(missing if lacking else ()), *dict.fromkeys(p["aside"] for p in panels if p["aside"])),
    )


def transfer_panels(runs: Sequence[TrainedRun], rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Collect learning curves and, at a small training set, errors: a panel per data set, split and target.

    Parameters
    ----------
    runs
        Fine-tuned and from scratch; targets that are classes are left out.
    rows
        Of tables of `mgsurf ablate`; a run of both counts once.

    Returns
    -------
    list of dict
        As `workflows.report.paper.model_errors.transfer_figure` takes them. Runs of one kind alone
        (`TrainedRun.kind`) and of one pre-trained model, those that most are of; ``aside`` is a line about
        the others.
    """
    found = _all_rows(runs, rows)
    panels = []
    keys = ("data", "split", "target")
    for key in dict.fromkeys(tuple(r[k] for k in keys) for r in found if TUNED in r["model"]):
        _, split, target = key
        own, aside = _of_one_kind([row for row in found if tuple(row[k] for k in keys) == key])
        presets = {row["model"].partition(TUNED)[0] for row in own}
        of_data = [row["run"] for row in own if row["run"] is not None]
        errors, n = _errors(of_data, target, len(presets) > 1)
        panels.append(
            {
                "data": _words(of_data, own) + ("" if split == "random" else f", {split}"),
                "target": target,
                "curves": _curves(own, len(presets) > 1),
                "errors": errors,
                "n": n,
                "aside": ""
                if not aside
                else f"{pluralize(aside, 'training')} of other settings ({', '.join(KIND_COLUMNS)}, "
                "parameters or pre-trained model) left out of the averages; name folders of one kind",
            }
        )
    return panels


def _all_rows(runs: Sequence[TrainedRun], tables: Sequence[Mapping[str, Any]]) -> list[Row]:
    """List runs and rows of tables, a run of both once, with its ``run``, ``kind`` and ``start``."""
    from model.training.ablation_rows import flat_rows

    found: dict[tuple[Any, ...], Row] = {}
    known: set[tuple[Any, ...]] = set()  # runs by what tables, of this version or earlier, have of them
    for run in runs:
        start = json.dumps(run.content["settings"].get("transfer"), sort_keys=True)
        for row in flat_rows([run.content]):
            if row["mae"] is None:
                continue
            columns = tuple("" if row[name] is None else str(row[name]) for name in KIND_COLUMNS)
            known |= {_key(row), (*_key(row), columns)}
            found[*_key(row), run.kind, start] = {
                **row, "run": run, "kind": (columns, run.kind), "start": start
            }  # fmt: skip
    for one in tables:
        columns = one.get("kind") or ("",) * len(KIND_COLUMNS)
        if ((*_key(one), columns) if any(columns) else _key(one)) in known:
            continue
        kinds = [other["kind"] for other in found.values() if other["kind"][0] == columns]
        kind = kinds[0] if kinds else (columns, "")
        found[*_key(one), kind, ""] = {**one, "run": None, "kind": kind, "start": None}
    return list(found.values())


def _of_one_kind(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """Return the rows that may be averaged, and how many may not."""
    tuned = {row["kind"] for row in rows if TUNED in row["model"]}
    same, _ = most_common([row for row in rows if row["kind"] in tuned], lambda row: row["kind"])
    kept = []
    for model in dict.fromkeys(row["model"] for row in same):
        kept += most_common([row for row in same if row["model"] == model], lambda row: row["start"])[0]
    return kept, len(rows) - len(kept)


def error_rows(panels: Sequence[Mapping[str, Any]]) -> list[Row]:
    """List the errors of panels, one row each."""
    return [
        {
            "data": panel["data"],
            "target": panel["target"],
            "model": model,
            "n": panel["n"],
            "error": error,
        }
        for panel in panels
        for model, errors in panel["errors"].items()
        for error in errors
    ]


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[k] for k in ("data", "target", "model", "split", "seed", "fold", "train_fraction"))


def _name(model: str, several: bool) -> str:
    """Name a model by its start alone where all have one preset."""
    if several:
        return model
    return f"fine-tuned{model.partition(TUNED)[2]}" if TUNED in model else "from scratch"


def _curves(rows: Sequence[Mapping[str, Any]], several: bool) -> dict[str, list[Row]]:
    import numpy as np

    from model.evaluation.metrics import mean_and_spread

    groups: dict[tuple[str, float], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["model"], row["train_fraction"]].append(row)
    curves: dict[str, list[Row]] = {}
    for (model, fraction), own in sorted(groups.items()):
        mae = mean_and_spread([row["mae"] for row in own])
        curves.setdefault(_name(model, several), []).append(
            {
                "train_fraction": fraction,
                "n": round(float(np.mean([row["n_train"] for row in own]))),
                "runs": len(own),
                "mae": mae["mean"],
                "spread": mae["spread"],
            }
        )
    return curves


def _errors(runs: Sequence[TrainedRun], target: str, several: bool) -> tuple[dict[str, list[float]], int]:
    """Errors of the test set by model, all seeds together, and the number of training slabs; {} without."""
    from model.training.ablation import name_of

    both = {r.fraction for r in runs if r.tuned} & {r.fraction for r in runs if not r.tuned}
    if not both:
        return {}, 0
    fraction = min(both, key=lambda share: (abs(share - SMALL), share))
    chosen = [run for run in runs if run.fraction == fraction]
    errors: dict[str, list[float]] = defaultdict(list)
    for run in sorted(chosen, key=lambda run: (run.tuned, run.content["settings"]["seed"])):
        errors[_name(name_of(run.content), several)] += [
            row[f"{target}_predicted"] - row[target]
            for row in run.rows()
            if row["part"] == "test" and None not in (row[target], row[f"{target}_predicted"])
        ]
    return dict(errors), round(sum(run.content["sizes"]["train"] for run in chosen) / len(chosen))


def _words(runs: Sequence[TrainedRun], rows: Sequence[Mapping[str, Any]]) -> str:
    """Name a data set by its slabs."""
    if not runs:
        return f"up to {max(row['n_train'] for row in rows)} training slabs"
    whole = max(runs, key=lambda run: run.fraction)
    if whole.fraction < 1:
        return f"up to {whole.content['sizes']['train']} training slabs"
    kind = "slabs of pure elements" if all("-" not in r["chemsys"] for r in whole.rows()) else "slabs"
    return f"{sum(whole.content['sizes'].values())} {kind}"
