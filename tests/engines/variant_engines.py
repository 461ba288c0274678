"""The pair engine as others write engines: NumPy in what it returns, a table of setups of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure

from stores.records import CalculationOutput, Method
from tests.engines.pair_engine import PairEngine


@dataclass
class NumpyEngine(PairEngine):
    """Returns NumPy scalars and arrays wherever a number is due, some put in after the output was made."""

    nan_on: str = ""

    def method(self) -> Method:
        return (
            super()
            .method()
            .model_copy(update={"extra": {"mixing": np.float32(0.5), "spin": np.bool_(False)}})
        )

    def kpoints(self, structure: Structure, *, slab: bool = False) -> Any:
        return np.array(super().kpoints(structure, slab=slab))

    def _output(self, structure: Structure, energy: float, **more: Any) -> CalculationOutput:
        details = {"ok_flag": np.bool_(True), "charges": np.zeros((2, 2), np.float32), "log": Path("a/b")}
        if self.nan_on and self.nan_on in structure.composition.reduced_formula:
            energy = np.nan
        output = super()._output(
            structure,
            np.float32(energy),
            details=details,
            site_magnetizations=np.ones(len(structure)),
            **more,
        )
        output.details["late"] = {np.int64(1): np.float64("nan"), "set": {np.int64(2)}}
        return output


@dataclass
class TableEngine(PairEngine):
    """Lists its setups element by element, and counts their names into the energy of every atom."""

    table: dict[str, str] = field(default_factory=lambda: {"Mg": "a", "Ag": "b"})
    moments: dict[str, float] = field(default_factory=dict)

    def method(self) -> Method:
        extra = {"start_moments": self.moments} if self.moments else {}
        return super().method().model_copy(update={"setups": self.table, "extra": extra})

    def _output(self, structure: Structure, energy: float, **more: Any) -> CalculationOutput:
        output = super()._output(structure, energy, **more)
        return output.model_copy(update={"setups": {e: self.table[e] for e in output.setups}})
