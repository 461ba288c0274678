"""Faulty labels: values that contradict other labels of the same method.

``range``: no surface has such a value (`model.data.label_units`). ``bulk-energy``: the surface energies of
all facets of a compound are shifted in proportion to the formula units per area, as a wrong bulk energy does
it (`model.audit.bulk_offset`). ``outlier``: a label lies far outside the interval in which it is expected
(`model.audit.expectations`). ``duplicates``: identical slabs have different labels. ``order``: a compound's
facets are ordered against all its peers.

A finding is ``faulty`` where labels of peers prove it, else ``suspect``: only a look at the source can tell.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from model.audit.bulk_offset import compare_with_peers, fit_offset, robust_deviation
from model.audit.expectations import cross_validated
from model.audit.slabs import find_peers
from model.data.label_units import UNITS, is_possible
from stores.errors import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from model.audit.bulk_offset import Offset, PeerComparison
    from model.audit.expectations import Expectation
    from model.audit.slabs import AuditSlabs, Peer

    Array = NDArray[np.float64]

CHECKS = ("range", "bulk-energy", "outlier", "duplicates", "order")
FAULTY, SUSPECT = "faulty", "suspect"

_PLAIN = ("compound", "formula", "check", "level", "target", "size", "compared", "reason", "method")

DISAGREE = {"surface_energy": 0.003, "work_function": 0.1}
"""Identical slabs whose labels differ by more contradict each other (eV/A^2, eV)."""
REVERSED = {"surface_energy": 0.015, "work_function": 0.4}
"""Facets that differ by more, the other way than in all peers, are in reversed order (eV/A^2, eV)."""
FEWEST_ORDERED = 3  # peers that must agree on the order of two facets
FAR_OUTSIDE = 3.0  # half widths of the 90 % interval beyond which a label is an outlier
MODEL_CLEAR = 4.0
"""Robust standard deviations of the shifts of all compounds, scaled by the spread of the trees."""


@dataclass(frozen=True, eq=False)
class Finding:
    """Labels of one compound that one check finds fault with."""

    # compound, formula: key and formula
    compound: str
    formula: str
    check: str  # one of `CHECKS`
    level: str  # `FAULTY` or `SUSPECT`
    target: str  # whose labels
    size: float  # how far they are off, in the target's unit
    records: tuple[str, ...]  # ids of the records
    compared: int  # facets that the check looked at
    reason: str  # one line
    method: str  # fingerprint of the labels
    offset: Offset | None = None  # of the check ``bulk-energy``
    # of the same check: formula units per area (1/A^2) and shift of each facet (eV/A^2)
    points: tuple[tuple[float, float], ...] = ()

    @classmethod
    def on(
        cls,
        slabs: AuditSlabs,
        compound: str,
        kind: tuple[str, str, str],
        size: float,
        numbers: Iterable[int],
        compared: int,
        reason: str,
        **of_offset: Any,
    ) -> Self:
        """Make a finding of a kind (check, level, target) on the slabs of one compound with these numbers."""
        records = tuple(slabs.entries[i].record_id for i in numbers)
        formula = slabs.compounds[compound].formula
        return cls(compound, formula, *kind, size, records, compared, reason, slabs.method, **of_offset)

    def plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = {name: getattr(self, name) for name in _PLAIN}
        values["unit"] = UNITS[self.target]
        values["records"] = list(self.records)
        if self.offset is not None:
            values["bulk_energy_error"] = self.offset.energy
            values["work_function_shift"] = self.offset.work_function
        return values


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit of one method found."""

    method: str  # its fingerprint
    # slabs, compounds: how many were looked at
    slabs: int
    compounds: int
    compared: int  # compounds with peers
    findings: tuple[Finding, ...]  # the clearest first
    # formula units per area and shift of the facets of all compounds without a finding, for figures
    backdrop: tuple[tuple[float, float], ...]
    notes: tuple[str, ...]  # checks that could not be made, and why


