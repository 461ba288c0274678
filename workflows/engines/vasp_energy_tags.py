"""The tags of a finished VASP run that change its energy, in one form whether INCAR or the echo gave them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from workflows.engines.vasp_tags import (
    ACCURACY,
    COMPARED_OTHERWISE,
    DEFAULTS,
    DISPERSION,
    FUNCTIONAL,
    NO_EFFECT,
    PER_ELEMENT,
)

if TYPE_CHECKING:
    from workflows.engines.vasp_xml import VasprunData

_ECHOED = {"ENCUT": "ENMAX", "ISMEAR": "ISMEAR", "SIGMA": "SIGMA"}
"""Tags compared by what VASP echoes, with its names; INCAR counts too, for VASP overrules none of them."""

LARGEST_INTEGER = 1 << 31
"""Of Fortran; larger values stay real numbers."""

_HUBBARD = {"LDAUL": 2, "LDAUU": 0, "LDAUJ": 0}
DUDAREV = 2
"""LDAUTYPE in which only U less J counts."""

HUBBARD = "LDAUTYPE, LDAUL, LDAUU, LDAUJ"
"""Name under which these four of each element with a U are compared."""


@dataclass(frozen=True)
class EnergyTags:
    """Tags of a run that change its energy.

    Attributes
    ----------
    values
        Every tag that changes energies and does not have VASP's default: bool, number, lower-case text, or a
        tuple of these; of `PER_ELEMENT` tags a dict by element.
    defaults
        VASP's defaults, those that depend on other tags of the run included.
    given
        Names that stand in INCAR; the others VASP chose by itself.
    functional
        The `FUNCTIONAL` tags as written.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=lambda: DEFAULTS)
    given: frozenset[str] = frozenset()
    functional: Mapping[str, Any] = field(default_factory=dict)

    def method(self) -> dict[str, Any]:
        """Return the tags given in INCAR that make another method of a calculation, as plain values.

        Left out are those that shift energies by meV, and those that other fields of a method hold: LASPH,
        LSORBIT, the U of Dudarev's scheme, what the name of a hybrid functional implies.
        """
        held = {*ACCURACY, "LASPH", "LSORBIT"}
        held |= {"AEXX", "HFSCREEN"} if self.functional.get("LHFCALC") else set()
        held |= {"LNONCOLLINEAR"} if self.values.get("LSORBIT") else set()
        found = {name: value for name, value in self.values.items() if name in self.given - held}
        scheme = {e: u for e, u in self.values.get(HUBBARD, {}).items() if u[0] != DUDAREV}
        if scheme:
            found[HUBBARD] = scheme
        return {name: _plain(value) for name, value in sorted(found.items())}


def energy_tags(data: VasprunData) -> EnergyTags:
    """Read the tags of a run.

    A tag counts as set if INCAR or the settings in effect depart from the default: VASP echoes some tags
    under a name that something else uses too (LAMBDA), and does not echo others at all.
    """
    found: dict[str, Any] = {}
    elements = [element for element, _ in data.potcars]
    defaults = _defaults(data)
    unused = {"RWIGS"} if not is_set(data, "I_CONSTRAINED_M") else set()  # spheres for the output only
    unused |= {"ROPT"} if not is_set(data, "LREAL") else set()
    for name in dict.fromkeys([*data.parameters, *data.incar]):
        if name in NO_EFFECT or name in COMPARED_OTHERWISE or name in unused or name.startswith("LDAU"):
            continue
        default = defaults.get(name)
        for source in (data.parameters, data.incar):
            value = _normal(name, source.get(name), default)
            if value is None or value == default:
                continue
            found.setdefault(name, _by_element(elements, value) if name in PER_ELEMENT else value)
    for name, echo in _ECHOED.items():
        given, effective = (_normal(name, v, None) for v in (data.incar.get(name), data.parameters.get(echo)))
        if given is not None and effective is not None:
            defaults[name] = effective
            found |= {name: given} if given != effective else {}
    if hubbard := _hubbard(data, elements):
        found[HUBBARD] = hubbard
    functional = {
        name: _normal(name, data.incar.get(name, data.parameters.get(name)), None) for name in FUNCTIONAL
    }
    return EnergyTags(found, defaults, frozenset(data.incar), functional)


