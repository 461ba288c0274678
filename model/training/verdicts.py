"""Verdict on each target: learn it alone, together with others, or no difference. Chosen on validation alone.

The best way of learning a target alone and the best of learning it with others are chosen by validation
errors. Several are tried, so that the best of them would look better than it is: the change that decides is
cross-fitted, that of each pair of runs being measured between the ways that all *other* pairs choose. The
test set enters after the choice.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.evaluation.criteria import F1, MAE, RECALL
from model.evaluation.metrics import mean_and_spread
from model.training.advice import PLAIN, alone_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model.evaluation.criteria import Criterion
    from model.evaluation.metrics import Interval
    from model.training.advice import Angles, Finished

FEWEST_PAIRS = 3  # seeds (times folds) below which no difference is found

TOGETHER, ALONE, NO_DIFFERENCE, UNDECIDED = "together", "alone", "no difference", "undecided"


@dataclass(frozen=True)
class Option:
    """A way of learning a target, with its score in every pair of runs."""

    target: str
    criterion: Criterion
    group: tuple[str, ...]  # targets that are learned together, the target itself among them
    strategy: str
    val: dict[tuple[int, int], float]  # by seed and fold
    test: dict[tuple[int, int], float]
    recalls: dict[tuple[int, int], dict[str, float | None]]  # of the test set, by class; empty of a quantity

    @property
    def alone(self) -> bool:
        """Whether the target is learned alone."""
        return len(self.group) == 1

    @property
    def others(self) -> tuple[str, ...]:
        """Targets that it is learned with."""
        return tuple(name for name in self.group if name != self.target)

    @property
    def name(self) -> str:
        """Strategy, for people."""
        return alone_name(self.strategy) if self.alone else self.strategy

    def plain(self, reference: Option) -> dict[str, Any]:
        """Return a row of the table: scores, and changes against the plain single-task model."""
        keys = [key for key in self.val if key in reference.val]
        row: dict[str, Any] = {
            "target": self.target,
            "criterion": self.criterion.name,
            "with": list(self.others),
            "strategy": self.name,
            "pairs": len(keys),
            "val": mean_and_spread(self.val.values()),
            "test": mean_and_spread(self.test.values()),
        }
        for part in ("val", "test"):
            ours, theirs = getattr(self, part), getattr(reference, part)
            changed = self.criterion.change([ours[k] for k in keys], [theirs[k] for k in keys])
            row[f"{part}_change"] = asdict(changed)
        if self.recalls:
            names = next(iter(self.recalls.values()))
            row["recall_by_class"] = {
                name: mean_and_spread(found[name] for found in self.recalls.values()) for name in names
            }
        return row


@dataclass(frozen=True)
class Verdict:
    """How to learn a target, by one criterion."""

    target: str
    criterion: Criterion
    verdict: str  # TOGETHER, ALONE, NO_DIFFERENCE or UNDECIDED
    alone: Option  # the best alone, on validation
    together: Option  # the best with others, on validation
    pairs: int
    val: Interval  # change of together against alone on validation, cross-fitted
    test: Interval  # the same on the test set, of the two options named here
    # the option to use: together if that is better; alone otherwise, plainly unless smoothing is better
    recommended: Option
    recommended_test: Interval  # its change against the plain single-task model on the test set
    angle: float | None  # mean angle (degrees) between its gradient and those of the targets it is tried with
    conflicts: float | None  # share of epochs in which that is above 90 degrees

    def plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "target": self.target,
            "criterion": self.criterion.name,
            "verdict": self.verdict,
            "with": list(self.recommended.others),
            "strategy": self.recommended.name,
            "alone": self.alone.name,
            "together": {"with": list(self.together.others), "strategy": self.together.name},
            "pairs": self.pairs,
            "val_change": asdict(self.val),
            "test_change": asdict(self.test),
            "recommended_test_change": asdict(self.recommended_test),
            "angle": self.angle,
            "conflicts": self.conflicts,
        }


def options(results: Sequence[Finished]) -> list[Option]:
    """Collect the scores of each target, criterion, group and strategy over seeds and folds.

    Sorted by target and criterion, and by the number of targets learned together. A run that lacks a score,
    for want of labels, is left out.
    """
    found: dict[tuple[str, str, tuple[str, ...], str], Option] = {}
    for training, run in results:
        key = training.settings.seed, training.settings.fold
        for target in training.targets:
            for criterion, val, test, recalls in _scores(run, target):
                if val is None or test is None:
                    continue
                place = (target, criterion.name, training.targets, training.strategy)
                option = found.setdefault(
                    place, Option(target, criterion, training.targets, training.strategy, {}, {}, {})
                )
                option.val[key], option.test[key] = val, test
                if recalls:
                    option.recalls[key] = recalls
    targets = list(dict.fromkeys(option.target for option in found.values()))
    return sorted(
        found.values(), key=lambda o: (targets.index(o.target), o.criterion.name, len(o.group), o.group)
    )


def _scores(
    run: Mapping[str, Any], target: str
) -> list[tuple[Criterion, float | None, float | None, dict[str, float | None]]]:
    if (errors := run["metrics"].get(target)) is not None:
        return [(MAE, errors["val"]["mae"], errors["test"]["mae"], {})]
    val, test = (run["classes"][target][part] for part in ("val", "test"))
    recalls = test["recall"]
    return [
        (F1, val["macro_f1"], test["macro_f1"], recalls),
        (RECALL, val["macro_recall"], test["macro_recall"], recalls),
    ]


def verdicts(found: Sequence[Option], measured: Sequence[Angles] = ()) -> list[Verdict]:
    """Judge each target by each of its criteria; targets that are not trained both ways are left out."""
    by_target: dict[tuple[str, str], list[Option]] = {}
    for option in found:
        by_target.setdefault((option.target, option.criterion.name), []).append(option)
    return [verdict for group in by_target.values() if (verdict := _judge(group, measured)) is not None]


def reference_of(option: Option, found: Sequence[Option]) -> Option | None:
    """Return the plain single-task model of an option's target."""
    for one in found:
        if (
            one.alone
            and one.strategy == PLAIN
            and (one.target, one.criterion) == (option.target, option.criterion)
        ):
            return one
    return None


