"""Units of imported labels, in any spelling, and the range of values that surfaces have.

Labels are stored in eV/A^2 (surface energy) and eV (work function). Another unit is stated by the column
headings or ``units`` of the source, or by ``--unit``. A value that no surface has is refused,
and so is a column whose values are possible but, as a whole, typical of another unit only.

Factors: CODATA 2018 (https://physics.nist.gov/cuu/Constants): e = 1.602176634e-19 C exactly, so that
1 eV/A^2 = 16.02176634 J/m^2; Hartree 27.211386245988 eV; Bohr radius 0.529177210903 A;
N_A = 6.02214076e23 / mol exactly.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


_JOULE = 1 / 1.602176634e-19
_HARTREE = 27.211386245988
_METRE = 1e10
_BOHR = 0.529177210903
J_PER_M2 = _JOULE / _METRE**2  # in eV/A^2

_ENERGIES = {
    **dict.fromkeys(("ev", "electronvolt", "electronvolts"), (1.0, 0)),
    "mev": (1e-3, 0),
    **dict.fromkeys(("j", "joule", "joules"), (_JOULE, 0)),
    "mj": (1e-3 * _JOULE, 0),
    "kj": (1e3 * _JOULE, 0),
    "kcal": (4184 * _JOULE, 0),
    "erg": (1e-7 * _JOULE, 0),
    **dict.fromkeys(("hartree", "hartrees", "ha", "eh"), (_HARTREE, 0)),
    **dict.fromkeys(("ry", "ryd", "rydberg", "rydbergs"), (_HARTREE / 2, 0)),
    "n": (_JOULE / _METRE, 1),
    "mn": (1e-3 * _JOULE / _METRE, 1),
    **dict.fromkeys(("dyn", "dyne"), (1e-5 * _JOULE / _METRE, 1)),
}
"""Energies and forces in lower case: value in eV and A, and the lengths that they are divided by already."""
_DIVISORS = {
    **dict.fromkeys(("a", "å", "ang", "angstrom", "angstroms", "ångström"), (1.0, 1)),
    "nm": (10.0, 1),
    "cm": (1e-2 * _METRE, 1),
    "m": (_METRE, 1),
    **dict.fromkeys(("bohr", "a0"), (_BOHR, 1)),
    "mol": (6.02214076e23, 0),
}
"""What an energy is divided by: value in A, and whether it is a length."""
_TOKEN = re.compile(r"(a0|[^\W\d_]+)(?:[ ^*_{(+\-\N{MINUS SIGN}]*([12])(?!\d))?")


def unit_factor(unit: str, lengths: int) -> float | None:
    """Return how many eV/A^lengths a unit is; None if it is no energy per length of that power.

    Only the order of the symbols and their powers count: J/m2, J m^-2, J·m⁻² and j_m2 are one unit.
    """
    text = unicodedata.normalize("NFKC", unit).lower()
    tokens = [(name, int(power or 1)) for name, power in _TOKEN.findall(text) if name != "per"]
    if re.search(r"[^\W_]", _TOKEN.sub("", text)) or not tokens or tokens[0][0] not in _ENERGIES:
        return None
    factor, found = _ENERGIES[tokens[0][0]]
    for name, power in tokens[1:]:
        if name not in _DIVISORS:
            return None
        value, is_length = _DIVISORS[name]
        factor, found = factor / value**power, found + is_length * power
    return factor if found == lengths and tokens[0][1] == 1 else None


@dataclass(frozen=True)
class Quantity:
    """A target whose unit is agreed."""

    unit: str  # in which it is stored
    # low, high: no surface has a value outside (in `unit`)
    low: float
    high: float
    usual: tuple[float, float]  # range in which the median of a data set lies (in `unit`)
    lengths: int  # power of the length that the energy is divided by
    units: tuple[str, ...]  # those that are suggested, the likeliest first


QUANTITIES: dict[str, Quantity] = {
    "surface_energy": Quantity(
        "eV/A^2",
        -2.0,
        2.0,
        # 0.024 to 4.8 J/m^2: from van der Waals solids to W and diamond
        (0.0015, 0.3),
        2,
        ("J/m2", "meV/A2", "mJ/m2", "Hartree/bohr2", "Ry/bohr2", "eV/nm2"),
    ),
    "work_function": Quantity(
        "eV", 0.5, 12.0, (1.5, 8.0), 0, ("meV", "Hartree", "Ry", "kJ/mol", "kcal/mol", "J")
    ),
}

LONGEST_HEADING = 200  # characters of a column heading that may name a unit

UNITS = {target: quantity.unit for target, quantity in QUANTITIES.items()}
"""Of the targets whose unit is agreed."""

HIGH_SURFACE_ENERGY = 0.6
"""Possible, but above every clean surface known (eV/A^2, 9.6 J/m^2): lines beyond give a warning."""


def factor_of(target: str, unit: str, where: str) -> float:
    """Return the factor from a unit to that of a target; `where` states the unit, for the message.

    Raises
    ------
    InputError
        If the unit is not one of the target's.
    """
    quantity = QUANTITIES[target]
    factor = unit_factor(unit, quantity.lengths)
    if factor is None:
        known = ", ".join((quantity.unit, *quantity.units))
        raise InputError(
            f"{where} states the unit {unit!r} for {target}; known are {known}; state it with "
            f"--unit {target}=UNIT"
        )
    return factor


SCALED = "scaled"
"""Unit of labels of crystals without one, as published scaled to -1 to 1 or to a deviation of one."""


def units_from_options(texts: Sequence[str], *, bulk: bool = False) -> dict[str, str]:
    """Read ``--unit TARGET=UNIT``; InputError on another form, an unknown unit or a repeated target.

    With `bulk`, targets are any properties of crystals, whose units are kept in the user's words.
    """
    units: dict[str, str] = {}
    for text in texts:
        target, equals, unit = (part.strip() for part in text.partition("="))
        if not equals or not unit or (target not in QUANTITIES and not bulk):
            example = "formation_energy=eV/atom" if bulk else "surface_energy=J/m2 or work_function=meV"
            raise InputError(f"--unit: {text[:60]!r} cannot be read; write {example}")
        if target in units:
            raise InputError(f"--unit: {target} is given twice; keep one of them")
        if not bulk:
            factor_of(target, unit, "--unit")
        units[target] = unit
    return units


def plan_property_units(
    columns: Mapping[str, Sequence[float]],
    classes: Collection[str],
    by_source: Mapping[str, str],
    by_user: Mapping[str, str],
    where: str,
    noun: str,
) -> tuple[dict[str, str], list[str]]:
    """Return the unit of each quantity of crystals or compositions, and lines for the user.

    Values stay as they are. What has no unit is `SCALED`, which a line reports. Arguments: see `plan_units`;
    `classes` are the targets that are no quantities, `noun` names what has them.

    Raises
    ------
    InputError
        If ``--unit`` names no target, or one of classes, or a target is one of surfaces only.
    """
    for target in columns:
        if target in QUANTITIES:
            raise InputError(
                f"{where}: a {noun} has no {target}; name the property otherwise with --targets, or "
                "import slabs as structures, without --bulk."
            )
    for target in by_user:
        if target not in columns or target in classes:
            there = ", ".join(name for name in columns if name not in classes) or "none"
            raise InputError(f"--unit: {where} has no quantity {target}; it has {there}")
    units, notes = {}, []
    for target, values in columns.items():
        if target in classes:
            continue
        units[target] = by_user.get(target) or by_source.get(target) or SCALED
        if units[target] == SCALED:
            span = f", values {min(values):.3g} to {max(values):.3g}" if values else ""
            notes.append(
                f"{target}: recorded as scaled, without a unit{span}; --unit {target}=UNIT, or unit in the "
                "file of mgsurf pretrain, states one"
            )
    return units, notes


def split_heading(heading: str) -> tuple[str, str | None]:
    """Return the target and the unit (or None) that a column heading names: ``Surface energy (J/m2)``.

    The spelling of our own targets is normalised; other names stay as they are.
    """
    name, unit = heading.strip(), None
    if len(name) > LONGEST_HEADING:  # the pattern below takes quadratic time
        return name, None
    if found := re.fullmatch(r"(.*?)\s*(?:[(\[](.+)[)\]]|\s/\s(.+))", name):
        name, unit = found[1], found[2] or found[3]
    own = re.sub(r"[\s-]+", "_", name.lower())
    if unit is None:
        for target, quantity in QUANTITIES.items():
            rest = own.removeprefix(f"{target}_")
            if rest != own and unit_factor(rest, quantity.lengths) is not None:
                return target, rest
    return (own if own in QUANTITIES else name), unit


@dataclass(frozen=True)
class UnitPlan:
    """What the values of each target are multiplied by."""

    factors: Mapping[str, float]  # by target of `QUANTITIES`; others stay as they are
    sure: frozenset[str]  # targets whose unit was stated with ``--unit``
    # lines for the user: conversions that were made, and contradictions that ``--unit`` settled
    notes: tuple[str, ...]

    def convert(
        self, targets: Mapping[str, float | None], excluded: Collection[str] = ()
    ) -> dict[str, float | None]:
        """Return values in the units of `QUANTITIES`; `excluded` targets may have any value.

        Raises
        ------
        InputError
            If no surface has such a value.
        """
        converted, wrong = dict(targets), []
        for target, factor in self.factors.items():
            value = targets.get(target)
            if value is None:
                continue
            converted[target] = value * factor
            if target in excluded:
                continue
            try:
                check_value(target, value * factor, self.sure, factor)
            except InputError as error:
                wrong.append(str(error))
        if wrong:
            raise InputError("; ".join(wrong))
        return converted


def is_possible(target: str, value: float) -> bool:
    """Whether a surface may have such a value; true of targets that are not in `QUANTITIES`."""
    quantity = QUANTITIES.get(target)
    return quantity is None or quantity.low <= value <= quantity.high


def check_value(target: str, value: float, sure: frozenset[str] = frozenset(), factor: float = 1.0) -> None:
    """Refuse a value (in the unit of `QUANTITIES`) that no surface has.

    Parameters
    ----------
    sure
        Targets whose unit was stated with ``--unit``.
    factor
        What the value of the source was multiplied by.

    Raises
    ------
    InputError
        Naming the value, the range, and the unit that it may be in.
    """
    if is_possible(target, value):
        return
    quantity = QUANTITIES[target]
    remedy = "check the value and its unit"
    if target not in sure:
        likely = " or ".join(_likely_units(target, value / factor)) or "UNIT"
        remedy = f"state its unit with --unit {target}={likely}"
    raise InputError(
        f"{target} {value:.6g} {quantity.unit} is refused, no surface is outside {quantity.low:g} to "
        f"{quantity.high:g} {quantity.unit}: {remedy}"
    )


def _likely_units(target: str, value: float) -> list[str]:
    """Return up to two units in which a value would be usual."""
    quantity = QUANTITIES[target]
    low, high = quantity.usual
    if target == "surface_energy":
        low *= 5  # 50 is 0.05 as meV/A^2, 0.003 as mJ/m^2
    return [u for u in quantity.units if low <= abs(value) * factor_of(target, u, "") <= high][:2]


def plan_units(
    columns: Mapping[str, Sequence[float]],
    by_source: Mapping[str, str],
    by_user: Mapping[str, str],
    where: str,
) -> UnitPlan:
    """Decide the units of a data set.

    Parameters
    ----------
    columns
        All values of each target as the source has them.
    by_source, by_user
        Units that the source and ``--unit`` state; the latter go first.
    where
        The source, for messages.

    Raises
    ------
    InputError
        If a unit is not known, ``--unit`` names a target that does not exist, the two columns are exchanged,
        or the values of a column are typical of another unit only.
    """
    if missing := [target for target in by_user if target not in columns]:
        there = ", ".join(columns) or "none"
        raise InputError(f"--unit: {where} has no target {missing[0]}; it has {there}")
    factors, notes = {}, []
    for target in columns:
        if target not in QUANTITIES:
            continue
        unit, stated = by_user.get(target), by_source.get(target)
        if unit is None:
            factors[target] = 1.0 if stated is None else factor_of(target, stated, where)
        else:
            factors[target] = factor_of(target, unit, "--unit")
            if stated is not None and unit_factor(stated, QUANTITIES[target].lengths) != factors[target]:
                notes.append(f"{where} states {stated} for {target}; --unit {unit} is used")
        if factors[target] != 1.0:
            notes.append(
                f"{target}: converted from {unit or stated} to {UNITS[target]} (times {factors[target]:.8g})"
            )
    middles = {t: median(columns[t]) * f for t, f in factors.items() if columns[t]}
    if not by_user and _exchanged(middles):
        raise InputError(
            f"{where}: the medians are surface_energy {middles['surface_energy']:.4g} eV/A^2 and "
            f"work_function {middles['work_function']:.4g} eV: the two columns look exchanged; check their "
            "order (--targets)"
        )
    if "surface_energy" in middles:
        factor = factors["surface_energy"]
        if "surface_energy" not in by_user:
            _check_median(middles["surface_energy"], factor, where)
        notes += _high_values([value * factor for value in columns["surface_energy"]])
    return UnitPlan(factors, frozenset(by_user), tuple(notes))


def _check_median(gamma: float, factor: float, where: str) -> None:
    """Refuse surface energies that are, as a whole, typical of another unit (median in eV/A^2)."""
    quantity = QUANTITIES["surface_energy"]
    low, high = quantity.usual
    if low <= abs(gamma) <= high or not gamma or abs(gamma) > quantity.high:  # then every line is refused
        return
    likely = _likely_units("surface_energy", gamma / factor)
    guess = f"the values look like {' or '.join(likely)}; " if likely else ""
    raise InputError(
        f"{where}: the median surface_energy is {gamma:.4g} eV/A^2 ({gamma / J_PER_M2:.4g} J/m^2), which no "
        f"data set has ({low:g} to {high:g} is usual); {guess}state their unit with --unit "
        f"surface_energy={likely[0] if likely else 'UNIT'} (eV/A2 takes them as they are)"
    )


def _high_values(gamma: Sequence[float]) -> list[str]:
    """Point out surface energies that are possible, but above those of clean surfaces (eV/A^2)."""
    beyond = [value for value in gamma if HIGH_SURFACE_ENERGY < value <= QUANTITIES["surface_energy"].high]
    if not beyond:
        return []
    return [
        f"{len(beyond)} of {len(gamma)} surface energies are above {HIGH_SURFACE_ENERGY:g} eV/A^2 (the "
        f"first: {beyond[0]:.4g}), above every clean surface; check their unit"
    ]


def _exchanged(middles: Mapping[str, float]) -> bool:
    """Whether each of the two targets has the values of the other."""
    if len(middles) < len(QUANTITIES):
        return False
    gamma, phi = QUANTITIES["surface_energy"], QUANTITIES["work_function"]
    return (
        not gamma.usual[0] <= middles["surface_energy"] <= gamma.usual[1]
        and phi.usual[0] <= middles["surface_energy"] <= phi.usual[1]
        and gamma.usual[0] <= middles["work_function"] <= gamma.usual[1]
    )
