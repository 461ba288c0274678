"""Finished runs as a flat table: one row for each run and target, for pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model.ablation import name_of

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
)


def flat_rows(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """List what each run found on each target.

    Parameters
    ----------
    results
        As `model.ablation.ablate` returns them.

    Returns
    -------
    list of dict
        With the keys `COLUMNS`: what was run (``data`` tells the labelled slabs apart), then the figures of
        the test part in the target's own unit (eV/Å² or eV) and the training time in s.
    """
    return [_row(run, target) for run in results for target in run["targets"]]


def _row(run: Mapping[str, Any], target: str) -> dict[str, Any]:
    settings, found = run["settings"], run["metrics"][target]
    test = found["test"]
    values = (
        name_of(run),
        *(settings[name] for name in ("split", "seed", "folds", "fold", "train_fraction", "members")),
        settings["epochs"],
        run["data"],
        target,
        run["sizes"]["train"],
        test["n"],
        found["val"]["mae"],
        *(test[name] for name in ("mae", "rmse", "r2")),
        found["macro_mae"],
        found["facet_order"]["kendall_tau"],
        found["coverage_90"],
        found["spearman_sigma"],
        run["seconds"],
    )
    return dict(zip(COLUMNS, values, strict=True))
