"""The engine, store and working directory of a run, as every job takes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from workflows.engines.registry import make_engine

if TYPE_CHECKING:
    from workflows.engines.protocol import Engine


@dataclass(frozen=True)
class RunContext:
    """Plain settings that travel inside serialised jobs.

    Attributes
    ----------
    store
        URI of the results store, as `stores.connections.open_store` reads it.
    work_dir
        Folder of the engine's raw files; each calculation gets a folder named by its id.
    engine, preset, options
        Arguments of `workflows.engines.registry.make_engine`.
    campaign
        Name kept in the surface records.
    retry_unconverged
        Run unconverged calculations again instead of reusing them: after a change of settings that are no
        part of the method, such as the largest number of steps.
    run
        Name of this run, kept with what it tries again: an unconverged result that bears it is this run's own
        second attempt, and is not tried a third time by the next job that requests the same.
    """

    store: str
    work_dir: str
    engine: str = "gpaw"
    preset: str = "demo"
    options: dict[str, Any] = field(default_factory=dict)
    campaign: str = ""
    retry_unconverged: bool = False
    run: str = field(default_factory=lambda: uuid4().hex, compare=False)

    def make_engine(self) -> Engine:
        """Build the engine."""
        return make_engine(self.engine, self.preset, **self.options)

    def directory(self, calculation_id: str) -> Path:
        """Folder of one calculation."""
        return Path(self.work_dir) / calculation_id

    def as_dict(self) -> dict[str, Any]:
        """Return plain values (jobflow and monty read them back with `from_dict`)."""
        return {"@module": type(self).__module__, "@class": type(self).__name__, **self.__dict__}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> RunContext:
        """Rebuild a context from `as_dict`; old flows have a time as `begun` in place of `run`."""
        values = {"run" if key == "begun" else key: value for key, value in plain.items()}
        return cls(**{key: value for key, value in values.items() if not key.startswith("@")})
