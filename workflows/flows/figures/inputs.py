"""What figures are drawn from: trainings in folders, labels and screenings of a store."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from matplotlib.figure import Figure

    from model.training.depth_scan import DepthScan
    from model.training.ensemble import Ensemble
    from model.training.runs import Datasets
    from stores.labelled import LabelledSlab
    from stores.learning.screenings import ScreeningRecord

    Row = dict[str, Any]

T = TypeVar("T")

PREFERRED = ("sem-cgcnn", "best")
"""Presets in the order in which figures of one model take them: the paper's first."""

DEPTH_FOLDER = "surface_depth"  # folder of the trainings of figure S3, in the folder of the figures


KIND_COLUMNS = ("folds", "members", "epochs")
"""Columns of a table of `mgsurf ablate` that must agree before runs are averaged."""


class MissingDataError(InputError):
    """A figure lacks data; the message names them and the command that makes them."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A figure with its data."""

    figure: Figure
    # rows by what is appended to the figure's name, "" for the first; all rows of a table have equal keys
    tables: Mapping[str, Sequence[Row]]
    remarks: tuple[str, ...] = ()  # statistics, in words
    missing: tuple[str, ...] = ()  # what the figure had to be drawn without, and the command that makes it
    takes_title: bool = True  # False: the figure has no room above it


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A finished training."""

    folder: Path
    content: Mapping[str, Any]  # of run.json

    @property
    def preset(self) -> str:
        """Its preset."""
        return str(self.content["settings"]["preset"])

    @property
    def fraction(self) -> float:
        """Share of the training set that it used."""
        return float(self.content["settings"]["train_fraction"])

    @property
    def tuned(self) -> bool:
        """Whether it began with a pre-trained model."""
        return bool(self.content["settings"].get("transfer"))

    @property
    def left_out(self) -> str:
        """What its split leaves out by name, such as compound:MgCo2; empty for other splits."""
        split = str(self.content["settings"]["split"])
        named = split.startswith(("element:", "compound:")) and not self.content["settings"]["folds"]
        return split if named else ""

    @property
    def sets(self) -> tuple[Any, ...]:
        """What decides its training, validation and test set: equal for runs that can be compared."""
        s = self.content["settings"]
        return self.content["data"], s["split"], s["seed"], s["folds"], s["fold"]

    @property
    def kind(self) -> str:
        """Settings, as JSON, that must agree before runs are averaged: not seed, split, share or start."""
        free = ("preset", "split", "seed", "fold", "train_fraction", "transfer")
        settings = self.content["settings"]
        return json.dumps({k: v for k, v in settings.items() if k not in free}, sort_keys=True)

    def rows(self) -> list[Row]:
        """Return its predictions; InputError if they are missing or damaged."""
        from model.training.runs import read_rows

        return read_rows(self.folder)


def preference(run: TrainedRun) -> int:
    """Return the place of a run's preset among those that figures of one model take."""
    return PREFERRED.index(run.preset) if run.preset in PREFERRED else len(PREFERRED)


