"""The data sets of a study as one: who is in which set, so that nothing of a test set is learned from.

All data sets are divided at once. A structure (or compound, or chemical system, by the split) is in the test
set of every data set that has it or of none, and likewise for validation; no pre-training can have seen a
crystal that another data set tests on. The place of a structure follows from the seed and its name alone, so
that a study to which a data set is added keeps its sets, but for structures that the new one joins.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from model.data.dataset import Dataset
from model.data.identical_slabs import group_identical
from model.data.model_input import graphs_among
from model.data.splits import PARTS, Split, draw, units_of
from model.studies.study import SPLITS
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from model.data.dataset import Entry
    from model.graphs.graph import GraphSettings
    from model.studies.study import Study, Task


@dataclass(frozen=True, eq=False)
class StudyData:
    """Entries of all data sets and the sets that they are in."""

    study: Study
    union: Dataset  # each structure of a record once; targets are the heads
    heads: dict[str, str]  # by name of the data set: its target, or target@name where several sets have it
    _parts: dict[int, list[str]] = field(default_factory=dict)  # by seed

    @classmethod
    def read(cls, study: Study, settings: GraphSettings) -> Self:
        """Read the data sets.

        Raises
        ------
        InputError
            Naming the data set that cannot be read, or has no label of its target.
        """
        targets = [one.target for one in study.sets.values()]
        heads = {
            name: one.target if targets.count(one.target) == 1 else f"{one.target}@{name}"
            for name, one in study.sets.items()
        }
        entries: dict[tuple[str, str], Entry] = {}
        units: dict[str, str] = {}
        classes: dict[str, tuple[str, ...]] = {}
        same: dict[tuple[str, str], Hashable] = {}
        for name, one in study.sets.items():
            try:
                found = one.datasets(settings, (one.target,))
            except InputError as error:
                raise InputError(f"data set {name}: {error}") from error
            if one.target not in found.targets:
                raise InputError(
                    f"data set {name}: {one.target} has labels of several methods "
                    f"({', '.join(found.targets)}); name one of them with method"
                )
            if one.target in found.classes:
                classes[heads[name]] = found.classes[one.target]
            if one.target in found.units:
                units[heads[name]] = found.units[one.target]
            for entry in found:
                if (value := entry.targets.get(one.target)) is None:
                    continue
                key = (entry.record_id, entry.graph.identity)
                known = entries.setdefault(key, replace(entry, targets={}))
                known.targets[heads[name]] = value
                same.setdefault(key, (name, entry.group))
        keys = sorted(entries)
        graphs = graphs_among(entries[key].graph for key in keys)
        groups = group_identical(graphs, [same[key] for key in keys])
        merged = [replace(entries[key], group=group) for key, group in zip(keys, groups, strict=True)]
        union = Dataset(tuple(merged), tuple(heads.values()), units=units, classes=classes)
        return cls(study, union, heads)

    def parts(self, seed: int) -> list[str]:
        """Return for each entry of the union the part that it is in."""
        if seed in self._parts:
            return self._parts[seed]
        found = self._parts[seed] = [""] * len(self.union)
        for key, members in units_of(self.union, self._names()).items():
            place = draw(seed, f"study {self.study.split}", key)
            part = "test" if place < self.study.test else ""
            part = part or ("val" if place < self.study.test + self.study.validation else "train")
            for i in members:
                found[i] = part
        return found

    def _names(self) -> list[str]:
        """Name what stays together; bulk crystals by formula, for data sets differ in their relaxation."""
        field = SPLITS[self.study.split]
        finer = field == "record_id"
        return [
            str(getattr(entry, "crystal" if finer and entry.kind == "bulk" else field))
            for entry in self.union
        ]

    def training_labels(self, name: str, seed: int) -> list[int]:
        """Return the entries that a data set trains on, ranked: the first 100 are within the first 200."""
        parts, head = self.parts(seed), self.heads[name]
        known = [i for i, e in enumerate(self.union) if parts[i] == "train" and head in e.targets]
        return sorted(known, key=lambda i: (draw(seed, "curve", self.union[i].record_id), i))

    def of_task(self, task: Task) -> tuple[Dataset, Callable[[Dataset], Split]]:
        """Return the labels of a training, and how they are divided."""
        parts = self.parts(task.seed)
        labels: dict[int, dict[str, float | None]] = {}
        for name in task.sets:
            ranked, head = self.training_labels(name, task.seed), self.heads[name]
            held_out = [i for i, e in enumerate(self.union) if parts[i] != "train" and head in e.targets]
            for i in (*(ranked[: task.size] if task.size else ranked), *held_out):
                labels.setdefault(i, {})[head] = self.union[i].targets[head]
        chosen = sorted(labels)
        entries = tuple(replace(self.union[i], targets=labels[i]) for i in chosen)
        heads = tuple(self.heads[name] for name in task.sets)
        classes = {head: names for head, names in self.union.classes.items() if head in heads}
        dataset = Dataset(entries, heads, units=self.union.units, classes=classes)
        members = [tuple(n for n, i in enumerate(chosen) if parts[i] == part) for part in PARTS]
        split = Split(f"study, {self.study.split}", task.seed, *members)
        return dataset, lambda _: split

    def check_sizes(self) -> None:
        """Refuse sizes of fine-tuning above the data, and data sets without labels to validate or test on.

        Raises
        ------
        InputError
            Naming the data set, how many training labels it has, and what to do.
        """
        for seed in self.study.seeds:
            for name in self.heads:
                counts = self.counts(name, seed)
                if 0 in counts.values():
                    raise InputError(
                        f"data set {name}: {sum(counts.values())} labels give none to train, validate or "
                        f"test on with seed {seed}; add labels or leave the seed out"
                    )
                wanted = max(self.study.sizes_of(name))
                if wanted > counts["train"]:
                    raise InputError(
                        f"data set {name}: {wanted} labels are wanted, its training set has "
                        f"{counts['train']} (seed {seed}, {len(self.labelled(name))} labels in all); "
                        "lower sizes, or write sizes of its own below the data set; all takes what there is"
                    )

    def counts(self, name: str, seed: int) -> dict[str, int]:
        """Count the labels of a data set in each part."""
        found = dict.fromkeys(PARTS, 0)
        for entry, part in zip(self.union, self.parts(seed), strict=True):
            found[part] += self.heads[name] in entry.targets
        return found

    def labelled(self, name: str) -> list[int]:
        """Return the entries with a label of a data set."""
        return [i for i, entry in enumerate(self.union) if self.heads[name] in entry.targets]
