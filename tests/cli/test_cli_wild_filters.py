"""Filters that nobody means end in one line, not in a traceback."""

from __future__ import annotations

import pytest

from stores.connections import open_store
from stores.errors import InputError
from workflows.cli.filters import SurfaceFilter


@pytest.mark.parametrize(
    "options",
    [
        {"raw": '{"area": 1' + "0" * 5000 + "}"},
        {"raw": '{"area": 1' + "0" * 400 + "}"},
        {"raw": '{"area":' + "[" * 100_000},
        {"raw": '{"$and": [' * 500 + "{}" + "]}" * 500},
        {"raw": r'{"formula": "\ud800"}'},
        {"raw": '{"formula": {"$regex": 5}}'},
        {"formula": "Mg" + "9" * 500},
        {"since": "9" * 5000 + "d"},
        {"miller": "9" * 5000},
        {"miller": "²10"},
        {"campaign": "\udcff"},
        {"termination": "\udcff"},
    ],
    ids=lambda options: ascii(options)[:30],
)
def test_wild_filter(options):
    with open_store("memory://wild") as store, pytest.raises(InputError) as caught:
        store.count(SurfaceFilter(**options).criteria())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"raw": '{"$or": [' + ", ".join('{"formula": "MgAg"}' for _ in range(1500)) + "]}"},
        {"raw": '{"$and": [' * 40 + "{}" + "]}" * 40},
        {"raw": '{"miller_index.²": 1}'},
        {"termination": "²"},
    ],
    ids=lambda options: ascii(options)[:30],
)
def test_odd_filter_that_can_be_answered(options, tmp_path):
    for uri in ("memory://wild", str(tmp_path / "store.sqlite")):
        with open_store(uri) as store:
            assert store.count(SurfaceFilter(**options).criteria()) == 0
