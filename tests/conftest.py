"""What all tests share."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Each GPAW test may start MPI ranks on every core: under pytest-xdist they all go to one worker.
    for item in items:
        if item.get_closest_marker("gpaw"):
            item.add_marker(pytest.mark.xdist_group("gpaw"))
