"""Tags and values of a CIF's data block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stores.errors import InputError

if TYPE_CHECKING:
    import gemmi

Tags = dict[str, list[str]]
"""Values by tag in small letters, ``.`` in it as ``_``; one value where the tag stands in no loop."""

MISSING = ("", "?", ".")
_USED = ("_atom_site_", "_cell_", "_space_group", "_symmetry", "_chemical_formula_sum", "_exptl_crystal_density")


def tags_of(block: gemmi.cif.Block, where: str) -> Tags:
    """Return the values of a block that matter for its structure.

    Raises
    ------
    InputError
        If one of these tags is there twice with different values.
    """
    found: Tags = {}
    for item in block:
        if (pair := item.pair) is not None:
            _add(found, pair[0], [pair[1]], where)
        elif (loop := item.loop) is not None:
            names = loop.tags
            if names[0].lower().startswith(_USED):
                values = loop.values
                for column, name in enumerate(names):
                    _add(found, name, values[column :: len(names)], where)
    return found


def _add(found: Tags, name: str, values: list[str], where: str) -> None:
    key = name.lower().replace(".", "_")
    if not key.startswith(_USED):
        return
    values = [_text(value) if value[:1] in "'\";" else value for value in values]
    if found.setdefault(key, values) != values:
        raise InputError(
            f"{where} has {name} twice ({found[key][0]} ... and {values[0]} ...): keep one of them"
        )


def _text(value: str) -> str:
    import gemmi

    return str(gemmi.cif.as_string(value)).strip()


def first(tags: Tags, *names: str) -> str:
    """Return the first value of the first of several tags that has one; "" if none has."""
    for name in names:
        if tags.get(name) and tags[name][0] not in MISSING:
            return tags[name][0]
    return ""


def parse_number(text: str) -> float:
    """Read a CIF number, whose last digits' uncertainty may follow in parentheses: 0.1628(3); also 1/3.

    Raises
    ------
    ValueError
        If it is none.
    """
    value, divided, divisor = text.partition("(")[0].partition("/")
    if not divided:
        return float(value)
    if not float(divisor):
        raise ValueError(text)
    return float(value) / float(divisor)


def optional_number(text: str) -> float | None:
    """Return a positive number, or None if the text is none."""
    try:
        value = parse_number(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def last_digit(text: str) -> float:
    """Return one unit of the last digit of a coordinate; 0 if it is exact: a multiple of 1/24, one digit, 1/3."""
    digits = text.partition("(")[0].partition(".")[2]
    if len(digits) < 2 or not digits.isdigit():
        return 0.0
    steps = 24 * float(text.partition("(")[0])
    return 0.0 if abs(steps - round(steps)) < 1e-9 else float(10.0 ** -len(digits))
