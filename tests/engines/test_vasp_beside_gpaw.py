"""Records of both engines share schema and store, and never a surface energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pymatgen.core import Lattice, Structure

from stores.connections import open_store
from stores.records import CalculationKind, CalculationOutput, CalculationRecord
from tests.engines.vasp_engine import engine, set_up
from workflows.analysis.surface_energy import check_consistency
from workflows.engines.gpaw.engine import GPAWEngine
from workflows.jobs.bulk import reference_of
from workflows.jobs.calculate import CalculationRequest
from workflows.jobs.context import RunContext

if TYPE_CHECKING:
    from pathlib import Path

    from workflows.engines.protocol import Engine

MAGNESIUM = Structure(Lattice.hexagonal(3.2, 5.2), ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])


def record(made: Engine, kind: CalculationKind, setup: str) -> CalculationRecord:
    """A calculation of hcp Mg as the engine's records look."""
    request = CalculationRequest(
        kind=kind, label=f"Mg by {made.name}", structure=MAGNESIUM, identity={"bulk": "mg"}
    )
    method = made.method()
    return CalculationRecord(
        id=request.id(method),
        kind=kind,
        label=request.label,
        formula="Mg",
        chemsys="Mg",
        method=method,
        method_fingerprint=method.fingerprint,
        identity=request.identity,
        output=CalculationOutput(
            status="ok",
            energy=-3.0,
            structure=MAGNESIUM.as_dict(verbosity=0),
            kpoints=(4, 4, 1),
            setups={"Mg": setup},
        ),
    )


@pytest.mark.parametrize("preset", ["demo", "production"])
def test_they_live_in_one_store_and_never_meet(preset: str) -> None:
    slab_kind, bulk_kind = CalculationKind.SLAB_STATIC, CalculationKind.BULK_STATIC
    vasp, gpaw = engine(preset=preset), GPAWEngine(preset=preset)
    ours = [record(vasp, kind, "PAW_PBE Mg_pv 13Apr2007 (md5 1a2b3c4d)") for kind in (slab_kind, bulk_kind)]
    theirs = [record(gpaw, kind, "2 (md5 aaaabbbb)") for kind in (slab_kind, bulk_kind)]
    with open_store(f"memory://beside-{preset}") as store:
        store.add([*ours, *theirs])
        found = list(store.records(CalculationRecord))
        assert len({r.id for r in found}) == 4
        assert {r.method.engine for r in found} == {"vasp", "gpaw"}
        assert len({frozenset(r.model_dump()["output"]) for r in found}) == 1
    assert check_consistency(ours[0], ours[1], [ours[1]]) == []
    assert check_consistency(theirs[0], theirs[1]) == []
    for slab, bulk, reference in ((ours[0], theirs[1], ours[1]), (ours[0], ours[1], theirs[1])):
        reasons = "; ".join(check_consistency(slab, bulk, [reference]))
        assert "engine of Mg by gpaw is gpaw, of the slab vasp" in reasons
        assert "setup of Mg" in reasons


def test_other_settings_of_vasp_do_not_meet_either() -> None:
    slab = record(engine(), CalculationKind.SLAB_STATIC, "PAW_PBE Mg_pv 13Apr2007 (md5 1a2b3c4d)")
    for other, said in (
        (record(engine(cutoff=500), CalculationKind.BULK_STATIC, "PAW_PBE Mg_pv 13Apr2007"), "cut-off"),
        (record(engine(potcars={"Mg": "Mg"}), CalculationKind.BULK_STATIC, "PAW_PBE Mg 13Apr2007"), "setup"),
        (
            record(engine(), CalculationKind.BULK_STATIC, "PAW_PBE Mg_pv 13Apr2007 (md5 ffffffff)"),
            "setup of Mg",
        ),
    ):
        assert any(said in reason for reason in check_consistency(slab, other)), said


def test_the_reference_of_one_engine_is_not_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A campaign with vasp computes its own mu0 beside the one that gpaw left in the store."""
    set_up(monkeypatch, tmp_path)
    uri = f"sqlite:///{tmp_path / 'results.sqlite'}"
    left = record(GPAWEngine(), CalculationKind.BULK_RELAX, "2 (md5 aaaabbbb)")
    with open_store(uri) as store:
        store.add(left)
    options = {
        "k_density": 2,
        "bulk_k_density": 2,
        "vasp_command": engine().vasp_command,
        "polling_time": 0.1,
    }
    context = RunContext(store=uri, work_dir=str(tmp_path / "runs"), engine="vasp", options=options)
    answer = reference_of(context, "Mg")
    assert answer["reference"]["method"]["engine"] == "vasp"
    assert {c["method"]["engine"] for c in answer["calculations"]} == {"vasp"}
