"""A pre-trained model from public data: its file, the import of its data, its training, and its card."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from model.data.splits import PARTS, draw
from model.studies.data import StudyData
from model.studies.runs import estimate_cost, read_data, train_task
from model.studies.study import Study, StudySet, Task
from stores.errors import InputError
from stores.labelled import BULK, source_fingerprint
from stores.learning.model_card import LabelSource, checked_name
from workflows.flows.campaign.file import checked_file
from workflows.flows.learning.study_file import LARGEST_SEED, Section, Size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from model.data.dataset import Dataset
    from model.data.importers import Imported
    from model.graphs.graph import GraphSettings
    from model.training.runs import Datasets
    from model.training.train import Progress
    from stores.learning.model_card import ModelFacts


def _name(text: str) -> str:
    try:
        return checked_name(text)
    except InputError as error:
        raise ValueError(str(error)) from None


class LabelSection(Section):
    """Labels of one target, of slabs or of bulk crystals."""

    target: str = Field(min_length=1, description="Name of the target")
    file: str | None = Field(
        default=None, description="File or folder that mgsurf import reads, relative to the working folder"
    )
    source: str | None = Field(default=None, description="Name of the source; else the file's or folder's")
    bulk: bool = Field(default=False, description="Crystals without surface")
    relaxed: bool = Field(default=False, description="The slabs are relaxed, not as cut")
    unit: str | None = Field(default=None, description="Unit of the values, as --unit of mgsurf import")
    classes: bool = Field(default=False, description="Integers are classes, as --classes of mgsurf import")
    method: str | None = Field(default=None, description="Labels of the store, without a file: their method")
    origin: str = Field(default="", description="Where the labels come from, and their licence; for the card")


class PretrainingFile(Section):
    """A pre-training on several targets, one head for each."""

    name: Annotated[str, Field(min_length=1), AfterValidator(_name)] = Field(
        description="For --from pretrained:NAME"
    )
    data: dict[str, LabelSection] = Field(min_length=2, description="By name")
    labels: Size = Field(default=0, description="Training labels of each target at most, or all")
    validation: float = Field(default=0.1, description="Share of the data")
    test: float = Field(default=0.1, description="Share of the data")
    preset: str = Field(default="best", description="As of mgsurf train")
    params: dict[str, Any] = Field(default_factory=dict, description="Settings instead of the preset's")
    balance: Literal["equal", "gradnorm", "uncertainty", "pcgrad"] = Field(
        default="gradnorm", description="Balancing of the losses"
    )
    temperature: float = Field(default=2.0, ge=1, description="Of sampling targets with few labels")
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED, description="Of sets and training")

    def task(self) -> Task:
        """Return the training."""
        return Task(tuple(self.data), self.labels, self.seed, balance=self.balance)


def load_pretraining(path: Path) -> PretrainingFile:
    """Read and check the file of a pre-training (YAML).

    Raises
    ------
    InputError
        If the file is missing, is not YAML, or has wrong keys or values: one line for each problem.
    """
    found = checked_file(path, PretrainingFile, "pre-training", "`name:` and `data:`")
    for name, one in found.data.items():
        if one.file is None and (one.source or one.bulk or one.relaxed or one.unit or one.classes):
            raise InputError(
                f"{path}: data set {name}: source, bulk, relaxed, unit and classes are of an imported file; "
                "add file, or choose labels of the store with method"
            )
        if one.file is not None and one.method is not None:
            raise InputError(
                f"{path}: data set {name}: method is of labels in the store; leave it or file out"
            )
    return found


def import_data(
    file: PretrainingFile, store: str, tick: Callable[[int, int, str], None] | None = None
) -> tuple[dict[str, str | None], list[Imported]]:
    """Import the files into a store; duplicates are skipped, so that it may be repeated.

    Returns
    -------
    methods, imported
        Method of each data set (None: any), and what was read.

    Raises
    ------
    InputError
        If a file cannot be read, or two data sets want it read in different ways.
    StoreError
        If the store cannot be written.
    """
    from model.data.importers import import_slabs

    together: dict[tuple[str, str | None, bool, bool], list[LabelSection]] = {}
    for one in file.data.values():
        if one.file is not None:
            together.setdefault((one.file, one.source, one.bulk, one.relaxed), []).append(one)
    imported = {
        key: import_slabs(
            key[0],
            store,
            source=key[1],
            bulk=key[2],
            relaxed=key[3],
            targets=list(dict.fromkeys(one.target for one in sections)),
            units={one.target: one.unit for one in sections if one.unit},
            classes=[one.target for one in sections if one.classes],
            tick=tick,
        )
        for key, sections in together.items()
    }
    methods = {
        name: one.method
        if one.file is None
        else source_fingerprint(
            imported[one.file, one.source, one.bulk, one.relaxed].source, geometry=BULK if one.bulk else ""
        )
        for name, one in file.data.items()
    }
    return methods, list(imported.values())


def read_labels(
    file: PretrainingFile, methods: dict[str, str | None], open_set: Callable[[str | None], Datasets]
) -> StudyData:
    """Read the labels of a pre-training; `open_set` returns those of a method.

    Raises
    ------
    InputError
        If a setting is unknown, or a data set has no labels.
    """
    study = Study(
        {
            name: StudySet(_limited(open_set(methods[name]), file), one.target)
            for name, one in file.data.items()
        },
        validation=file.validation,
        test=file.test,
        preset=file.preset,
        params=file.params,
        pretraining_sizes=(file.labels,),
        sizes=(0,),
        seeds=(file.seed,),
        balances=(file.balance,),
        temperature=file.temperature,
        with_target=True,
    )
    data = read_data(study)
    data.check_sizes()
    return data


def _limited(datasets: Datasets, file: PretrainingFile) -> Datasets:
    """Return the labels of a data set that give `labels` to train on; the rest is not validated on either."""
    most = math.ceil(file.labels / (1 - file.validation - file.test))

    def read(settings: GraphSettings, targets: tuple[str, ...]) -> Dataset:
        found = datasets(settings, targets)
        if not most or len(found) <= most:
            return found
        ranked = sorted(range(len(found)), key=lambda i: draw(file.seed, "pre-training", found[i].record_id))
        return found.subset(sorted(ranked[:most]))

    return read


def seconds_of(file: PretrainingFile, data: StudyData) -> float:
    """Estimate the time of the training (s of one core)."""
    return estimate_cost(data, [file.task()])


def pretrain(
    file: PretrainingFile,
    data: StudyData,
    folder: Path,
    progress: Callable[[int, Progress], None] | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Train in a folder, which is resumed or read; return the folder of the run and its ``run.json``."""
    task = file.task()
    return folder / task.folder(), train_task(data, folder, task, progress)


def with_sources(
    facts: ModelFacts, file: PretrainingFile, data: StudyData, methods: dict[str, str | None]
) -> ModelFacts:
    """Return the facts of the card with name, data sets, origins, labels and elements."""
    dataset, divide = data.of_task(file.task())
    split = divide(dataset)
    sources = []
    for name, one in file.data.items():
        head = data.heads[name]
        known = {part: [i for i in split.part(part) if head in dataset[i].targets] for part in PARTS}
        sources.append(
            LabelSource(
                name=name,
                target=head,
                unit=one.unit or data.union.units.get(head, ""),
                kind=dataset[known["train"][0]].kind,
                method=methods[name] or "",
                origin=" ".join(one.origin.split()),
                labels={part: len(found) for part, found in known.items()},
                elements=tuple(sorted({e for i in known["train"] for e in dataset[i].elements})),
            )
        )
    return facts.model_copy(update={"pretrained": file.name, "label_sources": tuple(sources)})
