"""Trees and a Gaussian process on the descriptors of slabs, and their blend with the networks of an ensemble.

Descriptors are of a whole slab, networks see its atoms. The three err differently, so that their mean errs
less; their blend weights are fitted on the validation set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from model.baselines.descriptors import describe_slabs, descriptor_names
from model.baselines.extra_trees import Forest
from model.baselines.gaussian_process import GaussianProcess
from model.evaluation.metrics import labels
from stores.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.data.dataset import Dataset

    Array = NDArray[np.float64]

STEPS = 12
"""The share of networks, trees and process that is not `LEAST` is given out in so many equal parts."""

LEAST = 1 / 6
"""Share that each of the three has, whatever their errors on the validation set: a few chemical systems do
not represent others."""

FEWEST_LABELS = 60
"""Validation labels below which nothing is chosen by their errors: that would be chance, and intervals that
are calibrated on them too narrow. The three share evenly then, and the process is that of `UNCHOSEN`."""

UNCHOSEN = 2  # place among `model.baselines.gaussian_process.STAGES`


@dataclass(frozen=True, eq=False)
class DescriptorModels:
    """Trees and a Gaussian process for those targets that have enough labels."""

    # forests, processes: by target, the same in both
    forests: dict[str, Forest]
    processes: dict[str, GaussianProcess]
    # by target: of networks, trees and process, in this order; they sum to 1
    shares: dict[str, tuple[float, float, float]]

    @classmethod
    def fit(
        cls,
        train_part: Dataset,
        val_part: Dataset,
        networks: dict[str, Array],
        trees: int,
        seed: int,
        folds: NDArray[np.intp],
    ) -> tuple[Self, dict[str, Array]]:
        """Fit both to the training set, and the blend weights to the validation set.

        Parameters
        ----------
        networks
            Predictions of the networks for the validation set, [n] by target, in its unit.
        trees
            Trees for each target.
        seed
            Of the trees' branches, and of the slabs that a process is given where there are too many.
        folds
            [n] of the validation set, see `model.evaluation.calibration.fold_numbers`.

        Returns
        -------
        descriptor_models, held_out
            And by target [folds, n]: predictions for the validation set with the weights, and the stage of
            the process, that follow without the labels of each fold.

        Raises
        ------
        InputError
            If scikit-learn is missing.
        """
        training, validation = (
            describe_slabs([entry.graph for entry in part]) for part in (train_part, val_part)
        )
        forests, processes, shares, held_out = {}, {}, {}, {}
        for name, network in networks.items():
            forest = Forest.fit(training, labels(train_part, name), trees, seed)
            stages = GaussianProcess.fit(training, labels(train_part, name), seed)
            if forest is None or not stages:
                continue
            forests[name] = forest
            mean = forest.predict(validation)[0]
            each = [process.predict(validation) for process in stages]
            true, rows = labels(val_part, name), []
            for fold in range(int(folds.max(initial=0)) + 1):
                chosen, (a, b, c) = fit_blend_weights(network, mean, each, true, folds != fold)
                rows.append(a * network + b * mean + c * each[chosen])
            held_out[name] = np.stack(rows)
            chosen, shares[name] = fit_blend_weights(network, mean, each, true)
            processes[name] = stages[chosen]
        return cls(forests, processes, shares), held_out

    def predict(
        self, networks: dict[str, Array], descriptors: NDArray[np.float32]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Blend the networks' predictions [n] by target with trees and process; add the trees' deviation.

        descriptors: [n, D], see `describe_slabs`. The second result has the targets with trees only.
        """
        mixed, spread = dict(networks), {}
        for name, forest in self.forests.items():
            trees, spread[name] = forest.predict(descriptors)
            process = self.processes[name].predict(descriptors)
            a, b, c = self.shares[name]
            mixed[name] = a * networks[name] + b * trees + c * process
        return mixed, spread

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers for a file."""
        return {
            "descriptors": list(descriptor_names()),
            "targets": {
                name: {
                    "forest": self.forests[name].state(),
                    "process": self.processes[name].state(),
                    "shares": list(self.shares[name]),
                }
                for name in self.forests
            },
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Read `state`; raises InputError if its parts do not fit together."""
        try:
            targets = dict(state["targets"])
            shares = {name: tuple(float(v) for v in values["shares"]) for name, values in targets.items()}
            known = tuple(state["descriptors"]) == descriptor_names()
            parts = {name: (values["forest"], values["process"]) for name, values in targets.items()}
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"its trees and process are damaged ({error})") from error
        if not known:
            raise InputError("its trees and process were made with other descriptors than this version's")
        for name, values in shares.items():
            if len(values) != 3 or min(values) < 0 or not abs(sum(values) - 1) < 1e-6:
                raise InputError(f"the shares of its networks, trees and process in {name} do not sum to 1")
        width = len(descriptor_names())
        forests = {name: Forest.from_state(forest) for name, (forest, _) in parts.items()}
        processes = {name: GaussianProcess.from_state(process, width) for name, (_, process) in parts.items()}
        if any(forest.width != width for forest in forests.values()):
            raise InputError("its trees do not fit its descriptors")
        return cls(forests, processes, shares)  # type: ignore[arg-type]  # three each, see above


def fit_blend_weights(
    network: Array, trees: Array, stages: list[Array], true: Array, used: NDArray[np.bool_] | None = None
) -> tuple[int, tuple[float, float, float]]:
    """Return the stage of the process and the blend weights with the least MAE on the validation set.

    Parameters
    ----------
    network, trees
        Their predictions, [n], in the target's unit.
    stages
        Predictions of the process at each stage, [n] each.
    true
        [n], NaN where there is no label.
    used
        [n], slabs whose errors count; None: all. Whether anything is fitted depends on all labels.

    Returns
    -------
    stage, weights
        Place among `stages`; weights of network, trees and process.
    """
    known = np.isfinite(true)
    if known.sum() < FEWEST_LABELS:
        return UNCHOSEN, (1 / 3, 1 / 3, 1 / 3)
    if used is not None and (known & used).any():
        known &= used
    parts = np.array([(i, j, STEPS - i - j) for i in range(STEPS + 1) for j in range(STEPS + 1 - i)])
    shares = LEAST + (1 - 3 * LEAST) * parts / STEPS  # [choices, 3]
    errors = [
        np.abs(shares @ np.stack([network, trees, process])[:, known] - true[known]).mean(axis=1)
        for process in stages
    ]
    stage, choice = np.unravel_index(np.argmin(errors), (len(stages), len(shares)))
    a, b, c = (float(share) for share in shares[choice])
    return int(stage), (a, b, c)
