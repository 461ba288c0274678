"""Rounds of active learning: which slabs were chosen, by which model, and what they were expected to cost.

A round is written before its slabs are computed, so that an interrupted one is finished and not chosen anew.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from stores.backends.collection import SCHEMA_VERSION
from stores.backends.values import timestamp
from stores.learning.model_card import read_entry

if TYPE_CHECKING:
    from stores.learning.candidates import SlabKey
    from stores.surfaces import SurfaceStore

COLLECTION = "rounds"


class ChosenSlab(BaseModel):
    """A slab of a round; see `stores.learning.candidates.SlabKey`."""

    model_config = ConfigDict(extra="forbid")

    bulk_key: str
    miller_index: tuple[int, int, int]
    termination_key: str
    reason: str = Field(default="", description="Why it was chosen")

    @property
    def key(self) -> SlabKey:
        """What it is recognised by once it is computed."""
        return self.bulk_key, self.miller_index, self.termination_key


class Round(BaseModel):
    """One round of a campaign."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(description="Campaign and number")
    schema_version: int = Field(default=SCHEMA_VERSION, description="Version of the entry's layout")
    campaign: str
    number: int = Field(ge=1, description="1, 2, ...")
    strategy: str
    model: str = Field(description="Version of the model that chose; empty: chosen at random for want of one")
    slabs: list[ChosenSlab]
    core_hours: float = Field(description="Estimated when they were chosen")
    done: bool = Field(default=False, description="Computed, as far as it could be")
    chosen_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


def rounds_of(store: SurfaceStore, campaign: str) -> list[Round]:
    """Return the rounds of a campaign by number.

    Raises
    ------
    InputError
        If one was written by a newer mgsurf.
    """
    found = store.query({"campaign": campaign}, sort={"number": 1}, collection=COLLECTION)
    return [read_entry(Round, d, f"Round {d['number']} of {campaign}", store.uri) for d in found]


def begin_round(store: SurfaceStore, one: Round) -> bool:
    """Write a new round; False if another process wrote one of this number first."""
    return store.collection(COLLECTION).insert(_document(one))


def finish_round(store: SurfaceStore, one: Round) -> None:
    """Note that a round was computed."""
    store.collection(COLLECTION).upsert(_document(one.model_copy(update={"done": True})))


def _document(one: Round) -> dict[str, Any]:
    return {**one.model_dump(mode="json"), "chosen_at": timestamp(one.chosen_at)}
