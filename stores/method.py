"""The method of a calculation and its fingerprint."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field


def content_hash(payload: Any, length: int = 24) -> str:
    """Hash a JSON-able payload; equal content gives an equal hash on every machine.

    Parameters
    ----------
    payload
        Anything orjson can write. Round floats first: the hash sees every digit.
    length
        Number of hexadecimal digits kept.

    Returns
    -------
    str
        The first `length` hexadecimal digits of the SHA-256 of the sorted JSON text.
    """
    text = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.sha256(text).hexdigest()[:length]


class Method(BaseModel):
    """Everything that decides the numbers a DFT engine returns, the structure aside.

    Records of different fingerprints live in one store but never meet in one surface energy.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str = Field(description="Name of the engine: gpaw, vasp, ...")
    preset: str = Field(description="Name of the engine's preset: demo, production, ...")
    functional: str = Field(description="Exchange-correlation functional, e.g. PBE")
    cutoff: float = Field(description="Plane-wave cut-off (eV)")
    k_density: float = Field(
        description="k points per reciprocal length, 2 pi included (A): N_i = ceil(k_density |b_i|)"
    )
    smearing: str = Field(description="Kind of occupation smearing, e.g. fermi-dirac")
    smearing_width: float = Field(description="Width of the smearing (eV)")
    setups: dict[str, str] = Field(
        default_factory=dict,
        description="The preset's whole table of PAW setups or POTCAR labels by element; "
        "'default' names what every other element takes",
    )
    force_tolerance: float = Field(description="Largest force left on a free atom (eV/A)")
    label_convention: str = Field(
        default="mg_rich", description="Chemical potential at which surface_energy is given"
    )
    extra: dict[str, Any] = Field(
        default_factory=dict, description="Further engine settings that change results, as plain values"
    )

    @property
    def fingerprint(self) -> str:
        """Hash over all fields (16 hexadecimal digits), prefixed by engine and preset."""
        return f"{self.engine}-{self.preset}-{content_hash(self.model_dump(mode='json'), 16)}"
