"""How well the labels of slabs agree with each other: what no model can predict.

    python -m benchmarks.label_noise slabs.sqlite --seeds 3 --folds 5

Prints, for surface energies (eV/A^2) and work functions (eV):

* identical slabs: how far their labels differ;
* families: compounds of one formula type whose partners are trivalent lanthanides. A facet of such a family
  changes smoothly along the series, so that the scatter of its labels about a straight line in the atomic
  number is noise, or curvature; also after an offset for each compound. With all compounds, without
  those whose bulk energies `mgsurf audit` calls faulty, and without those that it suspects, too;
* what faulty and suspect bulk energies add to the mean absolute error of a model that is right elsewhere;
* test errors of surface energies by trees and process alone on random divisions (--seeds) and folds by
  chemical system (--folds): on all test slabs and on those with sound labels, trained with the faulty labels
  and without them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from model.audit.checks import FAULTY, audit_slabs
from model.audit.slabs import FEWEST_FACETS, equal_facets, read_audit_slabs
from model.baselines.candidates import FitSettings
from model.baselines.carried_rows import LabelledRows
from model.baselines.descriptors import describe_slabs
from model.baselines.gaussian_process import NO_COMPOUND
from model.data.model_input import graphs_among
from model.data.splits import grouped_split, k_fold
from model.evaluation.metrics import labels
from model.graphs.cache import GraphCache
from model.training.presets import find_preset
from workflows.cli.learning import labelled_slabs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from model.audit.slabs import AuditSlabs, Compound
    from model.data.dataset import Dataset
    from model.data.splits import Split

TRIVALENT = tuple(z for z in range(57, 72) if z not in (63, 70))
"""Atomic numbers of the lanthanides without Eu and Yb, which are divalent in metals and lie off the line."""

TARGET = "surface_energy"  # the label that a wrong bulk energy shifts; work functions stay
FEWEST_COMPOUNDS = 5  # of a family


@dataclass(frozen=True, eq=False)
class Family:
    """Slabs of the same facets of isostructural compounds."""

    kind: tuple[int, ...]  # formula type, see `model.audit.slabs.formula_type`
    slabs: np.ndarray  # [n], their numbers
    facets: np.ndarray  # [n], of each slab the number of its facet
    compounds: np.ndarray  # [n], of each slab the number of its compound
    partners: np.ndarray  # [n], atomic number of its partner


@dataclass(frozen=True)
class Scatter:
    """Residuals of a fit to n labels."""

    n: int
    freedom: int  # labels that the fit does not use up
    total: float  # sum of the sizes of the residuals

    def __add__(self, other: Scatter) -> Scatter:
        return Scatter(self.n + other.n, self.freedom + other.freedom, self.total + other.total)

    @property
    def mean(self) -> float:
        """Mean size of an error, larger than that of a residual by the square root of n / freedom."""
        return self.total / self.n * (self.n / self.freedom) ** 0.5 if self.freedom > 0 else float("nan")


def find_families(compounds: Collection[Compound]) -> Iterator[Family]:
    """Yield the families among compounds; their facets are those of the compound that has most in common."""
    by_kind: dict[tuple[int, ...], list[Compound]] = defaultdict(list)
    for compound in compounds:
        if len(compound.facets) >= FEWEST_FACETS and [z in TRIVALENT for z in compound.partners] == [True]:
            by_kind[compound.kind].append(compound)
    for kind, alike in sorted(by_kind.items()):
        best: list[tuple[int, int, int, int]] = []
        for reference in alike:
            found = []
            for number, compound in enumerate(alike):
                pairs = equal_facets(reference, compound)
                if len(pairs) >= FEWEST_FACETS:
                    found += [(slab, facet, number, compound.partners[0]) for facet, slab in pairs]
            sizes = np.bincount([facet for _, facet, *_ in found])
            found = [row for row in found if sizes[row[1]] >= FEWEST_COMPOUNDS]
            best = max(best, found, key=len)
        if best:
            yield Family(kind, *np.array(best).T)


def scatter(family: Family, values: np.ndarray, *, offsets: bool) -> Scatter:
    """Return the scatter of labels [N] about a line for each facet with or without compound offsets."""
    y = values[family.slabs]
    known = np.isfinite(y)
    facet = family.facets[known, None] == np.unique(family.facets)
    columns = [facet, facet * (family.partners[known, None] - np.mean(TRIVALENT))]
    if offsets:
        columns.append(family.compounds[known, None] == np.unique(family.compounds))
    design = np.hstack(columns).astype(float)
    solution, _, rank, _ = np.linalg.lstsq(design, y[known], rcond=1e-10)
    residuals = y[known] - design @ solution
    return Scatter(len(residuals), len(residuals) - int(rank), float(np.abs(residuals).sum()))


def main() -> None:
    """Look at the labels of each method, then train with and without faulty ones."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--trees", type=int, default=40)
    given = parser.parse_args()
    uri, faulty = f"sqlite:///{given.store}", set()
    for slabs in read_audit_slabs(uri, cache=GraphCache()):
        print(f"method {slabs.method[:12]}: {len(slabs.entries)} slabs, {len(slabs.compounds)} compounds")
        faulty |= compare_labels(slabs)
    dataset = labelled_slabs([uri], None)(find_preset("best").graph, (TARGET,))
    compare_errors(dataset, faulty, given.seeds, given.folds, given.trees)


