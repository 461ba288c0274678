"""Import of labelled compositions from tables; what the store holds is not added again.

One record is made of all lines with equal amounts and equal numeric columns. Where their labels differ, the
mean of a quantity is kept and the class that most lines have; where two classes are as frequent, no class.
Lines of one composition that were rounded differently stay records of their own, which no split tears apart
(`model.data.composition_entries`).
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from model.data.class_labels import class_name, classes_of
from model.data.composition_entries import canonical_formula
from model.data.composition_table import CompositionColumns, CompositionTable, is_missing
from model.data.import_formats import BATCH, TARGET_NAME, Imported, Problem, checked_names
from model.data.label_records import composition_record, other_units, write_records
from model.data.label_units import plan_property_units, split_heading
from stores.connections import open_store
from stores.errors import InputError, pluralize
from stores.labelled import COMPOSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from model.data.composition_table import CompositionRow

FEW_MEMBERS = 10  # a class with fewer compositions is pointed out: a split or fold may leave a set without it

_NAME = re.compile(r"\W+")


@dataclass(frozen=True)
class Bins:
    """Classes made of a quantity: up to each limit (inclusive) the class of its place, above all the last."""

    target: str
    limits: tuple[float, ...]  # ascending
    names: tuple[str, ...]  # one more than limits

    @property
    def class_target(self) -> str:
        """Name of the target of classes."""
        return f"{self.target}_class"

    def place(self, value: float) -> float:
        """Return the place of a value's class among the names."""
        return float(np.searchsorted(self.limits, value))

    @classmethod
    def parse(cls, text: str) -> Bins:
        """Read ``Dmax=0,0.1:CRA,RMG,BMG``; InputError on another form."""
        target, equals, rest = (part.strip() for part in text.partition("="))
        first, colon, second = rest.partition(":")
        names = tuple(name.strip() for name in second.split(","))
        try:
            limits = tuple(float(limit) for limit in first.split(","))
        except ValueError:
            limits = ()
        if (
            not (equals and colon and target)
            or len(names) != len(limits) + 1
            or not all(names)
            or len(set(names)) < len(names)
            or not all(a < b for a, b in pairwise((-math.inf, *limits, math.inf)))
        ):
            raise InputError(
                f"--bins {text[:60]!r} cannot be read; write ascending limits and one class more than there "
                "are limits: Dmax=0,0.1:CRA,RMG,BMG (up to 0, up to 0.1, above)"
            )
        return cls(target, limits, names)


@dataclass(frozen=True)
class LabelColumns:
    """Which columns of a table are labels, and what they are."""

    targets: tuple[str, ...]  # names of columns, or NAME=COLUMN
    classes: tuple[str, ...] = ()  # those that are classes, by the target's name; words are in any case
    extras: tuple[str, ...] = ()  # numeric columns beside the composition: NAME or NAME=COLUMN
    bins: tuple[Bins, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)  # by target, before those of the headings


@dataclass(frozen=True)
class _Line:
    """What a line holds: its number and its labels."""

    number: int
    fractions: dict[str, float]
    extras: dict[str, float | None]
    targets: dict[str, float | None]


