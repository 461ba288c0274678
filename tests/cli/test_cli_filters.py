from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stores.errors import InputError
from stores.records import SurfaceRecord, VerdictStatus
from stores.verdicts import STATUSES
from workflows.cli.filters import SurfaceFilter
from workflows.report.surface_filter import (
    SORTABLE,
    parse_chemsys,
    parse_formula,
    parse_moment,
)


def test_names_repeated_for_speed_are_those_of_the_records():
    assert set(STATUSES) == {str(status) for status in VerdictStatus}
    assert set(SORTABLE) <= set(SurfaceRecord.model_fields)


def test_no_filter_passes_everything():
    assert SurfaceFilter().criteria() == {}
    assert SurfaceFilter().describe() == []


def test_surface_energy_in_joule_is_converted():
    criteria = SurfaceFilter(min_surface_energy=1.602176634, unit="J/m2").criteria()
    assert criteria["surface_energy"]["$gte"] == pytest.approx(0.1)


def test_a_plane_and_its_opposite_are_one():
    by_name, by_symmetry = SurfaceFilter(miller="10-1").criteria()["$or"]
    assert by_name == {"miller_index": {"$in": [[1, 0, -1], [-1, 0, 1]]}}
    assert by_symmetry == {"equivalent_planes": [1, 0, -1]}


@pytest.mark.parametrize("text", ["Mg-Ag", "Ag-Mg", " ag , mg ", "Mg Ag", "Mg-Ag-Mg"])
def test_chemical_system_in_any_order(text):
    assert parse_chemsys(text) == "Ag-Mg"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("MgAg", "MgAg"),
        ("AgMg", "MgAg"),
        ("Al12Mg17", "Mg17Al12"),
        ("Mg34Al24", "Mg17Al12"),
        ("Mg", "Mg"),
        ("NiAl", "AlNi"),
        ("AlNi", "AlNi"),
        ("Al6Ca3", "CaAl2"),
        ("Al", "Al"),
        ("Al4", "Al"),
    ],
)
def test_formula_as_it_is_stored(text, stored):
    assert parse_formula(text) == stored


def test_spans_count_back_from_now():
    assert abs(parse_moment("2d") - (datetime.now(UTC) - timedelta(days=2))) < timedelta(seconds=5)
    assert parse_moment("2026-01-31T12:00+02:00") == datetime(2026, 1, 31, 10, tzinfo=UTC)
    with pytest.raises(InputError, match="span such as"):
        parse_moment("99999999999d")


def test_a_method_is_not_read_as_a_regular_expression():
    assert SurfaceFilter(method="gpaw.demo").criteria()["method_fingerprint"]["$regex"] == r"^gpaw\.demo"
