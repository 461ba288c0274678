import pytest
from pydantic import ValidationError

from stores.records import CalculationOutput, CalculationRecord, Method, Reconstruction, VerdictStatus
from workflows.analysis.verdicts import (
    VerdictThresholds,
    calculation_problems,
    judge_surface_energy,
    judge_work_function,
)
from workflows.analysis.work_function import Plateau, WorkFunction

CALM = Reconstruction(displacement=0.05, bonds_changed=0.0, layers_swapped=False)
FLAT = Plateau(0.0, 2.5, 4.0, 0.001, 0.002)
TILTED = Plateau(0.0, 2.5, 4.0, 0.02, 0.05)
GOOD = WorkFunction(3.7, (3.7, 3.7), (FLAT, FLAT))


def test_good_values_are_accepted():
    assert judge_surface_energy(0.03, CALM).status is VerdictStatus.ACCEPTED
    assert judge_work_function(GOOD, CALM).status is VerdictStatus.ACCEPTED
    assert judge_surface_energy(0.03, None).status is VerdictStatus.ACCEPTED


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({"displacement": 0.51}, "0.51 nearest-neighbour distances (limit 0.5)"),
        ({"bonds_changed": 0.31}, "31 % of surface bonds changed (limit 30 %)"),
        ({"layers_swapped": True}, "two layers changed their order"),
    ],
)
def test_reconstruction_rejects_both_targets(scores, words):
    scores = CALM.model_copy(update=scores)
    for verdict in (judge_surface_energy(0.03, scores), judge_work_function(GOOD, scores)):
        assert verdict.status is VerdictStatus.RECONSTRUCTED
        assert words in verdict.reason


def test_limits_themselves_are_allowed():
    edge = Reconstruction(displacement=0.5, bonds_changed=0.3, layers_swapped=False)
    assert judge_surface_energy(0.0, edge).status is VerdictStatus.ACCEPTED


def test_negative_rejects_only_the_surface_energy():
    verdict = judge_surface_energy(-0.012, CALM)
    assert verdict.status is VerdictStatus.NEGATIVE and "-0.0120" in verdict.reason


def test_uneven_vacuum_rejects_only_the_work_function():
    verdict = judge_work_function(WorkFunction(3.7, (3.7, 3.7), (FLAT, TILTED)), CALM)
    assert verdict.status is VerdictStatus.VACUUM_NOT_FLAT
    assert "top vacuum slopes" in verdict.reason and "top vacuum spreads" in verdict.reason
    thin = judge_work_function(WorkFunction(reason="vacuum of 8.0 A leaves no plateau"), CALM)
    assert thin.status is VerdictStatus.VACUUM_NOT_FLAT and "8.0 A" in thin.reason


def test_order_of_precedence():
    wild = Reconstruction(displacement=2.0, bonds_changed=1.0, layers_swapped=True)
    causes = {"failed": ["crash"], "unconverged": ["SCF"], "inconsistent": ["cut-off"], "asymmetric": "odd"}
    expected = ["failed", "unconverged", "inconsistent_settings", "asymmetric", "reconstructed"]
    for status in expected:
        assert judge_surface_energy(-1.0, wild, **causes).status.value == status
        tilted = WorkFunction(3.7, (3.7, 3.7), (TILTED, TILTED))
        assert judge_work_function(tilted, wild, **causes).status.value == status
        if causes:
            causes.pop(next(iter(causes)))
    assert judge_surface_energy(-1.0, CALM).status is VerdictStatus.NEGATIVE


def test_no_value_is_a_failure_with_its_reason():
    assert (
        judge_surface_energy(None, missing="no reference energy of Mg").reason == "no reference energy of Mg"
    )
    assert judge_surface_energy(None).status is VerdictStatus.FAILED
    assert judge_work_function(None).status is VerdictStatus.FAILED


def test_thresholds_are_settings():
    loose = VerdictThresholds(max_displacement=1.0, max_vacuum_slope=0.1, max_vacuum_spread=0.1)
    far = CALM.model_copy(update={"displacement": 0.9})
    assert judge_surface_energy(0.03, far, thresholds=loose).status is VerdictStatus.ACCEPTED
    tilted = WorkFunction(3.7, (3.7, 3.7), (TILTED, TILTED))
    assert judge_work_function(tilted, CALM, thresholds=loose).status is VerdictStatus.ACCEPTED
    with pytest.raises(ValidationError):
        VerdictThresholds(max_displacment=1.0)
    assert all(field.description for field in VerdictThresholds.model_fields.values())


def test_problems_of_calculations_keep_their_names():
    method = Method(
        engine="gpaw", preset="demo", functional="PBE", cutoff=300, k_density=4,
        smearing="fermi-dirac", smearing_width=0.1, force_tolerance=0.05,
    )  # fmt: skip
    records = [
        CalculationRecord(
            id=status, formula="Mg", chemsys="Mg", method=method, method_fingerprint=method.fingerprint,
            kind="slab_relax", label=f"slab {status}", identity={},
            output=CalculationOutput(status=status, reason="" if status == "ok" else "no SCF"),
        )
        for status in ("ok", "failed", "unconverged")
    ]  # fmt: skip
    assert calculation_problems(records) == (["slab failed: no SCF"], ["slab unconverged: no SCF"])