def _judge(group: Sequence[Option], measured: Sequence[Angles]) -> Verdict | None:
    if (plain := reference_of(group[0], group)) is None:
        return None
    # options that lack a run of the plain model, which failed or is not done, cannot be paired and wait
    whole = [option for option in group if plain.val.keys() <= option.val.keys()]
    alone, together = [o for o in whole if o.alone], [o for o in whole if not o.alone]
    if not together:
        return None
    keys, criterion = list(plain.val), plain.criterion
    ours, theirs = [], []
    for key in keys:  # chosen by the other pairs
        chosen_by = [other for other in keys if other != key] or keys
        ours.append(_best(together, chosen_by).val[key])
        theirs.append(_best(alone, chosen_by).val[key])
    change = criterion.change(ours, theirs)
    best_alone, best_together = _best(alone, keys), _best(together, keys)
    gain = criterion.gain(change)
    verdict = (NO_DIFFERENCE, TOGETHER, ALONE)[gain] if len(keys) >= FEWEST_PAIRS else UNDECIDED

    def changed(part: str, one: Option, other: Option) -> Interval:
        ours, theirs = getattr(one, part), getattr(other, part)
        return criterion.change([ours[key] for key in keys], [theirs[key] for key in keys])

    smoothed = len(keys) >= FEWEST_PAIRS and criterion.gain(changed("val", best_alone, plain)) > 0
    recommended = best_together if verdict == TOGETHER else best_alone if smoothed else plain

    angle, conflicts = _angle_of(best_together, measured)
    return Verdict(
        target=plain.target,
        criterion=criterion,
        verdict=verdict,
        alone=best_alone,
        together=best_together,
        pairs=len(keys),
        val=change,
        test=changed("test", best_together, best_alone),
        recommended=recommended,
        recommended_test=changed("test", recommended, plain),
        angle=angle,
        conflicts=conflicts,
    )


def _best(choices: Sequence[Option], keys: Sequence[tuple[int, int]]) -> Option:
    """Option with the best mean validation score over these pairs."""
    sign = -1 if choices[0].criterion.higher else 1
    return min(choices, key=lambda option: sign * float(np.mean([option.val[key] for key in keys])))


def _angle_of(option: Option, measured: Sequence[Angles]) -> tuple[float | None, float | None]:
    """Mean angle of a target's gradient with those of the others, and share of epochs above 90 degrees."""
    known = [
        value
        for one in measured
        if (one.group, one.strategy) == (option.group, option.strategy)
        and option.target in (one.first, one.second)
        for value in one.known
    ]
    if not known:
        return None, None
    return float(np.mean(known)), float(np.mean([value > 90 for value in known]))


COLUMNS = (
    "targets",
    "strategy",
    "seed",
    "fold",
    "target",
    "criterion",
    "n_train",
    "epochs",
    "val",
    "test",
    "seconds",
)


def flat_rows(results: Sequence[Finished]) -> list[dict[str, Any]]:
    """List the scores of each training for each target and criterion, for pandas; keys are `COLUMNS`."""
    rows = []
    for training, run in results:
        for option in options([(training, run)]):
            ((key, val),) = option.val.items()
            values = (
                " ".join(option.group),
                option.name,
                *key,
                option.target,
                option.criterion.name,
                run["sizes"]["train"],
                len(run["history"][0]),
                val,
                option.test[key],
                run["seconds_in_all"],
            )
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows
