"""Table of the runs of an ablation, one row for each run and target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model.evaluation.criteria import error_of, judged_targets
from model.training.ablation import name_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLUMNS = (
    "model",
    "split",
    "seed",
    "folds",
    "fold",
    "train_fraction",
    "members",
    "epochs",
    "data",
    "target",
    "n_train",
    "n_test",
    "val_mae",
    "mae",
    "rmse",
    "r2",
    "macro_mae",
    "kendall_tau",
    "coverage_90",
    "spearman_sigma",
    "seconds",
    "metric",
    "val_error",
    "error",
    "accuracy",
    "macro_f1",
)


def flat_rows(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """List the result of each run for each target, for pandas.

    The keys are `COLUMNS`: settings (``data`` distinguishes labelled slabs), then the figures of the test set
    in the target's own unit (eV/Å² or eV) and the training time in s. ``metric`` names what ``error`` and
    ``val_error`` are: the MAE of quantities, the log loss of classes. Figures that only the other kind of
    targets has are None.
    """
    return [_row_of_run(run, target) for run in results for target in judged_targets(run)]


def _row_of_run(run: Mapping[str, Any], target: str) -> dict[str, Any]:
    settings, error = run["settings"], error_of(run, target)
    values = (
        name_of(run),
        *(settings[name] for name in ("split", "seed", "folds", "fold", "train_fraction", "members")),
        settings["epochs"],
        run["data"],
        target,
        run["sizes"]["train"],
        error.n["test"],
        *_of_quantity(run["metrics"].get(target)),
        run["seconds"],
        error.criterion.name,
        error.val,
        error.test,
    )
    scores = run.get("classes", {}).get(target, {}).get("test", {})
    return dict(zip(COLUMNS, (*values, scores.get("accuracy"), scores.get("macro_f1")), strict=True))


def _of_quantity(found: Mapping[str, Any] | None) -> tuple[float | None, ...]:
    """Figures from ``val_mae`` to ``spearman_sigma`` in a row of a run; None of classes."""
    if found is None:
        return (None,) * 8
    return (
        found["val"]["mae"],
        *(found["test"][name] for name in ("mae", "rmse", "r2")),
        found["macro_mae"],
        found["facet_order"]["kendall_tau"],
        found["coverage_90"],
        found["spearman_sigma"],
    )