def import_compositions(
    path: Path,
    store_uri: str,
    columns: CompositionColumns,
    labels: LabelColumns,
    *,
    source: str | None = None,
    tick: Callable[[int, int, str], None] | None = None,
) -> Imported:
    """Import the labelled compositions of a CSV file.

    Parameters
    ----------
    path
        CSV file, plain or compressed.
    store_uri
        Store that they are written to.
    columns, labels
        Of the compositions, and of their labels.
    source
        Name of the source; by default that of the file.
    tick
        Called with the number of lines done, how many there are, and a name.

    Raises
    ------
    InputError
        If nothing can be read at all.
    StoreError
        If the store cannot be written.
    """
    name = source or path.name.split(".")[0]
    if not re.fullmatch(r"[\w.+-]{1,80}", name):
        raise InputError(f"The source name {name!r} has odd characters; give a plain word with --source.")
    table = CompositionTable(path, columns)
    targets, extras = (_places(table, names) for names in (_wanted(table, labels.targets), labels.extras))
    if clash := targets.keys() & extras.keys():
        raise InputError(f"--extra: {min(clash)} is a target; a label is no input, leave it out of one")
    if given := [name for name, place in {**targets, **extras}.items() if place in table.places]:
        raise InputError(f"{path}: the column {given[0]} is of the compositions, and no label or --extra")
    classes = _classes(table, targets, labels)
    for extra, place in extras.items():
        if not table.is_numeric(place):
            raise InputError(f"--extra: the column {extra} of {path} holds no number; leave it out")
    for target, place in targets.items():
        if not table.column_cells(place):
            raise InputError(f"{path}: the column {target} is empty: there are no labels; name another")
    result = Imported("compositions", name)
    lines = _read(table, targets, extras, classes, result, tick)
    of_bins = {one.class_target: one.names for one in labels.bins}
    if taken := of_bins.keys() & targets.keys():
        raise InputError(f"--bins: {min(taken)} is a target of its own; name its column otherwise")
    for one in labels.bins:
        if one.target not in targets or one.target in classes:
            raise InputError(f"--bins: {one.target} is no quantity among --targets; name it there, too")
    by_heading = {t: unit for t, p in targets.items() if (unit := split_heading(table.headings[p])[1])}
    values = {t: [v for line in lines if (v := line.targets[t]) is not None] for t in targets}
    columns_of = {t: ([] if t in classes else found) for t, found in values.items()}
    units, notes = plan_property_units(
        columns_of, classes, by_heading, labels.units, str(path), "composition"
    )
    if not table.stated:
        result.notes.append("amounts taken as shares of atoms (at%); --composition-unit wt% states masses")
    result.notes += [
        f"{target}: its unit is {unit}, as its heading states"
        for target, unit in by_heading.items()
        if target in units and target not in labels.units
    ]
    result.notes += notes
    classes = classes | of_bins
    merged = _merged(lines, classes, labels.bins, result)
    result.notes += [f"{target}: classes {', '.join(names)}" for target, names in classes.items()]
    result.notes += _small_classes(merged, classes)
    names = {target: list(found) for target, found in classes.items()} or None
    with open_store(store_uri) as store:
        for start in range(0, len(merged), BATCH):
            made = [
                composition_record(
                    line.fractions,
                    line.extras,
                    line.targets,
                    units=units,
                    classes=names,
                    source=name,
                    unit=table.unit,
                )
                for line in merged[start : start + BATCH]
            ]
            write_records(store, made, result)
            if tick is not None:
                tick(min(start + BATCH, len(merged)), len(merged), f"writing {name}")
        result.problems += other_units(store, name, COMPOSITION, units)
    return result


def _wanted(table: CompositionTable, names: Sequence[str]) -> Sequence[str]:
    if not names:
        there = ", ".join(name for name in table.headings if name)
        raise InputError(f"{table.path}: name its columns of labels with --targets; it has {there}")
    return names


def _places(table: CompositionTable, names: Sequence[str]) -> dict[str, int]:
    """Return the column of each name, which may be written NAME=COLUMN."""
    found: dict[str, int] = {}
    for text in names:
        name, equals, column = (part.strip() for part in text.partition("="))
        place = table.column(column if equals else name)
        if not equals and not TARGET_NAME.fullmatch(name):
            name = _NAME.sub("_", split_heading(name)[0]).strip("_") or name
        checked_names([name])
        if name in found:
            raise InputError(f"{name} is named twice in {', '.join(names)}; name each column once.")
        found[name] = place
    return found


def _classes(
    table: CompositionTable, targets: Mapping[str, int], labels: LabelColumns
) -> dict[str, tuple[str, ...]]:
    """Return the names of the classes of targets that are no quantities."""
    if unknown := [name for name in labels.classes if name not in targets]:
        raise InputError(
            f"--classes: {unknown[0]} is no target; name it in --targets, too ({', '.join(targets)})"
        )
    return {
        target: classes_of(target, [_tidy(cell) for cell in table.column_cells(place)])
        for target, place in targets.items()
        if target in labels.classes or (table.column_cells(place) and not table.is_numeric(place))
    }


def _tidy(cell: str) -> str:
    """Write the class 1.0 as 1."""
    return cell[:-2] if re.fullmatch(r"-?\d+\.0", cell) else cell


