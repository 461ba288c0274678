"""`mgsurf predict` and `suggest` call a lattice estimated only where it is."""

from __future__ import annotations

import pytest

from stores.connections import open_store
from stores.records import Provenance
from workflows.cli.predict import _of_store


@pytest.mark.parametrize("kind", ["sqlite", "folder"])
@pytest.mark.parametrize(
    ("guess", "bulk_id", "estimated"),
    [(True, "bulk-0", False), (False, "bulk-0", False), (True, "", True), (False, "", False)],
)
def test_slabs_of_a_relaxed_bulk_have_no_estimated_lattice(
    records, tmp_path, kind, guess, bulk_id, estimated
):
    uri = f"{kind}:///{tmp_path}/{'store.sqlite' if kind == 'sqlite' else 'records'}"
    provenance = Provenance(source="prototype", identifiers=["B2"], lattice_is_guess=guess)
    surface = records.quickstart_surfaces()[0]
    with open_store(uri) as store:
        store.add([surface.model_copy(update={"provenance": provenance, "bulk_id": bulk_id})])
    problems: list[tuple[str, str]] = []
    (candidate,) = _of_store(uri, problems)
    assert problems == []
    assert candidate.lattice_is_guess is estimated
