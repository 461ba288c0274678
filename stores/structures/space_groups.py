"""Symmetry operations from operators, Hall symbols, Hermann-Mauguin names and numbers of space groups.

Names and Hall symbols are looked up in gemmi's tables: the 530 settings of the International Tables with
their origin choices and hexagonal or rhombohedral axes, older names, and further settings in use. A CIF
states its symmetry in up to four ways, which may contradict each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import gemmi
    from numpy.typing import NDArray


DENOMINATOR = 720720  # translations are kept as multiples of 1/720720, the least common multiple of 1 to 16
_MAX_DENOMINATOR = 16  # in operators; decimals such as 0.3333 are taken for the nearest such fraction
_TABULATED = 530  # settings of the International Tables, first in the table; others follow there
_METRIC = 0.02  # of the product of two edges; cells of real files obey their symmetry within rounding
# a fixed hash of an operation's 12 integers; 64-bit products may wrap around
_HASH = np.random.default_rng(12).integers(1, 2**62, size=12, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Setting:
    """A space group in given axes and with a given origin."""

    name: str  # for messages
    rotations: NDArray[np.int64]  # [G, 3, 3] int64, in fractional coordinates
    shifts: NDArray[np.int64]  # [G, 3] int64, translations in units of 1/`DENOMINATOR`, in [0, 1)
    number: int = 0  # of the space-group type; 0 if unknown

    @property
    def axes(self) -> str:
        """The name without the choice of the origin."""
        return self.name.partition(":")[0]

    @property
    def translations(self) -> NDArray[np.float64]:
        """[G, 3], fractional."""
        return self.shifts / DENOMINATOR

    @cached_property
    def key(self) -> frozenset[int]:
        """Equal for equal sets of operations."""
        return frozenset(_codes(self.rotations, self.shifts).tolist())

    @property
    def is_trivial(self) -> bool:
        """Whether the identity is the only operation."""
        return len(self.rotations) == 1

    @cached_property
    def is_group(self) -> bool:
        """Whether products of operations are operations."""
        products = np.einsum("aij,bjk->abik", self.rotations, self.rotations).reshape(-1, 3, 3)
        shifts = np.einsum("aij,bj->abi", self.rotations, self.shifts) + self.shifts[:, None]
        codes = np.unique(_codes(products, shifts.reshape(-1, 3) % DENOMINATOR))
        return self.key == frozenset(codes.tolist())

    def fits(self, cell: Sequence[float]) -> bool:
        """Whether a cell (A, degrees) keeps its lengths and angles under all rotations, within 2 %."""
        lengths = np.array(cell[:3])
        alpha, beta, gamma = np.cos(np.radians(cell[3:]))
        cosines = np.array([[1, gamma, beta], [gamma, 1, alpha], [beta, alpha, 1]])
        metric = cosines * np.outer(lengths, lengths)
        turned = np.einsum("gji,jk,gkl->gil", self.rotations, metric, self.rotations)
        return bool(np.all(np.abs(turned - metric) <= _METRIC * np.outer(lengths, lengths)))


def _codes(rotations: NDArray[np.int64], shifts: NDArray[np.int64]) -> NDArray[np.int64]:
    with np.errstate(over="ignore"):
        rows = np.concatenate([rotations.reshape(-1, 9), shifts.reshape(-1, 3)], axis=1)
        codes: NDArray[np.int64] = rows @ _HASH
        return codes


def _setting(name: str, operations: Iterable[tuple[Any, Any]], number: int = 0) -> Setting:
    """Make a setting of rotations and fractions of the cell, duplicates left out."""
    distinct = {
        (tuple(map(tuple, rotation)), tuple(round(t * DENOMINATOR) % DENOMINATOR for t in shift)): None
        for rotation, shift in operations
    }
    return Setting(
        name,
        np.array([rotation for rotation, _ in distinct], dtype=np.int64),
        np.array([shift for _, shift in distinct], dtype=np.int64),
        number,
    )


P1 = _setting("P 1", [(np.eye(3, dtype=int), (0, 0, 0))], 1)

_TERM = re.compile(r"([+-]?)(?:(\d+(?:\.\d*)?|\.\d+)(?:/(\d+))?\*?)?([xyz]?)")


def parse_operator(text: str) -> tuple[list[list[int]], list[Fraction]]:
    """Read an operator such as ``-y+1/2, x-y, z+0.3333``; a ValueError if it is none."""
    rows, shifts = [], []
    parts = text.lower().replace(" ", "").replace("\t", "").split(",")
    if len(parts) != 3:
        raise ValueError(text)
    for part in parts:
        row, shift, place = [0, 0, 0], Fraction(0), 0
        while place < len(part):
            match = _TERM.match(part, place)
            assert match is not None  # it may be empty
            sign, value, divisor, axis = match.groups()
            if match.end() == place or (value is None and not axis) or (place and not sign):
                raise ValueError(text)
            if divisor is not None and int(divisor) == 0:
                raise ValueError(text)
            number = Fraction(value or 1) / int(divisor or 1)
            number = -number if sign == "-" else number
            if axis and number.denominator != 1:
                raise ValueError(text)
            if axis:
                row["xyz".index(axis)] += int(number)
            else:
                shift += number if divisor else number.limit_denominator(_MAX_DENOMINATOR)
            place = match.end()
        rows.append(row)
        shifts.append(shift)
    if abs(round(np.linalg.det(rows))) != 1:
        raise ValueError(text)
    return rows, shifts


def setting_of_operators(operators: Sequence[str]) -> Setting:
    """Return the setting with these operators; a ValueError with the one that cannot be read."""
    setting = _setting(f"{len(operators)} operators", [parse_operator(text) for text in operators])
    if setting.key == P1.key:
        return P1
    return Setting(setting.name, setting.rotations, setting.shifts, _number(setting))


def _number(setting: Setting) -> int:
    """Return the number of the space-group type of a set of operations, 0 if its setting is in no table."""
    import gemmi

    scale = DENOMINATOR // gemmi.Op.DEN
    if np.any(setting.shifts % scale):
        return 0
    operations = []
    for rotation, shift in zip(setting.rotations, setting.shifts // scale, strict=True):
        operation = gemmi.Op()
        operation.rot = (rotation * gemmi.Op.DEN).tolist()
        operation.tran = shift.tolist()
        operations.append(operation)
    found = gemmi.find_spacegroup_by_ops(gemmi.GroupOps(operations))
    return found.number if found is not None else 0


@lru_cache(maxsize=64)
def _tabulated(hall: str, name: str, number: int) -> Setting:
    return _of_operations(_operations(hall), name, number)


def _operations(hall: str) -> gemmi.GroupOps:
    import gemmi

    return gemmi.symops_from_hall(hall)


def _of_operations(operations: gemmi.GroupOps, name: str, number: int) -> Setting:
    import gemmi

    denominator = gemmi.Op.DEN
    return _setting(
        name,
        [
            ((np.array(op.rot) // denominator).tolist(), [Fraction(t, denominator) for t in op.tran])
            for op in operations
        ],
        number,
    )


def setting_of_hall(symbol: str) -> Setting | None:
    """Return the setting of a Hall symbol, or None if it is none."""
    import gemmi

    text = " ".join(symbol.replace("_", " ").replace("''", '"').split())
    # lattice letter in capitals, axes and translations in small letters, whatever the file has
    text = re.sub(r"^(-?)([a-z])", lambda m: m[1] + m[2].upper(), text.lower())
    try:
        operations = _operations(text)
    except (ValueError, RuntimeError):
        return None
    found = gemmi.find_spacegroup_by_ops(operations)
    return _of_operations(operations, f"Hall symbol {symbol}", found.number if found is not None else 0)


@lru_cache(maxsize=64)
def settings_of_number(number: int) -> tuple[Setting, ...]:
    """Return the tabulated settings of a number, those in standard axes first; empty for no group."""
    import gemmi

    groups = [g for g in islice(gemmi.spacegroup_table(), _TABULATED) if g.number == number]
    standard = {g.hm for g in groups if g.is_reference_setting()}
    groups.sort(key=lambda g: g.hm not in standard)
    found = (_tabulated(g.hall, g.xhm(), g.number) for g in groups)
    return tuple({setting.key: setting for setting in reversed(list(found))}.values())[::-1]


def _alternatives(group: gemmi.SpaceGroup, choice: str = "") -> tuple[Setting, ...]:
    """Return a group with all its origins or kinds of axes, or with the chosen one."""
    import gemmi

    found = [g for g in gemmi.spacegroup_table() if g.number == group.number and g.hm == group.hm]
    chosen = [g for g in found if g.ext == choice] if choice else []
    return tuple(_tabulated(g.hall, g.xhm(), g.number) for g in chosen or found)


_CHOICE = re.compile(r"(?:[:;]|\(?\s*(?:origin\s*(?:choice)?|choice|o)\s*:?)\s*([12])\s*\)?$", re.IGNORECASE)
_LETTER = re.compile(r"[\s:;(]*([hrsz])s?\)?$", re.IGNORECASE)
_MEANING = {"s": "1", "z": "2", "h": "H", "r": "R"}
_FULL = re.compile(r"\d+/(?=[a-z])", re.IGNORECASE)


@lru_cache(maxsize=512)
def settings_of_name(name: str) -> tuple[Setting, ...]:
    """Return the settings that a Hermann-Mauguin name stands for; empty if it is not understood.

    Any case, with or without spaces or underscores, screw axes as 63, 6_3 or 6(3), full and older forms, and
    the endings :1 :2 :H :R, S and Z (origin choice 1 and 2), (origin 2), O2. Several if the name leaves open
    the origin, the axes or the unique axis, the usual one first.
    """
    text = name.strip().strip("'\"").replace("_", " ").replace("\u2212", "-").strip()
    text = re.sub(r"\(\s*(?:no\.?|#)\s*\d+\s*\)$|\(\d{3}\)$", "", text, flags=re.IGNORECASE).strip()
    text = re.sub(r"\\(?:bar|overline)\s*\{?(\d)\}?", r"-\1", text)
    text = re.sub(r"(\d)\s*\((\d)\)", r"\1\2", re.sub(r"[${}]", "", text))
    choice = ""
    if match := _CHOICE.search(text):
        choice, text = match[1], text[: match.start()]
    elif match := _LETTER.search(text, 2):
        choice, text = _MEANING[match[1].lower()], text[: match.start()]
    group = _group(text)
    short = _short(text)
    if group is None or group.number in range(3, 16):
        # named without its axis, a monoclinic group has the unique axis b or c
        by_axis = _monoclinic(short)
        if by_axis or group is None:
            return by_axis
    if short.startswith("h"):
        choice = "H"
    return _alternatives(group, choice)


def _short(name: str) -> str:
    return name.replace(" ", "").lower()


@lru_cache(maxsize=64)
def _monoclinic(short: str) -> tuple[Setting, ...]:
    """Return the monoclinic settings that are so named without their axis, unique axis b first."""
    import gemmi

    found = []
    for axis, pattern in (("b", r"(\S) 1 (\S+) 1"), ("c", r"(\S) 1 1 (\S+)")):
        for group in gemmi.spacegroup_table():
            if group.number in range(3, 16) and group.monoclinic_unique_axis() == axis:
                match = re.fullmatch(pattern, group.hm)
                if match and (match[1] + match[2]).lower() == short:
                    found.append(_tabulated(group.hall, group.xhm(), group.number))
    return tuple(found)


def _group(text: str) -> gemmi.SpaceGroup | None:
    import gemmi

    for candidate in (text, _without_axes(text)):
        if not candidate[:1].isalpha():
            continue
        try:
            group = gemmi.find_spacegroup_by_name(candidate)
        except (ValueError, RuntimeError):
            group = None
        if group is not None:
            return group
    return None


def _without_axes(text: str) -> str:
    """Shorten a full symbol, ``P 63/m 2/m 2/c`` to ``P 63/m m c``; a main axis of order 4 or 6 stays."""
    planes = list(_FULL.finditer(text))
    main = re.match(r"\s*[A-Za-z]\s*[46]\d?/", text)
    if len(planes) < 2 and "-3" not in text:
        return text
    keep = 1 if main and "-3" not in text else 0
    for match in reversed(planes[keep:]):
        text = text[: match.start()] + text[match.end() :]
    return text


@dataclass(frozen=True)
class Statement:
    """One way in which symmetry is stated: in words, e.g. "the name 'P 63/m m c'", and its settings.

    There are several if it leaves open the origin or the axes; operators are exact.
    """

    source: str
    settings: tuple[Setting, ...]
    exact: bool = False

    @property
    def number(self) -> int:
        """Of the space-group type; 0 if unknown."""
        return self.settings[0].number


@dataclass(frozen=True)
class Symmetry:
    """The statement that is used, those that contradict it, and why the atoms must be confirmed, if so.

    Used are operators, else the Hall symbol, else the name, else the number; identity alone if none is
    understood.
    """

    statement: Statement
    others: tuple[Statement, ...] = ()
    doubt: str = ""


class OperatorError(ValueError):
    """Operators that cannot be used; the message has the reason and the remedy."""


@lru_cache(maxsize=512)
def symmetry_of(operators: tuple[str, ...], hall: str, names: tuple[str, ...], number: str) -> Symmetry:
    """Find the symmetry that a block states in operators, Hall symbol, names and number, empty where missing.

    Raises `OperatorError` if an operator cannot be read, or the list is no group.
    """
    statements, unknown = [], []
    doubt = ""
    if operators:
        try:
            setting = setting_of_operators(operators)
        except ValueError as error:
            raise OperatorError(
                f"the symmetry operator '{error}' cannot be read: write it as x,y,z"
            ) from None
        if not setting.is_group:
            raise OperatorError(
                f"the list of {len(operators)} symmetry operators is incomplete, products of them are "
                "missing: complete it"
            )
        statements.append(
            Statement(f"the operators ({len(operators)}: {operators[0]} ...)", (setting,), True)
        )
    if hall:
        found = setting_of_hall(hall)
        if found is None:
            unknown.append(f"the Hall symbol '{hall}'")
        else:
            statements.append(Statement(f"the Hall symbol '{hall}'", (found,)))
    by_name = []
    for name in names:
        if settings := settings_of_name(name):
            by_name.append(Statement(f"the name '{name}'", settings))
        else:
            unknown.append(f"the name '{name}'")
    statements += sorted(by_name, key=lambda statement: len(statement.settings))
    if number:
        settings = settings_of_number(int(number)) if number.isdecimal() else ()
        if settings:
            statements.append(Statement(f"the number {number}", settings))
        elif number != "0":
            unknown.append(f"the number {number}")
    if not statements:
        reason = f"{' and '.join(unknown)} cannot be read as symmetry" if unknown else "it states no symmetry"
        return Symmetry(Statement("no symmetry", (P1,)), doubt=reason)
    used = statements[0]
    if unknown and used.source.startswith("the number"):
        doubt = f"{' and '.join(unknown)} cannot be read as symmetry"
    others = tuple(other for other in statements[1:] if not _agree(used, other))
    return Symmetry(used, others, doubt)


def _agree(used: Statement, other: Statement) -> bool:
    if {setting.key for setting in used.settings} & {setting.key for setting in other.settings}:
        return True
    # a number names the type of group alone, and operators state axes and origin exactly
    same_type = used.number == other.number != 0
    return same_type and (used.exact or other.source.startswith("the number"))
