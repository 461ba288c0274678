"""Error against the depth down to which atoms belong to the surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.report.style import PALETTE, SINGLE_COLUMN, add_panel_letters, new_figure, printed
from workflows.report.training_figures import add_unit, target_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure


def depth_figure(points: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw validation and test MAE against the depth, a panel for each target; figure S3 of Shi et al.

    Points are those of `model.training.depth_scan.depth_curve`.
    """
    targets = list(dict.fromkeys(str(point["target"]) for point in points))
    with printed():
        figure = new_figure(SINGLE_COLUMN, 1.75 * len(targets) + 0.35)
        panels = list(figure.subplots(len(targets), 1, sharex=True, squeeze=False)[:, 0])
        for axes, target in zip(panels, targets, strict=True):
            own = [point for point in points if point["target"] == target]
            for k, (part, name) in enumerate((("val", "validation"), ("test", "test"))):
                axes.errorbar(
                    [p["depth"] for p in own], [p[f"{part}_mae"] for p in own],
                    yerr=[p[f"{part}_spread"] or 0.0 for p in own], color=PALETTE[k], marker="os"[k],
                    capsize=2, label=name,
                )  # fmt: skip
            axes.set_ylabel(add_unit(f"{target_name(target)}\nMAE", target))
        panels[-1].set_xlabel("depth of the surface (Å)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        add_panel_letters(panels)
        figure.align_ylabels(panels)
    return figure
