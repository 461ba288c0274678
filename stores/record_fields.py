"""Fields of stored records and the kinds of their values, compared as documents are read, without pydantic.

The models of `stores.records` and `stores.labelled` state the same, and more; a query that prints documents
does without them, for pydantic takes 0.2 s to import.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

Problem = str | None


class Kind:
    """What the values of a field are.

    Parameters
    ----------
    problem
        Describes what is wrong with a value, ``: not a text`` or ``.status is missing``; None if nothing is.
    sure
        Types whose values are all of this kind, so that `problem` need not be called.
    entry
        Of lists, the kind of their entries.
    """

    def __init__(
        self, problem: Callable[[Any], Problem], sure: Iterable[type] = (), entry: Kind | None = None
    ) -> None:
        self.problem = problem
        self.sure = frozenset(sure)
        self.entry = entry


def _kind(name: str, fits: Callable[[Any], bool], *sure: type) -> Kind:
    return Kind(lambda value: None if fits(value) else f": not {name}", sure)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_moment(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


TEXT = _kind("a text", lambda value: isinstance(value, str), str)
NUMBER = _kind("a number", _is_number, int, float)
WHOLE = _kind("a whole number", lambda value: _is_number(value) and float(value).is_integer(), int)
FLAG = _kind("true or false", lambda value: isinstance(value, bool), bool)
MOMENT = _kind("a time", _is_moment)
ANY_OBJECT = _kind("an object", lambda value: isinstance(value, dict), dict)
MAYBE_NUMBER = _kind("a number", lambda value: value is None or _is_number(value), int, float, type(None))


def _first(kind: Kind, named: Iterable[tuple[str, Any]]) -> Problem:
    return next((f"{name}{found}" for name, value in named if (found := kind.problem(value))), None)


def _list_of(kind: Kind, length: int = 0) -> Kind:
    """Return the kind of lists, of any length unless one is given."""

    def problem(value: Any) -> Problem:
        if not isinstance(value, list | tuple):
            return ": not a list"
        if length and len(value) != length:
            return f": not {length} values"
        return None if kind.sure.issuperset(map(type, value)) else _first(kind, (("", one) for one in value))

    return Kind(problem, entry=kind)


def _object_of(kind: Kind) -> Kind:
    """Return the kind of objects whose names are free and whose values are of one kind."""

    def problem(value: Any) -> Problem:
        if not isinstance(value, dict):
            return ": not an object"
        known = kind.sure.issuperset(map(type, value.values()))
        return None if known else _first(kind, ((f".{name}", one) for name, one in value.items()))

    return Kind(problem)


class Form(Kind):
    """Named fields and their kinds.

    Parameters
    ----------
    required
        Kinds of the fields that every object has, by name.
    optional
        Of those that records of earlier versions lack, or that may be null.
    either
        Two of those, of which every object has one.
    """

    def __init__(
        self,
        required: Mapping[str, Kind],
        optional: Mapping[str, Kind] | None = None,
        either: tuple[str, ...] = (),
    ) -> None:
        super().__init__(self._of_object)
        self.either = either
        self.required = dict(required)
        self.optional = dict(optional or {})
        self.kinds = self.required | self.optional

    def _of_object(self, value: Any) -> Problem:
        if not isinstance(value, dict):
            return ": not an object"
        found = self.problem_in(value, self.kinds)
        return found and f".{found}"

    def problem_in(self, document: Mapping[str, Any], names: Collection[str]) -> Problem:
        """Describe the first of some fields that is missing or of another kind; None if all are well."""
        either = self.either
        if either and all(name in names and document.get(name) is None for name in either):
            return f"{either[0]} is missing"
        for name in names:
            kind, value = self.kinds[name], document.get(name)
            if type(value) in kind.sure:
                continue
            if value is None:
                if name in self.required:
                    return f"{name} is {'null' if name in document else 'missing'}"
            elif (found := kind.problem(value)) is not None:
                return f"{name}{found}"
        return None

    def of_kind(self, field: str, values: list[Any]) -> list[Any]:
        """Return those of the values of a field, or of entries of its lists, that are of its kind.

        All if the field is not known.
        """
        kind, nullable = self.kinds.get(field), field in self.optional
        if kind is None:
            return values
        kind = kind.entry or kind
        return [v for v in values if (nullable if v is None else kind.problem(v) is None)]


def _of(kind: Kind, names: str) -> dict[str, Kind]:
    return dict.fromkeys(names.split(), kind)


_PLANE, _PAIR = _list_of(WHOLE, 3), _list_of(NUMBER, 2)
_STRUCTURE = ANY_OBJECT  # the rest is checked by its reader, `stores.structures.document`
_VERDICT = Form({"status": TEXT}, {"reason": TEXT})
_POTENTIAL = Form(_of(_list_of(NUMBER), "z potential"))
_PROVENANCE = Form({"source": TEXT}, {"identifiers": _list_of(TEXT), "lattice_is_guess": FLAG})
METHOD = Form(
    _of(TEXT, "engine preset functional smearing")
    | _of(NUMBER, "cutoff k_density smearing_width force_tolerance"),
    {"setups": _object_of(TEXT), "label_convention": TEXT, "extra": ANY_OBJECT},
)
OUTPUT = Form(
    {"status": TEXT},
    _of(TEXT, "reason engine_version directory")
    | _of(NUMBER, "energy fermi_energy vbm cbm max_force total_magnetization wall_time")
    | _of(WHOLE, "scf_steps ionic_steps")
    | {
        "structure": _STRUCTURE,
        "site_magnetizations": _list_of(NUMBER),
        "kpoints": _PLANE,
        "setups": _object_of(TEXT),
        "potential": _POTENTIAL,
        "retried": FLAG,
        "details": ANY_OBJECT,
    },
)
_COMMON = _of(TEXT, "id formula chemsys method_fingerprint") | {"created_at": MOMENT}
_RECORD = {**_COMMON, "method": METHOD}

SURFACE = Form(
    _RECORD
    | _of(TEXT, "bulk_id termination_label termination_key")
    | _of(WHOLE, "spacegroup_number termination n_layers n_atoms")
    | _of(NUMBER, "cut period thickness vacuum area")
    | {
        "provenance": _PROVENANCE,
        "miller_index": _PLANE,
        "composition": _object_of(WHOLE),
        "slab": _STRUCTURE,
        "verdicts": Form(_of(_VERDICT, "surface_energy work_function")),
    },
    _of(TEXT, "campaign reference_element")
    | _of(
        NUMBER,
        "energy bulk_energy formation_energy surface_energy surface_energy_x_rich surface_energy_slope "
        "work_function fermi_energy vbm cbm total_magnetization",
    )
    | _of(_PAIR, "chemical_potential_window work_function_sides vacuum_slopes vacuum_spreads")
    | _of(_object_of(NUMBER), "chemical_potentials excess")
    | {
        "schema_version": WHOLE,
        "equivalent_planes": _list_of(_PLANE),
        "relaxed_slab": _STRUCTURE,
        "potential": _POTENTIAL,
        "reconstruction": Form(_of(NUMBER, "displacement bonds_changed") | {"layers_swapped": FLAG}),
        "calculation_ids": _object_of(TEXT),
    },
)
BULK = Form(
    _RECORD
    | _of(TEXT, "bulk_key spacegroup_symbol calculation_id")
    | _of(WHOLE, "spacegroup_number initial_spacegroup_number")
    | _of(NUMBER, "energy_per_atom energy_per_formula_unit")
    | _of(_STRUCTURE, "initial_structure structure")
    | {"provenance": _PROVENANCE},
    _of(NUMBER, "formation_energy total_magnetization") | {"schema_version": WHOLE},
)
REFERENCE = Form(
    _RECORD
    | _of(TEXT, "element prototype calculation_id")
    | {"structure": _STRUCTURE, "energy_per_atom": NUMBER},
    {"schema_version": WHOLE, "total_magnetization": NUMBER},
)
CALCULATION = Form(
    _RECORD | {"kind": TEXT, "label": TEXT, "identity": ANY_OBJECT, "output": OUTPUT},
    {"schema_version": WHOLE},
)
LABEL = Form(
    _COMMON
    | _of(TEXT, "source source_id compound geometry")
    | {"composition": _object_of(WHOLE), "n_atoms": WHOLE, "targets": _object_of(MAYBE_NUMBER)},
    _of(TEXT, "composition_unit termination")
    | _of(_object_of(TEXT), "units excluded")
    | {
        "schema_version": WHOLE,
        "slab": _STRUCTURE,
        "fractions": _object_of(NUMBER),
        "extras": _object_of(MAYBE_NUMBER),
        "classes": _object_of(_list_of(TEXT)),
        "miller_index": _PLANE,
    },
    either=("slab", "fractions"),
)
