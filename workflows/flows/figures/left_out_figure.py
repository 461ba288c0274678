"""Figure 6a: DFT and predicted Wulff shapes of compounds that a model was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.flows.figures.inputs import Drawn, MissingDataError, preference

if TYPE_CHECKING:
    from workflows.analysis.wulff_comparison import ShapeComparison
    from workflows.flows.figures.inputs import FigureInputs, TrainedRun


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
    command = (
        f"mgsurf ablate --preset sem-cgcnn --seeds 1 --split compound:MgCo2 --store {inputs.store} --output "
        "mgco2/ makes one"
    )
    if not groups:
        raise MissingDataError(f"no training that leaves a compound out by name; {command}")
    shapes: list[ShapeComparison] = []
    missing: list[str] = []
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
