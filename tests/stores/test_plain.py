"""What an engine returns becomes plain values, whatever it is made of."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice

from stores.backends.values import dumps, loads
from stores.plain import plain_values
from stores.records import CalculationOutput


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Opaque:
    number: object = 1


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError

    def tolist(self) -> list[int]:
        raise RuntimeError


LOOP: list = [1]
LOOP.append(LOOP)

TABLE = [
    (np.bool_(True), True),
    (np.int64(7), 7),
    (np.uint8(7), 7),
    (np.float32(0.5), 0.5),
    (np.float64(0.5), 0.5),
    (np.longdouble(0.5), 0.5),
    (np.str_("Mg"), "Mg"),
    (np.complex64(1 + 2j), {"real": 1.0, "imag": 2.0}),
    (1 + 2j, {"real": 1.0, "imag": 2.0}),
    (np.array(3), 3),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array([np.bool_(True), "a", None], dtype=object), [True, "a", None]),
    (np.ma.array([1.0, 2.0], mask=[False, True]), [1.0, None]),
    (np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]), [[1, 2.0]]),
    (np.datetime64("2026-01-01T00:00:00"), "2026-01-01T00:00:00.000000Z"),
    ((1, (2, 3)), [1, [2, 3]]),
    ({3, 1, 2}, [1, 2, 3]),
    (
        {2: "a", None: "b", True: "c", np.int64(5): "d", (1, 2): "e"},
        {"2": "a", "null": "b", "true": "c", "5": "d", "[1, 2]": "e"},
    ),
    (Lattice.cubic(2.0), {"matrix": [[2, 0, 0], [0, 2, 0], [0, 0, 2]], "pbc": [True] * 3}),
    (Path("/tmp/x"), "/tmp/x"),
    (Colour.RED, "red"),
    (Level.HIGH, 3),
    (Decimal("0.5"), 0.5),
    (Fraction(1, 4), 0.25),
    (b"ab\xff", "ab\\xff"),
    (2**70, float(2**70)),
    (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00.000000Z"),
    (timedelta(seconds=90), 90.0),
    ("\ud800", "\\ud800"),
    (Opaque(), "Opaque(number=1)"),
    (Opaque("x" * 500), f"Opaque(number='{'x' * 185}"),
    (Broken(), "<Broken>"),
    (LOOP, [1, "..."]),
    ({"@module": "os", b"@class": "x", "a": {"@version": 1}}, {"a": {}}),
    ({"deep": {"er": [np.float32(1.5), {"x": np.arange(2)}]}}, {"deep": {"er": [1.5, {"x": [0, 1]}]}}),
]


def _builtin(value: object) -> bool:
    if type(value) is dict:
        return all(type(key) is str and _builtin(entry) for key, entry in value.items())
    if type(value) is list:
        return all(map(_builtin, value))
    return type(value) in (str, int, float, bool, type(None))


@pytest.mark.parametrize(("value", "wanted"), TABLE, ids=[str(i) for i in range(len(TABLE))])
def test_details_of_any_type_are_stored_as_plain_values(value, wanted):
    found = CalculationOutput(status="ok", details={"key": value}).details["key"]
    assert _builtin(found)
    assert loads(dumps(found)) == found
    assert found == wanted


def test_nan_and_infinities_are_stored_as_null():
    found = plain_values({"a": np.float32("nan"), "b": [np.inf, 10**400]})
    assert math.isnan(found["a"]) and found["b"] == [math.inf, math.inf]
    assert json.loads(dumps(found)) == {"a": None, "b": [None, None]}


def test_endless_containers_end():
    nested: list = []
    for _ in range(5000):
        nested = [nested]
    assert loads(dumps(plain_values(nested)))


def test_every_field_of_an_output_takes_numpy():
    output = CalculationOutput(
        status=np.str_("ok"), energy=np.float32(-1.5), fermi_energy=np.array(2.0),
        kpoints=np.array([4, 4, 1]), site_magnetizations=np.array([0.5, 0.25]), retried=np.bool_(True),
        scf_steps=np.int64(3), setups={np.str_("Mg"): np.str_("2")}, directory=Path("/data"),
        potential={"z": np.arange(2.0), "potential": np.zeros(2, dtype=np.float32)},
    )  # fmt: skip
    plain = output.model_dump()
    plain["status"] = plain["status"].value
    plain["kpoints"] = list(plain["kpoints"])
    assert _builtin(plain)
    assert plain["kpoints"] == [4, 4, 1] and plain["energy"] == -1.5 and plain["retried"] is True
