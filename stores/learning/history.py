"""The book of refreshes: what each trained on, how far it came and how it ended.

Only who has the lease of the refresh (`stores.learning.leases`) writes here. A refresh that was killed stays
open, and the next one goes on with it before it looks for new records.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stores.backends.collection import SCHEMA_VERSION
from stores.backends.values import timestamp
from stores.learning.model_card import read_entry
from stores.paths import user_and_host

if TYPE_CHECKING:
    from stores.surfaces import SurfaceStore

COLLECTION = "refreshes"

Outcome = Literal["open", "promoted", "rejected", "abandoned"]


class Refresh(BaseModel):
    """One refresh."""

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
    """Return the refresh that began last.

    Raises
    ------
    InputError
        If it was written by a newer mgsurf.
    """
    return next(iter(_read(store, {}, limit=1)), None)


def last_decided(store: SurfaceStore) -> Refresh | None:
    """Return the last refresh whose model was promoted or rejected."""
    return next(iter(_read(store, {"outcome": {"$in": ["promoted", "rejected"]}}, limit=1)), None)


def refreshes(store: SurfaceStore) -> list[Refresh]:
    """Return all refreshes, the last one first."""
    return _read(store, {})


def begin_refresh(store: SurfaceStore, snapshot: str, recipe: dict[str, Any]) -> Refresh:
    """Note that a refresh begins; only for who has the lease."""
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
    """Write how far a refresh came; only for who has the lease."""
    document = refresh.model_dump(mode="json")
    document["begun_at"] = timestamp(refresh.begun_at)
    store.collection(COLLECTION).upsert(document)


def _read(store: SurfaceStore, criteria: dict[str, Any], limit: int = 0) -> list[Refresh]:
    found = store.query(criteria, sort={"number": -1}, limit=limit, collection=COLLECTION)
    return [read_entry(Refresh, d, f"The refresh {d['number']}", store.uri) for d in found]
