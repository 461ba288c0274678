"""Classes as labels: names, truth values or integers become places in a list of class names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_CLASSES = 50  # a column with more different labels is a number or a name, not a class


def class_name(value: Any) -> str | None:
    """Return the name of a class: of a text, a truth value or an integer; None for no label.

    Raises InputError if the value is a number with decimals, also as text, or nothing of these.
    """
    if isinstance(value, str):
        value = value.strip()
        if _is_decimal(value):
            value = float(value)
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        raise InputError(f"{str(value)[:40]!r} is no class; write a name or an integer")
    return str(value)


def _is_decimal(text: str) -> bool:
    """Whether a text is a number other than an integer: ``0.5``, ``1.0``, ``nan``."""
    try:
        float(text)
    except ValueError:
        return False
    return not text.removeprefix("-").removeprefix("+").isdecimal()


def classes_of(target: str, values: Iterable[Any]) -> tuple[str, ...]:
    """Return the names of all classes in a column, integers by size and words in alphabetical order.

    Values that are no class are left to their lines. Raises InputError if there are fewer than two classes,
    or more than `MOST_CLASSES`.
    """
    found: set[str] = set()
    problem = ""
    for value in values:
        try:
            name = class_name(value)
        except InputError as error:
            problem = problem or str(error)
            continue
        if name is not None:
            found.add(name)
    if not found and problem:
        raise InputError(f"{target}: {problem}, or leave it out of --classes")
    if not 2 <= len(found) <= MOST_CLASSES:
        shown = ", ".join(sorted(found)[:3]) or "none"
        raise InputError(
            f"{target} has {len(found)} different labels ({shown}, ...); classes are 2 to {MOST_CLASSES}: "
            "leave it out of --classes, or name another column"
            if len(found) > 1
            else f"{target} has one class alone ({shown}): there is nothing to learn; name another column"
        )
    integers = all(name.removeprefix("-").isdecimal() for name in found)
    return tuple(sorted(found, key=int if integers else str))
