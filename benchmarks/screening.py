"""Dissolution potentials and Wulff averages of Mg binaries beside those of galvcalc, in one run.

Needs galvcalc 1.0.2 (pip install galvcalc) and a CSV table of formation energies (eV/atom) with the columns
formula and formation_energy. Both get the same cations; Wulff shapes have random surface energies of the
facets up to Miller index 1.

    python -m benchmarks.screening energies.csv
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from pathlib import Path

import numpy as np
from pymatgen.analysis.wulff import WulffShape
from pymatgen.core import Composition

from benchmarks.compounds import compounds
from workflows.analysis.dissolution import dissolution
from workflows.analysis.wulff_draws import Termination, weighted_values
from workflows.flows.screening.compounds import read_formation_energies
from workflows.structures.crystal import crystal_of
from workflows.structures.facets import distinct_facets


def potentials(table: dict[str, float]) -> None:
    from GalvCalc.core.structures import Bulk

    ours: dict[str, float] = {}
    theirs: dict[str, float] = {}
    seconds = [0.0, 0.0]
    for formula, energy in table.items():
        amounts = Composition(formula).get_el_amt_dict()
        start = time.process_time()
        found = dissolution(amounts, energy)
        seconds[0] += time.process_time() - start
        if found.potential is None or any(str(c) == "Yb3+" for c in found.cations):
            continue
        ours[formula] = found.potential
        start = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            theirs[formula] = Bulk.get_equilibrium_potential(
                [f"{c.element}[{c.charge if c.charge > 1 else ''}+]" for c in found.cations],
                ion_numbers=[amounts[c.element] for c in found.cations],
                energy_formation=energy * sum(amounts.values()),
                ion_con=1e-6,
                valence=[c.charge for c in found.cations],
            )
        seconds[1] += time.process_time() - start
    difference = max(abs(ours[formula] - theirs[formula]) for formula in ours)
    print(f"{len(ours)} of {len(table)} compounds have a potential; largest difference {difference:.1e} V")
    print(f"{seconds[0]:.2f} s, galvcalc {seconds[1]:.2f} s, ratio {seconds[1] / seconds[0]:.0f}")


def averages(draws: int = 200) -> None:
    random = np.random.default_rng(0)
    seconds = [0.0, 0.0]
    for structure in compounds().values():
        crystal = crystal_of(structure)
        facets = distinct_facets(crystal, 1)
        energies = random.uniform(0.8, 1.2, len(facets)) * 0.05
        start = time.process_time()
        WulffShape(crystal.structure.lattice, facets, list(energies))
        seconds[1] += time.process_time() - start
        terminations = [Termination(h, "", e, 0.003, 3.5, 0.1) for h, e in zip(facets, energies, strict=True)]
        start = time.process_time()
        weighted_values(crystal, terminations, draws=draws)
        seconds[0] += (time.process_time() - start) / (draws + 1)
    ours, theirs = (1e3 * value / len(compounds()) for value in seconds)
    print(f"one Wulff shape: {ours:.2f} ms, pymatgen's {theirs:.1f} ms, ratio {theirs / ours:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("energies", type=Path, help="CSV table")
    potentials(read_formation_energies(parser.parse_args().energies))
    averages()
