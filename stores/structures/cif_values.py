"""Tags and values of a CIF's data block."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import gemmi

Tags = dict[str, list[str]]
"""Values by tag in small letters, ``.`` in it as ``_``; one value where the tag stands in no loop."""

MISSING = ("", "?", ".")
_ATOMS = ("fract_x", "fract_y", "fract_z", "label", "type_symbol", "occupancy", "calc_flag")
_USED = frozenset(
    [f"_atom_site_{name}" for name in _ATOMS]
    + [f"_cell_{name}" for name in ("length_a", "length_b", "length_c", "formula_units_z")]
    + [f"_cell_angle_{name}" for name in ("alpha", "beta", "gamma")]
    + ["_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz"]
    + ["_space_group_name_hall", "_symmetry_space_group_name_hall", "_symmetry_space_group_name_h-m"]
    + [f"_space_group_name_h-m_{name}" for name in ("alt", "full", "ref")]
    + ["_space_group_it_number", "_symmetry_int_tables_number"]
    + ["_chemical_formula_sum", "_exptl_crystal_density_diffrn"]
)


def tags_of(block: gemmi.cif.Block, where: str) -> Tags:
    """Return the values of a block that matter for its structure.

    Raises
    ------
    InputError
        If one of these tags is there twice with different values.
    """
    found: Tags = {}
    for item in cast("Iterable[gemmi.cif.Item]", block):
        pair: Any = item.pair
        if pair is not None:
            name, value = pair
            if (key := _key(name)) in _USED:
                _add(found, key, [_text(value) if value[:1] in "'\";" else value], where)
        elif (loop := item.loop) is not None:
            keys = [_key(name) for name in loop.tags]
            if not _USED.isdisjoint(keys):
                values = loop.values
                text = "".join(values)
                if "'" in text or '"' in text or ";" in text:
                    values = [_text(value) if value[:1] in "'\";" else value for value in values]
                for column, key in enumerate(keys):
                    if key in _USED:
                        _add(found, key, values[column :: len(keys)], where)
    return found


@lru_cache(maxsize=4096)
def _key(name: str) -> str:
    return name.lower().replace(".", "_")


def _add(found: Tags, key: str, values: list[str], where: str) -> None:
    if found.setdefault(key, values) != values:
        one, other = (next(iter(column), "nothing") for column in (found[key], values))
        raise InputError(f"{where} has {key} twice ({one} ... and {other} ...): keep one of them")


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
    try:
        return float(text)
    except ValueError:
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
    """Return one unit of a coordinate's last digit; 0 if it is exact: a multiple of 1/24, one digit, 1/3."""
    digits = text.partition("(")[0].partition(".")[2]
    if len(digits) < 2 or not digits.isdigit():
        return 0.0
    steps = 24 * float(text.partition("(")[0])
    return 0.0 if abs(steps - round(steps)) < 1e-9 else float(10.0 ** -len(digits))