def most_common(items: Sequence[T], kind: Callable[[T], Hashable]) -> tuple[list[T], int]:
    """Return the items of the kind that most are of, the first of several, and how many are of others."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(kind(item), []).append(item)
    kept = max(groups.values(), key=len, default=[])
    return kept, len(items) - len(kept)


def find_trainings(paths: Iterable[Path]) -> tuple[list[TrainedRun], list[Row], list[str]]:
    """Read finished trainings in folders, at any depth, and tables of `mgsurf ablate`.

    Returns
    -------
    runs
        In the order of the paths, within one by name.
    rows
        Of tables (CSV), numbers as numbers.
    problems
        One line for each path or file that could not be used.
    """
    from model.training.runs import read_run

    runs: dict[Path, TrainedRun] = {}
    rows: list[Row] = []
    problems: list[str] = []
    for path in paths:
        if path.is_file():
            try:
                rows += _curve_rows(path)
            except (InputError, OSError) as error:
                problems.append(str(error))
            continue
        files = sorted(path.rglob("run.json")) if path.is_dir() else []
        if not files:
            problems.append(f"{path}: holds no finished training; name a folder of mgsurf train or ablate")
        for file in files:
            try:
                content = read_run(file.parent)
            except InputError as error:
                problems.append(str(error))
                continue
            if content is not None:
                runs.setdefault(file.parent.resolve(), TrainedRun(file.parent, content))
    return list(runs.values()), rows, problems


def _curve_rows(path: Path) -> list[Row]:
    """Read the columns of a table of `mgsurf ablate` that learning curves need; rows of quantities."""
    numbers = {"seed": int, "fold": int, "train_fraction": float, "n_train": int, "mae": float}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                {
                    **{name: row[name] for name in ("model", "split", "data", "target")},
                    **{name: read(row[name]) for name, read in numbers.items()},
                    # tables of earlier versions lack them
                    "kind": tuple(row.get(name) or "" for name in KIND_COLUMNS),
                }
                for row in csv.DictReader(file)
                if row["mae"] or not row.get("error")  # classes have another error
            ]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: is no table of mgsurf ablate ({error}); name its ablation.csv or its folder"
        ) from error


@dataclass(eq=False)
class FigureInputs:
    """Everything that figures are drawn from; what is expensive is read once, when it is needed."""

    store: str  # URI
    datasets: Datasets  # labelled slabs of the store
    method: str | None = None  # only labels of this method
    runs: Sequence[TrainedRun] = ()
    curve_rows: Sequence[Row] = ()  # of tables of mgsurf ablate
    ensemble: Ensemble | None = None  # of the figures of element vectors; None: of a run
    ensemble_name: str = ""
    scan: DepthScan | None = None  # plan that figure S3 follows; None: the scan with most trainings

    @cached_property
    def slabs(self) -> list[LabelledSlab]:
        """Labelled slabs without their structures, one method to each target.

        Raises
        ------
        InputError
            If there is no store or no label, or labels of a target come from several methods.
        """
        from stores.connections import open_store
        from stores.labelled import OWN_TARGETS, heads_of, labelled_slabs, of_methods

        with open_store(self.store, must_exist=True) as store:
            found = sorted(labelled_slabs(store, with_slabs=False), key=lambda slab: slab.record_id)
        found = of_methods(found, None if self.method is None else [self.method])
        heads_of(found, OWN_TARGETS)
        labelled = [slab for slab in found if any(slab.targets.get(t) is not None for t in OWN_TARGETS)]
        if not labelled:
            raise MissingDataError(
                f"{self.store} has no labelled slabs; mgsurf import or mgsurf run adds some"
            )
        return labelled

    @cached_property
    def screenings(self) -> list[ScreeningRecord]:
        """Compounds of the latest screening."""
        from stores.connections import open_store
        from stores.learning.screenings import latest_screenings

        with open_store(self.store, must_exist=True) as store:
            return latest_screenings(store)

    @property
    def transferred(self) -> list[TrainedRun]:
        """Fine-tuned runs and those from scratch on the same slabs."""
        data = {run.content["data"] for run in self.runs if run.tuned and not run.left_out}
        return [run for run in self.runs if run.content["data"] in data and not run.left_out]

    @property
    def whole(self) -> list[TrainedRun]:
        """Runs from scratch with the whole training set, but those made for figures 5, 6a and S3.

        Those of figure 5 as well where there are no others: a model may be fine-tuned on its own slabs.
        """
        from model.training.depth_scan import is_of_scan

        found = [
            run
            for run in self.runs
            if not run.tuned and run.fraction == 1 and not run.left_out and not is_of_scan(run.content)
        ]
        apart = {id(run) for run in self.transferred}
        return [run for run in found if id(run) not in apart] or found

    def preferred(self) -> TrainedRun | None:
        """Return the run that figures of one model show: sem-cgcnn, else best, else the first."""
        return min(self.whole, key=preference, default=None)


def partner_elements(compositions: Sequence[Iterable[str]]) -> list[str]:
    """Return the elements of slabs but those that every slab holds (Mg), by Mendeleev number.

    All of them where every slab holds the same.
    """
    from model.evaluation.element_vectors import pettifor_order

    counts = Counter(element for own in compositions for element in set(own))
    partners = [element for element, n in counts.items() if n < len(compositions)] or list(counts)
    return pettifor_order(partners)
