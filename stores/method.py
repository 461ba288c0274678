"""The method of a calculation and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stores.plain import plain_values
from stores.standard_tables import STANDARD, TABLES

DEFAULT = "default"
"""Key of a table by element: what every element takes that the table does not list."""
OLD_NAME = "all"
"""Key of a table by element: what stood in the place of the table in old records."""


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
        description="PAW setups or POTCAR labels by element, in records those of the record's own elements; "
        "'default' names what every other element takes",
    )
    force_tolerance: float = Field(description="Largest force left on a free atom (eV/A)")
    label_convention: str = Field(
        default="mg_rich", description="Chemical potential at which surface_energy is given"
    )
    extra: dict[str, Any] = Field(
        default_factory=dict,
        description="Further engine settings that change results, as plain values; 'start_moments' and "
        "'setups_package' may be tables by element, as setups are",
    )

    @model_validator(mode="before")
    @classmethod
    def _plain_fields(cls, fields: Any) -> Any:
        return plain_values(fields) if isinstance(fields, dict) else fields

    @property
    def fingerprint(self) -> str:
        """Hash over all fields (16 hexadecimal digits), prefixed by engine and preset.

        In place of each table by element stands the preset's standard one (`stores.standard_tables`) with the
        entries that differ from it. Records have the fingerprint of `for_elements`, which covers what the
        calculation used: entries of other elements do not change it.
        """
        values = plain_values(self.model_dump())
        for name, table in self._tables(values):
            standard, is_whole = self._standard(name, table), self._is_whole
            listed = set(table) | (set(standard) if is_whole else set())
            own = {element: self._entry(name, table, element) for element in listed - {DEFAULT}}
            changed = {e: entry for e, entry in own.items() if entry != _of(standard, e)}
            if is_whole:  # an element that was added is the business of calculations with it
                changed = {e: entry for e, entry in changed.items() if _of(standard, e) is not None}
            _put(values, name, {**standard, **changed})
        return f"{self.engine}-{self.preset}-{content_hash(values, 16)}"

    @property
    def whole_fingerprint(self) -> str:
        """Hash over all fields as they are, tables included: the fingerprint of old records."""
        return f"{self.engine}-{self.preset}-{content_hash(plain_values(self.model_dump()), 16)}"

    @property
    def family(self) -> str:
        """Fingerprint of what calculations of all elements share: everything but tables by element."""
        return self.for_elements(()).fingerprint

    def for_elements(self, elements: Iterable[str]) -> Method:
        """Return the method as a calculation of some elements uses it: its tables cut to these elements."""
        values = plain_values(self.model_dump())
        for name, table in self._tables(values):
            standard = self._standard(name, table)
            entries = {e: self._entry(name, table, e) for e in sorted(set(elements))}
            differing = {e: entry for e, entry in entries.items() if entry != _of(standard, e)}
            if name in STANDARD.get((self.engine, self.preset), {}):
                known = {e: entry for e, entry in entries.items() if entry is not None}
                _put(values, name, known | differing, keep=True)
            else:  # what is not listed is known by the default alone, which stays
                _put(values, name, standard | differing)
        return Method.model_validate(values)

    def covers(self, other: Method, elements: Iterable[str]) -> bool:
        """Return whether a calculation of some elements by another method is one by this method as well.

        Parameters
        ----------
        other
            Of a record, its tables cut to its elements or, in old records, whole.
        elements
            Of the calculation.
        """
        source = self.extra.get("setups_package")
        if isinstance(source, dict) and other.extra.get("setups_package") == source.get(OLD_NAME):
            other = other.model_copy(update={"extra": {**other.extra, "setups_package": source}})
        own = tuple(elements)
        return self.for_elements(own).fingerprint == other.for_elements(own).fingerprint

    def _standard(self, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
        """Return the table that fingerprints take for granted."""
        default = {DEFAULT: table[DEFAULT]} if DEFAULT in table else {}
        return STANDARD.get((self.engine, self.preset), {}).get(name, default)

    @property
    def _is_whole(self) -> bool:
        """True if the tables are an engine's, False if they are cut to elements or there is no standard."""
        standard = STANDARD.get((self.engine, self.preset), {}).get("setups", {})
        return bool(standard) and (DEFAULT in self.setups or set(standard) <= set(self.setups))

    def _entry(self, name: str, table: Mapping[str, Any], element: str) -> Any:
        """Return what an element takes; None if a whole table leaves it out."""
        if element in table or DEFAULT in table or self._is_whole:
            return _of(table, element)
        return _of(self._standard(name, table), element)

    @staticmethod
    def _tables(values: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        places = (
            (name, values["setups"] if name == "setups" else values["extra"].get(name)) for name in TABLES
        )
        return [(name, table) for name, table in places if isinstance(table, dict)]


def _of(table: Mapping[str, Any], element: str) -> Any:
    return table.get(element, table.get(DEFAULT))


def _put(values: dict[str, Any], name: str, table: dict[str, Any], *, keep: bool = False) -> None:
    if name == "setups":
        values["setups"] = {e: label for e, label in table.items() if label is not None}
    elif set(table) == {DEFAULT}:  # as where there is no table
        values["extra"][name] = table[DEFAULT]
    elif table or keep:
        values["extra"][name] = table
    else:
        values["extra"].pop(name)
