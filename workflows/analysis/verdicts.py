"""Verdicts on a surface energy and on a work function: accepted, or rejected with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from stores.records import CalculationStatus, Verdict, VerdictStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stores.records import CalculationRecord, Reconstruction
    from workflows.analysis.work_function import WorkFunction


class VerdictThresholds(BaseModel):
    """Limits beyond which a value is rejected; the value is kept all the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_displacement: float = Field(
        default=0.5, gt=0, description="Largest displacement over the nearest-neighbour distance (1)"
    )
    max_bonds_changed: float = Field(
        default=0.3, ge=0, le=1, description="Largest share of surface bonds broken or formed (0 to 1)"
    )
    max_vacuum_slope: float = Field(
        default=0.01, gt=0, description="Steepest plateau of the planar potential (eV/A)"
    )
    max_vacuum_spread: float = Field(
        default=0.02, gt=0, description="Largest minus smallest potential in a plateau (eV)"
    )


DEFAULT_THRESHOLDS = VerdictThresholds()


def calculation_problems(calculations: Iterable[CalculationRecord]) -> tuple[list[str], list[str]]:
    """Return one line per failed and one per unconverged calculation behind a value."""
    failed, unconverged = [], []
    for calculation in calculations:
        output = calculation.output
        line = f"{calculation.label}: {output.reason or output.status.value}"
        if output.status is CalculationStatus.FAILED:
            failed.append(line)
        elif output.status is CalculationStatus.UNCONVERGED:
            unconverged.append(line)
    return failed, unconverged


def judge_surface_energy(
    surface_energy: float | None,
    reconstruction: Reconstruction | None = None,
    *,
    failed: Sequence[str] = (),
    unconverged: Sequence[str] = (),
    inconsistent: Sequence[str] = (),
    asymmetric: str = "",
    missing: str = "",
    thresholds: VerdictThresholds = DEFAULT_THRESHOLDS,
) -> Verdict:
    """Judge a surface energy.

    The first that applies is the verdict: failed, unconverged, inconsistent_settings, asymmetric, failed
    for want of a value, reconstructed, negative, accepted. Errors of the calculation come before the value:
    a negative value from an unconverged run is an unconverged one.

    Parameters
    ----------
    surface_energy
        At dmu = 0 (eV/A^2): only this end is judged, for the other may be negative by a bad reference.
    reconstruction
        Scores of the relaxed slab; None if nothing was relaxed.
    failed, unconverged
        Lines of `calculation_problems` on all calculations behind the value.
    inconsistent
        Lines of `check_consistency`.
    asymmetric
        Why the two sides differ, for ingested slabs; empty if they do not.
    missing
        Why there is no value, if there is none.
    thresholds
        Limits beyond which a value is rejected.
    """
    absent = (missing or "no surface energy was computed") if surface_energy is None else ""
    verdict = _calculation_verdict(failed, unconverged, inconsistent, asymmetric, absent)
    verdict = verdict or judge_reconstruction(reconstruction, thresholds)
    if verdict is None and surface_energy is not None and surface_energy < 0:
        verdict = Verdict(
            status=VerdictStatus.NEGATIVE, reason=f"surface energy {surface_energy:.4f} eV/A^2 is below 0"
        )
    return verdict or Verdict(status=VerdictStatus.ACCEPTED)


def judge_work_function(
    result: WorkFunction | None,
    reconstruction: Reconstruction | None = None,
    *,
    failed: Sequence[str] = (),
    unconverged: Sequence[str] = (),
    inconsistent: Sequence[str] = (),
    asymmetric: str = "",
    missing: str = "",
    thresholds: VerdictThresholds = DEFAULT_THRESHOLDS,
) -> Verdict:
    """Judge a work function.

    The first that applies is the verdict: failed, unconverged, inconsistent_settings, asymmetric, failed
    for want of a potential, reconstructed, vacuum_not_flat (also when the vacuum is too thin for a
    plateau), accepted.

    Parameters
    ----------
    result
        Of `workflows.analysis.work_function.work_function`; None if there was no potential.
    failed, unconverged
        Lines of `calculation_problems` on the slab's own calculations: bulk and references do not enter.
    inconsistent
        Lines on slab relaxation against static run, if they differ.
    reconstruction, asymmetric, missing, thresholds
        See `judge_surface_energy`.
    """
    absent = (missing or "no planar potential was computed") if result is None else ""
    verdict = _calculation_verdict(failed, unconverged, inconsistent, asymmetric, absent)
    verdict = verdict or judge_reconstruction(reconstruction, thresholds)
    if verdict is None and result is not None:
        limits = (thresholds.max_vacuum_slope, thresholds.max_vacuum_spread)
        lines = [result.reason] if result.reason else result.unevenness(*limits)
        if lines:
            verdict = Verdict(status=VerdictStatus.VACUUM_NOT_FLAT, reason="; ".join(lines))
    return verdict or Verdict(status=VerdictStatus.ACCEPTED)


def _calculation_verdict(
    failed: Sequence[str],
    unconverged: Sequence[str],
    inconsistent: Sequence[str],
    asymmetric: str,
    absent: str,
) -> Verdict | None:
    for status, lines in (
        (VerdictStatus.FAILED, failed),
        (VerdictStatus.UNCONVERGED, unconverged),
        (VerdictStatus.INCONSISTENT_SETTINGS, inconsistent),
        (VerdictStatus.ASYMMETRIC, [asymmetric] if asymmetric else []),
        (VerdictStatus.FAILED, [absent] if absent else []),
    ):
        if lines:
            return Verdict(status=status, reason="; ".join(" ".join(line.split()) for line in lines))
    return None


def judge_reconstruction(
    scores: Reconstruction | None, thresholds: VerdictThresholds = DEFAULT_THRESHOLDS
) -> Verdict | None:
    """Return the verdict ``reconstructed`` with its reasons, None for scores within the limits."""
    if scores is None:
        return None
    lines = []
    if scores.displacement > thresholds.max_displacement:
        lines.append(
            f"an atom moved {scores.displacement:.2f} nearest-neighbour distances "
            f"(limit {thresholds.max_displacement:g})"
        )
    if scores.bonds_changed > thresholds.max_bonds_changed:
        lines.append(
            f"{100 * scores.bonds_changed:.0f} % of surface bonds changed "
            f"(limit {100 * thresholds.max_bonds_changed:g} %)"
        )
    if scores.layers_swapped:
        lines.append("two layers changed their order")
    return Verdict(status=VerdictStatus.RECONSTRUCTED, reason="; ".join(lines)) if lines else None
