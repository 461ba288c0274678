"""Trees and process alone on chemical systems that they never saw: errors, intervals, known facets.

    python -m benchmarks.unseen_systems slabs.sqlite --fold 3 --fold 4

For each fold by chemical system and each target: 50 trees and a process of equal lengths, a half each, with
the intervals and the correlation within compounds of `model.baselines.unseen_elements`. Of compounds with
three slabs or more one or two facets are drawn four times, and correct the others.
"""

from __future__ import annotations

import argparse

import numpy as np

from model.baselines.compounds import with_other_elements
from model.baselines.descriptors import describe_slabs
from model.baselines.extra_trees import Forest
from model.baselines.gaussian_process import NO_COMPOUND, GaussianProcess
from model.baselines.unseen_elements import TREES, Folds, Sample, fit_unseen
from model.data.model_input import graphs_among
from model.data.splits import k_fold
from model.evaluation.calibration import NORMAL_QUANTILE
from model.evaluation.joint_errors import KnownFacets
from model.evaluation.metrics import facet_order, labels
from model.training.presets import find_preset
from workflows.cli.learning import labelled_slabs

FOLDS = 5
DRAWS = 4


def main() -> None:
    """Measure the given folds, numbered from 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store")
    parser.add_argument("--fold", type=int, action="append", choices=range(1, FOLDS + 1))
    given = parser.parse_args()
    targets = ("surface_energy", "work_function")
    dataset = labelled_slabs([f"sqlite:///{given.store}"], None)(find_preset("best").graph, targets)
    graphs = graphs_among(entry.graph for entry in dataset)
    described, names = describe_slabs(graphs), np.array([entry.compound for entry in dataset])
    numbers = np.unique(names, return_inverse=True)[1].astype(np.int64)
    splits = k_fold(dataset, "chemsys", FOLDS)
    for number in given.fold or range(1, FOLDS + 1):
        split, rng = splits[number - 1], np.random.default_rng(0)
        train = np.array(split.train)
        known = {z for i in train for z in graphs[i].numbers.tolist()}
        val, test = (
            np.array(part)[with_other_elements([graphs[i] for i in part], known)]
            for part in (split.val, split.test)
        )
        by_system = Folds.of(dataset.subset(train.tolist()))
        assert by_system is not None
        for name in targets:
            true = labels(dataset, name)
            own = numbers[train] if name == "surface_energy" else None
            process = GaussianProcess.fit(described[train], true[train], number - 1, own, stages=(0,))[0]
            forest = Forest.fit(described[train], true[train], TREES, number - 1)
            assert forest is not None
            mean, spread = forest.predict(described)
            half = (mean + process.predict(described)) / 2
            unseen = fit_unseen(
                (process,),
                Sample(described[train], true[train], names[train].tolist(), numbers[train]),
                by_system,
                Sample(described[val], true[val], names[val].tolist(), np.full(len(val), NO_COMPOUND)),
                (mean[val], spread[val]),
                ((0.0, 0.5, 0.5), half[val]),
                number - 1,
            )
            assert unseen is not None
            sigma = unseen.calibration.sigma(0.0, 0.0, spread[test])
            error, shared = half[test] - true[test], sigma * np.sqrt(unseen.correlation)
            left: dict[int, list[float]] = {0: [], 1: [], 2: []}
            for compound in np.unique(names[test]):
                members = np.flatnonzero(names[test] == compound)
                for _ in range(DRAWS if len(members) >= 3 else 0):
                    order = rng.permutation(members)
                    for count in left:
                        few = order[:count]
                        facets = KnownFacets.of(error[few], sigma[few], shared[few])
                        left[count] += [
                            abs(facets.correct(error[i], sigma[i], shared[i])[0]) for i in order[2:]
                        ]
            none, one, two = (float(np.mean(left[count])) for count in (0, 1, 2))
            order_of_facets = facet_order(names[test].tolist(), true[test], half[test])[0]
            print(
                f"fold {number}, {name}, {len(test)} slabs: MAE {np.abs(error).mean():.5f}, coverage "
                f"{np.mean(np.abs(error) <= NORMAL_QUANTILE * sigma):.3f}, tau {order_of_facets:.3f}, rho "
                f"{unseen.correlation:.2f}; one facet known {one:.5f} ({one / none - 1:+.1%}), two {two:.5f} "
                f"({two / none - 1:+.1%})",
                flush=True,
            )


if __name__ == "__main__":
    main()
