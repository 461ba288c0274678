"""The decision log of models: which version was promoted, rejected or rolled back, in which order."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from stores.backends.collection import SCHEMA_VERSION

State = Literal["candidate", "champion", "retired", "rejected"]
Action = Literal["promote", "reject", "rollback"]


class Decision(BaseModel):
    """One entry in the decision log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int = Field(ge=1, description="1, 2, ... in the order of decisions")
    schema_version: int = Field(default=SCHEMA_VERSION, description="Version of the entry's layout")
    action: Action
    version: int = Field(description="Promoted, rejected, or rolled back from")
    champion: int | None = Field(description="Version in use after this decision")
    reason: str = Field(default="", description="Why, in words")
    decided_at: datetime = Field(description="By the clock of `made_by` (UTC)")
    made_by: str = Field(description="User and host")


class ModelStatus(BaseModel):
    """State of a version and the decision that it comes from."""

    model_config = ConfigDict(frozen=True)

    state: State = "candidate"
    reason: str = ""
    since: datetime | None = None


class DecisionLog:
    """The decisions of a registry, read at one moment.

    `champions` are those that can be gone back to, the present one last.
    """

    def __init__(self, decisions: tuple[Decision, ...]) -> None:
        self.decisions = decisions
        self.champions: list[int] = []
        self._status: dict[int, ModelStatus] = {}
        for decision in decisions:
            self._enter(decision)

    @property
    def champion(self) -> int | None:
        """Version in use, None if none was ever promoted."""
        return self.champions[-1] if self.champions else None

    @property
    def next_number(self) -> int:
        """Number that the next decision takes."""
        return self.decisions[-1].number + 1 if self.decisions else 1

    def status(self, version: int) -> ModelStatus:
        """Return the state of a version; one that nothing was decided about is a candidate."""
        return self._status.get(version, ModelStatus())

    def _enter(self, decision: Decision) -> None:
        if decision.action == "reject":
            self._set(decision.version, "rejected", decision.reason, decision)
            return
        before, after = self.champion, decision.champion
        if decision.action == "promote":
            if before is not None:
                self._set(before, "retired", f"v{decision.version} took its place", decision)
            # one version never stands twice among those to go back to
            self.champions = [*(v for v in self.champions if v != decision.version), decision.version]
            self._set(decision.version, "champion", decision.reason, decision)
            return
        while self.champions and self.champions[-1] != after:
            self._set(self.champions.pop(), "retired", decision.reason or "rolled back", decision)
        if after is not None:
            self._set(after, "champion", f"rolled back from v{decision.version}", decision)

    def _set(self, version: int, state: State, reason: str, decision: Decision) -> None:
        self._status[version] = ModelStatus(state=state, reason=reason, since=decision.decided_at)