def audit_slabs(
    slabs: AuditSlabs,
    *,
    checks: Iterable[str] = CHECKS,
    predicted: Mapping[str, Expectation] | None = None,
    with_trees: bool = True,
    tick: Callable[[int, int], None] | None = None,
) -> Audit:
    """Search the labels of one method for faulty ones.

    Parameters
    ----------
    checks
        Of `CHECKS`.
    predicted
        By target, of a trained model: takes the place of the trees in the check ``outlier``.
    with_trees
        Fit trees for what peers cannot show; False where scikit-learn or torch is missing.
    tick
        Called with the number of steps done and how many there are.

    Raises
    ------
    InputError
        If trees are to be fitted and scikit-learn is missing.
    """
    wanted, notes = set(checks), []
    slabs, impossible = _without_impossible(slabs)
    gamma, phi = slabs.labels["surface_energy"], slabs.labels["work_function"]
    peers = find_peers(list(slabs.compounds.values()))
    compared = compare_with_peers(peers, gamma, phi, slabs.units)
    clear = {key for key, found in compared.items() if found.offset.is_clear()}
    expected: dict[str, Expectation] = {}
    if with_trees and wanted & {"bulk-energy", "outlier"}:
        keys = [entry.compound for entry in slabs.entries]
        for number, (target, labels) in enumerate(slabs.labels.items()):
            without = clear if target == "surface_energy" else ()
            step = None if tick is None else partial(_step, tick, number)
            found = cross_validated(slabs.descriptors, labels, keys, without=without, tick=step)
            if found is not None:
                expected[target] = found
            elif np.isfinite(labels).any():
                notes.append(
                    f"{target.replace('_', ' ')}: too few labels or compounds to expect values by trees"
                )
    findings: list[Finding] = impossible if "range" in wanted else []
    if "bulk-energy" in wanted:
        findings += _bulk_energies(slabs, compared, expected)
    shifted = {finding.compound for finding in findings}
    if "outlier" in wanted:
        findings += _outliers(slabs, {**expected, **(predicted or {})}, shifted)
    if "duplicates" in wanted:
        findings += _duplicates(slabs)
    if "order" in wanted:
        findings += _orders(slabs, peers, clear)
    sound = [found for key, found in compared.items() if key not in shifted]
    return Audit(
        slabs.method,
        len(slabs.entries),
        len(slabs.compounds),
        len(compared),
        tuple(sorted(findings, key=_rank)),
        tuple(point for found in sound for point in _points(slabs, found.numbers, found.residuals)),
        tuple(notes),
    )


def _step(tick: Callable[[int, int], None], target: int, done: int, total: int) -> None:
    tick(target * total + done, len(UNITS) * total)


def _rank(finding: Finding) -> tuple[Any, ...]:
    return (
        finding.level != FAULTY,
        CHECKS.index(finding.check),
        finding.target,
        -abs(finding.size),
        finding.compound,
    )


def _points(slabs: AuditSlabs, numbers: Sequence[int], residuals: Array) -> tuple[tuple[float, float], ...]:
    return tuple((float(slabs.units[i]), float(value)) for i, value in zip(numbers, residuals, strict=True))


def _without_impossible(slabs: AuditSlabs) -> tuple[AuditSlabs, list[Finding]]:
    """Return the slabs without labels that no surface has, and findings on these."""
    labels = {target: values.copy() for target, values in slabs.labels.items()}
    findings = []
    for target, values in labels.items():
        for key, members in slabs.members.items():
            wrong = [i for i in members if np.isfinite(values[i]) and not is_possible(target, values[i])]
            if not wrong:
                continue
            worst = float(max(values[wrong], key=abs))
            reason = (
                f"{pluralize(len(wrong), 'value')} that no surface has, such as {worst:.6g} {UNITS[target]}; "
                "import them again with --unit"
            )
            kind = ("range", FAULTY, target)
            findings.append(Finding.on(slabs, key, kind, worst, wrong, len(members), reason))
            values[wrong] = np.nan
    return replace(slabs, labels=labels), findings


def _bulk_energies(
    slabs: AuditSlabs, compared: Mapping[str, PeerComparison], expected: Mapping[str, Expectation]
) -> list[Finding]:
    by_trees = _shifts_by_trees(slabs, expected)
    findings = []
    for key, members in slabs.members.items():
        by_peers = compared.get(key)
        if by_peers is not None and (by_peers.offset.is_clear() or by_peers.offset.is_proportional):
            offset = by_peers.offset
            level = FAULTY if offset.is_clear() else SUSPECT
            numbers, residuals = by_peers.numbers, by_peers.residuals
            names = ", ".join(slabs.compounds[peer].formula for peer in by_peers.peers)
            against = f"than those of {names}"
        elif key in by_trees:
            level = SUSPECT
            offset, numbers, residuals = by_trees[key]
            against = "than expected from other compounds"
        else:
            continue
        labelled = [i for i in members if np.isfinite(slabs.labels["surface_energy"][i])]
        kind, reason = ("bulk-energy", level, "surface_energy"), _offset_reason(offset, against)
        details = {"offset": offset, "points": _points(slabs, numbers, residuals)}
        findings.append(Finding.on(slabs, key, kind, offset.shift, labelled, len(numbers), reason, **details))
    return findings


def _offset_reason(offset: Offset, against: str) -> str:
    wrong = "high" if offset.energy > 0 else "low"
    direction = "lower" if offset.shift < 0 else "higher"
    text = (
        f"bulk energy {abs(offset.energy):.2f} eV per formula unit too {wrong}: facets {direction} {against} "
    )
    if offset.scatter <= offset.constant_scatter:
        text += (
            f"in proportion to their formula units, within {offset.scatter:.4f} eV/A^2 "
            f"({offset.constant_scatter:.4f} about a constant)"
        )
    else:
        text += (
            f"by nearly the same, within {offset.constant_scatter:.4f} eV/A^2 "
            f"({offset.scatter:.4f} in proportion to their formula units)"
        )
    if offset.work_function is not None:
        text += f"; work functions {offset.work_function:+.2f} eV"
    return text