def _defaults(data: VasprunData) -> dict[str, Any]:
    """VASP's defaults in a run: those of exact exchange and dispersion corrections depend on other tags."""
    found = dict(DEFAULTS)
    share: Any = 0
    if is_set(data, "LHFCALC"):
        found["AEXX"] = 0.25
        share = _normal("AEXX", data.setting("AEXX"), None)
    rest = round(1 - share, 6) if isinstance(share, int | float) else 0.75
    found |= {"AEXX": found.get("AEXX", 0), "ALDAX": rest, "AGGAX": rest}
    found["LMAXTAU"] = 6 if is_set(data, "LASPH") else 0
    kind, gga, meta = (
        _normal(name, data.incar.get(name, data.parameters.get(name)), None)
        for name in ("IVDW", "GGA", "METAGGA")
    )
    pbe = gga in {None, "", "--", "pe"} and meta in {None, "", "--"} and not share
    return found | (DISPERSION.get(kind, {}) if pbe and isinstance(kind, int) else {})


def _normal(name: str, value: Any, default: Any) -> Any:
    """Return a value in one form, whether INCAR or the echo gave it; None if absent."""
    if value is None or value == []:
        return None
    if isinstance(value, list):
        return tuple(_normal(name, item, None) for item in value)
    if isinstance(value, str):
        value = value.strip().lower()
        if name in {"PREC", "PRECFOCK"}:  # of which VASP reads the first letter; no PRECFOCK is Normal
            return "sn" if value.startswith("singlen") else value[:1] or "n"
        if name == "LREAL":
            return value.strip(".")[:1] in {"t", "o", "a"}
        if isinstance(default, bool) or value.strip(".") in {"t", "f", "true", "false"}:
            return value.strip(".")[:1] == "t"
        try:
            value = float(value.replace("d", "e"))
        except ValueError:
            return value
    if isinstance(value, bool) or isinstance(default, bool):
        return bool(value)
    if not isfinite(value):
        return str(value)
    value = float(f"{value:.6g}")
    if name == "ICORELEVEL" and value == 1:  # core levels in the initial state are computed afterwards
        return 0
    return int(value) if value == int(value) and abs(value) < LARGEST_INTEGER else value


def is_set(data: VasprunData, name: str) -> bool:
    """Tell whether a logical tag or a number is on, in INCAR or in the settings in effect."""
    sources = (data.incar, data.parameters)
    return any(_normal(name, source.get(name), DEFAULTS.get(name, False)) for source in sources)


def _by_element(elements: list[str], value: Any) -> Any:
    """Values by element; the values as they are where they do not fit the species."""
    values = value if isinstance(value, tuple) else (value,)
    found = dict(zip(elements, values, strict=False))
    fits = len(values) == len(elements) and all(
        found[e] == v
        for e, v in zip(elements, values, strict=True)  # an element may be two species
    )
    return found if fits else value


def _hubbard(data: VasprunData, elements: list[str]) -> dict[str, tuple[Any, ...]]:
    """LDAUTYPE, LDAUL, LDAUU and LDAUJ of each element that has a U; U less J in Dudarev's scheme."""
    if not is_set(data, "LDAU"):
        return {}

    def listed(name: str, default: Any) -> list[Any]:
        values = _normal(name, data.incar.get(name, data.parameters.get(name)), None)
        values = values if isinstance(values, tuple) else () if values is None else (values,)
        return [*values, *[default] * (len(elements) - len(values))]

    kind = listed("LDAUTYPE", DUDAREV)[0] if elements else DUDAREV
    found: dict[str, tuple[Any, ...]] = {}
    for element, shell, u, j in zip(elements, *(listed(n, d) for n, d in _HUBBARD.items()), strict=False):
        if shell != -1 and (u or j):
            # text in place of a number is kept: it is equal to nothing but itself
            only_difference = kind == DUDAREV and not isinstance(u, str) and not isinstance(j, str)
            found[element] = (kind, shell, round(u - j, 4)) if only_difference else (kind, shell, u, j)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in sorted(value.items())}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
