"""The symmetry that a data block of a CIF states, in up to four ways which may contradict each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from stores.structures.space_groups import (
    P1,
    Setting,
    setting_of_hall,
    setting_of_operators,
    settings_of_name,
    settings_of_number,
)


@dataclass(frozen=True)
class Statement:
    """One way in which symmetry is stated.

    Attributes
    ----------
    source
        In words, e.g. "the name 'P 63/m m c'".
    settings
        One, or several if it leaves open the origin or the axes.
    exact
        Operators, which leave no doubt about axes and origin.
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
    """The statement that is used, and what speaks against it.

    Attributes
    ----------
    statement
        Operators, else the Hall symbol, else the name, else the number; identity alone if none is understood.
    others
        Statements that contradict it.
    doubt
        Why the atoms must be confirmed by formula and Z or density, in words; "" if they need not.
    """

    statement: Statement
    others: tuple[Statement, ...] = ()
    doubt: str = ""


class OperatorError(ValueError):
    """Operators that cannot be used; the message has the reason and the remedy."""


@lru_cache(maxsize=512)
def symmetry_of(operators: tuple[str, ...], hall: str, names: tuple[str, ...], number: str) -> Symmetry:
    """Find the symmetry that a block states.

    Parameters
    ----------
    operators, hall, names, number
        As in the file, without quotes; empty where missing.

    Raises
    ------
    OperatorError
        If an operator cannot be read, or the list is no group.
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
