"""A composition as a model sees it: elements, their fractions, and numeric columns beside them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _no_extras() -> NDArray[np.float64]:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class PlainComposition:
    """A composition of k elements, ascending by atomic number."""

    numbers: NDArray[np.int64]  # [k] atomic numbers, each once
    fractions: NDArray[np.float64]  # [k] of atoms, above zero, their sum is 1
    extras: NDArray[np.float64] = field(default_factory=_no_extras)  # [m] numeric columns, NaN where missing

    @property
    def identity(self) -> str:
        """Content hash of elements, fractions and numeric columns."""
        digest = hashlib.sha256(np.asarray(self.numbers, dtype=np.int64).tobytes())
        for values in (self.fractions, self.extras):
            digest.update(b"\0" + np.asarray(values, dtype=np.float64).tobytes())
        return digest.hexdigest()[:32]
