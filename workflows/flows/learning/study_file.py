"""The file of a study of transfer: data sets, sizes, strategies and seeds, read and checked line by line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from stores.connections import parse_uri, resolve_store_uri
from stores.errors import InputError
from stores.secrets import masked, userinfo
from workflows.flows.campaign.file import checked_file, read_document
from workflows.flows.campaign.resources import JobResources

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.studies.study import Study
    from model.training.runs import Datasets

LARGEST_SEED = 2**32 - 1  # that every generator of random numbers takes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text) or text in ("scratch", "mpt"):
        raise ValueError(f"{text!r} cannot name a data set; use letters, digits, - and _")
    return text


def _size(value: Any) -> int:
    if value == "all":
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"a number of labels is a whole number above 0, or all; found {value!r}")
    return value


Size = Annotated[
    int, BeforeValidator(_size), PlainSerializer(lambda size: size or "all", return_type=int | str)
]  # 0: all


class Section(BaseModel):
    """A mapping of the study file: no unknown keys, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class DataSetSection(Section):
    """A data set: labels of one target in a store."""

    store: str = Field(description="URI or path of the store, relative to the working folder")
    target: str = Field(min_length=1, description="Name of the target")
    method: str | None = Field(default=None, description="Only labels of this method fingerprint")
    snapshot: str | None = Field(default=None, description="Labels of this snapshot of the store")
    only_target: bool = Field(default=False, description="Never pre-trained on: out of distribution")
    sizes: list[Size] = Field(default_factory=list, description="Of fine-tuning, instead of the study's")


class PretrainingSection(Section):
    """Pre-training on one data set."""

    sizes: list[Size] = Field(default=[0], min_length=1, description="At most so many labels")
    pairs: bool = Field(default=True, description="Whether each pair of data sets is trained")


class FineTuningSection(Section):
    """Fine-tuning, and training from scratch beside it."""

    sizes: list[Size] = Field(default=[10, 100, 200, 500, 800], min_length=1, description="Training labels")
    strategies: list[str] = Field(default=["ALL-UF"], min_length=1, description="See docs/transfer.md")
    params: dict[str, Any] = Field(default_factory=dict, description="Settings of fine-tuning alone")


class MultiPropertySection(Section):
    """Pre-training on all data sets together, one head for each property."""

    balance: list[str] = Field(default=["gradnorm"], min_length=1, description="Balancing of the losses")
    temperature: float = Field(default=1.0, ge=1, description="Of sampling sets with few labels")
    with_target: bool = Field(default=False, description="Also on training labels of the target's own set")
    size: Size | None = Field(default=None, description="At most so many labels of each data set")


def _job_resources(found: JobResources) -> JobResources:
    for name in ("nodes", "tasks_per_node", "cpus_per_task"):
        if name in found.model_fields_set:
            raise ValueError(f"a job has one node and as many cores as --processes; leave {name} out")
    return found


class StudyFile(Section):
    """A study of transfer."""

    data: dict[Annotated[str, AfterValidator(_name)], DataSetSection] = Field(description="By name")
    split: str = Field(default="random", description="What is kept apart: random, compound or chemsys")
    validation: float = Field(default=0.2, description="Share of the data")
    test: float = Field(default=0.2, description="Share of the data")
    preset: str = Field(default="sem-cgcnn", description="As of mgsurf train")
    params: dict[str, Any] = Field(default_factory=dict, description="Settings instead of the preset's")
    pretraining: PretrainingSection = Field(default_factory=PretrainingSection)
    fine_tuning: FineTuningSection = Field(default_factory=FineTuningSection)
    multi_property: MultiPropertySection | None = None
    seeds: list[Annotated[int, Field(ge=0, le=LARGEST_SEED)]] = Field(default=[0, 1, 2], min_length=1)
    resources: Annotated[JobResources, AfterValidator(_job_resources)] = Field(
        default_factory=JobResources, description="What a job on a queue requests, beside its cores"
    )

    def for_nodes(self) -> str:
        """Return the study as JSON for jobs on other machines, with absolute paths of the stores.

        Raises
        ------
        InputError
            Naming the data set whose store no other machine can open, or only with a password.
        """
        data = {name: one.model_copy(update={"store": _shared(name, one)}) for name, one in self.data.items()}
        study = self.model_copy(update={"data": data})
        return study.model_dump_json(exclude_unset=True, exclude={"resources"})


def _shared(name: str, one: DataSetSection) -> str:
    """Return the URI of a data set's store for other machines."""
    uri = resolve_store_uri(one.store)
    kind = parse_uri(uri).kind
    if kind == "memory":
        raise InputError(
            f"data set {name}: store {uri}: is in the memory of one process; jobs on a queue need a file, "
            "folder or MongoDB that all nodes reach"
        )
    if kind == "mongodb" and userinfo(uri)[1]:
        raise InputError(
            f"data set {name}: store {masked(uri)}: its password would stand in the documents of the jobs; "
            "import the labels into an SQLite file on the shared file system (mgsurf import), or train "
            "without --submit"
        )
    return uri


def is_study(path: Path) -> bool:
    """Whether a file is that of a study, not of a campaign; InputError if it is missing or is not YAML."""
    document = read_document(path)
    return isinstance(document, dict) and "data" in document and not {"compounds", "sources"} & set(document)


def read_study(path: Path) -> StudyFile:
    """Read and check a study file (YAML).

    Raises
    ------
    InputError
        If the file is missing, is not YAML, or has wrong keys or values: one line for each problem.
    """
    return checked_file(path, StudyFile, "study", "`data:` with the data sets by name")


def make_study(
    read: StudyFile, path: Path, open_set: Callable[[str, str | None, str | None], Datasets]
) -> Study:
    """Return the study of a file.

    Parameters
    ----------
    path
        Of the file, for messages.
    open_set
        Returns the labels of a store, with a method or of a snapshot; both may be None.

    Raises
    ------
    InputError
        If a strategy, split, preset or setting is unknown, or there is no pair of data sets.
    """
    from model.studies.study import Study, StudySet

    together, tuning = read.multi_property, read.fine_tuning
    try:
        return Study(
            sets={
                name: StudySet(
                    open_set(one.store, one.method, one.snapshot),
                    one.target,
                    one.only_target,
                    _numbers(one.sizes),
                )
                for name, one in read.data.items()
            },
            split=read.split,
            validation=read.validation,
            test=read.test,
            preset=read.preset,
            params=read.params,
            pretraining_sizes=_numbers(read.pretraining.sizes),
            sizes=_numbers(tuning.sizes),
            strategies=tuple(dict.fromkeys(tuning.strategies)),
            tuning_params=tuning.params,
            seeds=tuple(dict.fromkeys(read.seeds)),
            pairs=read.pretraining.pairs,
            balances=tuple(dict.fromkeys(together.balance)) if together else (),
            temperature=together.temperature if together else 1.0,
            with_target=together.with_target if together else False,
            together_size=together.size if together else None,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _numbers(sizes: list[int]) -> tuple[int, ...]:
    """Put sizes in order, all of the labels (0) last."""
    return tuple(sorted(set(sizes), key=lambda size: size or 1 << 60))
