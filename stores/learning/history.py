"""The history of learning: refreshes of the model, and rounds of slabs chosen by active learning.

Only the process that holds the lease of the refresh (`stores.learning.leases`) writes refreshes. A refresh
that was killed stays open, and the next one resumes it before it looks for new records. A round is written
before its slabs are computed, so that an interrupted one is completed and not chosen again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stores.backends.collection import SCHEMA_VERSION
from stores.learning.model_card import read_entry
from stores.paths import user_and_host

if TYPE_CHECKING:
    from stores.learning.candidates import SlabKey
    from stores.surfaces import SurfaceStore

REFRESHES, ROUNDS = "refreshes", "rounds"

Outcome = Literal["open", "promoted", "rejected", "abandoned"]


class Refresh(BaseModel):
    """One refresh of the model: what it trained on, how far it came and how it ended."""

    model_config = ConfigDict(extra="forbid")

    number: int = Field(ge=1, description="1, 2, ... in the order in which they began")
    schema_version: int = Field(default=SCHEMA_VERSION, description="Version of the entry's layout")
    snapshot: str = Field(description="Id of the snapshot it trains on")
    recipe: dict[str, Any] = Field(description="How it trains: preset, members, epochs, targets")
    version: int | None = Field(default=None, description="Of the model it made, once registered")
    outcome: Outcome = Field(default="open", description="open until it was decided about the model")
    reason: str = Field(default="", description="Of the outcome, in words and numbers")
    finished: bool = Field(default=False, description="False until the candidates were predicted, too")
    begun_at: datetime = Field(description="By the clock of `made_by` (UTC)")
    made_by: str = Field(description="User and host")


def last_refresh(store: SurfaceStore) -> Refresh | None:
    """Return the refresh that started last."""
    return _last(store, {})


def last_decided(store: SurfaceStore) -> Refresh | None:
    """Return the last refresh whose model was promoted or rejected."""
    return _last(store, {"outcome": {"$in": ["promoted", "rejected"]}})


def begin_refresh(store: SurfaceStore, snapshot: str, recipe: dict[str, Any]) -> Refresh:
    """Write that a refresh starts; only for the holder of the lease."""
    last = last_refresh(store)
    refresh = Refresh(
        number=last.number + 1 if last else 1,
        snapshot=snapshot,
        recipe=recipe,
        begun_at=datetime.now(UTC),
        made_by=user_and_host(),
    )
    write_refresh(store, refresh)
    return refresh


def write_refresh(store: SurfaceStore, refresh: Refresh) -> None:
    """Write how far a refresh came; only for the holder of the lease."""
    store.collection(REFRESHES).upsert(refresh.model_dump())


def _last(store: SurfaceStore, criteria: dict[str, Any]) -> Refresh | None:
    found = store.query(criteria, sort={"number": -1}, limit=1, collection=REFRESHES)
    return next((read_entry(Refresh, d, f"The refresh {d['number']}", store.uri) for d in found), None)


class ChosenSlab(BaseModel):
    """A slab of a round; see `stores.learning.candidates.SlabKey`."""

    model_config = ConfigDict(extra="forbid")

    bulk_key: str
    miller_index: tuple[int, int, int]
    termination_key: str
    reason: str = Field(default="", description="Why it was chosen")

    @property
    def key(self) -> SlabKey:
        """What identifies it once it is computed."""
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
    """Return the rounds of a campaign by number."""
    found = store.query({"campaign": campaign}, sort={"number": 1}, collection=ROUNDS)
    return [read_entry(Round, d, f"Round {d['number']} of {campaign}", store.uri) for d in found]


def begin_round(store: SurfaceStore, one: Round) -> bool:
    """Write a new round; False if another process wrote one of this number first."""
    return store.collection(ROUNDS).insert(one.model_dump())


def finish_round(store: SurfaceStore, one: Round) -> None:
    """Write that a round was computed."""
    store.collection(ROUNDS).upsert(one.model_dump() | {"done": True})
