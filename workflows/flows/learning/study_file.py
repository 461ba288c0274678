"""The file of a study of transfer: data sets, sizes, strategies and seeds, read and checked line by line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from stores.errors import InputError
from workflows.flows.campaign.file import checked_document, read_document

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


Size = Annotated[int, BeforeValidator(_size)]  # 0: all


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


def load_study(path: Path, open_set: Callable[[str, str | None, str | None], Datasets]) -> Study:
    """Read and check a study file (YAML).

    Parameters
    ----------
    open_set
        Returns the labels of a store, with a method or of a snapshot; both may be None.

    Raises
    ------
    InputError
        If the file is missing, is not YAML, or has wrong keys or values: one line for each problem.
    """
    from model.studies.study import Study, StudySet

    document = read_document(path, "study")
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected `key: value` lines, such as `data:` with the data sets by name")
    read = checked_document(document, StudyFile, path)
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