def _read(
    table: CompositionTable,
    targets: Mapping[str, int],
    extras: Mapping[str, int],
    classes: Mapping[str, tuple[str, ...]],
    result: Imported,
    tick: Callable[[int, int, str], None] | None,
) -> list[_Line]:
    """Read all lines; those without a label are counted, those that cannot be used described."""
    found: list[_Line] = []
    odd: list[tuple[int, str]] = []
    unlabelled = 0
    for number, row in enumerate(table.rows(), start=1):
        if tick is not None and (number % BATCH == 0 or number == len(table)):
            tick(number, len(table), result.source)
        if isinstance(row, Problem):
            result.problems.append(row.text)
            continue
        line = _labels_of(table, row, targets, extras, classes, result)
        if all(value is None for value in line.targets.values()):
            unlabelled += 1
            continue
        if row.note:
            odd.append((row.line, row.note))
        found.append(line)
    if unlabelled:
        result.notes.append(f"{pluralize(unlabelled, 'line')} without a label left out")
    if odd:
        result.notes.append(
            f"{pluralize(len(odd), 'composition')} completed or normalised; the first, line {odd[0][0]}: "
            f"{odd[0][1]}"
        )
    return found


def _labels_of(
    table: CompositionTable,
    row: CompositionRow,
    targets: Mapping[str, int],
    extras: Mapping[str, int],
    classes: Mapping[str, tuple[str, ...]],
    result: Imported,
) -> _Line:
    """Return the labels of a line; a cell that cannot be used is described and counts as empty."""
    values: dict[str, float | None] = {}
    for name, place in {**targets, **extras}.items():
        cell = row.cells[place]
        try:
            if name not in classes:
                values[name] = table.number(row, place)
            else:
                label = None if is_missing(cell) else class_name(_tidy(cell))
                values[name] = None if label is None else float(classes[name].index(label))
        except InputError as error:
            values[name] = None
            result.problems.append(f"{table.path}, line {row.line}: {name}: {error}")
    return _Line(row.line, row.fractions, {n: values[n] for n in extras}, {n: values[n] for n in targets})


def _merged(
    lines: Sequence[_Line],
    classes: Mapping[str, tuple[str, ...]],
    bins: Sequence[Bins],
    result: Imported,
) -> list[_Line]:
    """Return one line for all of equal amounts and numeric columns, with the classes of bins."""
    same: dict[object, list[_Line]] = defaultdict(list)
    for line in lines:
        same[canonical_formula(line.fractions), tuple(line.extras.values())].append(line)
    made: list[_Line] = []
    conflicts: list[str] = []
    merged = 0
    for members in same.values():
        merged += len(members) > 1
        targets = {t: _one_value(members, t, classes.get(t), conflicts) for t in members[0].targets}
        for one in bins:
            value = targets[one.target]
            targets[one.class_target] = None if value is None else one.place(value)
        made.append(replace(members[0], targets=targets))
    if merged:
        result.notes.append(
            f"{pluralize(merged, 'composition')} in several lines: merged into one record each"
        )
    if conflicts:
        result.notes.append(
            f"{pluralize(len(conflicts), 'label')} of such lines differ: the mean is kept, of classes the "
            f"most frequent one, none if two are; the first: {conflicts[0]}"
        )
    return made


def _one_value(
    members: Sequence[_Line], target: str, names: Sequence[str] | None, conflicts: list[str]
) -> float | None:
    """Return the one label of lines of a composition; labels that differ are noted."""
    # `names` are those of the classes, None of a quantity
    values = [value for line in members if (value := line.targets[target]) is not None]
    if len(set(values)) > 1:
        first: dict[float, int] = {}  # line of each label
        for line in members:
            if (value := line.targets[target]) is not None:
                first.setdefault(value, line.number)
        shown = [
            f"{f'{value:g}' if names is None else names[int(value)]} in line {number}"
            for value, number in first.items()
        ]
        conflicts.append(f"{target} {', '.join(shown)}")
        if names is not None:
            (one, n), (_, others), *_ = Counter(values).most_common()
            return one if n > others else None
        return fmean(values)
    return values[0] if values else None


def _small_classes(made: Sequence[_Line], classes: Mapping[str, Sequence[str]]) -> list[str]:
    """Point out classes with few members."""
    lines = []
    for target, names in classes.items():
        counts = Counter(line.targets[target] for line in made)
        for place, name in enumerate(names):
            if (n := counts[float(place)]) < FEW_MEMBERS:
                lines.append(
                    f"{target}: the class {name} has {pluralize(n, 'composition')}; sets of a split may "
                    "lack it"
                )
    return lines
