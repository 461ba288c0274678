"""Model cards, and how commands name models: by version in a registry, or by folder."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stores.backends.collection import SCHEMA_VERSION, check_version
from stores.errors import InputError, StoreError, first_problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


M = TypeVar("M", bound=BaseModel)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}")


class WeightFile(BaseModel):
    """One file of a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="In the model's folder")
    size: int = Field(description="Bytes")
    sha256: str = Field(description="Of its content, and its name among the store's blobs")


class Weights(BaseModel):
    """Where the weights of a model are, and how to tell them from others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(description="Over names and hashes of all files")
    place: str = Field(default="blobs", description="Collection of the store that holds them")
    files: tuple[WeightFile, ...] = Field(description="By name")


class PastTraining(BaseModel):
    """One training that weights went through."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str = Field(description="Name of the split; empty if not known")
    snapshot: str | None = Field(default=None, description="Id of the snapshot, if any")
    compounds: int | None = Field(default=None, description="That trained or validated; null: not known")
    held_out: tuple[str, ...] | None = Field(
        description="Those of them that belong to the hold-out, by model.data.splits; null: not known"
    )


class LabelSource(BaseModel):
    """Labels of one target that a pre-trained model learned from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Of the data set")
    target: str = Field(description="Head of the model")
    unit: str = Field(default="", description="Of the labels; empty: that of mgsurf, or not stated")
    kind: str = Field(description="slab or bulk")
    method: str = Field(default="", description="Method fingerprint of the labels, if one was chosen")
    origin: str = Field(default="", description="Where the labels come from, and their licence, in words")
    labels: dict[str, int] = Field(description="Number by set: train, val, test")
    elements: tuple[str, ...] = Field(description="Symbols that occur in its training labels")


class ModelFacts(BaseModel):
    """What is known of a model when it has been trained."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(description="Name for people, e.g. sem-cgcnn, random, seed 0")
    snapshot: str | None = Field(default=None, description="Id of the snapshot it was trained on, if any")
    data: str | None = Field(default=None, description="Hash of the labelled slabs as training saw them")
    targets: tuple[str, ...] = Field(description="Names of what it predicts")
    elements: tuple[str, ...] = Field(default=(), description="Symbols that occur in the training set")
    members: int = Field(default=1, description="Networks of the ensemble")
    config: dict[str, Any] = Field(default_factory=dict, description="Settings of the run: preset, seed, ...")
    noun: str = Field(default="slab", description="What it was trained on: slab, crystal, composition, ...")
    sizes: dict[str, int] = Field(default_factory=dict, description="Their number by part of the split")
    metrics: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="By split (random, chemsys, hold-out), then by target: train, val and test errors, "
        "by_element and more, as model.evaluation.metrics.evaluate makes them",
    )
    classes: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="The same of targets that are classes: accuracy, F1, confusion matrices",
    )
    trainings: tuple[PastTraining, ...] = Field(
        default=(),
        description="This training and those that its starting weights came from, the latest first; none: "
        "not noted",
    )
    seconds: float | None = Field(default=None, description="Time of the training (s)")
    code_version: str = Field(default="", description="Of mgsurf, with a hash of the code of the model")
    libraries: dict[str, str] = Field(default_factory=dict, description="Versions of torch, numpy, ...")
    note: str = Field(default="", description="Anything else worth knowing, in words")
    pretrained: str = Field(
        default="", description="Name by which --from pretrained:NAME finds it; of several the latest counts"
    )
    label_sources: tuple[LabelSource, ...] = Field(
        default=(), description="What a pre-trained model learned from, a line for each head"
    )


class ModelCard(ModelFacts):
    """The facts and the place of one registered version; never changed."""

    version: int = Field(ge=1, description="1, 2, ... in the order of registration")
    schema_version: int = Field(default=SCHEMA_VERSION, description="Version of the card's layout")
    created_at: datetime = Field(description="When it was registered, by the clock of `made_by` (UTC)")
    made_by: str = Field(description="User and host")
    champion_before: int | None = Field(default=None, description="Champion when it was registered")
    weights: Weights

    @property
    def name(self) -> str:
        """Return v1, v2, ..."""
        return f"v{self.version}"


def read_entry(model: type[M], document: Mapping[str, Any], what: str, place: str) -> M:
    """Read a document of a registry in the store `place`; `what` names it in messages.

    An `InputError` if it was written by a newer mgsurf, a `StoreError` if it is damaged.
    """
    check_version(document.get("schema_version"), f"{what} in {place}")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise StoreError(
            f"{what} in {place} is damaged ({first_problem(error)}); restore a copy of the store."
        ) from error


def checked_name(text: str) -> str:
    """Return a name that ``--from pretrained:NAME`` can have, or none; an `InputError` for odd characters."""
    if text and not _NAME.fullmatch(text):
        raise InputError(f"{text!r} cannot name a pre-trained model; use letters, digits, - and _")
    return text


def is_version(name: str) -> bool:
    """Return whether a word means a version in a registry: champion, latest, v1, ...; ./v1 is a folder."""
    return name in ("champion", "latest") or (name[:1] == "v" and name[1:].isascii() and name[1:].isdigit())


@contextmanager
def or_the_folder(name: str) -> Iterator[None]:
    """Add how to name the folder to the error for an unknown version that is the name of a folder too."""
    try:
        yield
    except InputError as error:
        if is_version(name) and Path(name).is_dir():
            raise InputError(f"{str(error).rstrip('.')}; for the folder write ./{name}") from error
        raise