def _shifts_by_trees(
    slabs: AuditSlabs, expected: Mapping[str, Expectation]
) -> dict[str, tuple[Offset, tuple[int, ...], Array]]:
    """Return the compounds whose shift against the trees is clear among the shifts of all compounds."""
    if "surface_energy" not in expected:
        return {}
    trees, phi = expected["surface_energy"], expected.get("work_function")
    residuals = slabs.labels["surface_energy"] - trees.values
    work = slabs.labels["work_function"] - phi.values if phi is not None else np.full(len(residuals), np.nan)
    found: dict[str, tuple[Offset, tuple[int, ...], Array]] = {}
    ratios = []
    for key, members in slabs.members.items():
        numbers = tuple(i for i in members if np.isfinite(residuals[i]) and slabs.units[i] > 0)
        if len(numbers) < 3:
            continue
        own = residuals[list(numbers)]
        known = work[list(numbers)][np.isfinite(work[list(numbers)])]
        noise = float(np.median(trees.spread[list(numbers)]))
        offset = fit_offset(
            own, slabs.units[list(numbers)], noise, float(np.median(known)) if len(known) else None
        )
        found[key] = (offset, numbers, own)
        ratios.append(abs(offset.shift) / max(noise, 1e-6))
    if not ratios:
        return {}
    usual = robust_deviation(np.array(ratios))
    clear = {}
    for key, (offset, numbers, own) in found.items():
        scaled = replace(offset, noise=offset.noise * usual)
        if scaled.is_clear(MODEL_CLEAR):
            clear[key] = (scaled, numbers, own)
    return clear


def _outliers(slabs: AuditSlabs, expected: Mapping[str, Expectation], shifted: set[str]) -> list[Finding]:
    findings = []
    for target, expectation in expected.items():
        errors = slabs.labels[target] - expectation.values
        far = np.abs(errors) / expectation.half_width > FAR_OUTSIDE  # NaN is not
        for key, members in slabs.members.items():
            numbers = [i for i in members if far[i]]
            if not numbers or (target == "surface_energy" and key in shifted):
                continue
            worst = max(numbers, key=lambda i: abs(errors[i]))
            reason = (
                f"{len(numbers)} of {pluralize(len(members), 'facet')} beyond {FAR_OUTSIDE:g} times the 90 % "
                f"interval of {expectation.source}, such as "
                f"{slabs.labels[target][worst]:.3f} {UNITS[target]} for {expectation.values[worst]:.3f} ± "
                f"{expectation.half_width[worst]:.3f}"
            )
            kind = ("outlier", SUSPECT, target)
            findings.append(Finding.on(slabs, key, kind, float(errors[worst]), numbers, len(members), reason))
    return findings


def _duplicates(slabs: AuditSlabs) -> list[Finding]:
    groups: dict[int, list[int]] = defaultdict(list)
    for i, entry in enumerate(slabs.entries):
        groups[entry.group].append(i)
    findings = []
    for members in groups.values():
        for target, labels in slabs.labels.items():
            numbers = [i for i in members if np.isfinite(labels[i])]
            if len(numbers) < 2:
                continue
            low, high = labels[numbers].min(), labels[numbers].max()
            if high - low <= DISAGREE[target]:
                continue
            key, kind = slabs.entries[numbers[0]].compound, ("duplicates", SUSPECT, target)
            reason = f"{len(numbers)} identical slabs labelled {low:.4f} to {high:.4f} {UNITS[target]}"
            findings.append(Finding.on(slabs, key, kind, float(high - low), numbers, len(numbers), reason))
    return findings


def _orders(slabs: AuditSlabs, peers: Mapping[str, Sequence[Peer]], clear: set[str]) -> list[Finding]:
    """Find pairs of facets that are ordered the other way in all peers."""
    findings = []
    for key, alike in peers.items():
        trusted = [dict(peer.pairs) for peer in alike if peer.compound not in clear]
        for target, labels in slabs.labels.items():
            gap, wrong = REVERSED[target], []
            numbers = sorted({i for pairs in trusted for i in pairs if np.isfinite(labels[i])})
            for i, j in combinations(numbers, 2):
                own = labels[i] - labels[j]
                if abs(own) < gap:
                    continue
                others = np.array([labels[p[i]] - labels[p[j]] for p in trusted if i in p and j in p])
                others = others[np.isfinite(others)]
                if len(others) >= FEWEST_ORDERED and (others * np.sign(own) <= -gap).all():
                    wrong.append((float(own - np.median(others)), i, j))
            if not wrong:
                continue
            size, i, j = max(wrong, key=lambda found: abs(found[0]))
            involved = sorted({i for _, *both in wrong for i in both})
            names = ", ".join(slabs.compounds[peer.compound].formula for peer in alike)
            reason = (
                f"{pluralize(len(wrong), 'pair')} of facets ordered against {names}: "
                f"{labels[i]:.3f} and {labels[j]:.3f} {UNITS[target]}"
            )
            kind = ("order", SUSPECT, target)
            findings.append(Finding.on(slabs, key, kind, size, involved, len(numbers), reason))
    return findings
