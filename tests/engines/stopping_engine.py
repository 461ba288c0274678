"""A fast engine one of whose calculations takes for ever or fails, until it is run again in its folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from stores.records import CalculationOutput
from tests.engines.pair_engine import PairEngine


@dataclass
class StoppingEngine(PairEngine):
    """A `PairEngine` that can be killed at work.

    Parameters
    ----------
    stop_on
        A calculation whose description (``kind formula natoms``) contains this stays at work for ten minutes
        when it is first run; it leaves a file ``half-done`` from which the next run goes on.
    fails
        It fails instead of staying at work.
    """

    stop_on: str = ""
    fails: bool = False

    def _do(self, kind: str, structure: Structure, directory: Path, work: Any) -> CalculationOutput:
        what = f"{kind} {structure.composition.reduced_formula} {len(structure)}"
        if self.stop_on and self.stop_on in what:
            half_done = directory / "half-done"
            if half_done.exists():
                with Path(self.log).open("a") as log:
                    log.write(f"{directory.name} goes on with {what}\n")
            else:
                half_done.write_text(what)
                if self.fails:
                    return CalculationOutput(status="failed", reason="a node's memory was bad")
                time.sleep(600)
        return super()._do(kind, structure, directory, work)
