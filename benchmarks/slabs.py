"""Time the enumeration of all symmetric slabs of 20 compounds against pymatgen's symmetrised generator.

Both get the conventional standard cell, facets up to Miller index 1, slabs of at least 10 A and 15 A of
vacuum. Prints slabs and CPU seconds of each, and the ratio; `--profile` shows where ours spends its time.

    python -m benchmarks.slabs [--profile] [--ours-only]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
import warnings
from typing import TYPE_CHECKING

from pymatgen.core.surface import SlabGenerator, get_symmetrically_distinct_miller_indices

from benchmarks.compounds import compounds
from workflows.structures.crystal import crystal_of
from workflows.structures.slabs import SlabSettings, enumerate_slabs

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymatgen.core import Structure


def ours(structure: Structure) -> int:
    return sum(len(facet.slabs) for facet in enumerate_slabs(structure, SlabSettings(max_atoms=None)))


def pymatgens(structure: Structure) -> int:
    number = 0
    for miller_index in get_symmetrically_distinct_miller_indices(structure, 1):
        generator = SlabGenerator(structure, miller_index, 10.0, 15.0, center_slab=True, primitive=True)
        number += len(generator.get_slabs(ftol=0.1, symmetrize=True))
    return number


def timed(generate: Callable[[Structure], int], structure: Structure, repeat: int = 1) -> tuple[int, float]:
    """Return the number of slabs and the least CPU time of some runs (s); other programs may be running."""
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        number = generate(structure)
        seconds.append(time.process_time() - start)
    return number, min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", action="store_true", help="profile ours, leave pymatgen out")
    parser.add_argument("--ours-only", action="store_true", help="leave pymatgen out")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    structures = {name: crystal_of(structure).structure for name, structure in compounds().items()}
    ours(next(iter(structures.values())))  # imports and pymatgen's caches
    if arguments.profile:
        profile = cProfile.Profile()
        profile.runcall(lambda: [ours(structure) for structure in structures.values()])
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    print(f"{'':14} {'atoms':>5}  {'slabs':>5} {'s':>7}  {'pymatgen':>8} {'s':>7}  {'ratio':>6}")
    totals = [0, 0.0, 0, 0.0]
    for name, structure in structures.items():
        number, seconds = timed(ours, structure, repeat=5)
        line = f"{name:14} {len(structure):5}  {number:5} {seconds:7.3f}"
        totals[0] += number
        totals[1] += seconds
        if not arguments.ours_only:
            its_number, its_seconds = timed(pymatgens, structure)
            line += f"  {its_number:8} {its_seconds:7.2f}  {its_seconds / seconds:6.0f}"
            totals[2] += its_number
            totals[3] += its_seconds
        print(line, flush=True)
    print(f"{'all':14} {'':5}  {totals[0]:5} {totals[1]:7.3f}", end="")
    if not arguments.ours_only:
        print(f"  {totals[2]:8} {totals[3]:7.2f}  {totals[3] / totals[1]:6.0f}", end="")
    print()


if __name__ == "__main__":
    main()
