"""OPTIMADE over HTTP: the validator of the consortium, and this project's own source of structures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.web.optimade_store import COMPOUNDS, make_store

pytest.importorskip("optimade.server")


@pytest.fixture(scope="module")
def base_url(serving: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("served") / "results.sqlite"
    make_store(path)
    with serving(path) as url:
        yield f"{url}/optimade"


@pytest.mark.parametrize("version", ["", "/v1"])
def test_the_validator_of_the_consortium_finds_no_fault(base_url: str, version: str) -> None:
    from optimade.validator import ImplementationValidator

    validator = ImplementationValidator(base_url=base_url + version, respond_json=True, page_limit=4)
    validator.validate_implementation()
    results = validator.results
    assert results.failure_messages == []
    assert results.internal_failure_messages == []
    assert results.optional_failure_messages == []
    assert validator.valid
    assert results.success_count >= 35  # some depend on the entry that it chooses


@pytest.mark.parametrize("version", ["", "/v1/structures"])
def test_compounds_are_enumerated_from_it(base_url: str, version: str, tmp_path: Path) -> None:
    """Of the bulks alone: slabs are not requested."""
    pytest.importorskip("httpx2")
    from workflows.structures.sources.filters import CandidateFilter
    from workflows.structures.sources.optimade import OptimadeSource

    source = OptimadeSource(
        [base_url + version], CandidateFilter(max_atoms=30), cache=tmp_path / "cache.sqlite"
    )
    found = list(source.candidates())
    assert source.problems == []
    binaries = [f for f, (chemsys, _) in COMPOUNDS.items() if "Mg" in chemsys and chemsys.count("-") == 1]
    assert sorted(c.label.partition(" ")[0] for c in found) == sorted(binaries)
    assert {c.provenance.source for c in found} == {"mgsurf"}
    assert sorted(c.provenance.identifiers[0] for c in found) == [
        f"mgsurf:b{number}-{formula.lower()}"
        for number, formula in enumerate(COMPOUNDS)
        if formula in binaries
    ]
    assert sorted(len(c.structure) for c in found) == [2, 3, 3, 29]