def compare_labels(slabs: AuditSlabs) -> set[str]:
    """Print identical slabs, families and wrong bulk energies; return the ids of faulty records."""
    groups: dict[int, list[int]] = defaultdict(list)
    for i, entry in enumerate(slabs.entries):
        groups[entry.group].append(i)
    pairs = [pair for members in groups.values() for pair in combinations(members, 2)]
    print(f"pairs of identical slabs: {len(pairs)}")
    for target, values in slabs.labels.items():
        apart = np.array([abs(values[i] - values[j]) for i, j in pairs])
        if np.isfinite(apart).any():
            print(f"  {target}: differ by {np.nanmean(apart):.5f}, at most {np.nanmax(apart):.5f}")
    findings = [f for f in audit_slabs(slabs, checks=("bulk-energy",)).findings if f.offset is not None]
    wrong = {finding.compound for finding in findings if finding.level == FAULTY}
    for name, without in (
        ("all compounds", set()),
        ("without faulty ones", wrong),
        ("without faulty and suspect ones", {finding.compound for finding in findings}),
    ):
        found = [compound for key, compound in slabs.compounds.items() if key not in without]
        print_families(list(find_families(found)), slabs, name)
    n = int(np.isfinite(slabs.labels[TARGET]).sum())
    for level in (FAULTY, "faulty or suspect"):
        chosen = [f for f in findings if f.level == FAULTY or level != FAULTY]
        size = sum(len(f.records) * abs(f.size) for f in chosen) / max(n, 1)
        names = ", ".join(f"{f.formula} {f.size:+.3f}" for f in chosen)
        print(f"bulk energies that are {level} ({names}): {size:.5f} of the MAE of surface energies")
    return {record for f in findings if f.level == FAULTY for record in f.records}


def print_families(families: Sequence[Family], slabs: AuditSlabs, name: str) -> None:
    """Print the scatter of each family and of all of them."""
    for target, values in slabs.labels.items():
        line, both = Scatter(0, 0, 0.0), Scatter(0, 0, 0.0)
        for family in families:
            own = scatter(family, values, offsets=False), scatter(family, values, offsets=True)
            line, both = line + own[0], both + own[1]
            print(
                f"  {target}, {name}, type {family.kind}: {own[0].n} slabs of {len(set(family.compounds))} "
                f"compounds, scatter {own[0].mean:.5f}, about offsets {own[1].mean:.5f}"
            )
        print(f"{target}, {name}: {line.n} slabs, scatter {line.mean:.5f}, about offsets {both.mean:.5f}")


def compare_errors(dataset: Dataset, faulty: set[str], seeds: int, folds: int, trees: int) -> None:
    """Print test errors of the mean of trees and process, with and without faulty labels."""
    sound = np.array([entry.record_id not in faulty for entry in dataset])
    compounds = np.unique([entry.compound for entry in dataset], return_inverse=True)[1].astype(np.int64)
    described = describe_slabs(graphs_among(entry.graph for entry in dataset))
    rows = LabelledRows(described, compounds, {TARGET: labels(dataset, TARGET)})
    means: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    divisions = [grouped_split(dataset, "random", seed) for seed in range(seeds)]
    for split in [*divisions, *(k_fold(dataset, "chemsys", folds) if folds else [])]:
        for name, usable in (("with", np.ones_like(sound)), ("without", sound)):
            error = errors_of_test_set(rows, split, usable, trees)
            pair = float(np.nanmean(error)), float(np.nanmean(error[sound[list(split.test)]]))
            means[split.name.split()[0], name].append(pair)
            print(
                f"{split.name}, seed {split.seed}, trained {name} faulty labels: MAE of all test slabs "
                f"{pair[0]:.5f}, of those with sound labels {pair[1]:.5f}",
                flush=True,
            )
    for (kind, name), pairs in means.items():
        every, own = np.mean(pairs, axis=0)
        print(f"mean, {kind}, trained {name} faulty labels: all {every:.5f}, sound {own:.5f}")


def errors_of_test_set(
    rows: LabelledRows, split: Split, usable: NDArray[np.bool_], trees: int
) -> NDArray[np.float64]:
    """Return the size of the error of each test slab; the usable validation slabs choose the process."""
    train, val = (np.array(part)[usable[list(part)]] for part in (split.train, split.val))
    test, true = np.array(split.test), rows.labels[TARGET]
    known = rows.some(train)
    seen = np.where(np.isin(rows.compounds, known.compounds), rows.compounds, NO_COMPOUND)
    fitted = FitSettings.of("slab", TARGET, known, trees, split.seed).fit(known, true[train])
    assert fitted is not None
    forest = fitted.forests[0].predict(rows.descriptors)[0]
    blends = [(forest + stage.predict(rows.descriptors, seen)) / 2 for stage in fitted.stages]
    best = min(blends, key=lambda blend: float(np.nanmean(np.abs(blend[val] - true[val]))))
    error: NDArray[np.float64] = np.abs(best[test] - true[test])
    return error


if __name__ == "__main__":
    main()
